"""What a script imports from the package itself."""

import subprocess
import sys

import pytest
from brian2 import ms

import eprop_brian
from eprop_brian import ALIF, LEAKY, LIF, Network, derive, get_task
from eprop_brian.symbolic.eligibility import derive as derive_system
from eprop_brian.symbolic.printing import derivation_latex, derivation_text
from eprop_brian.symbolic.programs import readout_program
from eprop_brian.symbolic.step_map import step_map


def test_derive_prints_the_learning_rule():
    rule, system = derive(ALIF), derive_system(step_map(ALIF))
    assert str(rule) == derivation_text(system, readout_program(LEAKY))
    assert rule.latex == rule._repr_latex_() == derivation_latex(system, readout_program(LEAKY))
    assert str(derive("alif")) == str(rule)
    assert rule.neuron is ALIF
    assert "print it" in repr(rule)


def test_derive_takes_what_a_network_takes():
    rule = derive(ALIF, learned=["beta"], voltage_cost="margin**2")
    assert [*rule.system.learned] == ["beta"] and rule.system.cost_gradient
    with pytest.raises(ValueError, match="unknown neuron 'alf' .did you mean 'alif'"):
        derive("alf")


def test_a_network_for_a_task_has_its_sizes_loss_and_time_step():
    task = get_task("evidence-accumulation", n_cues=3, dt=0.5 * ms)
    network = Network.for_task(task, [(LIF, 5), (ALIF, 5)], c_reg=1.0)
    assert (network.n_inputs, network.n_outputs, network.n_recurrent) == (40, 2, 10)
    assert (
        network.resolved.readouts[0].loss.softmax
        and network.dt == 0.5 * ms
        and network.c_reg == 1.0
    )
    own = Network.for_task(task, [(LIF, 5)], loss="-y_target*log(p)*2")
    assert own.resolved.readouts[0].loss.name == "equation"


def test_every_name_is_there():
    for name in eprop_brian.__all__:
        assert getattr(eprop_brian, name) is not None
        assert name in dir(eprop_brian)
    with pytest.raises(AttributeError, match="no attribute 'Trainr'"):
        eprop_brian.Trainr  # noqa: B018


def test_what_takes_long_to_import_is_imported_when_it_is_needed():
    late = ("jax", "click", "distributed")
    code = f"import sys, eprop_brian; print([m for m in {late} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
