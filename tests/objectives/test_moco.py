"""MoCo: the golden steps, a slow reference of queue and momentum, meshes, and the train step."""

import dataclasses
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image
from support.img2imu_golden import golden
from support.tiny_config import run_config
from support.tiny_vision import (
    ONLY_NOISE,
    TINY,
    Layer,
    assert_close,
    batch_of,
    pictures,
    sharded,
    train,
)

from data_prep.images.write import write_image_folder
from primus_jax.cli import main
from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.config_file import read_config
from primus_jax.encoder import load_encoder
from primus_jax.errors import PrimusError
from primus_jax.export.run import export
from primus_jax.models.batch_norm import split
from primus_jax.models.motion import MotionConfig
from primus_jax.models.vision.augment import SENSOR_AWARE, ImageAugmentConfig
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.numerics import normalize
from primus_jax.objectives.moco import KEY, MocoConfig, logits
from primus_jax.objectives.queue import Queue, Rows
from primus_jax.optim import OptimConfig
from primus_jax.parallel.sharding import MeshConfig
from primus_jax.training.loop import pretrain
from primus_jax.training.metrics import read_metrics


def toy(config, layer):
    """The objective with one layer for a ResNet, on views that the batch brings."""
    objective = config.build(TINY)
    objective.resnet = layer
    objective.forward = lambda params, batch, key: (batch["first"], batch["second"])
    return objective


def dense(values, name):
    return {"kernel": values[f"{name}.weight"].T, "bias": values[f"{name}.bias"]}


def tree_of(values, mlp):
    """Weights by their PyTorch names as parameters of the toy."""
    layers = {"hidden": "fc.0", "out": "fc.2"} if mlp else {"out": "fc"}
    head = {ours: dense(values, theirs) for ours, theirs in layers.items()}
    return {"encoder": {"vision": {"body": dense(values, "body")}}, "head": head}


def of_kind(case, kind):
    prefix = f"{kind}/"
    return {n.removeprefix(prefix): x for n, x in case.items() if n.startswith(prefix)}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_three_steps_are_those_of_the_published_program(version):
    case = golden(f"moco.steps/{version}")
    options, out = of_kind(case, "opt"), of_kind(case, "out")
    mlp = bool(options["mlp"])
    views, queue = case["in/views"], case["in/queue"].T
    config = MocoConfig(
        dim=queue.shape[1],
        queue_size=len(queue),
        head="mlp" if mlp else "linear",
        temperature=float(options["temperature"]),
        momentum=float(options["momentum"]),
    )
    objective = toy(config, Layer(normed=False, width=len(case["param/body.bias"])))
    optimizer = optax.chain(
        optax.add_decayed_weights(float(options["weight_decay"])),
        optax.sgd(float(options["lr"]), float(options["sgd_momentum"])),
    )
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, tree_of(of_kind(case, "param"), mlp))
        running = {"vision": {"running_mean": jnp.zeros(())}}
        everybody = jnp.ones(len(queue), bool)
        rows = Rows(jnp.asarray(queue), everybody, jnp.full(len(queue), -1, jnp.int32))
        extra = {
            KEY: params,
            "key_statistics": running,
            "statistics": running,
            "queue": Queue(jnp.int32(0), {KEY: rows}),
        }
        step = jax.jit(jax.value_and_grad(objective.loss, has_aux=True))
        state = optimizer.init(params)
        for number, (first, second) in enumerate(views):
            batch = batch_of(first, second)
            (loss, (extra, _)), grads = step(params, extra, {}, batch, jax.random.key(0))
            assert_close(loss, out[f"loss{number}"], 1e-9)
            assert_close(extra["queue"].rows[KEY].embedding.T, out[f"queue{number}"], 1e-9)
            assert int(extra["queue"].next) == out[f"pointer{number}"]
            with jax.numpy_dtype_promotion("standard"):
                updates, state = optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
        for ours, name in ((params, "query"), (extra[KEY], "key")):
            theirs = tree_of(of_kind(out, name), mlp)
            jax.tree.map(lambda x, y: assert_close(x, y, 1e-9), ours, theirs)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_loss_and_its_gradient_are_the_golden_ones(version):
    case = golden(f"moco.loss/{version}")
    with jax.enable_x64(True):

        def loss(query):
            sides = normalize(query), normalize(jnp.asarray(case["in/key"]))
            scores = logits(*sides, case["in/queue"].T, float(case["opt/temperature"]))
            return jnp.mean(jax.nn.logsumexp(scores, 1) - scores[:, 0])

        value, grad = jax.jit(jax.value_and_grad(loss))(jnp.asarray(case["in/query"]))
    assert_close(value, case["out/loss"], 1e-9)
    assert_close(grad, case["grad/query"], 1e-9)


