"""Equation strings as JAX functions, with the derivatives that training needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import sympy

from eprop_brian.symbolic.expressions import for_lambdify, parse_expression
from eprop_brian.symbolic.functions import SLOPE_SERIES, SLOPE_SERIES_BELOW

__all__ = ["Values", "parsed", "spike", "translated"]

Values = Mapping[str, Any]


@jax.custom_jvp
def _exprel(x: jax.Array) -> jax.Array:
    """(exp(x) - 1)/x, with its limit at 0 and a derivative there."""
    safe = jnp.where(x == 0, 1.0, x)
    return jnp.where(x == 0, 1.0, jnp.expm1(safe) / safe)


@_exprel.defjvp
def _exprel_derivative(primals, tangents):
    (x,), (tangent,) = primals, tangents
    value = _exprel(x)
    return value, value * _exprel_slope(x) * tangent


def _exprel_slope(x: jax.Array) -> jax.Array:
    """See `eprop_brian.symbolic.functions.ExprelSlope`."""
    near = jnp.abs(x) < SLOPE_SERIES_BELOW
    small, safe = jnp.where(near, x, 0.0), jnp.where(near, 1.0, x)
    series = jnp.polyval(jnp.asarray(SLOPE_SERIES[::-1], small.dtype), small**2)
    return jnp.where(near, 0.5 + small * series, -1 / jnp.expm1(-safe) - 1 / safe)


def _where(condition: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """`a` where the condition is 1, else `b`. Its derivative by the condition is a - b."""
    dtype = jnp.result_type(condition, a, b, 0.0)
    return _select(*(jnp.asarray(value, dtype) for value in (condition, a, b)))


@jax.custom_jvp
def _select(condition: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.where(condition > 0.5, a, b)


@_select.defjvp
def _select_derivative(primals, tangents):
    condition, a, b = primals
    by_condition, by_a, by_b = tangents
    tangent = jnp.where(condition > 0.5, by_a, by_b)
    # The square root of the largest number keeps a product with another derivative finite.
    return _select(*primals), by_condition * _bounded(a - b, 0.5) + tangent


@jax.custom_jvp
def _exp(x: jax.Array) -> jax.Array:
    return jnp.exp(x)


@_exp.defjvp
def _exp_derivative(primals, tangents):
    return _exp(*primals), _bounded(jnp.exp(primals[0])) * tangents[0]


def _bounded(slope: jax.Array, power: float = 1.0) -> jax.Array:
    """Keep a derivative finite where a state overflows, so that a reset can multiply it by 0."""
    largest = float(jnp.finfo(slope.dtype).max) ** power
    return jnp.clip(slope, -largest, largest)


def _clip(x: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """`x` between bounds, with a slope of 1 there, at the bounds too, where JAX's own has 1/2."""
    return jnp.where(x < low, low, jnp.where(x > high, high, x))


def _int(x: jax.Array) -> jax.Array:
    """The whole part of a number; 1 or 0 of a condition."""
    return (
        jnp.trunc(x) if jnp.issubdtype(jnp.result_type(x), jnp.floating) else jnp.asarray(x) * 1.0
    )


#: Functions that sympy cannot write in JAX, or that need another derivative.
_FUNCTIONS = {
    "Detached": jax.lax.stop_gradient,
    "both": jnp.logical_and,
    "clip": _clip,
    "either": jnp.logical_or,
    "exp": _exp,
    "exprel": _exprel,
    "int_": _int,
    "sqrt": jnp.sqrt,
    "timestep": lambda time, dt: jnp.trunc((time + 1e-3 * dt) / dt),
    "where": _where,
}


def translated(expressions: Sequence[sympy.Basic]) -> Callable[[Values], list[jax.Array]]:
    """A JAX function of named values for some expressions."""
    symbols = sorted(
        {s for expression in expressions for s in expression.free_symbols}, key=lambda s: s.name
    )
    # Dummy names, since a name of an equation may be a Python keyword.
    exact = [for_lambdify(expression) for expression in expressions]
    compute = sympy.lambdify(symbols, exact, [_FUNCTIONS, "jax"], cse=True, dummify=True)
    return lambda values: compute(*(values[s.name] for s in symbols))


def parsed(*expressions: str) -> list[sympy.Expr]:
    """Expressions of a neuron, a readout, a loss or an optimizer, parsed for JAX."""
    return [parse_expression(expression, "bptt", detached=True) for expression in expressions]


@jax.custom_jvp
def spike(margin: jax.Array, psi: jax.Array, fires: jax.Array) -> jax.Array:
    """1 where a neuron fires, else 0; its derivative by `margin` is `psi`."""
    return fires.astype(margin.dtype)


@spike.defjvp
def _spike_derivative(primals, tangents):
    _, psi, _ = primals
    return spike(*primals), psi * tangents[0]
