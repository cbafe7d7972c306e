"""A balanced network that learns: this project's program against stock Brian2.

One case for both: van der Pol's oscillator is learned by a network with tanh dendrites, time step
0.1 ms, slow weights learning in every step, on inputs of the task's recipe. The cost is seconds per
simulated second.

`stock` is the network as a user of Brian2 would write it, without Python in the loop, on Brian2's
run-time device with its Cython target:

- the teacher, the estimate, the neurons and the dendrites are each a `NeuronGroup`, with the
  methods (rk4, Euler) that this project takes from Brian2;
- the slow weights are all-to-all `Synapses` from dendrites to neurons: a summed variable is the
  current, `run_regularly` is the learning rule; what a synapse needs of its neurons is stored there
  once a step, not worked out again for every synapse;
- fast weights, decoder and the dendrites' inputs are `Synapses` of delay 0 that act at a spike;
- "at most one spike a step, of the neuron furthest above threshold" needs the largest value of a
  group, which Brian2 has no word for: `Synapses` from every neuron onto one other keep a running
  maximum, and the threshold asks for it. That is N operations, where to count who is better would
  take N^2.
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.cases import Measurement, in_own_process, peak_memory_mb

__all__ = ["CASE", "Run", "available", "measure", "ours", "ratio", "same_spikes", "stock"]

#: Name of the case in the list of measurements.
CASE = "balanced-van-der-pol"
_SETTINGS = ("training.gain=k_0", "training.rate=eta_0")
#: Of a decoding vector, the recipe's for 100 neurons: the same spikes a second at every size.
_LENGTH = 0.025
_WARM_UP = 100
#: Of a simulated second.
_STEPS = 10_000


@dataclass(frozen=True, eq=False)
class Run:
    """What a contender did.

    Attributes
    ----------
    seconds : tuple of float
        Per simulated second, of every repeat.
    steps, neurons : array of int, shape (n_spikes,)
        Spikes of all repeats, which go on from each other.
    x, estimate : array, shape (n_records, K)
    peak_memory_mb : float
        Of the process that computes.
    """

    seconds: tuple[float, ...]
    steps: np.ndarray
    neurons: np.ndarray
    x: np.ndarray
    estimate: np.ndarray
    peak_memory_mb: float

    @property
    def nmse(self) -> float:
        """Error of the decoding over the variance of the signal."""
        error = np.mean(np.sum((self.x - self.estimate) ** 2, axis=1))
        return float(error / np.sum(np.var(self.x, axis=0)))


def available() -> str | None:
    """None if Brian2's Cython target can be used, else the reason."""
    return None if importlib.util.find_spec("Cython") else "Cython is not installed"


def measure(n: int, seconds: float, repeats: int) -> tuple[list[Measurement], str]:
    """Both contenders, this project first, and how many of their spikes are the same.

    Parameters
    ----------
    n : int
        Neurons; there are twice as many dendrites.
    seconds : float
        Simulated time of a repeat.
    repeats : int
    """
    found = {
        "eprop_brian": in_own_process(ours, n, seconds, repeats),
        "Brian2 Cython": in_own_process(stock, n, seconds, repeats),
    }
    measurements = [
        Measurement(
            contender=name,
            case=CASE,
            n_neurons=n,
            n_steps=_STEPS,
            repeats=run.seconds,
            stages={},
            peak_memory_mb=run.peak_memory_mb,
            losses=(run.nmse,),
        )
        for name, run in found.items()
    ]
    first, second = found.values()
    return measurements, f"{same_spikes(first, second)} of {len(second.steps)}"


def same_spikes(first: Run, second: Run) -> int:
    """How many spikes are the same in both, from the first on."""
    size = min(len(first.steps), len(second.steps))
    same = (first.steps[:size] == second.steps[:size]) & (
        first.neurons[:size] == second.neurons[:size]
    )
    return size if same.all() else int(np.argmin(same))


