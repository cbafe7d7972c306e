"""NEST: the same network, inputs and iterations in NEST's e-prop models.

NEST 3.10 (``pip install nest-simulator``) with the models of the family ``bsshslm_2020``, which
implements Bellec et al. 2020 with updates at the end of a batch. Neurons, weights, trials, learning
window, regulariser and optimizer are those of the `Case`, so losses are the same to rounding until
the first update, and to about 1e-6 afterwards: NEST drops one term of the gradient of a synapse
whose presynaptic neuron spikes in the second step of a trial.

Time is that of simulating: building the network does not count. NEST learns from a trial while it
simulates the next one, so the clock starts after the first trial: every trial timed holds one
forward pass and one gradient.
"""

from __future__ import annotations

import importlib.util
import os
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Case, Measurement, in_own_process, peak_memory_mb

__all__ = ["Result", "available", "measure", "run"]

#: Steps by which NEST's clock is late: a generator's spike of a step is sent in the next one, its
#: target arrives in time if sent in the fourth, and a recorder sees the readout in the fifth.
_SPIKE, _TARGET, _READOUT = 1, 4, 5
_SYNAPSE = "eprop_synapse_bsshslm_2020"
_LEARNING_SIGNAL = "eprop_learning_signal_connection_bsshslm_2020"
_LOSSES = {"squared_error": "mean_squared_error", "softmax_cross_entropy": "cross_entropy"}


@dataclass(frozen=True, eq=False)
class Result:
    """What NEST computed.

    Attributes
    ----------
    seconds : float
        For simulating all trials but the first.
    losses : array, shape (n_trials,)
    peak_memory_mb : float
    """

    seconds: float
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
    duration = case.n_steps * case.dt
    nest.set(resolution=case.dt, local_num_threads=threads)
    nest.set(
        eprop_update_interval=duration,
        eprop_learning_window=case.learning_window * case.dt,
        eprop_reset_neurons_on_update=True,
    )
    readouts, recorder = _build(nest, case)
    nest.Simulate(duration)
    start = time.perf_counter()
    nest.Simulate((case.n_trials - 1) * duration)
    seconds = time.perf_counter() - start
    nest.Simulate(_READOUT * case.dt)  # what the recorder has not seen yet
    return Result(seconds, _losses(case, recorder.events, readouts), peak_memory_mb())


def _build(nest, case: Case):
    """Make the network; return the readouts and what records them."""
    at_rest = {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "I_e": 0.0}
    lif = {
        **at_rest,
        "tau_m": case.tau_m,
        "V_th": case.v_th,
        "t_ref": case.t_ref,
        "c_reg": case.c_reg,
        "f_target": case.f_target,
        "surrogate_gradient_function": "piecewise_linear",
        "surrogate_gradient_height": case.gamma / case.v_th,
        "surrogate_gradient_width": case.v_th,
        "regular_spike_arrival": case.zeta == 1,
    }
    alif = {**lif, "adapt_tau": case.tau_a, "adapt_beta": case.beta, "adaptation": 0.0}
    readout = {
        **at_rest,
        "tau_m": case.tau_out,
        "loss": _LOSSES[case.loss],
        "regular_spike_arrival": case.zeta_out == 1,
    }
    neurons = nest.Create("eprop_iaf_bsshslm_2020", case.n_lif, lif)
    if case.n_alif:
        neurons += nest.Create("eprop_iaf_adapt_bsshslm_2020", case.n_alif, alif)
    readouts = nest.Create("eprop_readout_bsshslm_2020", case.n_out, readout)

    shape = (case.n_trials, case.n_steps, case.n_out)
    spikes = case.spikes.reshape(-1, case.n_in)
    targets = np.broadcast_to(case.targets[case.target], shape).reshape(-1, case.n_out)
    # Plastic synapses take no spikes from a device, so neurons that repeat them stand between.
    generators = nest.Create("spike_generator", case.n_in)
    inputs = nest.Create("parrot_neuron", case.n_in)
    for generator, train in zip(generators, spikes.T, strict=True):
        generator.spike_times = (np.flatnonzero(train) + _SPIKE) * case.dt
    wanted = nest.Create("step_rate_generator", case.n_out)
    for generator, values in zip(wanted, targets.T, strict=True):
        times = (np.arange(len(values)) + _TARGET) * case.dt
        generator.set(amplitude_times=times, amplitude_values=values.copy())
    recorder = nest.Create(
        "multimeter", {"interval": case.dt, "record_from": ["readout_signal", "target_signal"]}
    )

    names = {"eta": "eta", "w_min": "Wmin", "w_max": "Wmax"}
    parameters = {names.get(k, k): v for k, v in case.optimizer_parameters.items()}
    optimizer = {"type": case.optimizer, "batch_size": case.batch_size, **parameters}
    nest.SetDefaults(
        _SYNAPSE,
        {
            "optimizer": optimizer,
            "average_gradient": case.average_gradient,
            "tau_m_readout": case.tau_out,
        },
    )
    no_autapses = ~np.eye(case.n_neurons, dtype=bool)
    _connect(nest, inputs, neurons, case.w_in, _SYNAPSE, case.dt)
    _connect(nest, neurons, neurons, case.w_rec, _SYNAPSE, case.dt, no_autapses)
    _connect(nest, neurons, readouts, case.w_out, _SYNAPSE, case.dt)
    _connect(nest, readouts, neurons, case.B, _LEARNING_SIGNAL, case.dt)
    static = {"synapse_model": "static_synapse", "delay": case.dt}
    rate = {"synapse_model": "rate_connection_delayed", "delay": case.dt}
    ports = nest.GetDefaults("eprop_readout_bsshslm_2020", "receptor_types")
    nest.Connect(generators, inputs, "one_to_one", static)
    nest.Connect(wanted, readouts, "one_to_one", {**rate, "receptor_type": ports["target_signal"]})
    # For the softmax every readout hears the others; itself it knows.
    nest.Connect(
        readouts,
        readouts,
        {"rule": "all_to_all", "allow_autapses": False},
        {**rate, "receptor_type": ports["readout_signal"]},
    )
    nest.Connect(recorder, readouts, "all_to_all", static)
    return readouts, recorder


def _connect(nest, pre, post, weights: np.ndarray, model: str, delay: float, which=None) -> None:
    """Connect all pairs, or those that `which` [post, pre] marks, with their own weights."""
    to, of = np.nonzero(np.ones(weights.shape, dtype=bool) if which is None else which)
    nest.Connect(
        np.array(pre.tolist())[of],
        np.array(post.tolist())[to],
        "one_to_one",
        {"synapse_model": model, "weight": weights[to, of], "delay": np.full(len(of), delay)},
    )


def _losses(case: Case, events, readouts) -> np.ndarray:
    step = np.round(events["times"] / case.dt).astype(int) - _READOUT
    readout = events["senders"] - readouts[0].global_id
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
