"""Reading recipes: the settings that a task starts from, as a TOML file.

A recipe has the tables of a run's ``config.toml``, but only what differs from the defaults, and a
table ``[neuron]`` or ``[teacher]`` with parameters of the library's neurons or of the task's
teacher. Its comments say where the settings come from. Every task has a recipe of its name; other
networks that learn it have recipes with names of their own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from eprop_brian.base import plugins
from eprop_brian.base.suggestions import unknown
from eprop_brian.base.toml import toml_table, toml_value
from eprop_brian.runs.settings import read_tables
from eprop_brian.tasks import TASKS, ArrayTask, split_name, task_class
from eprop_brian.tasks.dynamics import DYNAMICS
from eprop_brian.tasks.few_shot import FAMILIES

__all__ = ["OTHER_NETWORKS", "RECIPES", "Recipe", "get_recipe"]

#: Recipes with names of their own, and what they are.
OTHER_NETWORKS: Mapping[str, str] = {
    "copy-repeat-lstm": "copy-repeat by an LSTM, the yardstick",
    "evidence-accumulation-ei": "evidence-accumulation by excitatory and inhibitory neurons",
    "evidence-accumulation-layers": "evidence-accumulation by two adaptive layers",
    "one-shot-arm-2019": "one-shot-arm as in 2019: teachers hear the learner, too",
    "spoken-digits-strings": "spoken-digits in strings of one to four, by the loss ctc",
}
#: The file of a run's settings (`eprop_brian.runs.config`), and what else a run has, one at least.
_CONFIG = "config.toml"
_OF_RUN = ("history.csv", "checkpoint.npz", "weights.npz", "initial.npz")
#: Names of the recipes that come with the package.
RECIPES = (*TASKS, *DYNAMICS, *FAMILIES, *OTHER_NETWORKS)


@dataclass(frozen=True)
class Recipe:
    """Settings that a run starts from. As text it is its file, which can be copied and changed.

    Attributes
    ----------
    path : Path
    tables : mapping of str to mapping
        Settings by table and key.
    of_argument : mapping of str to str
        Those of the task that differ from the file, as the recipe's name gave them.
    is_for_another : bool
        Whether its task differs from the file's.
    """

    path: Path
    tables: Mapping[str, Mapping[str, Any]] = field(repr=False)
    of_argument: Mapping[str, str] = field(default_factory=dict)
    is_for_another: bool = False

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.tables["run"]["task"])

    @property
    def comment(self) -> str:
        """What stands at the head of its file: where the settings come from."""
        lines = itertools.takewhile(
            lambda line: line.startswith("#"), self.path.read_text(encoding="utf-8").splitlines()
        )
        return " ".join(line.removeprefix("#").strip() for line in lines)

    @property
    def is_run(self) -> bool:
        """Whether it is the configuration of a run, which has files beside it.

        A recipe of your own may be called ``config.toml`` too.
        """
        beside = (self.path.parent / name for name in _OF_RUN)
        return self.path.name == _CONFIG and any(path.exists() for path in beside)

    def with_task(self, name: str, settings: Mapping[str, Any]) -> Recipe:
        """Return a copy for another task."""
        tables = {**self.tables, "run": {**self.tables["run"], "task": name}, "task": settings}
        return replace(self, tables=tables, of_argument={}, is_for_another=True)

    def __str__(self) -> str:
        text = self.path.read_text(encoding="utf-8")
        if self.is_for_another:
            line = f"task = {toml_value(self.task)}".replace("\\", r"\\")
            text = re.sub(r"^task = .*$", line, text, flags=re.MULTILINE)
            settings = toml_table("task", self.tables["task"]).replace("\\", r"\\")
            text = re.sub(r"^\[task\]\n(?:.+\n)*", settings, text, flags=re.MULTILINE)
        for key, value in self.of_argument.items():
            line = f"{key} = {toml_value(value)}".replace("\\", r"\\")
            text = re.sub(rf"^{key} = .*$", line, text, flags=re.MULTILINE)
        return text


def get_recipe(name: str | Path) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    name : str or Path
        The name of a task, perhaps with its argument ("gymnasium:CartPole-v1"), or of another
        recipe (`RECIPES`), or the path of a recipe of your own, a file ``.toml``, or of a run.
        A task that an installed package offers begins with the recipe of ``arrays``.

    Raises
    ------
    ValueError
        If there is no such recipe, or the file is not one.
    """
    of_argument: dict[str, str] = {}
    # A name of the package stays what it is, also beside a run that is called so.
    if (isinstance(name, Path) or name not in RECIPES) and (Path(name) / _CONFIG).is_file():
        name = Path(name) / _CONFIG
    # A file may be the argument of a task: ``environment:mine.toml``.
    if str(name).endswith(".toml") and str(name).partition(":")[0] not in RECIPES:
        path = Path(name)
    else:
        recipe, of_argument = split_name(str(name))
        if recipe not in RECIPES:
            offered = plugins.plugins(plugins.TASKS)
            if recipe not in offered:
                raise ValueError(unknown("task", recipe, [*RECIPES, *offered]))
            return get_recipe(ArrayTask.name).with_task(task_class(recipe).name, of_argument)
        path = Path(str(files("eprop_brian.recipes") / f"{recipe}.toml"))
    tables = read_tables(path)
    if of_argument:
        tables["task"] = {**tables.get("task", {}), **of_argument}
    task = tables.get("run", {}).get("task")
    if task is None:
        raise ValueError(f"{path}: [run] lacks 'task', the name of the task to train")
    found = Recipe(path, tables, of_argument)
    if not found.is_run and task not in (*DYNAMICS, *FAMILIES):
        try:
            task_class(str(task))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return found
