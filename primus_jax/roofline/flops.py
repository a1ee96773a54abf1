"""Floating-point operations of a traced program: its products of matrices and its convolutions.

XLA's own `cost_analysis` counts the body of a loop once, however often it runs. The traced program
knows the length of every `lax.scan`, the input type and the precision of every product, so this
count is exact for what is counted; elementwise work is not.
"""

import math
from collections import Counter
from typing import Any

import jax
from jax import lax
from jax.extend import core


def count_products(traced: Any, devices: int = 1) -> Counter[tuple[str, str]]:
    """Operations of one device, by (input dtype, precision); a multiplication and an addition each.

    Args:
        traced: a jaxpr, as `jax.make_jaxpr(f)(...)` or `jax.jit(f).trace(...).jaxpr`.
        devices: of the mesh. Inside `shard_map` shapes are those of one device already; outside it
            the work is taken to be shared evenly.

    A `while_loop`, whose length is not known, counts once; of the branches of a `cond` the dearest.
    """
    return _count(getattr(traced, "jaxpr", traced), 1 / devices, devices)


def _count(jaxpr: core.Jaxpr, times: float, devices: int) -> Counter[tuple[str, str]]:
    total: Counter[tuple[str, str]] = Counter()
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        inner = [x for value in parameters.values() for x in _jaxprs(value)]
        if name in ("dot_general", "conv_general_dilated"):
            work = _dot(equation) if name == "dot_general" else _convolution(equation)
            kind = (str(_array(equation.invars[0]).dtype), _precision(parameters["precision"]))
            total[kind] += times * work  # type: ignore[assignment]  # a Counter of floats
        elif name == "cond":
            branches = [_count(branch, times, devices) for branch in inner]
            totals = [branch.total() for branch in branches]
            total += branches[totals.index(max(totals))]
        else:
            repeated = times * {"scan": parameters.get("length", 1), "shard_map": devices}.get(
                name, 1
            )
            for body in inner:
                total += _count(body, repeated, devices)
    return total


def _array(variable: core.Var | core.Literal) -> jax.core.ShapedArray:
    """The shape and dtype of an array among the inputs or outputs of an equation."""
    shaped = variable.aval
    assert isinstance(shaped, jax.core.ShapedArray)
    return shaped


def _jaxprs(value: Any) -> list[core.Jaxpr]:
    """The programs among the parameters of an equation."""
    if hasattr(value, "eqns"):
        return [value]
    if hasattr(value, "jaxpr"):
        return [value.jaxpr]
    return [x for v in value for x in _jaxprs(v)] if isinstance(value, tuple | list) else []


def _dot(equation: core.JaxprEqn) -> float:
    """Operations of a product of matrices."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = _array(equation.invars[0]).shape
    return 2 * math.prod(_array(equation.outvars[0]).shape) * math.prod(left[i] for i in contracted)


def _convolution(equation: core.JaxprEqn) -> float:
    """Operations of a convolution, padding included."""
    parameters = equation.params
    _, inputs, *space = parameters["dimension_numbers"].rhs_spec
    kernel = _array(equation.invars[1]).shape
    taps = kernel[inputs] * math.prod(kernel[i] for i in space)
    # Zeros that a transposed convolution puts between its inputs are not multiplied.
    zeros = math.prod(parameters["lhs_dilation"])
    return 2 * math.prod(_array(equation.outvars[0]).shape) * taps / zeros


def _precision(value: Any) -> str:
    """Name of the `lax.Precision` of a product's parameter, which may be one for each input."""
    first = value[0] if isinstance(value, tuple) else value
    if first is None:
        settings: Any = jax.config
        default = settings.jax_default_matmul_precision
        first = lax.Precision(default) if default else lax.Precision.DEFAULT
    return first.name if isinstance(first, lax.Precision) else "DEFAULT"
