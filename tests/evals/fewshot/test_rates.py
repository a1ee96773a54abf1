"""IMG2IMU's schedule and protocol: rates, people, the head alone and then everything."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.img2imu_golden import golden
from support.tones import SMALL, draws_of, people_and_tones

from primus_jax.cli import main
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features
from primus_jax.evals.fewshot import paper_training as training
from primus_jax.evals.fewshot.draws import DrawOptions, make_draws
from primus_jax.evals.fewshot.network import Network
from primus_jax.evals.fewshot.protocol import IMG2IMU, IMG2IMU_TUNED
from primus_jax.evals.fewshot.rates import learning_rates


def rates_at(config, steps: int) -> np.ndarray:
    """Head and encoder `[epochs * steps, 2]`."""
    every = jnp.arange(config.epochs * steps)
    rates = jax.vmap(lambda step: learning_rates(config, step, jnp.int32(steps)))(every)
    return np.stack(rates, 1)


def plain(epoch: float) -> float:
    if epoch < 10:
        return 1e-8 + (1e-5 - 1e-8) * epoch / 10
    return 1e-6 + (1e-5 - 1e-6) * (1 + np.cos(np.pi * (epoch - 10) / 40)) / 2


def test_the_rate_is_the_papers_at_every_epoch():
    rates = rates_at(IMG2IMU, 15)
    np.testing.assert_allclose(rates[:, 0], rates[:, 1])
    np.testing.assert_allclose(rates[:, 0], [plain(i / 15) for i in range(750)], rtol=2e-5)


def test_the_rate_equals_the_golden_numbers():
    rate = golden("schedule.finetune/paper")["out/rate_at_epoch"]
    np.testing.assert_allclose(rates_at(IMG2IMU, 4)[::4, 0], rate[:50], rtol=2e-5)
    np.testing.assert_allclose([plain(i) for i in range(51)], rate, rtol=1e-6)


def test_the_head_learns_first_and_alone():
    head, encoder = rates_at(IMG2IMU_TUNED, 2).T
    assert (encoder[:100] == 0).all()
    np.testing.assert_allclose(head[:80], 0.6)
    np.testing.assert_allclose(head[80:100], 0.06)
    np.testing.assert_allclose([head[100:], encoder[100:]], 1e-4)


@pytest.mark.slow
def test_an_encoder_that_does_not_learn_yet_is_a_frozen_one():
    """With a rate of nearly 0 behind the epochs of the head alone, both give the same logits."""
    features, imu = people_and_tones(4, 4)
    encoder = Encoder.random(SMALL, 0, 50.0, 2.8)
    embedding = encoder.encode_windows(imu)
    config = dataclasses.replace(
        IMG2IMU_TUNED, epochs=5, head_epochs=4, head_lr=0.2, lr=1e-12, lr_start=0, lr_end=1e-12
    )
    draws = draws_of(dataclasses.replace(features, embedding=embedding), seeds=1)
    fits = [
        training.fit_draws(
            jnp.asarray(inputs), jnp.asarray(features.label), draws, training.Start(start),
            model=training.Model(SMALL.embed_dim, 3, config, network), together=1,
        )
        for inputs, start, network in (
            (embedding, {}, None),
            (imu, encoder.params, Network(SMALL, "emb")),
        )
    ]  # fmt: skip
    np.testing.assert_allclose(fits[0].logits, fits[1].logits, atol=2e-4)
    assert np.ptp(fits[0].logits) > 0.1


def test_three_fifths_train_and_one_fifth_each_chooses_and_is_tested():
    people = np.repeat([f"goat {i}" for i in range(10)], 6)
    label = np.tile([0, 0, 1, 1, 2, 2], 10).astype(np.int32)
    blank = np.full(60, "train")
    x = np.zeros((60, 2), np.float32)
    features = Features(x, label, ("a", "b", "c"), people, people, people, blank, blank)
    draws = make_draws(features, DrawOptions((1,), 1, "kfold:5"), IMG2IMU.validation_share)
    shares = [getattr(draws.sides, side).mean(1) for side in ("train", "validation", "test")]
    np.testing.assert_allclose(np.stack(shares, 1), [[0.6, 0.2, 0.2]] * 5)
    assert (draws.sides.test.sum(0) == 1).all()


@pytest.mark.parametrize(
    "change",
    [{"validation_share": 1.0}, {"epochs": 10}, {"optimizer": "lbfgs"}, {"head_epochs": 5}],
)
def test_settings_without_meaning_are_refused(change):
    with pytest.raises(PrimusError, match="expected"):
        dataclasses.replace(IMG2IMU, **change).validate()


@pytest.mark.parametrize("finetune", [False, True])
def test_the_command_asks_for_the_papers_protocol(finetune, simulated, tmp_path, monkeypatch):
    asked = []

    def compare(methods, folders, draws, *, protocol, **options):
        asked.append((draws, protocol))
        raise PrimusError("asked")

    monkeypatch.setattr("primus_jax.evals.fewshot.comparison.compare", compare)
    words = ["fewshot", "--hand-features", "--data", str(simulated), "--out", str(tmp_path / "out")]
    for more in ([], ["--shots", "3", "--people", "kfold:3", "--seeds", "1", "--lr", "0.1"]):
        more = more + ["--finetune"] * finetune
        assert main([*words, "--protocol", "img2imu", *more]) == 2
    (draws, protocol), (chosen, changed) = asked
    assert protocol.paper == (IMG2IMU_TUNED if finetune else IMG2IMU)
    assert (protocol.name, protocol.finetune) == ("paper", finetune)
    assert draws == DrawOptions((1, 2, 5, 10, 20, 50), 5, "kfold:5", detail=True)
    assert chosen == DrawOptions([3], 1, "kfold:3", detail=True)
    assert changed.paper == dataclasses.replace(protocol.paper, lr=0.1)


@pytest.mark.slow
def test_the_protocol_from_the_command_line(simulated, tmp_path):
    out = tmp_path / "out"
    words = ["fewshot", "--hand-features", "--data", str(simulated), "--out", str(out)]
    words += ["--protocol", "img2imu", "--seeds", "1", "--shots", "2", "--epochs", "12"]
    assert main([*words, "--lr", "0.01", "--people", "kfold:3"]) == 0
    (row,) = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert row["people"] == "kfold:3"
    assert row["classifier"]["batch_size"] == 4
    assert row["classifier"]["inputs"] == "raw"
    assert row["classifier"]["schedule"] == "epochs"
    assert len(row["windows_tested"]) == 1
