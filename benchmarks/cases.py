"""Cases: a network, its weights and its trials, fixed once for all contenders.

A `Case` holds plain numbers and arrays, so that a contender needs neither this package nor Brian2
to read it. A contender is a module with two functions::

    available() -> str | None            None, or why it cannot be used, in one sentence
    measure(case, *, trials, repeats=3, ...) -> Measurement
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

# Brian2 would be a good part of the memory of a contender that does without it.
if TYPE_CHECKING:
    from eprop_brian.network.spec import Network
    from eprop_brian.tasks import Task, Trials

__all__ = [
    "Case",
    "Measurement",
    "case_of",
    "evidence_accumulation",
    "in_own_process",
    "pattern_generation",
    "peak_memory_mb",
    "processor_seconds",
]

#: Steps of evidence accumulation besides its delay.
_CUES_AND_RECALL = 1200


@dataclass(frozen=True, eq=False)
class Case:
    """A network and its trials.

    Attributes
    ----------
    name : str
    n_lif, n_alif : int
        Recurrent neurons: first the LIF neurons, then the ALIF neurons.
    n_in, n_out, n_steps : int
    dt, tau_m, tau_a, tau_out, t_ref : float
        In ms.
    v_th, beta, gamma : float
        ``beta`` and ``tau_a`` are those of the ALIF neurons.
    zeta, zeta_out : float
        Factor of the input of a recurrent neuron and of a readout; the readout's is also that of an
        eligibility trace entering its filter.
    loss : {"squared_error", "softmax_cross_entropy"}
    learning_window : int
        Steps at the end of a trial in which the error counts.
    average_gradient : bool
        Whether the gradient is divided by the learning window.
    c_reg, f_target : float
        Strength of the rate regulariser and its target in Hz.
    feedback : {"random", "symmetric"}
        Whether B stays, or follows the readout weights.
    optimizer : {"adam", "gradient_descent"}
    optimizer_parameters : mapping of str to float
        ``eta``, ``w_min``, ``w_max``; for Adam also ``beta_1``, ``beta_2``, ``epsilon``.
    batch_size : int
        Trials of an update.
    patterns : array of bool, shape (n_patterns, n_steps, n_in)
        Input spikes; those that several trials share stand here once.
    targets : array, shape (n_targets, n_steps or 1, n_out)
    pattern, target : array of int, shape (n_trials,)
        Rows of `patterns` and `targets` that a trial takes.
    w_in, w_rec, w_out, B : array
        Initial weights [post, pre], `w_rec` with a zero diagonal; B is (n_neurons, n_out).
    """

    name: str
    n_lif: int
    n_alif: int
    n_in: int
    n_out: int
    n_steps: int
    dt: float
    tau_m: float
    tau_a: float
    tau_out: float
    t_ref: float
    v_th: float
    beta: float
    gamma: float
    zeta: float
    zeta_out: float
    loss: str
    learning_window: int
    average_gradient: bool
    c_reg: float
    f_target: float
    feedback: str
    optimizer: str
    optimizer_parameters: Mapping[str, float]
    batch_size: int
    patterns: np.ndarray = field(repr=False)
    targets: np.ndarray = field(repr=False)
    pattern: np.ndarray = field(repr=False)
    target: np.ndarray = field(repr=False)
    w_in: np.ndarray = field(repr=False)
    w_rec: np.ndarray = field(repr=False)
    w_out: np.ndarray = field(repr=False)
    B: np.ndarray = field(repr=False)

    @property
    def n_neurons(self) -> int:
        """Recurrent neurons."""
        return self.n_lif + self.n_alif

    @property
    def n_trials(self) -> int:
        """Trials there are."""
        return len(self.pattern)

    @property
    def alpha(self) -> float:
        """Decay of the membrane per step."""
        return float(np.exp(-self.dt / self.tau_m))

    @property
    def rho(self) -> float:
        """Decay of the adaptation per step."""
        return float(np.exp(-self.dt / self.tau_a))

    @property
    def kappa(self) -> float:
        """Decay of the readout per step."""
        return float(np.exp(-self.dt / self.tau_out))

    @property
    def refractory_steps(self) -> int:
        """Smallest inter-spike interval in steps; 0 if there is no refractoriness."""
        return round(self.t_ref / self.dt)

    @property
    def loss_scale(self) -> float:
        """Factor from the sum over steps and readouts to the reported loss of a trial."""
        return 1 / (self.n_out if self.loss == "squared_error" else self.learning_window)

    @property
    def gradient_scale(self) -> float:
        """Factor from the sum over steps to the gradient of a trial."""
        return 1 / self.learning_window if self.average_gradient else 1.0

    @property
    def spikes(self) -> np.ndarray:
        """Input spikes of all trials, shape (n_trials, n_steps, n_in)."""
        return self.patterns[self.pattern]

    def weights(self) -> dict[str, np.ndarray]:
        """Initial weights as `eprop_brian.network.spec.Network.initial_weights` gives them."""
        return {"w_in": self.w_in, "w_rec": self.w_rec, "w_out": self.w_out, "B": self.B}

    def small(self, trials: int) -> Case:
        """The first trials alone, as one batch: the same trials for those that are slow."""
        return replace(self, batch_size=trials).first(trials)

    def first(self, trials: int) -> Case:
        """The case with its first trials alone, and the patterns and targets that they take.

        Raises
        ------
        ValueError
            If there are not as many, or they are not a whole number of batches.
        """
        if trials < 1 or trials > self.n_trials or trials % self.batch_size:
            raise ValueError(
                f"{self.name} has {self.n_trials} trials in batches of {self.batch_size}: "
                f"{trials} trials cannot be run"
            )
        used, pattern = np.unique(self.pattern[:trials], return_inverse=True)
        shown, target = np.unique(self.target[:trials], return_inverse=True)
        return replace(
            self,
            patterns=self.patterns[used],
            pattern=pattern,
            targets=self.targets[shown],
            target=target,
        )

    def task_trials(self) -> Trials:
        """All trials as this package takes them."""
        from eprop_brian.tasks import Trials

        return Trials(self.patterns, self.targets, self.pattern, self.target)

    def network(self, **options: Any) -> Network:
        """The network as this package takes it.

        Parameters
        ----------
        **options
            Of `eprop_brian.network.spec.Network`, such as ``gradient="online"``.
        """
        from brian2 import Hz, ms

        from eprop_brian.equations import ALIF, LEAKY, LIF, OPTIMIZERS
        from eprop_brian.network.spec import Network

        common = {
            "tau_m": self.tau_m * ms,
            "v_th": self.v_th,
            "t_ref": self.t_ref * ms,
            "gamma": self.gamma,
            "zeta": repr(self.zeta),
        }
        lif = LIF.with_parameters(**common)
        alif = ALIF.with_parameters(**common, tau_a=self.tau_a * ms, beta=self.beta)
        settings: dict[str, Any] = {
            "n_inputs": self.n_in,
            "n_outputs": self.n_out,
            "neurons": [(n, size) for n, size in ((lif, self.n_lif), (alif, self.n_alif)) if size],
            "readout": LEAKY.with_parameters(
                tau_out=self.tau_out * ms, zeta_out=repr(self.zeta_out)
            ),
            "loss": self.loss,
            "feedback": self.feedback,
            "optimizer": OPTIMIZERS[self.optimizer].with_parameters(**self.optimizer_parameters),
            "c_reg": self.c_reg,
            "f_target": self.f_target * Hz,
            "average_gradient": self.average_gradient,
            "dt": self.dt * ms,
        }
        return Network.standard(**{**settings, **options})


@dataclass(frozen=True)
class Measurement:
    """What a contender needed for a case.

    Attributes
    ----------
    contender, case : str
    n_neurons, n_steps : int
    repeats : tuple of float
        Seconds per trial of every repeat.
    stages : mapping of str to float
        Median seconds per trial of parts of a trial, as far as they were measured.
    peak_memory_mb : float
        Of the process that computes.
    losses : tuple of float
        Of the first trials, in order.
    driver_memory_mb : float
        Peak of a Python process beside it that only drives it; 0 if there is none.
    """

    contender: str
    case: str
    n_neurons: int
    n_steps: int
    repeats: tuple[float, ...]
    stages: Mapping[str, float]
    peak_memory_mb: float
    losses: tuple[float, ...]
    driver_memory_mb: float = 0.0

    @property
    def seconds_per_trial(self) -> float:
        """Median of the repeats."""
        return median(self.repeats)


def evidence_accumulation(
    n_neurons: int = 100,
    n_trials: int = 64,
    batch_size: int = 64,
    feedback: str = "random",
    seed: int = 1,
    n_steps: int = 2250,
) -> Case:
    """Evidence accumulation with its recipe, half LIF and half ALIF neurons.

    Parameters
    ----------
    n_neurons, n_trials, batch_size : int
    feedback : {"random", "symmetric"}
    seed : int
        Of weights and trials.
    n_steps : int
        Length of a trial, at least 1200 and the default 2250; it changes the delay.
    """
    if n_steps < _CUES_AND_RECALL:
        raise ValueError(f"a trial without delay has {_CUES_AND_RECALL} steps, not {n_steps}")
    settings = [
        f"size.lif={n_neurons - n_neurons // 2}",
        f"size.alif={n_neurons // 2}",
        f"task.delay={n_steps - _CUES_AND_RECALL} ms",
        f"network.feedback={feedback}",
    ]
    return _case("evidence-accumulation", settings, n_trials, batch_size, seed)


def pattern_generation(
    n_neurons: int = 100,
    n_steps: int = 1000,
    n_trials: int = 64,
    batch_size: int = 1,
    feedback: str = "random",
    seed: int = 1,
) -> Case:
    """Pattern generation with its recipe, LIF neurons; parameters as `evidence_accumulation`."""
    settings = [
        f"size.lif={n_neurons}",
        f"task.n_steps={n_steps}",
        f"network.feedback={feedback}",
    ]
    return _case("pattern-generation", settings, n_trials, batch_size, seed)


def _case(name: str, settings: list[str], n_trials: int, batch_size: int, seed: int) -> Case:
    from eprop_brian.runs.config import RunConfig

    config = RunConfig.from_recipe(name, settings=settings)
    task = config.make_task()
    return case_of(name, task, config.make_network(task), n_trials, batch_size, seed)


def case_of(
    name: str, task: Task, network: Network, n_trials: int, batch_size: int, seed: int
) -> Case:
    """A task and a network of one of its recipes as a case; sparse weights stay sparse."""
    trials = task.trials(seed, "train", 0, n_trials)
    dt = float(network.dt)
    kinds: dict[str, Any] = {p.name: p.system.step.values(dt) for p in network.populations}
    size = {p.name: p.size for p in network.populations}
    lif, alif = kinds["lif"], kinds.get("alif", {"tau_a": 2.0, "beta": 0.0})
    readout = network.resolved.readouts[0].values
    in_ms = 1e3
    return Case(
        name=name,
        n_lif=size["lif"],
        n_alif=size.get("alif", 0),
        n_in=task.n_inputs,
        n_out=task.n_outputs,
        n_steps=task.n_steps,
        dt=dt * in_ms,
        tau_m=lif["tau_m"] * in_ms,
        tau_a=alif["tau_a"] * in_ms,
        tau_out=readout["tau_out"] * in_ms,
        t_ref=lif["t_ref"] * in_ms,
        v_th=lif["v_th"],
        beta=alif["beta"],
        gamma=lif["gamma"],
        zeta=lif["zeta"],
        zeta_out=readout["zeta_out"],
        loss=task.loss,
        learning_window=task.learning_window,
        average_gradient=network.average_gradient,
        c_reg=float(network.c_reg),
        f_target=float(network.f_target),
        feedback=network.resolved.signals[0].feedback.weights,
        optimizer=network.optimizer.name,
        optimizer_parameters=dict(network.optimizer.parameters),
        batch_size=batch_size,
        patterns=trials.inputs,
        targets=trials.targets,
        pattern=trials.pattern,
        target=trials.target,
        **network.initial_weights(seed),
    )


def in_own_process(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a module's function in a fresh Python process and return what it returns."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments, **options).result()


def processor_seconds(process: int) -> float:
    """Seconds that this process and another one of one thread have had of the processors.

    It needs Linux.
    """
    nanoseconds = int(Path(f"/proc/{process}/schedstat").read_text().split()[0])
    return time.process_time() + nanoseconds * 1e-9


def peak_memory_mb(process: int | str | None = "self") -> float:
    """Peak memory of this process, or of one by its number, in MB (10^6 bytes).

    NaN for another process without /proc, and for None, a process that has ended.
    """
    # A process also inherits the ru_maxrss of the one that started it; VmHWM is its own.
    status = Path(f"/proc/{process}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    if process != "self":
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
