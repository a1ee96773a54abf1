"""bfloat16 and rematerialisation: the same encoder, other memory, and what rounding costs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.paired_batch import make_batch

from primus_jax.config import Config, DataConfig
from primus_jax.errors import PrimusError
from primus_jax.hub.layout import layout
from primus_jax.models.compute import ComputeConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.multitask import MultitaskConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import OptimConfig, make_optimizer
from primus_jax.parallel.sharding import make_mesh
from primus_jax.training.step import sharded_loss

ENCODERS = {
    "motion": MotionConfig(channels=8, blocks=2, head_layers=2, head_dim=16),
    "gru_channels": ReleasedConfig(channels=8, embed_dim=24),
    "gru_time": ReleasedConfig(channels=8, embed_dim=24, readout="gru_time", activation="gelu"),
    "pool": ReleasedConfig(
        channels=8, embed_dim=24, readout="pool", input_norm="fixed", activation="gelu"
    ),
}
PLAIN, REMAT = ComputeConfig(), ComputeConfig(remat=True)
NARROW, BOTH = ComputeConfig("bfloat16"), ComputeConfig("bfloat16", remat=True)
WAYS = {"remat": REMAT, "bfloat16": NARROW, "both": BOTH}
# The CPU's compiler removes barriers before it merges equal expressions, which undoes
# rematerialisation outside of loops; accelerators' compilers keep them.
KEEP_BARRIERS = {"xla_disable_hlo_passes": "cse_barrier_expander"}


@functools.cache
def windows():
    """32 windows of movement about gravity."""
    rng = np.random.default_rng(0)
    imu = rng.normal(size=(32, 130, 6)).cumsum(1) * 0.3 + [0, 0, 9.8, 0, 0, 0]
    return imu.astype(np.float32)


@functools.cache
def initial(name):
    """Parameters, the same for every way to compute."""
    init = jax.jit(ENCODERS[name].build().init)
    return init(jax.random.key(1), windows()[:1])["params"]


def scalar(name, compute, params):
    """Cosines of the outputs with fixed directions, summed; and the outputs."""
    outputs = ENCODERS[name].build(compute).apply({"params": params}, windows())
    total = jnp.zeros((), jnp.float32)
    for i, value in enumerate(outputs.values()):
        unit = value / jnp.linalg.norm(value, axis=-1, keepdims=True)
        total += jnp.sum(unit * jax.random.normal(jax.random.key(i), value.shape))
    return total, outputs


@functools.cache
def measured(name, compute):
    """Outputs, gradient and temporary bytes of the compiled gradient."""
    function = jax.jit(jax.grad(functools.partial(scalar, name, compute), has_aux=True))
    compiled = function.lower(initial(name)).compile(compiler_options=KEEP_BARRIERS)
    gradient, outputs = compiled(initial(name))
    return outputs, gradient, compiled.memory_analysis().temp_size_in_bytes


def relative(ours, reference):
    """Root mean square of the difference over that of the reference, of whole trees."""
    ours, reference = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
                       for tree in (ours, reference))  # fmt: skip
    return np.linalg.norm(ours - reference) / np.linalg.norm(reference)


def cosine(a, b):
    a, b = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in (a, b))
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def kept_bytes(name, compute):
    """What the forward pass keeps for the backward pass, parameters excluded."""
    encoder = ENCODERS[name].build(compute)
    apply = lambda params: encoder.apply({"params": params}, windows())  # noqa: E731
    backward = jax.eval_shape(lambda params: jax.vjp(apply, params)[1], initial(name))
    size = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))  # noqa: E731
    return size(backward) - size(initial(name))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) for n in ENCODERS],
)
def test_rematerialisation_changes_nothing_but_memory(name):
    outputs, gradient, _ = measured(name, PLAIN)
    again_outputs, again_gradient, _ = measured(name, REMAT)
    assert relative(again_outputs, outputs) < 1e-6
    assert relative(again_gradient, gradient) < 1e-5
    assert kept_bytes(name, REMAT) < 0.8 * kept_bytes(name, PLAIN)
    assert kept_bytes(name, BOTH) < 0.8 * kept_bytes(name, PLAIN)


@pytest.mark.parametrize(
    "name",
    [n if n == "gru_channels" else pytest.param(n, marks=pytest.mark.slow) for n in ENCODERS],
)
def test_bfloat16_rounds_and_keeps_the_direction_of_the_gradient(name):
    outputs, gradient, _ = measured(name, PLAIN)
    narrow_outputs, narrow_gradient, _ = measured(name, NARROW)
    # 8 significant bits are 2**-9 per rounding, and there are up to ten layers of them in a row.
    assert 1e-5 < relative(narrow_outputs, outputs) < 10 * 2**-9
    assert cosine(narrow_gradient, gradient) > 0.99
    assert kept_bytes(name, NARROW) < kept_bytes(name, PLAIN)


def test_the_compiler_needs_less_memory():
    plain = measured("motion", PLAIN)[2]
    assert measured("motion", REMAT)[2] < 0.7 * plain


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ENCODERS)
def test_parameters_and_outputs_are_the_same_in_name_shape_and_type(name, way):
    key, window = jax.random.key(1), windows()[:1]
    encoder = ENCODERS[name].build(WAYS[way])
    params = jax.eval_shape(encoder.init, key, window)["params"]
    expected = jax.eval_shape(lambda: initial(name))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), params) == jax.tree.map(
        lambda x: (x.shape, x.dtype), expected
    )
    assert {x.dtype for x in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    outputs = jax.eval_shape(lambda p: encoder.apply({"params": p}, window), params)
    for head, value in outputs.items():
        assert value.shape == (1, ENCODERS[name].width(head))
        assert value.dtype == np.float32
    assert len(layout(ENCODERS[name])) == len(jax.tree.leaves(params))


def equations(jaxpr, inside=()):
    """Every equation, with the names of the primitives that it is inside of."""
    for equation in jaxpr.eqns:
        yield inside, equation
        for value in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner, (*inside, equation.primitive.name))


@pytest.mark.parametrize("kind", [PrimusConfig, MultitaskConfig])
def test_gradients_are_summed_over_devices_once_in_float32(kind):
    compute = ComputeConfig("bfloat16", remat=True, micro_batches=2)
    config = kind(queue_size=40) if kind is PrimusConfig else kind()
    encoder = dataclasses.replace(ENCODERS["gru_time"], head_dim=16)
    objective = config.build(encoder, compute)
    batch = make_batch()
    state = jax.eval_shape(objective.init, jax.random.key(0), batch)
    loss = sharded_loss(objective, make_mesh(8), micro_batches=2)
    gradient = jax.value_and_grad(loss, has_aux=True)
    arguments = (*state, {}, batch, jax.random.key(0))
    everything = list(equations(jax.make_jaxpr(gradient)(*arguments).jaxpr))
    sums = [(inside, e) for inside, e in everything if e.primitive.name.startswith("psum")]
    narrow = [e for _, e in everything if any(v.aval.dtype == jnp.bfloat16 for v in e.outvars)]
    assert len(narrow) > 20
    assert len(sums) >= len(jax.tree.leaves(state[0]["encoder"]))
    assert not [e for inside, e in sums if "scan" in inside or "while" in inside]
    assert not [e for _, e in sums if any(v.aval.dtype == jnp.bfloat16 for v in e.invars)]
    # Strict promotion holds all the way (conftest), and what is stored is float32.
    gradients = jax.eval_shape(gradient, *arguments)[1]
    optimizer = make_optimizer(OptimConfig(), 10)
    stored = gradients, jax.eval_shape(optimizer.init, state[0])
    floats = {x.dtype for x in jax.tree.leaves(stored) if jnp.issubdtype(x.dtype, jnp.floating)}
    assert floats == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("dtype", "float16", "compute.dtype is 'float16'; expected one of"),
        ("remat", 1, "compute.remat is 1; expected True or False"),
        ("micro_batches", 0, "compute.micro_batches is 0; expected a positive integer"),
        ("micro_batches", True, "compute.micro_batches is True"),
    ],
)
def test_a_value_that_means_nothing_is_refused(field, value, words):
    config = Config(data=DataConfig(train=("somewhere",)))
    config.validate()
    setattr(config.compute, field, value)
    with pytest.raises(PrimusError, match=words):
        config.validate()
