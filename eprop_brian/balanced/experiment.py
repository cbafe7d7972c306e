"""An experiment with a balanced network: train, test with k = 0, perturb; in a folder.

The folder holds ``config.toml`` and ``teacher.toml``, ``history.csv`` (training), ``weights.npz``,
``test.npz`` (what the network did in the test), ``results.toml`` and figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.balanced.attractors import Attractors, attractors
from eprop_brian.balanced.config import BalancedConfig
from eprop_brian.balanced.field import currents, effective_matrix, field_nmse
from eprop_brian.balanced.metrics import Currents, balance, cv_isi, mean_rate, nmse
from eprop_brian.balanced.simulation import Recording, Simulation
from eprop_brian.balanced.spec import BalancedNetwork
from eprop_brian.base.files import read_arrays, write_arrays, write_text
from eprop_brian.base.table import read_table, write_table
from eprop_brian.base.toml import toml_table

__all__ = ["Experiment", "Outcome", "SavedExperiment", "TrainingHistory", "read_recording"]

#: Parts of the training, each a row of its history.
_PARTS = 50
#: Points at which vector fields are compared.
_POINTS = 2000
#: Seeds of inputs and of those that are killed, apart from the network's.
_TEST_SEED, _KILL_SEED = 1_000_003, 7


@dataclass
class TrainingHistory:
    """What training did, part by part.

    Attributes
    ----------
    columns : dict of str to list of float
        ``seconds`` simulated, ``nmse`` of the decoding in the part,
        ``field_nmse``, ``rate`` in Hz, ``slow`` and ``fast`` (norms of the weights).
    """

    columns: dict[str, list[float]] = field(
        default_factory=lambda: {
            name: [] for name in ("seconds", "nmse", "field_nmse", "rate", "slow", "fast")
        }
    )

    def append(self, **values: float) -> None:
        """Add a row."""
        for name, value in values.items():
            self.columns[name].append(float(value))

    def __len__(self) -> int:
        return len(self.columns["seconds"])

    def write(self, path: Path) -> None:
        """Write a table with these columns."""
        rows = zip(*self.columns.values(), strict=True)
        write_table(path, self.columns, ([f"{value:.8g}" for value in row] for row in rows))

    @classmethod
    def read(cls, path: Path) -> TrainingHistory:
        """Read what `write` wrote (ValueError if it is damaged)."""
        history = cls()
        try:
            for row in read_table(path, tuple(history.columns)):
                history.append(**{name: float(value) for name, value in row.items()})
        except ValueError as error:
            raise ValueError(f"{path} is no history of a training: {error}") from None
        return history


@dataclass(frozen=True)
class Outcome:
    """What a test showed.

    Attributes
    ----------
    nmse : float
        Of the decoding, with k = 0.
    field_nmse, path_field_nmse : float
        Of the network's vector field, over what the teacher visited in training (without training,
        in the test), and over what it visits in the test. NaN where the network has none.
    rate, cv : float
        Mean rate in Hz of the neurons that live, and median of the coefficients of variation of
        their inter-spike intervals.
    killed : int
    error : float
        Mean distance of signal and estimate.
    """

    nmse: float
    field_nmse: float
    path_field_nmse: float
    rate: float
    cv: float
    killed: int
    error: float


class Experiment:
    """An experiment on a device.

    Parameters
    ----------
    config : BalancedConfig

    Attributes
    ----------
    network : BalancedNetwork
    slow_weights, fast_weights : ndarray
        As learned so far.
    points : ndarray of shape (n, K) or None
        States that the teacher visited in training.
    history : TrainingHistory
    """

    def __init__(self, config: BalancedConfig) -> None:
        self.config = config
        self.network: BalancedNetwork = config.make_network()
        self.simulation = Simulation(
            self.network, config.run["device"], config.run["dtype"], seed=config.run["seed"]
        )
        self.slow_weights = np.array(self.network.slow_weights)
        self.fast_weights = np.array(self.network.fast_weights)
        self.points: np.ndarray | None = None
        self.history = TrainingHistory()

    def train(self, after_part: Callable[[int, int], None] | None = None) -> TrainingHistory:
        """Train from the start.

        Parameters
        ----------
        after_part : callable, optional
            Called with the number of parts done and of all of them.

        Raises
        ------
        UnstableNetworkError
            If the network diverges or fires without end; the weights stay as they were.
        """
        training, network = self.config.training, self.network
        dt = float(network.dt)
        n_steps = round(training["duration"] / dt)
        if not n_steps or not network.learns:
            return self.history
        inputs = self.config.training_inputs(n_steps)
        simulation, history, visited = self.simulation, TrainingHistory(), []
        simulation.reset()
        edges = np.unique(np.linspace(0, n_steps, _PARTS + 1).round().astype(int))
        for part, (first, last) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            done = simulation.run(
                inputs[first:last],
                gain=training["k_0"],
                rate=training["eta_0"],
                fast_rate=training["eta_fast"],
                pull=training["pull"],
                elapsed=first * dt,
                duration=n_steps * dt,
            )
            visited.append(done.x)
            slow, fast = simulation.slow_weights(), simulation.fast_weights()
            history.append(
                seconds=last * dt,
                nmse=nmse(done.x, done.estimate),
                field_nmse=self._field_nmse(slow, done.x),
                rate=mean_rate(len(done.spike_times), network.n, done.duration),
                slow=np.linalg.norm(slow),
                fast=np.linalg.norm(fast),
            )
            if after_part is not None:
                after_part(part + 1, len(edges) - 1)
        points = np.concatenate(visited)
        self.points = points[:: max(1, len(points) // _POINTS)]
        self.slow_weights, self.fast_weights, self.history = slow, fast, history
        return history

    def test(
        self,
        *,
        kill: float | None = None,
        noise: float | None = None,
        duration: float | None = None,
        seed: int = 0,
    ) -> tuple[Outcome, Recording]:
        """Let the network run freely, k = 0, on an input that it has not seen.

        Parameters
        ----------
        kill, noise, duration : float, optional
            In place of the configuration's.
        seed : int
            Of another input, and of others that are killed.

        Raises
        ------
        ValueError
            If nobody is left, or the signal does not vary.
        UnstableNetworkError
            If the network diverges or fires without end.
        """
        settings, network, simulation = self.config.test, self.network, self.simulation
        kill = settings["kill"] if kill is None else kill
        noise = settings["noise"] if noise is None else noise
        duration = settings["duration"] if duration is None else duration
        sigma = network.sigma if noise < 0 else noise
        dt, own = float(network.dt), self.config.run["seed"] + 1000 * seed
        settle, n_steps = round(settings["settle"] / dt), max(1, round(duration / dt))
        inputs = self.config.dynamics.inputs(
            settle + n_steps, network.n_dimensions, dt, own + _TEST_SEED
        )
        n_killed = round(kill * network.n)
        if n_killed >= network.n:
            raise ValueError(
                f"test.kill = {kill} leaves none of {network.n} neurons: kill fewer, or take more"
            )
        simulation.seed = own
        simulation.reset(self.slow_weights, self.fast_weights)
        if settle:
            simulation.run(inputs[:settle])
        rng = np.random.default_rng([own, _KILL_SEED])
        simulation.kill(rng.permutation(network.n)[:n_killed])
        self.test_inputs = inputs[settle:]
        recording = simulation.run(self.test_inputs, sigma=sigma)
        decoding = nmse(recording.x, recording.estimate)
        if not np.isfinite(decoding):
            raise ValueError(
                "the signal does not vary in the test, so its error means nothing: give it an "
                "input (input.std), an initial state, or a longer test (test.duration)"
            )
        killed = simulation.killed
        points = recording.x if self.points is None else self.points
        error = np.linalg.norm(recording.x - recording.estimate, axis=1)
        outcome = Outcome(
            nmse=decoding,
            field_nmse=self._field_nmse(self.slow_weights, points, killed),
            path_field_nmse=self._field_nmse(self.slow_weights, recording.x, killed),
            rate=mean_rate(len(recording.spike_times), network.n - n_killed, recording.duration),
            cv=_median(cv_isi(recording.spike_times, recording.spike_neurons, network.n)),
            killed=n_killed,
            error=float(np.mean(error)),
        )
        return outcome, recording

    def _field_nmse(self, slow: np.ndarray, points: np.ndarray, killed=None) -> float:
        try:
            return field_nmse(self.network, slow, points[:: max(1, len(points) // _POINTS)], killed)
        except ValueError:
            return float("nan")

    def effective_matrix(self) -> np.ndarray | None:
        """What linear slow weights do to the signal, (K, K) in 1/s; None with another basis."""
        if self.network.basis_equations.model or self.network.n < self.network.n_dimensions:
            return None
        return effective_matrix(self.network, self.slow_weights)

    def currents(self, recording: Recording) -> Currents:
        """Excitation and inhibition of the neuron with most spikes in the last test."""
        weights = (self.slow_weights, self.fast_weights)
        return currents(recording, self.network, *weights, self.test_inputs, recording.busiest)

    def attractors(self, recording: Recording) -> tuple[Attractors, Attractors] | None:
        """Attractors of teacher and network in a test; None if the network has no vector field."""
        points = recording.x if self.points is None else self.points
        try:
            return attractors(
                self.network, self.slow_weights, points, recording, self.simulation.killed
            )
        except ValueError:
            return None

    def save(
        self,
        folder: Path,
        outcome: Outcome,
        recording: Recording,
        found: tuple[Attractors, Attractors] | None = None,
    ) -> None:
        """Write everything into a folder; ``config.toml`` comes last and makes it a run.

        Parameters
        ----------
        folder : Path
        outcome, recording
            What `test` returned.
        found : tuple of Attractors, optional
            What `attractors` returned, which takes seconds; default: it is called.
        """
        folder = Path(folder)
        self.history.write(folder / "history.csv")
        network = self.network
        arrays: dict[str, Any] = {
            "decoder": network.decoder,
            "slow_weights": self.slow_weights,
            "fast_weights": self.fast_weights,
            "threshold": network.threshold,
            "killed": self.simulation.killed,
            "points": np.zeros((0, network.n_dimensions)) if self.points is None else self.points,
        }
        if network.basis_equations.model:
            arrays |= {"basis_weights": network.basis_weights, "basis_offset": network.basis_offset}
        write_arrays(folder / "weights.npz", arrays)
        test = {name: getattr(recording, name) for name in _RECORDED}
        write_arrays(folder / "test.npz", {**test, "inputs": self.test_inputs})
        tables = {"results": {f.name: getattr(outcome, f.name) for f in fields(Outcome)}}
        correlation, left = balance(self.currents(recording))
        tables["balance"] = {"correlation": correlation, "net_share": left}
        found = found or self.attractors(recording)
        if found is not None:
            tables |= {"teacher": found[0].table(), "network": found[1].table()}
        text = "\n".join(toml_table(name, values) for name, values in tables.items())
        write_text(folder / "results.toml", text)
        self.config.write(folder)

    @classmethod
    def open(cls, folder: Path, device: str | None = None) -> Experiment:
        """Open an experiment with what it learned, on its device or another.

        Raises
        ------
        ValueError
            If the folder holds none, or a file is damaged.
        """
        saved = SavedExperiment.read(folder)
        config = saved.config
        if device is not None:
            config = config.with_values("run", {"device": device})
        experiment = cls(config)
        experiment.slow_weights, experiment.fast_weights = saved.slow_weights, saved.fast_weights
        experiment.points, experiment.history = saved.points, saved.history
        return experiment

    def close(self) -> None:
        """End the program's process."""
        self.simulation.close()