PIXELS, BATCH = 12, 16


@pytest.fixture(scope="module")
def case():
    """A toy with normalisation, its state, and four batches of views."""
    config = MocoConfig(dim=4, queue_size=48, head="mlp", momentum=0.9, temperature=0.2)
    objective = toy(config, Layer())

    @jax.jit
    def state(key):
        keys = jax.random.split(key, 4)
        whole = {"vision": objective.resnet.init(keys[0], jnp.zeros((1, PIXELS)))["params"]}
        encoder, running = split(whole)
        head = objective.head.init(keys[1], jnp.zeros((1, 5)))["params"]
        params = {"encoder": encoder, "head": head}
        other = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(keys[2], x.shape), params)
        kept = {"key_statistics": running, "statistics": running}
        return params, {KEY: other, **kept, "queue": objective.full_queue(keys[3])}

    params, extra = state(jax.random.key(1))
    rng = np.random.default_rng(0)
    first = rng.normal(size=(4, BATCH, PIXELS)).astype(np.float32)
    second = first + rng.normal(size=first.shape).astype(np.float32) / 2
    batches = [batch_of(*views) for views in zip(first, second, strict=True)]
    return objective, params, extra, batches, sharded(objective, 8)


def test_queue_and_momentum_are_those_of_a_slow_reference(case):
    objective, params, extra, batches, step = case
    weights = jax.tree.map(lambda x: np.array(x, np.float64), extra[KEY])
    stored = np.array(extra["queue"].rows[KEY].embedding, np.float64)
    place, config = 0, objective.config

    def embed(weights, view, running=None):
        vision, head = weights["encoder"]["vision"], weights["head"]
        x = np.float64(view) @ vision["body"]["kernel"] + vision["body"]["bias"]
        mean, variance = (x.mean(0), x.var(0)) if running is None else running
        x = (x - mean) / np.sqrt(variance + 1e-5)
        x = np.maximum(x * vision["bn"]["scale"] + vision["bn"]["bias"], 0)
        x = np.maximum(x @ head["hidden"]["kernel"] + head["hidden"]["bias"], 0)
        x = x @ head["out"]["kernel"] + head["out"]["bias"]
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    for number, batch in enumerate(batches):  # the fourth wraps around
        query_weights = jax.tree.map(lambda x: np.array(x, np.float64), params)
        weights = jax.tree.map(
            lambda old, new: config.momentum * old + (1 - config.momentum) * new,
            weights, query_weights,
        )  # fmt: skip
        query, keys = embed(query_weights, batch["first"]), embed(weights, batch["second"])
        losses, right, traces = [], [], []
        for i in range(BATCH):
            own = query[i] @ keys[i] / config.temperature
            others = [query[i] @ row / config.temperature for row in stored]
            losses.append(-own + np.log(np.exp(own) + np.exp(others).sum()))
            right.append(own > max(others))
            strangers = np.mean([query[i] @ keys[j] for j in range(BATCH) if j != i])
            earlier = others[: number * BATCH]
            traces.append(strangers - np.mean(earlier) * config.temperature if number else 0)
        for row in keys:
            stored[place], place = row, (place + 1) % config.queue_size
        (loss, (extra, metrics)), grads = step(params, extra, {}, batch, jax.random.key(0))
        assert float(loss) == pytest.approx(np.mean(losses), rel=1e-5)
        assert float(metrics["accuracy"]) == np.mean(right)
        assert float(metrics["batch_trace"]) == pytest.approx(np.mean(traces), abs=1e-5)
        assert int(extra["queue"].next) == place
        np.testing.assert_allclose(extra["queue"].rows[KEY].embedding, stored, atol=1e-5)
        jax.tree.map(lambda x, y: assert_close(x, y, 1e-5), extra[KEY], weights)
        params = jax.tree.map(lambda x, g: x - 0.3 * g, params, grads)
    # Validation takes everything as it is, and the running statistics.
    arguments = params, extra, {}, batches[0], jax.random.key(0)
    loss, (after, _) = jax.jit(objective.validation_loss)(*arguments)
    jax.tree.map(np.testing.assert_array_equal, after, extra)
    sides = []
    for tree, kept, view in (
        (params, "statistics", "first"),
        (extra[KEY], "key_statistics", "second"),
    ):
        running = extra[kept]["vision"]["bn"]
        wide = jax.tree.map(lambda x: np.array(x, np.float64), tree)
        sides.append(
            embed(wide, batches[0][view], (running["running_mean"], running["running_var"]))
        )
    own = (sides[0] * sides[1]).sum(1) / config.temperature
    others = sides[0] @ stored.T / config.temperature
    expected = np.mean(np.log(np.exp(own) + np.exp(others).sum(1)) - own)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_one_device_and_eight_have_one_loss_and_one_next_state(case):
    objective, params, extra, batches, step = case
    arguments = params, extra, {}, batches[0], jax.random.key(0)
    eight, one = step(*arguments), sharded(objective, 1)(*arguments)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-5), eight, one)


