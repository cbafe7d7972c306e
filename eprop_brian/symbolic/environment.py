"""An environment brought to the statements that run inside a program.

The statements are those of the user, with the operations in the order in which they were written;
only names are replaced. States and parameters of the environment have the form of
`eprop_brian.symbolic.names.own` with ``ENVIRONMENT``, parameters of a code that with ``CODE``; what
`step` sets besides states is the environment's too, with ``_`` before it, and so is a temporary of
the block. Every other name is the program's:

- ``action``, or ``action_0``, ``action_1``, ...: the action; ``n_action``: its number, from 0
- ``reward`` and ``done`` (1 at the end, else 0): what `step` gives
- ``index``: number of an input among those of its code (``i``); ``z``: its spike or value
- ``c11_observation`` (``observation``): what an input senses of an environment outside
- ``episode_time`` (``t``) and ``time_of_action`` (``t_action``): seconds since the episode began,
  and since the last action; ``dt``: the network's step in seconds
- ``_draw_0``, ``_draw_1``, ...: the random numbers of a section (``rand()``, ``randn()``)

Nothing in an environment is ever executed as Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from brian2.equations.equations import PARAMETER
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension

from eprop_brian.base.checks import is_number
from eprop_brian.base.suggestions import did_you_mean
from eprop_brian.equations.brian_arguments import equation_text
from eprop_brian.equations.environment import Code, Environment
from eprop_brian.symbolic.environment_sections import Names, Section, SectionReader
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import require_known, split_statements
from eprop_brian.symbolic.model_text import parse_model
from eprop_brian.symbolic.names import CODE, ENVIRONMENT, own, refuse_reserved
from eprop_brian.symbolic.parameters import UNITS
from eprop_brian.symbolic.per_neuron import Members, resolve_values

__all__ = ["OBSERVATION", "CodeMap", "EnvironmentMap", "Section", "environment_map"]

#: Fields that are text.
_TEXTS = ("name", "model", "step", "reward", "done", "source")
#: Names with a meaning in the equations of an environment, whatever its actions are.
_MEANINGS = ("action", "reward", "done", "n", "t_action", "observation")
#: Most inputs of a code, actions of an episode, and actions to choose from: what is beyond takes
#: memory before anything says so.
_MOST = {"size": 1_000_000, "most_actions": 10_000_000, "n_actions": 10_000, "action_size": 1000}
#: What an input of a code senses of an environment outside of the program, in statements.
OBSERVATION = own("observation", CODE)


@dataclass(frozen=True)
class CodeMap:
    """The statement of a code.

    Attributes
    ----------
    size : int
        Number of its inputs.
    section : Section
        Ends with ``z = int(...)`` or, of analog inputs, ``z = ...``. For one input.
    parameters : dict of str to float or array of shape (size,)
        SI values by the names in the statement.
    senses : int array of shape (size,), or None
        Which component of an observation is `OBSERVATION`, of an environment outside.
    """

    size: int
    section: Section
    parameters: dict[str, np.ndarray | float]
    senses: np.ndarray | None


@dataclass(frozen=True)
class EnvironmentMap:
    """The statements of an environment.

    Attributes
    ----------
    states : tuple of str
        As they are called in the statements.
    parameters : dict of str to float
        SI values by the names in the statements.
    initial : Section
        Sets every state.
    step : Section
        Ends with ``reward = ...`` and ``done = int(...)``, or ``done = 0`` without a condition.
    codes : tuple of CodeMap
    analog : bool
        Whether inputs are values rather than spikes.
    """

    states: tuple[str, ...]
    parameters: dict[str, float]
    initial: Section
    step: Section
    codes: tuple[CodeMap, ...]
    analog: bool


def environment_map(environment: Environment) -> EnvironmentMap:
    """Bring an environment to its statements, checking names and units.

    Raises
    ------
    EquationError
        For whatever is wrong with it, with the line at fault.
    """
    where = f"environment '{environment.name}'"
    _check_fields(environment, where)
    meanings = _meanings(environment)
    values, dimensions = resolve_values(
        environment.parameters, f"{where}, parameters", Members(1, population=where)
    )
    refuse_reserved(values, f"{where}, parameters", meanings)
    for name, value in values.items():
        if np.ndim(value):
            line = f"{name} = {environment.parameters[name]}"
            raise EquationError(f"{where}, parameters", line, "must be one number")
    units = _states(environment, values, meanings, f"{where}, model")
    names = Names({**dimensions, **units}, ENVIRONMENT)
    initial = _initial(environment, units, dimensions, names, f"{where}, initial")
    step = _step(environment, units, names, where)
    codes = tuple(
        _code(code, environment, names, f"{where}, code {number}")
        for number, code in enumerate(environment.codes, start=1)
    )
    parameters = {own(name, ENVIRONMENT): float(value) for name, value in values.items()}
    return EnvironmentMap(
        states=tuple(own(state, ENVIRONMENT) for state in units),
        parameters={**parameters, **names.units},
        initial=initial,
        step=step,
        codes=codes,
        analog=environment.analog,
    )


def _meanings(environment: Environment) -> tuple[str, ...]:
    """Names that have a meaning in its equations."""
    return (*_MEANINGS, *(f"action_{k}" for k in range(environment.action_size)))


def _check_fields(environment: Environment, where: str) -> None:
    """Check what an environment consists of, but for its equations."""
    for key in _TEXTS:
        if not isinstance(getattr(environment, key), str):
            raise EquationError(where, f"{key} = {getattr(environment, key)!r}", "must be text")
    for key in ("parameters", "initial"):
        if not isinstance(getattr(environment, key), Mapping):
            line = f"{key} = {getattr(environment, key)!r}"
            raise EquationError(where, line, "must be a mapping from names")
    for key, minimum in (("most_actions", 1), ("n_actions", 0), ("action_size", 0)):
        _check_whole(getattr(environment, key), key, minimum, where)
    if bool(environment.n_actions) == bool(environment.action_size):
        raise EquationError(
            where,
            f"n_actions = {environment.n_actions}, action_size = {environment.action_size}",
            "actions are either discrete (n_actions, of which one is chosen) or continuous "
            "(action_size numbers): set one of the two",
        )
    if environment.n_actions == 1:
        raise EquationError(where, "n_actions = 1", "leaves nothing to choose: 2 or more")
    window = environment.action_window
    if window is not None and float(window) > float(environment.action_every):
        raise EquationError(
            where,
            f"action_window = {window}",
            f"is longer than the time between two actions, {environment.action_every}",
        )
    if environment.external:
        for key in ("model", "initial", "step", "reward", "done"):
            if getattr(environment, key) not in ("0", "", {}):
                raise EquationError(
                    where,
                    f"{key} = {getattr(environment, key)}",
                    f"`{key}` is not for an environment that runs outside the program (external)",
                )
    _check_codes(environment, where)


def _check_codes(environment: Environment, where: str) -> None:
    """Check that there are codes, each with either spikes or values, and all of one kind."""
    if not environment.codes:
        raise EquationError(
            where, "codes", "is empty: without a code, no input of the network senses anything"
        )
    for number, code in enumerate(environment.codes, start=1):
        at = f"{where}, code {number}"
        if not isinstance(code, Code):
            raise EquationError(at, repr(code), "must be a Code")
        _check_whole(code.size, "size", 1, at)
        for key in ("spike", "value"):
            if not isinstance(getattr(code, key), str):
                raise EquationError(at, f"{key} = {getattr(code, key)!r}", "must be text")
        if bool(code.spike.strip()) == bool(code.value.strip()):
            both = f"spike = {code.spike!r}, value = {code.value!r}"
            raise EquationError(
                at,
                both,
                "needs either `spike`, a condition such as `rand() < p`, or `value`, an expression",
            )
        if bool(code.value.strip()) != environment.analog:
            raise EquationError(
                at,
                f"spike = {code.spike}",
                "gives spikes, where another code of the environment gives values: the inputs of a "
                "network are of one kind",
            )


def _senses(code: Code, environment: Environment, where: str) -> np.ndarray | None:
    """Which components of an observation the inputs of a code sense."""
    if (code.senses is None) is bool(environment.external):
        raise EquationError(
            where,
            f"senses = {code.senses!r}",
            "names components of an observation, which only an environment outside of the program "
            "(external) has"
            if code.senses is not None
            else "must say which component of the observation each input senses, as the "
            "environment runs outside of the program (external)",
        )
    if code.senses is None:
        return None
    senses = np.asarray(code.senses)
    if senses.shape != (code.size,) or senses.dtype.kind not in "iu" or senses.min() < 0:
        raise EquationError(
            where,
            f"senses = {code.senses!r}",
            f"must be {code.size} whole numbers from 0 on, one for each input",
        )
    return senses


def _check_whole(value: Any, key: str, minimum: int, where: str) -> None:
    if not is_number(value) or value < minimum or value % 1:
        raise EquationError(
            where, f"{key} = {value!r}", f"must be a whole number, {minimum} or more"
        )
    if value > _MOST[key]:
        raise EquationError(where, f"{key} = {value!r}", f"is more than {_MOST[key]}")


def _states(
    environment: Environment,
    parameters: Mapping[str, object],
    meanings: tuple[str, ...],
    where: str,
) -> dict[str, Dimension]:
    """The states with their units, in the order in which they are declared."""
    units: dict[str, Dimension] = {}
    for equation in parse_model(environment.model, where).values():
        if equation.type != PARAMETER or equation.flags or equation.var_type != "float":
            raise EquationError(
                where,
                equation_text(equation),
                "only declares a state and its unit, e.g. `x : meter`; what changes it stands in "
                "`step`",
            )
        units[equation.varname] = equation.dim
    refuse_reserved(units, where, meanings)
    for name in units:
        if name in parameters:
            raise EquationError(where, name, "is both a state and a parameter; rename one")
        if name in UNITS:
            raise EquationError(where, name, "is a unit; rename the state")
    return units


def _initial(
    environment: Environment,
    units: Mapping[str, Dimension],
    parameters: Mapping[str, Dimension],
    names: Names,
    where: str,
) -> Section:
    for state, value in environment.initial.items():
        require_known([state], units, where, f"{state} = {value}")
        if not isinstance(value, str):
            raise EquationError(
                where, f"{state} = {value}", "must be a number, a quantity or an expression"
            )
    reader = SectionReader(names, {}, parameters)
    for state, unit in units.items():
        text = environment.initial.get(state, "0")
        reader.assign(state, text, f"{state} = {text}", where, unit)
    return reader.section()


def _step(
    environment: Environment, units: Mapping[str, Dimension], names: Names, where: str
) -> Section:
    """What an action does, its reward, and whether the episode is over."""
    size = environment.action_size
    actions = ["action"] if size <= 1 else [f"action_{k}" for k in range(size)]
    meanings = {action: (action, DIMENSIONLESS) for action in actions}
    meanings["n"] = ("n_action", DIMENSIONLESS)
    reader = SectionReader(names, meanings, names.dimensions, environment.n_actions)
    at = f"{where}, step"
    temporaries: dict[str, str] = {}
    for name, expression in split_statements(environment.step, at):
        line = f"{name} = {expression}"
        if name in units:
            reader.assign(name, expression, line, at, units[name])
            continue
        _check_temporary(name, line, environment, units, at)
        reader.assign_temporary(name, expression, line, at)
        temporaries.setdefault(name, line)
    reader.give("reward", str(environment.reward), f"{where}, reward")
    if environment.done.strip():
        reader.give("done", environment.done, f"{where}, done", condition=True)
    else:
        reader.statements.append("done = 0")
    for name, line in temporaries.items():
        if name not in reader.read:
            hint = did_you_mean(name, units)
            raise EquationError(
                at,
                line,
                f"'{name}' is no state of the environment{hint}, and nothing reads it: declare it "
                f"in `model`. Declared there: {', '.join(units) or 'nothing'}",
            )
    return reader.section()


def _check_temporary(
    name: str, line: str, environment: Environment, units: Mapping[str, Dimension], where: str
) -> None:
    """Check that what is assigned, and is no state, may be set at all."""
    states = ", ".join(units) or "none"
    if name in environment.parameters:
        raise EquationError(
            where,
            line,
            f"'{name}' is a parameter, which keeps its value; a state may change, declared in "
            f"`model` (states: {states})",
        )
    if name in _meanings(environment) or name in UNITS:
        what = "a unit" if name in UNITS else "set by the toolkit"
        hint = {
            "reward": "; write its expression into `reward`",
            "done": "; write its condition into `done`",
        }.get(name, "; choose another name")
        raise EquationError(where, line, f"'{name}' is {what}{hint}")
    refuse_reserved([name], where)


def _code(code: Code, environment: Environment, names: Names, where: str) -> CodeMap:
    own_names = [*code.parameters]
    if not isinstance(code.parameters, Mapping):
        raise EquationError(
            where, f"parameters = {code.parameters!r}", "must be a mapping from names"
        )
    refuse_reserved(own_names, f"{where}, parameters", _MEANINGS)
    for name in own_names:
        if name in names.dimensions:
            raise EquationError(
                f"{where}, parameters",
                f"{name} = {code.parameters[name]}",
                "is a name of the environment too; rename it here",
            )
    # Expressions may read the parameters of the environment.
    values, dimensions = resolve_values(
        {**environment.parameters, **code.parameters},
        f"{where}, parameters",
        Members(code.size, population=where),
    )
    for name in own_names:
        if np.ndim(values[name]) and len(np.asarray(values[name])) != code.size:
            raise EquationError(
                f"{where}, parameters",
                f"{name} = {code.parameters[name]}",
                f"has {len(np.asarray(values[name]))} values, and the code has {code.size} inputs",
            )
    meanings = {
        "i": ("index", DIMENSIONLESS),
        "N": (repr(float(code.size)), DIMENSIONLESS),
        "t": ("episode_time", second.dim),
        "t_action": ("time_of_action", second.dim),
        "dt": ("dt", second.dim),
    }
    senses = _senses(code, environment, where)
    if senses is not None:
        meanings["observation"] = (OBSERVATION, DIMENSIONLESS)
    of_code = Names({name: dimensions[name] for name in own_names}, CODE)
    reader = SectionReader(of_code, meanings, of_code.dimensions, beside=names)
    if code.spike.strip():
        reader.give("z", code.spike, f"{where}, spike", condition=True)
    else:
        reader.give("z", code.value, f"{where}, value")
    parameters = {own(name, CODE): values[name] for name in own_names}
    return CodeMap(int(code.size), reader.section(), {**parameters, **of_code.units}, senses)
