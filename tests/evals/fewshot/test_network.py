"""Layers of every encoder; what is trained, kept and followed; heads, weights, patience."""

import dataclasses

import jax
import numpy as np
import pytest
from support.tiny_config import MOTION, POOLED

from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot import paper_training as training
from primus_jax.evals.fewshot.network import Network, check_layers, layers_of, part, whole
from primus_jax.evals.metrics import confusion_by_person, macro_f1
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.models.vision.encoder import VisionConfig

RESNET = ResNet1DConfig(width1=4, width2=4, width3=6)


def test_layers_come_in_the_order_of_the_computation():
    names = [layer[0][0] for layer in layers_of(RESNET, "emb", 64)]
    assert names == ["stem", "stem_norm", *(f"block{i}" for i in range(13))]
    names = [layer[0][1] for layer in layers_of(VisionConfig(channels=2), "emb", 128)]
    assert names[:3] + names[-1:] == ["conv1", "bn1", "layer1_0", "layer4_1"]
    # the other head, and the projector that only heads read, are in no layer
    assert {layer[0][0] for layer in layers_of(POOLED, "ssl", 140)} >= {"conv1", "ssl_head"}
    assert "mmcl_head" not in {layer[0][0] for layer in layers_of(POOLED, "ssl", 140)}
    assert {path[0] for layer in layers_of(MOTION, "emb", 140) for path in layer} == {"trunk"}


@pytest.mark.parametrize("layers", [0, 16])
def test_layers_that_are_not_there_are_refused(layers):
    with pytest.raises(PrimusError, match="has 15 behind its output 'emb'"):
        check_layers(RESNET, "emb", 64, layers)


def test_statistics_follow_batches_only_where_everything_is_trained():
    window = np.zeros((1, 64, 6), np.float32)
    shapes = jax.eval_shape(RESNET.build().init, jax.random.key(0), window)["params"]
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    full = part(params, Network(RESNET, "emb"), 64)
    assert len(jax.tree.leaves(full.running)) == 2 * 27
    assert not full.kept
    last = part(params, Network(RESNET, "emb", 1), 64)
    assert list(last.trained) == ["block12"]
    assert "running_mean" not in last.trained["block12"]["norm1"]
    assert not last.running
    assert "running_mean" in last.kept["stem_norm"]
    for parts in (full, last):
        assert jax.tree.structure(whole(parts)) == jax.tree.structure(params)


def one_draw(label: np.ndarray, shown: np.ndarray, validation: np.ndarray) -> training.PaperDraws:
    """The draw of one seed, whose pool are the shown windows."""
    return training.PaperDraws(
        shown, np.ones(len(shown), bool), validation, np.ones(len(validation), bool),
        validation, jax.random.key(0), shown,
    )  # fmt: skip


def waves(samples: int, n: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Windows of two tones, and their labels."""
    rng = np.random.default_rng(0)
    label = np.arange(n, dtype=np.int32) % 2
    phase = rng.uniform(0, 6, (n, 1))
    wave = np.sin(2 * np.pi * (1 + 3 * label[:, None]) * np.arange(samples) / 50 + phase)
    imu = wave[..., None] * (1 + label[:, None, None]) + 0.1 * rng.normal(size=(n, samples, 6))
    return imu.astype(np.float32), label


def test_patience_ends_the_training_of_a_hidden_layer():
    rng = np.random.default_rng(0)
    label = np.arange(24, dtype=np.int32) % 2
    x = (label[:, None] + 0.5 * rng.normal(size=(24, 5))).astype(np.float32)
    draw = one_draw(label, np.arange(13), np.arange(13, 24))
    how = training.PaperConfig(
        lr=0.05, epochs=60, batch_size=5, hidden=6, inputs="standard", patience=3,
        class_weights=True, chosen_by="macro_f1",
    )  # fmt: skip
    lanes = jax.tree.map(lambda leaf: leaf[None], draw)
    model = training.Model(5, 2, how)
    fits = training.fit_draws(x, label, lanes, training.Start({}), model=model, together=1)
    assert int(fits.trained[0]) == int(fits.epoch[0]) + 3 < 60
    predicted, true = np.asarray(fits.predicted[0]), label[13:]
    f1 = macro_f1(confusion_by_person(predicted, true, np.zeros(11, int), 1, 2)[0])
    # those who choose the epoch are those who are tested here
    assert float(fits.score[0]) == pytest.approx(float(f1))
    assert f1 > 0.8


@pytest.mark.slow
def test_the_layers_below_the_trained_ones_stay():
    config = dataclasses.replace(POOLED, embed_dim=16, channels=4, multihead=False)
    imu, label = waves(140)
    params = Encoder.random(config, 0, 50.0, 2.8).params
    how = training.PaperConfig(lr=0.02, epochs=5, batch_size=5, inputs="standard", layers=2)
    network = Network(config, "emb", 2)
    model = training.Model(config.embed_dim, 2, how, network)
    draw = one_draw(label, np.arange(13), np.arange(13, 24))
    lanes = jax.tree.map(lambda leaf: leaf[None], draw)
    start = training.Start(params)
    weights, epoch, score = training.fit_weights(imu, label, draw, start, model=model)
    trained = {path for layer in layers_of(config, "emb", 140)[-2:] for path in layer}
    for path, leaf in jax.tree_util.tree_leaves_with_path(whole(weights.encoder)):
        names = tuple(key.key for key in path)
        before = params
        for name in names:
            before = before[name]
        assert np.array_equal(leaf, before) == (names not in trained), names
    fits = training.fit_draws(imu, label, lanes, start, model=model, together=1)
    assert int(fits.epoch[0]) == int(epoch)
    assert float(fits.score[0]) == float(score)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [None, 1])
def test_batch_statistics_see_the_draw_alone(layers):
    """All other windows are NaN: whatever touched one would be NaN too."""
    imu, label = waves(64)
    draw = one_draw(label, np.arange(10), np.arange(10, 16))
    imu[16:] = np.nan
    params = Encoder.random(RESNET, 0, 50.0, 1.28).params
    how = training.PaperConfig(lr=3e-3, epochs=4, batch_size=4, inputs="standard", layers=layers)
    model = training.Model(6, 2, how, Network(RESNET, "emb", layers))
    weights, _, _ = training.fit_weights(imu, label, draw, training.Start(params), model=model)
    tuned = whole(weights.encoder)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tuned))
    moved = not np.array_equal(tuned["stem_norm"]["running_mean"], np.zeros(4))
    assert moved == (layers is None)


def test_class_weights_give_every_class_the_same_share():
    model = training.Model(2, 3, training.PaperConfig(class_weights=True))
    label, valid = np.array([0, 0, 0, 1, 2], np.int32), np.array([True, True, True, True, False])
    weight = np.asarray(training._importance(label, valid, model))
    np.testing.assert_allclose(weight, [2 / 3, 2 / 3, 2 / 3, 2, 0], rtol=1e-6)
