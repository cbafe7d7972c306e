"""Sections of an environment: statements that run together, in the names of a program."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import sympy
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension
from brian2.utils.stringtools import get_identifiers

from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.exogenous import DRAWN_BY
from eprop_brian.symbolic.expressions import (
    DETACHED,
    dimensions_of,
    in_numpy,
    parse_expression,
)
from eprop_brian.symbolic.functions import WHERE
from eprop_brian.symbolic.names import ENVIRONMENT, own, substituted
from eprop_brian.symbolic.parameters import UNITS, displayed_unit

__all__ = ["Names", "Section", "SectionReader"]

#: Functions of random numbers, and what they draw.
_DRAWS = {function: kind for kind, function in DRAWN_BY.items()}
_DRAW = re.compile(rf"(?<![\w.])({'|'.join(_DRAWS)})\b(\s*\(\s*\))?")


@dataclass(frozen=True)
class Section:
    """Statements that run one after the other.

    Attributes
    ----------
    statements : tuple of str
        ``name = expression``.
    draws : tuple of {"uniform", "normal"}
        What ``_draw_0``, ``_draw_1``, ... are, anew in every run of the section.
    """

    statements: tuple[str, ...]
    draws: tuple[str, ...]


@dataclass(frozen=True)
class Names:
    """Users' names of one owner.

    Attributes
    ----------
    dimensions : mapping of str to Dimension
        Of states and parameters.
    owner : str
        See `eprop_brian.symbolic.names.own`.
    units : dict of str to float
        Units that statements name: SI values, by their names there.
    """

    dimensions: Mapping[str, Dimension]
    owner: str
    units: dict[str, float] = field(default_factory=dict)

    def final(self) -> dict[str, str]:
        """Names with their forms in a program."""
        return {name: own(name, self.owner) for name in self.dimensions}


class SectionReader:
    """Reads the statements of a section.

    Parameters
    ----------
    names : Names
        Those whose units it collects.
    meanings : mapping of str to (str, Dimension)
        Other names that it may read: what the program calls them, and their unit.
    known : mapping of str to Dimension
        Which of `names` it may read from the beginning.
    n_actions : int
        Number of discrete actions; 0 where actions are numbers, or none.
    beside : Names, optional
        Names of another owner that it may read.

    Attributes
    ----------
    statements : list of str
        Those that have been read, in the names of a program.
    read : set of str
        Users' names that they have read.
    """

    def __init__(
        self,
        names: Names,
        meanings: Mapping[str, tuple[str, Dimension]],
        known: Mapping[str, Dimension],
        n_actions: int = 0,
        beside: Names | None = None,
    ) -> None:
        self._owner, self._units, self._n_actions = names.owner, names.units, n_actions
        self._known = {**known, **{name: unit for name, (_, unit) in meanings.items()}}
        self._final = {**names.final(), **{name: final for name, (final, _) in meanings.items()}}
        if beside is not None:
            self._known |= beside.dimensions
            self._final |= beside.final()
        self._temporaries: dict[str, Dimension] = {}
        self._draws: list[str] = []
        self.statements: list[str] = []
        self.read: set[str] = set()

    def section(self) -> Section:
        """What has been read."""
        return Section(tuple(self.statements), tuple(self._draws))

    def assign(
        self,
        state: str,
        text: str,
        line: str,
        where: str,
        unit: Dimension,
    ) -> None:
        """Read the assignment of a state, which statements below it may read."""
        drawn = self._drawn(text, line, where)
        found = self._unit_of(drawn, line, where)
        if found is not unit and not _is_zero(drawn):
            needed = displayed_unit(unit)
            raise EquationError(
                where, line, f"has unit {displayed_unit(found)} where {needed} is needed"
            )
        self.statements.append(f"{self._final[state]} = {self._renamed(drawn)}")
        self._known[state] = unit

    def assign_temporary(self, name: str, text: str, line: str, where: str) -> None:
        """Read the assignment of a name that lasts until the end of the section."""
        drawn = self._drawn(text, line, where)
        unit = self._unit_of(drawn, line, where)
        before = self._temporaries.setdefault(name, unit)
        if before is not unit:
            first = displayed_unit(before)
            raise EquationError(
                where, line, f"has unit {displayed_unit(unit)}, and '{name}' had {first} above"
            )
        renamed = self._renamed(drawn)
        self._known[name] = unit
        self._final[name] = f"_{own(name, ENVIRONMENT)}"
        self.statements.append(f"{self._final[name]} = {renamed}")

    def give(self, name: str, text: str, where: str, *, condition: bool = False) -> None:
        """Read what the section gives the program: a number without a unit, or a condition."""
        line = f"{where.rpartition(', ')[2]} = {text}"
        drawn = self._drawn(text, line, where)
        if condition:
            if not _is_condition(drawn):
                raise EquationError(
                    where,
                    line,
                    "is a number where a condition is needed: write a comparison, e.g. `x > 1`",
                )
            drawn = f"int({drawn.strip()})"
        unit = self._unit_of(drawn, line, where)
        if unit is not DIMENSIONLESS:
            raise EquationError(
                where, line, f"has unit {displayed_unit(unit)} where 1 is needed: divide by it"
            )
        self.statements.append(f"{name} = {self._renamed(drawn)}")

    def _drawn(self, text: str, line: str, where: str) -> str:
        """The text with names in the place of random numbers."""

        def draw(match: re.Match[str]) -> str:
            if match[2] is None:
                raise EquationError(where, line, f"{match[1]} draws one number: write {match[1]}()")
            self._draws.append(_DRAWS[match[1]])
            return f"_draw_{len(self._draws) - 1}"

        return " ".join(_DRAW.sub(draw, text).split())

    def _unit_of(self, text: str, line: str, where: str) -> Dimension:
        named = get_identifiers(text)
        if DETACHED in named:
            raise EquationError(where, line, "no derivative is taken here that could be detached")
        units = {n: UNITS[n].dim for n in sorted(named & UNITS.keys()) if n not in self._known}
        # Only those that are named: others would be listed where a name is unknown.
        draws = {f"_draw_{k}" for k in range(len(self._draws))} & named
        try:
            known = {**self._known, **units, **dict.fromkeys(draws, DIMENSIONLESS)}
            _check_conditions(text)
            unit = dimensions_of(text, known, where, detached=True)
            _check_finite(text)
            if WHERE in named:
                _check_choices(text, known)
            if self._n_actions and "action" in named:
                _check_actions(text, self._n_actions)
        except EquationError as error:
            raise EquationError(where, line, self._as_written(error.problem)) from None
        self.read |= named
        for name in units:
            self._final[name] = own(name, self._owner)
            self._units[self._final[name]] = float(UNITS[name])
        return unit

    def _as_written(self, text: str) -> str:
        """A message with the calls that the names of random numbers stand for."""
        calls = {f"_draw_{k}": f"{DRAWN_BY[kind]}()" for k, kind in enumerate(self._draws)}
        return substituted(text, calls)

    def _renamed(self, text: str) -> str:
        return substituted(text, self._final)


def _tree(text: str) -> ast.expr | None:
    """The syntax tree of a text, None of one that cannot be read, which is refused elsewhere."""
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _is_zero(text: str) -> bool:
    """Whether a text is the number 0, which fits every unit."""
    node = _tree(text)
    return isinstance(node, ast.Constant) and node.value == 0


def _holds_or_not(node: ast.AST) -> bool:
    """Whether a part of an expression is a comparison, or several that are joined."""
    negated = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return negated or isinstance(node, ast.Compare | ast.BoolOp)


def _is_condition(text: str) -> bool:
    """Whether a text is a condition; of one that cannot be read, another error says so."""
    node = _tree(text)
    return node is None or _holds_or_not(node)


def _check_conditions(text: str) -> None:
    """Check that no condition stands in the place of a number."""
    tree = _tree(text)
    for node in ast.walk(tree) if tree is not None else ():
        if _holds_or_not(node) and not isinstance(node, ast.Compare):
            continue
        called = isinstance(node, ast.Call) and ast.unparse(node.func)
        if called in ("int", WHERE):
            continue
        for part in ast.iter_child_nodes(node):
            if _holds_or_not(part):
                written = ast.unparse(part)
                raise EquationError(
                    "",
                    text,
                    f"`{written}` is a condition where a number is needed: write int({written}), "
                    "which is 1 or 0",
                )


# Reading an environment again is usual: of every episode that is looked at.
@lru_cache(maxsize=4096)
def _check_finite(text: str) -> None:
    """Check that no function or power, and not the whole, comes to a constant that is not finite.

    One of numbers alone is refused as text. Here names drop out, as in ``log(-1 - 0*x)``, which
    Brian2 simplifies to a number that no compiler reads.
    """
    tree = ast.parse(text.strip(), mode="eval").body
    # From the inside, to name the smallest part.
    for node in reversed([*ast.walk(tree)]):
        power = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
        if not (power or isinstance(node, ast.Call) or node is tree):
            continue
        value = parse_expression(ast.unparse(node), "", detached=True)
        constants = {value} if not value.free_symbols else value.atoms(sympy.Float)
        if not all(map(_is_finite, constants)):
            written = ast.get_source_segment(text.strip(), node) or ast.unparse(node)
            raise EquationError("", text, f"`{written}` comes to a number that is not finite")


def _is_finite(constant: sympy.Expr) -> bool:
    """Whether a constant is a finite real number in double precision."""
    try:
        # NumPy does not compute with integers of more than 64 bits.
        numbers = {
            n: sympy.Float(float(n)) for n in constant.atoms(sympy.Integer) if abs(n) > 2**63
        }
        with np.errstate(all="ignore"):
            (value,) = in_numpy((), (constant.xreplace(numbers),))()
    except OverflowError:
        return False
    return bool(np.isreal(value) and np.isfinite(value))


def _check_choices(text: str, known: Mapping[str, Dimension]) -> None:
    """Check that both values of a ``where`` have one unit."""
    for node in ast.walk(ast.parse(text, mode="eval")):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == WHERE):
            continue
        choices = [ast.unparse(part) for part in node.args[1:]]
        units = [dimensions_of(part, known, "", detached=True) for part in choices]
        if units[0] is not units[1]:
            first, second = map(displayed_unit, units)
            raise EquationError(
                "", text, f"chooses between values of different units, {first} and {second}"
            )


def _check_actions(text: str, n_actions: int) -> None:
    """Check that ``action`` is compared with actions that exist."""
    for node in ast.walk(ast.parse(text, mode="eval")):
        if not (isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq)):
            continue
        sides = (node.left, *node.comparators)
        if not any(isinstance(side, ast.Name) and side.id == "action" for side in sides):
            continue
        for side in sides:
            try:
                number = ast.literal_eval(side)
            except ValueError:
                continue
            if number not in range(n_actions):
                raise EquationError(
                    "",
                    text,
                    f"there is no action {number}: with n_actions = {n_actions}, actions are "
                    f"0 ... {n_actions - 1}",
                )
