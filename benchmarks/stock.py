"""Brian2 with its stock templates: the same network as a user would write it by hand.

One `NeuronGroup` for the inputs, the recurrent neurons and the readouts, `Synapses` between them,
and e-prop's traces on every synapse, advanced by Brian2's own synapse loops (the `online` form:
the `factored` one needs loops that Brian2 has not). All trials run inside one C++ binary
(``cpp_standalone``, float64, Brian2's default compiler flags), without Python in the loop. Brian2
is there wherever this package is.

Time is that of the simulation inside the binary; generating, compiling and loading do not count.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import yardstick
from benchmarks.cases import Case, Measurement, in_own_process

__all__ = ["ONLINE_ALIF", "Result", "available", "gradient_deviation", "measure", "run"]

#: Stage with the seconds per ALIF synapse and step of the traces' update.
ONLINE_ALIF = "online ALIF update, per synapse and step"

_NEURON = """
v = alpha*v + zeta*I - v_th*z
a = rho*a + z
I = 0
zbar = alpha*zbar + zeta*z
waiting = clip(waiting - 1, 0, inf)
free = int(waiting < 0.5)
psi = free*gamma/v_th*clip(1 - abs(v - v_th - beta*a)/v_th, 0, 1)
z = free*int(v >= v_th + beta*a)
waiting = waiting + z*refractory_steps
zbar_out = kappa*zbar_out + zeta_out*z
n_spikes = n_spikes + z
"""
_LIF_TRACE = "trace = psi_post*zbar_pre"
_ALIF_TRACE = "trace = psi_post*(zbar_pre - beta_post*eps)\neps = rho*eps + trace"
_TRACES = """
filtered = kappa*filtered + zeta_out*trace
signal_sum = signal_sum + L_post*filtered
trace_sum = trace_sum + trace
"""
_FLUSH = """
gradient = gradient + signal_sum + rate_post*trace_sum
filtered = 0
signal_sum = 0
trace_sum = 0
"""
# k counts the updates; the first comes before the first trial, and has no gradient.
_OPTIMIZERS = {
    "gradient_descent": """
g = gradient_scale*gradient/batch_size
w = clip(w - eta*g, w_min, w_max)
""",
    "adam": """
