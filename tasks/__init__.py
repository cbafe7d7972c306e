"""Tasks: inputs, targets and timing, one module a task.

`get_task` makes one by its command-line name; `eprop_brian.tasks.base` shows how to write your own.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from eprop_brian.base import plugins
from eprop_brian.base.random import rng_for
from eprop_brian.base.suggestions import unknown
from eprop_brian.tasks.acrobot import Acrobot
from eprop_brian.tasks.arrays import ArrayTask
from eprop_brian.tasks.atari import Atari
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.cartpole import CartPole
from eprop_brian.tasks.copy_repeat import CopyRepeat
from eprop_brian.tasks.delayed_match import DelayedMatch
from eprop_brian.tasks.digits import Digits
from eprop_brian.tasks.environment_file import EnvironmentFile
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.tasks.evidence_accumulation import EvidenceAccumulation
from eprop_brian.tasks.feature_file import FeatureFile
from eprop_brian.tasks.gymnasium_task import GymnasiumTask
from eprop_brian.tasks.handwriting import Handwriting
from eprop_brian.tasks.japanese_vowels import JapaneseVowels
from eprop_brian.tasks.lemniscate import Lemniscate
from eprop_brian.tasks.mountain_car import MountainCar
from eprop_brian.tasks.n_mnist import NMnist
from eprop_brian.tasks.pattern_generation import PatternGeneration
from eprop_brian.tasks.player import EnvironmentFailed, Player
from eprop_brian.tasks.reaching import Reaching
from eprop_brian.tasks.shd import Shd
from eprop_brian.tasks.spikes import poisson_spikes, spike_positions
from eprop_brian.tasks.spoken_digits import SpokenDigits
from eprop_brian.tasks.store_recall import StoreRecall
from eprop_brian.tasks.t_maze import TMaze
from eprop_brian.tasks.timit import Timit
from eprop_brian.tasks.trials import Trials

__all__ = [
    "TASKS",
    "ArrayTask",
    "CopyRepeat",
    "DelayedMatch",
    "Digits",
    "EvidenceAccumulation",
    "FeatureFile",
    "Handwriting",
    "JapaneseVowels",
    "Lemniscate",
    "NMnist",
    "PatternGeneration",
    "Shd",
    "SpokenDigits",
    "StoreRecall",
    "Timit",
    "Acrobot",
    "Atari",
    "CartPole",
    "EnvironmentFailed",
    "EnvironmentFile",
    "EpisodicTask",
    "GymnasiumTask",
    "MountainCar",
    "Player",
    "Reaching",
    "TMaze",
    "Task",
    "Trials",
    "get_task",
    "poisson_spikes",
    "rng_for",
    "spike_positions",
    "split_name",
    "task_class",
]

#: Task classes by their command-line name.
TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        PatternGeneration,
        Lemniscate,
        Handwriting,
        EvidenceAccumulation,
        DelayedMatch,
        Digits,
        NMnist,
        Shd,
        JapaneseVowels,
        SpokenDigits,
        Timit,
        FeatureFile,
        StoreRecall,
        CopyRepeat,
        TMaze,
        CartPole,
        Acrobot,
        MountainCar,
        Reaching,
        GymnasiumTask,
        Atari,
        EnvironmentFile,
        ArrayTask,
    )
}


def task_class(name: str) -> type[Task]:
    """Return the class of a task: of the library, or one that an installed package offers.

    Packages offer tasks by entry points of the group ``eprop_brian.tasks``
    (`eprop_brian.base.plugins`). They cannot take the name of a task of the library.

    Raises
    ------
    ValueError
        If there is none of this name; the message lists those that there are.
    PluginError
        If a package offers it, but it cannot be imported or is no task of this name.
    """
    if name in TASKS:
        return TASKS[name]
    offered = plugins.plugins(plugins.TASKS)
    if name not in offered:
        raise ValueError(unknown("task", name, sorted([*TASKS, *offered])))
    task = plugins.load_plugin(plugins.TASKS, name)
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise plugins.wrong_plugin(plugins.TASKS, name, f"a subclass of Task, not {task!r}")
    if getattr(task, "name", None) != name:
        raise plugins.wrong_plugin(plugins.TASKS, name, f"a task whose name is '{name}'")
    return task


def split_name(name: str) -> tuple[str, dict[str, str]]:
    """Split a name with an argument, such as "gymnasium:CartPole-v1".

    Returns
    -------
    name : str
    settings : dict of str to str
        The task's setting that the argument is the value of (`Task.argument`); empty without one.

    Raises
    ------
    ValueError
        If there is an argument, but no task of that name which takes one.
    """
    name, colon, argument = name.partition(":")
    if not colon:
        return name, {}
    takers = {task.name: task.argument for task in TASKS.values() if task.argument}
    if name not in takers:
        raise ValueError(unknown("task that takes an argument", name, takers))
    return name, {takers[name]: argument}


def get_task(name: str, **settings: Any) -> Task:
    """Make a task by its name.

    Parameters
    ----------
    name : str
        A key of `TASKS`, such as "evidence-accumulation", or the name of a task that an installed
        package offers (`task_class`); of some with an argument, such as "gymnasium:CartPole-v1".
    **settings
        Settings that differ from the task's defaults, such as ``n_cues=5`` or ``delay=500*ms``.

    Raises
    ------
    ValueError
        If there is no such task or setting; the message lists the valid ones.
    """
    name, of_argument = split_name(name)
    task = task_class(name)
    valid = [setting.name for setting in fields(task)]
    for setting in settings:
        if setting not in valid:
            raise ValueError(unknown(f"setting of {name}", setting, sorted(valid)))
    return task(**{**of_argument, **settings})
