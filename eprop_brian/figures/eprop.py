"""Figures of a run trained with e-prop: everything that its folder holds, drawn into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eprop_brian.base.files import read_arrays
from eprop_brian.base.sparse import Matrix
from eprop_brian.figures.learning import plot_learning_curve
from eprop_brian.figures.style import save_figure
from eprop_brian.figures.trial import draws_trajectory, plot_trajectory, plot_trial
from eprop_brian.figures.weights import plot_parameters, plot_weights
from eprop_brian.network.spec import Network
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.run import CHECKPOINT, HISTORY, INITIAL
from eprop_brian.training.history import History
from eprop_brian.training.recording import record

__all__ = ["plot_eprop_run"]


def plot_eprop_run(folder: str | Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw the run in a folder: learning curve, a trial before and after training, weights.

    Both trials are the same fresh one (of the stream ``"test"``), with the traces of the same
    synapses: those that `eprop_brian.record` chooses after training.

    Parameters
    ----------
    folder : path
        As `eprop_brian.Run` fills it.
    formats : sequence of str
        File types, e.g. ``("png", "pdf")``.

    Returns
    -------
    list of Path
        The files written: ``learning_curve``, ``trial_before``, ``trial_after``, ``weights``,
        ``trajectory`` if two readouts follow targets and ``parameters`` if neurons have learned
        ones, in each format; no learning curve before the first iteration.

    Raises
    ------
    ValueError
        If the folder holds no run or one of its files is damaged.
    """
    folder = Path(folder)
    config = RunConfig.read(folder)
    task = config.make_task()
    network = config.make_network(task)
    initial, _ = _read_weights(folder / INITIAL, network)
    trained, n_updates = _read_weights(folder / CHECKPOINT, network)
    # A process killed between writing its files leaves more history than the checkpoint has.
    history = History.read(folder / HISTORY).truncated(n_updates)
    seed = config.run["seed"]
    after = record(network, task, trained, seed=seed)
    before = record(network, task, initial, seed=seed, synapses=after.synapses)
    iterations = f"{n_updates} iteration{'' if n_updates == 1 else 's'}"
    figures = {
        "trial_before": plot_trial(before, f"{task.name}: before training"),
        "trial_after": plot_trial(after, f"{task.name}: after {iterations}"),
        "weights": plot_weights(initial, network, trained),
    }
    if draws_trajectory(after):
        figures["trajectory"] = plot_trajectory(after, before)
    if network.learned_shapes:
        figures["parameters"] = plot_parameters(initial, network, trained)
    if len(history):
        figures = {"learning_curve": plot_learning_curve(history, task.error_threshold), **figures}
    return [
        path
        for name, figure in figures.items()
        for path in save_figure(figure, folder / name, formats)
    ]


def _read_weights(path: Path, network: Network) -> tuple[dict[str, Matrix], int]:
    """The weights of a saved state and how many updates made them."""
    arrays = read_arrays(path)
    shapes = network.resolved.keys.shapes()
    for name, shape in {**shapes, "n_updates": ()}.items():
        if name not in arrays or arrays[name].shape != shape:
            raise ValueError(f"{path} lacks the array '{name}' of shape {shape} that the run needs")
    return {name: arrays[name] for name in shapes}, int(arrays["n_updates"])
