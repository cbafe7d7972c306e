"""The task of a run: of the library, of an installed package, or an object of one's own.

``config.toml`` has the task's name and all its settings. What a task is made of besides stands in
files beside it, so that a run stays what it is wherever the user's files go: the environment that a
file describes as ``environment.toml``, arrays as ``task.npz``. A task of one's own that no package
offers is an object, which whoever opens the run must have: a name in a file runs no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from brian2.units.fundamentalunits import DimensionMismatchError, Quantity

from eprop_brian.base.files import read_numbers
from eprop_brian.base.plugins import PluginError
from eprop_brian.runs.settings import Tables, as_quantity
from eprop_brian.symbolic.environment_file import read_environment, write_environment
from eprop_brian.symbolic.equation_file import writable
from eprop_brian.tasks import ArrayTask, EnvironmentFile, Task, get_task, task_class

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig

__all__ = [
    "check_name",
    "check_same",
    "check_task",
    "class_of",
    "completed",
    "files_of_task",
    "kept_parts",
    "make_task",
    "named_parts",
    "parts_of",
    "settings_of",
    "with_parts",
]

_ENVIRONMENT_FILE, _ARRAYS_FILE = "environment.toml", "task.npz"


def with_parts(config: RunConfig, **parts: Any) -> RunConfig:
    """Return a copy with some parts replaced."""
    return replace(config, parts={**config.parts, **parts})


# Beside its settings a task has the parts ``environment``, ``arrays`` and ``own_task``.


def parts_of(task: Task) -> dict[str, Any]:
    """Give the parts of a configuration with this very task."""
    return {
        "environment": task.environment if isinstance(task, EnvironmentFile) else None,
        "arrays": task.arrays if isinstance(task, ArrayTask) else None,
        "own_task": None if _can_be_made(task) else task,
    }


def named_parts(tables: Tables) -> dict[str, Any]:
    """Read the file that the task's settings name, an environment's or one of arrays."""
    settings = tables.get("task", {})
    named = {cls: settings.get(cls.argument) for cls in (EnvironmentFile, ArrayTask)}
    return _parts(tables, *(Path(str(name)) if name else None for name in named.values()))


def kept_parts(tables: Tables, folder: Path) -> dict[str, Any]:
    """Read the file that stands in the folder of a run, an environment's or one of arrays."""
    environment, arrays = folder / _ENVIRONMENT_FILE, folder / _ARRAYS_FILE
    named = tables.get("task", {}).get("file")
    # Arrays that were given in Python have no other file.
    return _parts(
        tables,
        environment if named else None,
        arrays if named or arrays.exists() else None,
    )


def _parts(tables: Tables, environment: Path | None, arrays: Path | None) -> dict[str, Any]:
    name = tables["run"]["task"]
    is_environment, has_arrays = name == EnvironmentFile.name, name == ArrayTask.name
    return {
        "environment": read_environment(environment) if is_environment and environment else None,
        "arrays": read_numbers(arrays) if has_arrays and arrays else None,
        "own_task": None,
    }


def files_of_task(config: RunConfig) -> dict[str, Any]:
    """Give the files beside ``config.toml``, texts and arrays by name."""
    environment, arrays = config.parts.get("environment"), config.parts.get("arrays")
    texts = {} if environment is None else {_ENVIRONMENT_FILE: write_environment(environment)}
    return texts if arrays is None else {**texts, _ARRAYS_FILE: arrays}


# Settings.


def settings_of(task: Task) -> dict[str, Any]:
    """All settings of a task as TOML has them, defaults too; without those that are None.

    Left out is what only Python has, such as an array or an object.
    """
    return {name: value for name, value in _encoded(task).items() if value is not None}


def _encoded(task: Task) -> dict[str, Any]:
    """Settings as TOML has them; None for those that it has not, and for None."""
    given = {f.name: getattr(task, f.name) for f in fields(task) if f.init}
    return {name: _plain(name, value) for name, value in given.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Quantity):
        return writable(name, value, "the task")
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [_plain(name, item) for item in value]
        return None if None in items else items
    return None