def _case(n: int, seconds: float, repeats: int):
    """Network, settings of its training, and inputs of warm-up and repeats."""
    from eprop_brian.balanced.experiment import training_inputs
    from eprop_brian.runs.config import RunConfig

    sizes = [f"network.n={n}", f"network.n_basis={2 * n}", f"network.norm={_LENGTH * n}"]
    settings = [*_SETTINGS, *sizes]
    config = RunConfig.from_recipe("balanced-van-der-pol", settings=settings)
    network = config.make_network()
    steps = round(seconds / float(network.dt))
    n_steps, dt = _WARM_UP + repeats * steps, float(network.dt)
    inputs = training_inputs(config.make_task(), config.training, n_steps, dt, config.run["seed"])
    return network, config.training, inputs, steps


def ours(n: int, seconds: float, repeats: int) -> Run:
    """This project's compiled program, called as training calls it; building does not count."""
    from eprop_brian.balanced.simulation import Simulation
    from eprop_brian.devices import ProcessProgram

    network, training, inputs, steps = _case(n, seconds, repeats)
    simulation = Simulation(network)
    assert isinstance(simulation.program, ProcessProgram)
    options = {"gain": training["k_0"], "rate": training["eta_0"], "pull": training["pull"]}
    parts, times = [simulation.run(inputs[:_WARM_UP], **options)], []
    for repeat in range(repeats):
        first = _WARM_UP + repeat * steps
        before = time.perf_counter()
        parts.append(simulation.run(inputs[first : first + steps], **options))
        times.append((time.perf_counter() - before) / seconds)
    run = Run(
        seconds=tuple(times),
        steps=np.concatenate([np.round(p.spike_times * _STEPS).astype(int) for p in parts]),
        neurons=np.concatenate([p.spike_neurons for p in parts]),
        x=np.concatenate([p.x for p in parts]),
        estimate=np.concatenate([p.estimate for p in parts]),
        peak_memory_mb=peak_memory_mb(simulation.program.process_id),
    )
    simulation.close()
    return run


