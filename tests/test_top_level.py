"""What a script imports from the package itself."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms

import eprop_brian
from eprop_brian import ALIF, LEAKY, LIF, Network, derive, get_task
from eprop_brian.equations.neurons import LIF_COND
from eprop_brian.symbolic.eligibility import derive as derive_system
from eprop_brian.symbolic.latex import derivation_latex
from eprop_brian.symbolic.printing import derivation_text
from eprop_brian.symbolic.programs import readout_program
from eprop_brian.symbolic.step_map import step_map
from eprop_brian.training.history import History


def printed(code):
    """What Python prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


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


def test_a_neuron_is_printed_as_its_equations():
    text = str(ALIF.with_parameters(tau_m=[20, 21, 22, 23] * ms))
    assert text.startswith("Neuron alif\n-----------\nupdate ")
    for line in (*ALIF.update.splitlines(), ALIF.threshold, "alpha = exp(-dt/tau_m)"):
        assert line in text
    assert re.search(r"tau_m = .*, \.\.\. \(4 neurons\)", text)
    assert "model" not in text, "rows without text are left out"
    assert repr(ALIF) == "<neuron 'alif': v = alpha*v + zeta*I - v_th*z; a = rho*a + z>"
    table = LIF_COND._repr_markdown_()
    assert "<th" in table and "on_pre" in table
    tricky = replace(LIF, source="<b> & </b>")
    assert "&lt;b&gt; &amp; &lt;/b&gt;" in tricky._repr_markdown_()


def test_a_network_is_printed_as_what_it_consists_of():
    neurons = [(LIF, 6), (ALIF, 4)]
    network = Network.standard(
        3, 2, neurons, c_reg=5.0, learned={"beta": {}}, connectivity={"w_rec": 0.5}
    )
    assert repr(network) == "<network: 3 inputs, 6 lif + 4 alif, 2 readouts, factored, adam>"
    text = str(network)
    for line in (
        "6 lif",
        "4 alif, learns beta",
        "w_in  10 x 3, inputs -> lif + alif",
        "w_rec  10 x 10, lif + alif -> lif + alif, 45 synapses",
        f"2 leaky: {LEAKY.update}",
        "c_reg = 5.0",
    ):
        assert re.search(rf"^.*  {re.escape(line)}$", text, re.MULTILINE), line
    assert "clip_norm" not in text, "defaults are left out"
    assert "<caption><b>Network</b></caption>" in network._repr_html_()


def test_a_history_is_printed_as_its_course():
    history = History()
    assert repr(history) == "<history of 0 iterations>" and "0 iterations" in str(history)
    for loss in (4.0, 1.0, 2.0):
        history.append(loss, np.nan, 10.0, 0.5)
    assert repr(history) == "<history of 3 iterations: loss 4 to 2>"
    assert "4 first, 2 last, 1 lowest" in str(history)
    assert "wrong trials" not in str(history), "the task defines no error"
    assert "<td" in history._repr_html_() and "1.5" in history._repr_html_()


def test_every_name_is_there():
    for name in eprop_brian.__all__:
        assert getattr(eprop_brian, name) is not None
        assert name in dir(eprop_brian)
    with pytest.raises(AttributeError, match="no attribute 'Trainr'"):
        eprop_brian.Trainr  # noqa: B018


def test_what_takes_long_to_import_is_imported_when_it_is_needed():
    late = ("brian2", "sympy", "numpy", "click", "eprop_brian.equations.neuron")
    code = f"import sys, eprop_brian; print([m for m in {late} if m in sys.modules])"
    assert printed(code) == "[]"
    late = ("jax", "click", "distributed", "eprop_brian.plot", "eprop_brian.figures")
    code = f"import sys; from eprop_brian import *; print([m for m in {late} if m in sys.modules])"
    code = code.replace("*", "Network, Trainer, get_task")
    assert printed(code) == "[]"


def test_a_thread_may_be_the_first_to_need_brian2():
    code = (
        "import eprop_brian, threading\n"
        "threading.Thread(target=lambda: print(eprop_brian.LIF.name)).start()"
    )
    assert printed(code) == "lif"
