"""Synapses as equations: what they bring, and what is refused with a reason."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import Equations, ms

from eprop_brian import (
    Inputs,
    LearningSignal,
    Network,
    Neuron,
    Population,
    Projection,
    Readout,
    Synapse,
    get_neuron,
)
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.synapse_file import read_synapse, write_synapse
from support.parts import RECIPE, configure

NEURON = Neuron(
    name="lif",
    model="dv/dt = -v/tau : 1\ndg/dt = -g/tau : 1\nhalf = g/2 : 1",
    on_pre="v += w*half; g += 2*w",
    reset="v = 0",
    threshold="v > 1",
    surrogate="0.3*clip(1 - abs(v - 1), 0, 1)",
    parameters={"tau": "20 ms"},
)
SYNAPSE = Synapse(
    model="dx/dt = (1 - x)/tau_d : 1 (event-driven)\nshare = U*x : 1\nw : 1\nU : 1 (constant)",
    on_pre="v_post += w*share*half_post; g += 2*share*w; x -= share",
    parameters={"tau_d": 100 * ms, "U": 0.5},
    initial={"x": "1"},
    name="fading",
)


def network_of(synapse, neuron=NEURON, source="inputs", target="cells", **options):
    """A network with a synapse."""
    with (
        pytest.warns(UserWarning, match="a presynaptic spike changes")
        if (neuron is NEURON)
        else _nothing()
    ):
        return Network(
            [
                Inputs(3),
                Population(neuron, 4, "cells"),
                Readout(1),
                Projection(source, target, "sent", synapse=synapse, **options),
                *([] if target == "readout" else [Projection("cells", "readout")]),
                LearningSignal("readout", "cells", "broadcast"),
            ]
        )


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def test_the_amount_is_what_is_left_without_the_neuron_s_own_effect():
    (connection, _) = network_of(SYNAPSE).resolved.connections
    assert connection.transmission.spike == (("amount", "U*x"), ("x", "x - ((U*x))"))
    assert connection.transmission.weight is None


def test_a_spike_may_keep_a_value_for_the_statements_below():
    """What is kept is the value at its line, whatever happens to the variables in it after that."""
    kept = replace(SYNAPSE, on_pre="r = U*x; x -= r; v_post += w*r*half_post; g += 2*r*w")
    (connection, _) = network_of(kept).resolved.connections
    assert connection.transmission.statements(inputs=True)[:4] == [
        "_spiked_r = U*x",
        "_spiked_x = x - (_spiked_r)",
        "value_sent = where(z, _spiked_r, 0)",
        "x = where(z, _spiked_x, x)",
    ]


MISTAKES = {
    "another effect": ({"on_pre": "g += w*x"}, "changes g, where a spike changes v_post, g_post"),
    "two amounts": (
        {"on_pre": "v_post += w*x*half; g += w*x**2"},
        "brings 'cells' several amounts",
    ),
    "an amount that changes between": (
        {"on_pre": "v_post += w*x*half; x = 0; g += 2*w*x"},
        "several amounts",
    ),
    "a state of the neuron": (
        {"on_pre": "v_post += w*x*half*v_post; g += 2*w*x"},
        "times an amount of the synapse: there is 'v' besides",
    ),
    "a mixture with the weight": (
        {"on_pre": "v_post += w*half*exp(w*x); g += 2*w*exp(w*x)"},
        "must be a function of the weight times an amount",
    ),
    "dynamics of the neuron after it": (
        {"model": "dx/dt = (v_post - x)/tau_d : 1 (event-driven)"},
        "of the postsynaptic neuron, so each synapse would have variables of its own, and",
    ),
    "dynamics of the weight": ({"model": "dx/dt = (w - x)/tau_d : 1"}, "is the weight, so each"),
    "dynamics of the neuron before it": (
        {"model": "dx/dt = (v_pre - x)/tau_d : 1"},
        "hear spikes alone",
    ),
    "a spike that reads the neuron": (
        {"on_pre": "x -= x*g_post; v_post += w*x*half; g += 2*w*x"},
        "of the postsynaptic neuron",
    ),
    "a value per synapse": (
        {"model": "dx/dt = (1 - x)/tau_d : 1 (event-driven)\nA : 1"},
        "'A' would have a value for each synapse",
    ),
    "a mixture of clocks": (
        {
            "model": "dx/dt = (y - x)/tau_d : 1 (event-driven)\ndy/dt = -y/tau_d : 1",
        },
        "only one of them is event-driven",
    ),
    "no exact solution": (
        {"model": "dx/dt = (1 - x**2)/tau_d : 1 (event-driven)"},
        "method 'exact' cannot integrate it",
    ),
    "an unknown name": ({"on_pre": "x = y; v_post += w*x*half; g += 2*w*x"}, "'y' is not defined"),
    "a wrong unit": ({"on_pre": "x = tau_d; v_post += w*x*half; g += 2*w*x"}, "has unit s"),
    "a weight with a unit": (
        {"model": f"{SYNAPSE.model}\nw : volt"},
        "weights are numbers: declare `w : 1`, and multiply by the unit where the weight acts",
    ),
    "a weight that is no number": ({"model": "w : boolean"}, "is true or false"),
    "another declared unit": (
        {"model": "dx/dt = (1 - x)/tau_d : 1 (event-driven)\nU : second"},
        "has unit 1 where s is declared",
    ),
    "an amount with a unit": (
        {"on_pre": "v_post += w*x*half*tau_d; g += 2*w*x*tau_d"},
        "differs in its unit, by s, from what a spike does to 'cells'",
    ),
    "a sum with a unit": (
        {
            "model": "dx/dt = -x/tau_d : 1\nv_post = 2*w*x*tau_d : second (summed)",
            "on_pre": "x += 1",
            "neuron": replace(NEURON, on_pre="v += 2*w"),
        },
        "differs in its unit, by s",
    ),
    "an initial value of nothing": ({"initial": {"y": "1"}}, "'y' is not defined"),
    "an initial value for each": (
        {"initial": {"x": np.ones(3)}},
        "must be one value for all synapses",
    ),
    "no initial values": ({"initial": None}, "must be a mapping"),
    "no parameters": ({"parameters": None}, "must be a mapping"),
    "a method that is not needed": ({"method": "exat"}, "did you mean 'exact'?"),
    "an effect without the weight": (
        {"on_pre": "v_post += x*half; g += 2*x; x -= U*x"},
        "has no slope by the weight",
    ),
    "an event-driven sum": (
        {"model": "dx/dt = -x/tau_d : 1 (event-driven)\ng_post = w*x : 1 (summed)"},
        "and 'x' is event-driven",
    ),
    "equal time constants": (
        {
            "model": "dx/dt = (1 - x)/tau_d : 1 (event-driven)\n"
            "dy/dt = (x - y)/tau_y : 1 (event-driven)",
            "parameters": {"tau_d": 100 * ms, "tau_y": 100 * ms, "U": 0.5},
        },
        "is not finite with",
    ),
    "a spike and a sum": (
        {"model": "dx/dt = -x/tau_d : 1\ng_post = w*x : 1 (summed)"},
        "gets a summed variable already",
    ),
}


@pytest.mark.parametrize(("change", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_has_no_exact_trace_is_refused_with_the_reason(change, message):
    plain = replace(SYNAPSE, on_pre="v_post += w*x*half; g += 2*w*x; x -= U*x")
    neuron = {"neuron": change["neuron"]} if "neuron" in change else {}
    change = {name: value for name, value in change.items() if name != "neuron"}
    with pytest.raises(EquationError) as caught:
        network_of(replace(plain, **change), **neuron)
    assert message in str(caught.value)
    assert "projection 'sent'" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"source": "cells", "target": "readout"},
            "whose learning signal answers spikes of size 1",
        ),
        ({"reads": "v", "source": "cells", "target": "readout"}, "takes their place"),
        (
            {"neuron": replace(NEURON, on_pre="v += w*(1 - v)", on_pre_order="sequential")},
            "one after the other",
        ),
    ],
)
def test_a_projection_that_cannot_have_a_synapse(options, message):
    with pytest.raises(ValueError, match=message):
        network_of(SYNAPSE, **{"neuron": get_neuron("lif"), **options})


def test_objects_mean_what_strings_mean():
    synapse = replace(SYNAPSE, model=Equations(SYNAPSE.model), initial={"x": 1})
    (found, _), (expected, _) = (network_of(s).resolved.connections for s in (synapse, SYNAPSE))
    statements = expected.transmission.statements(inputs=True)
    assert found.transmission.statements(inputs=True) == statements
    assert synapse.initial == SYNAPSE.initial


def test_a_synapse_comes_back_from_its_file(tmp_path):
    synapse = replace(SYNAPSE, method="euler", source="nowhere")
    (tmp_path / "fading.toml").write_text(write_synapse(synapse))
    read = read_synapse(tmp_path / "fading.toml")
    assert write_synapse(read) == write_synapse(synapse)
    (tmp_path / "fading.toml").write_text(write_synapse(synapse).replace("(1 - x)", "(1 - y)"))
    with pytest.raises(EquationError, match="fading.toml, line 5(.|\n)*'y' is not defined"):
        read_synapse(tmp_path / "fading.toml")


def test_settings_change_the_synapse_of_a_recipe():
    synapse = """synapse = {model = "dx/dt = (1 - x)/tau_d : 1 (event-driven)", \
on_pre = "I_post += w*U*x; x -= U*x", parameters = {tau_d = "80 ms", U = 0.5}, initial = {x = 1}}
"""
    text = RECIPE.replace('name = "loop"\n', 'name = "loop"\n' + synapse.replace("\\\n", ""))
    config = configure("projection.loop.synapse.U=0.2", text=text)
    (entries,) = [p for p in config.tables["projection"] if p["name"] == "loop"]
    assert entries["synapse"]["parameters"] == {"tau_d": "80 ms", "U": 0.2}
