"""The split queue in training: the same run, restored on other devices; the queue is not copied."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.tiny_config import POOLED, run_config

from primus_jax.config import CheckpointConfig
from primus_jax.data.inputs import example_batch
from primus_jax.errors import PrimusError
from primus_jax.objectives.primus import Primus, PrimusConfig
from primus_jax.objectives.queue import Queue
from primus_jax.optim import OptimConfig
from primus_jax.parallel.sharding import make_mesh, rows
from primus_jax.training.loop import pretrain
from primus_jax.training.metrics import read_metrics
from primus_jax.training.state import abstract_state, state_maker
from primus_jax.training.step import make_train_step, sharded_loss

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:absl")
SIZE, STEPS = 40, 6


def train(folder, workdir, *, devices, steps, split, size=SIZE):
    config = run_config(
        folder,
        steps=steps,
        devices=devices,
        objective=PrimusConfig(
            self_supervised=False, queue_size=size, queue_sharded=split, queue_block=7
        ),
        optim=OptimConfig(lr=1e-4, schedule="constant", warmup_steps=0),
        checkpoint=CheckpointConfig(every=3, keep=2),
    )
    return pretrain(config, workdir, log=lambda line: None)


def without_encoded(queue):
    """The queue but for the encoder's output, which depends on the order of sums."""
    imu = queue.rows["imu"]._replace(embedding=0)
    return Queue(queue.next, queue.rows | {"imu": imu})


@pytest.mark.slow
def test_a_run_with_a_split_queue_moves_to_other_devices_and_is_the_same_run(simulated, tmp_path):
    whole = train(simulated, tmp_path / "whole", devices=1, steps=STEPS, split=False)
    for devices, steps in ((8, 3), (2, STEPS)):
        split = train(simulated, tmp_path / "split", devices=devices, steps=steps, split=True)
        for values in jax.tree.leaves(split.extra["queue"]):
            here = values.addressable_shards[0].data.shape
            assert here == (values.shape and (SIZE // devices, *values.shape[1:]))
    losses = [
        [row["loss"] for row in read_metrics(tmp_path / name) if "loss" in row]
        for name in ("whole", "split")
    ]
    assert len(losses[1]) == STEPS
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    one, many = (jax.device_get(x.extra["queue"]) for x in (whole, split))
    encoded = [queue.rows["imu"].embedding for queue in (many, one)]
    np.testing.assert_allclose(*encoded, atol=1e-3)  # equal but for the order of the encoder's sums
    jax.tree.map(np.testing.assert_array_equal, without_encoded(many), without_encoded(one))


def test_rows_that_devices_cannot_share_evenly_are_an_error(simulated, tmp_path):
    with pytest.raises(PrimusError, match=r"queue.* 36 rows.* 8 devices"):
        train(simulated, tmp_path / "run", devices=8, steps=2, split=True, size=36)
    with pytest.raises(PrimusError, match="queue_block is 0"):
        PrimusConfig(queue_block=0).validate(16)


@pytest.mark.parametrize(
    ("devices", "split"),
    [(1, False), pytest.param(8, False, marks=pytest.mark.slow), (8, True)],
)
def test_a_step_with_a_million_rows_copies_no_queue(devices, split):
    size, batch = 1_000_000, 256
    mesh = make_mesh(devices)
    placed = jax.NamedSharding(mesh, rows(mesh))
    example = {
        "imu": jax.ShapeDtypeStruct((batch, 130, 6), jnp.float32, sharding=placed),
        "index": jax.ShapeDtypeStruct((batch,), jnp.int32, sharding=placed),
    }
    objective = PrimusConfig(
        multimodal=False, self_supervised=False, targets=(), queue_size=size, queue_sharded=split
    ).build(POOLED)
    optimizer = optax.sgd(0.1)
    state = abstract_state(state_maker(objective, optimizer, 0, example), objective, mesh)
    assert state.extra["queue"].rows["imu"].embedding.shape == (size, 512)
    stop = jax.ShapeDtypeStruct((devices,), bool, sharding=placed)
    step = make_train_step(objective, optimizer, mesh, 0)
    memory = step.lower(state, {}, example, stop).compile().memory_analysis()
    held = size * (512 * 4 + 5) // (devices if split else 1)
    # The whole matrix of cosines alone would take 977 MiB, a copy of the queue 1958.
    assert memory.temp_size_in_bytes < 64 * 2**20
    assert memory.alias_size_in_bytes >= held
    assert memory.argument_size_in_bytes < held + 4 * 2**20


class Linear(Primus):
    """The objective with one matrix for an encoder: what is tested lies behind it."""

    def init(self, key, batch):
        params, extra = super().init(key, batch)
        params["encoder"] = jax.random.normal(key, (batch["imu"][0].size, 512))
        return params, extra

    def forward(self, params, batch, key):
        flat = batch["imu"].reshape(len(batch["imu"]), -1) @ params["encoder"]
        return {"mm": flat, "ssl": flat, "ssl_second": flat[:, ::-1]}


@pytest.fixture(scope="module")
def dense():
    """Parameters, a queue that is half full of few texts, a batch; and the value on no mesh."""
    objective = Linear(PrimusConfig(queue_size=SIZE), POOLED)
    rng = np.random.default_rng(0)
    batch = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(size=(16, *x.shape[1:])).astype(x.dtype)),
        example_batch(PrimusConfig().inputs(130, 512)),
    )
    texts = rng.normal(size=(3, 512))[rng.integers(0, 3, 16)]
    batch["text_embedding"] = jnp.asarray(texts, batch["text_embedding"].dtype)
    batch["index"] = jnp.asarray(rng.permutation(16), jnp.int32)
    batch["video_mask"] = jnp.asarray(rng.random(16) < 0.3)
    batch["text_mask"] = jnp.asarray(rng.random(16) < 0.7)
    params, extra = jax.jit(objective.init)(jax.random.key(0), batch)
    loss = jax.jit(jax.value_and_grad(objective.loss, has_aux=True))
    inputs = ({}, batch, jax.random.key(1))
    for _ in range(3):  # the third write wraps around
        before = extra
        value, grad = loss(params, extra, *inputs)
        extra = value[1][0]
    return params, before, inputs, value, grad


