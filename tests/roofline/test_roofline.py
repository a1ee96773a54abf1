"""Counting on programs whose work and traffic are known by arithmetic."""

from collections import Counter

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from primus_jax.errors import PrimusError
from primus_jax.roofline.chips import CHIPS, find_chip
from primus_jax.roofline.estimate import estimate
from primus_jax.roofline.flops import count_products
from primus_jax.roofline.hlo import parse, size
from primus_jax.roofline.traffic import Collective, bytes_sent, collectives, memory_traffic

ROWS = PartitionSpec("data")
FORWARD = [(i, (i + 1) % 8) for i in range(8)]


def compile_on_eight(function, shape=(32, 6), out=ROWS, axes=("data",), sizes=(8,)):
    """The compiled text of `function` on this device's rows of a float32 array."""
    mesh = jax.make_mesh(sizes, axes, axis_types=(AxisType.Auto,) * len(axes))
    spec = PartitionSpec(axes)
    mapped = jax.shard_map(function, mesh=mesh, in_specs=spec, out_specs=out, check_vma=False)
    return jax.jit(mapped).lower(jax.ShapeDtypeStruct(shape, jnp.float32)).compile().as_text()


# 4 rows of 6 float32 on each of 8 devices
SHARD = 4 * 6 * 4


def repeat(function, times):
    return lambda x: lax.fori_loop(0, times, lambda _, carry: function(carry), x)


@pytest.mark.parametrize(
    ("function", "out", "expected"),
    [
        (lambda x: lax.all_gather(x, "data", tiled=True), ROWS, {"all-gather": 7 * SHARD}),
        (lambda x: lax.psum(x, "data"), PartitionSpec(), {"all-reduce": 2 * 7 / 8 * SHARD}),
        (
            lambda x: lax.psum_scatter(jnp.tile(x, (2, 1)), "data", tiled=True),
            ROWS,
            {"reduce-scatter": 7 / 8 * 2 * SHARD},
        ),
        (
            lambda x: lax.all_to_all(jnp.tile(x, (2, 1)), "data", 0, 1, tiled=True),
            ROWS,
            {"all-to-all": 7 / 8 * 2 * SHARD},
        ),
        (
            repeat(lambda x: lax.ppermute(x, "data", FORWARD) * 2, 5),
            ROWS,
            {"collective-permute": 5 * SHARD},
        ),
        (
            repeat(repeat(lambda x: lax.psum(x, "data") * 0.1, 3), 7),
            ROWS,
            {"all-reduce": 21 * 2 * 7 / 8 * SHARD},
        ),
    ],
)
def test_bytes_sent_are_those_of_the_arithmetic(function, out, expected):
    assert bytes_sent(compile_on_eight(function, out=out)) == pytest.approx(expected)


def test_groups_are_those_of_the_mesh_axis():
    def both(x):
        x = lax.psum(x, "data")
        return lax.psum(jnp.sin(x), "replica")

    text = compile_on_eight(both, axes=("replica", "data"), sizes=(2, 4), out=PartitionSpec())
    found = collectives(parse(text))
    assert {one.groups for one in found} == {
        ((0, 1, 2, 3), (4, 5, 6, 7)),
        ((0, 4), (1, 5), (2, 6), (3, 7)),
    }
    assert sorted(one.crosses(4) for one in found) == [False, True]


