"""Neuron files: what is written reads back, what is wrong is named with its line, nothing runs."""

from dataclasses import replace

import numpy as np
import pytest
from brian2 import ms, mV, nS

from eprop_brian.equations import ALIF, LIF, NEURONS
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron
from eprop_brian.symbolic.step_map import step_map

UPDATE = """\
[neuron]
name = "mine"
update = '''
v = alpha*v + I - v_th*z
a = rho*a + z
'''
threshold = "v >= v_th + beta*a"
surrogate = "0.3/v_th*clip(1 - abs(v - v_th)/v_th, 0, 1)"
refractory = "t_ref"
source = "me"

[parameters]
tau_m = "20 ms"
tau_a = '200*ms'
v_th = 0.6   # the soma's
beta = 1
t_ref = "5 ms"

[constants]
alpha = "exp(-dt/tau_m)"
rho = "exp(-dt/tau_a)"

[initial]
a = "beta"
"""

MODEL = '''\
[neuron]
name = "mine"
model = """
dv/dt = (x - v)/tau_m : volt
dx/dt = -x/tau_s : volt
"""
method = "exponential_euler"
on_pre = "x += w"
reset = "v = v_r"
threshold = "v > v_th"
surrogate = "1/v_th/(1 + abs(v - v_th)/v_th)**2"
refractory = "2 ms"

[parameters]
tau_m = "20 ms"
tau_s = "5 ms"
v_th = "10 mV"
v_r = "-1 mV"
'''


@pytest.fixture
def read(tmp_path):
    """Read a text as the file my.toml."""

    def read_text(text):
        path = tmp_path / "my.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_neuron(path)

    return read_text


def test_update_style(read):
    neuron = read(UPDATE)
    assert neuron.name == "mine"
    assert neuron.update == "v = alpha*v + I - v_th*z\na = rho*a + z\n"
    assert neuron.threshold == "v >= v_th + beta*a"
    assert neuron.refractory == "t_ref"
    assert neuron.source == "me"
    assert neuron.detach is None
    assert neuron.parameters == {
        "tau_m": "20 ms",
        "tau_a": "200*ms",
        "v_th": 0.6,
        "beta": 1,
        "t_ref": "5 ms",
    }
    assert neuron.constants == {"alpha": "exp(-dt/tau_m)", "rho": "exp(-dt/tau_a)"}
    assert neuron.initial == {"a": "beta"}


def test_brian2_style(read):
    neuron = read(MODEL)
    assert neuron.method == "exponential_euler"
    assert neuron.on_pre == "x += w"
    assert neuron.reset == "v = v_r"
    assert step_map(neuron).refractory_steps(1e-3) == 2
    assert read(MODEL.replace('method = "exponential_euler"\n', "")).method == "exact"


def test_one_value_per_neuron(read):
    text = UPDATE.replace('"20 ms"', '[\n  "20 ms",\n  "0.03 second",\n]')
    step = step_map(read(text.replace("v_th = 0.6", "v_th = [0.5, 0.6]")))
    np.testing.assert_allclose(step.parameters["tau_m"], [0.02, 0.03])
    np.testing.assert_allclose(step.parameters["v_th"], [0.5, 0.6])


def test_detach(read):
    assert read(UPDATE.replace('source = "me"', "detach = []")).detach == ()
    assert read(UPDATE.replace('source = "me"', 'detach = ["a", "v"]')).detach == ("a", "v")


def test_constants_and_initial_values_may_be_numbers(read):
    neuron = read(UPDATE.replace('"beta"', "-0.5").replace('"exp(-dt/tau_a)"', "1"))
    assert neuron.initial == {"a": "-0.5"}
    assert neuron.constants["rho"] == "1"


def test_encoding(read):
    assert read("\ufeff" + UPDATE.replace('"me"', '"Müller"')).source == "Müller"
    assert read(UPDATE.replace("\n", "\r\n")).name == "mine"


# --- round trip ----------------------------------------------------------------------------------


def test_every_neuron_reads_back_as_the_same_system(any_neuron, any_system, read):
    first, second = any_system, derive(step_map(read(write_neuron(any_neuron))))
    assert second.step.code == first.step.code
    assert second.step.psi == first.step.psi
    assert second.step.values(1e-3) == first.step.values(1e-3)
    assert second.step.initial_values(1e-3) == first.step.initial_values(1e-3)
    assert second.step.refractory_steps(1e-3) == first.step.refractory_steps(1e-3)
    for part in ("components", "transition", "spike_path", "drive", "spike_gradient", "placement"):
        assert getattr(second, part) == getattr(first, part)


@pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS)
def test_library_neurons_read_back_equal(neuron, read):
    assert read(write_neuron(neuron)) == neuron


@pytest.mark.parametrize(
    "changes",
    [
        {"detach": ()},
        {"detach": ("a",)},
        {"source": "a \"quoted\" \\ name\nof two 'lines'"},
        {"source": "three ''' quotes\nin two lines"},
        {"source": "bell \x07 and delete \x7f\n"},
        {"initial": {"a": "beta"}},
        {"refractory": "3 ms"},
        {"refractory_surrogate": "-gamma/v_th"},
        {"parameters": {**ALIF.parameters, "beta": [0.1, 0.2]}},
        {"parameters": {**ALIF.parameters, "tau_m": ["20 ms", "30 ms"]}},
    ],
)
def test_options_read_back_equal(changes, read):
    neuron = replace(ALIF, **changes)
    assert read(write_neuron(neuron)) == neuron


@pytest.mark.parametrize(
    "value", [20 * ms, np.array([20, 30]) * ms, [20 * ms, 30 * ms], 0.1 * ms + 0.2 * ms]
)
def test_quantities_read_back_as_the_same_values(value, read):
    step = step_map(read(write_neuron(LIF.with_parameters(tau_m=value))))
    np.testing.assert_array_equal(step.parameters["tau_m"], np.asarray(value, dtype=float))


def test_units_of_any_kind_read_back(read, adex):
    parameters = {**adex.parameters, "g_l": 30 * nS, "rate": 3 * mV / ms**2, "count": np.int64(3)}
    again = step_map(read(write_neuron(replace(adex, parameters=parameters)))).parameters
    assert again["g_l"] == float(30 * nS)
    assert again["rate"] == float(3 * mV / ms**2)
    assert again["count"] == 3.0


def test_what_is_no_parameter_cannot_be_written():
    with pytest.raises(EquationError, match="is not a number"):
        write_neuron(LIF.with_parameters(v_th=object()))


# --- mistakes ------------------------------------------------------------------------------------

