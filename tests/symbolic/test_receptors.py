"""Neurons with several receptors: how they are written, derived, printed, and refused."""

import re
from dataclasses import replace

import pytest

from eprop_brian import LIF, Neuron, derive
from eprop_brian.equations.neurons import LIF_COND, LIF_EXP
from eprop_brian.export.linear import NotLinearError, linear_neuron
from eprop_brian.symbolic.eligibility import derive as derive_system
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron
from eprop_brian.symbolic.step_map import step_map

#: Excitation and inhibition by conductances.
COBA = replace(
    LIF_COND,
    name="coba",
    model="""
    dv/dt = (g_L*(E_L - v) + g_e*(E_e - v) + g_i*(E_i - v))/C : volt
    dg_e/dt = -g_e/tau_s : siemens
    dg_i/dt = -g_i/tau_s : siemens
    """,
    on_pre={"ampa": "g_e += g_0*w", "gaba": "g_i += g_0*w"},
    parameters={**LIF_COND.parameters, "E_i": "-80 mV"},
)
UPDATE = replace(LIF, update="v = alpha*v + I_ampa - 2*I_gaba - v_th*z", receptors=("ampa", "gaba"))


def system_of(neuron):
    return derive_system(step_map(neuron))


def test_a_neuron_lists_its_receptors():
    assert LIF.receptor_names == LIF_EXP.receptor_names == ("",)
    assert COBA.receptor_names == UPDATE.receptor_names == ("ampa", "gaba")
    assert "on_pre, gaba  g_i += g_0*w" in str(COBA)
    assert "receptors   ampa, gaba" in str(UPDATE)


def test_each_receptor_has_a_drive_and_the_components_that_it_reaches():
    system = system_of(COBA)
    assert system.components == ("v", "g_e", "g_i")
    assert [*system.placement.items()] == [
        ("ampa", {"v": "synapse", "g_e": "pre"}),
        ("gaba", {"v": "synapse", "g_i": "pre"}),
    ]
    assert {k for k, x in system.drive["gaba"].items() if not x.is_zero} == {"v", "g_i"}
    drive = system_of(UPDATE).drive
    assert {r: str(b["v"]) for r, b in drive.items()} == {"ampa": "1", "gaba": "-2"}


def test_a_component_is_placed_for_each_receptor():
    neuron = replace(
        LIF_EXP,
        model="dv/dt = (E_L - v)/tau_m : volt\ndgate/dt = -gate/tau_s : 1",
        reset="v -= v_th - E_L",
        on_pre={"always": "v += R*i_0*w", "gated": "v += gate*R*i_0*w"},
    )
    placement = system_of(neuron).placement
    assert placement == {"always": {"v": "pre"}, "gated": {"v": "synapse"}}


def test_a_receptor_that_reads_what_it_changes_is_warned_about():
    neuron = replace(COBA, on_pre={**COBA.on_pre, "gaba": "g_i += w*(g_0 - g_i)"})
    with pytest.warns(UserWarning, match="'coba', on_pre, gaba: .* they are summed first"):
        system_of(neuron)


def test_statements_run_in_the_order_of_the_receptors():
    """The second sees what the first has done."""
    neuron = replace(
        LIF_EXP, on_pre={"first": "I_syn += i_0*w", "second": "v += R*w*(I_syn + i_0)"}
    )
    system = system_of(neuron)
    assert "I_first" in str(system.drive["second"]["v"].expression)
    other = replace(neuron, on_pre=dict(reversed(neuron.on_pre.items())))
    assert "I_first" not in str(system_of(other).drive["second"]["v"].expression)


def test_quantities_of_the_neuron_keep_their_names():
    """A state ``I_ampa`` and a receptor ``ampa``; a parameter with a receptor's name."""
    neuron = replace(
        COBA,
        model=COBA.model.replace("g_e", "I_ampa"),
        on_pre={"ampa": "I_ampa += g_0*w", "gaba": "g_i += gaba*w", "ampa_2": "I_ampa += g_0*w"},
        parameters={**COBA.parameters, "gaba": "1 nS"},
    )
    system = system_of(neuron)
    inputs = {"ampa": "I_ampa_2", "gaba": "I_gaba", "ampa_2": "I_ampa_2_2"}
    assert system.step.signals.inputs == inputs
    assert "I_ampa = I_ampa + I_ampa_2*g_0" in str(derive(neuron))


@pytest.mark.parametrize("neuron", [COBA, UPDATE], ids=["model", "update"])
def test_a_neuron_file_has_receptors(neuron, tmp_path):
    path = tmp_path / "neuron.toml"
    path.write_text(write_neuron(neuron))
    assert read_neuron(path) == neuron
    assert ('[on_pre]\nampa = "g_e += g_0*w"\n' in path.read_text()) == (neuron is COBA)


def test_a_derivation_shows_each_receptor():
    text = str(derive(COBA))
    for line in (
        "h[t] = M(h[t-1], z[t-1], I_ampa[t], I_gaba[t])",
        "b_gaba[g_i] = dM_g_i/dI_gaba",
        "Of a synapse of receptor gaba:",
        "eps_v[t] = A_v_v[t]*eps_v[t-1] + A_v_g_i[t]*eps_g_i[t-1] + b_v_gaba[t]*pre[t]",
        "Per synapse of receptor ampa and step:",
        "lambda_ampa = b_v_ampa*_mu_v - (dt*g_0/tau_s - g_0)*_mu_g_e",
        "lambda_...",
        "synapse, gaba",
    ):
        assert line in text, line
    latex = derive(COBA).latex
    assert r"\lambda^{\mathrm{gaba}}_{j} &\leftarrow" in latex
    assert r"b^{v,\mathrm{ampa}}_{j}" in latex
    assert latex.count("Of a synapse of receptor gaba:") == 2


