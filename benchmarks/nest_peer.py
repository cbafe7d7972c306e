"""NEST: the same network, inputs and iterations in NEST's e-prop models.

NEST 3.10 (``pip install nest-simulator``) with the models of the family ``bsshslm_2020``, which
implements Bellec et al. 2020 with updates at the end of a batch. Neurons, weights, trials, learning
window, regulariser and optimizer are those of the `Case`, so losses are the same to rounding until
the first update, and to about 1e-6 afterwards: where an input spikes in the second step of a trial,
NEST updates its synapses without the learning signal of the last step of the trial before.

Time is that of simulating: building the network does not count. NEST learns from a trial while it
simulates the next one, so the clock starts after the first trial: every trial timed holds one
forward pass and one gradient.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cases import Case, Measurement, in_own_process, peak_memory_mb
from benchmarks.nest_network import NestNetwork, build

__all__ = ["Result", "available", "measure", "run"]

_LOSSES = {"squared_error": "mean_squared_error", "softmax_cross_entropy": "cross_entropy"}


@dataclass(frozen=True, eq=False)
class Result:
    """What NEST computed.

    Attributes
    ----------
    seconds : float
        For simulating all trials but the first.
    cpu_seconds : float
        The same, of the processors.
    setup_seconds : float
        Of the processors, for creating the network.
    losses : array, shape (n_trials,)
    peak_memory_mb : float
    """

    seconds: float
    cpu_seconds: float
    setup_seconds: float
    losses: np.ndarray
    peak_memory_mb: float


def available() -> str | None:
    """None if NEST is installed, else the reason."""
    if importlib.util.find_spec("nest") is None:
        return "NEST is not installed (pip install nest-simulator)"
    return None


def measure(case: Case, *, trials: int, repeats: int = 3, threads: int = 1) -> Measurement:
    """Train on the first trials of a case, every repeat in a process of its own.

    Parameters
    ----------
    case : Case
    trials : int
        A whole number of batches, at least two trials.
    repeats, threads : int
    """
    if trials < 2:
        raise ValueError("NEST learns from a trial in the next one: it needs at least 2 trials")
    results = [run(case.first(trials), threads) for _ in range(repeats)]
    return Measurement(
        contender="NEST" if threads == 1 else f"NEST, {threads} threads",
        case=case.name,
        n_neurons=case.n_neurons,
        n_steps=case.n_steps,
        repeats=tuple(result.seconds / (trials - 1) for result in results),
        stages={},
        peak_memory_mb=max(result.peak_memory_mb for result in results),
        losses=tuple(results[0].losses.tolist()),
    )


def run(case: Case, threads: int = 1) -> Result:
    """Train on all trials of a case in a process of its own."""
    return in_own_process(_run, case, threads)


def _run(case: Case, threads: int) -> Result:
    if case.feedback != "random":
        raise ValueError(
            f"NEST's feedback weights stay as they are; they cannot be {case.feedback}"
        )
    os.environ["PYNEST_QUIET"] = "1"
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.set(local_num_threads=threads)
    before = time.process_time()
    network = build(nest, _meta(case), case.weights())
    setup_seconds = time.process_time() - before
    shape = (case.n_trials, case.n_steps, case.n_out)
    targets = np.broadcast_to(case.targets[case.target], shape)
    network.feed(case.spikes.reshape(-1, case.n_in), targets.reshape(-1, case.n_out))
    recorded = {"interval": case.dt, "record_from": ["readout_signal", "target_signal"]}
    recorder = nest.Create("multimeter", recorded)
    network.connect(recorder, network.readouts)
    duration = case.n_steps * case.dt
    nest.Simulate(duration)
    start, cpu_start = time.perf_counter(), time.process_time()
    nest.Simulate((case.n_trials - 1) * duration)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    nest.Simulate(network.readout_delay * case.dt)  # what the recorder has not seen yet
    losses = _losses(case, recorder.events, network)
    return Result(seconds, cpu_seconds, setup_seconds, losses, peak_memory_mb())


def _meta(case: Case) -> dict[str, Any]:
    """The case as a reference case describes it."""
    names = {"eta": "eta", "w_min": "Wmin", "w_max": "Wmax"}
    parameters = {names.get(k, k): v for k, v in case.optimizer_parameters.items()}
    return {
        **{"dt": case.dt, "T": case.n_steps, "learning_window": case.learning_window},
        **{"n_in": case.n_in, "n_out": case.n_out, "n_reg": case.n_lif, "n_ad": case.n_alif},
        **{"tau_m": case.tau_m, "V_th": case.v_th, "t_ref": case.t_ref},
        **{"c_reg": case.c_reg, "f_target": case.f_target},
        **{"adapt_tau": case.tau_a, "adapt_beta": case.beta, "tau_m_out": case.tau_out},
        "sg_fun": "piecewise_linear",
        "sg_height": case.gamma / case.v_th,
        "sg_width": case.v_th,
        "rec_regular_spike_arrival": case.zeta == 1,
        "out_regular_spike_arrival": case.zeta_out == 1,
        "loss": _LOSSES[case.loss],
        "average_gradient": case.average_gradient,
        "batch_size": case.batch_size,
        "optimizer": {"type": case.optimizer, **parameters},
    }


def _losses(case: Case, events: Mapping[str, np.ndarray], network: NestNetwork) -> np.ndarray:
    step = np.round(events["times"] / case.dt).astype(int) - network.readout_delay
    readout = events["senders"] - network.readouts[0].global_id
    trial = step // case.n_steps
    counts = (step % case.n_steps >= case.n_steps - case.learning_window) & (step >= 0)
    counts &= trial < case.n_trials
    signals = np.zeros((2, case.n_trials, case.n_steps, case.n_out))
    place = (trial[counts], step[counts] % case.n_steps, readout[counts])
    for signal, name in zip(signals, ("readout_signal", "target_signal"), strict=True):
        signal[place] = events[name][counts]
    y, target = signals[:, :, case.n_steps - case.learning_window :]
    terms = (y - target) ** 2 / 2 if case.loss == "squared_error" else -target * np.log(y)
    return case.loss_scale * terms.sum(axis=(1, 2))
