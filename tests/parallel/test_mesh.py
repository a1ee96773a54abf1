"""Meshes and split parameters: other speed and memory, the same training (law 3)."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny_config import run_config

from primus_jax.cli import main
from primus_jax.config import CheckpointConfig
from primus_jax.data.inputs import example_batch
from primus_jax.errors import PrimusError
from primus_jax.models.compute import ComputeConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import OptimConfig, make_optimizer
from primus_jax.parallel import sharding
from primus_jax.parallel.sharding import MeshConfig
from primus_jax.roofline.traffic import bytes_sent
from primus_jax.training.checkpoint import Checkpoints
from primus_jax.training.digest import digest
from primus_jax.training.loop import pretrain
from primus_jax.training.metrics import read_metrics
from primus_jax.training.run import load_state
from primus_jax.training.state import abstract_state, state_maker
from primus_jax.training.step import make_train_step

LAYOUTS = {
    "slices": {"devices": 8, "mesh": MeshConfig(replicas=2)},
    "fsdp": {"devices": 8, "mesh": MeshConfig(fsdp=True)},
    "slices of fsdp": {
        "devices": 8,
        "mesh": MeshConfig(replicas=4, fsdp=True),
        "compute": ComputeConfig(micro_batches=2),
    },
}
STEPS, HALF = 6, 3


def config_of(folder, **values):
    return run_config(
        folder,
        optim=OptimConfig(lr=1e-3, clip_norm=5.0),
        checkpoint=CheckpointConfig(every=HALF, keep=2),
        **{"steps": STEPS, **values},
    )


def train(folder, workdir, **values):
    return pretrain(config_of(folder, **values), workdir, log=lambda line: None)


@pytest.fixture(scope="module")
def alone(simulated, tmp_path_factory):
    """Six steps on one device."""
    workdir = tmp_path_factory.mktemp("mesh") / "alone"
    return workdir, train(simulated, workdir)


def differences(workdir, state, alone):
    """Largest relative difference of the losses, and of the parameters in learning rates."""
    losses = [
        np.array([row["loss"] for row in read_metrics(folder) if "loss" in row])
        for folder in (workdir, alone[0])
    ]
    assert len(losses[0]) == STEPS
    apart = jax.tree.map(
        lambda x, y: np.abs(np.asarray(x) - np.asarray(y)).max(), state.params, alone[1].params
    )
    return np.abs(losses[0] / losses[1] - 1).max(), max(jax.tree.leaves(apart)) / 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_run_on_another_mesh_is_the_same_run(name, simulated, alone, tmp_path):
    state = train(simulated, tmp_path / "run", **LAYOUTS[name])
    loss, parameters = differences(tmp_path / "run", state, alone)
    assert loss < 1e-5
    assert parameters < 0.05


@pytest.mark.slow
def test_a_run_changes_its_mesh_at_every_restart(simulated, alone, tmp_path):
    for steps, layout in zip((2, 4, STEPS), ("slices of fsdp", "fsdp", "slices"), strict=True):
        state = train(simulated, tmp_path / "run", steps=steps, **LAYOUTS[layout])
    loss, parameters = differences(tmp_path / "run", state, alone)
    assert loss < 1e-5
    assert parameters < 0.05


@pytest.mark.slow
def test_split_parameters_are_saved_whole_and_restored_bit_equal_in_any_layout(simulated, tmp_path):
    layout = LAYOUTS["slices of fsdp"]
    state = train(simulated, tmp_path / "run", **layout)
    widest = max(jax.tree.leaves(state.params), key=lambda x: x.size)
    assert widest.addressable_shards[0].data.size * 2 == widest.size
    here, config, _ = load_state(tmp_path / "run", "latest")
    assert digest(here) == digest(state)
    objective, make = _made(config)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    for devices, replicas, fsdp in ((8, 1, True), (2, 1, True), (8, 8, False), (4, 2, True)):
        mesh = sharding.make_mesh(devices, replicas)
        abstract = abstract_state(make, objective, mesh, fsdp)
        there = checkpoints.restore_step(STEPS, abstract)
        assert jax.tree.map(lambda x: x.sharding, there) == jax.tree.map(
            lambda x: x.sharding, abstract
        )
        assert digest(there) == digest(state)
    checkpoints.close()


def test_the_digest_sees_every_value_and_its_place_however_it_lies():
    mesh = sharding.make_mesh(8, 2)
    values = np.random.default_rng(0).normal(size=(16, 24)).astype(np.float32)
    plain = digest({"w": jnp.asarray(values)})
    specs = [(), ("data",), (None, "data"), ("replica", "data"), (("replica", "data"),)]
    for spec in specs:
        where = jax.NamedSharding(mesh, jax.P(*spec))
        assert digest({"w": jax.device_put(values, where)}) == plain
    damaged = [values.copy() for _ in range(3)]
    damaged[0].view(np.uint32)[7, 11] ^= 1
    damaged[1][[3, 5]] = damaged[1][[5, 3]]
    damaged[2][0, 0], damaged[2][15, 23] = values[15, 23], values[0, 0]
    digests = {digest({"w": jnp.asarray(x)}) for x in damaged}
    assert len(digests | {plain, digest({"v": jnp.asarray(values)})}) == 5
    assert digest({"w": jnp.asarray(values.reshape(24, 16))}) != plain


@pytest.mark.slow
def test_split_state_takes_a_fraction_of_the_memory_and_only_parts_cross_replicas():
    config = dataclasses.replace(
        config_of("nowhere"),
        encoder=MotionConfig(channels=32, head_layers=2),
        objective=PrimusConfig(neighbors=False),
    )
    objective, make = _made(config)
    optimizer = make_optimizer(config.optim, config.steps)
    size = 4 * sum(x.size for x in jax.tree.leaves(jax.eval_shape(make).params))

    def compiled(replicas, fsdp):
        mesh = sharding.make_mesh(8, replicas)
        step = make_train_step(objective, optimizer, mesh, 0, fsdp=fsdp)
        rows = jax.NamedSharding(mesh, sharding.rows(mesh))
        batch = {
            name: jax.ShapeDtypeStruct((16, *x.shape[1:]), x.dtype, sharding=rows)
            for name, x in example_batch(PrimusConfig().inputs(130, 512)).items()
        }
        stop = jax.ShapeDtypeStruct((8,), bool, sharding=rows)
        done = step.lower(abstract_state(make, objective, mesh, fsdp), {}, batch, stop).compile()
        return done.memory_analysis().argument_size_in_bytes, bytes_sent(done.as_text())

    whole, summed = compiled(1, False)
    assert summed["all-reduce"] == pytest.approx(2 * 7 / 8 * size, rel=0.02)
    split, scattered = compiled(1, True)
    assert split < 0.2 * whole
    assert scattered["reduce-scatter"] == pytest.approx(7 / 8 * size, rel=0.1)
    assert scattered["all-gather"] == pytest.approx(7 / 8 * size, rel=0.1)
    assert scattered["all-reduce"] < 0.1 * size
    # Four devices share a copy: each sums a quarter of the gradient with one other device.
    assert compiled(2, True)[1]["all-reduce"] == pytest.approx(size / 4, rel=0.2)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--config.mesh.replicas=3"], ["mesh.replicas is 3", "8 devices"]),
        (["--config.mesh.replicas=0"], ["mesh.replicas is 0", "at least 1"]),
        (["--config.data.batch_size=12"], ["batch_size 12", "8 devices"]),
        (["--config.devices=99"], ["devices is 99", "8 devices"]),
    ],
)
def test_a_mesh_that_does_not_fit_is_named(more, words, simulated, tmp_path, capsys):
    config = str(Path(__file__).parents[1] / "support" / "tiny_config.py")
    command = ["pretrain", "--config", config, "--workdir", str(tmp_path / "run")]
    assert main([*command, f"--config.data.train=('{simulated}',)", *more]) == 2
    said = capsys.readouterr().err
    for word in words:
        assert word in said
    assert not (tmp_path / "run").exists()


class Slice:
    """A device as a pod of several slices shows it."""

    platform = "tpu"

    def __init__(self, number):
        self.slice_index = number


def test_replicas_must_be_the_slices_of_the_pod(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [Slice(i // 4) for i in range(8)])
    for replicas in (1, 4):
        with pytest.raises(PrimusError, match="2 slices"):
            sharding.make_mesh(0, replicas)


def _made(config):
    objective = config.objective.build(config.encoder, config.compute)
    optimizer = make_optimizer(config.optim, config.steps)
    return objective, state_maker(
        objective, optimizer, 0, example_batch(PrimusConfig().inputs(130, 512))
    )