def _median(values: np.ndarray) -> float:
    """Of the known values; NaN without any."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


@dataclass(frozen=True)
class SavedExperiment:
    """What an experiment's folder holds, without a program that runs it.

    Attributes
    ----------
    config : BalancedConfig
    network : BalancedNetwork
    slow_weights, fast_weights : ndarray
        As learned.
    points : ndarray of shape (n, K) or None
        States that the teacher visited in training.
    killed : ndarray of bool of shape (N,)
        In the test.
    history : TrainingHistory
    """

    config: BalancedConfig
    network: BalancedNetwork
    slow_weights: np.ndarray
    fast_weights: np.ndarray
    points: np.ndarray | None
    killed: np.ndarray
    history: TrainingHistory

    @classmethod
    def read(cls, folder: Path) -> SavedExperiment:
        """Read a folder (ValueError if it holds no experiment, or a file is damaged)."""
        folder = Path(folder)
        config = BalancedConfig.read(folder)
        network = config.make_network()
        path = folder / "weights.npz"
        arrays = read_arrays(path)
        shapes = {
            "slow_weights": network.slow_weights.shape,
            "fast_weights": network.fast_weights.shape,
            "killed": (network.n,),
        }
        for name, shape in shapes.items():
            if name not in arrays or arrays[name].shape != shape:
                raise ValueError(f"{path} lacks '{name}' of shape {shape}")
            if not np.all(np.isfinite(arrays[name])):
                raise ValueError(f"{path}: '{name}' is not finite")
        drawn = ["decoder", "threshold"]
        if network.basis_equations.model:
            drawn += ["basis_weights", "basis_offset"]
        for name in drawn:
            own = getattr(network, name)
            if name not in arrays or not np.array_equal(arrays[name], own):
                raise ValueError(
                    f"{path}: '{name}' is not what {folder / 'config.toml'} and its seed give: the "
                    "weights belong to another network"
                )
        points = arrays.get("points")
        return cls(
            config,
            network,
            np.array(arrays["slow_weights"]),
            np.array(arrays["fast_weights"]),
            points if points is not None and len(points) else None,
            arrays["killed"].astype(bool),
            TrainingHistory.read(folder / "history.csv"),
        )


_RECORDED = tuple(f.name for f in fields(Recording))


def read_recording(folder: Path) -> tuple[Recording, np.ndarray]:
    """The test of a saved experiment, and its inputs."""
    arrays = read_arrays(Path(folder) / "test.npz")
    missing = [name for name in (*_RECORDED, "inputs") if name not in arrays]
    if missing:
        raise ValueError(f"{Path(folder) / 'test.npz'} lacks '{missing[0]}'")
    parts = {name: arrays[name] for name in _RECORDED}
    for name in ("t_start", "t_stop"):
        parts[name] = float(parts[name])
    return Recording(**parts), arrays["inputs"]
