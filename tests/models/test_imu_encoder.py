"""The encoder against published golden values, against PyTorch, and inside shard_map."""

import itertools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from primus_jax.errors import PrimusError
from primus_jax.hub.torch_names import from_torch_names, layout
from primus_jax.models.layers import adaptive_mean, max_pool3
from primus_jax.models.released import CHOICES, ReleasedConfig

IMU2CLIP = ReleasedConfig(third_pool="max", multihead=False)
PRIMUS = ReleasedConfig()
NORMS = [
    ReleasedConfig(norm="layer", embed_dim=24, channels=6),
    ReleasedConfig(norm="instance", embed_dim=24, channels=6, readout="gru_time"),
    ReleasedConfig(norm="instance", embed_dim=24, third_pool="max", multihead=False),
]
VARIANTS = [
    ReleasedConfig(input_norm=norm, activation=activation, readout=readout, embed_dim=40)
    for norm, activation, readout in itertools.product(
        CHOICES["input_norm"], CHOICES["activation"], CHOICES["readout"]
    )
] + [
    ReleasedConfig(readout=readout, third_pool="max", multihead=False, embed_dim=40, activation=a)
    for readout, a in zip(CHOICES["readout"], ("none", "gelu", "gelu"), strict=True)
]


def describe(config):
    return "-".join(
        [config.norm, config.input_norm, config.activation, config.readout, config.third_pool]
        + ([] if config.multihead else ["single"])
    )


def sine_params(config):
    """Every tensor is 0.1 sin(0.7 k + 1), k its flat index in PyTorch's layout."""
    shapes = {name: shape for name, (_, shape) in layout(config).items()}
    tensors = {
        name: (0.1 * np.sin(0.7 * np.arange(math.prod(s)) + 1)).reshape(s)
        for name, s in shapes.items()
    }
    return from_torch_names(tensors, config)[0]


def sine_window(samples):
    t, c = np.arange(samples)[:, None], np.arange(6)
    return (np.sin(0.01 * (c + 1) * t + 0.5 * c) + 0.1 * c).astype(np.float32)[None]


def outputs_and_layers(config, imu):
    model = config.build()
    run = jax.jit(lambda p, x: model.apply({"params": p}, x, capture_intermediates=True))
    outputs, state = run(sine_params(config), imu)
    layers = {k: v["__call__"][0] for k, v in state["intermediates"].items() if k != "__call__"}
    return outputs, layers


def assert_golden(value, first_four, norm):
    flat = np.asarray(value).ravel()
    np.testing.assert_allclose(flat[:4], first_four, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(flat), norm, rtol=1e-5)


def channels_first(value):
    return np.swapaxes(value, 1, 2)


def test_golden_imu2clip():
    outputs, layers = outputs_and_layers(IMU2CLIP, sine_window(1000))
    assert_golden(
        channels_first(layers["norm0"]),
        [0.06329878, 0.06450174, 0.06570458, 0.06690718],
        8.44518789,
    )
    for name, shape, first_four, norm in (
        ("conv1", (1, 32, 327), [0.06224871, 0.06139593, 0.06020194, 0.05871965], 3.05782120),
        ("conv2", (1, 32, 106), [-0.00358513, -0.00400949, -0.00396069, -0.00346673], 0.34230684),
        ("conv3", (1, 32, 32), [-0.00137780, -0.00131877, -0.00131011, -0.00128148], 0.03054145),
    ):
        pooled = channels_first(max_pool3(layers[name]))
        assert pooled.shape == shape
        assert_golden(pooled, first_four, norm)
    assert_golden(
        channels_first(layers["norm1"]),
        [0.05454709, 0.05605141, 0.05627213, 0.05700194],
        2.27586586,
    )
    assert list(outputs) == ["emb"]
    assert outputs["emb"].shape == (1, 512)
    assert_golden(outputs["emb"], [0.93200893, 0.91705417, 0.88415654, 0.75221151], 12.83234197)


