"""Steps that are differentiated statement by statement."""

from dataclasses import replace

import numpy as np
import pytest

from eprop_brian import Neuron
from eprop_brian.equations.neurons import NEURONS
from eprop_brian.export.linear import NotLinearError, linear_neuron
from eprop_brian.symbolic import bounds
from eprop_brian.symbolic.coefficients import LIMITS
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.expressions import evaluate
from eprop_brian.symbolic.functions import IN_NUMPY
from eprop_brian.symbolic.names import BEFORE
from eprop_brian.symbolic.step_map import step_map
from support.conductance_based import MODELS

DT = 0.05e-3
TOLERANCE = 1e-9
FUNCTIONS = {
    **{name: getattr(np, name) for name in ("exp", "tanh", "cosh", "sinh", "sqrt", "log")},
    **{"clip": np.clip, "where": np.where, "exprel": lambda x: np.expm1(x) / x},
    "_exprel_slope": IN_NUMPY["_exprel_slope"],
}

#: A reset, a clamp, receptors with a factor that depends on the membrane, and a learned constant.
SPIKING = Neuron(
    name="spiking",
    model="""
    dv/dt = (0.04*v**2 + 5*v + 140 - u + g*(e_rev - v) + s*m_inf**3*exp(-v/50))/ms
        : 1 (unless refractory)
    du/dt = a*(b*v - u)/ms : 1
    dg/dt = -g/(5*ms) : 1
    ds/dt = (m_inf**2/(1 + exp(-u/10)) - s)/tau_s : 1
    m_inf = 1/(1 + exp(-(v + 40)/k)) : 1
    """,
    method="rk4",
    on_pre={"fast": "v += w*gain*(e_rev - v)", "slow": "g += w; s += 0.1*w"},
    reset="v = c; u += d",
    threshold="v > 30",
    surrogate="exp(-((v - 30)/20)**2)",
    refractory="2 ms",
    parameters={
        **{"a": 0.02, "b": 0.2, "c": -65, "d": 8, "e_rev": 10, "k": 8, "tau_s": "4 ms"},
        "rate": 0.02,
    },
    constants={"gain": "2*rate*exp(-rate)"},
    initial={"v": "-60", "u": "-12"},
    detach=(),
)


def run(statements, values):
    """The values after statements, which may be complex."""
    values = dict(values)
    for statement in statements:
        name, text = statement.split(" = ", 1)
        values[name] = eval(text, {"__builtins__": {}}, {**FUNCTIONS, **values})
    return values


def values_of(step, seed=0):
    """A state of a neuron on its way, with an input and parameters."""
    rng = np.random.default_rng(seed)
    values = {**step.values(DT), "dt": DT, **step.initial_values(DT)}
    for state in step.states:
        added = 0.01 if step.units[state] == "1" else 1e-9
        values[state] = values[state] * (1 + 0.1 * rng.random()) + added * rng.random()
    arriving = {name: 0.3 + rng.random() for name in step.signals.inputs.values()}
    spike = step.signals.spike
    return values | arriving | {spike: 0.0, "not_refractory": 1.0, BEFORE: 1.0}


def slopes_of(system, values):
    """Coefficients of the step's map, from the statements that a program runs."""
    # The bounds are too wide to be met.
    found = run(system.step_code(LIMITS[8]), values)

    def value(entry):
        return found[entry.name] if entry.name else evaluate(entry.expression, values, "")

    table = {(k, m): value(entry) for (k, m), entry in system.transition.items()}
    table |= {(k, system.step.signals.spike): value(x) for k, x in system.spike_path.items()}
    for receptor, drive in system.drive.items():
        table |= {(k, system.step.signals.inputs[receptor]): value(x) for k, x in drive.items()}
    for name, parameter in system.learned.items():
        table |= {(k, name): value(x) for k, x in parameter.drive.items()}
    return table


