"""An experiment with a balanced network: train, test with k = 0, perturb."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.balanced.attractors import Attractors, attractors
from eprop_brian.balanced.checkpoint import check_arrays, drawn_arrays
from eprop_brian.balanced.field import currents, effective_matrix, field_nmse
from eprop_brian.balanced.metrics import Currents, balance, cv_isi, mean_rate, nmse
from eprop_brian.balanced.simulation import Recording, Simulation
from eprop_brian.balanced.spec import BalancedNetwork, noise_strength
from eprop_brian.base.files import write_arrays, write_text
from eprop_brian.base.history import Rows, column
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.progress import progress_bar
from eprop_brian.base.toml import toml_table
from eprop_brian.tasks.dynamics import Dynamics

__all__ = [
    "RECORDED",
    "RESULTS",
    "TEST",
    "Experiment",
    "Outcome",
    "TrainingHistory",
    "part_edges",
    "training_inputs",
]

#: What a network did in the test, as `Experiment.save_test` writes it.
TEST, RESULTS = "test.npz", "results.toml"
RECORDED = tuple(f.name for f in fields(Recording))
#: How keys of a checkpoint begin that are of the simulation in the middle of a training.
_UNDERWAY = "underway."

#: Parts of the training, each a row of its history.
_PARTS = 50
#: Points at which vector fields are compared.
_POINTS = 2000
#: Seeds of inputs and of those that are killed, apart from the network's.
_TEST_SEED, _KILL_SEED = 1_000_003, 7


@dataclass
class TrainingHistory(Rows):
    """What training did, one row a part of it.

    Attributes
    ----------
    seconds : list of float
        Simulated time at its end.
    nmse : list of float
        Of the decoding in the part.
    field_nmse : list of float
        Of the network's vector field, over what the teacher visited in the part.
    rate : list of float
        Mean rate in Hz.
    slow, fast : list of float
        Norms of the weights.
    """

    seconds: list[float] = column("{:.8g}")
    nmse: list[float] = column("{:.8g}")
    field_nmse: list[float] = column("{:.8g}")
    rate: list[float] = column("{:.8g}")
    slow: list[float] = column("{:.8g}")
    fast: list[float] = column("{:.8g}")


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
    silent_error : float
        What it would be without a spike: the mean size of the signal.
    """

    nmse: float
    field_nmse: float
    path_field_nmse: float
    rate: float
    cv: float
    killed: int
    error: float
    silent_error: float


