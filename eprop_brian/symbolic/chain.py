"""The chain rule, statement by statement.

The new states of a Runge-Kutta step, or of a neuron with many gates, are long as expressions of the
old ones, and their derivatives are longer still. Such a step is differentiated as it runs instead.
Each statement ``x = f(y, ...)`` has short derivatives by what it reads, and

    dx/ds = df/dy dy/ds + ...

is a statement too, which runs right before it, where everything has the value that f reads. The
work grows with the length of the text, and parts that several derivatives share are computed once.

The first statements of a step, which spikes and resets act by, are short: derivatives are passed on
from the states behind them, so that an input costs no more than the states that it enters.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import sympy

from eprop_brian.symbolic.bounds import is_short, step_nesting, step_operations
from eprop_brian.symbolic.coefficients import Coefficient
from eprop_brian.symbolic.derivatives import derivative
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import symbol
from eprop_brian.symbolic.names import free_name
from eprop_brian.symbolic.step_map import StepMap

__all__ = ["ChainRule"]

#: Most derivatives of a step that are computed one by one.
_MOST_SLOPES = 5000

#: Derivatives by one quantity, by what is differentiated.
Column = dict[sympy.Symbol, sympy.Expr]


@dataclass(frozen=True)
class _Part:
    """A part of the derivative of a statement: its slope by a sum of what it reads.

    Attributes
    ----------
    slope : sympy.Expr
    of : mapping of Symbol to sympy.Expr
        What is summed, with its factors.
    """

    slope: sympy.Expr
    of: Mapping[sympy.Symbol, sympy.Expr]

    def times(self, column: Column) -> sympy.Expr:
        return self.slope * sympy.Add(*(c * column[s] for s, c in self.of.items() if s in column))


class ChainRule:
    """The derivatives of a step by what it reads, as statements.

    Parameters
    ----------
    step : StepMap
    moving : collection of Symbol
        What changes from step to step besides what statements assign.
    cleaned : callable
        ``cleaned(name, slope)`` checks a derivative of the statement for `name`, and tidies it.

    Attributes
    ----------
    moving : set of Symbol
        What changes from step to step, with what is computed here.
    """

    def __init__(
        self,
        step: StepMap,
        moving: Collection[sympy.Symbol],
        cleaned: Callable[[str, sympy.Expr], sympy.Expr],
    ) -> None:
        self._step, self._cleaned = step, cleaned
        self._states = {symbol(state) for state in step.states}
        self.moving = {*moving, *self._states}
        self._names = {name for name, _ in step.statements}
        self._columns: dict[sympy.Symbol, Column] = {}
        self._points: dict[tuple[Any, ...], sympy.Symbol] = {}
        self._slopes: list[dict[str, sympy.Expr]] = [{} for _ in step.statements]
        self._first = _n_entering(step)
        self._entered = _entered(step, self._first)
        self._parts = self._differentiated()

    # --- local derivatives -----------------------------------------------------------------------

    def _differentiated(self) -> list[tuple[sympy.Symbol, sympy.Expr, list[_Part]]]:
        """Target, expression and local derivatives of each statement after the first ones."""
        fixed: dict[sympy.Symbol, sympy.Expr] = {}
        moving = set(self.moving)
        # How often something was assigned: what was computed of it before has another value.
        versions: dict[sympy.Symbol, int] = {}
        differentiated = []
        for place, (name, expression) in enumerate(self._step.statements):
            if place < self._first:
                continue
            target, expression = symbol(name), expression.xreplace(fixed)
            fixed.pop(target, None)
            if expression.free_symbols & moving:
                parts = self._parts_of(place, name, expression, versions)
                moving.add(target)
                self.moving.add(target)
            else:
                fixed[target], parts = expression, []
                moving.discard(target)
            versions[target] = versions.get(target, 0) + 1
            differentiated.append((target, expression, parts))
        return differentiated

    def _parts_of(
        self, place: int, name: str, expression: sympy.Expr, versions: Mapping[sympy.Symbol, int]
    ) -> list[_Part]:
        active = self._states | {symbol(n) for n, _ in self._step.statements[:place]}
        linear, rest = _without_linear_terms(expression, active)
        parts = [_Part(sympy.S.One, linear)] if linear else []
        # Under which name what is read is kept, within bounds, and what it is the sum of.
        kept_as: dict[sympy.Symbol, sympy.Symbol] = {}
        sums: dict[sympy.Symbol, Mapping[sympy.Symbol, sympy.Expr]] = {}
        for temporary in sorted(rest.free_symbols & active - self._states, key=str):
            # Intermediate steps of a method read a state and its change as one, ``v + k/2``.
            together = _read_together(rest, temporary, self._states - kept_as.keys())
            if together is None:
                continue
            state, factor, rest, dummy = together
            of = {state: sympy.S.One, temporary: factor}
            point = self._point(place, of, versions)
            if state in rest.free_symbols:
                # It is read on its own as well.
                rest, sums[point] = rest.xreplace({dummy: point}), of
            else:
                rest = rest.xreplace({dummy: state})
                kept_as[state], sums[state] = point, of
        for variable in sorted(rest.free_symbols & active - kept_as.keys(), key=str):
            kept_as[variable] = self._point(place, {variable: sympy.S.One}, versions)
        variables = sorted(rest.free_symbols & (active | sums.keys()), key=str)
        slopes = {v: self._cleaned(name, derivative(rest, v)) for v in variables}
        slopes = {variable: slope for variable, slope in slopes.items() if slope != 0}
        shared, reduced = _shared(tuple(slopes.values()))
        for part, value in shared:
            kept_as[part] = self._named(place, "_s", value.xreplace(kept_as))
        for variable, slope in zip(slopes, reduced, strict=True):
            wanted = f"_p_{_label(symbol(name))}_{_label(variable)}"
            slope = self._named(place, wanted, slope.xreplace(kept_as))
            parts.append(_Part(slope, sums.get(variable, {variable: sympy.S.One})))
        return parts

    def _point(
        self,
        place: int,
        of: Mapping[sympy.Symbol, sympy.Expr],
        versions: Mapping[sympy.Symbol, int],
    ) -> sympy.Symbol:
        """The name of a sum of what is assigned, kept as long as nothing of it is again."""
        key = tuple((name, factor, versions.get(name)) for name, factor in of.items())
        if key not in self._points:
            value = sympy.Add(*(factor * name for name, factor in of.items()))
            self._points[key] = self._keep(place, f"_x_{_label(next(iter(of)))}", value)
        return self._points[key]

    # --- derivatives by a quantity ---------------------------------------------------------------

    def by(
        self,
        source: sympy.Symbol,
        direct: Callable[[sympy.Expr], sympy.Expr] | None = None,
    ) -> dict[str, sympy.Expr]:
        """Derivatives of the new states.

        Parameters
        ----------
        source : Symbol
            A state, an input, the spike or a parameter.
        direct : callable, optional
            The derivative by a parameter of an expression, at constant states.
        """
        slope = direct or (lambda expression: derivative(expression, source))
        start: Column = {}
        for state, expression in self._entered.items():
            value = self._cleaned(state.name, slope(expression))
            if value != 0:
                wanted = f"_d_{_label(state)}_{_label(source)}"
                start[state] = self._named(0, wanted, value)
        reads = [
            self._cleaned(target.name, slope(x)) if source not in self._states else sympy.S.Zero
            for target, x, _ in self._parts
        ]
        if any(value != 0 for value in reads):
            column = self._column(source, start, reads)
        else:
            columns = [(value, self._by_entered(state)) for state, value in start.items()]
            column = {
                k: sympy.Add(*(value * own[k] for value, own in columns if k in own))
                for k in self._states
            }
        return {state: column.get(symbol(state), sympy.S.Zero) for state in self._step.states}

    def _by_entered(self, state: sympy.Symbol) -> Column:
        """Derivatives by the value of a state after the first statements."""
        if state not in self._columns:
            nothing = [sympy.S.Zero] * len(self._parts)
            self._columns[state] = self._column(state, {state: sympy.S.One}, nothing)
        return self._columns[state]

    def _column(self, source: sympy.Symbol, start: Column, reads: Iterable[sympy.Expr]) -> Column:
        column = dict(start)
        rest = enumerate(zip(self._parts, reads, strict=True), start=self._first)
        for place, ((target, _, parts), read) in rest:
            label = f"{_label(target)}_{_label(source)}"
            terms = [self._named(place, f"_p_{label}", read)]
            terms += [part.times(column) for part in parts]
            value = self._named(place, f"_d_{label}", sympy.Add(*terms))
            column.pop(target, None)
            if value != 0:
                column[target] = value
        return column

    # --- what is computed ------------------------------------------------------------------------

    def _named(self, place: int, wanted: str, value: sympy.Expr) -> sympy.Expr:
        """A value under a name, unless it is constant, or a name already."""
        if value.is_Symbol or not value.free_symbols & self.moving:
            return value
        return self._keep(place, wanted, value)

    def _keep(self, place: int, wanted: str, value: sympy.Expr) -> sympy.Symbol:
        if len(self._names) > _MOST_SLOPES + len(self._step.statements):
            raise EquationError(
                f"neuron '{self._step.neuron.name}'",
                self._step.code[place],
                f"is in a step that has more than {_MOST_SLOPES} derivatives: too many to compute",
            )
        name = free_name(wanted, self._names)
        self._names.add(name)
        self._slopes[place][name] = value
        kept = sympy.Symbol(name, real=True)
        self.moving.add(kept)
        return kept

    def needed(self, entries: Iterable[Coefficient]) -> tuple[tuple[Coefficient, ...], ...]:
        """What some coefficients need to be computed right before each statement of the step."""
        names = {s.name for entry in entries for s in entry.expression.free_symbols}
        needed: list[tuple[Coefficient, ...]] = []
        for slopes in reversed(self._slopes):
            kept: list[Coefficient] = []
            for name, value in reversed(slopes.items()):
                if name in names:
                    kept.append(Coefficient(value, name))
                    names |= {s.name for s in value.free_symbols}
            needed.append(tuple(reversed(kept)))
        return tuple(reversed(needed))


def _label(name: sympy.Symbol) -> str:
    return name.name.strip("_")


def _n_entering(step: StepMap) -> int:
    """How many statements come first, which are short and assign states."""
    sizes: dict[sympy.Symbol, int] = {}
    depths: dict[sympy.Symbol, int] = {}
    for number, (name, expression) in enumerate(step.statements):
        target = symbol(name)
        sizes[target] = step_operations(expression, sizes)
        depths[target] = step_nesting(expression, depths)
        if name not in step.states or not is_short(sizes[target], depths[target]):
            return number
    return len(step.statements)


def _entered(step: StepMap, number: int) -> dict[sympy.Symbol, sympy.Expr]:
    """The states after the first statements, as expressions of the step before."""
    new = {symbol(state): symbol(state) for state in step.states}
    for name, expression in islice(step.statements, number):
        new[symbol(name)] = expression.xreplace(new)
    return new


def _without_linear_terms(
    expression: sympy.Expr, names: Collection[sympy.Symbol]
) -> tuple[dict[sympy.Symbol, sympy.Expr], sympy.Expr]:
    """The factors of names that stand in a sum on their own, and the rest of it."""
    linear: dict[sympy.Symbol, sympy.Expr] = {}
    others = []
    for term in sympy.Add.make_args(expression):
        factor, name = term.as_coeff_Mul()
        if name in names:
            linear[name] = factor
        else:
            others.append(term)
    return linear, sympy.Add(*others)


def _read_together(
    expression: sympy.Expr, temporary: sympy.Symbol, states: Collection[sympy.Symbol]
) -> tuple[sympy.Symbol, sympy.Expr, sympy.Expr, sympy.Dummy] | None:
    """A state with which a name is read in a sum only, and always in the same proportion.

    Returns the state, the proportion, and the expression with a dummy for ``state +
    proportion*name``.
    """
    sums = {
        node: node.as_coefficients_dict()
        for node in expression.atoms(sympy.Add)
        if temporary in node.args or any(temporary in term.args for term in node.args)
    }
    for factors in sums.values():
        for state in sorted(factors.keys() & states, key=str):
            if temporary not in factors:
                continue
            factor = factors[temporary] / factors[state]
            dummy = sympy.Dummy(real=True)
            together = expression.replace(
                lambda node, y=state, c=factor: _has_both(node, y, temporary, c),
                lambda node, y=state, d=dummy: _joined(node, y, temporary, d),
            )
            if temporary not in together.free_symbols:
                exact = factor if factor.is_Rational else sympy.Rational(float(factor))
                return state, exact, together, dummy
    return None


def _has_both(node: sympy.Basic, state, temporary, factor) -> bool:
    if not node.is_Add:
        return False
    factors = node.as_coefficients_dict()
    return (
        state in factors and temporary in factors and factors[temporary] / factors[state] == factor
    )


def _joined(node: sympy.Add, state, temporary, dummy) -> sympy.Expr:
    factors = node.as_coefficients_dict()
    return node - factors[state] * (state - dummy) - factors[temporary] * temporary


@lru_cache(maxsize=1024)
def _shared(
    slopes: tuple[sympy.Expr, ...],
) -> tuple[list[tuple[sympy.Symbol, sympy.Expr]], list[sympy.Expr]]:
    """Parts that occur in several expressions or more than once, and the expressions with them."""
    symbols = sympy.numbered_symbols("_shared_", real=True)
    shared, reduced = sympy.cse(slopes, symbols=symbols, order="none")
    return shared, reduced
