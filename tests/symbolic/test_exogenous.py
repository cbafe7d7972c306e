"""Time, random numbers and timed arrays in equations: what they become, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import Hz, TimedArray, ms, nA

from eprop_brian import Neuron, derive
from eprop_brian.symbolic.eligibility import derive as derive_system
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron
from eprop_brian.symbolic.step_map import step_map

SIGNAL = TimedArray([0.1, 0.5, 0.3], dt=5 * ms)
ROWS = TimedArray(np.arange(6.0).reshape(3, 2), dt=5 * ms)
NEURON = Neuron(
    name="own",
    model="dv/dt = (1 + 0.2*sin(2*pi*f*t) - v)/tau + s*v*xi/tau**.5 : 1",
    method="heun",
    on_pre="v += w",
    threshold="rand() < rate*dt*exp(v)",
    reset="v = 0.2*randn() + stimulus(t)",
    surrogate="",
    parameters={"tau": 20 * ms, "f": 5 * Hz, "s": 0.2, "rate": 10 * Hz, "stimulus": SIGNAL},
)
LINEAR = replace(NEURON, model="dv/dt = -v/tau : 1", method="exact")


def changed(**changes):
    parameters = NEURON.parameters | {"rows": ROWS, "stimulus": SIGNAL} | changes.pop("more", {})
    return replace(LINEAR, parameters=parameters, **changes)


def test_step_reads_numbers_that_are_printed():
    step = step_map(NEURON)
    assert [q.call for q in step.exogenous] == ["randn()", "stimulus(t)", "randn()", "t", "rand()"]
    names = [q.name for q in step.exogenous]
    assert names == ["randn_1", "stimulus_before", "randn_2", "t", "rand_3"]
    text, latex = str(derive(NEURON)), derive(NEURON).latex
    assert "randn_1: a random number for every neuron and step, normal, of variance 1." in text
    assert "stimulus_before: stimulus(t) in the step before." in text.replace("\n", " ")
    assert "the gradient is that of the spike's probability" in text
    assert "stimulus  3 values, one every 5. ms" in text
    assert r"\xi_{2,j}^{t}" in latex and r"\mathrm{stimulus}(t - \delta t)" in latex
    assert r"> u_{3,j}^{t}" in latex


def test_coefficients_with_noise_change_in_time():
    system = derive(NEURON).system
    assert system.transition["v", "v"].name == "A_v_v"
    assert "randn_2" in str(system.transition["v", "v"].expression)
    # A threshold that reads the time has the same slope in every step.
    plain = derive(changed(threshold="v > 1 + 0.1*sin(f*t)", surrogate="v")).system
    assert plain.spike_gradient["v"].expression == 1


CHANCES = {
    "rand() < rate*dt*exp(v)": (None, "int(dt*rate*exp(v) >= 0)*int(dt*rate*exp(v) <= 1)"),
    "v > rand()": (None, "int(v >= 0)*int(v <= 1)"),
    "v + rand() >= 1": (None, "int(v >= 0)*int(v <= 1)"),
    "4*rand() < v": (None, "0.25*int(v/4 >= 0)*int(v/4 <= 1)"),
    "rand() < v": ("1", "1"),
}


@pytest.mark.parametrize("threshold", CHANCES)
def test_surrogate_of_a_probability_is_its_slope(threshold):
    surrogate, expected = CHANCES[threshold]
    assert step_map(changed(threshold=threshold, surrogate=surrogate)).surrogate == expected


def test_neuron_file_has_timed_arrays(tmp_path):
    parameters = {"I_ext": TimedArray([1, 2] * nA, dt=3 * ms), "R": "10 Mohm", "rows": ROWS}
    neuron = changed(
        model="dv/dt = (R*I_ext(t)/mV + rows(t, i) - v)/tau : 1", reset="v = 0", more=parameters
    )
    path = tmp_path / "own.toml"
    path.write_text(write_neuron(neuron))
    again = read_neuron(path)
    assert write_neuron(again) == path.read_text()
    assert step_map(again).code == step_map(neuron).code
    found, expected = (
        [q.values for q in step_map(n).exogenous if hasattr(q, "values")] for n in (again, neuron)
    )
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        assert (a.dt, a.dim) == (b.dt, b.dim)
    assert (
        'I_ext = {values = [1e-09, 2e-09], dt = "0.003 second", unit = "amp"}' in path.read_text()
    )


def test_another_signal_takes_the_place_of_one():
    other = NEURON.with_parameters(stimulus=TimedArray([3.0, 4.0], dt=2 * ms), s=0.1)
    assert other.timed_arrays["stimulus"]["values"].tolist() == [3, 4]
    assert other.parameters == {**NEURON.parameters, "s": 0.1}
    with pytest.raises(ValueError, match="unknown parameter 'stimulu'.*stimulus"):
        NEURON.with_parameters(stimulu=SIGNAL)


TABLE = {"values": [1, 2], "dt": "1 ms"}
WRONG = {
    "exact, time": (changed(model="dv/dt = sin(f*t)/tau : 1"), "model that reads t, which changes"),
    "exact, drawn": (changed(model="dv/dt = rand()/tau : 1"), r"model that reads rand\(\), which"),
    "exact, noise": (
        changed(model="dv/dt = xi/tau**.5 : 1"),
        r"white noise \(xi\): choose euler, heun or milstein",
    ),
    "euler, multiplied": (
        changed(model="dv/dt = v*xi/tau**.5 : 1", method="euler"),
        "multiplied by a state: choose heun or milstein",
    ),
    "squared": (changed(model="dv/dt = xi**2 : 1", method="euler"), "multiplied by a factor"),
    "no method, in a sine": (
        changed(model="dv/dt = sin(xi*tau**.5)/tau : 1", method=""),
        "multiplied by a factor and added",
    ),
    "noise in a reset": (changed(reset="v = xi"), r"'xi' is white noise(.|\n)*write randn\(\)"),
    "an argument": (changed(reset="v = rand(3)"), r"rand\(3\)(.|\n)*write rand\(\)"),
    "no time": (changed(reset="v = stimulus(v)"), "is read where the state 'v' says"),
    "a number": (changed(reset="v = stimulus(3)"), r"has unit 1 where s is needed"),
    "no column": (changed(reset="v = rows(t)"), r"array of rows of values: write rows\(t, i\)"),
    "a column": (changed(reset="v = stimulus(t, i)"), r"an array of values: write stimulus\(t\)"),
    "a unit": (
        changed(reset="v = i_ext(t)", more={"i_ext": TimedArray([1] * nA, dt=1 * ms)}),
        "has unit A where 1 is needed",
    ),
    "drawn for a synapse": (changed(on_pre="v += w*rand()"), "for every spike of every synapse"),
    "a synapse's i": (changed(on_pre="v += w*rows(t, i)"), "number of the presynaptic neuron"),
    "shared": (
        changed(model="dv/dt = (x - v)/tau : 1\nx = 0.1*i : 1 (shared)"),
        r"one value for all neurons \(shared\), and 'i'",
    ),
    "in a surrogate": (changed(surrogate="rand()*v"), "uses 'rand': a step has no slope"),
    "in a constant": (changed(constants={"c": "rand()"}), "'rand' is random"),
    "poisson": (changed(reset="v = poisson(2)"), "'poisson' is random"),
    "no table": (changed(timed_arrays={"x": 3}), "must be a Brian2 TimedArray, or a table"),
    "other keys": (changed(timed_arrays={"x": {**TABLE, "t": 1}}), "or a table"),
    "no step": (changed(timed_arrays={"x": {**TABLE, "dt": 1}}), "dt = 1(.|\n)*must be a time"),
    "no numbers": (changed(timed_arrays={"x": {**TABLE, "values": ["a"]}}), "are no numbers"),
    "empty": (changed(timed_arrays={"x": {**TABLE, "values": []}}), r"not shape \(0,\)"),
    "nan": (changed(timed_arrays={"x": {**TABLE, "values": [1, np.nan]}}), "found NaN or infinity"),
    "a reserved name": (changed(timed_arrays={"xi_x": TABLE}), "is a reserved name"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_refused(name):
    neuron, message = WRONG[name]
    with pytest.raises(EquationError, match=message):
        step_map(neuron)


def test_readouts_and_learning_need_slopes():
    with pytest.raises(EquationError, match=r"threshold that reads rand\(\)(.|\n)*read a state"):
        derive_system(step_map(LINEAR), reads=["margin"])
    late = changed(reset="v = stimulus(t - late)", more={"late": 3 * ms})
    with pytest.raises(EquationError, match="is a value of a table, which has no slope"):
        derive_system(step_map(late), learned=["late"])
    # Beside it others learn.
    assert "tau" in derive_system(step_map(late), learned=["tau"]).learned