def test_the_device_that_holds_a_picture_leaves_no_trace(case):
    """Shuffled normalisation would be there for this alone."""
    _, params, extra, batches, step = case
    order = np.random.default_rng(3).permutation(BATCH)
    moved = {name: x[order] for name, x in batches[0].items()}
    before, after = (step(params, extra, {}, b, jax.random.key(0)) for b in (batches[0], moved))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), before, after)


def test_no_gradient_passes_through_keys_and_queue(case):
    objective, params, extra, batches, _ = case
    rows = extra["queue"].rows[KEY]

    def loss(key, embedding):
        queue = Queue(extra["queue"].next, {KEY: rows._replace(embedding=embedding)})
        kept = extra | {KEY: key, "queue": queue}
        return objective.loss(params, kept, {}, batches[0], jax.random.key(0))[0]

    grads = jax.jit(jax.grad(loss, (0, 1)))(extra[KEY], rows.embedding)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(grads))


def image_config(**values):
    given = {"data": DataConfig(train=("pictures",), batch_size=8), "steps": 2, "encoder": TINY}
    given |= {"optim": OptimConfig(lr=1e-2), "objective": MocoConfig(dim=8, queue_size=16)}
    return Config(**(given | values))


def check_two_steps(setup, start, state, found):
    """What holds after two steps: a full queue of unit rows, and a key encoder that follows."""
    assert all(np.isfinite(list(metrics.values())).all() for metrics in found)
    assert all(metrics["grad_norm"] > 0 for metrics in found)
    assert int(state.extra["queue"].next) == 0  # two batches fill the queue
    stored = np.asarray(state.extra["queue"].rows[KEY].embedding)
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, rtol=1e-5)
    first, query, key = (
        jax.tree.leaves(tree) for tree in (start.params, state.params, state.extra[KEY])
    )
    furthest = lambda leaves: max(np.abs(x - y).max() for x, y in zip(leaves, first, strict=True))  # noqa: E731
    assert 0 < furthest(key) < 0.01 * furthest(query)


def test_two_steps_through_the_train_step(monkeypatch):
    layer = Layer(TINY.resnet.features)
    monkeypatch.setattr("primus_jax.objectives.image_views.ResNet", lambda config, compute: layer)
    objective = MocoConfig(dim=8, queue_size=16, augment="own", own=ONLY_NOISE)
    check_two_steps(*train(image_config(objective=objective), 1))


def test_the_exported_encoder_is_a_vision_encoder():
    objective = MocoConfig().build(TINY)
    batch = {"image": np.zeros((1, 96, 128, 3), np.uint8)}
    params, extra = jax.eval_shape(objective.init, jax.random.key(0), batch)
    assert extra["queue"].rows[KEY].embedding.shape == (4096, 64)
    ours = jax.eval_shape(objective.exported, params, extra)
    init = TINY.build().init
    theirs = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 256, 6)))["params"]
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, theirs)


@pytest.mark.slow
def test_a_real_network_trains_alike_on_one_device_and_split_over_eight():
    config = image_config(encoder=VisionConfig(channels=8))
    check_two_steps(*(alone := train(config, 1)))
    config = dataclasses.replace(config, mesh=MeshConfig(fsdp=True))
    _, _, state, found = train(config, 8)
    for ours, theirs in zip(found, alone[-1], strict=True):
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(value, rel=5e-3, abs=1e-3), name
    close = lambda x, y: np.testing.assert_allclose(x, y, atol=2e-3)  # noqa: E731
    jax.tree.map(close, state.extra[KEY], alone[2].extra[KEY])


