"""Values that differ from neuron to neuron: arrays, and expressions of ``i``, ``N`` and ``rand()``.

A parameter or an initial value may be an expression such as ``"10*mV + 2*mV*randn()"`` or
``"i*2*Hz/N"``, as Brian2 users write them. Random numbers are drawn once for a network, from a
stream for each population and name, so that other names and populations change nothing. Without a
network, a derivation is of two neurons that stand for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension
from brian2.utils.stringtools import get_identifiers

from eprop_brian.base.random import normals, rng_for, uniforms
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import dimensions_of, evaluate
from eprop_brian.symbolic.names import free_name
from eprop_brian.symbolic.parameters import UNITS, parse_quantity, resolve_parameters

__all__ = ["Members", "example_of", "resolve_values"]

_DRAWS = {"rand": uniforms, "randn": normals}
_CALL = re.compile(r"(?<![\w.])(rand|randn)\s*\(\s*\)")
#: Names and functions that say that a text is an expression and not a number with a unit.
_MEANINGS = frozenset({"i", "N", *_DRAWS})


@dataclass(frozen=True)
class Members:
    """The neurons that values are for.

    Attributes
    ----------
    size : int
    seed : int
    population : str
        Its name, by which its random numbers are drawn.
    """

    size: int
    seed: int = 0
    population: str = ""

    def drawn(self, text: str, name: str) -> tuple[str, dict[str, np.ndarray | float]]:
        """An expression of the value `name`, with names in the place of random numbers.

        Returns
        -------
        str
            The expression.
        dict of str to array or float
            What it reads of the neurons: random numbers, ``i`` and ``N``.
        """
        taken = get_identifiers(text)
        values: dict[str, np.ndarray | float] = {}
        rng = rng_for(self.seed, f"{self.population}.{name}") if _CALL.search(text) else None

        def draw(match: re.Match[str]) -> str:
            assert rng is not None
            own = free_name(f"{match[1]}_{len(values) + 1}", {*taken, *values})
            values[own] = _DRAWS[match[1]](rng, self.size)
            return own

        text = _CALL.sub(draw, text)
        return text, {**values, "i": np.arange(self.size, dtype=float), "N": float(self.size)}


def example_of(values: Iterable[Any]) -> Members:
    """Neurons that stand for all where there is no network: two, or as many as have values."""
    sizes = [len(value) for value in values if np.ndim(value) == 1]
    return Members(max(sizes, default=2))


def resolve_values(
    parameters: Mapping[str, Any], where: str, members: Members | None = None
) -> tuple[dict[str, np.ndarray | float], dict[str, Dimension]]:
    """SI values of parameters and their dimensions.

    An expression reads parameters that are none, and expressions above it.

    Parameters
    ----------
    parameters : mapping
    where : str
        Named in errors.
    members : Members, optional
        Default: `example_of` the parameters.

    Raises
    ------
    EquationError
        If a value cannot be read, or an expression names something unknown or is not finite.
    """
    expressions = {n: x for n, x in parameters.items() if _is_expression(x, parameters)}
    plain = {n: x for n, x in parameters.items() if n not in expressions}
    values, dimensions = resolve_parameters(plain, where)
    members = members or example_of(plain.values())
    for name, text in expressions.items():
        values[name], dimensions[name] = _evaluated(
            text, name, values, dimensions, members, f"{where}, {name}"
        )
    return {n: values[n] for n in parameters}, {n: dimensions[n] for n in parameters}


def _is_expression(value: Any, parameters: Mapping[str, Any]) -> bool:
    """Whether a value is an expression rather than a number with a unit."""
    if not isinstance(value, str):
        return False
    try:
        parse_quantity(value, "")
    except EquationError:
        return bool(get_identifiers(value) & {*_MEANINGS, *parameters})
    return False


def _evaluated(
    text: str,
    name: str,
    values: Mapping[str, np.ndarray | float],
    dimensions: Mapping[str, Dimension],
    members: Members,
    where: str,
) -> tuple[np.ndarray | float, Dimension]:
    """The value of an expression, a number or one for each neuron, and its dimensions."""
    text, own = members.drawn(text, name)
    named = get_identifiers(text)
    units = {n: UNITS[n] for n in named & UNITS.keys() - {*values}}
    known = {
        **dimensions,
        **{n: unit.dim for n, unit in units.items()},
        **dict.fromkeys(own, DIMENSIONLESS),
    }
    dimension = dimensions_of(text, known, where)
    scope = {**values, **{n: float(unit) for n, unit in units.items()}, **own}
    return evaluate(text, scope, where), dimension
