"""The condition for a spike, and the surrogate that it has by default.

A condition is one comparison, or several joined by ``and``. The gradient follows the one that
depends on what weights reach, by the distance between its sides, the margin; the others decide
whether it counts: where they do not hold, the surrogate is 0. A condition of which weights reach
two comparisons would need two surrogates, and is refused.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sympy
from brian2.units.fundamentalunits import Dimension, Quantity

from eprop_brian.equations.brian_arguments import number_text
from eprop_brian.equations.neuron import Neuron
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    dimensions_of,
    expression_text,
    parse_expression,
    require_dimensions,
    symbol,
)
from eprop_brian.symbolic.parameters import UNITS, unit_name

__all__ = ["SpikeCondition", "chance_of", "default_surrogate", "spike_condition"]

#: Comparisons, each as that of what must be larger with what must be smaller.
_TURNED: dict[type[ast.cmpop], tuple[str, bool]] = {
    ast.Gt: (">", False),
    ast.GtE: (">=", False),
    ast.Lt: (">", True),
    ast.LtE: (">=", True),
}
_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
}
#: Height of the default surrogate times its width, as in Bellec et al. 2020.
_HEIGHT = 0.3
#: Digits of its width.
_DIGITS = 6
_EXAMPLE = "e.g. `v >= v_th`"


@dataclass(frozen=True)
class SpikeCondition:
    """When a neuron spikes.

    Attributes
    ----------
    text : str
        As it runs: the comparison that the gradient follows comes first, its larger side first.
    left : str
        This larger side.
    margin : sympy.Expr
        What its sides differ by: positive, or 0 with ``>=``, at a spike.
    others : str
        The rest of the condition; ``""`` if there is none.
    """

    text: str
    left: str
    margin: sympy.Expr
    others: str = ""

    def counted(self, surrogate: str) -> str:
        """A surrogate that is 0 where the rest of the condition does not hold."""
        return f"({surrogate})*int({self.others})" if self.others else surrogate


def spike_condition(
    neuron: Neuron,
    states: Sequence[str],
    reached: Collection[str],
    known: Mapping[str, Dimension],
    where: str,
) -> SpikeCondition:
    """Read the condition of a neuron.

    Parameters
    ----------
    neuron : Neuron
    states : sequence of str
    reached : collection of str
        What the inputs reach without a spike: among these the states whose margin has a gradient.
    known : mapping of str to Dimension
    where : str
        Named in errors.

    Raises
    ------
    EquationError
        If it is no such condition, units do not fit, or its gradient would need two surrogates.
    """
    where, text = f"{where}, threshold", neuron.threshold.strip()
    if not text:
        raise EquationError(where, "(empty)", f"a spike condition is needed, {_EXAMPLE}")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise EquationError(
            where, text, f"cannot be read: write a comparison, {_EXAMPLE}"
        ) from None
    comparisons = [
        _comparison(part, known, text, where)
        for part in _parts(tree)
        # It holds in every spike.
        if not (isinstance(part, ast.Name) and part.id == "not_refractory")
    ]
    of_states = [c for c in comparisons if _symbols(c.margin) & {*states}]
    if not of_states:
        raise EquationError(where, text, "does not depend on any state")
    followed = [c for c in of_states if _symbols(c.margin) & {*reached}] or of_states
    if len(followed) > 1:
        first, second = (c.text for c in followed[:2])
        margin = expression_text(followed[0].margin)
        unit = unit_name(dimensions_of(followed[0].left, known, where))
        zero = "0" if unit == "1" else f"0*{unit}"
        raise EquationError(
            where,
            text,
            f"weights reach both `{first}` and `{second}`: a spike has one surrogate, so its "
            "gradient can follow one of them. Write one comparison, with the other as a factor "
            f"without a slope, e.g. `({margin})*int({second}) > {zero}`",
        )
    own = followed[0]
    rest = [c.text for c in comparisons if c is not own]
    return SpikeCondition(" and ".join([own.text, *rest]), own.left, own.margin, " and ".join(rest))


def _parts(node: ast.expr) -> list[ast.expr]:
    """The parts of a condition that ``and`` joins."""
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        return [part for value in node.values for part in _parts(value)]
    return [node]


def _comparison(
    node: ast.expr, known: Mapping[str, Dimension], text: str, where: str
) -> SpikeCondition:
    """One comparison, its larger side first."""
    negated = False
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node, negated = node.operand, not negated
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        raise EquationError(
            where, text, "`or` is not possible: a spike has one surrogate, of one comparison"
        )
    if not (isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _TURNED):
        raise EquationError(
            where,
            text,
            f"must be a comparison with >, >=, < or <=, {_EXAMPLE}, or several joined by `and`; "
            f"`{ast.unparse(node)}` is none",
        )
    kind = type(node.ops[0])
    operator, turned = _TURNED[_NEGATED[kind] if negated else kind]
    left, right = (_source(side, text) for side in (node.left, node.comparators[0]))
    wanted = dimensions_of(left, known, where)
    require_dimensions(right, wanted, known, where, text)
    margin = parse_expression(left, where) - parse_expression(right, where)
    if turned:
        left, right, margin = right, left, -margin
    return SpikeCondition(f"{left} {operator} {right}", left, margin)


def _source(node: ast.expr, text: str) -> str:
    return ast.get_source_segment(text, node) or ast.unparse(node)


def _symbols(expression: sympy.Expr) -> set[str]:
    return {symbol.name for symbol in expression.free_symbols}


def _names(text: str) -> list[str]:
    """The units in a number's text."""
    return [name for name in re.findall(r"[A-Za-z_]\w*", text) if name in UNITS]


