"""Nothing that is read can ask for hours or gigabytes: it is refused, and quickly."""

import time

import pytest

from eprop_brian.equations import Neuron
from eprop_brian.equations.teachers import Teacher
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.step_map import step_map
from eprop_brian.symbolic.teacher import teacher_map

COMMON = {"threshold": "v > 1", "surrogate": "clip(1 - abs(v - 1), 0, 1)"}
TOWER = "9**9**9**9"
LAUGHS = "\n".join(f"x{i} = x{i - 1} + v*x{i - 1} : 1" for i in range(1, 60))
DOUBLED = "\n".join(f"x{i} = x{i - 1} + sin(x{i - 1})" for i in range(1, 60))

CHAIN = "\n".join(f"x{i} = sin(x{i - 1})" for i in range(1, 60))

_SUMS = (" + ".join(f"sin({i + k}*v)" for k in range(30)) for i in range(0, 1200, 30))
SINES = " + ".join(f"({terms})" for terms in _SUMS)


def _nested(template, depth):
    text = "v"
    for _ in range(depth):
        text = template.format(text)
    return text


def model(text, method="euler"):
    return Neuron(name="u", model=text, on_pre="v += w", method=method, **COMMON)


def update(text="v = 0.9*v + I", **options):
    return Neuron(name="u", update=text, **{**COMMON, **options})


@pytest.mark.parametrize(
    ("neuron", "problem"),
    [
        (model(f"dv/dt = -v/ms :\n{TOWER}"), "power of numbers in its unit"),
        (model(f"dv/dt = -v/ms : # 1\n # metre\n  {TOWER}"), "power of numbers in its unit"),
        (model(f"dv/dt = -v/ms : 1\nx = v :\n {TOWER}"), "power of numbers in its unit"),
        (model(f"dv/dt = -v/ms : 1\nx : {TOWER}"), "power of numbers in its unit"),
        (model("dv/dt = -v/ms :\nmetre**9**9**9"), "is not a unit"),
        (model("dv/dt = -v/ms :\nmetre**999999999"), "is not a unit"),
        (model(f"dv/dt = -v\n /ms*{TOWER} : 1"), "power of numbers"),
        (model("dv/dt = (-v + exp(exp(1e10)))/ms : 1"), "not a finite number"),
        (model("dv/dt = (-v + sin(exp(1e9)))/ms : 1"), "not a finite number"),
        (model("dv/dt = v%exp(1e9)/ms : 1"), "not a finite number"),
        (model("dv/dt = -(v + x + y)**99*(v - x)/ms : 1\nx = v : 1\ny = v : 1"), "multiplied out"),
        (model(f"dv/dt = -x59/ms : 1\nx0 = v : 1\n{LAUGHS}"), "written out"),
        (
            model("dv/dt = (-v+a+b)/ms : 1\nda/dt = (b-a+v)/ms : 1\ndb/dt = (a+v)/ms : 1", "exact"),
            "takes too long to find",
        ),
        (model("dv/dt = (sin(v) - v**3)/ms : 1", "independent"), "unknown method"),
        (update(f"v = 0.9*v + I + {SINES}"), "too many to differentiate"),
        (update("v = 0.9*v + I + (v + 1 + z)**90*(v + I)**90"), "multiplied out"),
        (update("v = 0.9*v + I + 1" + " + v" * 10_000), "characters"),
        (update(f"v = 0.9*v + {TOWER}*I"), "power of numbers"),
        (update("v = 0.9*v + 1e999*I"), "not a finite number"),
        (update(threshold=f"v > {TOWER}"), "power of numbers"),
        (update(surrogate=f"clip(v, 0, {TOWER})"), "power of numbers"),
        (update(refractory="2 ms", refractory_surrogate=f"v*{TOWER}"), "power of numbers"),
        (update(surrogate=_nested("clip({}, 0, 1)", 12)), "within each other"),
        (update(f"v = 0.9*v + I + {_nested('where({}, v, 1)', 30)}"), "within each other"),
        (update(f"v = 0.9*v + I + {_nested('sin({})', 100)}"), "within each other"),
        (update("v = 0.9*v + I + " + "**".join("v" * 60)), "within each other"),
        (update(f"v = 0.9*v + I + {_nested('1/(1 + {})', 50)}"), "within each other"),
        (model(f"dv/dt = -v*{_nested('clip({}, 0, 1)', 12)}/ms : 1"), "within each other"),
        (update(constants={"k": TOWER}), "power of numbers"),
        (update(constants={"k": "exp(exp(exp(9)))"}), "not a finite number"),
        (update(initial={"v": TOWER}), "power of numbers"),
        (update(parameters={"k": TOWER}), "not a number with a unit"),
        (update(parameters={"k": "1 mV**9**9**9"}), "not a number with a unit"),
        (update(refractory=f"{TOWER} ms"), "write a time"),
    ],
)
def test_refused(neuron, problem):
    start = time.process_time()
    with pytest.raises(EquationError, match=problem) as error:
        step_map(neuron)
    assert time.process_time() - start < 60
    assert len(str(error.value)) < 5000


@pytest.mark.parametrize("text", [DOUBLED, CHAIN])
def test_a_step_that_is_long_once_it_is_written_out_is_derived(text):
    start = time.process_time()
    step = step_map(update(f"x0 = v\n{text}\nv = 0.9*v + I + x59"))
    assert not step.composed
    derive(step).check_finite(1e-3)
    assert time.process_time() - start < 60


def test_a_step_with_too_many_derivatives_is_refused():
    read = [" + ".join(f"x{(i * 7 + j * 3) % 80}" for j in range(40)) for i in range(80)]
    text = "\n".join(f"x{i} = x{i} + sin(x{(i + 1) % 80})*({x})" for i, x in enumerate(read))
    step = step_map(update(f"{text}\nv = 0.9*v + I + x59"))
    with pytest.raises(EquationError, match="more than 5000 derivatives"):
        derive(step)


def test_units_of_brian2_are_read():
    text = "dv/dt = -v/ms :\n 1 # metre**9**9\nx = v*second**-2*metre**2 : metre**2/second**2"
    assert step_map(model(text)).states == ("v",)


def test_a_derivation_ends_where_exponentials_are_nested():
    nested = "exp(exp(exp(exp(exp(v)))) - exp(exp(1e9*v)))"
    assert derive(step_map(update(f"v = 0.9*v + I + {nested}"))).components == ("v",)


@pytest.mark.parametrize("unit", [TOWER, f"\n{TOWER}"])
def test_teachers_are_bounded_too(unit):
    with pytest.raises(EquationError, match="power of numbers in its unit"):
        teacher_map(Teacher(name="t", model=f"dx/dt = -x/second : {unit}"))


def test_lines_are_quoted_as_they_are_written():
    with pytest.raises(EquationError) as error:
        step_map(model(f"dv/dt = -v/ms : {TOWER}"))
    assert error.value.line == f"dv/dt = -v/ms : {TOWER}"
    with pytest.raises(EquationError, match="`1e400` is not a finite number"):
        step_map(update("v = 0.9*v + 1e400*I"))
