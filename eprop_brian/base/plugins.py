"""What other packages offer under a name: tasks, neurons and devices, by entry points.

A package declares them in its metadata, for tasks::

    [options.entry_points]
    eprop_brian.tasks =
        which-is-faster = my_package.tasks:WhichIsFaster

Names are read from the metadata of installed packages. The module behind a name is imported when
that name is asked for, and only then.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

__all__ = ["DEVICES", "NEURONS", "TASKS", "PluginError", "load_plugin", "plugins", "wrong_plugin"]

#: Groups of entry points.
TASKS, NEURONS, DEVICES = "eprop_brian.tasks", "eprop_brian.neurons", "eprop_brian.devices"


class PluginError(ValueError):
    """What an installed package offers cannot be imported, or is not what it should be."""


def plugins(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group by name, of all installed packages; nothing is imported.

    Raises
    ------
    PluginError
        If two packages offer different objects under one name.
    """
    named: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        other = named.setdefault(point.name, point)
        if other.value != point.value:
            raise PluginError(
                f"two packages offer {group} '{point.name}': {_origin(other)} and "
                f"{_origin(point)}. Uninstall one of them"
            )
    return named


def load_plugin(group: str, name: str) -> Any:
    """Import what an installed package offers.

    Parameters
    ----------
    group, name : str
        The name must be one of ``plugins(group)``.

    Raises
    ------
    PluginError
        If it cannot be imported, whatever it raises.
    """
    point = plugins(group)[name]
    try:
        return point.load()
    except Exception as error:
        raise PluginError(
            f"{group} '{name}' of {_origin(point)} cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error


def wrong_plugin(group: str, name: str, what: str) -> PluginError:
    """The error for an object that is not what its group holds, ``"a subclass of Task"``."""
    return PluginError(f"{group} '{name}' of {_origin(plugins(group)[name])} must be {what}")


def _origin(point: EntryPoint) -> str:
    package = "" if point.dist is None else f"the package '{point.dist.name}', "
    return f"{package}entry point {point.value}"
