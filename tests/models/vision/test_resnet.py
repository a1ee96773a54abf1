"""ResNet on images against PyTorch and the golden numbers, and its statistics on meshes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict
from jax.sharding import PartitionSpec
from support.img2imu_golden import WEIGHTS, golden

from primus_jax.errors import PrimusError
from primus_jax.hub.layout import resnet_layout
from primus_jax.hub.resnet import from_torchvision, read_resnet, to_torchvision
from primus_jax.models.batch_norm import RUNNING, join, sown, split
from primus_jax.models.compute import ComputeConfig, mark_varying
from primus_jax.models.vision.resnet import MEAN, ResNet, ResNetConfig, standardise
from primus_jax.parallel.sharding import make_mesh

TINY = ResNetConfig(width=2, classes=3)
TINY50 = ResNetConfig(depth=50, width=2, classes=3)
SIZES = ["w8_96x128", "w8_64x64"]


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def assert_close(ours, theirs, tolerance, scale=None) -> None:
    """Equal to `tolerance`, relative to the largest entry."""
    scale = scale or max(float(np.abs(theirs).max()), 1e-300)
    worst = float(np.abs(np.asarray(ours, np.float64) - np.asarray(theirs)).max()) / scale
    assert worst < tolerance, worst


def random_params(config, seed=0):
    """Initial parameters with running statistics, scales and biases that are not 0 or 1."""
    images = jnp.zeros((1, 32, 32, config.channels))
    params = ResNet(config).init(jax.random.key(seed), images)["params"]
    rng = np.random.default_rng(seed)
    moved = lambda x: jnp.float32(x + rng.uniform(-0.4, 0.4, x.shape))  # noqa: E731
    return jax.tree.map(lambda leaf: leaf if leaf.ndim > 1 else moved(leaf), params)


def trained(config, params, images, axis_name=None):
    """Outputs by batch statistics, and the running statistics that follow."""
    outputs, collections = ResNet(config).apply(
        {"params": params}, images, True, axis_name, mutable=["running"]
    )
    return outputs, sown(collections["running"])


def golden_images(size, dtype):
    return jnp.asarray(golden(f"resnet18.eval/{size}")["in/x"].transpose(0, 2, 3, 1), dtype)


def golden_params(dtype):
    golden("resnet18.weights/w8")
    params, config = read_resnet(WEIGHTS)
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), params), config


@pytest.mark.parametrize("size", [SIZES[0], pytest.param(SIZES[1], marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_golden_evaluation(float64, size, dtype):
    params, config = golden_params(dtype)
    assert config == ResNetConfig(width=8, classes=6)
    theirs, tolerance = golden(f"resnet18.eval/{size}"), 1e-9 if dtype == np.float64 else 1e-5
    outputs, seen = ResNet(config).apply(
        {"params": params}, golden_images(size, dtype), capture_intermediates=True
    )
    assert_close(outputs["logits"], theirs["out/logits"], tolerance)
    assert_close(outputs["features"], theirs["out/features"], tolerance)
    assert_close(outputs["map"].mean((1, 2)), theirs["out/features"], tolerance)
    for stage in (1, 2, 3):
        block = seen["intermediates"][f"layer{stage}_1"]["__call__"][0]
        assert_close(block.mean((1, 2)), theirs[f"out/layer{stage}_mean"], tolerance)


@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        (SIZES[0], np.float64),
        pytest.param(SIZES[0], np.float32, marks=pytest.mark.slow),
        *(
            pytest.param(SIZES[1], dtype, marks=pytest.mark.slow)
            for dtype in (np.float64, np.float32)
        ),
    ],
)
def test_golden_training(float64, size, dtype):
    whole, config = golden_params(dtype)
    params, running = split(whole)
    theirs, tolerance = golden(f"resnet18.train/{size}"), 1e-9 if dtype == np.float64 else 1e-5

    def loss(params, images):
        outputs, after = trained(config, join(params, running), images)
        labels = jnp.asarray(theirs["opt/labels"])
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs["logits"], labels)
        return losses.mean(), (outputs["logits"], after)

    step = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (value, (logits, after)), (grads, slope) = step(params, golden_images(size, dtype))
    assert_close(value, theirs["out/loss"], tolerance)
    assert_close(logits, theirs["out/logits"], tolerance)
    slopes = to_torchvision(join(grads, jax.tree.map(jnp.zeros_like, running)), config)
    statistics = to_torchvision(join(jax.tree.map(jnp.zeros_like, params), after), config)
    # To float32 for the names; a gradient in float32 behind batch statistics of three images.
    rounded = {"grad/": 1e-6 if dtype == np.float64 else 5e-4, "out/": 1e-5}
    for name, expected in theirs.items():
        kind = name[: name.index("/") + 1]
        if name == "grad/x":
            assert_close(slope.transpose(0, 3, 1, 2), expected, rounded[kind])
        elif kind == "grad/":
            assert_close(slopes[name.removeprefix(kind)], expected, rounded[kind])
        elif "running" in name:
            assert_close(statistics[name.removeprefix(kind)], expected, rounded[kind])


def test_torchvisions_own_network():
    """ResNet-18 of full size, filled by the formula of the golden numbers."""
    theirs = golden("resnet18.torchvision/full")
    config = ResNetConfig(classes=int(theirs["opt/classes"]))
    tensors = {}
    for name, (_, shape) in resnet_layout(config).items():
        k = np.arange(np.prod(shape), dtype=np.float64)
        if len(shape) == 4:
            value = np.sqrt(4 / np.prod(shape[1:])) * np.sin(0.7 * k + 1)
        elif name == "fc.weight":
            value = np.sqrt(2 / 512) * np.sin(0.7 * k + 1)
        elif name.endswith("running_mean"):
            value = 0.1 * np.sin(0.5 * k)
        elif name.endswith("running_var"):
            value = 1 + 0.5 * np.sin(0.3 * k) ** 2
        else:
            value = 0.1 * np.cos(k) if name.endswith("bias") else 1 + 0.1 * np.sin(k)
        tensors[name] = value.reshape(shape)
    params, found = from_torchvision(tensors)
    assert found == config
    trainable = sum(x.size for x in jax.tree.leaves(split(params)[0]))
    assert trainable == int(theirs["out/parameters"])
    height, width = int(theirs["opt/height"]), int(theirs["opt/width"])
    row, column, c = np.ogrid[:height, :width, :3]
    images = np.sin(0.01 * (c + 1) * (row * width + column) + 0.5 * c)[None]
    outputs = jax.jit(ResNet(config).apply)({"params": params}, jnp.float32(images))
    assert_close(outputs["features"], theirs["out/features"], 1e-5)
    assert_close(outputs["logits"], theirs["out/logits"], 1e-5)


@pytest.mark.parametrize(
    "config", [TINY, pytest.param(TINY50, marks=pytest.mark.slow)], ids=["18", "50"]
)
def test_the_same_network_in_pytorch(config):
    torch = pytest.importorskip("torch")
    from support.torch_resnet import TorchResNet

    params = random_params(config)
    tensors = to_torchvision(params, config)
    module = TorchResNet(config)
    module.load_state_dict({name: torch.tensor(x) for name, x in tensors.items()})
    again, found = from_torchvision(module_tensors(module))
    assert found == config
    jax.tree.map(np.testing.assert_array_equal, again, jax.device_get(params))
    images = np.random.default_rng(1).normal(size=(4, 70, 65, 3)).astype(np.float32)
    channels_first = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        features, logits = module.eval()(channels_first)
    ours = jax.jit(ResNet(config).apply)({"params": params}, images)
    # Fifty layers of random weights round to 1.1e-5 on some CPUs; trained weights have 1e-5 above.
    limit = 1e-5 if config.depth == 18 else 2e-5
    assert_close(ours["features"], features.numpy(), limit)
    assert_close(ours["logits"], logits.numpy(), limit)
    with torch.no_grad():
        features, logits = module.train()(channels_first)
    ours, after = jax.jit(functools.partial(trained, config))(params, images)
    assert_close(ours["features"], features.numpy(), 1e-4)
    assert_close(ours["logits"], logits.numpy(), 1e-4)
    theirs = to_torchvision(join(split(params)[0], after), config)
    for name, tensor in module_tensors(module).items():
        if name in theirs:
            assert_close(theirs[name], tensor, limit)


def module_tensors(module):
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    return {name: x for name, x in state.items() if not name.endswith("num_batches_tracked")}


@functools.cache
def sharded(devices):
    """Loss, gradients and statistics of a batch over a mesh."""

    def loss(params, running, images):
        def local(params, running, images):
            params = join(mark_varying(params, images), running)
            outputs, after = trained(TINY, params, images, "data")
            return jax.lax.psum(jnp.sum(outputs["logits"] ** 2), "data"), after

        specs = PartitionSpec(), PartitionSpec(), PartitionSpec("data")
        return jax.shard_map(
            local, mesh=make_mesh(devices), in_specs=specs, out_specs=(PartitionSpec(),) * 2
        )(params, running, images)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.mark.parametrize("devices", [pytest.param(n, marks=pytest.mark.slow) for n in (2, 4)])
def test_statistics_are_those_of_all_devices(devices):
    params, running = split(random_params(TINY))
    images = jax.random.normal(jax.random.key(1), (8, 40, 33, 3)) + 3
    # Every device has images of another brightness.
    images = images * jnp.arange(1, 9, dtype=jnp.float32)[:, None, None, None]
    (expected, after), slopes = sharded(1)(params, running, images)
    (value, ours), grads = sharded(devices)(params, running, images)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    for mine, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(after), strict=True):
        assert_close(mine, np.asarray(theirs), 1e-5)
    largest = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(slopes))
    for mine, theirs in zip(jax.tree.leaves(grads), jax.tree.leaves(slopes), strict=True):
        assert_close(mine, np.asarray(theirs), 1e-4, largest)


def test_a_frozen_encoder_treats_every_image_by_itself():
    params = random_params(TINY)
    images = jax.random.normal(jax.random.key(1), (3, 40, 33, 3))
    apply = jax.jit(ResNet(TINY).apply)
    together = apply({"params": params}, images)["features"]
    alone = apply({"params": params}, jnp.stack([images[1]] * 3))["features"][0]
    np.testing.assert_allclose(together[1], alone, atol=1e-6)
    total = lambda running: jnp.sum(  # noqa: E731
        apply({"params": join(split(params)[0], running)}, images)["features"]
    )
    assert not any(np.any(x) for x in jax.tree.leaves(jax.grad(total)(split(params)[1])))


def test_sizes_are_torchvisions():
    for config, count in (
        (ResNetConfig(classes=1000), 11_689_512),
        (ResNetConfig(depth=50, classes=1000), 25_557_032),
    ):
        image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
        shapes = jax.eval_shape(ResNet(config).init, jax.random.key(0), image)["params"]
        assert sum(x.size for x in jax.tree.leaves(split(shapes)[0])) == count
        found = flatten_dict(shapes)
        table = {path: shape for path, shape in resnet_layout(config).values()}
        assert found.keys() == table.keys()
        assert {path[-1] for path in flatten_dict(split(shapes)[1])} == set(RUNNING)


@pytest.mark.slow
def test_bfloat16_and_recomputation_change_little():
    params = random_params(TINY)
    images = jax.random.normal(jax.random.key(1), (3, 40, 33, 3))
    plain = ResNet(TINY).apply({"params": params}, images)["features"]
    for compute, tolerance in (
        (ComputeConfig("bfloat16"), 0.05),
        (ComputeConfig(remat=True), 1e-6),
    ):
        outputs = ResNet(TINY, compute).apply({"params": params}, images)
        assert outputs["features"].dtype == jnp.float32
        assert_close(outputs["features"], np.asarray(plain), tolerance)


def test_standardised_images():
    images = jnp.broadcast_to(jnp.asarray(np.tile(MEAN, 2)), (2, 4, 4, 6))
    np.testing.assert_allclose(standardise(images), 0, atol=1e-6)
    np.testing.assert_allclose(standardise(images + 1)[0, 0, 0, 3:], 1 / 0.229 * np.array(
        [1, 0.229 / 0.224, 0.229 / 0.225]), rtol=1e-5)  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depth": 34}, "depth is 34; expected one of .18, 50."),
        ({"width": 0}, "width is 0"),
        ({"channels": 4}, "channels is 4; expected a multiple of 3"),
        ({"classes": -1}, "classes is -1"),
    ],
)
def test_wrong_configs(values, message):
    with pytest.raises(PrimusError, match=message):
        ResNetConfig(**values).validate()


def test_other_images_are_refused():
    with pytest.raises(PrimusError, match=r"expected \[batch, height, width, 3\]"):
        ResNet(TINY).init(jax.random.key(0), jnp.zeros((1, 32, 32, 4)))
