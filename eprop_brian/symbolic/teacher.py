"""Teachers: dynamical systems written as equations, as a step and as a vector field."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import sympy
from brian2.equations.equations import DIFFERENTIAL_EQUATION, Equations
from brian2.stateupdaters.base import StateUpdateMethod
from brian2.units import Quantity
from brian2.units.fundamentalunits import DIMENSIONLESS
from brian2.utils.stringtools import get_identifiers

from eprop_brian.base.checks import is_finite
from eprop_brian.base.toml import toml_table
from eprop_brian.equations.teachers import Teacher
from eprop_brian.symbolic.equation_file import (
    check_keys,
    check_names,
    equation_file,
    is_parameter,
    writable,
)
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    expression_text,
    in_numpy,
    parse_expression,
    require_known,
    split_statements,
)
from eprop_brian.symbolic.model_text import NO_FLAGS, read_model
from eprop_brian.symbolic.names import refuse_reserved
from eprop_brian.symbolic.parameters import UNITS, resolve_parameters

__all__ = [
    "INPUT",
    "TeacherMap",
    "read_teacher",
    "teacher_from_string",
    "teacher_map",
    "write_teacher",
]

#: What the input of a state is called: ``c_x`` for state ``x``.
INPUT = "c_"
#: The input is constant over a step, and so is the spikes' share: order 4 costs nothing here.
_METHOD = "rk4"
#: Step of central differences, relative to states of size 1: errors of order and of rounding match.
_DIFFERENCE = 1e-5
_KEYS = ("name", "model", "source")
_EXAMPLE = "[teacher]\nname = \"mine\"\nmodel = '''dx/dt = -x/tau : 1'''"


@dataclass(frozen=True)
class TeacherMap:
    """A teacher as code and as a function.

    Attributes
    ----------
    teacher : Teacher
    states : tuple of str
        In the order of the equations; dimension k of the signal is state k.
    code : tuple of str
        Statements of one step. They read the states, ``c_<state>``, the parameters and ``dt``.
    parameters : dict of str to float
        In SI units.
    initial : ndarray
        States at the start, shape (K,).
    expressions : tuple of sympy.Expr
        f(x), of states and parameters.
    """

    teacher: Teacher
    states: tuple[str, ...]
    code: tuple[str, ...]
    parameters: dict[str, float]
    initial: np.ndarray
    expressions: tuple[sympy.Expr, ...] = field(repr=False)

    def field(self, x: np.ndarray) -> np.ndarray:
        """The vector field f.

        Parameters
        ----------
        x : array of shape (..., K)

        Returns
        -------
        ndarray of shape (..., K)
            In 1/s.
        """
        x = np.asarray(x, dtype=float)
        values = self._function(*np.moveaxis(x, -1, 0))
        return np.stack([np.broadcast_to(value, x.shape[:-1]) for value in values], axis=-1)

    def jacobian(self, x: np.ndarray) -> np.ndarray:
        """Derivative of the vector field at one point, shape (K, K), in 1/s.

        Parameters
        ----------
        x : array of shape (K,)
        """
        # By central differences: steps and limits have no derivative as an expression.
        x = np.asarray(x, dtype=float)
        step = np.diag(_DIFFERENCE * np.maximum(1.0, np.abs(x)))
        difference = self.field(x + step) - self.field(x - step)
        return (difference / (2 * np.diag(step)[:, None])).T

    @cached_property
    def _function(self) -> Callable[..., list]:
        return _function(self.states, self.expressions, tuple(self.parameters.items()))


# Settings of an experiment are checked again with every change: what takes longest is remembered.
@lru_cache(maxsize=64)
def _function(
    states: tuple[str, ...],
    expressions: tuple[sympy.Expr, ...],
    parameters: tuple[tuple[str, float], ...],
) -> Callable[..., list]:
    """The vector field as a function of the states."""
    known = {sympy.Symbol(name, real=True): value for name, value in parameters}
    return in_numpy(states, tuple(expression.subs(known) for expression in expressions))


def teacher_map(teacher: Teacher) -> TeacherMap:
    """Read a teacher's equations.

    Raises
    ------
    EquationError
        If a line cannot be read, has the wrong unit, or a name of the network's; if a parameter or
        initial value is not a finite number, or nothing moves.
    """
    where = f"teacher '{teacher.name}'"
    values = {**_units_in(teacher.model), **teacher.parameters}
    parameters, dimensions = resolve_parameters(values, f"{where}, parameters")
    for name, value in parameters.items():
        if np.ndim(value):
            raise EquationError(f"{where}, parameters", name, "must be one number")
    equations = read_model(teacher.model, dimensions, f"{where}, model", NO_FLAGS)
    states = [eq.varname for eq in equations.values() if eq.type == DIFFERENTIAL_EQUATION]
    if not states:
        raise EquationError(
            f"{where}, model",
            teacher.model,
            "has no differential equation, e.g. `dx/dt = -x/tau : 1`",
        )
    refuse_reserved([*equations, *teacher.parameters], where)
    for name in (*equations, *parameters):
        if name.startswith(INPUT):
            line = str(equations[name]) if name in equations else f"{name} = {parameters[name]}"
            raise EquationError(where, line, f"'{name}' has another meaning here: rename it")
    for name in states:
        if equations[name].dim is not DIMENSIONLESS:
            raise EquationError(
                f"{where}, model", str(equations[name]), "a state must be dimensionless, ': 1'"
            )
    written = dict(equations.get_substituted_expressions())
    expressions = []
    for state in states:
        expression = str(written[state])
        parsed = parse_expression(expression, f"{where}, model")
        names = sorted(symbol.name for symbol in parsed.free_symbols)
        require_known(names, {*states, *parameters}, f"{where}, model", expression)
        expressions.append(parsed)
    return TeacherMap(
        teacher=teacher,
        states=tuple(states),
        code=_step(tuple(states), tuple(expressions), where),
        parameters={name: float(value) for name, value in parameters.items()},
        initial=_initial(teacher, states, where),
        expressions=tuple(expressions),
    )


@lru_cache(maxsize=64)
def _step(
    states: tuple[str, ...], expressions: tuple[sympy.Expr, ...], where: str
) -> tuple[str, ...]:
    """Brian2's own step of the equations with their inputs."""
    lines = [
        f"d{state}/dt = {expression_text(expression)} + {INPUT}{state} : 1"
        for state, expression in zip(states, expressions, strict=True)
    ]
    code = StateUpdateMethod.stateupdaters[_METHOD](Equations("\n".join(lines)))
    return tuple(f"{name} = {value}" for name, value in split_statements(code, where))


