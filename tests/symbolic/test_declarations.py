"""Parameters and conditions that a model declares, and values that differ from neuron to neuron."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import Mohm, ms, mV, nA

from eprop_brian import Network, Neuron, derive
from eprop_brian.base.random import normals, rng_for, uniforms
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron
from eprop_brian.symbolic.step_map import step_map

MODEL = """
dv/dt = (E_L - v + R*I + pull*int(up and ready))/tau : volt
I : amp
E_L : volt (constant)
tau : second (constant, shared)
pull : volt
gap = v_th - E_L : volt
ready = pull < 3*gap : boolean
up = v > E_L + gap/2 : boolean
"""
DECLARED = Neuron(
    name="own",
    model=MODEL,
    method="euler",
    threshold="v > v_th and ready",
    on_pre="v += w*mV",
    reset="v = E_L; pull += 1*mV",
    parameters={
        **{"R": 100 * Mohm, "tau": 20 * ms, "v_th": -50 * mV, "pull": 2 * mV},
        **{"E_L": [-70, -71, -72] * mV, "I": "(i + 1)*0.01*nA/N"},
    },
    initial={"v": "E_L + gap/4"},
)
#: The same without declarations.
WRITTEN = replace(
    DECLARED,
    model="""
    dv/dt = (E_L - v + R*I + pull*int((v > E_L + gap/2) and (pull < 3*gap)))/tau : volt
    dpull/dt = 0*mV/second : volt
    gap = v_th - E_L : volt
    """,
    threshold="v > v_th and (pull < 3*gap)",
    parameters={
        **{k: x for k, x in DECLARED.parameters.items() if k != "pull"},
        "I": np.arange(1, 4) * 0.01 / 3 * nA,
    },
    initial={"pull": "2*mV", "v": "E_L + gap/4"},
)


def test_declarations_mean_what_is_written_out():
    declared, written = derive(DECLARED).system, derive(WRITTEN).system
    assert declared.step.units == written.step.units
    assert declared.step.threshold == written.step.threshold
    assert declared.step.surrogate == written.step.surrogate
    assert declared.components == written.components
    assert declared.transition == written.transition
    for found, expected in (
        (declared.step.initial_values(1e-4), written.step.initial_values(1e-4)),
        (declared.step.values(1e-4), written.step.values(1e-4)),
    ):
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-14)


def test_an_assigned_parameter_is_a_state_that_stands_still():
    system = derive(DECLARED).system
    assert system.step.states == ("v", "pull")
    assert system.transition["pull", "pull"].code == "1"
    assert system.spike_path["pull"].code == "mV"
    assert "pull" not in system.step.parameters


def test_values_are_drawn_by_population_and_name():
    drawn = {"E_L": "-70*mV + 2*mV*randn() + rand()*mV", "I": "rand()*nA"}
    neuron = replace(
        DECLARED,
        parameters={**DECLARED.parameters, **drawn},
        initial={"v": "E_L + rand()*(v_th - E_L)"},
    )
    network = Network.standard(3, 1, [(neuron, 5), (replace(neuron, name="two"), 4)])
    first, second = network.resolved.populations
    rng = rng_for(0, "own.E_L")
    rest = -0.07 + 2e-3 * normals(rng, 5) + uniforms(rng, 5) * 1e-3
    step = first.system.step
    np.testing.assert_allclose(step.parameters["E_L"], rest, rtol=1e-14)
    above = uniforms(rng_for(0, "own.initial v"), 5) * (-0.05 - rest)
    np.testing.assert_allclose(step.initial_values(1e-3)["v"], rest + above, rtol=1e-14)
    assert first.system.placement == {"": {"v": "synapse", "pull": "synapse"}}
    # Of other populations, names and seeds others; of the same the same.
    again = Network.standard(3, 1, [(neuron, 5)]).resolved.populations[0].system.step
    other = Network.standard(3, 1, [(neuron, 5)], connectivity_seed=1)
    assert np.array_equal(again.parameters["E_L"], step.parameters["E_L"])
    for population in (second, other.resolved.populations[0]):
        values = population.system.step.parameters["I"]
        assert not np.any(np.isin(values, step.parameters["I"]))


@pytest.mark.parametrize("neuron", [DECLARED, WRITTEN], ids=["declared", "written"])
def test_files_hold_all_of_it(neuron, tmp_path):
    neuron = replace(
        neuron,
        initial={"v": [-60, -61, -62] * mV},
        parameters={**neuron.parameters, "R": "100*Mohm + 3*Mohm*randn()", "pull": "2 mV"}
        if "pull" in neuron.parameters
        else neuron.parameters,
    )
    path = tmp_path / "own.toml"
    path.write_text(write_neuron(neuron))
    found, expected = step_map(read_neuron(path)), step_map(neuron)
    assert (found.code, found.threshold) == (expected.code, expected.threshold)
    for name, value in expected.values(1e-4).items():
        np.testing.assert_array_equal(found.values(1e-4)[name], value)
    for name, value in expected.initial_values(1e-4).items():
        np.testing.assert_array_equal(found.initial_values(1e-4)[name], value)


def without(name):
    return {k: x for k, x in DECLARED.parameters.items() if k != name}


def with_(**values):
    return {"parameters": {**DECLARED.parameters, **values}}


WRONG = {
    "no value": ({"parameters": without("I")}, r"I : amp\n'I' has no value: give it one"),
    "two beginnings": ({"initial": {"pull": "1*mV"}}, "'pull' has a value in `parameters`, too"),
    "another unit": (with_(I=3 * mV), "has unit V where A is declared"),
    "shared": (with_(tau="(20 + i)*ms"), "is declared as one for all"),
    "a flag": ({"model": MODEL.replace("I : amp", "I : amp (linked)")}, "flag 'linked' has no"),
    "a truth": ({"model": MODEL.replace("I : amp", "I : boolean")}, "declare a number"),
    "an integer": ({"model": MODEL + "n = 3 : integer"}, "has the type integer"),
    "a condition of itself": (
        {
            "model": MODEL.replace("up = v", "up = ready and v").replace(
                "ready = pull", "ready = up and pull"
            )
        },
        "dependencies contain a cycle",
    ),
    "an unknown name": (with_(I="x*rand()*nA"), "'x' is not defined"),
    "a value that is none": (with_(I="nA/i"), "is not finite"),
    "units that do not fit": (with_(I="nA + i"), "units do not fit"),
    "a state below": ({"initial": {"v": "E_L + pull"}}, "'pull' is not defined"),
    "initial values of another unit": ({"initial": {"v": [1, 2, 3] * ms}}, "s where V"),
}


def test_what_the_reset_assigns_may_begin_with_an_initial_value():
    initial = {"v": "E_L + gap/4", "pull": "2*mV"}
    other = replace(DECLARED, parameters=without("pull"), initial=initial)
    found, expected = step_map(other), step_map(DECLARED)
    assert found.code == expected.code
    assert found.initial_values(1e-4)["pull"] == expected.initial_values(1e-4)["pull"] == 2e-3
    with pytest.raises(EquationError, match="s where V"):
        step_map(replace(other, initial={"pull": 2 * ms}))


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case):
    changes, problem = WRONG[case]
    with pytest.raises(EquationError, match=problem):
        step_map(replace(DECLARED, **changes))


@pytest.mark.parametrize("changes", [with_(E_L=[1, 2] * mV), {"initial": {"v": [1, 2] * mV}}])
def test_there_is_a_value_for_each_neuron(changes):
    neuron = replace(DECLARED, parameters={**DECLARED.parameters, "E_L": -70 * mV})
    with pytest.raises(ValueError, match="has 2 values, there are 3 neurons"):
        Network.standard(3, 1, [(replace(neuron, **changes), 3)])
