"""ResNet1D against the original program, and its statistics on meshes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax.sharding import PartitionSpec
from support.relcon_golden import assert_close, golden, golden_params

from primus_jax.errors import PrimusError
from primus_jax.hub.layout import layout
from primus_jax.hub.torch_names import from_torch_names, to_torch_names
from primus_jax.models.batch_norm import RUNNING, join, sown, split
from primus_jax.models.compute import ComputeConfig, mark_varying
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.parallel.sharding import make_mesh

SMALL = ResNet1DConfig(width1=8, width2=16, width3=24)
TINY = ResNet1DConfig(width1=2, width2=3, width3=4)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def trained(config, params, windows, axis_name=None):
    """Embeddings by batch statistics, and the running statistics that follow."""
    outputs, collections = config.build().apply(
        {"params": params}, windows, True, axis_name, mutable=["running"]
    )
    return outputs["emb"], sown(collections["running"])


@pytest.mark.parametrize(
    ("samples", "dtype"),
    [(256, np.float64), (256, np.float32)]
    + [
        pytest.param(samples, dtype, marks=pytest.mark.slow)
        for samples in (200, 1000)
        for dtype in (np.float64, np.float32)
    ],
)
def test_embeds_as_the_original(float64, samples, dtype):
    theirs = golden(f"resnet1d.eval/small_{samples}")
    params = golden_params("resnet1d.weights/small", SMALL, dtype)
    windows = jnp.asarray(theirs["in/x"].transpose(0, 2, 1), dtype)
    ours = jax.jit(SMALL.build().apply)({"params": params}, windows)["emb"]
    assert_close(ours, theirs["out/embedding"], 1e-9 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("samples", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_embeds_by_batch_statistics_as_the_original(float64, samples):
    theirs = golden(f"resnet1d.train/small_{samples}")
    params = golden_params("resnet1d.weights/small", SMALL)
    x = golden(f"resnet1d.eval/small_{samples}")["in/x"]
    step = jax.jit(functools.partial(trained, SMALL))
    assert_close(step(params, jnp.float64(x.transpose(0, 2, 1)))[0], theirs["out/embedding"], 1e-9)


def test_trains_as_the_original(float64):
    theirs = golden("resnet1d.train/small_256")
    params, running = split(golden_params("resnet1d.weights/small", SMALL))
    x = golden("resnet1d.eval/small_256")["in/x"]

    def loss(params, windows):
        embedding, after = trained(SMALL, join(params, running), windows)
        return jnp.sum(embedding**2) / 2, (embedding, after)

    step = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    (grads, slope), (embedding, after) = step(params, jnp.float64(x.transpose(0, 2, 1)))
    assert_close(embedding, theirs["out/embedding"], 1e-9)
    assert_close(slope.transpose(0, 2, 1), theirs["grad/x"], 1e-9)
    # Biases in front of a normalisation have no gradient: rounding noise on both sides.
    largest = max(np.abs(v).max() for n, v in theirs.items() if n.startswith("grad/basic"))
    for name, (path, _) in layout(SMALL).items():
        if path[-1] in RUNNING:
            assert_close(flatten_dict(after)[path], theirs[f"out/{name}"], 1e-9)
        else:
            difference = np.abs(flatten_dict(grads)[path].T - theirs[f"grad/{name}"]).max()
            assert difference < 1e-9 * largest, name


def test_the_published_size():
    window = jax.ShapeDtypeStruct((1, 256, 6), jnp.float32)
    config = ResNet1DConfig()
    shapes = jax.eval_shape(config.build().init, jax.random.key(0), window)["params"]
    trained, running = split(shapes)
    assert sum(x.size for x in jax.tree.leaves(trained)) == 3_635_840
    assert {path: x.shape[::-1] for path, x in flatten_dict(shapes).items()} == dict(
        layout(config).values()
    )
    assert {path[-1] for path in flatten_dict(running)} == set(RUNNING)


@pytest.fixture(scope="module")
def batch():
    windows = jax.random.normal(jax.random.key(1), (24, 40, 3)) * 3 + 9.8
    return TINY.build().init(jax.random.key(0), windows[:1])["params"], windows


@functools.cache
def sharded(devices):
    """Loss, gradients and statistics of a batch over a mesh."""

    def loss(params, running, windows):
        def local(params, running, windows):
            params = join(mark_varying(params, windows), running)
            embedding, after = trained(TINY, params, windows, "data")
            return jax.lax.psum(jnp.sum(embedding**2), "data"), after

        specs = PartitionSpec(), PartitionSpec(), PartitionSpec("data")
        return jax.shard_map(
            local, mesh=make_mesh(devices), in_specs=specs, out_specs=(PartitionSpec(),) * 2
        )(params, running, windows)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.mark.parametrize("devices", [pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 8)])
def test_statistics_are_those_of_all_devices(batch, devices):
    params, running = split(batch[0])

    def whole(params):
        embedding, after = trained(TINY, join(params, running), batch[1])
        return jnp.sum(embedding**2), after

    (expected, after), slopes = jax.jit(jax.value_and_grad(whole, has_aux=True))(params)
    (value, ours), grads = sharded(devices)(params, running, batch[1])
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    for mine, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    largest = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(slopes))
    for mine, theirs in zip(jax.tree.leaves(grads), jax.tree.leaves(slopes), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4 * largest)


@pytest.mark.slow
def test_running_statistics_take_no_gradient(batch):
    params, running = split(batch[0])
    apply = TINY.build().apply
    value = lambda r: jnp.sum(apply({"params": join(params, r)}, batch[1])["emb"])  # noqa: E731
    assert all(not np.any(x) for x in jax.tree.leaves(jax.grad(value)(running)))


def test_the_gyroscope_is_read_by_option_only(batch):
    windows = np.random.default_rng(0).normal(size=(2, 40, 6)).astype(np.float32)
    still = windows * (np.arange(6) < 3)
    for channels, alike in ((3, True), (6, False)):
        config = ResNet1DConfig(width1=2, width2=3, width3=4, channels=channels)
        params = config.build().init(jax.random.key(0), windows)["params"]
        first, second = (
            config.build().apply({"params": params}, x)["emb"] for x in (windows, still)
        )
        assert np.array_equal(first, second) == alike


@pytest.mark.slow
def test_bfloat16_and_recomputation_change_little(batch):
    params, windows = batch
    plain, _ = trained(TINY, params, windows)
    for compute, tolerance in ((ComputeConfig("bfloat16"), 0.1), (ComputeConfig(remat=True), 1e-6)):
        outputs, _ = TINY.build(compute).apply(
            {"params": params}, windows, True, mutable=["running"]
        )
        assert outputs["emb"].dtype == jnp.float32
        np.testing.assert_allclose(outputs["emb"], plain, atol=tolerance)


def test_names_of_the_released_files_are_read_and_written(batch):
    tensors = to_torch_names(batch[0], TINY)
    assert "basicblock_list.3.projection_conv.weight" in tensors
    files = {f"encoder.{name}": x for name, x in tensors.items()}
    files["encoder.first_block_bn.num_batches_tracked"] = np.int64(5)
    params, config = from_torch_names(files)
    assert config == TINY
    for ours, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(batch[0]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_bad_windows_are_refused(batch):
    for shape, words in (((1, 10, 6), "at least 11"), ((1, 40, 4), "first 3 channels")):
        with pytest.raises(PrimusError, match=words):
            TINY.build().apply({"params": batch[0]}, jnp.zeros(shape))