MISTAKES = {
    "wrong unit in an equation": (
        UPDATE.replace("I - v_th*z", "I - tau_m*z"),
        4,
        "alpha*v + I - tau_m*z",
        "units do not fit",
    ),
    "wrong unit of a parameter": (
        UPDATE.replace('tau_m = "20 ms"', 'tau_m = "20 mV"'),
        20,
        "exp(-dt/tau_m)",
        "units do not fit",
    ),
    "unknown unit": (
        UPDATE.replace('tau_m = "20 ms"', 'tau_m = "20 mss"'),
        13,
        "20 mss",
        "did you mean 'ms'?",
    ),
    "no unit": (UPDATE.replace('"20 ms"', '"20ms"'), 13, "20ms", "write for example 20 ms"),
    "undefined symbol": (
        UPDATE.replace("rho*a", "roh*a"),
        5,
        "roh*a + z",
        "'roh' is not defined (did you mean 'rho'?)",
    ),
    "undefined symbol in the threshold": (
        UPDATE.replace("v >= v_th", "v >= vth"),
        7,
        "vth + beta*a",
        "'vth' is not defined (did you mean 'v_th'?)",
    ),
    "undefined symbol in a constant": (
        UPDATE.replace('"exp(-dt/tau_a)"', '"exp(-dt/tau)"'),
        21,
        "exp(-dt/tau)",
        "'tau' is not defined",
    ),
    "reserved name": (
        UPDATE.replace("beta = 1", "beta = 1\nz = 2"),
        17,
        "z",
        "is a reserved name",
    ),
    "surrogate without slope": (
        UPDATE.replace('"0.3/v_th*clip', '"0.3*sign(v)*clip'),
        8,
        "0.3*sign(v)",
        "uses 'sign': a step has no slope",
    ),
    "no surrogate, at its threshold": (
        UPDATE.replace("surrogate = ", "# ").replace("v_th = 0.6", "v_th = -1 #"),
        None,
        "(empty)",
        "give a surrogate",
    ),
    "no spike condition": (
        UPDATE.replace('threshold = "v >= v_th + beta*a"\n', ""),
        None,
        "(empty)",
        "a spike condition is needed",
    ),
    "empty spike condition": (
        UPDATE.replace('"v >= v_th + beta*a"', '""'),
        7,
        "(empty)",
        "a spike condition is needed",
    ),
    "both styles": (
        UPDATE.replace("source =", 'model = "dv/dt = -v/tau_m : 1"\nsource ='),
        10,
        "model",
        "has both: give either",
    ),
    "neither style": (
        '[neuron]\nname = "mine"\n',
        None,
        "update / model",
        "has neither: give either",
    ),
    "text without quotes": (
        UPDATE.replace('"t_ref"\n', "t_ref\n"),
        9,
        "refractory = t_ref",
        "is not readable as TOML: Invalid value. Text needs quotes",
    ),
    "key twice": (
        UPDATE.replace('source = "me"', 'refractory = "3 ms"'),
        10,
        'refractory = "3 ms"',
        "Cannot overwrite a value",
    ),
    "brackets without end": ("x = " + "[" * 100_000, None, "my.toml", "not readable as TOML"),
    "number too long": ("x = 1" + "0" * 10_000, None, "my.toml", "not readable as TOML"),
    "not text": (b"\xff\xfe\x00", None, "my.toml", "is not a text file"),
    "no neuron": ("", None, "[neuron]", 'is missing; begin with\n[neuron]\nname = "my_neuron"'),
    "neuron that is no table": ("neuron = 3", 1, "neuron", "must be a table: [neuron]"),
    "no name": (UPDATE.replace('name = "mine"\n', ""), 1, "[neuron]", "has no name"),
    "unusable name": (UPDATE.replace('"mine"', '"my neuron"'), 2, "my neuron", "must be letters"),
    "number for a string": (
        UPDATE.replace('refractory = "t_ref"', "refractory = 5"),
        9,
        "refractory = 5",
        "must be a string; put it in quotes",
    ),
    "number for the name": (UPDATE.replace('"mine"', "3"), 2, "name = 3", "must be a string"),
    "string for a list": (
        UPDATE.replace('source = "me"', 'detach = "v"'),
        10,
        "detach = v",
        'must be a list of strings, e.g. ["v"]',
    ),
    "unknown state in a list": (
        UPDATE.replace('source = "me"', 'detach = ["v", "u"]'),
        10,
        "['v', 'u']",
        "'u' is not defined",
    ),
    "boolean parameter": (
        UPDATE.replace("beta = 1", "beta = true"),
        16,
        "beta = True",
        'must be a number, a string with a unit ("20 ms") or a list of these',
    ),
    "date as parameter": (UPDATE.replace("beta = 1", "beta = 1979-05-27"), 16, "beta =", "must be"),
    "nested list": (UPDATE.replace("beta = 1", "beta = [[1]]"), 16, "beta = [[1]]", "must be a"),
    "infinite parameter": (
        UPDATE.replace("beta = 1", "beta = inf"),
        16,
        "beta = inf",
        "must be finite",
    ),
    "list as a constant": (
        UPDATE.replace('rho = "exp(-dt/tau_a)"', "rho = [1]"),
        21,
        "rho = [1]",
        "must be an expression string",
    ),
    "unknown table": (
        UPDATE.replace("[parameters]", "[paramters]"),
        12,
        "paramters",
        "unknown table 'paramters' (did you mean 'parameters'?). "
        "There are: neuron, on_pre, parameters, constants, timed_arrays, initial",
    ),
    "unknown key": (
        UPDATE.replace("threshold =", "treshold ="),
        7,
        "treshold",
        "unknown key of [neuron] 'treshold' (did you mean 'threshold'?). There are: name, source",
    ),
    "unknown refractory time": (
        UPDATE.replace('"t_ref"', '"t_rf"'),
        9,
        "t_rf",
        "is not a parameter; name one or give a time",
    ),
    "initial value of nothing": (
        UPDATE.replace('a = "beta"', 'b = "beta"'),
        24,
        "b = beta",
        "'b' is not defined",
    ),
    "input without effect": (
        UPDATE.replace("alpha*v + I", "alpha*v"),
        4,
        "v = alpha*v - v_th*z",
        "the input I never reaches the threshold",
    ),
    "equation without a unit": (
        MODEL.replace("-x/tau_s : volt", "-x/tau_s"),
        5,
        "dx/dt = -x/tau_s",
        "write one equation a line with its unit",
    ),
    "equation with a wrong unit": (
        MODEL.replace("-x/tau_s", "-x"),
        5,
        "dx/dt = -x",
        "has unit V where",
    ),
    "a state's own name for the weight": (
        MODEL.replace("dx/dt = -x/", "dw/dt = -w/").replace("x", "w", 1).replace("x +=", "w +="),
        8,
        "w = w + (w)",
        "the neuron's own w is w_post",
    ),
    "input not summed": (MODEL.replace("x += w", "x += exp(w*x)"), 8, "exp(w*x)", "must add"),
    "reset in another unit": (
        MODEL.replace('"v = v_r"', '"v = tau_m"'),
        9,
        "v = tau_m",
        "has unit s where V is needed",
    ),
    "unknown method": (
        MODEL.replace('"exponential_euler"', '"magic"'),
        7,
        "method = magic",
        "unknown method 'magic'. There are: linear, exact",
    ),
    "surrogate in a wrong unit": (
        MODEL.replace('"1/v_th/(1', '"1/(1'),
        11,
        "1/(1 + abs",
        "has unit 1; dz/dv needs",
    ),
}


