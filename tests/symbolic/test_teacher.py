"""Teachers: field, derivative and step against independent numerics; files; errors with lines."""

import numpy as np
import pytest
from brian2 import Hz, ms, second
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from eprop_brian.equations.teachers import LORENZ, TEACHERS, Teacher, linear_teacher
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.teacher import (
    read_teacher,
    teacher_from_string,
    teacher_map,
    write_teacher,
)

A = [[-0.5, 6.0, 0.0], [-6.0, -0.5, 2.0], [0.0, 0.0, -3.0]]
ALL = [*TEACHERS.values(), linear_teacher(A)]
FUNCTIONS = {"sin": np.sin, "cos": np.cos, "exp": np.exp, "sqrt": np.sqrt, "__builtins__": {}}

FILE = """\
[teacher]
name = "mine"
model = '''
rate = 1/tau : Hz
dx/dt = rate*(y - x) : 1
dy/dt = -rate*x**3 : 1
'''
source = "me"

[parameters]
tau = "50 ms"

[initial]
x = 0.5
"""


@pytest.fixture(scope="module", params=ALL, ids=lambda teacher: teacher.name)
def found(request):
    """Each teacher as code and as a function."""
    return teacher_map(request.param)


@pytest.fixture
def read(tmp_path):
    """Read a text as the file my.toml."""

    def read_text(text):
        path = tmp_path / "my.toml"
        path.write_text(text)
        return read_teacher(path)

    return read_text


def run_code(found, x, inputs, dt):
    """Run the statements of a step as NumPy's arithmetic, for every input."""
    names = dict(found.parameters) | {"dt": dt}
    names |= dict(zip(found.states, x, strict=True))
    for c in inputs:
        names |= {f"c_{state}": value for state, value in zip(found.states, c, strict=True)}
        for line in found.code:
            name, _, expression = line.partition(" = ")
            names[name] = eval(expression, FUNCTIONS, names)
    return np.array([names[state] for state in found.states])


def test_derivative_is_that_of_the_field(found):
    step = 1e-6 * np.eye(len(found.states))
    for x in np.random.default_rng(1).uniform(-1, 1, (5, len(step))):
        differences = (found.field(x + step) - found.field(x - step)).T / 2e-6
        wanted = found.jacobian(x)
        assert differences == pytest.approx(wanted, abs=1e-6 * np.max(np.abs(wanted)))


def test_field_of_many_points_is_that_of_each(found):
    x = np.random.default_rng(2).uniform(-1, 1, (4, 3, len(found.states)))
    assert found.field(x).shape == x.shape
    assert np.array_equal(found.field(x)[2, 1], found.field(x[2, 1]))


def test_step_solves_the_equations(found):
    dt = 2e-3
    inputs = np.random.default_rng(3).normal(size=(10, len(found.states)))
    x = found.initial + 0.1
    wanted = x
    for c in inputs:
        solution = solve_ivp(
            lambda t, y, c=c: found.field(y) + c, (0, dt), wanted, rtol=1e-11, atol=1e-13
        )
        wanted = solution.y[:, -1]
    assert run_code(found, x, inputs, dt) == pytest.approx(wanted, abs=1e-8)


def test_step_is_of_order_4():
    found = teacher_map(LORENZ)
    x = np.array([0.4, -0.3, 0.2])
    exact = solve_ivp(lambda t, y: found.field(y), (0, 0.08), x, rtol=1e-12, atol=1e-14).y[:, -1]
    coarse, fine = (
        np.linalg.norm(run_code(found, x, np.zeros((n, 3)), 0.08 / n) - exact) for n in (8, 16)
    )
    assert np.log2(coarse / fine) == pytest.approx(4, abs=0.5)


def test_linear_teacher():
    found = teacher_map(linear_teacher(A, [1, 2, 3]))
    assert found.states == ("x1", "x2", "x3")
    assert found.jacobian(np.zeros(3)) == pytest.approx(np.array(A))
    moved = run_code(found, found.initial, np.zeros((100, 3)), 1e-4)
    assert moved == pytest.approx(expm(np.array(A) * 0.01) @ [1, 2, 3], abs=1e-12)


def test_a_linear_teacher_may_have_ten_states_and_a_state_that_rests():
    matrix = np.diag(np.arange(11.0))
    found = teacher_map(linear_teacher(matrix))
    assert found.jacobian(np.zeros(11)) == pytest.approx(matrix)


@pytest.mark.parametrize(
    ("matrix", "initial", "message"),
    [
        ([[1.0, 2.0]], None, "must be square, not 1 x 2"),
        ([], None, "must be square"),
        ([[np.nan]], None, "must be finite"),
        ([[1.0]], [1, 2], "2 initial values for 1 states"),
    ],
)
def test_what_is_no_linear_system(matrix, initial, message):
    with pytest.raises(ValueError, match=message):
        linear_teacher(matrix, initial)