def stock(n: int, seconds: float, repeats: int) -> Run:
    """The same network with Brian2's own objects; the first run, which compiles, does not count."""
    import brian2 as b2

    network, training, inputs, steps = _case(n, seconds, repeats)
    b2.prefs.codegen.target = "cython"
    dt = network.dt
    b2.defaultclock.dt = dt
    space = {
        "lambda_v": network.lambda_v,
        "lambda_r": network.lambda_r,
        "k": training["k_0"] * b2.Hz,
        "eta": training["eta_0"] * b2.Hz,
        "pull": training["pull"] * b2.Hz,
        "given": b2.TimedArray(inputs * b2.Hz, dt=dt),
        **{name: b2.Quantity(value) for name, value in _teacher_parameters(network).items()},
    }
    signal = b2.NeuronGroup(
        1,
        """
        dx/dt = speed*y + c_x : 1
        dy/dt = speed*(damping*(1 - (x/x_scale)**2)*y - x) + c_y : 1
        c_x : Hz
        c_y : Hz
        """,
        method="rk4",
        namespace=space,
        name="signal",
    )
    signal.x, signal.y = network.teacher_map.initial
    signal.run_regularly(
        "c_x = given(t, 0) - pull*x\nc_y = given(t, 1) - pull*y", when="start", name="receive"
    )
    decoded = b2.NeuronGroup(
        1,
        """
        dx_hat/dt = -lambda_r*x_hat : 1
        dy_hat/dt = -lambda_r*y_hat : 1
        best : 1
        """,
        method="euler",
        namespace=space,
        name="decoded",
    )
    neurons = b2.NeuronGroup(
        n,
        """
        dv/dt = -lambda_v*v + D_x*c_x + D_y*c_y + slow + k*(projected_error - v) : 1
        above = v - threshold_ : 1
        slow : Hz
        projected_error : 1
        D_x : 1 (constant)
        D_y : 1 (constant)
        threshold_ : 1 (constant)
        x : 1 (linked)
        y : 1 (linked)
        c_x : Hz (linked)
        c_y : Hz (linked)
        x_hat : 1 (linked)
        y_hat : 1 (linked)
        best : 1 (linked)
        """,
        threshold="above > 0 and above >= best",
        reset="",
        method="euler",
        namespace=space,
        name="neurons",
    )
    for group, names in ((signal, ("x", "y", "c_x", "c_y")), (decoded, ("x_hat", "y_hat", "best"))):
        for name in names:
            setattr(neurons, name, b2.linked_var(group, name, index=np.zeros(n, dtype=int)))
    neurons.D_x, neurons.D_y = network.decoder
    neurons.threshold_ = network.threshold
    neurons.v = network.decoder.T @ network.teacher_map.initial
    neurons.run_regularly(
        "projected_error = D_x*(x - x_hat) + D_y*(y - y_hat)", when="start", order=1, name="project"
    )
    dendrites = b2.NeuronGroup(
        network.n_basis,
        "du/dt = -lambda_r*u : 1\npsi : 1\ntheta : 1 (constant)",
        method="euler",
        namespace=space,
        name="dendrites",
    )
    dendrites.theta = network.basis_offset
    dendrites.run_regularly("psi = tanh(u + theta)", when="start", name="output")

    slow = b2.Synapses(
        dendrites,
        neurons,
        "w : Hz\nslow_post = w*psi_pre : Hz (summed)",
        namespace=space,
        name="slow_weights",
    )
    slow.connect()
    # After the summed variable, which comes first in this slot.
    slow.run_regularly(
        "w += dt*eta*projected_error_post*psi_pre*Hz", when="groups", order=1, name="learn"
    )
    fast = b2.Synapses(neurons, neurons, "w : 1", on_pre="v_post -= w", name="fast_weights")
    fast.connect()
    fast.w = network.fast_weights.T.ravel()
    decode = b2.Synapses(
        neurons, decoded, on_pre="x_hat_post += D_x_pre\ny_hat_post += D_y_pre", name="decode"
    )
    decode.connect()
    excite = b2.Synapses(neurons, dendrites, "M : 1", on_pre="u_post += M", name="excite")
    excite.connect()
    excite.M = network.basis_weights.T.ravel()
    decoded.run_regularly("best = 0", when="before_thresholds", name="forget")
    furthest = b2.Synapses(neurons, decoded, "", name="furthest")
    furthest.connect()
    furthest.run_regularly(
        "best_post = clip(above_pre, best_post, inf)",
        when="before_thresholds",
        order=1,
        name="find_furthest",
    )

    spikes = b2.SpikeMonitor(neurons, name="spikes")
    every = 10 * dt
    shown = [
        b2.StateMonitor(group, names, record=True, dt=every, when="start", order=-1)
        for group, names in ((signal, ("x", "y")), (decoded, ("x_hat", "y_hat")))
    ]
    whole = b2.Network(
        *(signal, decoded, neurons, dendrites, slow, fast, decode, excite, furthest),
        *(spikes, *shown),
    )
    whole.run(_WARM_UP * dt, namespace={})
    times = []
    for _ in range(repeats):
        before = time.perf_counter()
        whole.run(steps * dt, namespace={})
        times.append((time.perf_counter() - before) / seconds)
    return Run(
        seconds=tuple(times),
        steps=np.round(np.asarray(spikes.t) / float(dt)).astype(int),
        neurons=np.asarray(spikes.i),
        x=np.stack([np.asarray(shown[0].x)[0], np.asarray(shown[0].y)[0]], axis=1),
        estimate=np.stack([np.asarray(shown[1].x_hat)[0], np.asarray(shown[1].y_hat)[0]], axis=1),
        peak_memory_mb=peak_memory_mb(),
    )


def _teacher_parameters(network):
    from eprop_brian.symbolic.parameters import parse_quantity

    parameters = network.teacher.parameters
    return {
        name: parse_quantity(value, name) if isinstance(value, str) else value
        for name, value in parameters.items()
    }


def ratio(first: Measurement, second: Measurement) -> float:
    """How many times faster the first is, by the medians."""
    return median(second.repeats) / median(first.repeats)