def test_golden_primus():
    outputs, layers = outputs_and_layers(PRIMUS, sine_window(250))
    block = channels_first(adaptive_mean(layers["conv3"], 32))
    assert_golden(block, [-0.00124749, -0.00124749, -0.00122812, -0.00120875], 0.02859405)
    assert_golden(
        channels_first(layers["norm1"]),
        [0.05922451, 0.05922451, 0.05972088, 0.06021726],
        2.26289271,
    )
    assert_golden(outputs["emb"], [0.93211738, 0.91692122, 0.88423148, 0.75233213], 12.83219944)
    for head in ("mmcl", "ssl"):
        assert_golden(outputs[head], [1.85475023, 2.09931353, 2.16438947, 2.05842706], 33.65454606)


def init_shapes(config, samples):
    model, window = config.build(), jax.ShapeDtypeStruct((2, samples, 6), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), window)["params"]


def test_number_of_parameters():
    for config, samples, expected in ((IMU2CLIP, 1000, 850_892), (PRIMUS, 250, 1_376_204)):
        leaves = jax.tree.leaves(init_shapes(config, samples))
        assert sum(leaf.size for leaf in leaves) == expected


def test_smallest_and_largest_window():
    assert PRIMUS.sample_range()[0] == 123
    assert IMU2CLIP.sample_range() == (978, 1004)
    for readout, third_pool in itertools.product(CHOICES["readout"], CHOICES["third_pool"]):
        config = ReleasedConfig(readout=readout, third_pool=third_pool, bins=5)
        low, high = config.sample_range()
        shapes = init_shapes(config, low)
        assert shapes == init_shapes(config, 1999 if high is None else high)
        for bad in [low - 1] + ([] if high is None else [high + 1]):
            with pytest.raises(PrimusError, match=f"windows of {bad} samples"):
                init_shapes(config, bad)


def test_wrong_input_and_config():
    with pytest.raises(PrimusError, match=r"expected \[batch, time, 6\]"):
        PRIMUS.build().init(jax.random.key(0), jnp.zeros((250, 6)))
    for field, value in (
        ("norm", "batch"),
        ("readout", "mean"),
        ("channels", 30),
        ("bins", 0),
        ("embed_dim", 12.0),
        ("multihead", 1),
    ):
        with pytest.raises(PrimusError, match=f"encoder.{field} is {value!r}"):
            ReleasedConfig(**{field: value}).validate()


def test_initial_values_are_those_of_pytorch():
    """U(+-1/sqrt(fan_in)) for convolutions and linear layers, U(+-1/sqrt(hidden)) for the GRU."""
    model = PRIMUS.build()
    params = jax.jit(model.init)(jax.random.key(3), sine_window(250))["params"]
    bounds = {"conv1": 60, "conv2": 160, "conv3": 160, "gru": 512, "ssl_head": 512}
    for module, fan_in in bounds.items():
        for name, value in params[module].items():
            bound = fan_in**-0.5
            peak, deviation = float(jnp.abs(value).max()), float(value.std())
            assert 0.98 * bound < peak <= bound, (module, name)
            np.testing.assert_allclose(deviation, bound / math.sqrt(3), rtol=0.06)
    for module in ("norm0", "norm1"):
        assert (params[module]["scale"] == 1).all()
        assert (params[module]["bias"] == 0).all()


@pytest.mark.parametrize("readout", [pytest.param("gru_channels", marks=pytest.mark.slow), "pool"])
def test_same_inside_shard_map(readout):
    config = ReleasedConfig(readout=readout, embed_dim=24)
    model = config.build()
    imu = 5 * jax.random.normal(jax.random.key(0), (16, 130, 6))
    params = jax.jit(model.init)(jax.random.key(1), imu)["params"]

    def loss(params, imu):
        outputs = model.apply({"params": params}, imu)
        return sum(jnp.square(value).mean() for value in outputs.values())

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    sharded = jax.shard_map(
        lambda params, imu: jax.lax.pmean(loss(params, imu), "data"),
        mesh=mesh,
        in_specs=(P(), P("data")),
        out_specs=P(),
    )
    dense_value, dense_grads = jax.jit(jax.value_and_grad(loss))(params, imu)
    value, grads = jax.jit(jax.value_and_grad(sharded))(params, imu)
    np.testing.assert_allclose(value, dense_value, rtol=1e-6)
    for ours, dense in zip(jax.tree.leaves(grads), jax.tree.leaves(dense_grads), strict=True):
        np.testing.assert_allclose(ours, dense, atol=1e-5 * float(jnp.abs(dense).max()))


