"""A network is a list of parts; one that cannot work is refused with the name of the part."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

from eprop_brian import (
    ALIF,
    GRADIENT_DESCENT,
    LIF,
    RANDOM,
    Inputs,
    LearningSignal,
    Network,
    Population,
    Projection,
    Readout,
)

FIRST, SECOND = Population(LIF, 5, "first"), Population(ALIF, 4, "second")
LAYERS = {
    "inputs": Inputs(3),
    "first": FIRST,
    "second": SECOND,
    "readout": Readout(2),
    "into": Projection("inputs", "first", "into"),
    "up": Projection("first", "second", "up"),
    "around": Projection("second", "second", "around"),
    "out": Projection("second", "readout", "out"),
    "taught": LearningSignal("readout", "second"),
    "guided": LearningSignal("readout", "first", "random", "guided"),
}
INTO = ("inputs", "first", "into")
UP = ("first", "second", "up")


def layers(without=(), **parts):
    """The two layers with some parts in place of others or left out."""
    chosen = {**LAYERS, **parts}
    return Network([part for name, part in chosen.items() if name not in without])


def test_layers_have_what_their_parts_say():
    network = layers()
    assert network.shapes == {
        "into": (5, 3),
        "up": (4, 5),
        "around": (4, 4),
        "out": (2, 4),
        "B_readout_second": (4, 2),
        "guided": (5, 2),
    }
    taught, guided = network.resolved.signals
    assert (taught.follows, guided.follows) == ("out", "")
    assert {c.name: c.least_delay for c in network.resolved.connections} == {
        "into": 0,
        "up": 1,
        "around": 1,
        "out": 0,
    }
    weights = network.initial_weights(0)
    assert not np.diag(weights["around"]).any() and weights["up"].all()
    np.testing.assert_array_equal(weights["B_readout_second"], weights["out"].T)
    text = str(network)
    for name in ("5 first", "4 second", "up  4 x 5, first -> second", "guided  random"):
        assert name in text


def test_the_usual_network_is_a_list_of_parts():
    usual = Network.standard(3, 2, [(LIF, 5), (LIF, 4)], connectivity={"w_rec": 0.5}, c_reg=1.0)
    names = ["lif", "lif_2"]
    parts = [
        Inputs(3),
        Population(LIF, 5),
        Population(LIF, 4, "lif_2"),
        Readout(2),
        Projection("inputs", names, "w_in"),
        Projection(names, names, "w_rec", connectivity=0.5),
        Projection(names, "readout", "w_out"),
        LearningSignal("readout", names, name="B"),
    ]
    same, other = Network(parts, c_reg=1.0), Network(parts, c_reg=1.0, connectivity_seed=1)
    assert [*usual.initial_weights(1)] == ["w_in", "w_rec", "w_out", "B"]
    for name, matrix in usual.initial_weights(1).items():
        assert (matrix != same.initial_weights(1)[name]).sum() == 0
    assert (usual.adjacency["w_rec"] != other.adjacency["w_rec"]).sum() > 0


def test_a_part_can_be_replaced():
    network = layers().with_part("up", delay=3 * ms).with_part("first", size=7)
    assert network.delay_steps["up"] == 3 and network.shapes["up"] == (4, 7)
    default = Network.standard(3, 1, [(LIF, 2)]).with_part("lif", neuron=ALIF)
    assert [p.neuron for p in default.populations] == [ALIF]
    with pytest.raises(ValueError, match=r"unknown part 'upp' .did you mean 'up'"):
        network.with_part("upp", delay=3 * ms)


def test_a_projection_has_what_its_fields_say():
    given = np.ones((4, 4)) - np.eye(4)
    momentum = replace(GRADIENT_DESCENT.with_parameters(eta=0.5), name="mine")
    network = layers(
        into=Projection("inputs", "first", "into", sign="excitatory", scale=2, eta=0.1),
        up=Projection("first", "second", "up", sign="inhibitory", weights="balanced", learn=False),
        down=Projection("inputs", "second", "down", sign="excitatory", connectivity=0.5),
        around=Projection(
            *("second", "second", "around"),
            weights=given,
            optimizer=momentum,
            maximum=3,
            delay="2 ms",
            learned_delay={"longest": 9 * ms, "width": "2 ms"},
        ),
    )
    into, up, around, out, down = network.resolved.connections
    assert (into.sign, up.sign, out.sign) == (1, -1, 0)
    assert {k: into.optimizer.parameters[k] for k in ("eta", "w_min")} == {"eta": 0.1, "w_min": 0}
    assert out.optimizer is None and around.optimizer.name == "mine"
    assert around.optimizer.parameters["w_max"] == 3
    assert (around.learned_delay.longest, around.learned_delay.width) == (9, 2)
    weights = network.initial_weights(1)
    assert weights["into"].min() >= 0 >= weights["up"].max()
    np.testing.assert_array_equal(weights["around"], given)
    assert down.adjacency.nnz == 6 and not up.plastic


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"up": Projection("frist", "second")}, "unknown source 'frist' .did you mean 'first'"),
        ({"up": Projection("first", "third")}, "unknown target 'third'"),
        ({"up": Projection("first", "inputs")}, "its target cannot be 'inputs'; it can be first"),
        ({"up": Projection("readout", "first")}, "its source cannot be 'readout'"),
        ({"up": Projection([], "second", "up")}, "projection 'up' has no source"),
        ({"second": replace(SECOND, name="first")}, "two parts .* are called 'first'"),
        ({"up": Projection("first", "second", "into")}, "two parts .* are called 'into'"),
        ({"second": replace(SECOND, name="2nd")}, "cannot be called '2nd'"),
        ({"first": replace(FIRST, name="control")}, "cannot be called 'control'"),
        ({"first": replace(FIRST, size=0)}, "size of population 'first' must be a positive"),
        ({"first": replace(FIRST, neuron="lif")}, "has a Neuron, not 'lif'; get_neuron"),
        ({"first": replace(FIRST, learned={"tau": {}})}, "'first': its neuron has no parameter"),
        ({"inputs": Inputs(0)}, "number of inputs 'inputs' must be a positive"),
        ({"readout": Readout(1.5)}, "number of outputs of readout 'readout'"),
        (
            {"first": replace(FIRST, learned={"tau_m": {"max": 1}})},
            "'first': learned parameter 'tau_m' takes minimum",
        ),
        ({"readout": Readout(2, loss="hinge")}, "readout 'readout': unknown loss .* squared_error"),
        ({"readout": Readout(2, filter="leaky")}, "its filter is a ReadoutFilter"),
        ({"readout": Readout(2, loss_weight=0)}, "weight of a loss must be a positive number"),
        ({"readout": Readout(2, window="1.5 ms")}, "window of readout 'readout' must be whole"),
        ({"inputs": Inputs(3, constant="yes")}, "constant is true or false"),
        ({"around": Projection("second", "second", delay=0 * ms)}, "at least 1 time step"),
        ({"out": Projection("second", "readout", delay=5 * ms)}, "must be 0 .a readout sees"),
        ({"up": Projection("first", "second", weights="gaussian")}, "normal, glorot, balanced"),
        (
            {"up": Projection("first", "second", weights=[1, 2])},
            "or a matrix .post, pre. of numbers",
        ),
        ({"up": Projection("first", "second", "up", weights=np.ones((5, 4)))}, r"shape \(4, 5\)"),
        ({"up": Projection("first", "second", "up", sign="plus")}, "'plus'. There are: excitatory"),
        ({"up": Projection("first", "second", "up", weights="balanced")}, "balanced with a sign"),
        ({"up": Projection("first", "second", receptor="ampa")}, "receptor 'ampa' of 'second'"),
        ({"up": Projection("first", "second", "up", eta=-1)}, "eta of 'up' must be at least 0"),
        ({"up": Projection("first", "second", learn=False, eta=0.1)}, "so its eta changes nothing"),
        ({"up": Projection("first", "second", learn="no")}, "learn is true or false, not 'no'"),
        ({"up": Projection("first", "second", learned_delay=9)}, "learned_delay takes longest"),
        ({"up": Projection("first", "second", connectivity="one_to_one")}, "one_to_one"),
        ({"up": Projection("first", "second", "up", connectivity=2)}, "is a fraction, not 2"),
        (
            {"up": Projection("first", "second", "up", connectivity="one-to-one")},
            "a matrix .post, pre. or 'one_to_one', not 'one-to-one'",
        ),
        ({"guided": LearningSignal("readout", "frist")}, "unknown target 'frist'"),
        (
            {"guided": LearningSignal("second", "first")},
            "a population emits 'symmetric'. There are: random, broadcast, given",
        ),
        (
            {"guided": LearningSignal("readout", "first")},
            "'first' to 'readout', and none does: add it",
        ),
        (
            {"guided": LearningSignal("readout", "first", RANDOM.with_options(scale="big"))},
            "'B_readout_first': scale of the learning signal must be a finite number",
        ),
        (
            {"guided": LearningSignal("readout", "first", "B*tanh(eror)")},
            "'B_readout_first', learning signal, signal",
        ),
        ({"guided": LearningSignal("readout", "first", "adaptive")}, "its update reads those of"),
        (
            {"guided": LearningSignal("readout", "second", "random", "b")},
            "both lead from 'readout'",
        ),
        ({"extra": Inputs(3, "more")}, "inputs 'more' drive nothing"),
        ({"extra": Readout(3, "more")}, "no projection leads to readout 'more'"),
        ({"extra": Population(LIF, 3, "more")}, "no projection leads to population 'more'"),
        ({"extra": "w_in"}, "a part of a network is one of Inputs, Population"),
        ({"up": Projection(None, "second", "up")}, "name of a group or a list of them: None"),
        ({"up": Projection(["first"] * 2, "second", "up")}, "'up': its source names 'first' twice"),
        ({"inputs": Inputs(3, constant=True)}, "all of its are constant"),
        (
            {"extra": Projection("first", "readout", "late", delay=1 * ms)},
            "'out' and 'late' lead to readout 'readout' with different delays",
        ),
        (
            {"guided": LearningSignal("readout", "first", "B*tanh(error)")},
            "readout 'readout' cannot send both 'error' and",
        ),
        (
            {
                "out": Projection("second", "readout", "out", learn=False),
                "taught": LearningSignal("readout", "second", "adaptive"),
            },
            "changes with the weights of 'out', which does not learn",
        ),
        (
            {"up": Projection(*UP, weights=np.ones((4, 5)), connectivity=0.5)},
            "the weights of 'up' must be 0 where the network has no synapse",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        layers(**parts)


@pytest.mark.parametrize(
    ("without", "parts", "message"),
    [
        (["guided"], {}, "no learning signal reaches population 'first', so its synapses"),
        (
            ["guided"],
            {"into": Projection(*INTO, learn=False, learned_delay={"longest": 9 * ms})},
            "no learning signal reaches population 'first', so its synapses",
        ),
        (
            ["guided"],
            {
                "into": Projection(*INTO, learn=False),
                "first": replace(FIRST, learned={"tau_m": {}}),
            },
            "no learning signal reaches population 'first', so its parameters",
        ),
        (["up", "guided"], {}, "no projection leads to population 'second'|'first' reaches no"),
        (["inputs", "into"], {}, "needs at least one part of the kind Inputs"),
        (["readout"], {}, "needs at least one part of the kind Readout"),
        (
            [],
            {"deaf": Population(LIF, 2, "deaf"), "to": Projection("first", "deaf")},
            "population 'deaf' reaches no readout and no other population",
        ),
    ],
)
def test_what_nobody_reads_or_teaches_is_refused(without, parts, message):
    with pytest.raises(ValueError, match=message):
        layers(without, **parts)


def test_a_population_without_a_signal_may_keep_its_weights():
    network = layers(["guided"], into=Projection("inputs", "first", "into", learn=False))
    assert [c.name for c in network.resolved.keys.plastic] == ["up", "around", "out"]


def test_what_is_no_list_of_parts_is_refused():
    for parts in (3, "network", LIF):
        with pytest.raises(ValueError, match="a network is a list of parts"):
            Network(parts)


def test_the_description_names_groups_delays_and_windows():
    network = layers(
        inputs=Inputs(3),
        bias=Inputs(1, "bias", constant=True),
        offset=Projection("bias", "first"),
        up=Projection("first", "second", "up", delay=("1 ms", "4 ms")),
        around=Projection("second", "second", "around", learned_delay={"longest": 9}),
        choice=Readout(1, "choice", window="20 ms"),
        chosen=Projection("second", "choice"),
    )
    rows = str(network)
    for text in (
        "3 inputs\n",
        "1 bias, constant\n",
        "delays 1 to 4 steps",
        "delay 1 step, learned up to 9",
        "choice  1 leaky",
        "its last 20 steps",
    ):
        assert text in rows
