"""Distillation losses on data of their own: slopes, masks, devices, equal rows, memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.distillation_losses import ALL, LOSSES, all_losses, pairs

from primus_jax.errors import PrimusError
from primus_jax.losses.distillation import relational as relational_module
from primus_jax.losses.distillation.attention import attention
from primus_jax.losses.distillation.neurons import neuron_selectivity
from primus_jax.losses.distillation.pointwise import Regressor, hints, logits
from primus_jax.losses.distillation.relational import relational
from primus_jax.losses.distillation.similarity import probabilistic, similarity_preservation

BATCH, DIM = 24, 5
# What gives the same two numbers whatever the rows: nothing to compare.
ZERO = {"nst.released"}


@pytest.fixture(scope="module")
def arrays():
    return pairs(BATCH, DIM)


@pytest.fixture(scope="module")
def dense(arrays):
    with jax.enable_x64(True):
        return jax.device_get(all_losses()(*arrays))


def same(found, expected, rel):
    for name, (value, gradient) in expected.items():
        assert float(found[name][0]) == pytest.approx(float(value), rel=rel, abs=1e-14), name
        scale = np.abs(gradient).max()
        assert scale > 0 or name in ZERO, name
        np.testing.assert_allclose(
            found[name][1], gradient, rtol=0, atol=rel * scale + 1e-14, err_msg=name
        )


@pytest.mark.parametrize(
    "devices", [pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 4, 6, 8)]
)
def test_sharded_equals_dense_with_an_uneven_mask(arrays, dense, devices):
    with jax.enable_x64(True):
        found = jax.device_get(all_losses(devices=devices)(*arrays))
    same(found, dense, 1e-12)


def test_rows_without_a_teacher_are_as_if_they_were_not_there(arrays, dense):
    student, teacher, mask = arrays
    kept = student[mask], teacher[mask], np.ones(mask.sum(), bool)
    with jax.enable_x64(True):
        found = jax.device_get(all_losses()(*kept))
    for name, (_, gradient) in dense.items():
        assert (gradient[~mask] == 0).all(), name
    same(found, {name: (v, g[mask]) for name, (v, g) in dense.items()}, 1e-12)


def test_slopes_are_those_of_finite_differences(arrays, dense):
    student, teacher, mask = arrays
    rng, step = np.random.default_rng(1), 1e-5
    values = lambda s: {name: loss(s, teacher, mask=mask) for name, loss in ALL.items()}  # noqa: E731
    with jax.enable_x64(True):
        values = jax.jit(values)
        for _ in range(3):
            way = rng.normal(size=student.shape)
            above, below = values(student + step * way), values(student - step * way)
            for name, (_, gradient) in dense.items():
                slope = float(above[name] - below[name]) / (2 * step)
                assert slope == pytest.approx((gradient * way).sum(), rel=1e-6, abs=1e-8), name


@pytest.mark.slow
def test_no_row_with_a_teacher_is_no_loss_and_no_gradient(arrays):
    student, teacher, _ = arrays
    found = all_losses()(student.astype("f4"), teacher.astype("f4"), np.zeros(BATCH, bool))
    for name, (value, gradient) in found.items():
        assert value == 0, name
        np.testing.assert_array_equal(gradient, 0, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float16", marks=pytest.mark.slow)])
def test_equal_rows_opposite_rows_and_rows_of_zeros_are_finite(dtype):
    rng = np.random.default_rng(2)
    student, teacher = rng.normal(size=(2, BATCH, DIM))
    student[1] = student[0]
    student[2:5] = 0
    student[5] = -student[0]
    teacher[1] = teacher[0]
    teacher[4:8] = teacher[3]
    teacher[8] = 0
    teacher[9] = -teacher[0]
    mask = np.ones(BATCH, bool)
    run = all_losses()
    for same_student in (False, True):
        rows = np.broadcast_to(student[:1], student.shape) if same_student else student
        found = run(rows.astype(dtype), teacher.astype(dtype), mask)
        for name, (value, gradient) in found.items():
            assert np.isfinite(value), name
            assert value.dtype == jnp.float32
            assert np.isfinite(gradient).all(), name
            # The steepest is a sum over 13,800 triples; division by a clamp gives 1e11.
            assert np.abs(gradient).max() < 1e4, name


def reference_relational(student, teacher, form):
    """Both terms pair by pair and triple by triple, in float64, with weights of 1."""
    n, paper = len(student), form == "paper"

    def distance(x, i, j):
        d = np.linalg.norm(x[i] - x[j])
        return 0 if i == j else d if paper else max(d, 1e-6)

    def cosine(x, i, j, k):
        a, b = x[j] - x[i], x[k] - x[i]
        size = np.linalg.norm(a) * np.linalg.norm(b)
        return a @ b / size if size else 0.0

    def smooth(x):
        return x * x / 2 if abs(x) < 1 else abs(x) - 0.5

    both = []
    for x in (student, teacher):
        d = np.array([[distance(x, i, j) for j in range(n)] for i in range(n)])
        both.append(d / (d.sum() / (n * (n - 1)) or 1))
    pair = sum(smooth(x) for x in (both[0] - both[1]).ravel())
    triple = sum(
        smooth(cosine(student, i, j, k) - cosine(teacher, i, j, k))
        for i in range(n) for j in range(n) for k in range(n)
        if not paper or len({i, j, k}) == 3
    )  # fmt: skip
    return (pair, triple) if paper else (pair / n**2, triple / n**3)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_relational_values_with_equal_rows(form):
    rng = np.random.default_rng(3)
    student, teacher = rng.normal(size=(2, 7, 4))
    student[1], teacher[2], teacher[3] = student[0], teacher[0], teacher[0]
    chosen = {
        name: functools.partial(LOSSES[name], form=form) for name in ("rkd_dist", "rkd_angle")
    }
    with jax.enable_x64(True):
        found = jax.device_get(all_losses(chosen)(student, teacher, np.ones(7, bool)))
    expected = reference_relational(student, teacher, form)
    way = rng.normal(size=student.shape)
    way[1] = way[0]  # equal rows stay equal, so that the loss has a slope
    step = 1e-6
    for name, number in zip(chosen, expected, strict=True):
        value, gradient = found[name]
        assert float(value) == pytest.approx(number, rel=1e-9)
        place = list(chosen).index(name)
        above, below = (
            reference_relational(student + d * way, teacher, form)[place] for d in (step, -step)
        )
        assert (gradient * way).sum() == pytest.approx((above - below) / (2 * step), rel=1e-5)


def test_rows_that_agree_within_rounding_have_the_gradient_of_equal_rows():
    rng = np.random.default_rng(7)
    student, teacher = rng.normal(size=(2, 12, 8)).astype(np.float32)
    student[1] = student[0]
    rounded = student.copy()
    rounded[1] = np.nextafter(student[0], np.float32(9))
    chosen = {"rkd": functools.partial(relational, form="released")}
    run = all_losses(chosen)
    (value, gradient), (other, slope) = (
        jax.device_get(run(x, teacher, np.ones(12, bool))["rkd"]) for x in (student, rounded)
    )
    assert other == pytest.approx(float(value), rel=1e-4)
    np.testing.assert_allclose(slope, gradient, rtol=1e-3, atol=1e-4 * np.abs(gradient).max())
    rounded[1] = student[0] + 1e-3
    assert (
        np.abs(run(rounded, teacher, np.ones(12, bool))["rkd"][1]).max()
        > 2 * np.abs(gradient).max()
    )


def test_single_precision_agrees_with_double(arrays, dense):
    student, teacher, mask = arrays
    found = jax.device_get(all_losses()(student.astype("f4"), teacher.astype("f4"), mask))
    for name, (value, gradient) in dense.items():
        assert found[name][0] == pytest.approx(float(value), rel=2e-5, abs=1e-9), name
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(
            found[name][1], gradient, rtol=0, atol=2e-4 * scale + 1e-12, err_msg=name
        )


def test_blocks_of_vertices_change_nothing(arrays, dense, monkeypatch):
    chosen = {name: ALL[name] for name in ("rkd.paper", "rkd.released")}
    monkeypatch.setattr(relational_module, "BLOCK", 5 * BATCH**2)
    with jax.enable_x64(True):
        found = all_losses(chosen)(*arrays)
    same(found, {name: dense[name] for name in chosen}, 1e-12)


def relational_memory(batch, dim, monkeypatch, block):
    monkeypatch.setattr(relational_module, "BLOCK", block)
    rows = jax.ShapeDtypeStruct((batch, dim), jnp.float32)
    program = jax.jit(jax.grad(functools.partial(relational, form="released"))).lower(rows, rows)
    return program.compile().memory_analysis().temp_size_in_bytes


def test_the_memory_of_angles_is_that_of_a_block(monkeypatch):
    batch, dim = 128, 64
    triples, vectors = 4 * batch**3, 4 * batch**2 * dim
    assert vectors * batch > 64 * triples / 2  # what [batch, batch, batch, dim] would take
    whole = relational_memory(batch, dim, monkeypatch, batch**3)
    small = relational_memory(batch, dim, monkeypatch, 4 * batch**2)
    assert whole < 8 * triples
    assert small < whole / 8
    assert small < 16 * 4 * 4 * batch**2 + 12 * 4 * batch**2


@pytest.mark.parametrize("power", [2, 5])
@pytest.mark.parametrize("form", ["paper", "released"])
def test_attention_survives_half_precision_and_any_scale(power, form):
    rng = np.random.default_rng(4)
    student, teacher = rng.normal(size=(2, 8, 512)).astype(np.float16)
    teacher[:, :4] = 60.0
    loss = jax.jit(jax.value_and_grad(functools.partial(attention, power=power, form=form)))
    value, gradient = loss(jnp.asarray(student), jnp.asarray(teacher))
    assert value > 0
    assert gradient.dtype == jnp.float16
    assert np.isfinite(gradient).all()
    exact, _ = loss(student.astype(np.float32), teacher.astype(np.float32))
    assert value == pytest.approx(float(exact), rel=1e-6)
    if form == "paper":
        # The map has no scale: 8^5 and 1e8^5 are one.
        for scale in (1e8, 1e-8):
            other, slope = loss(student.astype("f4") * np.float32(scale), teacher.astype("f4"))
            assert other == pytest.approx(float(exact), rel=1e-5)
            assert np.isfinite(slope).all()


def reference_maps(student, teacher, power):
    """Attention and neuron selectivity of maps, sample by sample, in float64."""
    at, nst = 0.0, 0.0
    for s, t in zip(student, teacher, strict=True):
        ours, theirs = ((np.abs(x) ** power).sum(0) for x in (s, t))
        at += ((ours / np.linalg.norm(ours) - theirs / np.linalg.norm(theirs)) ** 2).mean()
        s, t = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (s, t))
        nst += (((s.T @ s) / len(s) - (t.T @ t) / len(t)) ** 2).sum()
    return at / len(student), nst / len(student)


def test_maps_of_other_channels(arrays):
    rng = np.random.default_rng(5)
    student, teacher = rng.normal(size=(6, 4, 9)), rng.normal(size=(6, 7, 9))
    mask = np.array([1, 1, 0, 1, 0, 1], bool)
    with jax.enable_x64(True):
        at = jax.jit(functools.partial(attention, power=5))(student, teacher, mask=mask)
        nst = jax.jit(neuron_selectivity)(student, teacher, mask=mask)
    expected = reference_maps(student[mask], teacher[mask], 5)
    assert (float(at), float(nst)) == pytest.approx(expected, rel=1e-10)


def test_widths_may_differ_where_only_rows_are_compared(arrays):
    student, teacher, mask = arrays
    wide = np.concatenate([teacher, teacher], 1)
    for name in ("sp", "nst", "cc", "pkt", "rkd"):
        assert np.isfinite(jax.jit(LOSSES[name])(student, wide, mask=mask))
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, DIM)))[0]
    with jax.enable_x64(True):
        for name in ("sp", "cc", "pkt", "rkd"):
            loss = jax.jit(LOSSES[name])
            # A rotation of the teacher's space changes no relation.
            assert float(loss(student, teacher, mask=mask)) == pytest.approx(
                float(loss(student, teacher @ turned, mask=mask)), rel=1e-9
            )


def test_forms_differ_by_what_is_stated(arrays, dense):
    student, teacher, mask = arrays
    value = {name: float(v) for name, (v, _) in dense.items()}
    count = mask.sum()
    assert value["sp.report"] == pytest.approx(count * value["sp.paper"])
    assert value["logits.paper"] == pytest.approx(DIM / 2 * value["logits.released"])
    assert value["logits.released"] == pytest.approx(value["fitnets.released"])
    assert value["nst.released"] == 0 < value["nst.paper"]
    kernel, bias = np.eye(DIM, 3), np.ones(3)
    with jax.enable_x64(True):
        regressed = hints(student, teacher[:, :3], regressor=Regressor(kernel, bias), mask=mask)
    expected = ((student[:, :3] + 1 - teacher[:, :3])[mask] ** 2).sum() / 2 / count
    assert float(regressed) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a, b: logits(a, b[:, :3]), r"unit with unit.*teacher_projection"),
        (lambda a, b: logits(a, b, form="report"), r"form 'report' of the logits loss"),
        (lambda a, b: similarity_preservation(a, b[:4]), r"one teacher row"),
        (lambda a, b: probabilistic(a, b, mask=np.ones(3, bool)), r"mask has shape \(3,\)"),
        (lambda a, b: attention(a, b, power=0.5), r"power 0\.5.*1 or more"),
        (lambda a, b: attention(a[:, None], b[:, None, :4]), r"maps of one length"),
        (lambda a, b: relational(a[0], b[0]), r"expected \[batch, dim\] twice\."),
    ],
)
def test_what_cannot_be_compared_is_refused(arrays, call, words):
    with pytest.raises(PrimusError, match=words):
        call(arrays[0].astype("f4"), arrays[1].astype("f4"))
