"""Networks as ordinary Brian2 objects.

The objects know nothing of the devices here: they are run by Brian2 itself, and must give the same
spikes, losses and weights after several updates.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from brian2 import StateMonitor, TimedArray, ms, mV, prefs

from eprop_brian import (
    Inputs,
    LearningSignal,
    Network,
    Neuron,
    Population,
    Projection,
    Readout,
    Synapse,
    Trainer,
)
from eprop_brian.brian import to_brian2
from eprop_brian.equations import ADAMW, ALIF, GRADIENT_DESCENT, LIF
from eprop_brian.equations.learning_signals import RANDOM
from eprop_brian.equations.neurons import ADEX, LIF_COND, STDP_LIF
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.tasks import PatternGeneration
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session
from support.arrays import all_dense, deviation
from support.readouts import SMALL

#: Largest deviation of weights, relative to the largest entry of a matrix, and of losses.
TOLERANCE = 1e-12
STEPS, WINDOW, BATCH = 60, 45, 2


@pytest.fixture(autouse=True)
def _numpy(monkeypatch):
    """Run in NumPy: Cython would compile for minutes."""
    before = prefs.codegen.target
    prefs.codegen.target = "numpy"
    yield
    prefs.codegen.target = before


def trials(n_inputs, n_outputs, *, classes=0, analog=False, periods=None):
    """Four trials whose patterns are not in order, with targets in every step.

    The first `classes` outputs have one-hot targets.
    """
    rng = np.random.default_rng(3)
    x = rng.random((4, STEPS, n_inputs))
    targets = rng.normal(size=(4, STEPS, n_outputs))
    if classes:
        targets[..., :classes] = np.eye(classes)[rng.integers(classes, size=(4, STEPS))]
    return Trials(
        inputs=x - 0.3 if analog else x < 0.3,
        targets=targets,
        pattern=[3, 0, 2, 1],
        target=[0, 1, 2, 3],
        periods=periods,
    )


def standard(*neurons, n_outputs=2, **options):
    """A network whose weights change much in two updates."""
    return Network.standard(4, n_outputs, neurons or [(LIF, 5), (ALIF, 5)], **options)


def periods():
    """Two answers, the second of which the first trial has not."""
    steps = np.zeros((4, STEPS), dtype=int)
    steps[:, 20:40], steps[1:, 45:55] = 1, 2
    return steps


def layers():
    """Groups of inputs, a bias, layers, frozen and signed projections, two readouts."""
    return Network(
        [
            Inputs(3, "a"),
            Inputs(2, "b"),
            Inputs(1, "bias", constant=True),
            Population(LIF, 4, "first"),
            Population(ALIF, 5, "second"),
            Readout(2, "classes", loss="softmax_cross_entropy", loss_weight=0.7, window=20 * ms),
            Readout(2, "curve", window=35 * ms),
            Projection("a", "first"),
            Projection("b", ["first", "second"], "w_b"),
            Projection("bias", "second", scale=0.1),
            Projection("first", "second", eta=0.02),
            Projection("first", "first", sign="excitatory", learn=False),
            Projection("second", "second", sign="inhibitory", optimizer=GRADIENT_DESCENT),
            Projection("second", "classes"),
            Projection("second", "curve"),
            Projection("b", "curve", "w_direct"),
            LearningSignal("classes", "second"),
            LearningSignal("curve", "second", "adaptive"),
            LearningSignal("classes", "first", "random"),
        ],
        c_reg=3.0,
    )


def gains():
    """Readouts that filter traces alike, and spikes each in its own way."""
    return Network(
        [
            Inputs(4),
            Population(LIF, 5, "lif"),
            Readout(2, "first"),
            Readout(2, "second", filter=SMALL),
            Projection("inputs", "lif"),
            Projection("lif", "first"),
            Projection("lif", "second"),
            LearningSignal("first", "lif"),
            LearningSignal("second", "lif"),
        ],
    )


def fixed_population():
    """A population that hears learning signals and learns nothing, beside one that learns."""
    return Network(
        [
            Inputs(4),
            Population(LIF, 5, "fixed"),
            Population(LIF, 5, "learning"),
            Readout(2, "r0"),
            Readout(2, "r1"),
            Projection("inputs", "fixed", scale=2.0, learn=False),
            Projection("inputs", "learning", scale=2.0),
            Projection("fixed", "learning"),
            Projection("fixed", "r0"),
            Projection("learning", "r1"),
            LearningSignal("r0", "fixed", "adaptive"),
            LearningSignal("r1", "fixed", "random"),
            LearningSignal("r1", "learning"),
        ],
        c_reg=2.0,
    )


def readings():
    """Readouts that sum membranes, a step late."""
    late = {"delay": 1 * ms}
    return Network(
        [
            Inputs(4),
            Population(ALIF, 5, "alif"),
            Population(LIF, 4, "lif"),
            Readout(2, "r0"),
            Readout(2, "r1"),
            Projection("inputs", ["alif", "lif"]),
            Projection("alif", "alif"),
            Projection("alif", "r0", reads="v - v_th", **late),
            Projection("lif", "r0", **late),
            Projection("alif", "r1", **late),
            Projection("lif", "r1", reads="v", **late),
            LearningSignal("r0", ["alif", "lif"], "random"),
            LearningSignal("r1", "alif"),
            LearningSignal("r1", "lif"),
        ],
        c_reg=2.0,
    )


#: A neuron with two receptors and units.
CONDUCTANCES = Neuron(
    name="cond",
    model="""
    dv/dt = (g_L*(E_L - v) + g_e*(E_e - v) + g_i*(E_i - v))/C : volt
    dg_e/dt = -g_e/tau_e : siemens
    dg_i/dt = -g_i/tau_i : siemens
    """,
    method="euler",
    threshold="v > v_th",
    reset="v = v_r",
    refractory="2 ms",
    on_pre={"ampa": "g_e += w*g_0", "gaba": "g_i += w*g_0"},
    surrogate="gamma/(v_th - E_L)*clip(1 - abs(v - v_th)/(v_th - E_L), 0, 1)",
    parameters={
        **{"g_L": "10 nS", "C": "200 pF", "E_L": "-70 mV", "E_e": "0 mV", "E_i": "-80 mV"},
        **{"v_th": "-50 mV", "v_r": "-60 mV", "tau_e": "5 ms", "tau_i": "10 ms", "g_0": "6 nS"},
        "gamma": 0.3,
    },
    initial={"v": "E_L"},
)


def receptors():
    """Excitation and inhibition with drawn delays, in steps of half a millisecond."""
    positive = {"sign": "excitatory"}
    return Network(
        [
            Inputs(4),
            Population(CONDUCTANCES, 6, "cond"),
            Readout(2),
            Projection("inputs", "cond", "w_e", receptor="ampa", scale=2.0, **positive),
            Projection("inputs", "cond", "w_i", receptor="gaba", **positive),
            Projection(
                "cond", "cond", "w_rec", receptor="ampa", delay=(1 * ms, 4 * ms), **positive
            ),
            Projection("cond", "readout"),
            LearningSignal("readout", "cond"),
        ],
        c_reg=5.0,
        c_v=1.0,
        dt=0.5 * ms,
    )


def weights():
    """Functions of the weight, one of them of spikes that come one after the other."""
    neuron = Neuron(
        name="jumps",
        model="dv/dt = -v/tau : 1",
        on_pre={"up": "v += clip(w, 0, most)", "down": "v += w*(E_i - v)"},
        on_pre_order="sequential",
        threshold="v > 0.4",
        reset="v = 0",
        surrogate="0.3*clip(1 - abs(v - 0.4), 0, 1)",
        parameters={"tau": "20 ms", "E_i": -0.5, "most": np.linspace(0.5, 1, 6)},
    )
    return Network(
        [
            Inputs(4),
            Population(neuron, 6),
            Readout(2),
            Projection("inputs", "jumps", "w_in", receptor="up", sign="excitatory"),
            Projection("jumps", "jumps", "w_rec", receptor="down", scale=0.3, maximum=0.9),
            Projection("jumps", "readout"),
            LearningSignal("readout", "jumps"),
        ],
    )


def dynamic():
    """Short-term plasticity, and gates that saturate."""
    fading = Synapse(
        "dx/dt = (1 - x)/(80*ms) : 1 (event-driven)",
        "I_fast_post += 2*w*U*x; x -= U*x",
        parameters={"U": [0.4, 0.5, 0.6, 0.7]},
        initial={"x": "1"},
    )
    gated = Synapse(
        """
        ds/dt = -s/tau + 0.3/ms*x*(1 - s) : 1
        dx/dt = -x/(3*ms) : 1
        I_slow_post = w*s : 1 (summed)
        """,
        "x += 1",
        method="euler",
        parameters={"tau": 40 * ms},
    )
    neuron = Neuron(
        name="cells",
        update="v = 0.9*v + I_fast + 0.2*I_slow/(1 + exp(-v)) - 0.5*z",
        receptors=("fast", "slow"),
        threshold="v > 0.5",
        surrogate="0.3*clip(1 - abs(v - 0.5), 0, 1)",
    )
    return Network(
        [
            Inputs(4),
            Population(neuron, 6),
            Readout(2),
            Projection("inputs", "cells", "w_in", receptor="fast", synapse=fading),
            Projection("inputs", "cells", "w_slow", receptor="slow", synapse=gated),
            Projection("cells", "cells", "w_rec", receptor="slow", synapse=gated),
            Projection("cells", "readout"),
            LearningSignal("readout", "cells"),
        ],
    )


#: A neuron whose names are those that the toolkit would give to quantities of its own.
CUSTOMARY = Neuron(
    name="own",
    update="L = L*rho + I\nm = .5*m + L",
    threshold="m > psi",
    surrogate=".3*clip(1 - abs(m - psi), 0, 1)",
    parameters={"rho": 0.9, "psi": 0.8, "kappa": 1.0, "eta": 0.3},
)


#: A neuron that reads time, noise, given signals and its number, and has names of its own for them.
OUTSIDE = Neuron(
    name="outside",
    model="""
    dv/dt = (0.5*signal(t, i) + 0.3*sin(t/time) + 0.2*i/N - v)/tau + 0.3*v*xi/tau**.5 : 1
    """,
    method="heun",
    on_pre="v += w",
    threshold="rand() < dt*rate*exp((v - 1)/0.2)",
    reset="v = 0.2*randn() + 0.1*slow(t)",
    surrogate="",
    parameters={
        **{"tau": "20 ms", "time": "7 ms", "rate": "0.5/ms"},
        "signal": TimedArray(np.random.default_rng(4).random((9, 6)), dt=4 * ms),
        "slow": TimedArray([1.0, 2.0, 0.0], dt=20 * ms),
    },
)


#: A neuron with conditions, declarations, drawn values, pieces, and the time of its last spike.
CONDITIONS = Neuron(
    name="conditions",
    model="""
    dv/dt = (drive - v + 0.3*int(up))/tau : 1 (unless refractory)
    da/dt = -clip(a, 0.1, inf)/(5*ms) : 1
    drive : 1 (constant)
    jump : 1
    up = v > 0.5 and not a > 2 : boolean
    """,
    method="euler",
    on_pre="v += w",
    threshold="v > 1 and t - lastspike > 2.5*ms",
    reset="v = 0.1*(t - lastspike)/ms; a += jump; jump *= 0.9",
    refractory="a > 0.7",
    parameters={"tau": "10 ms", "drive": "0.9 + 0.3*rand()", "jump": 1},
    initial={"v": "0.5*rand()"},
)


#: Short-term plasticity, and a conductance that saturates; both as Brian2 users write them.
PLASTIC = Synapse(
    model="dx/dt = (1 - x)/tau_d : 1 (event-driven)\ndu/dt = (U - u)/tau_f : 1 (event-driven)",
    on_pre="u += U*(1 - u); g_post += w*u*x; x -= u*x",
    parameters={"tau_d": "150 ms", "tau_f": "90 ms", "U": 0.3},
    initial={"x": "1", "u": "U"},
    name="plastic",
)
SATURATING = Synapse(
    model="s_tot_post = w*s : 1 (summed)\nds/dt = -s/tau_s + alpha*(1 - s) : 1 (clock-driven)",
    on_pre="s += 0.4*(1 - s)",
    method="euler",
    parameters={"tau_s": "30 ms", "alpha": "0.002/ms"},
    name="saturating",
)


def dynamic_synapses():
    """Synapses that hand on amounts and values, with delays; bounded weights."""
    neuron = Neuron(
        name="cells",
        model="dv/dt = (g + s_tot - v)/tau : 1\ndg/dt = -g/(5*ms) : 1\ns_tot : 1",
        on_pre={"fast": "g += clip(w, -0.3, 0.8)", "slow": "s_tot = w"},
        threshold="v > 1",
        reset="v = 0",
        refractory="2 ms",
        method="euler",
        surrogate="0.3*clip(1 - abs(v - 1), 0, 1)",
        parameters={"tau": "20 ms"},
    )
    late = {"delay": (2 * ms, 4 * ms)}
    return Network(
        [
            Inputs(4),
            Population(neuron, 5),
            Readout(2),
            Projection("inputs", "cells", "w_in", "slow", synapse=SATURATING, scale=9.0, **late),
            Projection("inputs", "cells", "w_fast", "fast", scale=2.0),
            Projection("cells", "cells", "w_rec", "fast", synapse=PLASTIC, scale=8.0, **late),
            Projection("cells", "readout"),
            LearningSignal("readout", "cells"),
        ],
        c_reg=5.0,
    )


@dataclass(frozen=True)
class Case:
    """A network, and the trials that it learns from in batches of `size`."""

    network: Network
    trials: Trials
    size: int = BATCH


CASES = {
    "conditions and declarations": Case(standard((CONDITIONS, 6)), trials(4, 2)),
    "rate of a trial, batches of one": Case(standard(c_reg=10.0, c_v=1.0), trials(4, 2), 1),
    "rate of a batch, sparse": Case(
        standard(
            c_reg=10.0,
            rate_averaging="batch",
            connectivity={"w_in": 0.5, "w_rec": 0.4, "w_out": 0.6},
            optimizer=GRADIENT_DESCENT,
        ),
        trials(4, 2),
    ),
    "moving rate, late readouts, delays": Case(
        standard(
            c_reg=10.0,
            rate_averaging="moving",
            delays={"w_in": (0 * ms, 4 * ms), "w_rec": (1 * ms, 5 * ms), "w_out": 1 * ms},
        ),
        trials(4, 2),
    ),
    "one delay, late signals, clipping, l2": Case(
        standard(
            delays={"w_in": 3 * ms, "w_rec": 4 * ms},
            feedback=RANDOM.with_options(delay=(1 * ms, 4 * ms), signal="tanh(error)"),
            clip_value=0.5,
            c_l2=0.1,
            average_gradient=True,
            optimizer=ADAMW,
        ),
        trials(4, 2),
    ),
    "softmax, periods": Case(
        standard(n_outputs=3, loss="softmax_cross_entropy"),
        trials(4, 3, classes=3, periods=periods()),
    ),
    "a loss of probabilities, adaptive": Case(
        standard(
            n_outputs=3,
            loss="(p - y_target)**2",
            feedback="adaptive",
            connectivity={"w_out": 0.6},
        ),
        trials(4, 3, classes=3),
    ),
    "analog, delayed": Case(
        standard((ALIF, 5), delays={"w_in": (0 * ms, 4 * ms)}), trials(4, 2, analog=True)
    ),
    "dynamic synapses, delayed": Case(dynamic_synapses(), trials(4, 2)),
    "learned parameters": Case(
        standard(
            learned={name: Learned() for name in ("tau_m", "v_th", "beta", "tau_a")},
            c_reg=10.0,
            c_v=0.5,
            delays={"w_out": 1 * ms},
        ),
        trials(4, 2),
    ),
    "values per neuron": Case(
        standard(
            (
                ALIF.with_parameters(
                    tau_m=np.linspace(10, 30, 5) * ms,
                    beta=np.linspace(0, 0.2, 5),
                    t_ref=np.arange(5) * ms,
                ),
                5,
            ),
        ),
        trials(4, 2),
    ),
    "layers": Case(layers(), trials(5, 4, classes=2)),
    "gains": Case(gains(), trials(4, 4)),
    "a population that learns nothing": Case(fixed_population(), trials(4, 4)),
    "readings": Case(readings(), trials(4, 4)),
    "receptors": Case(receptors(), trials(4, 2)),
    "functions of the weight": Case(weights(), trials(4, 2)),
    "dynamic synapses": Case(dynamic(), trials(4, 2)),
    "names": Case(standard((CUSTOMARY, 6), c_reg=5.0), trials(4, 2)),
    "noise and given signals": Case(standard((OUTSIDE, 6), c_reg=5.0), trials(4, 2)),
    "refractory slopes, conductances, adex": Case(
        standard((STDP_LIF, 6), (LIF_COND, 6), (ADEX, 6), dt=0.5 * ms), trials(4, 2)
    ),
}


def learned_by(case, device="runtime"):
    """What a device learns: losses, spikes of the last trial, weights before and after."""
    initial = case.network.initial_weights(1)
    session = Session(case.network, make_program(device), case.trials, WINDOW, initial)
    outcome = session.run(case.trials, case.size)
    found = outcome, session.spikes(), all_dense(initial), all_dense(session.weights)
    session.close()
    return found


def spikes_in(objects, network, n_trials):
    """Spikes of the last trial, shape (n_steps, n_recurrent)."""
    fired = np.zeros((STEPS, network.n_recurrent), dtype=bool)
    for name, monitor in objects.spikes.items():
        steps = np.rint(np.asarray(monitor.t) / float(network.dt)).astype(int)
        now = steps - (n_trials - 1) * STEPS
        # A step follows the last trial, which ends it.
        inside = (now >= 0) & (now < STEPS)
        fired[now[inside], np.asarray(monitor.i)[inside] + network.slices[name].start] = True
    return fired


@pytest.mark.parametrize("name", CASES)
def test_objects_learn_what_a_device_learns(name):
    case = CASES[name]
    outcome, spikes, before, after = learned_by(case)
    objects = to_brian2(
        case.network, case.trials, batch_size=case.size, learning_window=WINDOW, seed=1
    )
    objects.run()
    np.testing.assert_allclose(objects.losses(), outcome.loss, rtol=TOLERANCE)
    np.testing.assert_allclose(
        objects.outputs().reshape(outcome.output.shape), outcome.output, rtol=1e-9, atol=TOLERANCE
    )
    np.testing.assert_array_equal(spikes_in(objects, case.network, 4), spikes)
    assert spikes.sum() > 15
    assert deviation(objects.weights(), after) <= TOLERANCE
    changed = [key for key in after if np.abs(after[key] - before[key]).max() > 1e-5]
    assert len(changed) >= 3, changed


def test_a_task_and_monitors_of_ones_own():
    """Traces of synapses, states of neurons, in Brian2's units and on the task's own trials."""
    task = PatternGeneration(n_steps=100, n_inputs=6)
    network = Network.for_task(task, [(ADEX, 4)])
    objects = network.to_brian2(task, iterations=2, batch_size=1)
    traces = StateMonitor(objects.synapses["w_rec"], ["eligibility_trace", "w"], record=[0, 5])
    membrane = StateMonitor(objects.groups["adex"], ["v", "L"], record=True)
    objects.network.add(traces, membrane)
    with pytest.raises(RuntimeError, match=r"2 trials, of which 0 have ended: call run\(\)"):
        objects.losses()
    objects.run()
    trainer = Trainer(network, task, device="runtime")
    history = trainer.train(2, progress=False)
    np.testing.assert_allclose(objects.losses(), history.loss, rtol=TOLERANCE)
    assert traces.eligibility_trace.shape == (2, 201)
    assert membrane.v[0, 0] == 0 * mV
    assert membrane.v[0, 1] < -10 * mV
    assert np.abs(membrane.L).max() > 0
    trainer.close()
    with pytest.raises(RuntimeError, match="these objects have run their trials"):
        objects.run()


def test_objects_can_be_printed_on_any_device():
    """Those of a compiled program, too, which has left Brian2's device."""
    session = Session(
        standard((LIF, 2)),
        make_program("cpp"),
        trials(4, 2),
        WINDOW,
        standard((LIF, 2)).initial_weights(0),
    )
    assert "lif" in repr(session.program.built.groups)
    session.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient": "online", "updates": "step"}, "updates = 'step' runs on without trials"),
        ({"gradient": "bptt"}, "runs in JAX"),
        ({"rewiring": 0.5}, "rewiring cannot be written"),
        ({"clip_norm": 1.0}, "use clip_value"),
        ({"feedback": RANDOM.with_options(diffusion=np.eye(10))}, "'B' diffuses"),
    ],
)
def test_what_brian2_has_not_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        standard(**options).to_brian2(trials(4, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 2}, "all 4 given trials are learned from: leave iterations away"),
        ({"learning_window": 0}, "learning_window must be at least 1"),
        ({"learning_window": 61}, r"learning_window \(61 steps\) is longer than the trial"),
        ({"trials": "pattern-generation"}, "from a Task or from Trials, not from 'pattern-gen"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        standard((LIF, 2)).to_brian2(**{"trials": trials(4, 2), **options})


def test_delays_that_learn_are_refused():
    network = standard().with_part("w_rec", learned_delay={"longest": 5 * ms})
    with pytest.raises(ValueError, match="'w_rec' learns its delays"):
        network.to_brian2(trials(4, 2))