@pytest.mark.parametrize(
    ("devices", "split"),
    [
        (8, True),
        *[pytest.param(n, s, marks=pytest.mark.slow) for n in (2, 4) for s in (False, True)],
        *[
            pytest.param(n, s, marks=pytest.mark.slow)
            for n, s in ((1, False), (1, True), (8, False))
        ],
    ],
)
def test_the_objective_is_the_same_split_or_whole_on_any_devices(dense, devices, split):
    params, extra, inputs, (value, (after, metrics)), grad = dense
    config = PrimusConfig(queue_size=SIZE, queue_sharded=split, queue_block=3)
    mesh = make_mesh(devices, 2 if devices == 8 else 1)
    loss = jax.value_and_grad(sharded_loss(Linear(config, POOLED), mesh), has_aux=True)
    (many, (many_after, many_metrics)), many_grad = jax.jit(loss)(params, extra, *inputs)
    assert float(many) == pytest.approx(float(value), rel=1e-6)
    for name in metrics:
        assert float(many_metrics[name]) == pytest.approx(float(metrics[name]), rel=1e-5), name
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(grad))
    for x, y in zip(jax.tree.leaves(grad), jax.tree.leaves(many_grad), strict=True):
        np.testing.assert_allclose(y, x, atol=2e-6 * scale)
    encoded = [x["queue"].rows["imu"].embedding for x in (many_after, after)]
    np.testing.assert_allclose(*encoded, rtol=0, atol=1e-4)
    stored = [without_encoded(x["queue"]) for x in (many_after, after)]
    jax.tree.map(np.testing.assert_array_equal, *stored)