def test_parameters_can_be_replaced():
    assert teacher_map(LORENZ.with_parameters(speed=2 * Hz)).parameters["speed"] == 2.0
    message = r"unknown parameter 'sped' \(did you mean 'speed'\?\). There are: speed, prandtl"
    with pytest.raises(ValueError, match=message):
        LORENZ.with_parameters(sped=1)


def test_equations_alone_with_units_in_them():
    found = teacher_map(
        teacher_from_string("dx/dt = (x - x**3)/second : 1; dy/dt = -y/(20*ms) : 1")
    )
    assert found.states == ("x", "y")
    found = teacher_map(teacher_from_string("dx/dt = (x - x**3)/second : 1"))
    assert found.field(np.array([2.0])) == pytest.approx([-6.0])
    assert found.jacobian(np.array([2.0])) == pytest.approx(np.array([[-11.0]]))


def test_quantities_and_strings_are_the_same_parameter():
    model = "dx/dt = -x/tau : 1"
    for value in (20 * ms, 0.02 * second, "20 ms", "0.02 second"):
        assert teacher_map(Teacher("t", model, {"tau": value})).parameters["tau"] == 0.02


# --- files ----------------------------------------------------------------------------------------


def test_every_teacher_reads_back(found, read):
    first, second = found, teacher_map(read(write_teacher(found.teacher)))
    assert second.teacher.name == first.teacher.name
    assert second.code == first.code
    assert second.parameters == first.parameters
    assert np.array_equal(second.initial, first.initial)


def test_file(read):
    found = teacher_map(read(FILE))
    assert found.teacher.source == "me"
    assert found.states == ("x", "y")
    assert found.initial.tolist() == [0.5, 0.0]
    assert found.field(np.array([1.0, 2.0])) == pytest.approx([20, -20])


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("y - x)", "z - x)", 5, "'z'"),
        ("rate*(y - x) : 1", "y - x : 1", 5, "unit"),
        ("rate*(y - x) : 1", "rate*(y - x : 1", None, "cannot be read"),
        ('"50 ms"', '"50 mz"', 11, "'mz' is not a unit"),
        ('"50 ms"', "true", 11, "must be a number or a string with a unit"),
        ("x = 0.5", "x = inf", 14, "must be a finite number"),
        ("x = 0.5", 'x = "a"', 14, "must be a finite number"),
        ("x = 0.5", "z = 0.5", 14, "'z'"),
        ("source", "sauce", 8, "did you mean 'source'"),
        ("[initial]", "[initials]", 13, "did you mean 'initial'"),
        ('name = "mine"', "name = 3", 1, "needs a string 'name'"),
        ('name = "mine"', "name = mine", 2, "not readable as TOML"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_line(old, new, line, message, read):
    assert old in FILE
    with pytest.raises(EquationError) as error:
        read(FILE.replace(old, new))
    assert "my.toml" in error.value.where
    if line:
        assert f"my.toml, line {line}" in error.value.where
    assert message in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(EquationError, match="No such file"):
        read_teacher(tmp_path / "none.toml")


# --- mistakes in equations ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "parameters", "initial", "message"),
    [
        ("x = 3 : 1", {}, {}, "has no differential equation"),
        ("dx/dt = -x/ms : volt", {}, {}, "must be dimensionless"),
        ("dx/dt = -x : 1", {}, {}, "unit"),
        ("dx/dt = -q*x/ms : 1", {}, {}, "'q'"),
        ("dx/dt = -x/tau : 1", {"tau": [1, 2]}, {}, "must be one number|unit"),
        ("dx/dt = -x/tau : 1", {"tau": np.nan}, {}, "must be finite"),
        ("dx/dt = -x/tau : 1", {"tau": "a ms"}, {}, "not a number|not a unit"),
        ("dx/dt = -c_x*x/ms : 1", {"c_x": 1.0}, {}, "another meaning"),
        ("dt/dt = 1/ms : 1", {}, {}, "'dt'|another meaning|'t'"),
        ("dx/dt = xi*x/ms**0.5 : 1", {}, {}, "noise|xi"),
        ("dx/dt = open(x)/ms : 1", {}, {}, "not a function|unknown"),
        ("dx/dt = -x/ms : 1", {}, {"y": 1.0}, "'y'"),
        ("dx/dt = -x/ms : 1", {}, {"x": np.inf}, "must be a finite number"),
    ],
)
def test_mistakes_in_equations(model, parameters, initial, message):
    with pytest.raises(EquationError, match=message):
        teacher_map(Teacher("t", model, parameters, initial))
