"""Why a run does not learn: its files are read, and the next batches are tried, not kept."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eprop_brian.base.sparse import Matrix, values_of
from eprop_brian.network.choices import PROGRAMS
from eprop_brian.network.program import make_program
from eprop_brian.network.spec import Network
from eprop_brian.runs.run import Run
from eprop_brian.runs.versions import changed_versions
from eprop_brian.tasks import EpisodicTask, Task
from eprop_brian.tasks.base import hand_out
from eprop_brian.training.calls import iterations_per_call
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.session import Session
from eprop_brian.training.symptoms import (
    Symptom,
    of_loss,
    of_return,
    of_updates,
    relative_changes,
)
from eprop_brian.training.trainer import Trainer

__all__ = ["Examination", "examine"]

#: Regularisers whose gradient is so many times that of the loss dominate it.
_DOMINATES = 3.0
#: Cosine between feedback and readout weights below which feedback does not say where to go.
_ALIGNED = 0.1


@dataclass(frozen=True)
class Examination:
    """What was measured in a run, and what it means.

    Attributes
    ----------
    iteration, iterations : int
        Done, and in all.
    symptoms : tuple of Symptom
        The most serious first.
    moved : dict of str to float
        Change of the weights of each projection since the beginning, relative to their length then;
        empty where the folder does not have the weights before training.
    updated : dict of str to float
        The same by the next update; empty where there is none.
    regularised : float
        Length of the gradient of regularisers over that of the loss, for one trial; NaN without
        regularisers, in environments, and where the gradient is not e-prop's.
    alignment : float
        Cosine of the angle between feedback and transposed readout weights; NaN without feedback.
    versions : dict of str to (str, str)
        Libraries that had another version when the run began, and have now.
    """

    iteration: int
    iterations: int
    symptoms: tuple[Symptom, ...]
    moved: Mapping[str, float]
    updated: Mapping[str, float]
    regularised: float
    alignment: float
    versions: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def examine(folder: Path, task: Task | None = None, device: str | None = None) -> Examination:
    """Read a run, train it on for a moment without keeping that, and say what is wrong.

    Parameters
    ----------
    folder : Path
        Of a run whose network learns by e-prop or backpropagation through time.
    task : Task, optional
        Its task, if it is one of your own that no installed package offers.
    device : str, optional
        Where it is tried; default: the run's.

    Raises
    ------
    ValueError
        If the folder holds no such run or is damaged.
    """
    folder = Path(folder)
    run = Run.open(folder, task=task, device=device, workers=1)
    trainer = run.trainer
    if not isinstance(trainer, Trainer):
        raise ValueError(f"{folder}: only runs that learn by e-prop can be examined")
    try:
        return _examined(run, trainer)
    finally:
        trainer.close()


def _examined(run: Run, trainer: Trainer) -> Examination:
    resolved, history = trainer.session.resolved, trainer.history
    iteration, alignment = trainer.iteration, trainer.alignment()
    now = trainer.session.weights
    before = {c.name: now[c.name].copy() for c in resolved.keys.plastic}
    initial = run.initial_weights()
    moved = {}
    if initial is not None:
        moved = relative_changes({name: initial[name] for name in before}, before)
    acts = isinstance(trainer.task, EpisodicTask)
    course = [*(of_return(history) if acts else of_loss(history, resolved))]
    regularised = _regularised(trainer)
    symptoms, updated = _tried(trainer, before)
    symptoms += course
    symptoms += of_updates(updated, resolved)
    if course and regularised > _DOMINATES:
        symptoms.append(
            Symptom(
                f"the gradient of regularisers is {regularised:.3g} times as long as that of the "
                "loss",
                "Lower c_reg, c_v or c_l2",
            )
        )
    if course and alignment < _ALIGNED:
        symptoms.append(
            Symptom(
                f"the feedback does not point where the readout does: the cosine is "
                f"{alignment:.3f}",
                "Try symmetric feedback. If that learns, take adaptive feedback, or change "
                "feedback_scale",
            )
        )
    return Examination(
        iteration,
        run.config.model.length(run.config),
        tuple(symptoms),
        moved,
        updated,
        regularised,
        alignment,
        changed_versions(run.folder),
    )


def _tried(
    trainer: Trainer, before: Mapping[str, Matrix]
) -> tuple[list[Symptom], dict[str, float]]:
    """Train on to the end of the next call of the program.

    Returns
    -------
    symptoms : list of Symptom
        What training says of it, whether it fails or warns.
    updated : dict of str to float
        How far the first update moves weights; empty if it fails.
    """
    done = trainer.iteration
    updated: dict[str, float] = {}
    ahead = iterations_per_call(trainer.network, trainer.batch_size, trainer.task)
    symptoms = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            for end in (done + 1, done + ahead):
                trainer.train(end, stop_when_solved=False, progress=False)
                updated = updated or relative_changes(before, trainer.session.weights)
        except TrainingError as error:
            symptoms.append(Symptom(" ".join(str(error).split())))
    # Libraries warn too, of what they will change.
    symptoms += [Symptom(str(w.message)) for w in caught if w.category is UserWarning]
    return symptoms, updated


def _regularised(trainer: Trainer) -> float:
    """Length of the gradient of regularisers over that of the loss, for one trial."""
    network, task = trainer.network, trainer.task
    resolved = trainer.session.resolved
    strengths = {name: getattr(resolved, name) for name in ("c_reg", "c_v", "c_l2")}
    is_eprop = resolved.gradient in PROGRAMS and resolved.updates == "batch"
    if not is_eprop or isinstance(task, EpisodicTask) or not any(strengths.values()):
        return float("nan")
    assert isinstance(network, Network)  # that of a run
    batch = hand_out(task, trainer.seed, "train", trainer.iteration, trainer.batch_size)
    trial = batch.part(slice(1))
    gradients = []
    for chosen in (network, network.with_options(**dict.fromkeys(strengths, 0.0))):
        session = Session(
            chosen,
            make_program("runtime", trainer.dtype),
            trial,
            task.learning_window,
            trainer.session.weights,
        )
        session.run(trial, 1)
        values = session.gradient().values()
        gradients.append(np.concatenate([np.ravel(values_of(value)) for value in values]))
    whole, of_loss_alone = gradients
    length = np.linalg.norm(of_loss_alone)
    return float(np.linalg.norm(whole - of_loss_alone) / length) if length else float("inf")
