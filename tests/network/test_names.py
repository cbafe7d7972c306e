"""Users' names: whatever the toolkit calls its own quantities, a user's may be called so too.

The names are collected from what runs: the statements of every block, the arrays, the sources that
the devices compile, their templates. Neurons with these names must do what the same neurons with
plain names do: to the bit, or where they are compiled to rounding.
"""

import builtins
import keyword
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

import eprop_brian.devices
from eprop_brian import ALIF, LIF, Network, Neuron
from eprop_brian.devices.project import step_runner
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.steps.blocks import LOOP_INDICES
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.names import refuse_reserved
from eprop_brian.training.session import Session
from support.trials import random_trials

TEMPLATES = Path(eprop_brian.devices.__file__).parent / "templates"
#: What the C++ standard reserves, without what Python does too.
CPP_WORDS = re.findall(
    r"\w+",
    """
    alignas alignof asm auto bool case catch char class const constexpr decltype
    default delete do double dynamic_cast enum explicit export extern float friend goto
    inline long mutable namespace new noexcept nullptr operator private protected
    public register short signed sizeof static static_cast struct switch template this
    throw typedef typename union unsigned using virtual void volatile main std fmax
    fmin isnan isinf restrict NULL NAN INFINITY M_PI errno assert
    """,
)
N_IN, N_STEPS, SIZE = 3, 25, 2
#: Names of a neuron: a threshold, a surrogate's size, and pairs of a state and its decay.
N_NAMES = 32
#: Populations of a network.
N_ROWS = 4


def trials():
    return random_trials(3, (2, N_STEPS, N_IN), 1, p=0.4, n_targets=2)


def session_of(neurons, device, gradient="factored", weights=None, **options):
    network = Network.standard(N_IN, 1, neurons, gradient=gradient, c_reg=0.1, **options)
    if weights is None:
        weights = network.initial_weights(1)
        for name in ("w_in", "w_rec"):
            weights[name] = weights[name] * 2
    return Session(network, make_program(device), trials(), N_STEPS, weights)


@lru_cache
def generated_names() -> tuple[list[str], list[str]]:
    """Names of the statements, arrays, sources and templates that a user's quantity can have.

    First those that stand in one scope with users' names, or would without their form: loop indices
    and locals of the templates (an updater's own names are a state's with underscores before it),
    variables of the groups, C++'s words. Then all others.
    """
    close, others = {*LOOP_INDICES, *CPP_WORDS}, {*dir(builtins), *dir(np), *keyword.softkwlist}
    for path in TEMPLATES.iterdir():
        if "balanced" not in path.name:
            words = re.findall(r"[A-Za-z_]\w*", re.sub(r"#.*|//.*", "", path.read_text()))
            close.update(word for word in words if word.startswith("_"))
            others.update(words)
    learned = {"learned": {"tau_m": Learned()}}
    for gradient in ("factored", "online"):
        session = session_of([(LIF, 2), (ALIF, 2)], "runtime", gradient, **learned)
        code = step_runner(session.program.built).step_code
        others.update(*(re.findall(r"[A-Za-z_]\w*", block) for block in code.blocks.values()))
        # Of arrays, which are called after a group, some are enough.
        others.update(sorted(code.variables)[::10])
        others -= {*code.variables} - {*sorted(code.variables)[::10]}
        for group in session.program.built.groups.values():
            close.update(group.variables)
            close.update(group.__dict__.get("_stored_names", ()))
    return free_names(close), free_names(others - close)


def free_names(names):
    return sorted(n for n in {name.strip("_") for name in names} - {""} if is_free(n))


def is_free(name):
    try:
        refuse_reserved([name], "", ("I", "z"))
    except EquationError:
        return False
    return True


def neuron_of(names, name):
    """A neuron whose sums have one product each: their order cannot change a digit."""
    v_th, scale, *pairs = names
    states, decays = pairs[::2], pairs[1::2]
    v, a = states[0], states[-1]
    update = [
        f"{state} = {decay}*{state} + {before}"
        for state, decay, before in zip(states, decays, [*states[1:-1], "I", "z"], strict=True)
    ]
    parameters = {v_th: [0.6, 0.7], scale: 0.3, decays[0]: 0.8}
    # Shared, one for each neuron, and computed of another.
    parameters |= {decay: 0.2 if k % 2 else [0.1, 0.2] for k, decay in enumerate(decays[1::2])}
    return Neuron(
        name=name,
        update="\n".join(reversed(update)),
        threshold=f"{v} - {a} >= {v_th}",
        surrogate=f"{scale}/(1 + abs({v} - {a} - {v_th}))**2",
        parameters=parameters,
        constants={decay: f"{decays[0]}/4" for decay in decays[2::2]},
        initial={v: f"{v_th}/2"},
    )


def plain_names():
    return ["v_th", "scale", *(f"{kind}_{k}" for k in range(N_NAMES // 2 - 1) for kind in "sd")]


def rows_of(names):
    """The names in as many rows as it takes, the last filled up with plain ones.

    These are the last, as the first ones name what is learned in a population of plain names.
    """
    free = [name for name in reversed(plain_names()) if name not in names]
    names = [*names, *free[: -len(names) % N_NAMES]]
    return [names[first : first + N_NAMES] for first in range(0, len(names), N_NAMES)]


def result(rows, device, gradient):
    """All that comes of two updates of neurons with some names, a population a row."""
    neurons = [(neuron_of(row, f"kind_{k}"), SIZE) for k, row in enumerate(rows)]
    learned = {row[3]: Learned(maximum=2) for row in rows}
    session = session_of(neurons, device, gradient, learned=learned)
    losses = [session.run(trials(), 2).loss for _ in range(2)]
    assert session.spikes().mean() > 0.05
    matrices = [session.weights[name] for name in ("w_in", "w_rec", "w_out")]
    parameters = [session.weights[name] for name in session.network.learned_shapes]
    session.close()
    return [*losses, *matrices, *parameters]


@lru_cache
def plain_result(n_rows, gradient):
    return result([plain_names()] * n_rows, "runtime", gradient)


def check(rows, device, gradient):
    expected = plain_result(len(rows), gradient)
    # Compiled programs add in another order, and by name, as Brian2 sorts what a loop needs.
    tolerance = 0 if device == "runtime" else 1e-13
    for found, plain in zip(result(rows, device, gradient), expected, strict=True):
        np.testing.assert_allclose(found, plain, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_close_names_change_nothing(gradient):
    check(rows_of(generated_names()[0])[:N_ROWS], "runtime", gradient)


@pytest.mark.slow
@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_no_name_changes_anything(gradient):
    close, others = generated_names()
    assert {"feedback", "w", "L", "y", "psi", "gradient", "double", "register"} <= {*close}
    assert {"range", "sum"} <= {*others}
    # Names that no scope shares with users' names: half of them for each gradient program.
    rows = rows_of([*close, *others[gradient == "online" :: 2]])
    rows += [plain_names()] * (-len(rows) % N_ROWS)
    for first in range(0, len(rows), N_ROWS):
        check(rows[first : first + N_ROWS], "runtime", gradient)


@pytest.mark.devices("cpp", "cuda")
@pytest.mark.parametrize("gradient", ["factored", "online"])
def test_close_names_change_nothing_in_compiled_programs(device, gradient):
    # A program of each: a compiler's own words are among them all.
    rows = rows_of(generated_names()[0])[gradient == "online" :: 2]
    check(rows[:N_ROWS], device, gradient)