ASYNCHRONOUS = """\
HloModule m

%fused (p: f32[4,6]) -> (f32[4,6], f32[32,6]) {
  %p = f32[4,6]{1,0:T(8,128)} parameter(0)
  %g = f32[32,6]{1,0:T(8,128)} all-gather(%p), replica_groups=[1,8]<=[8], dimensions={0}
  ROOT %c = (f32[4,6]{1,0}, f32[32,6]{1,0}) custom-call(%g), custom_call_target="AsyncCollectiveStart"
}

%async_collective_fusion.1 (p: f32[4,6]) -> f32[32,6] {
  %p = f32[4,6]{1,0} parameter(0)
  ROOT %g = f32[32,6]{1,0} all-gather(%p), replica_groups=[1,8]<=[8], dimensions={0}
}

%done (p: f32[4,6]) -> f32[32,6] {
  %p = f32[4,6]{1,0} parameter(0)
  %g = f32[32,6]{1,0} all-gather(%p), replica_groups=[1,8]<=[8], dimensions={0}
  ROOT %c = f32[32,6]{1,0} custom-call(%g), custom_call_target="AsyncCollectiveDone"
}

%all-reduce-scatter.1 (p: f32[32,6]) -> f32[4,6] {
  %p = f32[32,6]{1,0} parameter(0)
  %r = f32[32,6]{1,0} all-reduce(%p), replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  ROOT %s = f32[4,6]{1,0} dynamic-slice(%r), dynamic_slice_sizes={4,6}
}

%body (t: (s32[], f32[4,6])) -> (s32[], f32[4,6]) {
  %t = (s32[], f32[4,6]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %x = f32[4,6]{1,0} get-tuple-element(%t), index=1
  %s = (f32[4,6]{1,0}, f32[4,6]{1,0}, u32[], u32[]) collective-permute-start(%x), source_target_pairs={{0,1},{1,0}}
  %d = f32[4,6]{1,0} collective-permute-done(%s)
  ROOT %r = (s32[], f32[4,6]{1,0}) tuple(%i, %d)
}

%condition (t: (s32[], f32[4,6])) -> pred[] {
  %t = (s32[], f32[4,6]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%t), index=0
  %n = s32[] constant(9)
  ROOT %l = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (a: f32[4,6], b: f32[32,6]) -> f32[4,6] {
  %a = f32[4,6]{1,0:T(8,128)} parameter(0)
  %b = f32[32,6]{1,0} parameter(1)
  %start = (f32[4,6]{1,0}, f32[32,6]{1,0}) fusion(%a), kind=kCustom, calls=%fused
  %step = f32[32,6]{1,0} fusion(%a), kind=kOutput, calls=%async_collective_fusion.1
  %end = f32[32,6]{1,0} fusion(%a), kind=kCustom, calls=%done
  %h = (f32[4,6]{1,0}, f32[32,6]{1,0}) all-gather-start(%a), replica_groups=[1,8]<=[8], dimensions={0}
  %k = f32[32,6]{1,0} all-gather-done(%h)
  %q = f32[4,6]{1,0} fusion(%b), kind=kCustom, calls=%all-reduce-scatter.1
  %zero = s32[] constant(0)
  %t = (s32[], f32[4,6]{1,0}) tuple(%zero, %q)
  %w = (s32[], f32[4,6]{1,0}) while(%t), condition=%condition, body=%body
  ROOT %o = f32[4,6]{1,0} get-tuple-element(%w), index=1
}
"""  # noqa: E501


def test_asynchronous_forms_and_those_of_a_tpu_are_counted_once():
    assert bytes_sent(ASYNCHRONOUS) == {
        "all-gather": 2 * 7 * SHARD,
        "reduce-scatter": 3 / 4 * 8 * SHARD,
        "collective-permute": 9 * SHARD,
    }
    assert parse(ASYNCHRONOUS).unknown_loops() == 0


def test_a_loop_of_unknown_length_is_said_to_be_one():
    text = ASYNCHRONOUS.replace("constant(9)", "parameter(1)")
    assert parse(text).unknown_loops() == 1
    assert bytes_sent(text)["collective-permute"] == SHARD


def test_on_chip_memory_is_no_device_memory():
    shape = "(f32[4,6]{1,0:T(8,128)S(1)}, /*index=1*/bf16[8]{0}, pred[])"
    assert size(shape) == 96 + 16 + 1
    assert size(shape, "device") == 16 + 1


