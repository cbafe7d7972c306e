"""Environment files: what is written reads back, what is wrong is named with its line."""

import numpy as np
import pytest
from brian2 import ms

from eprop_brian.equations.environments import ACROBOT, CARTPOLE, MOUNTAIN_CAR
from eprop_brian.symbolic.environment_file import read_environment, write_environment
from eprop_brian.symbolic.environment_run import EnvironmentRun, drawn_by
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.tasks import get_task
from eprop_brian.tasks.environment_file import EnvironmentFile
from support.acting import assert_same_environment

RAIL = """\
[environment]
name = "rail"
model = '''
x : meter
v : meter/second
'''
n_actions = 2
most_actions = 200
action_every = "4 ms"
step = '''
v += tau*(2*action - 1)*force/mass
x += tau*v
'''
reward = "1"
done = "abs(x) > x_limit"

[initial]
x = "(rand() - 0.5)*x_limit"

[parameters]
x_limit = "2 meter"
force = "3 newton"
mass = "500 gram"
tau = "20 ms"

[[codes]]
size = 3
spike = "rand() < p"

[codes.parameters]
p = [0.1, 0.2, 0.3]

[[codes]]
size = 10
spike = "rand() < 0.5*exp(-((x - centre)/width)**2/2)"
parameters = { width = "2*x_limit/(N - 1)", centre = "i*width - x_limit" }
"""


@pytest.fixture
def write(tmp_path):
    """Write a text as the file my.toml."""

    def written(text):
        path = tmp_path / "my.toml"
        path.write_text(text)
        return path

    return written


def test_file_is_read(write):
    environment = read_environment(write(RAIL))
    assert environment.n_inputs == 13
    assert environment.action_every / ms == pytest.approx(4, rel=1e-15)
    run = EnvironmentRun(environment, drawn_by(np.random.default_rng(0)))
    run.states = {"x": 0.5, "v": 1.0}
    assert run.act(1) == (1.0, False)
    assert run.states == pytest.approx({"x": 0.5 + 0.02 * 1.12, "v": 1.12}, rel=1e-14)


@pytest.mark.parametrize("name", ["rail", "cartpole", "acrobot", "mountain-car", "t-maze"])
def test_what_is_written_reads_back(name, write):
    library = {e.name: e for e in (CARTPOLE, ACROBOT, MOUNTAIN_CAR)}
    if name == "rail":
        environment = read_environment(write(RAIL))
    else:
        environment = library.get(name) or get_task(name).environment
    again = read_environment(write(write_environment(environment)))
    assert_same_environment(environment, again)
    fields = ("name", "source", "most_actions", "n_actions", "action_size")
    assert [getattr(again, f) for f in fields] == [getattr(environment, f) for f in fields]
    for time in ("action_every", "action_window"):
        first, second = getattr(environment, time), getattr(again, time)
        assert (first is None) == (second is None)
        assert first is None or float(second) == pytest.approx(float(first), rel=1e-15)
    # What was read from what was written is written as the same text.
    assert write_environment(again) == write_environment(environment)


# What is replaced in RAIL, and by what; the line's number and text in the error, and the problem.
MISTAKES = {
    "an unknown name": ("x += tau*v", "x += tau*vv", 12, "x = x + (tau*vv)", "'vv' is not defined"),
    "an unknown key": ("done =", "ends =", 15, "ends", "unknown key of .environment. 'ends'"),
    "an unknown table": ("[initial]", "[start]", 17, "start", "unknown table 'start'"),
    "a key that is missing": (
        "most_actions = 200\n",
        "",
        1,
        "[environment]",
        "has no most_actions",
    ),
    "a number in place of text": (
        "step = '''\n",
        "step = 3\nreset = '''\n",
        11,
        "reset",
        "unknown",
    ),
    "text in place of a number": ("= 200", "= '200'", 8, "most_actions = '200'", "a whole number"),
    "a unit that does not fit": ("abs(x) > x", "abs(v) > x", 15, "done = abs(v) >", "units do not"),
    "no time": ('"4 ms"', '"4 mV"', 9, "action_every = 4 mV", "must be a time"),
    "a parameter without a unit": (
        '"2 meter"',
        "2",
        18,
        "x = (rand() - 0.5)*x_limit",
        "has unit 1",
    ),
    "a parameter that is no number": ('"3 newton"', "true", 22, "force = True", "must be a number"),
    "an initial value": ("x = ", "y = ", 18, "y = (rand()", "'y' is not defined"),
    "a key of a code": ("p = [0.1", "x = [0.1", 31, "x = [0.1", "is a name of the environment"),
    "a size": (
        "size = 3",
        "size = 4",
        31,
        "p = [0.1, 0.2, 0.3]",
        "has 3 values, and the code has 4",
    ),
    "a size that is missing": ("size = 10\n", "", None, "[[codes]]", "has no size"),
    "a key of a code that is none": ("size = 10", "number = 10", 34, "number", "unknown key of"),
    "a second code": (
        "rand() < 0.5*exp(-((x",
        "rand() < 0.5*exp(-((y",
        35,
        "spike = ",
        "'y' is not",
    ),
    "a code's parameter": ('"i*width -', '"j*width -', 36, "j*width - x_limit", "'j' is not"),
    "a reward that simplifies to no number": (
        '"1"',
        '"log(-1.0 - 0*action)"',
        14,
        "reward = log(-1.0 - 0*action)",
        r"`log\(-1.0 - 0\*action\)` comes to a number that is not finite",
    ),
    "code that is run": (
        '"1"',
        "\"__import__('os')\"",
        14,
        "reward = __import__('os')",
        "function",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_named_with_its_line(mistake, write):
    old, new, number, line, problem = MISTAKES[mistake]
    assert old in RAIL
    with pytest.raises(EquationError, match=problem) as caught:
        read_environment(write(RAIL.replace(old, new, 1)))
    assert caught.value.line.startswith(line)
    place = "my.toml, line " + f"{number}," if number else "my.toml"
    assert caught.value.where.startswith(place), caught.value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("environment = 3", "is missing; begin with"),
        ("[environment", "is not readable as TOML"),
        (RAIL + "\n[initial.x]\n", "is not readable as TOML"),
        (RAIL.partition("[[codes]]")[0] + "[codes]\nsize = 3", "each with the header"),
        (RAIL.partition("[[codes]]")[0], "without a code, no input"),
    ],
)
def test_what_is_no_environment_file(text, problem, write):
    with pytest.raises(EquationError, match=problem):
        read_environment(write(text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(EquationError, match="environment file:\n.*none.toml\nNo such file"):
        read_environment(tmp_path / "none.toml")


def test_a_task_of_a_file(write):
    task = get_task("environment", file=str(write(RAIL)), solved_at=150)
    assert isinstance(task, EnvironmentFile)
    assert (task.n_steps, task.n_inputs, task.n_outputs) == (800, 13, 3)
    assert task.solved_return == 150
    assert get_task(f"environment:{write(RAIL)}").file == task.file
    assert task.trials(1, "train", 0, 2).environment is task.environment


def test_a_task_without_a_file():
    with pytest.raises(ValueError, match="'environment' needs the setting file, .*: environment:"):
        get_task("environment")
