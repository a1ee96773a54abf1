"""Transformation prediction: its rows, its loss, sharding, learning, and its config."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.fast_compile import USUAL
from support.tiny_config import POOLED, run_config

from primus_jax.augment import shuffle_axes
from primus_jax.config import CheckpointConfig, Config, DataConfig, from_dict, to_dict
from primus_jax.config_file import read_config
from primus_jax.encoder import load_encoder
from primus_jax.errors import PrimusError
from primus_jax.export.run import export
from primus_jax.objectives.multitask import TASKS, Multitask, MultitaskConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.parallel.sharding import make_mesh
from primus_jax.training.loop import pretrain
from primus_jax.training.metrics import read_metrics
from primus_jax.training.step import sharded_loss

ENCODER = dataclasses.replace(POOLED, embed_dim=16)
BATCH, TIME = 16, 130


def make_batch(has_gyro=True):
    imu = np.random.default_rng(0).normal(size=(BATCH, TIME, 6)).astype(np.float32)
    imu[..., 3:] *= has_gyro
    return {
        "imu": jnp.asarray(imu),
        "index": jnp.arange(BATCH, dtype=jnp.int32),
        "has_gyro": jnp.full(BATCH, has_gyro),
    }


class Made:
    """An objective with its compiled functions, so that each is compiled once."""

    def __init__(self, copies):
        self.objective = Multitask(MultitaskConfig(hidden=8, copies=copies), ENCODER)
        self.params, _ = jax.jit(self.objective.init)(jax.random.key(1), make_batch())
        self.rows = jax.jit(self.objective.rows)
        self.gradient = gradient_of(self.objective.loss)


def gradient_of(loss):
    return jax.jit(
        jax.value_and_grad(lambda p, batch, key: loss(p, {}, {}, batch, key), has_aux=True),
        compiler_options=USUAL,
    )


@pytest.fixture(scope="module")
def drawn():
    return Made("drawn")


@pytest.fixture(scope="module")
def every():
    return Made("all")


@pytest.fixture(params=["drawn", "every"])
def made(request):
    return request.getfixturevalue(request.param)


def test_originals_are_labelled_zero_and_copies_by_what_was_done(made):
    imu, truth = map(np.asarray, made.rows(make_batch(), jax.random.key(3)))
    original = np.asarray(make_batch()["imu"])
    np.testing.assert_array_equal(imu[:BATCH], original)
    assert (truth[:BATCH] == 0).all()
    assert (truth[BATCH:].sum(1) == 1).all()
    assert truth.mean() == pytest.approx(made.objective.positive_rate)
    assert len(imu) == BATCH * (2 if made.objective.config.copies == "drawn" else 1 + len(TASKS))
    for row, task in enumerate(truth[BATCH:].argmax(1)):
        copy, source = imu[BATCH + row], original[row % BATCH]
        name = TASKS[task]
        if name == "negation":
            np.testing.assert_array_equal(copy, -source)
        elif name == "flip":
            np.testing.assert_array_equal(copy, source[::-1])
        elif name == "scale":
            assert (copy / source).std(0).max() < 1e-3
        elif name == "rotation":
            norms = np.linalg.norm(copy[:, :3], axis=1), np.linalg.norm(source[:, :3], axis=1)
            np.testing.assert_allclose(*norms, rtol=1e-4)
        elif name in ("permutation", "shuffle"):
            np.testing.assert_allclose(np.sort(copy, None), np.sort(source, None))
        else:
            assert 0 < np.abs(copy - source).mean() < 2


def test_every_task_is_drawn_and_a_window_keeps_its_copy_whatever_the_batch(drawn):
    batch = make_batch()
    repeated = batch | {"index": jnp.arange(4, dtype=jnp.int32).repeat(4)}
    _, truth = drawn.rows(repeated, jax.random.key(3))
    assert (truth[BATCH:].reshape(4, 4, 8) == truth[BATCH::4][:, None]).all()
    keys = jax.random.split(jax.random.key(4), 64)
    counts = sum(np.asarray(drawn.rows(batch, key)[1]).sum(0) for key in keys)
    assert counts.sum() == 64 * BATCH
    assert abs(counts - 8 * BATCH).max() < 5 * np.sqrt(8 * BATCH)


def test_a_gyroscope_that_is_not_there_stays_silent(every):
    imu, _ = every.rows(make_batch(False), jax.random.key(3))
    assert (imu[..., 3:] == 0).all()
    assert (imu[..., :3] != 0).any((1, 2)).all()


def test_shuffling_keeps_sensors_apart():
    imu = make_batch()["imu"][0]
    orders = set()
    shuffle = jax.jit(shuffle_axes)
    for seed in range(40):
        out = shuffle(jax.random.key(seed), imu)
        order = [int(np.flatnonzero((row == imu.T).all(1))[0]) for row in out.T]
        assert sorted(order[:3]) == [0, 1, 2]
        assert sorted(order[3:]) == [3, 4, 5]
        orders.add(tuple(order))
    assert len(orders) > 15


def test_the_loss_weighs_positives_as_much_as_negatives(drawn):
    zero = drawn.params | {"tasks": jax.tree.map(jnp.zeros_like, drawn.params["tasks"])}
    keys = jax.random.split(jax.random.key(0), 20)
    # with logits of 0 every entropy is ln 2, and the expected weights of a task sum to one
    values = [float(drawn.gradient(zero, make_batch(), key)[0][0]) for key in keys]
    np.testing.assert_allclose(values, np.log(2), rtol=1e-5)
    (value, (extra, metrics)), _ = drawn.gradient(drawn.params, make_batch(), keys[0])
    assert extra == {}
    assert np.mean([metrics[f"loss_{name}"] for name in TASKS]) == pytest.approx(float(value))
    assert all(0 <= metrics[f"balanced_accuracy_{name}"] <= 1 for name in TASKS)


@pytest.mark.parametrize(
    "devices",
    [pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 8)],
)
def test_sharded_equals_dense_in_value_and_gradient(drawn, devices):
    arguments = drawn.params, make_batch(), jax.random.key(5)
    (value, (_, metrics)), dense = drawn.gradient(*arguments)
    sharded = gradient_of(sharded_loss(drawn.objective, make_mesh(devices)))
    (many, (_, many_metrics)), grads = sharded(*arguments)
    assert many == pytest.approx(float(value), rel=1e-6)
    for name, expected in metrics.items():
        assert many_metrics[name] == pytest.approx(float(expected), rel=1e-5)
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(dense))
    assert scale > 0
    for x, y in zip(jax.tree.leaves(dense), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-5, atol=1e-6 * scale)


def test_gradient_steps_learn_what_gravity_gives_away(drawn):
    up = jnp.zeros(6, jnp.float32).at[2].set(9.8)
    batch = make_batch() | {"imu": make_batch()["imu"] + up}
    tests, keys = (jax.random.split(jax.random.key(seed), 20) for seed in (0, 1))

    def loss(params):
        metrics = [drawn.gradient(params, batch, key)[0][1][1] for key in tests]
        return np.mean([values["loss_negation"] for values in metrics])

    descend = jax.jit(lambda p, g: jax.tree.map(lambda x, slope: x - 0.1 * slope, p, g))
    params, before = drawn.params, loss(drawn.params)
    for key in (*keys, *keys):
        params = descend(params, drawn.gradient(params, batch, key)[1])
    after = loss(params)
    assert after < 0.6 * before


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:absl")
@pytest.mark.slow
def test_the_same_loop_trains_validates_and_exports_it(simulated, tmp_path):
    config = run_config(
        simulated,
        steps=2,
        objective=MultitaskConfig(hidden=8),
        checkpoint=CheckpointConfig(every=2, keep=1),
    )
    pretrain(config, tmp_path / "run", log=lambda line: None)
    rows = read_metrics(tmp_path / "run")
    assert np.isfinite([row[f"loss_{name}"] for row in rows[:2] for name in TASKS]).all()
    assert "validation_loss" in rows[-1]
    export(tmp_path / "run", tmp_path / "encoder")
    encoder = load_encoder(tmp_path / "encoder")
    assert encoder.metadata["config"]["objective"]["copies"] == "drawn"


def test_a_config_of_either_objective_survives_json_and_takes_overrides(tmp_path):
    for kind, name in ((MultitaskConfig, "hidden=7"), (PrimusConfig, "queue_size=7")):
        config = Config(data=DataConfig(train=("a",)), objective=kind())
        again = from_dict(to_dict(config))
        assert again == config
        assert type(again.objective) is kind
        path = tmp_path / f"{kind.__name__}.py"
        path.write_text(
            "from primus_jax.config import Config\n"
            f"from {kind.__module__} import {kind.__name__}\n"
            f"def get_config():\n    return Config(objective={kind.__name__}())\n"
        )
        read = read_config(str(path), [f"--config.objective.{name}"])
        assert getattr(read.objective, name.split("=")[0]) == 7
        for wrong in (f"--config.objective.{name}.5x", "--config.objective.nonsense=1"):
            with pytest.raises(PrimusError):
                read_config(str(path), [wrong])
    with pytest.raises(PrimusError, match="nonsense"):
        from_dict({"objective": {"nonsense": 1, "hidden": 3}})


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"copies": "some"}, "copies"),
        ({"hidden": 0}, "hidden"),
        ({"positive_share": 1.0}, "positive_share"),
        ({"noise": 0.0}, "noise"),
        ({"segments": 1}, "segments"),
        ({"rotation_degrees": 200.0}, "rotation_degrees"),
    ],
)
def test_configs_that_mean_nothing_are_refused(values, word):
    with pytest.raises(PrimusError, match=word):
        MultitaskConfig(**values).validate(batch_size=64)