def test_products_are_counted_in_full():
    weights = jnp.ones((16, 16))

    def layers(x):
        return lax.scan(lambda h, _: (jnp.tanh(h @ weights), None), x, length=10)[0].sum()

    x = jnp.ones((4, 16))
    # forward, and the gradient of the input
    one = 2 * 4 * 16 * 16
    assert count_products(jax.make_jaxpr(layers)(x)) == {("float32", "DEFAULT"): 10 * one}
    assert count_products(jax.make_jaxpr(jax.grad(layers))(x)).total() == 20 * one
    xla = jax.jit(layers).lower(x).compile().cost_analysis()["flops"]
    assert xla < 3 * one


def test_products_have_a_format_and_a_precision():
    def both(x):
        y = jnp.matmul(x, x, precision=lax.Precision.HIGHEST)
        narrow = x.astype(jnp.bfloat16)
        return y, lax.cond(x[0, 0] > 0, lambda v: v @ v, lambda v: v @ v @ v, narrow)

    one = 2 * 8**3
    assert count_products(jax.make_jaxpr(both)(jnp.ones((8, 8)))) == {
        ("float32", "HIGHEST"): one,
        ("bfloat16", "DEFAULT"): 2 * one,
    }


def test_convolutions_count_what_is_multiplied():
    kernel = jnp.ones((5, 3, 7))

    def strided(x):
        return lax.conv_general_dilated(
            x, kernel, (2,), [(0, 0)], dimension_numbers=("NWC", "WIO", "NWC")
        ).sum()

    x = jnp.ones((2, 65, 3))
    forward = 2 * (2 * 31 * 7) * (5 * 3)
    assert count_products(jax.make_jaxpr(strided)(x)).total() == forward
    backward = count_products(jax.make_jaxpr(jax.grad(strided))(x)).total() - forward
    assert backward == pytest.approx(forward, rel=0.06)  # the border


def test_products_of_one_device():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    mapped = jax.shard_map(lambda x: x @ x.T, mesh=mesh, in_specs=ROWS, out_specs=ROWS)
    inside = jax.make_jaxpr(jax.jit(mapped))(jnp.ones((32, 6)))
    assert count_products(inside, devices=8).total() == 2 * 4 * 4 * 6
    outside = jax.make_jaxpr(lambda x: x @ x.T)(jnp.ones((32, 6)))
    assert count_products(outside, devices=8).total() == 2 * 32 * 32 * 6 / 8


def test_memory_traffic_of_plain_and_sliced_arrays():
    big = jnp.ones((1000, 256))
    text = jax.jit(lambda x: jnp.sin(x) + 1).lower(big).compile().as_text()
    assert memory_traffic(parse(text)) == 2 * big.nbytes

    def rows(x):
        return lax.fori_loop(0, 10, lambda i, s: s + lax.dynamic_slice_in_dim(x, i, 1), x[:1])

    text = jax.jit(rows).lower(big).compile().as_text()
    assert memory_traffic(parse(text)) < big.nbytes / 10


NESTED = """\
HloModule m

%inner (p: f32[100,8], i: s32[]) -> f32[2,8] {
  %p = f32[100,8]{1,0} parameter(0)
  %i = s32[] parameter(1)
  ROOT %s = f32[2,8]{1,0} dynamic-slice(%p, %i, %i), dynamic_slice_sizes={2,8}
}

%outer (p: f32[100,8], i: s32[]) -> f32[2,8] {
  %p = f32[100,8]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %f = f32[2,8]{1,0} fusion(%p, %i), kind=kLoop, calls=%inner
  ROOT %r = f32[2,8]{1,0} negate(%f)
}

ENTRY %main (p: f32[100,8], i: s32[]) -> f32[2,8] {
  %p = f32[100,8]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %a = ((f32[100,8]{1,0}), f32[10,8]{1,0:T(8,128)S(1)}, s32[]{:S(2)}) slice-start(%p), slice={[0:10], [0:8]}
  %b = f32[10,8]{1,0:T(8,128)S(1)} slice-done(%a)
  ROOT %f = f32[2,8]{1,0} fusion(%p, %i), kind=kOutput, calls=%outer
}
"""  # noqa: E501


def test_what_is_sliced_deep_inside_or_into_on_chip_memory_counts_as_its_part():
    read, asked, written = 2 * 8 * 4, 4, 2 * 8 * 4
    assert memory_traffic(parse(NESTED)) == 10 * 8 * 4 + read + asked + written


