"""What NIR graphs say of networks that they cannot hold."""

from dataclasses import replace

import numpy as np
import pytest

from eprop_brian import (
    GRADIENT_DESCENT,
    LIF,
    Inputs,
    LearningSignal,
    Network,
    Population,
    Projection,
    Readout,
    Synapse,
)
from eprop_brian.export.nir import NirError, to_nir
from eprop_brian.network.graph import InputGroup, connection
from eprop_brian.runs.config import RunConfig
from eprop_brian.training.trainer import Trainer
from support.graphs import two_readouts
from support.programs import CUES, assert_same, exported, run

CONFIG = RunConfig.from_recipe("evidence-accumulation", settings=["size.lif=4", "size.alif=0"])


def changed(case):
    """A network of the task, with parts that are too many or of another kind."""
    task = CONFIG.make_task()
    network = Network.for_task(task, [(LIF, 4)])
    resolved, half = network.resolved, task.n_inputs // 2
    groups = (InputGroup("left", half), InputGroup("right", task.n_inputs - half))
    entering = [connection(f"in_{g.name}", [g], resolved.populations) for g in groups]
    _, *others = resolved.connections
    bias = InputGroup("bias", 1, constant=True)
    resolved = {
        "inputs": replace(resolved, inputs=groups, connections=(*entering, *others)),
        "readouts": two_readouts(resolved, sizes=(1, 1)),
        "bias": replace(
            resolved,
            inputs=(*resolved.inputs, bias),
            connections=(*resolved.connections, connection("b", [bias], resolved.readouts)),
        ),
    }[case]
    vars(network)["resolved"] = resolved
    return network


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("inputs", "several groups of inputs"),
        ("readouts", "several readouts"),
        ("bias", "inputs 'bias', which are constant"),
    ],
)
def test_nir_lists_groups_that_a_graph_does_not_have(case, message):
    pytest.importorskip("nir")
    network = changed(case)
    with pytest.raises(NirError, match=message):
        to_nir(network, network.resolved.initial_weights(1))


@pytest.mark.slow
def test_a_project_with_biases_and_a_window_trains_as_in_the_tool(tmp_path, monkeypatch):
    task = CUES.make_task()
    network = CUES.make_network(task)
    resolved = replace(network.resolved, average_gradient=False)
    bias = InputGroup("bias", 1, constant=True)
    biases = [
        connection(f"b_{targets[0].name}", [bias], targets)
        for targets in (resolved.populations, resolved.readouts)
    ]
    vars(network)["resolved"] = replace(
        resolved,
        inputs=(*resolved.inputs, bias),
        readouts=(replace(resolved.readouts[0], window_steps=6),),
        connections=(*resolved.connections, *biases),
    )
    monkeypatch.setattr(RunConfig, "make_network", lambda *_: network)
    program, folder = exported(tmp_path / "project", CUES), tmp_path / "run"
    run(program, "--run", folder, "--iterations", 20)
    trainer = Trainer(network, task, batch_size=4, seed=CUES.run["seed"], workers=1)
    trainer.train(20, progress=False)
    assert_same(folder, trainer)
    start = network.resolved.initial_weights(CUES.run["seed"])
    for c in biases:
        assert np.any(trainer.session.weights[c.name] != start[c.name])


@pytest.mark.slow
def test_a_project_with_dynamic_synapses_trains_as_in_the_tool(tmp_path, monkeypatch):
    """Short-term depression, and a function of the weight, which follows every update."""
    task = CUES.make_task()
    standard = CUES.make_network(task)
    fading = {"tau_d": "100 ms", "U": 0.5}
    depressing = Synapse(
        "dx/dt = (1 - x)/tau_d : 1 (event-driven)",
        "I_post += 2*tanh(w)*U*x; x -= U*x",
        parameters=fading,
        initial={"x": "1"},
    )
    entering, *others = [part for part in standard.parts if isinstance(part, Projection)]
    rest = [part for part in standard.parts if not isinstance(part, Projection)]
    parts = [*rest, replace(entering, synapse=depressing), *others]
    network = replace(standard, parts=parts)
    monkeypatch.setattr(RunConfig, "make_network", lambda *_: network)
    program, folder = exported(tmp_path / "project", CUES), tmp_path / "run"
    run(program, "--run", folder, "--iterations", 5)
    trainer = Trainer(network, task, batch_size=4, seed=CUES.run["seed"], workers=1)
    trainer.train(5, progress=False)
    assert_same(folder, trainer)


@pytest.mark.slow
def test_a_project_in_which_a_population_emits_trains_as_in_the_tool(tmp_path, monkeypatch):
    task = CUES.make_task()
    parts = [
        Inputs(task.n_inputs),
        Population(LIF, 6, "teacher"),
        Population(LIF, 7, "learner"),
        Readout(2, loss=task.loss),
        Projection("inputs", "teacher", learn=False),
        Projection("inputs", "learner"),
        Projection("learner", "learner"),
        Projection("learner", "readout", learn=False),
        LearningSignal("teacher", "learner", "random", name="B"),
    ]
    # The program takes the learning rate from the settings.
    optimizer = GRADIENT_DESCENT.with_parameters(eta=CUES.optimizer["eta"])
    network = Network(parts, optimizer=optimizer, dt=task.dt)
    monkeypatch.setattr(RunConfig, "make_network", lambda *_: network)
    program, folder = exported(tmp_path / "project", CUES), tmp_path / "run"
    run(program, "--run", folder, "--iterations", 5)
    trainer = Trainer(network, task, batch_size=4, seed=CUES.run["seed"], workers=1)
    trainer.train(5, progress=False)
    assert_same(folder, trainer)
    start = network.initial_weights(CUES.run["seed"])
    assert np.any(trainer.session.weights["w_learner_learner"] != start["w_learner_learner"])
    np.testing.assert_array_equal(trainer.session.weights["B"], start["B"])