def chance_of(margin: sympy.Expr, uniform: Collection[str]) -> tuple[sympy.Expr, float] | None:
    """The probability of a spike whose margin has a uniform random number as a term.

    Parameters
    ----------
    margin : sympy.Expr
    uniform : collection of str
        Random numbers between 0 and 1.

    Returns
    -------
    (sympy.Expr, float) or None
        An expression that is the probability where it is between 0 and 1, and its derivative by the
        margin. None if there is no such term, or there are several.
    """
    numbers = [number for number in map(symbol, uniform) if number in margin.free_symbols]
    if len(numbers) != 1:
        return None
    factor = sympy.diff(margin, *numbers)
    if not factor.is_number or factor == 0:
        return None
    # Of a number that is added, the largest brings a spike about.
    rest = margin.subs(numbers[0], 1 if factor > 0 else 0)
    return rest / abs(factor), float(1 / abs(factor))


def default_surrogate(
    condition: SpikeCondition,
    uniform: Collection[str],
    known: Mapping[str, Dimension],
    value: Callable[[sympy.Expr], np.ndarray | float],
    where: str,
) -> str:
    """The paper's piecewise linear surrogate, as wide as the threshold is away at the start.

    A spike that has a probability p, as by ``rand() < rate*dt``, has a surrogate for which
    dz/dmargin times the margin's slope is dp/dh: the derivative of the spike's expected value. It
    is 0 where p would be below 0 or above 1.

    Parameters
    ----------
    condition : SpikeCondition
    uniform : collection of str
        Random numbers between 0 and 1 that it may read.
    known : mapping of str to Dimension
    value : callable
        Gives the value of an expression at the start of a trial.
    where : str
        Named in errors.

    Raises
    ------
    EquationError
        If the neuron starts at its threshold, or the distance is no number.
    """
    chance = chance_of(condition.margin, uniform)
    if chance is not None:
        probability, slope = expression_text(chance[0]), chance[1]
        inside = f"int({probability} >= 0)*int({probability} <= 1)"
        return inside if slope == 1 else f"{slope!r}*{inside}"
    needed = "give a surrogate, e.g. `0.3/v_th*clip(1 - abs(v - v_th)/v_th, 0, 1)`"
    try:
        width = float(np.mean(np.abs(value(condition.margin))))
    except EquationError as error:
        raise EquationError(
            f"{where}, surrogate",
            "(empty)",
            f"the distance of the threshold at the start has no value, {error.line} "
            f"{error.problem}: {needed}",
        ) from None
    if width == 0:
        raise EquationError(
            f"{where}, surrogate",
            "(empty)",
            "by default it is as wide as the threshold is away at the start, and the neuron "
            f"starts there: {needed}",
        )
    dimension = dimensions_of(condition.left, known, where)
    size = number_text(Quantity(float(f"{width:.{_DIGITS}g}"), dim=dimension))
    if any(known.get(name, UNITS[name].dim) is not UNITS[name].dim for name in _names(size)):
        raise EquationError(
            f"{where}, surrogate", "(empty)", f"a name of this neuron is a unit ({size}): {needed}"
        )
    size = f"({size})" if _names(size) else size
    margin = expression_text(condition.margin)
    return f"{_HEIGHT}/{size}*clip(1 - abs({margin})/{size}, 0, 1)"