def one_screen(message):
    lines = message.split("\n")
    return sum(1 + len(line) // 100 for line in lines) <= 24


@pytest.mark.parametrize(("text", "line", "quoted", "problem"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_named_with_its_line(text, line, quoted, problem, read):
    with pytest.raises(EquationError) as caught:
        read(text)
    message = str(caught.value)
    assert quoted in caught.value.line
    assert problem in caught.value.problem
    if "my.toml" not in quoted:
        place = caught.value.where.partition(", neuron")[0]
        assert place == (f"my.toml, line {line}" if line else "my.toml")
    assert one_screen(message)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


CODE = "__import__('os').system('touch {file}')"


@pytest.mark.parametrize(
    "text",
    [
        UPDATE.replace("rho*a", "{code}*a"),
        UPDATE.replace("v >= v_th", "v >= {code}"),
        UPDATE.replace('"0.3/v_th', '"{code}/v_th'),
        UPDATE.replace('"t_ref"', '"{code}"'),
        UPDATE.replace('tau_m = "20 ms"', 'tau_m = "{code}"'),
        UPDATE.replace('tau_m = "20 ms"', 'tau_m = "20 {code}"'),
        UPDATE.replace('"exp(-dt/tau_m)"', '"{code}"'),
        UPDATE.replace('a = "beta"', 'a = "{code}"'),
        UPDATE.replace('"mine"', '"{code}"'),
        UPDATE.replace('source = "me"', 'detach = ["{code}"]'),
        UPDATE.replace("rho*a", "().__class__.__bases__[0].__subclasses__()"),
        UPDATE.replace("rho*a", "open('{file}', 'w')"),
        UPDATE.replace("rho*a", "exec('x')*a"),
        UPDATE.replace("rho*a", "[x for x in (1,)]"),
        UPDATE.replace("rho*a", "9**9**9**9*a"),
        MODEL.replace("-x/tau_s", "-{code}/tau_s"),
        MODEL.replace("-x/tau_s : volt", "-x/tau_s : {code}"),
        MODEL.replace("-x/tau_s : volt", "-x/tau_s : 9**9**9**9"),
        MODEL.replace("x += w", "x += w*{code}"),
        MODEL.replace('"v = v_r"', '"v = {code}"'),
        MODEL.replace('"exponential_euler"', '"{code}"'),
    ],
)
def test_nothing_in_a_file_runs(text, read, tmp_path):
    file = tmp_path / "executed"
    text = text.replace("{code}", CODE).replace("{file}", str(file))
    with pytest.raises(EquationError) as caught:
        read(text)
    assert one_screen(str(caught.value))
    assert not file.exists()


@pytest.mark.parametrize("name", ["a b", "a;b", 'a\\"b', "../a", "é", ""])
@pytest.mark.parametrize("table", ["parameters", "constants", "initial"])
def test_names_in_a_file_are_identifiers(name, table, read):
    text = UPDATE.replace(f"[{table}]", f'[{table}]\n"{name}" = 1')
    if table not in text:
        text += f'\n[{table}]\n"{name}" = 1\n'
    with pytest.raises(EquationError, match="must be letters, digits and _"):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        UPDATE.replace("v_th = 0.6", f"v_th = [{'1, ' * 50_000}true]"),
        UPDATE.replace("beta = 1", "\n".join(f"p{n} = {n}" for n in range(2000))),
        UPDATE.replace("rho*a", "+".join(["rho*x"] * 500)),
        UPDATE.replace('"mine"', f'"{"m" * 5000}!"'),
        MODEL.replace("-x/tau_s : volt", "-x/tau_s : volt\n" + "y\n" * 500),
    ],
)
def test_error_fits_one_screen_whatever_the_file(text, read):
    with pytest.raises(EquationError) as caught:
        read(text)
    assert one_screen(str(caught.value))


def test_error_leaves_the_terminal_alone(read):
    with pytest.raises(EquationError) as caught:
        read(UPDATE.replace('"20 ms"', '"\\u001b[31m20 ms"'))
    assert "\x1b" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(EquationError, match="(?s)none.toml.*No such file"):
        read_neuron(tmp_path / "none.toml")
    with pytest.raises(EquationError, match="Is a directory"):
        read_neuron(tmp_path)