def exact(step, values, k, by):
    """A derivative by a complex step."""
    size = 1e-30 * (abs(values[by]) or 1.0)
    moved = values | {by: values[by] + 1j * size}
    for name, text in step.constants.items():
        moved[name] = run([f"{name} = {text}"], moved)[name]
    return run(step.code, moved)[k].imag / size


CASES = [
    (model.neuron, method)
    for model in MODELS.values()
    for method in model.methods
    if method not in ("euler", "heun")
]


@pytest.mark.parametrize(
    ("neuron", "method", "learned"),
    [(neuron, method, ()) for neuron, method in CASES] + [(SPIKING, "rk4", ("rate", "k", "d"))],
    ids=[f"{neuron.name}-{method}" for neuron, method in CASES] + ["spiking"],
)
def test_slopes_are_those_of_the_step(neuron, method, learned):
    step = step_map(replace(neuron, method=method))
    system = derive(step, learned)
    system.check_finite(DT)
    values = values_of(step)
    for p in system.learned.values():
        values |= {name: evaluate(text, values, "") for name, text in p.slopes.items()}
    scale = {k: abs(run(step.code, values)[k]) for k in system.components}
    for (k, by), found in slopes_of(system, values).items():
        if by == step.signals.spike and neuron.reset:
            continue  # A reset chooses, which has no derivative by a complex step.
        expected = exact(step, values, k, by)
        rounding = 1e-14 * scale[k] / (abs(values[by]) or 1.0)
        assert found == pytest.approx(expected, rel=TOLERANCE, abs=rounding), (k, by)


@pytest.mark.parametrize("spiked", [0.0, 1.0])
@pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS)
def test_a_short_step_has_the_same_slopes_in_both_ways(neuron, spiked, monkeypatch):
    learned = [name for name in neuron.parameters if name in ("tau_m", "tau_a", "C", "d")]
    short = derive(step_map(neuron), learned)
    monkeypatch.setattr(bounds, "_MOST_COMPOSED", 0)
    long = derive(step_map(neuron), learned)
    assert short.step.composed and not long.step.composed
    assert long.components == short.components and long.placement == short.placement
    values = values_of(short.step) | {short.step.signals.spike: spiked}
    for p in short.learned.values():
        values |= {name: evaluate(text, values, "") for name, text in p.slopes.items()}
    expected = slopes_of(short, values)
    for key, found in slopes_of(long, values).items():
        assert found == pytest.approx(expected[key], rel=1e-12, abs=1e-300), key


def test_a_long_step_is_no_graph_of_nodes():
    step = step_map(replace(MODELS["traub_miles"].neuron, method="rk4"))
    with pytest.raises(NotLinearError, match="too long to be read as one expression"):
        linear_neuron(step, DT, 3)


@pytest.mark.parametrize("size", [4, 8])
def test_slopes_are_finite_where_a_membrane_takes_off(size, monkeypatch):
    monkeypatch.setattr(bounds, "_MOST_COMPOSED", 0)
    neuron = Neuron(
        name="exponential",
        model="dv/dt = (-v + D*exp((v - 1)/D) + x*v)/(20*ms) : 1\ndx/dt = -x/(5*ms) : 1",
        method="rk2",
        on_pre="x += w",
        reset="v = 0",
        threshold="v > 3",
        surrogate="clip(1 - abs(v - 1), 0, 1)",
        parameters={"D": 0.03},
    )
    system = derive(step_map(neuron))
    # As the device computes: numbers that overflow are infinite, not errors.
    dtype = {4: np.float32, 8: np.float64}[size]
    with np.errstate(over="ignore"):
        for v, takes_off in ((1.0, False), (3.0, True)):
            values = values_of(system.step) | {"v": v}
            found = run(
                system.step_code(LIMITS[size]), {name: dtype(x) for name, x in values.items()}
            )
            assert np.isinf(found["v"]) == takes_off
            entries = [entry.name for entry in system.entries(after=False) if entry.name]
            assert all(np.isfinite(found[name]) for name in entries)