WRITTEN = """ENTRY %main (p: f32[4,6]) -> f32[4,6] {{
  %p = f32[4,6]{{1,0}} parameter(0)
  ROOT %r = f32[4,6]{{1,0}} all-reduce(%p), {groups}, to_apply=%add
}}
"""


@pytest.mark.parametrize(
    ("written", "groups"),
    [
        ("replica_groups={{0,1},{2,3}}", ((0, 1), (2, 3))),
        ("replica_groups=[2,2]<=[2,2]T(1,0)", ((0, 2), (1, 3))),
        ("replica_groups=mesh['replica'=2,'data'=2] {'data'}", ((0, 1), (2, 3))),
        ("replica_groups=mesh['replica'=2,'data'=2] {'replica'}", ((0, 2), (1, 3))),
        ("replica_groups=mesh['replica'=2,'data'=2] {'replica','data'}", ((0, 1, 2, 3),)),
        ("replica_groups=mesh['data'=4] {'data'}", ((0, 1, 2, 3),)),
        (
            "replica_groups=mesh['a'=1,'b'=2,'c'=2], device_ids=([2,2]T(1,0)) {'b'}",
            ((0, 1), (2, 3)),
        ),
    ],
)
def test_every_way_to_write_groups_of_devices_is_read(written, groups):
    found = collectives(parse(WRITTEN.format(groups=written)))
    assert [one.groups for one in found] == [groups]


@pytest.mark.parametrize("written", ["mesh['data'=4] {'data':(1)2}", "V3<=[4]"])
def test_groups_in_an_unknown_form_are_not_counted_as_nothing(written):
    with pytest.raises(ValueError, match="unknown form"):
        collectives(parse(WRITTEN.format(groups=f"replica_groups={written}")))


def one(kind, operand, groups, times=1.0, place="main"):
    return Collective(kind, operand, groups, times, place)


def test_a_step_is_its_largest_roofline_and_what_is_waited_for():
    chip = find_chip("v5e")
    products = Counter({("bfloat16", "DEFAULT"): 197e9, ("float32", "HIGHEST"): 197e9})
    around = tuple((i, (i + 1) % 4) for i in range(4))
    sent = [
        one("collective-permute", 10**6, around, 3, "loop"),
        one("collective-permute", 10**6, around, 3, "loop"),
        one("all-reduce", 4 * 10**6, ((0, 1, 2, 3),)),
    ]
    time = estimate(chip, products, 819e6, sent, domain=4)
    assert time.compute == pytest.approx(1e-3 + 6e-3)
    assert time.memory == pytest.approx(1e-3)
    assert time.shifts == pytest.approx(6e6 / 50e9 + 3e-6)
    assert time.collectives == pytest.approx(6e6 / 200e9 + 1e-6)
    assert time.expected == pytest.approx(7e-3 + time.collectives)
    assert time.best == pytest.approx(7e-3)
    assert time.worst == pytest.approx(7e-3 + time.shifts + time.collectives)
    assert time.scaling == pytest.approx(7e-3 / time.expected)


def test_between_slices_the_network_is_what_counts():
    nothing = Counter()
    across = [one("all-reduce", 8 * 10**6, (tuple(range(8)),))]
    inside = estimate(find_chip("h100"), nothing, 0, across, domain=8).collectives
    outside = estimate(find_chip("h100"), nothing, 0, across, domain=4).collectives
    assert inside == pytest.approx(14e6 / 450e9 + 1e-5)
    assert outside == pytest.approx(14e6 / (4 * 50e9) + 1e-5)
    with pytest.raises(PrimusError, match="network between slices of v4"):
        estimate(find_chip("v4"), nothing, 0, across, domain=4)


def test_chips_are_named():
    assert all(chip.source and chip.memory > 1e10 for chip in CHIPS.values())
    with pytest.raises(PrimusError, match=r"v5x.*expected one of v4, v5e"):
        find_chip("v5x")
