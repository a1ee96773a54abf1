"""Distillation losses against numbers of the original programs and of the papers' equations.

The numbers lie beside a developer's checkout; `test_distillation.py` covers the same code on data
of its own.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.distillation_losses import LOSSES

from primus_jax.losses.contrastive import info_nce
from primus_jax.losses.distillation.attention import attention
from primus_jax.losses.distillation.pointwise import Regressor, hints
from primus_jax.losses.pairs import Pairs
from primus_jax.losses.triplet import triplet

FILE = Path(__file__).resolve().parents[3] / "shared" / "spec" / "golden" / "ambient.npz"
CASES = ("5x512", "7x16", "8x512_embed", "2x8", "16x32_large", "5x512_weak", "7x16_weak")
CASES += ("6x12_dup", "4x6-6x9", "3x5-8x12")
# Of each kind one: the others repeat it in another shape.
QUICK = ("7x16", "5x512_weak", "6x12_dup", "4x6-6x9", "3x5-8x12")
EACH = [x if x in QUICK else pytest.param(x, marks=pytest.mark.slow) for x in CASES]


@pytest.fixture(scope="module")
def numbers():
    if not FILE.is_file():
        pytest.skip(f"no golden numbers ({'/'.join(FILE.parts[-4:])}) beside this checkout")
    with np.load(FILE, allow_pickle=False) as file:
        return dict(file)


def loss_of(group, case, numbers):
    """The function of a golden group, and where its inputs lie."""
    _, name, form = group.split(".")
    if form == "maps":
        return functools.partial(LOSSES[name], form="released"), f"{group}/{case}"
    if (name, form) == ("fitnets", "paper"):
        kernel, bias = (
            jnp.asarray(numbers[f"{group}/{case}/param/{x}"].astype(np.float64))
            for x in ("weight", "bias")
        )
        return functools.partial(hints, regressor=Regressor(kernel.T, bias)), f"pair/{case}"
    return functools.partial(LOSSES[name], form=form), f"pair/{case}"


@pytest.mark.parametrize("case", EACH)
def test_values_and_gradients(case, numbers):
    groups = [key.split("/")[0] for key in numbers if key.endswith(f"/{case}/out/loss")]
    groups = [group for group in groups if group.startswith("kd.")]
    assert len(groups) == {"4x6-6x9": 3, "3x5-8x12": 3}.get(case, len(groups))
    with jax.enable_x64(True):
        losses = {group: loss_of(group, case, numbers) for group in groups}

        def run(inputs):
            return {
                group: jax.value_and_grad(loss)(*inputs[place])
                for group, (loss, place) in losses.items()
            }

        inputs = {
            place: tuple(
                jnp.asarray(numbers[f"{place}/in/{side}"].astype(np.float64))
                for side in ("student", "teacher")
            )
            for _, place in losses.values()
        }
        found = jax.jit(run)(inputs)
    for group, (value, gradient) in found.items():
        expected = numbers[f"{group}/{case}/grad/student"]
        assert float(value) == pytest.approx(
            float(numbers[f"{group}/{case}/out/loss"]), rel=1e-9, abs=1e-15
        ), group
        np.testing.assert_allclose(
            gradient, expected, rtol=0, atol=1e-9 * np.abs(expected).max() + 1e-15, err_msg=group
        )


def test_the_gradients_of_the_regressor(numbers):
    place = "kd.fitnets.paper/7x16"
    read = lambda name: jnp.asarray(numbers[name].astype(np.float64))  # noqa: E731
    with jax.enable_x64(True):
        student, teacher = read("pair/7x16/in/student"), read("pair/7x16/in/teacher")
        regressor = Regressor(read(f"{place}/param/weight").T, read(f"{place}/param/bias"))
        slope = jax.jit(jax.grad(lambda r: hints(student, teacher, regressor=r)))(regressor)
    np.testing.assert_allclose(slope.kernel.T, numbers[f"{place}/grad/weight"], rtol=1e-9)
    np.testing.assert_allclose(slope.bias, numbers[f"{place}/grad/bias"], rtol=1e-9)


@pytest.mark.parametrize(
    "case", [case for case, name in zip(EACH, CASES, strict=True) if "-" not in name]
)
def test_triplets_and_both_directions_of_info_nce(case, numbers):
    losses = {}
    for name in ("cyclic", "hardest", "all"):
        for scale, margin in (("raw", 1.0), ("unit", 0.2)):
            losses[f"triplet.{name}.{scale}"] = functools.partial(
                triplet, negatives=name, unit=scale == "unit", margin=margin
            )
    for name, direction in (("symmetric", "both"), ("report", "a_to_b")):
        losses[f"infonce.{name}"] = functools.partial(
            info_nce, temperature=0.1, pairs=Pairs(direction=direction)
        )
    losses["overall.at2.released"] = lambda s, t: (
        info_nce(s, t, 0.1) + 0.5 * attention(s, t, form="released")
    )
    with jax.enable_x64(True):
        student, teacher = (
            jnp.asarray(numbers[f"pair/{case}/in/{side}"].astype(np.float64))
            for side in ("student", "teacher")
        )
        run = lambda s, t: {name: jax.value_and_grad(f)(s, t) for name, f in losses.items()}  # noqa: E731
        found = jax.jit(run)(student, teacher)
    compared = 0
    for group, (value, gradient) in found.items():
        if f"{group}/{case}/out/loss" not in numbers:
            continue
        expected = numbers[f"{group}/{case}/grad/student"]
        loss = float(numbers[f"{group}/{case}/out/loss"])
        assert float(value) == pytest.approx(loss, rel=1e-9, abs=1e-15), group
        np.testing.assert_allclose(
            gradient, expected, rtol=0, atol=1e-9 * np.abs(expected).max() + 1e-15, err_msg=group
        )
        compared += 1
    assert compared >= 6
