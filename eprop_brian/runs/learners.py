"""How the runs of each model are trained and judged in a sweep."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.balanced.config import BalancedConfig
from eprop_brian.balanced.experiment import Experiment, Outcome, read_recording
from eprop_brian.balanced.metrics import relative_performance
from eprop_brian.balanced.simulation import UnstableNetworkError
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.locks import claimed
from eprop_brian.runs.sweep import Result, check_folder
from eprop_brian.training.config import RunConfig
from eprop_brian.training.run import Run
from eprop_brian.training.trainer import TrainingError, check_fit, require_jax

__all__ = ["BalancedLearner", "EpropLearner", "mean_of_last", "open_or_start"]

#: Iterations at the end over which a final loss or error is the mean.
_LAST = 10


def open_or_start(config: RunConfig, folder: Path, **where: Any) -> Run:
    """Open the run in a folder at its checkpoint, or begin it if there is none.

    Parameters
    ----------
    config : RunConfig
    folder : Path
    **where
        Where a run is computed, as for `RunConfig.make_trainer`.
    """
    if (folder / "config.toml").exists():
        return Run.open(folder, **where)
    return Run.start(config, folder, **where)


def mean_of_last(values: Sequence[float]) -> float:
    """Mean over the last 10 iterations; NaN without any."""
    return float(np.mean(values[-_LAST:])) if values else float("nan")


class EpropLearner:
    """Networks that learn by e-prop, or by backpropagation through time.

    Numbers: ``iterations`` until the task was solved; ``loss``, ``error`` and ``rate_hz``, the
    means of the last 10 iterations.
    """

    def measures(self, config: RunConfig, names: Sequence[str]) -> dict[str, str]:
        """See `eprop_brian.runs.sweep.Learner`."""
        return {
            "loss": "loss",
            "error": "fraction of wrong trials",
            "iterations": "iterations until solved",
            "rate_hz": "firing rate (Hz)",
        }

    def check(self, config: RunConfig, folder: Path) -> None:
        """See `eprop_brian.runs.sweep.Learner`."""
        task = config.make_task()
        check_fit(config.make_network(task), task)
        if config.network["gradient"] == "bptt":
            require_jax()
        check_folder(config, folder)

    def key(self, config: RunConfig) -> None:
        """See `eprop_brian.runs.sweep.Learner`: every run is trained by itself."""

    def train(
        self, configs: Sequence[RunConfig], folders: Sequence[Path], *, progress: bool, **where: Any
    ) -> list[tuple[dict[str, float], str]]:
        """See `eprop_brian.runs.sweep.Learner`."""
        outcomes = []
        for config, folder in zip(configs, folders, strict=True):
            # Backpropagation through time runs in JAX, in this process.
            place = {} if config.network["gradient"] == "bptt" else where
            run = open_or_start(config, folder, **place)
            failure = ""
            try:
                run.train(config.run["iterations"], progress=progress)
            except TrainingError as error:
                failure = str(error)
            finally:
                run.trainer.close()
            history = run.trainer.history
            values = {
                "iterations": float(len(history)) if run.trainer.solved else float("inf"),
                "loss": mean_of_last(history.loss),
                "error": mean_of_last(history.error),
                "rate_hz": mean_of_last(history.rate_hz),
            }
            outcomes.append((values, failure))
        return outcomes

    def complete(self, results: Sequence[Result]) -> None:
        """See `eprop_brian.runs.sweep.Learner`."""


class BalancedLearner:
    """Balanced networks, which are judged by a test.

    Numbers: those of `Outcome`; ``signal``, the mean distance of the signal from 0; and
    ``performance``, relative to the sweep's first point (`relative_performance`).
    """

    def measures(self, config: BalancedConfig, names: Sequence[str]) -> dict[str, str]:
        """See `eprop_brian.runs.sweep.Learner`."""
        measures = {"nmse": "NMSE", "rate": "firing rate (Hz)"}
        if config.network["rule"] == "learned":
            measures["field_nmse"] = "vector-field NMSE"
        if all(name.startswith("test.") for name in names):
            # Other settings make another network, with another unperturbed performance.
            measures["performance"] = "relative performance"
        return measures

    def check(self, config: BalancedConfig, folder: Path) -> None:
        """See `eprop_brian.runs.sweep.Learner`."""
        config.make_network()
        if (folder / "config.toml").exists():
            other = BalancedConfig.read(folder)
            device = {"device": config.run["device"]}
            if replace(other, run={**other.run, **device}) != config:
                raise ValueError(
                    f"{folder} holds a run with other settings; give the same or choose another "
                    "folder"
                )

    def key(self, config: BalancedConfig) -> BalancedConfig:
        """See `eprop_brian.runs.sweep.Learner`: a network is trained once for all its tests."""
        # Any test will do, as long as it is the same.
        test = {"duration": 1.0, "settle": 0.0, "kill": 0.0, "noise": -1.0}
        return replace(config, test={**config.test, **test})

    def train(
        self,
        configs: Sequence[BalancedConfig],
        folders: Sequence[Path],
        *,
        progress: bool,
        **where: Any,
    ) -> list[tuple[dict[str, float], str]]:
        """See `eprop_brian.runs.sweep.Learner`."""
        experiment: Experiment | None = None
        outcomes: list[tuple[dict[str, float], str]] = []
        try:
            if not all(map(_is_run, folders)):
                experiment = _trained(configs[0], next(filter(_is_run, folders), None))
            for config, folder in zip(configs, folders, strict=True):
                failure = ""
                if experiment is not None and not _is_run(folder):
                    try:
                        _test(experiment, config, folder)
                    except UnstableNetworkError as error:
                        failure = str(error)
                outcomes.append(({} if failure else _numbers(folder), failure))
        except UnstableNetworkError as error:
            # A network that could not be trained is not tested at the other points either.
            return [({}, str(error))] * len(folders)
        finally:
            if experiment is not None:
                experiment.close()
        return outcomes

    def complete(self, results: Sequence[Result]) -> None:
        """See `eprop_brian.runs.sweep.Learner`."""
        references: dict[int, float] = {}
        for result in results:
            error = result.values.get("error", np.nan)
            reference = references.setdefault(result.seed, error)
            if result.values:
                result.values["performance"] = float(
                    relative_performance(error, reference, result.values["signal"])
                )


def _is_run(folder: Path) -> bool:
    return (folder / "config.toml").exists()


def _trained(config: BalancedConfig, folder: Path | None) -> Experiment:
    """An experiment that has been trained, now or before in a folder."""
    if folder is not None:
        return Experiment.open(folder, config.run["device"])
    experiment = Experiment(config)
    try:
        experiment.train()
    except BaseException:
        experiment.close()
        raise
    return experiment


def _test(experiment: Experiment, config: BalancedConfig, folder: Path) -> None:
    """Test a trained network with a configuration that differs in its test, and save it."""
    experiment.config = config
    outcome, recording = experiment.test()
    pair = experiment.attractors(recording)
    with uninterrupted(), claimed(folder):
        experiment.save(folder, outcome, recording, pair)


def _numbers(folder: Path) -> dict[str, float]:
    """What the test in a folder showed."""
    path = folder / "results.toml"
    names = [field.name for field in fields(Outcome) if field.name != "cv"]
    try:
        results = tomllib.loads(path.read_text(encoding="utf-8"))["results"]
        numbers = {name: float(results[name]) for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not hold the results of a test: {error}") from None
    recording, _ = read_recording(folder)
    signal = float(np.mean(np.linalg.norm(recording.x, axis=1)))
    return {**numbers, "signal": signal}
