"""Environment files: what networks act in, written in TOML.

::

    [environment]
    name = "rail"
    model = '''
    x : meter
    v : meter/second
    '''
    n_actions = 2
    most_actions = 200
    action_every = "5 ms"
    step = '''
    v += tau*(2*action - 1)*force/mass
    x += tau*v
    '''
    reward = "1"
    done = "abs(x) > x_limit"

    [initial]                     # expressions; 0 of a state that is absent
    x = "(rand() - 0.5)*x_limit"

    [parameters]
    x_limit = "2 meter"           # a number, a string with a unit, or an expression of others
    force = "3 newton"
    mass = "500 gram"
    tau = "20 ms"

    [[codes]]                     # a group of inputs of the network; there may be several
    size = 10
    spike = "rand() < 0.5*exp(-((x - centre)/width)**2/2)"
    parameters = { width = "2*x_limit/(N - 1)", centre = "i*width - x_limit" }

Nothing in a file is ever run: expressions are parsed, and the environment is brought to its
statements while it is read, so that a mistake is reported with its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from eprop_brian.base.toml import toml_array, toml_table
from eprop_brian.equations.environment import Code, Environment
from eprop_brian.symbolic.environment import environment_map
from eprop_brian.symbolic.equation_file import (
    check_keys,
    check_names,
    equation_file,
    is_parameter,
    writable,
)
from eprop_brian.symbolic.errors import EquationError

__all__ = ["read_environment", "write_environment"]

_CODES = "codes"
_TABLES = ("initial", "parameters")
#: Keys of [environment] in the order in which they are written.
_KEYS = (
    *("name", "source", "model", "n_actions", "action_size", "most_actions"),
    *("action_every", "action_window", "step", "reward", "done"),
)
_TIMES = ("action_every", "action_window")
_REQUIRED = ("name", "model", "most_actions")
_CODE_KEYS = ("size", "spike", "value", "parameters")
_EXAMPLE = '[environment]\nname = "mine"\nmodel = "x : 1"\nmost_actions = 100'


def read_environment(path: str | Path) -> Environment:
    """Read an environment file and check the environment.

    Parameters
    ----------
    path : str or Path
        A TOML file with the table ``[environment]``, a table ``[[codes]]`` for every code, and, as
        needed, ``[initial]`` and ``[parameters]``; the fields are those of
        `eprop_brian.equations.environment.Environment` and `Code`.

    Raises
    ------
    EquationError
        For anything that is wrong with the file, quoting the line and, where it can be found, its
        number.
    """
    with equation_file(path, "environment") as document:
        environment = _environment_of(document)
        environment_map(environment)
    return environment


def write_environment(environment: Environment) -> str:
    """Write an environment as the text of an environment file, which `read_environment` reads back.

    Raises
    ------
    EquationError
        If a parameter is not a number, a quantity, a string or one of these per input, or the
        environment is outside of the program.
    """
    where = f"environment '{environment.name}'"
    if environment.external:
        raise EquationError(where, "external", "an environment outside has no equations to write")
    options = {key: getattr(environment, key) for key in _KEYS}
    defaults = {f.name: _default(f) for f in fields(Environment)}
    options = {k: v for k, v in options.items() if k in _TIMES or v != defaults[k]}
    for key in _TIMES:
        if options[key] is None:
            del options[key]
        else:
            options[key] = writable(key, options[key], where)
    tables = {"environment": options}
    for table in _TABLES:
        values = getattr(environment, table)
        if values:
            tables[table] = {k: writable(k, v, f"{where}, {table}") for k, v in values.items()}
    codes = [
        _code_table(code, f"{where}, code {number}")
        for number, code in enumerate(environment.codes, start=1)
    ]
    texts = [toml_table(name, values) for name, values in tables.items()]
    return "\n".join([*texts, toml_array(_CODES, codes)])


def _default(field: Field[Any]) -> Any:
    """The default of a field that is written only where it differs."""
    return None if field.default is MISSING else field.default


def _code_table(code: Code, where: str) -> dict[str, Any]:
    texts = {key: getattr(code, key) for key in ("spike", "value") if getattr(code, key)}
    parameters = {k: writable(k, v, f"{where}, parameters") for k, v in code.parameters.items()}
    return {"size": code.size, **texts, **({"parameters": parameters} if parameters else {})}


def _environment_of(document: dict[str, Any]) -> Environment:
    """The environment that the tables of a file describe, not checked yet."""
    check_keys(document, ("environment", *_TABLES, _CODES), "table", "environment file")
    entries = document.get("environment")
    if not isinstance(entries, dict):
        raise EquationError(
            "environment file", "[environment]", f"is missing; begin with\n{_EXAMPLE}"
        )
    where = f"environment '{entries.get('name', '')}'"
    check_keys(entries, _KEYS, "key of [environment]", where)
    for key in _REQUIRED:
        if key not in entries:
            raise EquationError(where, "[environment]", f"has no {key}; begin with\n{_EXAMPLE}")
    tables = {table: document.get(table, {}) for table in _TABLES}
    for table, values in tables.items():
        if not isinstance(values, dict):
            raise EquationError(where, f"{table} = {values}", f"must be a table: [{table}]")
        _check_values(values, f"{where}, {table}")
    codes = document.get(_CODES, [])
    if not isinstance(codes, list) or not all(isinstance(code, dict) for code in codes):
        raise EquationError(where, _CODES, "must be tables, each with the header [[codes]]")
    read = [_code_of(code, f"{where}, code {number}") for number, code in enumerate(codes, start=1)]
    try:
        return Environment(**entries, **tables, codes=read)
    except ValueError as error:  # of a time
        if isinstance(error, EquationError):
            raise
        _, _, message = str(error).partition(": ")
        key = message.split()[0]
        line = f"{key} = {entries[key]}"
        raise EquationError(where, line, message.removeprefix(f"{key} ")) from None


def _code_of(table: Mapping[str, Any], where: str) -> Code:
    check_keys(table, _CODE_KEYS, "key of [[codes]]", where)
    if "size" not in table:
        raise EquationError(where, "[[codes]]", "has no size, the number of its inputs")
    parameters = table.get("parameters", {})
    if not isinstance(parameters, dict):
        raise EquationError(where, f"parameters = {parameters}", "must be a table")
    _check_values(parameters, f"{where}, parameters")
    return Code(**table)


def _check_values(values: Mapping[str, Any], where: str) -> None:
    """Check that names are such, and values numbers or text."""
    check_names(values, where)
    for name, value in values.items():
        if not is_parameter(value):
            raise EquationError(
                f"{where}, {name}",
                f"{name} = {value}",
                'must be a number, a string with a unit ("20 ms"), an expression or a list of '
                "numbers",
            )