def test_gradient_is_finite_where_nothing_varies():
    """A window at rest, reduced to one step before pooling: no deviation, no maximum to prefer."""
    config = ReleasedConfig(readout="pool", embed_dim=8)
    model = config.build()
    imu = jnp.zeros((2, config.sample_range()[0], 6))
    params = jax.jit(model.init)(jax.random.key(1), imu)["params"]
    grads = jax.jit(jax.grad(lambda p: model.apply({"params": p}, imu)["emb"].sum()))(params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(grads))


def test_max_pool_passes_nan_and_gives_the_gradient_to_the_first():
    x = jnp.array([1.0, jnp.nan, 2.0, 5.0, 5.0, 1.0, 0.0, 3.0, 3.0, 9.0]).reshape(1, 10, 1)
    np.testing.assert_array_equal(jax.jit(max_pool3)(x).ravel(), [np.nan, 5, 3])
    grad = jax.jit(jax.grad(lambda x: max_pool3(x).sum()))(x).ravel()
    np.testing.assert_array_equal(grad[3:], [1, 0, 0, 0, 1, 0, 0])


def test_each_norm_sees_its_own_channels():
    """Scaling one channel changes what is normalised with it, and nothing else."""
    imu = np.random.default_rng(0).normal(size=(1, 130, 6)).astype(np.float32)
    louder = imu * np.array([3, 1, 1, 1, 1, 1], np.float32)
    for norm, touched in (("instance", [0]), ("group", [0, 1, 2]), ("layer", range(6))):
        config = ReleasedConfig(norm=norm, readout="pool", embed_dim=4, channels=4)
        first, second = (outputs_and_layers(config, x)[1]["norm0"] for x in (imu, louder))
        changed = np.abs(first - second).max((0, 1)) > 1e-3
        # By itself a channel is what it was, whatever its scale.
        expected = np.zeros(6, bool) if norm == "instance" else np.isin(np.arange(6), touched)
        np.testing.assert_array_equal(changed, expected)


@pytest.mark.parametrize("norm", CHOICES["norm"])
def test_golden_norms(norm):
    """Outputs and gradients that the published class gives with both norms replaced."""
    path = Path(__file__).resolve().parents[3] / "shared" / "spec" / "golden" / "ambient.npz"
    if not path.is_file():
        pytest.skip("no folder of golden numbers (../shared/spec/golden) beside this checkout")
    with np.load(path, allow_pickle=False) as file:
        golden = {name: file[name] for name in file.files if name.startswith("norm")}
    weights, case = "norm/weights/param/", f"norm.{norm}/x"
    tensors = {n.removeprefix(weights): v for n, v in golden.items() if n.startswith(weights)}
    config = ReleasedConfig(norm=norm, third_pool="max", multihead=False, embed_dim=24)
    assert config.norm_groups == tuple(golden[f"{case}/opt/groups_{end}"] for end in ("in", "out"))

    def half_square(params, imu):
        embedding = config.build().apply({"params": params}, imu)["emb"]
        return jnp.square(embedding).sum() / 2, embedding

    with jax.enable_x64(True):
        params = jax.tree.map(lambda v: v.astype(np.float64), from_torch_names(tensors, config)[0])
        imu = golden["norm/x/in/imu"].astype(np.float64).swapaxes(1, 2)
        run = jax.jit(jax.value_and_grad(half_square, has_aux=True))
        (_, embedding), grads = run(params, imu)
    assert relative_error(embedding, golden[f"{case}/out/embedding"]) < 1e-9
    check_gradients(grads, {name: golden[f"{case}/grad/{name}"] for name in layout(config)}, config)


def check_gradients(grads, expected, config):
    """To 1e-9 of the largest; those that are zero but for rounding, of all gradients."""
    smallest = 1e-4 * max(np.abs(value).max() for value in expected.values())
    for name, ((module, leaf), _) in layout(config).items():
        difference = np.abs(np.asarray(grads[module][leaf]).T - expected[name]).max()
        assert difference < 1e-9 * max(np.abs(expected[name]).max(), smallest), name


def relative_error(ours, theirs):
    theirs = np.asarray(theirs)
    return np.abs(np.asarray(ours) - theirs).max() / max(np.abs(theirs).max(), 1e-30)


