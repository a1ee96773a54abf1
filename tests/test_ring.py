"""The ring: value and gradient of the gathered form, memory and traffic linear in the batch."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from primus_jax.errors import PrimusError
from primus_jax.losses.contrastive import choose_form, info_nce, info_nce_with_accuracy

ROWS, EVERYWHERE = PartitionSpec("data"), PartitionSpec()


def sharded(devices, **options):
    """(a, b, temperature, mask, equal) -> loss and accuracies, on that many devices; 0: no mesh."""
    if not devices:

        def alone(a, b, t, mask, equal):
            return info_nce_with_accuracy(a, b, t, mask=mask, equal=equal, **options)

        return alone
    mesh = jax.make_mesh(
        (devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices]
    )

    def local(a, b, t, mask, equal):
        return info_nce_with_accuracy(a, b, t, mask=mask, equal=equal, axis_name="data", **options)

    specs = (ROWS, ROWS, EVERYWHERE, ROWS, ROWS)
    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=EVERYWHERE)


def with_gradient(loss):
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))


def split_aux(loss):
    def apply(*arrays):
        value, *accuracy = loss(*arrays)
        return value, accuracy

    return apply


def arrays(batch, dim, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, batch, dim))
    mask = np.arange(batch) < batch // 3  # whole devices without a target
    equal = rng.integers(-1, 6, batch).astype(np.int32)
    return jnp.asarray(a), jnp.asarray(b), jnp.asarray(0.17), jnp.asarray(mask), jnp.asarray(equal)


@pytest.mark.parametrize("masked_negatives", [True, False])
@pytest.mark.parametrize("devices", [0, 1, 2, 8])
def test_equals_the_gathered_form(devices, masked_negatives):
    with jax.enable_x64(True):
        inputs = arrays(40, 6, seed=devices)
        options = {"masked_negatives": masked_negatives}
        one = with_gradient(split_aux(sharded(0, form="gathered", **options)))(*inputs)
        ring = sharded(devices, form="ring", block=3, **options)
        many = with_gradient(split_aux(ring))(*inputs)
        for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
            np.testing.assert_allclose(y, x, rtol=1e-12, atol=1e-13)


def test_gradients_are_finite_differences():
    with jax.enable_x64(True):
        a, b, t, mask, equal = arrays(10, 4, seed=3)
        loss = jax.jit(
            lambda a, b, t: info_nce(a, b, t, mask=mask, equal=equal, form="ring", block=4)
        )
        rng = np.random.default_rng(0)
        step = [jnp.asarray(rng.normal(size=np.shape(x))) for x in (a, b, t)]
        slope = sum(
            float(jnp.vdot(g, s))
            for g, s in zip(jax.grad(loss, argnums=(0, 1, 2))(a, b, t), step, strict=True)
        )
        h = 1e-6
        ends = [
            loss(*(x + k * h * s for x, s in zip((a, b, t), step, strict=True))) for k in (1, -1)
        ]
        assert slope == pytest.approx(float(ends[0] - ends[1]) / (2 * h), rel=1e-7)


def test_single_precision_agrees_to_a_millionth():
    inputs = tuple(x.astype(jnp.float32) if x.dtype.kind == "f" else x for x in arrays(64, 16))
    (one, _), grads = with_gradient(split_aux(sharded(0, form="gathered")))(*inputs)
    (many, _), rings = with_gradient(split_aux(sharded(4, form="ring", block=5)))(*inputs)
    assert float(many) == pytest.approx(float(one), rel=1e-6)
    for x, y in zip(grads, rings, strict=True):
        assert np.abs(y - x).max() <= 2e-6 * np.abs(x).max()


def test_a_constant_embedding_scores_chance():
    ones = jnp.ones((12, 5), jnp.float32)
    _, forward, backward = jax.jit(functools.partial(info_nce_with_accuracy, form="ring", block=5))(
        ones, ones, 0.1
    )
    assert float(forward) == pytest.approx(1 / 12)
    assert float(backward) == pytest.approx(1 / 12)


def compile_gradient(batch, dim, form, devices=0, **options):
    loss = sharded(devices, form=form, **options)
    floats, number = jax.ShapeDtypeStruct((batch, dim), jnp.float32), jnp.float32
    shapes = (
        floats, floats, jax.ShapeDtypeStruct((), number),
        jax.ShapeDtypeStruct((batch,), bool), jax.ShapeDtypeStruct((batch,), jnp.int32),
    )  # fmt: skip
    return with_gradient(split_aux(loss)).lower(*shapes).compile()


def test_memory_is_linear_in_the_batch():
    ring = compile_gradient(65_536, 512, "ring").memory_analysis().temp_size_in_bytes
    gathered = compile_gradient(65_536, 512, "gathered").memory_analysis().temp_size_in_bytes
    assert ring < 2**30
    assert gathered > 32 * 2**30
    half = compile_gradient(32_768, 512, "ring").memory_analysis().temp_size_in_bytes
    assert ring < 2.1 * half


def test_no_matrix_of_pairs_is_ever_made():
    text = compile_gradient(4096, 8, "ring", devices=2, block=256).as_text()
    assert "f32[256,256]" in text
    assert not re.search(r"f32\[(2048|4096),(2048|4096)\]", text)


@pytest.mark.parametrize("devices", [4, 8])
def test_bytes_sent_are_those_of_the_docstring(devices):
    batch, dim, size = 64, 6, {"f32": 4, "s32": 4, "pred": 1}
    text = compile_gradient(batch, dim, "ring", devices, block=4).as_text()
    rows = batch // devices
    inside = outside = 0
    computation, main = "", re.search(r"^ENTRY %?([\w.\-]+)", text, re.MULTILINE).group(1)
    for line in text.splitlines():
        start = re.match(r"(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        computation = start.group(1) if start else computation
        sent = re.search(r"= (\w+)\[([\d,]*)\]\S* collective-permute\(", line)
        if sent:
            count = size[sent[1]] * int(np.prod([int(n) for n in sent[2].split(",")]))
            if computation == main:
                outside += count
            else:
                inside += count
    # What is in a loop runs N - 1 times.
    total = outside + inside * (devices - 1)
    forward = rows * ((devices - 1) * (4 * dim + 13) + 16 * devices)
    backward = rows * ((devices - 1) * (4 * dim + 17) + 4 * devices * dim)
    assert total == forward + backward
    assert "all-gather" not in text


def test_the_form_is_chosen_by_size():
    assert choose_form("auto", 4096, None) == "gathered"
    assert choose_form("auto", 8192, None) == "ring"
    with pytest.raises(PrimusError, match="auto"):
        choose_form("dense", 8, None)
