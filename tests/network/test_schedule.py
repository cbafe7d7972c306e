"""The schedule of a network: lists of parts of any length, in the order of a step."""

from types import SimpleNamespace

import pytest

from eprop_brian.network.step.parts import (
    InputPart,
    LearningSignalPart,
    NetworkParts,
    PopulationPart,
    ProjectionPart,
    ReadoutPart,
    Rules,
    block_name,
)
from eprop_brian.network.step.schedule import network_schedule
from eprop_brian.steps.gradients import Accumulate, AllSynapses, Backward, Filter
from eprop_brian.steps.nodes import Each, If
from eprop_brian.steps.spiking import (
    Deliver,
    Inputs,
    ListSpikes,
    ReadInputs,
    Signal,
    Spikes,
    Synapses,
)

SIZES = {"touch": 3, "sight": 4, "first": 5, "second": 6}
OUTPUTS = {"actor": 3, "critic": 1}
#: Both readouts hear both populations, which are connected in a ring.
PROJECTIONS = [
    ("touch", "first", 0),
    ("sight", "second", 0),
    ("first", "second", 1),
    ("second", "first", 1),
    *((population, readout, 0) for population in ("first", "second") for readout in OUTPUTS),
]


def spikes(name):
    arrays = (f"{name}_{array}" for array in ("z", "neuron", "offset", "space"))
    return Spikes(name, SIZES[name], SIZES[name], *arrays)


def parts(online, fused):
    sizes = {**SIZES, **OUTPUTS}
    rules = Rules(20, True, online, False, "batch", None, 1e9, 1, 1, 0, 0, 0)
    readouts = [
        ReadoutPart(
            name,
            n,
            (f"{name}_error", f"{name}_signal"),
            None,
            f"{name}_target",
            f"{name}_output",
            20,
            "critic_period" if name == "critic" else None,
            2,
            f"{name}_start",
        )
        for name, n in OUTPUTS.items()
    ]
    return NetworkParts(
        rules,
        {"k": "k", "clock": "clock"},
        "spike_count",
        tuple(InputPart(spikes(n), Inputs(n, "pattern", False)) for n in ("touch", "sight")),
        tuple(
            PopulationPart(spikes(name), f"{name}_count", tile=8, fused=fused)
            for name in ("first", "second")
        ),
        tuple(
            ProjectionPart(
                f"{source}_to_{target}",
                source,
                target,
                Synapses(sizes[source], sizes[target], sizes[target], 100),
                delay,
                False,
            )
            for source, target, delay in PROJECTIONS
        ),
        tuple(readouts),
        tuple(
            LearningSignalPart(
                f"{readout}_to_{name}",
                readout,
                name,
                Synapses(n, SIZES[name], SIZES[name], 100),
                f"{name}_L",
                None,
                None,
            )
            for name in ("first", "second")
            for readout, n in OUTPUTS.items()
        ),
    )


def schedule(online=False, fused=()):
    made = parts(online, fused)
    names = [*SIZES, *OUTPUTS, *(p.name for p in made.projections)]
    blocks = {
        block_name(name, what): ""
        for name in names
        for what in ("advance", "loss", "silent", "trace_1", "optimize", "fold", "gradient")
    }
    return network_schedule(made, SimpleNamespace(blocks=blocks), n_trials=4)


@pytest.mark.parametrize("online", [True, False])
def test_a_step_goes_from_inputs_over_all_populations_to_all_readouts(online):
    nodes = schedule(online).nodes("step")
    order = [
        (type(node).__name__, getattr(node, "block", None) or node.spikes.name)
        for node in nodes
        if isinstance(node, ReadInputs | Deliver | ListSpikes)
        or (isinstance(node, Each) and not node.block.startswith("window"))
    ]
    entering = [f"{s}_to_{t}" for s, t, _ in PROJECTIONS]
    assert order == [
        ("ReadInputs", "touch"),
        ("ReadInputs", "sight"),
        *(("Deliver", f"deliver_of_{name}") for name in entering[:4]),
        ("Each", "advance_of_first"),
        ("ListSpikes", "first"),
        ("Each", "advance_of_second"),
        ("ListSpikes", "second"),
        *(("Deliver", f"deliver_of_{name}") for name in entering[4:]),
        ("Each", "advance_of_actor"),
        ("Each", "advance_of_critic"),
        ("Each", "loss_of_actor"),
        ("Each", "silent_of_critic"),
        ("Each", "loss_of_critic"),
    ]


def test_each_readout_has_its_own_targets_answers_and_steps_that_count():
    nodes = schedule().nodes("step")
    losses = {node.block: node.rows for node in nodes if isinstance(node, Each)}
    assert losses["loss_of_actor"] == {
        "_sample": "_target_0 + _step*3",
        "_answered": "_answers_0",
        "_history": "(_step + 0)*3",
    }
    assert losses["loss_of_critic"]["_sample"] == "_target_1 + _step*1"
    assert losses["loss_of_critic"]["_answered"] == "_answers_1 + (_period_1 - 1)*1"
    conditions = [node.condition for node in nodes if isinstance(node, If)]
    assert conditions == ["_step >= _window_start_0", "_period_1 == 0"]


def test_the_backward_pass_sums_the_signals_of_all_readouts():
    fused = (("actor", 0), ("actor", 1))
    nodes = schedule(fused=fused).nodes("learn")
    assert [node.n for node in nodes if isinstance(node, Filter)] == [3, 1]
    for node in (node for node in nodes if isinstance(node, Backward)):
        assert [(one.number, one.n_outputs) for one in node.fused] == [(0, 3), (1, 3)]
        assert [(s.synapses.n_pre, s.first_output) for s in node.signals] == [(3, 2), (1, 0)]
    blocks = [node.block for node in nodes if isinstance(node, Accumulate)]
    assert sorted(blocks) == sorted(f"accumulate_of_{s}_to_{t}" for s, t, _ in PROJECTIONS)


def test_learning_signals_of_a_step_are_those_of_all_readouts():
    signals = [node.block for node in schedule(True).nodes("step") if isinstance(node, Signal)]
    assert signals == [
        f"deliver_of_{readout}_to_{name}" for name in ("first", "second") for readout in OUTPUTS
    ]


@pytest.mark.parametrize("phase", ["fold", "update"])
def test_every_projection_is_folded_and_updated_once(phase):
    what = {"fold": "fold", "update": "optimize"}[phase]
    blocks = [n.block for n in schedule().nodes(phase) if isinstance(n, AllSynapses)]
    assert blocks == [f"{what}_of_{s}_to_{t}" for s, t, _ in PROJECTIONS]
