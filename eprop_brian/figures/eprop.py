"""Figures of a run trained with e-prop: everything that its folder holds, drawn into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from matplotlib.figure import Figure

from eprop_brian.base.sparse import Matrix
from eprop_brian.equations.losses import LOSSES
from eprop_brian.figures.episode import outcome_of, plot_episode
from eprop_brian.figures.labels import frame_probabilities, plot_labels
from eprop_brian.figures.learning import plot_learning_curve
from eprop_brian.figures.speech import plot_confusion, plot_utterance
from eprop_brian.figures.style import same_limits, save_figures
from eprop_brian.figures.trial import draws_trajectory, plot_trajectory, plot_trial
from eprop_brian.figures.weights import plot_parameters, plot_weights
from eprop_brian.network.spec import Network
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import CHECKPOINT, HISTORY, INITIAL, Run, read_weights
from eprop_brian.tasks import EpisodicTask, Task
from eprop_brian.tasks.base import hand_out
from eprop_brian.tasks.frames import FrameTask
from eprop_brian.training.fresh_episodes import play_episode, record_traces
from eprop_brian.training.history import History
from eprop_brian.training.quantities import default_quantities, slow_components
from eprop_brian.training.recording import Recording, not_recordable, record, record_outputs

__all__ = ["plot_eprop_run"]

#: Names of all figures of a run.
_FIGURES = (
    *("learning_curve", "trial_before", "trial_after", "episode_before", "episode_after"),
    *("trajectory", "labels", "utterance", "confusion_frames", "confusion_utterances"),
    *("confusion_trials", "weights", "parameters"),
)

_NAMES = ("before", "after")
#: Weights before and after training.
_BeforeAndAfter: TypeAlias = tuple[Mapping[str, Matrix], Mapping[str, Matrix]]


def plot_eprop_run(
    folder: str | Path, formats: Sequence[str] = ("png",), task: Task | None = None
) -> list[Path]:
    """Draw the run in a folder: learning curve, a trial before and after training, weights.

    Both trials are the same fresh one (of the stream ``"test"``), with the traces of the same
    synapses: those that `eprop_brian.record` chooses after training. In an environment they are
    episodes with the same random numbers, and actions drawn from the policy.

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
        The files written: ``learning_curve``, ``trial_before``, ``trial_after`` (in an environment,
        ``episode_before`` and ``episode_after``), ``trajectory`` if two readouts follow targets,
        ``labels`` if the only readout shows a sequence of labels (after training), of speech
        ``utterance``, ``confusion_frames`` and ``confusion_utterances`` (of test trials), of an
        `ArrayTask` whose classes have names ``confusion_trials``,
        ``weights``, and ``parameters`` if neurons have learned ones, in each format; no learning
        curve before the first iteration, and no ``trial_before`` and ``trial_after`` of a network
        that cannot be recorded step by step (`Population.reverse_time`, `Readout.every`).

    Raises
    ------
    ValueError
        If the folder holds no run or one of its files is damaged.
    """
    folder = Path(folder)
    own_task, config = task, RunConfig.read(folder, task)
    task = config.make_task()
    assert task is not None
    network = config.make_network(task)
    initial, _ = read_weights(folder / INITIAL, network)
    trained, n_updates = read_weights(folder / CHECKPOINT, network)
    # A process killed between writing its files leaves more history than the checkpoint has.
    history = History.read(folder / HISTORY).truncated(n_updates)
    seed, batch_size = config.run["seed"], config.run["batch_size"]
    when = ("before training", f"after {n_updates} iteration{'' if n_updates == 1 else 's'}")
    both = initial, trained
    if isinstance(task, EpisodicTask):
        figures = _episodes(network, task, both, seed, when)
    else:
        figures = _trials(network, task, both, seed, when)
    if task.class_names and n_updates:
        for what, counts in Run.open(folder, own_task).trainer.evaluate().confusions.items():
            figures[f"confusion_{what}"] = plot_confusion(counts, task.class_names, what)
    figures["weights"] = plot_weights(initial, network, trained)
    if network.learned_shapes:
        figures["parameters"] = plot_parameters(initial, network, trained)
    if len(history):
        solved_return = task.solved_return if isinstance(task, EpisodicTask) else None
        of_labels = LOSSES[task.loss].of_labels
        curve = plot_learning_curve(
            history, task.error_threshold, solved_return, batch_size, of_labels
        )
        figures = {"learning_curve": curve, **figures}
    return save_figures(figures, folder, formats, _FIGURES)


def _trials(
    network: Network, task: Task, weights: _BeforeAndAfter, seed: int, when: tuple[str, str]
) -> dict[str, Figure]:
    """Figures of a trial before and after training, if it can be recorded."""
    initial, trained = weights
    if not_recordable(network.resolved):
        if not isinstance(task, FrameTask):
            return {}
        outputs = record_outputs(network, task, trained, seed=seed)
        return {"utterance": _utterance(outputs, task, when[1])}
    resolved = network.resolved
    quantities = [*default_quantities(resolved), *slow_components(resolved)]
    after = record(network, task, trained, quantities=quantities, seed=seed)
    before = record(
        network, task, initial, quantities=quantities, seed=seed, synapses=after.synapses
    )
    figures = {
        f"trial_{name}": plot_trial(recording, f"{task.name}: {then}")
        for name, recording, then in zip(_NAMES, (before, after), when, strict=True)
    }
    same_limits([*figures.values()])
    if LOSSES[task.loss].of_labels and len(network.resolved.readouts) == 1:
        trials = hand_out(task, seed, "test", 0, 1)
        assert trials.labels is not None  # of a task with a loss of labels
        labels = trials.labels[trials.target[0]]
        p = frame_probabilities(after, trials)
        title = f"{task.name}: {when[1]}"
        figures["labels"] = plot_labels(p, labels[labels >= 0].tolist(), title)
    if isinstance(task, FrameTask):
        figures["utterance"] = _utterance(after, task, when[1])
    if draws_trajectory(after):
        figures["trajectory"] = plot_trajectory(after, before)
    return figures


def _utterance(recording: Recording, task: FrameTask, when: str) -> Figure:
    classes = [*task.classes, "blank"][: task.n_outputs]
    return plot_utterance(recording, classes, f"{task.name}: {when}")


def _episodes(
    network: Network, task: EpisodicTask, weights: _BeforeAndAfter, seed: int, when: tuple[str, str]
) -> dict[str, Figure]:
    """Figures of an episode before and after training."""
    before, after = (play_episode(network, task, w, seed=seed) for w in weights)
    initial, trained = weights
    traces = record_traces(after, network, task.environment, trained)
    traces_before = record_traces(
        before, network, task.environment, initial, synapses=traces.synapses
    )
    figures = {
        f"episode_{name}": plot_episode(
            episode, network, recording, f"{task.name} {then}: {outcome_of(episode)}"
        )
        for name, episode, recording, then in zip(
            _NAMES, (before, after), (traces_before, traces), when, strict=True
        )
    }
    same_limits([*figures.values()])
    return figures
