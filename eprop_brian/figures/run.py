"""Figures of a run of any model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eprop_brian.runs.config import model_of_folder
from eprop_brian.runs.models import MODELS
from eprop_brian.tasks import Task

__all__ = ["plot_run"]


def plot_run(
    folder: str | Path, formats: Sequence[str] = ("png",), task: Task | None = None
) -> list[Path]:
    """Draw everything that the folder of a run holds, into it.

    Of e-prop: learning curve, a trial before and after training, weights
    (`eprop_brian.figures.eprop.plot_eprop_run`). Of a balanced network: decoding, balance, tuning,
    activity, vector field and training (`eprop_brian.figures.balanced.plot_experiment`).

    Parameters
    ----------
    folder : path
        As `eprop_brian.Run` fills it.
    formats : sequence of str
        File types, e.g. ``("png", "pdf")``.
    task : Task, optional
        The task of the run, if it is one of your own that no installed package offers.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ValueError
        If the folder holds no run or one of its files is damaged.
    """
    folder = Path(folder)
    if task is not None:
        from eprop_brian.figures.eprop import plot_eprop_run

        return plot_eprop_run(folder, formats, task)
    return MODELS[model_of_folder(folder)].figures(folder, formats)
