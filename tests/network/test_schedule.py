"""The schedule of a network: lists of parts of any length, in the order of a step."""

import pytest

from eprop_brian import ALIF, LIF, Network
from eprop_brian.devices.project import step_runner
from eprop_brian.network.built import Capacity
from eprop_brian.network.program import make_program
from eprop_brian.steps.gradients import Accumulate, AllSynapses, Backward, Filter
from eprop_brian.steps.nodes import Each, If
from eprop_brian.steps.spiking import Deliver, ListSpikes, ReadInputs, Signal
from support.graphs import by_population, two_readouts

POPULATIONS, READOUTS = ("lif", "alif"), ("readout_0", "readout_1")
INNER = [f"{s}_to_{t}" for s in ("inputs", *POPULATIONS) for t in POPULATIONS]
OUTWARDS = [f"{source}_to_{readout}" for readout in READOUTS for source in POPULATIONS]


def delivered(projections, target):
    """What projections deliver to a target."""
    return [("Deliver", f"deliver_of_{p}") for p in projections if p.endswith(f"_to_{target}")]


N_STEPS = 20


def schedule(gradient="factored", n_answers=0):
    """Of two populations in a ring, which both readouts hear."""
    network = Network.standard(3, 5, [(LIF, 5), (ALIF, 6)], gradient=gradient)
    resolved = two_readouts(by_population(network.resolved))
    capacity = Capacity(N_STEPS, 2, 2, N_STEPS, n_trials=4, n_answers=n_answers)
    return step_runner(make_program("runtime")(resolved, capacity).built).schedule


@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_a_step_goes_from_inputs_over_all_populations_to_all_readouts(gradient):
    order = [
        (type(node).__name__, getattr(node, "block", None) or node.spikes.name)
        for node in schedule(gradient).nodes("step")
        if isinstance(node, ReadInputs | Deliver | ListSpikes)
        or (isinstance(node, Each) and node.block.startswith(("advance", "loss")))
    ]
    assert order == [
        ("ReadInputs", "inputs"),
        *delivered(INNER, "lif"),
        ("Each", "advance_of_lif"),
        ("ListSpikes", "lif"),
        *delivered(INNER, "alif"),
        ("Each", "advance_of_alif"),
        ("ListSpikes", "alif"),
        *delivered(OUTWARDS, "readout_0"),
        ("Each", "advance_of_readout_0"),
        *delivered(OUTWARDS, "readout_1"),
        ("Each", "advance_of_readout_1"),
        *(("Each", f"loss_of_{name}") for name in READOUTS),
    ]


@pytest.mark.parametrize("n_answers", [0, 3])
def test_each_readout_has_columns_of_its_own_and_steps_that_count(n_answers):
    nodes = schedule(n_answers=n_answers).nodes("step")
    rows = {node.block: node.rows for node in nodes if isinstance(node, Each)}
    for k, size in enumerate((2, 3)):
        answer = f"_answers_{k} + (_period_{k} - 1)*5" if n_answers else f"_answers_{k}"
        assert rows[f"loss_of_readout_{k}"] == {
            "_sample": f"_target_{k} + _step*5",
            "_answered": answer,
            "_history": f"(_step + 0)*{size}",
        }
    conditions = [node.condition for node in nodes if isinstance(node, If)]
    form = "_period_{} == 0" if n_answers else "_step >= _window_start_{}"
    assert conditions == [form.format(k) for k in range(2)]


def test_the_backward_pass_of_a_population_reads_the_signals_of_all_readouts():
    nodes = schedule().nodes("learn")
    assert [node.n for node in nodes if isinstance(node, Filter)] == [2, 3]
    backward = [node for node in nodes if isinstance(node, Backward)]
    assert [node.block for node in backward] == [f"backward_of_{name}" for name in POPULATIONS]
    for node in backward:
        outputs = [(output.number, output.n_outputs) for output in node.fused]
        assert outputs == [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    sums = [node.block for node in nodes if isinstance(node, Accumulate)]
    assert sorted(sums) == sorted(f"accumulate_of_{name}" for name in (*INNER, *OUTWARDS))


def test_learning_signals_of_a_step_are_those_of_all_readouts():
    nodes = schedule("online").nodes("step")
    signals = [node.block for node in nodes if isinstance(node, Signal)]
    assert signals == [
        f"deliver_of_{readout}_to_{name}" for name in POPULATIONS for readout in READOUTS
    ]


@pytest.mark.parametrize(("phase", "what"), [("fold", "fold"), ("update", "optimize")])
def test_every_projection_is_folded_and_updated_once(phase, what):
    blocks = [n.block for n in schedule().nodes(phase) if isinstance(n, AllSynapses)]
    assert blocks == [f"{what}_of_{name}" for name in (*INNER, *OUTWARDS)]
