"""The families of tasks by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from eprop_brian.base.suggestions import unknown
from eprop_brian.tasks.families import TaskFamily
from eprop_brian.tasks.few_shot_digits import FewShotDigits
from eprop_brian.tasks.one_shot_arm import OneShotArm

__all__ = ["FAMILIES", "get_family"]

FAMILIES: Mapping[str, type[TaskFamily]] = {
    family.name: family for family in (OneShotArm, FewShotDigits)
}


def get_family(name: str, **settings: Any) -> TaskFamily:
    """Make a family of tasks with some settings.

    Raises
    ------
    ValueError
        If there is no such family or setting, or a value does not fit.
    """
    if name not in FAMILIES:
        raise ValueError(unknown("family of tasks", name, FAMILIES))
    family = FAMILIES[name]
    names = [f.name for f in fields(family)]
    for key in settings:
        if key not in names:
            raise ValueError(unknown("setting", key, names, f"task {name}"))
    return family(**settings)
