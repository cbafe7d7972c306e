"""Environments as equations: the statements they become, and mistakes named with their line."""

import re
from dataclasses import replace

import numpy as np
import pytest
from brian2 import meter, ms, second

from eprop_brian.equations.codes import (
    analog_code,
    latency_code,
    poisson_code,
    population_code,
)
from eprop_brian.equations.environment import Code, Environment
from eprop_brian.symbolic.environment import environment_map
from eprop_brian.symbolic.environment_run import EnvironmentRun, drawn_by
from eprop_brian.symbolic.errors import EquationError

RAIL = Environment(
    name="rail",
    model="""
        x : meter
        v : meter/second
    """,
    initial={"x": "(2*rand() - 1)*x_limit/2", "v": "0.1*randn()*x/second"},
    step="""
        push = (2*action - 1)*force
        v += tau*push/mass
        x += tau*v
    """,
    reward="-abs(x)/x_limit",
    done="abs(x) > x_limit",
    parameters={
        "x_limit": 2 * meter,
        "force": "3 newton",
        "mass": "500 gram",
        "tau": 20 * ms,
        "half": "mass/2",
    },
    codes=[population_code("x", "-2 meter", 2 * meter, 4)],
    n_actions=2,
    most_actions=50,
)
CODE = Code(3, spike="rand() < p", parameters={"p": 0.2})
VALUES = analog_code("x", "-x_limit", "x_limit")


def test_statements_are_the_users_with_names_of_a_program():
    step = environment_map(RAIL).step
    assert step.statements == (
        "_e4_push = (2*action - 1)*e5_force",
        "e1_v = e1_v + (e3_tau*_e4_push/e4_mass)",
        "e1_x = e1_x + (e3_tau*e1_v)",
        "reward = -abs(e1_x)/e7_x_limit",
        "done = int(abs(e1_x) > e7_x_limit)",
    )
    assert step.draws == ()


def test_initial_values_draw_in_the_order_of_the_model():
    mapped = environment_map(replace(RAIL, initial=dict(reversed(RAIL.initial.items()))))
    assert mapped.states == ("e1_x", "e1_v")
    assert mapped.initial.statements == (
        "e1_x = (2*_draw_0 - 1)*e7_x_limit/2",
        "e1_v = 0.1*_draw_1*e1_x/e6_second",
    )
    assert mapped.initial.draws == ("uniform", "normal")


def test_parameters_are_in_si_units():
    parameters = environment_map(RAIL).parameters
    wanted = {"e7_x_limit": 2, "e5_force": 3, "e4_mass": 0.5, "e3_tau": 0.02, "e4_half": 0.25}
    assert parameters == pytest.approx({**wanted, "e6_second": 1}, rel=1e-15)


def test_a_code_has_values_of_its_inputs():
    (code,) = environment_map(RAIL).codes
    assert code.section.statements == (
        "z = int(_draw_0 < c4_peak*exp(-((e1_x - c6_centre)/c7_spacing)**2/2))",
    )
    assert code.section.draws == ("uniform",)
    np.testing.assert_allclose(code.parameters["c6_centre"], [-2, -2 / 3, 2 / 3, 2], rtol=1e-15)
    assert code.parameters["c7_spacing"] == pytest.approx(4 / 3, rel=1e-15)


def test_places_and_times_of_a_code():
    code = Code(5, value="i/N + t/t_action + n_seen*dt/second", parameters={"n_seen": 3})
    mapped = environment_map(replace(RAIL, codes=[code]))
    (section,) = (c.section for c in mapped.codes)
    assert section.statements == (
        "z = index/5.0 + episode_time/time_of_action + c6_n_seen*dt/c6_second",
    )
    assert mapped.analog


def test_continuous_actions_have_numbers():
    step = "a = action_0*action_1 + n\nx += a*meter; v = v"
    environment = replace(RAIL, n_actions=0, action_size=2, step=step)
    statements = environment_map(environment).step.statements
    assert statements[0] == "_e1_a = action_0*action_1 + n_action"
    assert environment.action_outputs == 2
    single = replace(RAIL, n_actions=0, action_size=1, step="x += action*meter")
    assert environment_map(single).step.statements[0] == "e1_x = e1_x + (action*e5_meter)"