class Experiment:
    """An experiment on a device.

    Parameters
    ----------
    network : BalancedNetwork
    task : Dynamics
        The teacher, its region, and the input of the test.
    training, test : mapping
        Settings of the tables of these names (`eprop_brian.runs.balanced`).
    seed : int
        Of inputs, and of those that are killed.
    device, dtype : str
        As `eprop_brian.devices.make_program`.

    Attributes
    ----------
    slow_weights, fast_weights : ndarray
        As learned so far.
    points : ndarray of shape (n, K) or None
        States that the teacher visited in training; None before its end.
    history : TrainingHistory
    n_parts : int
        Parts of the training; 0 if there is nothing to train.
    """

    def __init__(
        self,
        network: BalancedNetwork,
        task: Dynamics,
        training: Mapping[str, Any],
        test: Mapping[str, Any],
        *,
        seed: int = 1,
        device: str = "cpp",
        dtype: str = "float64",
    ) -> None:
        self.network, self.task = network, task
        self.training, self.test_settings, self.seed = training, test, seed
        self.simulation = Simulation(network, device, dtype, seed=seed)
        self.slow_weights = np.array(network.slow_weights)
        self.fast_weights = np.array(network.fast_weights)
        self.points: np.ndarray | None = None
        self.history = TrainingHistory()
        self._edges = part_edges(training["duration"], float(network.dt))
        self.n_parts = len(self._edges) - 1 if network.learns else 0
        self._visited = np.zeros((0, network.n_dimensions))
        # State of the simulation in the middle of a training.
        self._underway: dict[str, np.ndarray] | None = None

    @property
    def iteration(self) -> int:
        """Parts of the training that are done."""
        return len(self.history)

    def take_back(self) -> None:
        """Do nothing: a part that has not ended has changed nothing here."""

    def train(
        self, *, progress: bool = False, after_part: Callable[[Experiment], None] | None = None
    ) -> TrainingHistory:
        """Train to the end, from the last part that ended.

        Parameters
        ----------
        progress : bool
            Show a progress bar.
        after_part : callable, optional
            Called with the experiment after every part, e.g. to save a checkpoint.

        Raises
        ------
        UnstableNetworkError
            If the network diverges or fires without end; the weights are those of the last part
            that ended.
        """
        if self.iteration >= self.n_parts:
            return self.history
        inputs = training_inputs(
            self.task, self.training, int(self._edges[-1]), float(self.network.dt), self.seed
        )
        self.simulation.seed = self.seed
        if self._underway is None:
            self.simulation.reset()
        else:
            self.simulation.restore(self._underway)
        bar = progress_bar(self.n_parts, self.iteration, "part", shown=progress, leave=False)
        with bar:
            while self.iteration < self.n_parts:
                self._train_part(inputs)
                bar.update()
                if after_part is not None:
                    after_part(self)
        return self.history

    def _train_part(self, inputs: np.ndarray) -> None:
        training, network, simulation = self.training, self.network, self.simulation
        dt, (first, last) = float(network.dt), self._edges[self.iteration : self.iteration + 2]
        done = simulation.run(
            inputs[first:last],
            gain=training["k_0"],
            rate=training["eta_0"],
            fast_rate=training["eta_fast"],
            pull=training["pull"],
            elapsed=first * dt,
            duration=int(self._edges[-1]) * dt,
        )
        slow, fast = simulation.slow_weights(), simulation.fast_weights()
        row = {
            "seconds": last * dt,
            "nmse": nmse(done.x, done.estimate),
            "field_nmse": self._field_nmse(slow, done.x),
            "rate": mean_rate(len(done.spike_times), network.n, done.duration),
            "slow": float(np.linalg.norm(slow)),
            "fast": float(np.linalg.norm(fast)),
        }
        underway = simulation.state()
        # An interrupt must not leave weights without history.
        with uninterrupted():
            self.slow_weights, self.fast_weights, self._underway = slow, fast, underway
            self._visited = np.concatenate([self._visited, done.x])
            self.history.append(**row)
            if self.iteration == self.n_parts:
                self.points = self._visited[:: max(1, len(self._visited) // _POINTS)]
                self._underway = None

    def state(self) -> dict[str, Any]:
        """Give the arrays of a checkpoint: weights, what they belong to, and, in the middle of a
        training, all that it goes on from.
        """
        network = self.network
        visited = self._visited if self.points is None else self.points
        return {
            "n_updates": np.array(self.iteration),
            "slow_weights": self.slow_weights,
            "fast_weights": self.fast_weights,
            **drawn_arrays(network),
            "points": visited,
            **{f"{_UNDERWAY}{key}": value for key, value in (self._underway or {}).items()},
        }

    def restore(self, state: Mapping[str, Any], path: Path) -> None:
        """Go back to a checkpoint's state; its history is to be set too.

        Raises
        ------
        ValueError
            If an array is missing or does not fit; the message names `path`.
        """
        check_arrays(self.network, state, path)
        self.slow_weights = np.array(state["slow_weights"])
        self.fast_weights = np.array(state["fast_weights"])
        underway = {
            key.removeprefix(_UNDERWAY): value
            for key, value in state.items()
            if key.startswith(_UNDERWAY)
        }
        self._underway = underway or None
        self._visited, self.points = state["points"], None
        if not underway and len(self._visited):
            self.points = self._visited

    def test(
        self,
        *,
        kill: float | None = None,
        noise: float | str | None = None,
        duration: float | None = None,
        seed: int = 0,
    ) -> tuple[Outcome, Recording]:
        """Let the network run freely, k = 0, on an input that it has not seen.

        Parameters
        ----------
        kill, noise, duration : float, optional
            In place of the configuration's; `noise` may be a multiple of the threshold such as
            ``"0.5 threshold"``.
        seed : int
            Of another input, and of others that are killed.

        Raises
        ------
        ValueError
            If nobody is left, or the signal does not vary.
        UnstableNetworkError
            If the network diverges or fires without end.
        """
        settings, network, simulation = self.test_settings, self.network, self.simulation
        kill = settings["kill"] if kill is None else kill
        noise = settings["noise"] if noise is None else noise
        duration = settings["duration"] if duration is None else duration
        sigma = noise_strength(noise, network.threshold)
        if sigma < 0:
            sigma = network.sigma
        dt, own = float(network.dt), self.seed + 1000 * seed
        settle, n_steps = round(settings["settle"] / dt), max(1, round(duration / dt))
        inputs = self.task.inputs(settle + n_steps, network.n_dimensions, dt, own + _TEST_SEED)
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
            silent_error=float(np.mean(np.linalg.norm(recording.x, axis=1))),
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

    def save_test(
        self,
        folder: Path,
        outcome: Outcome,
        recording: Recording,
        found: tuple[Attractors, Attractors] | None = None,
    ) -> None:
        """Write ``test.npz`` and ``results.toml`` into a run's folder.

        Parameters
        ----------
        folder : Path
        outcome, recording
            What `test` returned.
        found : tuple of Attractors, optional
            What `attractors` returned, which takes seconds; default: it is called.
        """
        folder = Path(folder)
        test = {name: getattr(recording, name) for name in RECORDED}
        arrays = {**test, "inputs": self.test_inputs, "killed": self.simulation.killed}
        write_arrays(folder / TEST, arrays)
        tables = {"results": {f.name: getattr(outcome, f.name) for f in fields(Outcome)}}
        correlation, left = balance(self.currents(recording))
        tables["balance"] = {"correlation": correlation, "net_share": left}
        found = found or self.attractors(recording)
        if found is not None:
            tables |= {"teacher": found[0].table(), "network": found[1].table()}
        text = "\n".join(toml_table(name, values) for name, values in tables.items())
        write_text(folder / RESULTS, text)

    def close(self) -> None:
        """End the program's process."""
        self.simulation.close()


def _median(values: np.ndarray) -> float:
    """Of the known values; NaN without any."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def part_edges(duration: float, dt: float) -> np.ndarray:
    """Give the steps at which parts of a training begin and end, of a duration and dt in s."""
    n_steps = round(duration / dt)
    return np.unique(np.linspace(0, n_steps, _PARTS + 1).round().astype(int))


def training_inputs(
    task: Dynamics, training: Mapping[str, Any], n_steps: int, dt: float, seed: int
) -> np.ndarray:
    """Draw the inputs of a training.

    Parameters
    ----------
    task : Dynamics
    training : mapping
        Settings.
    n_steps : int
    dt : float
        In s.
    seed : int

    Returns
    -------
    ndarray of shape (n_steps, K)
        In 1/s; of an exploring teacher, where it is pulled to, times the pull.
    """
    if training["pull"]:
        places = task.places(n_steps, dt, training["explore_tau"], training["reach"], seed)
        return training["pull"] * places
    driven = task.with_input(training["input_std"], training["input_tau"])
    return driven.inputs(n_steps, len(task.region), dt, seed)