def _initial(teacher: Teacher, states: list[str], where: str) -> np.ndarray:
    for name, value in teacher.initial.items():
        line = f"{name} = {value}"
        require_known([name], states, f"{where}, initial", line)
        if not is_finite(value):
            raise EquationError(f"{where}, initial", line, "must be a finite number")
    return np.array([float(teacher.initial.get(state, 0.0)) for state in states])


def teacher_from_string(model: str, name: str = "given") -> Teacher:
    """A teacher from its equations alone, e.g. ``"dx/dt = (x - x**3)/second : 1"``.

    Equations may be separated by semicolons.
    """
    lines = [line.strip() for line in model.replace(";", "\n").splitlines()]
    return Teacher(name=name, model="\n".join(line for line in lines if line))


def read_teacher(path: str | Path) -> Teacher:
    """Read a teacher file and check its equations.

    Parameters
    ----------
    path : str or Path
        A TOML file with the tables ``[teacher]`` (``name``, ``model``, and if wanted ``source``),
        ``[parameters]`` and ``[initial]``.

    Raises
    ------
    EquationError
        For anything that is wrong with the file, quoting the line and, where it can be found, its
        number.
    """
    with equation_file(path, "teacher") as document:
        check_keys(document, ("teacher", "parameters", "initial"), "table", "teacher file")
        for table, content in document.items():
            if not isinstance(content, dict):
                raise EquationError("teacher file", table, f"must be a table: [{table}]")
        entries = document.get("teacher", {})
        where = f"teacher '{entries.get('name', '')}'"
        check_keys(entries, _KEYS, "key of [teacher]", where)
        for key in ("name", "model"):
            if not isinstance(entries.get(key), str):
                raise EquationError(
                    "teacher file", "[teacher]", f"needs a string '{key}'; begin with\n{_EXAMPLE}"
                )
        for table in ("parameters", "initial"):
            check_names(document.get(table, {}), f"{where}, {table}")
        for name, value in document.get("parameters", {}).items():
            if not is_parameter(value):
                raise EquationError(
                    f"{where}, parameters, {name}",
                    f"{name} = {value}",
                    'must be a number or a string with a unit ("20 ms")',
                )
        teacher = Teacher(
            name=entries["name"],
            model=entries["model"],
            parameters=document.get("parameters", {}),
            initial=document.get("initial", {}),
            source=str(entries.get("source", "")),
        )
        teacher_map(teacher)
    return teacher


def write_teacher(teacher: Teacher) -> str:
    """Write a teacher as the text of a teacher file, which `read_teacher` reads back."""
    where = f"teacher '{teacher.name}', parameters"
    texts = {key: getattr(teacher, key) for key in _KEYS if getattr(teacher, key)}
    tables = {
        "teacher": texts,
        "parameters": {k: writable(k, v, where) for k, v in teacher.parameters.items()},
        "initial": dict(teacher.initial),
    }
    return "\n".join(toml_table(name, values) for name, values in tables.items() if values)


def _units_in(model: str) -> dict[str, Quantity]:
    """Brian2's units that the equations name, and do not define as something else."""
    defined = re.findall(r"^\s*(?:d(\w+)\s*/\s*dt|(\w+))\s*=", model, re.MULTILINE)
    own = {name for pair in defined for name in pair}
    return {name: UNITS[name] for name in sorted(get_identifiers(model) - own) if name in UNITS}