def _can_be_made(task: Task) -> bool:
    """Whether a task is of the library or a package, and follows from its settings."""
    try:
        is_known = task_class(task.name) is type(task)
    except ValueError:
        return False
    encoded = _encoded(task)
    return is_known and all(
        getattr(task, name) is None for name, value in encoded.items() if value is None
    )


def completed(config: RunConfig) -> RunConfig:
    """Return a copy that says all settings of its task, those with defaults too."""
    complete = {**settings_of(make_task(config)), **config.tables["task"]}
    return config.with_tables({"task": complete})


# The task.


def class_of(config: RunConfig) -> type[Task]:
    """The class of the task."""
    own = config.parts.get("own_task")
    return task_class(config.run["task"]) if own is None else type(own)


def make_task(config: RunConfig) -> Task:
    """Make the task with its settings."""
    cls, own = class_of(config), config.parts.get("own_task")
    # A path such as ./data is text, though it begins like a number.
    text = {f.name for f in fields(cls) if "str" in str(f.type).split(" | ")}
    names = {f.name for f in fields(cls) if f.type == "Sequence[str]"}
    settings: dict[str, Any] = {}
    for key, value in config.tables["task"].items():
        if key in names and isinstance(value, list | tuple):
            settings[key] = tuple(map(str, value))
        else:
            settings[key] = str(value) if key in text else as_quantity(value, f"task.{key}")
    if own is not None:
        return cls(**settings) if _first_difference(config.tables["task"], own) else own
    if config.parts.get("environment") is not None:
        return EnvironmentFile(**settings, kept=config.environment)
    if config.parts.get("arrays") is not None:
        return ArrayTask(**settings, kept=config.arrays)
    return get_task(config.run["task"], **settings)


def check_task(config: RunConfig) -> None:
    """Raise ValueError if there is no such task, in the library, a package or as an object.

    Raises
    ------
    ValueError
    PluginError
        If a package offers the task, but it cannot be imported.
    """
    name, own = config.run["task"], config.parts.get("own_task")
    if own is None:
        try:
            task_class(str(name))
        except PluginError:
            raise
        except ValueError as error:
            raise ValueError(
                f"{error}. A task of your own must be offered by an installed package (an entry "
                "point of the group eprop_brian.tasks), or be passed as an object: "
                "Trainer.load(folder, task=my_task)"
            ) from None


def check_name(tables: Tables, task: Task) -> None:
    """Raise ValueError if the object that a run is opened with is a task of another name."""
    name = tables["run"]["task"]
    if task.name != name:
        raise ValueError(f"the run's task is '{name}', but the object is the task '{task.name}'")


def check_same(config: RunConfig, task: Task) -> None:
    """Raise ValueError if the object that a run is opened with is another than the run's task."""
    kept = config.parts.get("arrays")
    if isinstance(task, ArrayTask) and kept is not None and not _same_arrays(kept, task.arrays):
        raise ValueError("the run's task has other arrays than the object: pass the same task")
    key = _first_difference(config.tables["task"], task)
    if key:
        raise ValueError(
            f"the run's task has {key} = {config.tables['task'][key]!r}, but the object "
            f"{settings_of(task).get(key)!r}: pass the same task"
        )


def _first_difference(stored: Mapping[str, Any], task: Task) -> str:
    """The first of some settings that a task has otherwise; ``""`` if there is none."""
    settings = settings_of(task)
    for key, value in stored.items():
        if value != settings.get(key) and not _same_quantity(value, settings.get(key)):
            return key
    return ""


def _same_quantity(one: Any, other: Any) -> bool:
    """Whether two texts are the same quantity, such as ``"0.5 s"`` and ``"500 ms"``."""
    try:
        return bool(as_quantity(one, "the task") == as_quantity(other, "the task"))
    except (ValueError, DimensionMismatchError):
        return False


def _same_arrays(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)
