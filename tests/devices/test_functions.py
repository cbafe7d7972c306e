"""Every function that an equation may name has NumPy's values on every device, and JAX's slopes."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from brian2.core.functions import DEFAULT_FUNCTIONS

from eprop_brian import Network, Neuron
from eprop_brian.equations import GRADIENT_DESCENT
from eprop_brian.network.learned import Learned
from eprop_brian.network.program import make_program
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import UNDIFFERENTIABLE, parse_expression
from eprop_brian.symbolic.functions import OFFERED
from eprop_brian.symbolic.step_map import step_map
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.bptt import BpttSession
from eprop_brian.training.session import Session
from support.arrays import deviation
from support.by_hand import gradient_of

N_IN, N_STEPS, SIZE, DT = 5, 30, 4, 1e-3
#: Functions that have a slope, where it is finite for any v.
SMOOTH = {
    "abs": ("abs(v - 0.1)", lambda v: np.abs(v - 0.1)),
    "arccos": ("arccos(0.5*tanh(v))", lambda v: np.arccos(0.5 * np.tanh(v))),
    "arcsin": ("arcsin(0.5*tanh(v))", lambda v: np.arcsin(0.5 * np.tanh(v))),
    "arctan": ("arctan(v)", np.arctan),
    "cos": ("cos(v)", np.cos),
    "cosh": ("cosh(v)", np.cosh),
    "exp": ("exp(v)", np.exp),
    "expm1": ("expm1(v)", np.expm1),
    "exprel": ("exprel(v)", lambda v: np.expm1(v) / v),
    "log": ("log(2 + v**2)", lambda v: np.log(2 + v**2)),
    "log10": ("log10(2 + v**2)", lambda v: np.log10(2 + v**2)),
    "log1p": ("log1p(v**2)", lambda v: np.log1p(v**2)),
    "sin": ("sin(v)", np.sin),
    "sinh": ("sinh(v)", np.sinh),
    "sqrt": ("sqrt(1 + v**2)", lambda v: np.sqrt(1 + v**2)),
    "tan": ("tan(0.5*tanh(v))", lambda v: np.tan(0.5 * np.tanh(v))),
    "tanh": ("tanh(v)", np.tanh),
    # What derivatives need beside: the logarithm of a base that is 0 at the start.
    "power": ("abs(v)**n", lambda v: np.abs(v) ** 1.7),
    # Brian2's constants.
    "constants": (
        "cos(pi*v/e) + exp(-inf) + 1/(1 + inf)",
        lambda v: np.cos(np.pi * v / np.e),
    ),
}
#: Functions of pieces, with the slope of the piece.
PIECES = {
    "clip": ("clip(3*v, -0.4, 0.5)", lambda v: np.clip(3 * v, -0.4, 0.5)),
    "clip_open": ("clip(v, 0, inf)", lambda v: np.clip(v, 0, None)),
    "clip_moving": ("clip(v**2, v/2, 2*v)", lambda v: np.minimum(np.maximum(v**2, v / 2), 2 * v)),
    "ceil": ("v*ceil(3*v)", lambda v: v * np.ceil(3 * v)),
    "floor": ("v*floor(3*v)", lambda v: v * np.floor(3 * v)),
    "int": ("v*int(3*v)", lambda v: v * np.trunc(3 * v)),
    "condition": (
        "v*int(v > 0.1 and not (v >= 0.5 or v < 0.2))",
        lambda v: v * ((v > 0.1) & ~((v >= 0.5) | (v < 0.2))),
    ),
    "remainder": ("v**2 % 0.3", lambda v: np.mod(v**2, 0.3)),
    "remainder_moving": ("0.7 % (1 + v**2)/3", lambda v: np.mod(0.7, 1 + v**2) / 3),
    "sign": ("v**2*sign(v)", lambda v: v**2 * np.sign(v)),
    "timestep": ("v*timestep(abs(v)*second, 0.1*second)", lambda v: v * _steps(np.abs(v), 0.1)),
}
#: The same of parameters.
STEPS = {
    "ceil": ("ceil(2.3*v_th)", 2.0),
    "clip": ("clip(v_th, -1, 0.2)", 0.2),
    "floor": ("floor(-2.3*v_th)", -2.0),
    "int": ("int(4.9*v_th)", 2.0),
    "sign": ("sign(-v_th)", -1.0),
    "timestep": ("timestep(3*dt, dt)", 3.0),
}
V_TH = 0.6
VARIED = {**SMOOTH, **PIECES}


def _steps(time, dt):
    return np.trunc((time + 1e-3 * dt) / dt)


RAISED = f"0.01*({' + '.join(text for text, _ in STEPS.values())})"
NEURON = Neuron(
    name="f",
    update="v = alpha*v + I - v_th*z\n"
    + "\n".join(f"f_{name} = {text}" for name, (text, _) in VARIED.items()),
    threshold=f"v + 0.02*({' + '.join(f'f_{name}' for name in VARIED)}) >= v_th + {RAISED}",
    surrogate="0.3*clip(1 - abs(v - v_th), 0, 1)"
    f" + 0.01*({' + '.join(text for text, _ in SMOOTH.values())})**2",
    parameters={"tau_m": "20 ms", "v_th": V_TH, "n": 1.7},
    constants={"alpha": "exp(-dt/tau_m)"},
    detach=(),
)
NETWORK = Network.standard(
    N_IN,
    2,
    [(NEURON, SIZE)],
    optimizer=GRADIENT_DESCENT,
    connectivity={"w_rec": 0.0},
    learned={"n": Learned()},
    gradient="factored",
)


def run(make, trials, dtype="float64"):
    weights = NETWORK.initial_weights(2)
    weights["w_in"] *= 2
    session = make(trials, weights)
    session.run(trials, trials.n_trials)
    return session


@pytest.fixture(scope="module")
def trials():
    rng = np.random.default_rng(1)
    return Trials(
        inputs=rng.random((2, N_STEPS, N_IN)) < 0.4,
        targets=rng.normal(size=(2, N_STEPS, 2)),
        pattern=np.arange(2),
        target=np.arange(2),
    )


@pytest.fixture(scope="module")
def in_jax(trials):
    return run(
        lambda t, w: BpttSession(NETWORK.with_options(gradient="bptt"), t, N_STEPS, w), trials
    )


def test_every_function_is_tried():
    assert {*SMOOTH, *STEPS} - {"power", "constants"} == {*OFFERED} and {*STEPS} < {*PIECES}
    assert not {"rand", "randn", "poisson"} & {*OFFERED}
    assert set(UNDIFFERENTIABLE.values()) == {*STEPS, "%"}
    # Whatever an error message offers.
    with pytest.raises(EquationError) as error:
        parse_expression("sine(v)", "")
    offered = str(error.value).split("Functions: ")[1].split(", ")
    assert offered == [*OFFERED] and {*offered} <= {*DEFAULT_FUNCTIONS}


@pytest.mark.parametrize("first", ["exogenous", "functions"])
def test_functions_of_programs_are_not_offered(first):
    """Whichever module is imported first."""
    code = (
        f"import eprop_brian.symbolic.{first}, eprop_brian.symbolic.exogenous\n"
        "from eprop_brian.symbolic.functions import OFFERED\n"
        "print(*OFFERED)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*OFFERED]
    assert not [name for name in OFFERED if name.startswith("_")]


def test_values_are_those_of_numpy_and_slopes_those_of_jax(device, trials, in_jax):
    session = run(lambda t, w: Session(NETWORK, make_program(device), t, N_STEPS, w), trials)
    v = session.program.get("f.v").astype(float)
    assert np.all(np.abs(v) > 1e-3) and session.spikes().sum() > 10
    for name, (_, function) in VARIED.items():
        found = session.program.get(f"f.f_{name}")
        np.testing.assert_allclose(found, function(v), rtol=1e-13, err_msg=name)
    total = sum(function(v) for _, function in VARIED.values())
    margin = v + 0.02 * total - V_TH - 0.01 * sum(value for _, value in STEPS.values())
    np.testing.assert_array_equal(session.program.get("f.z") > 0, margin >= 0)
    np.testing.assert_array_equal(session.spikes(), in_jax.spikes())
    found, expected = gradient_of(session), gradient_of(in_jax)
    assert not np.any(found.pop("w_rec")) and not np.any(expected.pop("w_rec"))
    assert np.all(expected["f.n"] != 0)
    assert deviation(found, expected) <= 1e-11
    session.close()


@pytest.mark.parametrize("name", sorted(set(STEPS) - {"clip"}))
def test_a_parameter_does_not_learn_through_a_step(name):
    text = {"timestep": "timestep(p*second, dt)"}.get(name, f"{name}(p)")
    neuron = replace(NEURON, update=f"v = 0.9*v + I + {text}", parameters={"p": 1.0})
    neuron = replace(
        neuron, threshold="v >= 1", surrogate="clip(1 - abs(v - 1), 0, 1)", constants={}
    )
    with pytest.raises(EquationError, match=f"'{name}' has no slope"):
        derive(step_map(neuron), ["p"])
