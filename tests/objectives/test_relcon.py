"""Both stages of RelCon through the public loop: training, resuming, meshes, export, bad input."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from support.relcon_golden import assert_close, golden, golden_params
from support.tiny_config import POOLED, run_config

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.simulated.simulate import recordings
from primus_jax.config import CheckpointConfig, DataConfig
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.pipeline import Pipeline
from primus_jax.encoder import load_encoder
from primus_jax.errors import PrimusError
from primus_jax.export.run import export
from primus_jax.hub.folder import read_folder
from primus_jax.hub.layout import layout
from primus_jax.losses.relative import Ranking, relative_loss
from primus_jax.models.batch_norm import RUNNING, join, split
from primus_jax.models.compute import ComputeConfig
from primus_jax.models.motif import MotifConfig
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.objectives.base import Frozen
from primus_jax.objectives.motif import MotifObjectiveConfig
from primus_jax.objectives.motif_views import ViewConfig
from primus_jax.objectives.multitask import MultitaskConfig
from primus_jax.objectives.relcon import RelConConfig
from primus_jax.optim import OptimConfig
from primus_jax.parallel.sharding import global_batch, make_mesh, replicate
from primus_jax.recordings.windows import WindowSpec
from primus_jax.roofline.compiled import compile_step
from primus_jax.study.run import is_export_of
from primus_jax.training.digest import digest
from primus_jax.training.loop import pretrain
from primus_jax.training.metrics import read_metrics
from primus_jax.training.run import load_state
from primus_jax.training.setup import set_up

MOTIF = MotifConfig(features=8, blocks=1)
RESNET = ResNet1DConfig(width1=4, width2=6, width3=8)
ADAM = OptimConfig(name="adam", lr=1e-3, schedule="constant")
# Two changes only: the other six are compiled by tests of their own.
VIEWS = ViewConfig(of=("noise", "flip"))


def motif_config(folder, **values):
    objective = MotifObjectiveConfig(views=VIEWS)
    given = {"encoder": MOTIF, "objective": objective, "optim": ADAM, "steps": 3}
    return run_config(folder, **(given | values))


def relcon_config(folder, distance, objective=(), **values):
    settings = {"distance": str(distance), "candidates": 2, "near": "person", "pairs": 40}
    objective = RelConConfig(**(settings | dict(objective)))
    given = {"encoder": RESNET, "objective": objective, "optim": ADAM, "steps": 4}
    data = DataConfig(train=(str(folder),), batch_size=8, validation_batches=1)
    checkpoint = CheckpointConfig(every=2, keep=2)
    return dataclasses.replace(
        run_config(folder, **(given | {"checkpoint": checkpoint} | values)), data=data
    )


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """The simulated people of the other tests, all on one side: nothing is validated."""
    return write_dataset(
        recordings(seed=3, people=6, bouts=1, seconds=2.6),
        tmp_path_factory.mktemp("data") / "simulated",
        Origin("simulated", "Apache-2.0", simulated=True),
        Recipe(WindowSpec(seconds=2.6, hop_seconds=2.6), Splits((1.0, 0.0, 0.0), seed=0)),
    ).path


@pytest.fixture(scope="module")
def distance(simulated, tmp_path_factory):
    """A distance after three steps, exported; and its run."""
    folder = tmp_path_factory.mktemp("motif")
    pretrain(motif_config(simulated), folder / "run", log=len)
    export(folder / "run", folder / "distance")
    return folder / "distance"


@pytest.fixture(scope="module")
def whole(simulated, distance, tmp_path_factory):
    """Four steps of stage 2 on one device."""
    folder = tmp_path_factory.mktemp("relcon") / "run"
    lines = []
    state = pretrain(relcon_config(simulated, distance), folder, log=lines.append)
    return folder, state, lines


def test_the_distance_trains_and_its_folder_is_read_back(distance):
    rows = read_metrics(distance.parent / "run")
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    params, config, description = read_folder(distance)
    state, _, _ = load_state(distance.parent / "run", "best")
    assert config == MOTIF
    assert description["units"]["acc"] == "m/s2 with gravity"
    for ours, theirs in zip(
        jax.tree.leaves(params), jax.tree.leaves(state.params["encoder"]), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_the_loss_of_the_distance_falls(simulated, tmp_path):
    config = motif_config(simulated, steps=40, optim=dataclasses.replace(ADAM, lr=3e-3))
    pretrain(config, tmp_path / "run", log=len)
    errors = [r["relative_error"] for r in read_metrics(tmp_path / "run") if "relative_error" in r]
    assert np.mean(errors[-5:]) < 0.8 * np.mean(errors[:5])


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_the_distance_has_one_loss_on_any_mesh(simulated, distance, tmp_path, devices):
    pretrain(motif_config(simulated, steps=1, devices=devices), tmp_path / "run", log=len)
    ours = read_metrics(tmp_path / "run")[0]
    theirs = read_metrics(distance.parent / "run")[0]
    for name in ("loss", "relative_error", "grad_norm"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-4)


def test_the_encoder_trains_and_the_distance_stays_outside_the_state(whole, distance):
    folder, state, lines = whole
    rows = [row for row in read_metrics(folder) if "loss" in row]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert all(np.isfinite(row["loss"]) and row["grad_norm"] > 0 for row in rows)
    names = {"/".join(path) for path in flatten_dict(state.params)}
    assert not any("q_func" in name for name in names)
    assert {path[-1] for path in flatten_dict(state.extra["statistics"])} == set(RUNNING)
    run = json.loads((folder / "run.json").read_text())
    sha = json.loads((distance / "config.json").read_text())["weights_sha256"]
    assert run["towers"] == {"distance": sha}
    assert not any("fewer than" in line for line in lines)


def test_the_distance_is_an_argument_and_no_constant_of_the_step(simulated, distance):
    setup = set_up(relcon_config(simulated, distance), make_mesh(1), 130)
    towers = {"distance": read_folder(distance)[0]}
    stop = jax.ShapeDtypeStruct((1,), bool)
    text = setup.train_step.lower(setup.abstract, towers, setup.abstract_batch(), stop).as_text()
    largest = max(x.size for x in jax.tree.leaves(towers))
    constants = [line for line in text.splitlines() if 'stablehlo.constant dense<"0x' in line]
    assert all(len(line) < 8 * largest for line in constants)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [4])
def test_a_run_goes_on_with_the_same_numbers_on_another_mesh(
    simulated, distance, whole, tmp_path, devices
):
    config = relcon_config(simulated, distance)
    shutil.copytree(whole[0], tmp_path / "run")
    for step in (tmp_path / "run" / "checkpoints").iterdir():
        if step.name.endswith("4"):
            shutil.rmtree(step)
    lines = []
    config = dataclasses.replace(config, devices=devices)
    state = pretrain(config, tmp_path / "run", log=lines.append)
    assert any("resuming at step 2" in line for line in lines)
    ours = [r for r in read_metrics(tmp_path / "run") if "loss" in r]
    theirs = [r for r in read_metrics(whole[0]) if "loss" in r]
    assert int(state.step) == 4
    for mine, expected in zip(ours[-2:], theirs[-2:], strict=True):
        assert mine["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert mine["grad_norm"] == pytest.approx(expected["grad_norm"], rel=1e-3)
    for mine, expected in zip(
        jax.tree.leaves(state.extra), jax.tree.leaves(whole[1].extra), strict=True
    ):
        np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-3)


def test_it_is_exported_with_its_statistics(whole, tmp_path):
    folder, state, _ = whole
    export(folder, tmp_path / "encoder", checkpoint="latest")
    encoder = load_encoder(tmp_path / "encoder")
    trained, running = split(encoder.params)
    for ours, theirs in ((trained, state.params["encoder"]), (running, state.extra["statistics"])):
        assert digest(ours) == digest(theirs)
    windows = np.random.default_rng(0).normal(size=(3, 130, 6)).astype(np.float32)
    still = windows * (np.arange(6) < 3)
    embedding = encoder.encode_windows(windows)
    assert embedding.shape == (3, 8)
    np.testing.assert_array_equal(embedding, encoder.encode_windows(still))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "hard", "statistics": "apart"},
        {"loss": "log_ratio", "distance_dtype": "bfloat16"},
        {"candidates": 0, "ties": "released"},
    ],
)
def test_the_other_losses_and_choices_are_one_on_any_mesh(simulated, distance, settings):
    config = relcon_config(simulated, distance, settings)
    inputs = config.objective.inputs(130, 512)
    rows = next(Pipeline([DatasetFolder(simulated)], "train", 8, 0, inputs).from_step(0))
    losses = []
    for devices in (1, 4):
        setup = set_up(config, make_mesh(devices), 130)
        state = setup.init_state()
        towers = replicate(setup.mesh, {"distance": read_folder(distance)[0]})
        batch = global_batch(setup.mesh, rows)
        metrics = setup.eval_step(state.params, state.extra, towers, batch, np.int32(0))
        losses.append(float(metrics["loss"]))
    assert np.isfinite(losses).all()
    assert losses[0] == pytest.approx(losses[1], rel=2e-3 if "distance_dtype" in settings else 1e-4)


@pytest.mark.slow
def test_an_encoder_without_batch_statistics_is_trained_in_parts(simulated, distance, tmp_path):
    losses = []
    for parts in (1, 2):
        config = relcon_config(
            simulated,
            distance,
            {"channels": 6},
            steps=1,
            encoder=POOLED,
            compute=ComputeConfig(micro_batches=parts),
        )
        pretrain(config, tmp_path / f"run{parts}", log=len)
        losses.append(read_metrics(tmp_path / f"run{parts}")[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
def test_the_step_of_the_original_program():
    """Released choices: softmax, ties by place, statistics apart; one Adam step of rate 1e-3."""
    with jax.enable_x64(True):
        theirs = golden("relcon.step/small")
        motif, resnet = MotifConfig(features=16), ResNet1DConfig(width1=8, width2=16, width3=24)
        towers = {"distance": golden_params("motifdist.weights/small", motif)}
        trained, running = split(golden_params("resnet1d.weights/small", resnet))
        settings = RelConConfig(
            distance="x", attention="softmax", candidates=3, ties="released", statistics="apart"
        )
        objective = settings.build(resnet)
        batch = {
            "index": jnp.arange(4, dtype=jnp.int32),
            "motion": jnp.float64(theirs["in/anchors"]),
            "candidates": jnp.float64(theirs["in/candidates"]),
            "candidates_there": jnp.ones((4, 3), bool),
            "contents": jnp.arange(16, dtype=jnp.int32).reshape(4, 4),
        }

        def loss(params):
            extra = {"statistics": running}
            return objective.loss(params, extra, towers, batch, jax.random.key(0))

        (value, (extra, _)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(
            {"encoder": trained}
        )
        assert_close(value, theirs["out/loss"], 1e-8)
        grads, before = flatten_dict(grads["encoder"]), flatten_dict(trained)
        statistics = flatten_dict(extra["statistics"])
        for name, (path, _) in layout(resnet).items():
            if f"out/after/{name}" not in theirs:
                continue
            if path[-1] in RUNNING:
                ours = statistics[path]
            else:
                # The first step of Adam: m / sqrt(v) with both moments corrected.
                slope = grads[path]
                ours = before[path] - 1e-3 * slope / (jnp.abs(slope) + 1e-8)
            assert_close(np.asarray(ours).T, theirs[f"out/after/{name}"], 1e-7)


def infonce(anchors, candidates, there, temperature):
    """Each candidate against itself and the other anchors; sum over candidates, mean over rows."""
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
    anchors, candidates = unit(anchors), unit(candidates)
    total = 0.0
    for i, anchor in enumerate(anchors):
        others = np.exp(np.delete(anchors, i, 0) @ anchor / temperature).sum()
        for candidate in candidates[i][there[i]]:
            own = np.exp(candidate @ anchor / temperature)
            total -= np.log(own / (own + others))
    return total / len(anchors)


@pytest.mark.slow
def test_without_a_distance_the_relative_loss_is_infonce():
    draw = np.random.default_rng(0).normal(size=(5, 3, 7))
    anchors, own = draw[:, 0], draw[:, 1:]
    there = np.array([[True, True], [True, False], [True, True], [False, False], [True, True]])
    objective = RelConConfig(distance="none", candidates=2).build(RESNET)
    batch = {"motion": jnp.zeros((5, 4, 3)), "candidates": jnp.zeros((5, 2, 4, 3))}
    distances = objective._distances({}, batch, None)
    ranking = Ranking(jnp.asarray(anchors), jnp.asarray(own), distances, jnp.asarray(there))
    expected = infonce(anchors, own, there, 0.2)
    assert float(relative_loss(ranking, 0.2)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["euclidean", "dtw", "none"])
def test_distances_without_a_folder_are_one_on_any_mesh(simulated, kind):
    config = relcon_config(simulated, kind)
    rows = next(
        Pipeline(
            [DatasetFolder(simulated)], "train", 8, 0, config.objective.inputs(130, 512)
        ).from_step(0)
    )
    losses = []
    for devices in (1, 4):
        setup = set_up(config, make_mesh(devices), 130)
        state = setup.init_state()
        batch = global_batch(setup.mesh, rows)
        metrics = setup.eval_step(state.params, state.extra, {}, batch, np.int32(0))
        losses.append(float(metrics["loss"]))
    assert np.isfinite(losses).all()
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_candidate_that_is_an_anchor_counts_once():
    objective = RelConConfig(distance="x").build(RESNET)
    batch = {
        "candidates": jnp.zeros((3, 2)),
        "candidates_there": jnp.array([[True, True], [True, False], [True, True]]),
        "contents": jnp.array([[5, 9, 7], [7, 8, 1], [2, 5, 3]], jnp.int32),
    }
    there = objective._there(batch, None)
    assert there.tolist() == [[True, False], [True, False], [False, True]]


@pytest.mark.slow
def test_validation_takes_the_running_statistics(simulated, whole):
    _, state, _ = whole
    config = relcon_config(simulated, "none")
    inputs = config.objective.inputs(130, 512)
    rows = next(Pipeline([DatasetFolder(simulated)], "train", 8, 0, inputs).from_step(0))
    batch = {name: jnp.asarray(rows[name]) for one in inputs for name in one.arrays}
    batch["index"] = jnp.arange(8, dtype=jnp.int32)
    encoder = RESNET.build()
    objective = config.objective.build(RESNET)
    params = {"params": join(state.params["encoder"], state.extra["statistics"])}
    loss, (extra, _) = objective.validation_loss(
        state.params, state.extra, {}, batch, jax.random.key(0)
    )
    assert extra is state.extra
    embed = lambda x: encoder.apply(params, x.reshape(-1, 130, 3))["emb"]  # noqa: E731
    own = embed(batch["candidates"]).reshape(8, 2, -1)
    there = objective._there(batch, None)
    ranking = Ranking(embed(batch["motion"]), own, objective._distances({}, batch, None), there)
    assert float(loss) == pytest.approx(float(relative_loss(ranking, 0.1)), rel=1e-5)


def changed_folder(distance, to, change):
    """A copy of the distance whose config.json says something else."""
    shutil.copytree(distance, to)
    description = json.loads((to / "config.json").read_text())
    change(description)
    (to / "config.json").write_text(json.dumps(description))
    return to


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rate_hz": 100.0, "window_seconds": 1.3}, "trained at 100 Hz"),
        ({"units": {"acc": "g", "gyro": "rad/s"}}, "accelerations in 'g'"),
    ],
)
def test_a_distance_of_another_rate_or_unit_is_refused(
    simulated, distance, tmp_path, change, words
):
    other = changed_folder(distance, tmp_path / "other", lambda about: about.update(change))
    with pytest.raises(PrimusError, match=words):
        pretrain(relcon_config(simulated, other), tmp_path / "run", log=len)


def test_windows_shorter_than_a_kernel_of_the_distance_are_refused(simulated, distance):
    _, config, description = read_folder(distance)
    folder = DatasetFolder(simulated)
    folder.window_samples = 14
    network = {"distance": Frozen(str(distance), config, description)}
    with pytest.raises(PrimusError, match="at least 15"):
        RelConConfig(distance="x").check_frozen(network, [folder])


def test_a_run_does_not_go_on_with_another_distance(simulated, distance, whole, tmp_path):
    pretrain(motif_config(simulated, steps=1), tmp_path / "motif", log=len)
    export(tmp_path / "motif", tmp_path / "distance")
    shutil.copytree(whole[0], tmp_path / "run")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    run["config"]["objective"]["distance"] = str(tmp_path / "distance")
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    again = relcon_config(simulated, tmp_path / "distance")
    with pytest.raises(PrimusError, match=f"other weights.*Restore those in {tmp_path}/distance"):
        pretrain(again, tmp_path / "run", log=len)
    # A study takes the encoder of neither run for one of the new distance.
    export(tmp_path / "run", tmp_path / "other")
    assert not is_export_of(tmp_path / "other", again)
    export(whole[0], tmp_path / "own")
    assert is_export_of(tmp_path / "own", relcon_config(simulated, distance))


def test_configs_that_do_not_fit_are_refused(simulated, distance, whole, tmp_path):
    export(whole[0], tmp_path / "encoder")
    cases = (
        (relcon_config(simulated, ""), "objective.distance is empty"),
        (relcon_config(simulated, tmp_path / "encoder"), "kind 'resnet1d'"),
        (relcon_config(simulated, distance, {"attention": "softmax"}), "measures by sparsemax"),
        (relcon_config(simulated, distance, {"channels": 6}), "reads 3 channels"),
        (relcon_config(simulated, distance, {"temperature": 0.0}), "temperature"),
        (relcon_config(simulated, "none", {"loss": "hard"}), "leaves InfoNCE"),
        (relcon_config(simulated, "none", {"candidates": 0}), "leaves InfoNCE"),
        (relcon_config(simulated, distance, {"loss": "soft"}), "objective.loss"),
        (relcon_config(simulated, distance, encoder=MOTIF), "which is the distance"),
        (
            relcon_config(simulated, distance, compute=ComputeConfig(micro_batches=2)),
            "statistics of the whole batch",
        ),
        (run_config(simulated, encoder=RESNET, objective=MultitaskConfig()), "does not keep"),
        (motif_config(simulated, encoder=RESNET), "trains the"),
    )
    for number, (config, words) in enumerate(cases):
        with pytest.raises(PrimusError, match=words):
            pretrain(config, tmp_path / f"run{number}", log=len)


@pytest.mark.slow
def test_its_step_is_compiled_on_shapes_alone(simulated, distance):
    compiled = compile_step(relcon_config(simulated, distance), make_mesh(2), 130)
    state = set_up(relcon_config(simulated, distance), make_mesh(1), 130).abstract
    assert compiled.parameters == sum(x.size for x in jax.tree.leaves(state.params))