def test_zero_fits_every_unit():
    step = environment_map(replace(RAIL, step="x = 0; v = 0.0")).step
    assert step.statements[:2] == ("e1_x = 0", "e1_v = 0.0")


def test_without_a_condition_an_episode_is_not_done():
    assert environment_map(replace(RAIL, done="")).step.statements[-1] == "done = 0"


def test_an_external_environment_is_not_run():
    senses = Code(2, value="observation", senses=[1, 0])
    environment = Environment("outside", "", [senses], 50, n_actions=2, external=lambda: None)
    mapped = environment_map(environment)
    assert mapped.step.statements == ("reward = 0", "done = 0")
    with pytest.raises(ValueError, match="'outside' is external: it has no equations to run"):
        EnvironmentRun(environment, drawn_by(np.random.default_rng(0)))


# What is wrong with RAIL when some fields are others, with the line at fault.
MISTAKES = {
    "an unknown name": (
        {"step": "x += tau*vv"},
        "step",
        "x = x + (tau*vv)",
        r"'vv' is not defined \(did you mean 'v'\?\). Defined here: action, force, ",
    ),
    "a unit that does not fit": (
        {"step": "x += v"},
        "step",
        "x = x + (v)",
        "units do not fit",
    ),
    "another unit": ({"step": "x = v"}, "step", "x = v", "has unit m/s where m is needed"),
    "an initial value's unit": (
        {"initial": {"v": "1*meter"}},
        "initial",
        "v = 1*meter",
        "has unit m where m/s",
    ),
    "an initial value that reads a later state": (
        {"initial": {"x": "v*tau"}},
        "initial",
        "x = v*tau",
        "'v' is not defined",
    ),
    "the initial value of no state": (
        {"initial": {"y": "0"}},
        "initial",
        "y = 0",
        "'y' is not defined.*Defined here: v, x",
    ),
    "a state that is not declared": (
        {"step": "x += tau*v; vx = 3*v"},
        "step",
        "vx = 3*v",
        "'vx' is no state of the environment.*and nothing reads it: declare it in `model`. "
        "Declared there: x, v",
    ),
    "a state that is not declared and read": (
        {"step": "y += 1"},
        "step",
        "y = y + (1)",
        "'y' is not defined",
    ),
    "a temporary of two units": (
        {"step": "a = x; a = v; v = a/tau*second"},
        "step",
        "a = v",
        "has unit m/s, and 'a' had m above",
    ),
    "a parameter that is assigned": (
        {"step": "tau = 2*tau"},
        "step",
        "tau = 2*tau",
        r"'tau' is a parameter, which keeps its value.*\(states: x, v\)",
    ),
    "an action that is assigned": (
        {"step": "action = 1"},
        "step",
        "action = 1",
        "'action' is set by the toolkit; choose another name",
    ),
    "a reward in the step": (
        {"step": "reward = 1"},
        "step",
        "reward = 1",
        "write its expression into `reward`",
    ),
    "a unit that is assigned": ({"step": "ms = 1"}, "step", "ms = 1", "'ms' is a unit"),
    "a reserved temporary": ({"step": "dt = 1"}, "step", "dt", "is a reserved name; rename it"),
    "a reserved state": ({"model": "n : 1"}, "model", "n", "is a reserved name; rename it"),
    "a reserved parameter": (
        {"parameters": {**RAIL.parameters, "action": 1}},
        "parameters",
        "action",
        "is a reserved name",
    ),
    "a state that is a parameter": (
        {"model": "x : meter\nv : meter/second\ntau : second"},
        "model",
        "tau",
        "is both a state and a parameter",
    ),
    "an equation in the model": (
        {"model": "dx/dt = v : meter\nv : meter/second"},
        "model",
        "dx/dt = v : metre",
        "only declares a state and its unit, e.g. `x : meter`; what changes it stands in `step`",
    ),
    "a line that is no declaration": ({"model": "x"}, "model", "x", "cannot be read"),
    "no statement": ({"step": "x"}, "step", "x", "is not a statement of the form"),
    "an action that does not exist": (
        {"step": "x += tau*v*int(action == 2)"},
        "step",
        "x = x + (tau*v*int(action == 2))",
        "there is no action 2: with n_actions = 2, actions are 0 ... 1",
    ),
    "a negative action": ({"done": "-1 != action"}, "done", "done = -1 != action", "no action -1"),
    "a continuous action that does not exist": (
        {"n_actions": 0, "action_size": 2, "step": "x += action_2*meter"},
        "step",
        "x = x + (action_2*meter)",
        r"'action_2' is not defined \(did you mean 'action_[01]'\?\)",
    ),
    "a reward with a unit": ({"reward": "-x"}, "reward", "reward = -x", "has unit m where 1"),
    "a reward that is a condition": ({"reward": "x > x_limit"}, "reward", "reward = x >", "is a"),
    "an end that is a number": ({"done": "x/x_limit"}, "done", "done = x/x_limit", "a comparison"),
    "an end of two units": ({"done": "x > tau"}, "done", "done = x > tau", "units do not fit"),
    "a random number with an argument": (
        {"step": "x += rand(2)*meter"},
        "step",
        "x = x + (rand(2)*meter)",
        r"rand draws one number: write rand\(\)",
    ),
    "a function that is none": (
        {"step": "x += sine(1)*meter"},
        "step",
        "x = x + (sine(1)*meter)",
        "'sine' is not a function here",
    ),
    "a choice between units": (
        {"step": "x = where(int(x > x_limit), x, tau)"},
        "step",
        "x = where(int(x > x_limit), x, tau)",
        "chooses between values of different units, m and s",
    ),
    "a condition in the place of a number": (
        {"step": "x = x*(rand() < 0.5)"},
        "step",
        "x = x*(rand() < 0.5)",
        r"`rand\(\) < 0.5` is a condition where a number is needed: write int\(rand\(\) < 0.5\)",
    ),
    "more actions than can be": ({"n_actions": 10**9}, "", "n_actions = 10000", "is more than"),
    "a derivative that is stopped": ({"reward": "detached(x)"}, "reward", "reward =", "derivative"),
    "code that is run": (
        {"step": "x = __import__('os').getpid()"},
        "step",
        "x = __import__('os').getpid()",
        "not a function here",
    ),
    "both kinds of actions": (
        {"action_size": 1},
        "",
        "n_actions = 2, action_size = 1",
        "either discrete .* or continuous .*: set one of the two",
    ),
    "no kind of actions": ({"n_actions": 0}, "", "n_actions = 0, action_size = 0", "either disc"),
    "one action": ({"n_actions": 1}, "", "n_actions = 1", "leaves nothing to choose"),
    "half an action": ({"n_actions": 2.5}, "", "n_actions = 2.5", "a whole number, 0 or more"),
    "no time to act": ({"most_actions": 0}, "", "most_actions = 0", "a whole number, 1 or more"),
    "a window that is too long": (
        {"action_window": "6 ms"},
        "",
        "action_window = 6. ms",
        "is longer than the time between two actions, 5. ms",
    ),
    "a step that is no text": ({"step": 3}, "", "step = 3", "must be text"),
    "parameters that are none": ({"parameters": None}, "", "parameters = None", "a mapping"),
    "several values of a parameter": (
        {"parameters": {**RAIL.parameters, "half": [1.0, 2.0]}},
        "parameters",
        "half = [1.0, 2.0]",
        "must be one number",
    ),
    "equations of an external environment": (
        {"external": lambda: None, "model": "", "initial": {}},
        "",
        "step = ",
        "is not for an environment that runs outside the program",
    ),
    "no code": ({"codes": []}, "", "codes", "is empty: without a code"),
    "a code that is none": ({"codes": ["x"]}, "code 1", "'x'", "must be a Code"),
    "a code without spikes and values": (
        {"codes": [CODE, Code(2)]},
        "code 2",
        "spike = '', value = ''",
        "needs either `spike`, a condition such as",
    ),
    "a code with both": (
        {"codes": [replace(CODE, value="1")]},
        "code 1",
        "spike = 'rand() < p', value = '1'",
        "needs either",
    ),
    "codes of both kinds": (
        {"codes": [VALUES, CODE]},
        "code 2",
        "spike = rand() < p",
        "gives spikes, where another code of the environment gives values",
    ),
    "an observation of another size": (
        {"codes": [CODE, replace(CODE, parameters={"p": [0.1, 0.2]})]},
        "code 2, parameters",
        "p = [0.1, 0.2]",
        "has 2 values, and the code has 3 inputs",
    ),
    "a code of no inputs": ({"codes": [replace(CODE, size=0)]}, "code 1", "size = 0", "1 or more"),
    "a probability in place of a spike": (
        {"codes": [replace(CODE, spike="p")]},
        "code 1, spike",
        "spike = p",
        "is a number where a condition is needed",
    ),
    "a value with a unit": (
        {"codes": [Code(1, value="x")]},
        "code 1, value",
        "value = x",
        "has unit m where 1 is needed: divide by it",
    ),
    "a code that reads the action": (
        {"codes": [Code(1, spike="action > 0")]},
        "code 1, spike",
        "spike = action > 0",
        "'action' is not defined",
    ),
    "a name of the environment in a code": (
        {"codes": [replace(CODE, parameters={"p": 0.1, "x": 2})]},
        "code 1, parameters",
        "x = 2",
        "is a name of the environment too; rename it here",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_named_with_its_line(mistake):
    change, place, line, problem = MISTAKES[mistake]
    with pytest.raises(EquationError) as caught:
        environment_map(replace(RAIL, **change))
    assert caught.value.where == ", ".join(["environment 'rail'", *([place] if place else [])])
    assert caught.value.line.startswith(line)
    assert re.search(problem, caught.value.problem)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"action_every": 5}, "action_every must be a time, for example 5.ms or '5 ms', not 5"),
        ({"action_every": "5 mV"}, "action_every must be a time"),
        ({"action_every": "0 ms"}, "action_every must be positive and finite"),
        ({"action_window": 3 * meter}, "action_window must be a time"),
    ],
)
def test_times_are_times(change, problem):
    with pytest.raises(ValueError, match=f"environment 'rail': {problem}"):
        replace(RAIL, **change)