@pytest.mark.slow
def test_a_run_on_pictures_resumes_and_its_encoder_takes_windows(simulated, tmp_path):
    (tmp_path / "raw").mkdir()
    for number, image in enumerate(pictures(0, 60)["image"]):
        Image.fromarray(image).save(tmp_path / "raw" / f"{number}.png")
    folder = write_image_folder([tmp_path / "raw"], tmp_path / "pictures", validation=0.4)
    objective = MocoConfig(dim=8, queue_size=32, augment="own", own=ONLY_NOISE)
    config = run_config(
        folder.path, objective=objective, encoder=TINY, steps=2,
        checkpoint=CheckpointConfig(every=1),
    )  # fmt: skip
    with pytest.raises(PrimusError, match=r"images\.json does not exist"):
        pretrain(
            dataclasses.replace(config, data=DataConfig(train=(str(simulated),), batch_size=16)),
            tmp_path / "windows",
            log=len,
        )
    folder = tmp_path / "run"
    whole = jax.tree.map(np.asarray, pretrain(config, folder, log=len))
    rows = read_metrics(folder)
    validated = [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert len(validated) == 2
    assert np.isfinite(validated).all()
    for step in (folder / "checkpoints").iterdir():
        if step.name.endswith("2"):
            shutil.rmtree(step)
    lines = []
    again = pretrain(config, folder, log=lines.append)
    assert any("resuming at step 1" in line for line in lines)
    jax.tree.map(np.testing.assert_array_equal, again, whole)
    with pytest.raises(PrimusError, match="pictures, which have no rate"):
        export(folder, tmp_path / "encoder")
    stated = ["--rate", "50", "--window", "5"]
    assert main(["export", str(folder), "--to", str(tmp_path / "encoder"), *stated]) == 0
    encoder = load_encoder(tmp_path / "encoder")
    assert (encoder.rate_hz, encoder.config) == (50, TINY)
    assert np.isfinite(encoder.encode_windows(np.ones((2, 250, 6), np.float32))).all()


def test_the_rows_of_the_papers_table_are_options_of_its_recipe():
    recipe = str(Path(__file__).parents[2] / "configs" / "img2imu.py")
    options = ["--config.objective.augment=own", "--config.objective.own.translate=0"]
    assert read_config(recipe, []).objective.strengths == SENSOR_AWARE
    strengths = read_config(recipe, options).objective.strengths
    assert strengths == dataclasses.replace(SENSOR_AWARE, translate=0)
    config = read_config(recipe, ["--config.objective.kind=simsiam"])
    config.validate()
    assert (config.objective.kind, config.steps, config.data.batch_size) == (
        "simsiam",
        200_182,
        256,
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"queue_size": 20}, "data.batch_size 8 does not divide. Set it to a multiple, as 16"),
        ({"queue_size": 4}, "Set it to a multiple, as 8"),
        ({"momentum": 1.0}, "never move"),
        ({"temperature": 0.0}, "more than 0"),
        ({"dim": 0}, "at least 1"),
        ({"head": "deep"}, "'linear', 'mlp'"),
        ({"augment": "none"}, "'sensor', 'moco', 'moco_v2', 'all', 'own'"),
        ({"own": ImageAugmentConfig(hue=2)}, "objective.own.hue is 2"),
        ({"own": ImageAugmentConfig(segments=129)}, "at most 128"),
    ],
)
def test_a_setting_that_means_nothing_is_a_sentence(change, sentence):
    objective = dataclasses.replace(MocoConfig(dim=8, queue_size=16), **change)
    with pytest.raises(PrimusError, match=sentence):
        image_config(objective=objective).validate()


@pytest.mark.parametrize(
    ("encoder", "sentence"),
    [
        (MotionConfig(), "--config.encoder.kind=vision"),
        (VisionConfig(gyroscope="channels"), "six channels"),
        (VisionConfig(multihead=True), "Set it to False"),
    ],
)
def test_an_encoder_that_sees_no_pictures_is_a_sentence(encoder, sentence):
    with pytest.raises(PrimusError, match=sentence):
        image_config(encoder=encoder).validate()
