"""An environment run in NumPy, action by action: to look at episodes, and as a reference.

The statements are those that a program runs (`eprop_brian.symbolic.environment`), evaluated from
their syntax trees, with the operations in the order in which they are written. Nothing is executed
as Python.
"""

from __future__ import annotations

import ast
import operator
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, reduce
from typing import Any, TypeAlias

import numpy as np
from brian2.core.functions import DEFAULT_CONSTANTS
from numpy.typing import NDArray

from eprop_brian.base.random import neuron_normals, neuron_uniforms, normals, uniforms
from eprop_brian.equations.environment import Environment
from eprop_brian.symbolic.environment import Section, environment_map
from eprop_brian.symbolic.functions import IN_NUMPY
from eprop_brian.symbolic.names import shown

__all__ = ["Draw", "EnvironmentRun", "ProgramDraws", "drawn_by", "initial_states"]

#: Gives random numbers of a kind, ``"uniform"`` or ``"normal"``, one for each input or one of all.
Draw: TypeAlias = Callable[[str, int], NDArray[np.float64]]

_BINARY: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[..., Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_UNARY: dict[type[ast.unaryop], Callable[..., Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: np.logical_not,
}
_DRAWN = {"uniform": uniforms, "normal": normals}
_DRAWN_BY_PROGRAMS = {"uniform": neuron_uniforms, "normal": neuron_normals}
#: What Brian2's functions are called in NumPy, where it is not their own name.
_FUNCTIONS = {**IN_NUMPY, "int": lambda x: np.trunc(np.asarray(x, dtype=float))[()]}


def drawn_by(rng: np.random.Generator) -> Draw:
    """Random numbers of a generator."""
    return lambda kind, size: _DRAWN[kind](rng, size)


class ProgramDraws:
    """The random numbers of an episode in a program, which are a function of the episode's key.

    Parameters
    ----------
    key : int
        Of the trial's noise (`Trials.noise_keys`).
    """

    def __init__(self, key: int) -> None:
        self._key, self._step = int(key), 0
        self._places: Iterator[tuple[str, int]] = iter(())

    def of(self, step: int, *places: tuple[str, int]) -> None:
        """Say what is drawn next.

        Parameters
        ----------
        step : int
            Of the network, since the episode began.
        places : tuple of str and int
            Of each draw, in order: the section, ``"initial"``, ``"step"`` or
            ``"environment_code_0"``, and the number of the draw in it.
        """
        self._step, self._places = step, iter(places)

    def __call__(self, kind: str, size: int) -> NDArray[np.float64]:
        section, number = next(self._places)
        block = zlib.crc32(f"environment {section}".encode())
        drawn = _DRAWN_BY_PROGRAMS[kind](self._key, self._step, np.arange(size), block, number)
        return np.asarray(drawn, dtype=float)


def initial_states(environment: Environment, key: int) -> dict[str, float]:
    """The states with which an episode begins in a program.

    Parameters
    ----------
    environment : Environment
        Not an external one.
    key : int
        Of the episode's noise.

    Returns
    -------
    dict of str to float
        By name, in SI units.
    """
    draws = ProgramDraws(key)
    draws.of(0, *(("initial", k) for k in range(len(environment_map(environment).initial.draws))))
    return EnvironmentRun(environment, draws).states


class EnvironmentRun:
    """Episodes in an environment, one after the other.

    Parameters
    ----------
    environment : Environment
        Not an external one, whose states are set from outside.
    draw : callable
        Gives its random numbers, for example `drawn_by` of a generator.

    Attributes
    ----------
    states : dict of str to float
        By their names, in SI units; may be set between two actions.
    n_actions : int
        How many the episode has had.

    Raises
    ------
    EquationError
        For whatever is wrong with the environment.
    ValueError
        If it is external.
    """

    def __init__(self, environment: Environment, draw: Draw) -> None:
        if environment.external:
            raise ValueError(
                f"environment '{environment.name}' is external: it has no equations to run"
            )
        self.environment, self._map, self._draw = environment, environment_map(environment), draw
        self.states: dict[str, float] = {}
        self.n_actions = 0
        self.begin()

    def begin(self) -> None:
        """Begin an episode."""
        self.states = self._states(self._run(self._map.initial, {}))
        self.n_actions = 0

    def act(self, action: float | NDArray[Any]) -> tuple[float, bool]:
        """Take an action.

        Parameters
        ----------
        action : int, float or array of shape (action_size,)
            The number of a discrete action, or continuous ones.

        Returns
        -------
        reward : float
        done : bool
            Whether the episode is over by its condition; it is cut off after `most_actions` too.
        """
        actions = np.atleast_1d(np.asarray(action, dtype=float))
        names = ["action"]
        if len(actions) > 1:
            names = [f"action_{k}" for k in range(len(actions))]
        values = {**dict(zip(names, actions, strict=True)), "n_action": float(self.n_actions)}
        values = self._run(self._map.step, values)
        self.states, self.n_actions = self._states(values), self.n_actions + 1
        return float(values["reward"]), bool(values["done"])

    def sense(
        self, time: float, since_action: float, dt: float
    ) -> NDArray[np.bool_] | NDArray[np.float64]:
        """What the network's inputs are in a step.

        Parameters
        ----------
        time, since_action, dt : float
            Since the episode began, since the last action, and the network's step; in seconds.

        Returns
        -------
        bool or float array, shape (n_inputs,)
        """
        times = {"episode_time": time, "time_of_action": since_action, "dt": dt}
        parts = []
        for code in self._map.codes:
            values = {**code.parameters, **times, "index": np.arange(code.size, dtype=float)}
            given = self._run(code.section, values, code.size)["z"]
            parts.append(np.broadcast_to(given, (code.size,)))
        return np.concatenate(parts).astype(float if self._map.analog else bool)

    def _states(self, values: Mapping[str, Any]) -> dict[str, float]:
        return {shown(state): float(values[state]) for state in self._map.states}

    def _run(self, section: Section, given: Mapping[str, Any], size: int = 1) -> dict[str, Any]:
        """All values after the statements of a section."""
        named = dict(zip(self._map.states, self.states.values(), strict=False))
        values = {**self._map.parameters, **named, **given}
        for number, kind in enumerate(section.draws):
            drawn = self._draw(kind, size)
            values[f"_draw_{number}"] = drawn if size > 1 else float(drawn[0])
        for statement in section.statements:
            name, _, text = statement.partition(" = ")
            with np.errstate(all="ignore"):  # what is not finite, users see
                values[name] = _value(_tree(text), values)
        return values


@lru_cache(maxsize=4096)
def _tree(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """Value of a part of an expression, whose syntax has been checked where it was read."""
    if isinstance(node, ast.Constant):
        return np.float64(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        if node.id in values:
            value = values[node.id]
            return value if np.ndim(value) else np.float64(value)
        return np.float64(DEFAULT_CONSTANTS[node.id].value)
    if isinstance(node, ast.UnaryOp):
        return _UNARY[type(node.op)](_value(node.operand, values))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, values), _value(node.right, values)
        return _BINARY[type(node.op)](left, right)
    if isinstance(node, ast.Compare):
        left, right = _value(node.left, values), _value(node.comparators[0], values)
        return _COMPARISONS[type(node.ops[0])](left, right)
    if isinstance(node, ast.BoolOp):
        joined = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return reduce(joined, [_value(part, values) for part in node.values])
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    function = _FUNCTIONS.get(node.func.id) or getattr(np, node.func.id)
    return function(*(_value(part, values) for part in node.args))