g = gradient_scale*gradient/batch_size
k = clip(t_in_timesteps/(n_steps*batch_size), 1, inf)
m = beta_1*m + (1 - beta_1)*g
s = beta_2*s + (1 - beta_2)*g**2
w = clip(w - eta*sqrt(1 - beta_2**k)/(1 - beta_1**k)*m/(sqrt(s) + epsilon), w_min, w_max)
""",
}
#: Where the binary writes its peak memory, and how.
_PEAK_FILE = "peak_memory"
_SAVE_PEAK = f"""
{{
    std::ifstream status("/proc/self/status");
    std::ofstream peak("{_PEAK_FILE}");
    for (std::string line; std::getline(status, line);)
        if (line.rfind("VmHWM:", 0) == 0) peak << line;
}}
"""


@dataclass(frozen=True, eq=False)
class Result:
    """What the binary computed.

    Attributes
    ----------
    seconds : tuple of float
        Of the simulation, for every repeat.
    losses : array, shape (n_trials,)
    last_gradient, weights : dict of str to array
        ``w_in``, ``w_rec``, ``w_out`` [post, pre]: mean gradient of the last batch, and the weights
        after it.
    peak_memory_mb : float
        Of the binary; NaN where there is no /proc.
    """

    seconds: tuple[float, ...]
    losses: np.ndarray
    last_gradient: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    peak_memory_mb: float


def available() -> str | None:
    """None if Brian2 and a compiler are there, else the reason."""
    if importlib.util.find_spec("brian2") is None:
        return "Brian2 is not installed"
    return None if shutil.which("g++") else "there is no C++ compiler 'g++'"


def measure(case: Case, *, trials: int, repeats: int = 3) -> Measurement:
    """Train on the first trials of a case, `repeats` times from its initial weights.

    The ALIF synapses' share is the difference to a second binary, in which their traces stand
    still. (What Brian2's own profiling adds to every code object is too much at this size.)

    Parameters
    ----------
    case : Case
    trials : int
        A whole number of batches.
    repeats : int
    """
    case = case.first(trials)
    result = run(case, repeats)
    stages = {}
    if case.n_alif:
        without = run(case, repeats, alif_traces=False)
        seconds = (median(result.seconds) - median(without.seconds)) / trials
        synapses = case.n_alif * (case.n_in + case.n_neurons - 1)
        stages = {
            "ALIF traces": seconds,
            "all else": median(without.seconds) / trials,
            ONLINE_ALIF: seconds / (synapses * case.n_steps),
        }
    return Measurement(
        contender="Brian2 stock",
        case=case.name,
        n_neurons=case.n_neurons,
        n_steps=case.n_steps,
        repeats=tuple(seconds / trials for seconds in result.seconds),
        stages=stages,
        peak_memory_mb=result.peak_memory_mb,
        losses=tuple(result.losses.tolist()),
    )


def gradient_deviation(case: Case) -> float:
    """Largest deviation of the first trial's gradient from the yardstick's.

    Relative to the largest entry of the matrix.
    """
    case = replace(case, batch_size=1).first(1)
    ours, theirs = run(case).last_gradient, yardstick.run(case).gradient
    return max(
        float(np.max(np.abs(ours[name] - theirs[name])) / np.max(np.abs(theirs[name])))
        for name in theirs
    )


def run(case: Case, repeats: int = 1, *, alif_traces: bool = True) -> Result:
    """Train on all trials of a case in a process of its own, which compiles anew.

    Parameters
    ----------
    case : Case
    repeats : int
        Times to run the binary.
    alif_traces : bool
        False leaves the traces of the synapses onto ALIF neurons as they are, which is wrong and
        shows what their update costs.
    """
    return in_own_process(_run, case, repeats, alif_traces)


def _run(case: Case, repeats: int, alif_traces: bool) -> Result:
    import brian2 as b2

    with tempfile.TemporaryDirectory(prefix="stock_") as folder:
        b2.set_device("cpp_standalone", build_on_run=False, directory=folder)
        # By default all files are compiled at once.
        b2.prefs.devices.cpp_standalone.extra_make_args_unix = [f"-j{os.cpu_count()}"]
        network, plastic, losses = _build(case, alif_traces)
        # One more step: a trial's gradient is summed up when the next one begins.
        steps = case.n_trials * case.n_steps + 1
        network.run(steps * case.dt * b2.ms, namespace={})
        b2.device.insert_code("after_end", _SAVE_PEAK)
        b2.device.build(directory=folder, run=False, with_output=False)
        seconds = []
        for _ in range(repeats):
            b2.device.run(folder, with_output=False, run_args=[])
            seconds.append(b2.device._last_run_time)
        peak = (Path(folder) / _PEAK_FILE).read_text().split()
        result = Result(
            seconds=tuple(seconds),
            losses=case.loss_scale * np.asarray(losses.loss_sum)[:, 1:].sum(axis=0),
            last_gradient=_matrices(case, plastic, "g"),
            weights=_matrices(case, plastic, "w"),
            peak_memory_mb=int(peak[1]) * 1024 / 1e6 if peak else float("nan"),
        )
    return result


def _matrices(case: Case, plastic: list, variable: str) -> dict[str, np.ndarray]:
    found = {name: np.zeros_like(getattr(case, name)) for name in ("w_in", "w_rec", "w_out")}
    for name, first, synapses in plastic:
        pre, post = np.asarray(synapses.i), np.asarray(synapses.j)
        found[name][first + post, pre] = np.asarray(getattr(synapses, variable))
    return found


def _build(case: Case, alif_traces: bool):
    """Network, plastic synapses as (matrix, first row, Synapses), monitor of the losses."""
    import brian2 as b2

    if case.feedback != "random":
        raise ValueError(f"only random feedback is written here, not {case.feedback}")
    dt = case.dt * b2.ms
    b2.defaultclock.dt = dt
    trial = b2.Clock(dt=case.n_steps * dt, name="trial_clock")
    batch = b2.Clock(dt=case.batch_size * case.n_steps * dt, name="batch_clock")
    softmax = case.loss == "softmax_cross_entropy"
    spikes = case.spikes.reshape(-1, case.n_in).astype(float)
    wanted = np.broadcast_to(
        case.targets[case.target], (case.n_trials, case.n_steps, case.n_out)
    ).reshape(-1, case.n_out)
    space = {
        **{k: getattr(case, k) for k in ("alpha", "rho", "kappa", "zeta", "zeta_out", "gamma")},
        **{k: getattr(case, k) for k in ("v_th", "c_reg", "refractory_steps", "n_steps")},
        **{k: getattr(case, k) for k in ("batch_size", "gradient_scale")},
        **case.optimizer_parameters,
        "target_spikes": case.f_target * case.dt * 1e-3,
        "window_start": case.n_steps - case.learning_window,
        "input_spikes": b2.TimedArray(spikes, dt=dt),
        "wanted": b2.TimedArray(wanted, dt=dt),
        "dt_": dt,
    }

    # A spike is sent one step before the step in which it acts.
    inputs = b2.NeuronGroup(
        case.n_in,
        "zbar : 1",
        threshold="input_spikes((t_in_timesteps + 1)*dt_, i) > 0",
        reset="",
        namespace=space,
        name="inputs",
    )
    inputs.run_regularly(
        "zbar = alpha*zbar + zeta*input_spikes(t_in_timesteps*dt_, i)",
        when="groups",
        name="advance_inputs",
    )
    states = ("v", "a", "I", "z", "zbar", "zbar_out", "psi", "waiting", "n_spikes")
    neurons = b2.NeuronGroup(
        case.n_neurons,
        "\n".join(f"{x} : 1" for x in (*states, "free", "L", "rate", "beta")),
        threshold="z > 0.5",
        reset="",
        namespace=space,
        name="neurons",
    )
    neurons.beta = np.repeat([0.0, case.beta], [case.n_lif, case.n_alif])
    neurons.run_regularly(_NEURON, when="groups", name="advance_neurons")
    neurons.run_regularly(
        "rate = c_reg*(n_spikes/n_steps - target_spikes)/n_steps",
        clock=trial,
        order=-1,
        name="rate_neurons",
    )
    readout = b2.NeuronGroup(
        case.n_out,
        "\n".join(f"{x} : 1" for x in ("y", "I", "exp_y", "total", "error", "loss_sum")),
        namespace=space,
        name="readout",
    )
    readout.run_regularly(
        "y = kappa*y + zeta_out*I\nI = 0\nexp_y = exp(y)",
        when="after_synapses",
        name="advance_readout",
    )
    loss = "-y_target*log(exp_y/total)" if softmax else "(y - y_target)**2/2"
    readout.run_regularly(
        f"""
        counts = int(t_in_timesteps % n_steps >= window_start)
        y_target = wanted(t_in_timesteps*dt_, i)
        error = counts*({"exp_y/total" if softmax else "y"} - y_target)
        loss_sum = loss_sum + counts*({loss})
        """,
        when="after_synapses",
        order=2,
        name="advance_error",
    )
    for group, reset in (
        (inputs, ("zbar",)),
        (neurons, states),
        (readout, ("y", "I", "error", "loss_sum")),
    ):
        group.run_regularly(
            "\n".join(f"{x} = 0" for x in reset), clock=trial, order=2, name=f"reset_{group.name}"
        )
    losses = b2.StateMonitor(readout, "loss_sum", record=True, clock=trial, when="start", order=-2)

    objects = [inputs, neurons, readout, losses]
    if softmax:
        total = b2.Synapses(readout, readout, "total_post = exp_y_pre : 1 (summed)", name="total")
        total.connect()
        objects.append(_after_synapses(total, "total", order=1))
    feedback = b2.Synapses(
        readout, neurons, "B : 1\nL_post = B*error_pre : 1 (summed)", name="feedback"
    )
    feedback.connect()
    feedback.B = case.B.T.ravel()
    objects.append(_after_synapses(feedback, "L", order=3))

    targets = [("lif", 0, neurons[: case.n_lif])]
    if case.n_alif:
        targets.append(("alif", case.n_lif, neurons[case.n_lif :]))
    plastic = []
    for matrix, source in (("w_in", inputs), ("w_rec", neurons)):
        for kind, first, target in targets:
            name = f"{source.name}_to_{kind}"
            model = "filtered : 1\nsignal_sum : 1\ntrace_sum : 1"
            traces, flush = _LIF_TRACE + _TRACES, _FLUSH
            if kind == "alif":
                model += "\neps : 1"
                traces, flush = _ALIF_TRACE + _TRACES, _FLUSH + "eps = 0\n"
            synapses = _plastic(case, source, target, model, name, space, batch)
            other = f"i != j + {first}" if matrix == "w_rec" else None
            synapses.connect(condition=other)
            block = getattr(case, matrix)[first : first + target.N].T
            connected = np.ones(block.shape, dtype=bool)
            if other:
                np.fill_diagonal(connected[first:], False)
            synapses.w = block[connected]
            if alif_traces or kind != "alif":
                synapses.run_regularly(
                    traces, when="after_synapses", order=4, name=f"traces_{name}"
                )
            synapses.run_regularly(flush, clock=trial, name=f"update_sums_{name}")
            plastic.append((matrix, first, synapses))
    synapses = _plastic(
        case, neurons, readout, "signal_sum : 1", "neurons_to_readout", space, batch
    )
    synapses.connect()
    synapses.w = case.w_out.T.ravel()
    synapses.run_regularly(
        "signal_sum = signal_sum + error_post*zbar_out_pre",
        when="after_synapses",
        order=4,
        name="traces_readout",
    )
    synapses.run_regularly(
        "gradient = gradient + signal_sum\nsignal_sum = 0", clock=trial, name="update_sums_readout"
    )
    plastic.append(("w_out", 0, synapses))
    return b2.Network(*objects, *(synapses for *_, synapses in plastic)), plastic, losses


def _plastic(case: Case, source, target, model: str, name: str, space: dict, batch):
    import brian2 as b2

    states = ["w", "g", "gradient", *(("m", "s") if case.optimizer == "adam" else ())]
    synapses = b2.Synapses(
        source,
        target,
        "\n".join([model, *(f"{x} : 1" for x in states)]),
        on_pre="I_post += w",
        delay=0 * b2.ms,
        namespace=space,
        name=name,
    )
    synapses.run_regularly(
        _OPTIMIZERS[case.optimizer] + "gradient = 0\n",
        clock=batch,
        order=1,
        name=f"update_weights_{name}",
    )
    return synapses


def _after_synapses(synapses, variable: str, order: int):
    """Let a summed variable be summed up after the step's spikes were delivered."""
    updater = synapses.summed_updaters[f"{variable}_post"]
    updater.when, updater.order = "after_synapses", order
    return synapses