def test_times_may_be_text():
    environment = replace(RAIL, action_every="0.02 second", action_window="10 ms")
    assert float(environment.action_every / second) == pytest.approx(0.02, rel=1e-15)
    assert float(environment.action_window / second) == pytest.approx(0.01, rel=1e-15)


def sensed(code, since_action=0.0, time=0.0, seed=0, **states):
    """What the inputs of a code are at some states, in a step of 1 ms."""
    run = EnvironmentRun(replace(RAIL, codes=[code]), drawn_by(np.random.default_rng(seed)))
    run.states |= states
    return run.sense(time, since_action, 1e-3)


def test_population_code_has_gaussian_tuning_curves():
    code = population_code("x", "-2 meter", "2 meter", 5, peak=0.4)
    counts = sum(sensed(code, x=0.5, seed=seed).astype(int) for seed in range(400))
    wanted = 0.4 * np.exp(-((0.5 - np.linspace(-2, 2, 5)) ** 2) / 2)
    np.testing.assert_allclose(counts / 400, wanted, atol=4 * np.sqrt(0.24 / 400))


def test_latency_code_spikes_once_in_the_order_of_closeness():
    code = latency_code("x", "-2 meter", "2 meter", 5, window="20 ms")
    spikes = np.array([sensed(code, since_action=k * 1e-3, x=1.0) for k in range(25)])
    # 20 ms * (1 - exp(-d**2/2)) at distances of 3, 2, 1, 0 and 1 spacings, cut to steps.
    assert [np.flatnonzero(s).tolist() for s in spikes.T] == [[19], [17], [7], [0], [7]]


def test_poisson_code_fires_while_its_condition_holds():
    code = poisson_code("500 Hz", 4, when="t > 10*ms or x > x_limit")
    assert not any(sensed(code, time=0.005, seed=seed).any() for seed in range(20))
    late = np.mean([sensed(code, time=0.02, seed=seed) for seed in range(200)])
    assert late == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 800))


def test_analog_code_is_scaled():
    assert sensed(VALUES, x=1.0) == pytest.approx([0.5], rel=1e-15)
    assert sensed(VALUES, x=-2.0) == pytest.approx([-1.0], rel=1e-15)


def test_a_code_of_preferred_values_has_two_inputs():
    with pytest.raises(ValueError, match="size must be 2 inputs or more"):
        population_code("x", 0, 1, 1)


def test_an_environment_prints_itself():
    text = str(RAIL)
    assert "push = (2*action - 1)*force" in text
    assert "0 ... 1, every 5. ms, at most 50" in text
