"""Which model a task or a folder is of, and its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["balanced_config", "is_balanced", "run_config"]


def run_config(
    task: str,
    neuron: str | None,
    settings: tuple[str, ...],
    feedback: str | None = None,
    gradient: str | None = None,
    updates: str | None = None,
    **run: Any,
) -> Any:
    """The configuration of a run of a task."""
    from eprop_brian.runs.config import RunConfig

    network = {"feedback": feedback, "gradient": gradient, "updates": updates}
    return RunConfig.from_recipe(task, neuron=neuron, run=run, network=network, settings=settings)


def balanced_config(
    task: str,
    settings: tuple[str, ...],
    teacher: str | None = None,
    kill: float | None = None,
    noise: float | None = None,
    device: str | None = None,
    dtype: str | None = None,
    seed: int | None = None,
) -> Any:
    """The configuration of an experiment with a balanced network."""
    from eprop_brian.runs.config import RunConfig

    return RunConfig.from_recipe(
        task,
        teacher=teacher,
        run={"device": device, "dtype": dtype, "seed": seed},
        test={"kill": kill, "noise": noise},
        settings=settings,
    )


def is_balanced(folder: Path) -> bool:
    """Whether a folder holds an experiment with a balanced network."""
    return (folder / "teacher.toml").exists()
