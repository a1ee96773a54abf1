"""The paper's protocol against PyTorch and a plain loop; prompts; fine-tuning."""

import dataclasses

import numpy as np
import pytest
from support.tones import SMALL, draws_of, people_and_tones

from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.class_head import class_embeddings
from primus_jax.evals.fewshot import paper_training as training
from primus_jax.evals.fewshot import rates
from primus_jax.evals.fewshot.paper_protocol import Finetuning, paper_fewshot


def test_the_rate_warms_up_and_never_rises_again():
    for total in (1, 3, 12, 40, 2000):
        steps = np.arange(total, dtype=np.int32)
        rate = np.array([rates.schedule(step, np.int32(total)) for step in steps])
        top = int(rate.argmax())
        assert (np.diff(rate[: top + 1]) > 0).all()
        assert (np.diff(rate[top:]) <= 0).all()
        assert 0 < rate.max() <= 1
        assert total < 20 or rate[-1] < 0.05
        assert float(rates.schedule(np.int32(total + 50), np.int32(total))) < 1e-6
    assert top == 19  # max(2000 // 100, 10) steps of warm-up


def test_training_equals_pytorch():
    """AdamW, the schedule, normalised features and the best epoch, with one batch per epoch."""
    torch = pytest.importorskip("torch")
    features, _ = people_and_tones()
    config = training.PaperConfig(lr=0.05, epochs=30)
    kernel = np.random.default_rng(1).normal(size=(12, 3)).astype(np.float32) * 0.1
    draws = draws_of(features)
    rows, valid, val, val_valid, test = draws[:5]
    fits = training.fit_draws(
        features.embedding, features.label, draws, training.Start({}, kernel),
        model=training.Model(12, 3, config), together=3,
    )  # fmt: skip
    predicted, epoch, accuracy = fits.predicted, fits.epoch, fits.score
    x = torch.nn.functional.normalize(torch.tensor(features.embedding))
    y = torch.tensor(features.label.astype(np.int64))
    for i in range(3):
        head = torch.nn.Linear(12, 3)
        with torch.no_grad():
            head.weight.copy_(torch.tensor(kernel.T))
            head.bias.zero_()
        adam = torch.optim.AdamW(head.parameters(), lr=config.lr, weight_decay=1e-4)
        best, best_predicted, best_epoch = -1.0, None, 0
        for step in range(config.epochs):
            for group in adam.param_groups:
                group["lr"] = config.lr * float(rates.schedule(np.int32(step), np.int32(30)))
            shown = rows[i][valid[i]]
            adam.zero_grad()
            torch.nn.functional.cross_entropy(head(x[shown]), y[shown]).backward()
            adam.step()
            with torch.no_grad():
                chosen = val[i][val_valid[i]]
                found = float((head(x[chosen]).argmax(1) == y[chosen]).float().mean())
                if found > best:
                    best, best_epoch = found, step + 1
                    best_predicted = head(x[test[i]]).argmax(1).numpy()
        assert int(epoch[i]) == best_epoch
        assert float(accuracy[i]) == pytest.approx(best, abs=1e-6)
        np.testing.assert_array_equal(predicted[i], best_predicted)


@pytest.mark.parametrize(
    "finetune", [pytest.param(x, marks=pytest.mark.slow) for x in (False, True)]
)
def test_vmapped_equals_looped(finetune):
    """With ragged classes and several batches per epoch; fine-tuning from scratch as well."""
    features, imu = people_and_tones()
    label = features.label.copy()
    label[np.flatnonzero(label == 2)[::2]] = -1
    features = dataclasses.replace(features, label=label)
    draws = draws_of(features, shots=(20,), seeds=2)
    assert not draws.valid.all()
    inputs = imu if finetune else features.embedding
    config = training.PaperConfig(lr=1e-2, epochs=2 if finetune else 6, batch_size=16)
    network = training.Network(SMALL, "emb") if finetune else None
    model = training.Model(16 if finetune else 12, 3, config, network)
    arguments = (inputs, np.maximum(label, 0), draws, training.Start({}))
    together = training.fit_draws(*arguments, model=model, together=2)
    alone = training.fit_draws(*arguments, model=model, together=1)
    np.testing.assert_array_equal(together.predicted, alone.predicted)
    # Adam divides by the gradient's size, so that rounding of small gradients is seen in logits.
    np.testing.assert_allclose(together.logits, alone.logits, atol=1e-3)
    for a, b in zip(together[1:], alone[1:], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_learning_and_fine_tuning_reach_the_answer():
    features, imu = people_and_tones()
    config = training.PaperConfig(lr=0.03, epochs=30)
    result = paper_fewshot(features, (1, 6), 2, config=config)
    assert result.accuracy[1].mean() > 0.8
    assert result.classifier["head_init"] == "random"
    encoder = Encoder.random(SMALL, 0, 50.0, 2.8)
    for scratch in (False, True):
        tuned = paper_fewshot(
            features, (6,), 1, config=training.PaperConfig(lr=0.01, epochs=60),
            finetuning=Finetuning(encoder, "emb", imu, from_scratch=scratch),
        )  # fmt: skip
        assert tuned.accuracy.mean() > 0.7


def test_a_head_from_prompts_starts_where_language_says(tmp_path):
    """At a rate near zero the classes are those whose prompts point at the features."""
    features, _ = people_and_tones()
    x = features.embedding.astype(np.float64)
    centre = np.stack([x[features.label == k].mean(0) for k in range(3)])
    text = [f"{template} {name}" for name in "abc" for template in ("a person is", "x")]
    np.savez(
        tmp_path / "prompts.npz", text=np.array(text),
        text_embedding=np.repeat(centre * [[1], [5], [9]], 2, 0),
    )  # fmt: skip
    head = class_embeddings(tmp_path / "prompts.npz", ("a", "b", "c"))
    np.testing.assert_allclose(np.linalg.norm(head, axis=1), 1, rtol=1e-3)
    config = training.PaperConfig(lr=1e-9, epochs=1)
    told = paper_fewshot(features, (1,), 2, config=config, class_embedding=head)
    blind = paper_fewshot(features, (1,), 2, config=config)
    assert told.accuracy.mean() > 0.9 > blind.accuracy.mean() + 0.2
    with pytest.raises(PrimusError, match="'d'"):
        class_embeddings(tmp_path / "prompts.npz", ("a", "d"))
    with pytest.raises(PrimusError, match="class embeddings"):
        paper_fewshot(features, (1,), 2, class_embedding=head[:, :5])


@pytest.mark.parametrize("change", [{"lr": 0.0}, {"epochs": 0}, {"weight_decay": -1.0}])
def test_settings_without_meaning_are_refused(change):
    with pytest.raises(PrimusError, match="expected"):
        training.PaperConfig(**change).validate()