def test_nir_has_one_input():
    with pytest.raises(NotLinearError, match="its receptors ampa, gaba need an input each"):
        linear_neuron(step_map(UPDATE), 1e-3, 1)


MISTAKES: dict[str, tuple[Neuron, dict, str, str]] = {
    "an empty statement": (
        COBA,
        {"on_pre": {"ampa": "g_e += g_0*w", "gaba": " "}},
        "neuron 'coba', on_pre:\n    gaba\n",
        "is missing: write the effect of a presynaptic spike",
    ),
    "no receptor": (COBA, {"on_pre": {}}, "on_pre = {}", "names no receptor"),
    "a name with a space": (
        COBA,
        {"on_pre": {"fast ampa": "g_e += g_0*w"}},
        "on_pre:\n    fast ampa",
        "a receptor's name must be letters, digits and _, starting with a letter",
    ),
    "no name": (COBA, {"on_pre": {"": "g_e += g_0*w"}}, "(empty)", "a receptor's name must be"),
    "no string": (COBA, {"on_pre": {"ampa": 3}}, "ampa = 3", "must be a string"),
    "neither string nor mapping": (COBA, {"on_pre": ("v += w",)}, "on_pre = ", "or a mapping"),
    "an input that does not count": (
        COBA,
        {"model": COBA.model.replace("g_i*(E_i - v)", "0*amp")},
        "g_i = ",
        "the input of receptor 'gaba' never reaches the threshold",
    ),
    "no statement reads it": (
        UPDATE,
        {"update": "v = alpha*v + I_ampa - v_th*z"},
        "v = alpha*v",
        "the input of receptor 'gaba' never reaches the threshold",
    ),
    "an input without receptor": (
        UPDATE,
        {"update": "v = alpha*v + I + I_ampa + I_gaba - v_th*z"},
        "",
        "'I' is not defined. Defined here: I_ampa, I_gaba",
    ),
    "a receptor nobody has": (
        UPDATE,
        {"update": "v = alpha*v + I_nmda + I_ampa + I_gaba - v_th*z"},
        "",
        "'I_nmda' is not defined",
    ),
    "another's weight": (
        COBA,
        {"on_pre": {"ampa": "g_e += g_0*w", "gaba": "g_i += g_0*w*I_ampa"}},
        "neuron 'coba', on_pre, gaba",
        "'I_ampa' is not defined",
    ),
    "not by the weight": (
        COBA,
        {"on_pre": {"ampa": "g_e += g_0*w", "gaba": "g_i += g_0"}},
        "on_pre, gaba",
        "must add something proportional to the weight",
    ),
    "named twice": (UPDATE, {"receptors": ("ampa", "ampa")}, "ampa", "is named twice"),
    "one name as text": (
        UPDATE,
        {"receptors": "ampa"},
        "receptors = 'ampa'",
        "must be a list of names, e.g. ['ampa']",
    ),
    "a parameter with its name": (
        UPDATE,
        {"parameters": {**LIF.parameters, "I_gaba": 1.0}},
        "I_gaba",
        "is a reserved name",
    ),
    "receptors of a model": (
        LIF_EXP,
        {"receptors": ("ampa",)},
        "receptors = ampa",
        "`receptors` belongs to `update`; in `model` give every receptor its `on_pre`",
    ),
    "on_pre of an update": (
        LIF,
        {"on_pre": {"ampa": "v += w", "gaba": "v -= w"}},
        "v += w; v -= w",
        "in `update` name the `receptors` and write I_ampa and I_gaba instead",
    ),
    "an input in the surrogate": (
        UPDATE,
        {"surrogate": "v*I_gaba"},
        "v*I_gaba",
        "must be an expression of the states, without I_ampa and I_gaba and z",
    ),
}


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_names_the_receptor(case):
    neuron, change, place, problem = case
    with pytest.raises(EquationError) as caught:
        system_of(replace(neuron, **change))
    assert place in str(caught.value)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('gaba = "g_i += g_0*w"', 'gaba = ""', r"line \d+, neuron 'coba', on_pre:.*is missing"),
        ('gaba = "', 'ga-ba = "', "ga-ba.*a receptor's name must be letters"),
        ("[on_pre]", 'on_pre = "v += w"\n[on_pre]', "a table besides; write one of them"),
        ('gaba = "g_i += g_0*w"', "gaba = 3", "gaba = 3.*must be a string"),
        ("+= g_0*w", "+= g0*w", r"line \d+, neuron 'coba', on_pre, ampa.*'g0' is not defined"),
    ],
)
def test_a_mistake_in_a_file_is_found(old, new, message, tmp_path):
    text = write_neuron(COBA)
    assert old in text
    path = tmp_path / "coba.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(EquationError) as caught:
        read_neuron(path)
    assert re.search(message, str(caught.value), re.DOTALL)
