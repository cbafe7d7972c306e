"""What the command does with tasks of balanced networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from eprop_brian.balanced.attractors import Attractors
from eprop_brian.balanced.experiment import Experiment, Outcome
from eprop_brian.balanced.metrics import Robustness, relative_performance
from eprop_brian.balanced.simulation import Recording, UnstableNetworkError
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.locks import claimed
from eprop_brian.base.table import write_table
from eprop_brian.devices import COMPILED
from eprop_brian.figures.balanced import plot_experiment, plot_sweep
from eprop_brian.figures.style import save_figure
from eprop_brian.runs.config import RunConfig

__all__ = ["SWEEPS", "evaluate", "sweep", "train"]

#: What can be swept: its label, and whether it is an option of the test.
SWEEPS = {
    "n": ("neurons", False),
    "kill": ("killed fraction", True),
    "noise": ("voltage noise (of the threshold)", True),
    "dt": ("time step (ms)", False),
}
Echo = Callable[[str], None]


def train(config: RunConfig, folder: Path, echo: Echo, *, figures: bool = True) -> Outcome:
    """Train and test; everything lands in a new folder at the end.

    Parameters
    ----------
    config : RunConfig
    folder : Path
    echo : callable
        Gets every line that is printed; the last is ``NMSE VALUE``.
    figures : bool

    Raises
    ------
    ValueError
        If the folder holds a run, or cannot be written.
    UnstableNetworkError
        If the network diverges or fires without end; then nothing is written.
    """
    folder = Path(folder)
    with claimed(folder):
        if (folder / "config.toml").exists():
            raise ValueError(f"{folder} already holds a run; choose another folder")
        return _train(config, folder, echo, figures)


def _train(config: RunConfig, folder: Path, echo: Echo, figures: bool) -> Outcome:
    config.make_network()
    if config.run["device"] in COMPILED:
        echo("building the program (a few seconds for a new network) ...")
    experiment = Experiment(config)
    try:
        if experiment.network.learns and config.training["duration"]:
            with tqdm(unit="part", leave=False) as bar:

                def show(done: int, of: int) -> None:
                    bar.total = of
                    bar.update()

                experiment.train(show)
            last = {name: values[-1] for name, values in experiment.history.columns.items()}
            echo(
                f"trained for {last['seconds']:g} s: decoding NMSE {last['nmse']:.3g}, "
                f"vector-field NMSE {last['field_nmse']:.3g}, mean rate {last['rate']:.1f} Hz"
            )
        outcome, recording = experiment.test()
        found = experiment.attractors(recording)
        with uninterrupted():
            experiment.save(folder, outcome, recording, found)
        report(experiment, outcome, recording, found, echo)
        if figures:
            for path in plot_experiment(folder):
                echo(f"wrote {path}")
        echo(f"wrote {folder}/weights.npz, {folder}/test.npz, {folder}/results.toml")
        echo(f"NMSE {outcome.nmse:.6g}")
    finally:
        experiment.close()
    return outcome


def report(
    experiment: Experiment,
    outcome: Outcome,
    recording: Recording,
    found: tuple[Attractors, Attractors] | None,
    echo: Echo,
) -> None:
    """Print what a test showed.

    Parameters
    ----------
    experiment : Experiment
    outcome, recording
        What `Experiment.test` returned.
    found : tuple of Attractors or None
        What `Experiment.attractors` returned.
    echo : callable
        Gets every line.
    """
    network = experiment.network
    killed = f", {outcome.killed} of {network.n} neurons killed" if outcome.killed else ""
    echo(
        f"test of {recording.duration:g} s with k = 0{killed}: mean rate {outcome.rate:.1f} Hz, "
        f"CV of intervals {outcome.cv:.2f}"
    )
    if np.isfinite(outcome.path_field_nmse):
        trained = experiment.points is not None
        where = f"{outcome.field_nmse:.4g} where training has been, " * trained
        echo(f"vector-field NMSE {where}{outcome.path_field_nmse:.4g} along the path of the test")
    matrix = experiment.effective_matrix()
    if matrix is not None:
        rows = "; ".join(", ".join(f"{value:.3g}" for value in row) for row in matrix)
        echo(f"(D D^T)^-1 D Ws D^+ = [{rows}] 1/s")
    if found is None:
        return
    for name, statistics in zip(("teacher", "network"), found, strict=True):
        for line in statistics.lines():
            echo(f"{name}: {line}")


def evaluate(
    folder: Path, echo: Echo, *, device: str | None, kill: float | None, noise: float | None
) -> Outcome:
    """Test a saved network on an input that it has not seen; the last line is ``NMSE VALUE``.

    Parameters
    ----------
    folder : Path
        Of an experiment.
    echo : callable
        Gets every line that is printed.
    device : str or None
        Default: the experiment's.
    kill, noise : float or None
        Default: the experiment's.

    Raises
    ------
    ValueError
        If the folder holds no experiment, or a file is damaged.
    UnstableNetworkError
        If the network diverges or fires without end.
    """
    experiment = Experiment.open(folder, device)
    try:
        outcome, recording = experiment.test(kill=kill, noise=noise, seed=1)
        report(experiment, outcome, recording, experiment.attractors(recording), echo)
        echo(f"NMSE {outcome.nmse:.6g}")
    finally:
        experiment.close()
    return outcome


def sweep(
    config: RunConfig,
    over: str,
    levels: Sequence[float],
    seeds: Iterable[int],
    folder: Path,
    echo: Echo,
    formats: Sequence[str] = ("png",),
) -> Robustness:
    """Measure how the error depends on something, for several seeds; a table and a figure.

    Parameters
    ----------
    config : RunConfig
        Of all; the seed is replaced.
    over : str
        A key of `SWEEPS`.
    levels : sequence of float
        Neurons, fraction that is killed, noise in units of the threshold, or time step in ms.
    seeds : iterable of int
    folder : Path
        Gets ``sweep-<over>.csv`` and a figure.
    echo : callable
    formats : sequence of str

    Returns
    -------
    Robustness
        NaN where a network diverged or fired without end.

    Raises
    ------
    ValueError
        If a level does not fit.
    """
    seeds = list(seeds)
    if over not in SWEEPS:
        raise ValueError(f"a sweep is over one of {', '.join(SWEEPS)}, not '{over}'")
    if not levels or not seeds:
        raise ValueError("a sweep needs at least one level and one seed")
    label, in_test = SWEEPS[over]
    shape = (len(levels), len(seeds))
    names = ("nmse", "field_nmse", "path_field_nmse", "rate", "error")
    results = {name: np.full(shape, np.nan) for name in names}
    dead = np.full(shape, np.nan)
    # All levels first: what cannot be is said before anything runs.
    configs = [[_at(config, over, level, seed) for seed in seeds] for level in levels]
    for row in configs:
        row[0].make_network()
    total = len(levels) * len(seeds)
    with tqdm(total=total, unit="run", leave=False) as bar:
        for column, _ in enumerate(seeds):
            experiment: Experiment | None = None
            failure: UnstableNetworkError | None = None
            for row, level in enumerate(levels):
                chosen = configs[row][column]
                try:
                    if in_test and failure is not None:
                        raise failure
                    if experiment is None or not in_test:
                        if experiment is not None:
                            experiment.close()
                        experiment = Experiment(chosen)
                        try:
                            experiment.train()
                        except UnstableNetworkError as error:
                            # What has not been trained is not tested at the other levels.
                            failure = error
                            raise
                    options = {"kill": chosen.test["kill"], "noise": chosen.test["noise"]}
                    outcome, recording = experiment.test(**options)
                    for name, values in results.items():
                        values[row, column] = getattr(outcome, name)
                    dead[row, column] = np.mean(np.linalg.norm(recording.x, axis=1))
                except UnstableNetworkError as error:
                    echo(f"{label} {level:g}, seed {seeds[column]}: {error}")
                bar.update()
            if experiment is not None:
                experiment.close()
    reference = results["error"][:1]
    performance = relative_performance(results["error"], reference, dead)
    _write(Path(folder) / f"sweep-{over}.csv", over, levels, seeds, results, performance)
    measured = {"NMSE": results["nmse"], "rate (Hz)": results["rate"]}
    if in_test:
        measured["performance"] = performance
    if config.network["rule"] == "learned":
        measured["vector-field NMSE"] = results["field_nmse"]
    figure = plot_sweep(label, levels, measured, log=over in ("n", "dt"))
    paths = save_figure(figure, Path(folder) / f"sweep-{over}", formats)
    for path in (Path(folder) / f"sweep-{over}.csv", *paths):
        echo(f"wrote {path}")
    for row, level in enumerate(levels):
        values = results["nmse"][row]
        known = values[np.isfinite(values)]
        text = "no result"
        if len(known):
            text = f"{np.median(known):.4g} ({np.min(known):.4g} to {np.max(known):.4g})"
        echo(f"{label} {level:g}: NMSE {text}, {len(known)} of {len(seeds)} seeds")
    return Robustness(over, np.asarray(levels), results["nmse"], performance, results["rate"])


def _at(config: RunConfig, over: str, level: float, seed: int) -> RunConfig:
    config = replace(config, run={**config.run, "seed": seed})
    if over == "n":
        if level != int(level):
            raise ValueError(f"a number of neurons must be whole, not {level}")
        return config.with_values("network", {"n": int(level)})
    if over == "dt":
        return config.with_values("network", {"dt": f"{level!r} ms"})
    if over == "noise":
        if level < 0:
            raise ValueError(f"noise cannot be negative, as {level:g} is")
        threshold = float(np.median(config.make_network().threshold))
        return config.with_values("test", {"noise": level * threshold})
    return config.with_values("test", {"kill": float(level)})


def _write(path: Path, over: str, levels, seeds, results, performance) -> None:
    rows = []
    for row, level in enumerate(levels):
        for column, seed in enumerate(seeds):
            values = [values[row, column] for values in (*results.values(), performance)]
            shown = [f"{value:.6g}" if np.isfinite(value) else "" for value in values]
            rows.append([f"{level:g}", seed, *shown])
    write_table(path, [over, "seed", *results, "performance"], rows)
