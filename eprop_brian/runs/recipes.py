"""Reading recipes: the settings that a task starts from, as a TOML file.

A recipe has the tables of a run's ``config.toml``, but only what differs from the defaults, and a
table ``[neuron]`` or ``[teacher]`` with parameters of the library's neurons or of the task's
teacher. Its comments say where the settings come from. Every task has a recipe of its name; other
networks that learn it have recipes with names of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from eprop_brian.base.suggestions import unknown
from eprop_brian.runs.settings import read_tables
from eprop_brian.tasks import TASKS
from eprop_brian.tasks.dynamics import DYNAMICS

__all__ = ["OTHER_NETWORKS", "RECIPES", "Recipe", "get_recipe"]

#: Recipes with names of their own, and what they are.
OTHER_NETWORKS: Mapping[str, str] = {
    "evidence-accumulation-ei": "the same by 80 excitatory and 20 inhibitory neurons with AMPA and "
    "GABA receptors, under Dale's law",
    "evidence-accumulation-layers": "the same by two adaptive layers, the second recurrent",
}
#: Names of the recipes that come with the package.
RECIPES = (*TASKS, *DYNAMICS, *OTHER_NETWORKS)


@dataclass(frozen=True)
class Recipe:
    """Settings that a run starts from. As text it is its file, which can be copied and changed.

    Attributes
    ----------
    path : Path
    tables : mapping of str to mapping
        Settings by table and key.
    """

    path: Path
    tables: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.tables["run"]["task"])

    def __str__(self) -> str:
        return self.path.read_text(encoding="utf-8")


def get_recipe(name: str | Path) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    name : str or Path
        The name of a task or of another recipe (`RECIPES`), or the path of a recipe of your own, a
        file ``.toml``.

    Raises
    ------
    ValueError
        If there is no such recipe, or the file is not one.
    """
    if str(name).endswith(".toml"):
        path = Path(name)
    elif str(name) in RECIPES:
        path = Path(str(files("eprop_brian.recipes") / f"{name}.toml"))
    else:
        raise ValueError(unknown("task", str(name), RECIPES))
    tables = read_tables(path)
    task = tables.get("run", {}).get("task")
    if task is None:
        raise ValueError(f"{path}: [run] lacks 'task', the name of the task to train")
    tasks = (*TASKS, *DYNAMICS)
    if task not in tasks:
        raise ValueError(f"{path}: {unknown('task', task, tasks)}")
    return Recipe(path, tables)