def torch_pair(config):
    """The same encoder, randomly initialised, in PyTorch and as our parameters."""
    torch = pytest.importorskip("torch")
    from support.torch_imu_encoder import TorchEncoder

    torch.manual_seed(0)
    reference = TorchEncoder(config)
    names = {name: p.detach().numpy() for name, p in reference.named_parameters()}
    return torch, reference, from_torch_names(names, config)[0]


def compare_gradients(config, imu):
    """Outputs and every gradient, in float64, to 1e-9 of the largest."""
    torch, reference, params = torch_pair(config)
    reference = reference.double()
    signal = torch.from_numpy(imu).double().requires_grad_()
    expected = reference(signal)
    sum(v.flatten() @ torch.arange(v.numel()).double().cos() for v in expected.values()).backward()
    gradients = {name: p.grad.numpy() for name, p in reference.named_parameters()}

    def weighted(params, imu):
        outputs = config.build().apply({"params": params}, imu)
        weights = {k: jnp.cos(jnp.arange(v.size, dtype=v.dtype)) for k, v in outputs.items()}
        return sum(v.ravel() @ weights[k] for k, v in outputs.items()), outputs

    with jax.enable_x64(True):
        params, imu = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (params, imu))
        run = jax.jit(jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True))
        (_, outputs), (grads, signal_grad) = run(params, imu)
    assert outputs.keys() == expected.keys()
    for head, value in expected.items():
        assert relative_error(outputs[head], value.detach()) < 1e-9
    assert relative_error(signal_grad, signal.grad) < 1e-9
    check_gradients(grads, gradients, config)


def slow_unless_needed(config):
    """Every pair of settings occurs among the quick ones; the other combinations are slow."""
    first = config.readout != "gru_time"
    quick = (config.activation == "none") == ((config.input_norm == "group") == first)
    quick = quick or config in NORMS
    marks = () if quick or not config.multihead else pytest.mark.slow
    return pytest.param(config, id=describe(config), marks=marks)


@pytest.mark.parametrize("config", [slow_unless_needed(c) for c in VARIANTS + NORMS])
def test_gradients_equal_pytorch(config):
    """Random windows and one of zeros, whose max-pooling ties exactly."""
    samples = 150 if config.third_pool == "adaptive" else 1000
    scale = np.array([5.0] * 3 + [1.0] * 3)
    imu = np.random.default_rng(0).normal([0, 9.8, 0, 0, 0, 0], scale, (3, samples, 6))
    imu[2] = 0
    compare_gradients(config, imu.astype(np.float32))


def test_time_steps_above_the_bins_are_averaged():
    compare_gradients(ReleasedConfig(readout="gru_time", bins=7, embed_dim=24), sine_window(250))


def compare_outputs(config, imu):
    """Float32 outputs to 1e-5."""
    torch, reference, params = torch_pair(config)
    outputs = jax.jit(config.build().apply)({"params": params}, imu)
    with torch.no_grad():
        expected = reference(torch.from_numpy(imu))
    for head, value in expected.items():
        np.testing.assert_allclose(outputs[head], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [PRIMUS, *VARIANTS[-2:], *NORMS], ids=describe)
def test_outputs_equal_pytorch(config):
    samples = 250 if config.third_pool == "adaptive" else 1000
    imu = np.random.default_rng(1).normal([0, 9.8, 0, 0, 0, 0], 1.0, (4, samples, 6))
    # At rest: only the rounding of the normalisation's sums is left to see.
    imu[3] = imu[3, :1]
    compare_outputs(config, imu.astype(np.float32))


@pytest.mark.parametrize("config", [PRIMUS, *VARIANTS[-2:]], ids=describe)
def test_outputs_equal_pytorch_on_real_recordings(config, shared_data):
    with np.load(shared_data / "usc_had.npz", allow_pickle=False) as file:
        pack = dict(file)
    scale = np.repeat([pack["acc_scale"], pack["gyro_scale"]], 3).astype(np.float32)
    imu = np.ascontiguousarray(pack["signal"][:4000]).reshape(4, 1000, 6) * scale
    compare_outputs(config, np.ascontiguousarray(imu[:, ::4]) if config == PRIMUS else imu)
