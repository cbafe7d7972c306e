"""Surrogates for the derivative of the spike.

With margin ``d`` (membrane potential minus threshold), height ``h`` and width ``w``, dz/dd is
replaced by one of the expressions below. Bellec et al. 2020 (eq. 8 and Methods) take the piecewise
linear one with ``h = gamma/v_th``, ``w = v_th`` and ``gamma = 0.3``.
"""

from __future__ import annotations

import re

from eprop_brian.base.suggestions import unknown

__all__ = ["SURROGATES", "surrogate"]

#: Expressions of the margin ``d``, the height ``h`` and the width ``w``.
SURROGATES: dict[str, str] = {
    "piecewise_linear": "h*clip(1 - abs(d)/w, 0, 1)",
    "exponential": "h*exp(-abs(d)/w)",
    "fast_sigmoid": "h/(1 + abs(d)/w)**2",
    "arctan": "h/(1 + (d/w)**2)",
}


def surrogate(kind: str, margin: str, *, height: str, width: str) -> str:
    """Write a library surrogate as an expression of a neuron's own states and parameters.

    Parameters
    ----------
    kind : str
        One of ``SURROGATES``.
    margin, height, width : str
        Expressions that stand for d, h and w.

    Returns
    -------
    str
        dz/dv as an expression.

    Raises
    ------
    ValueError
        If `kind` is unknown.
    """
    if kind not in SURROGATES:
        raise ValueError(unknown("surrogate", kind, SURROGATES))
    terms = {"d": margin, "h": height, "w": width}

    template = SURROGATES[kind]

    def term(match: re.Match[str]) -> str:
        expression = terms[match.group()]
        enclosed = template[: match.start()].endswith("(") and template[match.end()] == ")"
        return expression if expression.isidentifier() or enclosed else f"({expression})"

    return re.sub(r"\b[dhw]\b", term, template)
