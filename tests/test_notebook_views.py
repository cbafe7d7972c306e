"""What a notebook shows of objects: a picture, a table, and a bar of progress that fits."""

import base64
import re
import sys
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from matplotlib import pyplot as plt

from eprop_brian import ALIF, LIF, Network
from eprop_brian.base import progress
from eprop_brian.training.history import History


def picture(html):
    """Text of the picture in front of a table."""
    alt, data = re.match(
        r'<img alt="([^"]*)" [^>]*src="data:image/svg\+xml;base64,([^"]*)"/><table>', html
    ).groups()
    svg = base64.b64decode(data).decode()
    ElementTree.fromstring(svg)  # it is well formed
    # Letters are drawn as paths, each text behind a comment with it.
    return alt, re.findall(r"<!-- (.*?) -->", svg)


def test_a_network_is_a_diagram_and_a_table():
    network = Network.standard(4, 2, [(LIF, 3), (ALIF, 2)])
    alt, texts = picture(network._repr_html_())
    assert alt == "Network"
    assert {"inputs", "lif", "alif", "readout"} <= {*texts}
    assert not plt.get_fignums()
    assert "<" not in str(network).replace("->", "").replace("<-", "")


def test_a_neuron_is_its_formulas_and_a_table():
    """A step, and the eligibility trace that is derived from it, as Markdown."""
    assert ALIF._repr_html_() is None  # which a notebook would prefer
    formulas, table = ALIF._repr_markdown_().split("<table>")
    assert formulas.count("$$") == 4 and formulas.count("aligned") == 4
    lines = formulas.splitlines()
    assert (
        r"v_{j}^{t} &= \alpha v_{j}^{t-1} - v_{\mathrm{th}} z_{j}^{t-1} + \zeta I_{j}^{t} \\"
        in lines
    )
    # eps_a = rho*eps_a + e, of which e = psi*(eps_v - beta*eps_a) (Bellec et al. 2020, eqs. 24-25).
    assert r"\epsilon^{a,t}_{ji} &= \rho \epsilon^{a,t-1}_{ji} + e^{t-1}_{ji} \\" in lines
    e = r"\psi^{t}_{j} \left(- \beta \epsilon^{a,t}_{ji} + \epsilon^{v,t}_{ji}\right) \\"
    assert rf"e^{{t}}_{{ji}} &= {e}" in lines
    assert "\n\n" not in table and "alpha*v + zeta*I - v_th*z" in table  # one block of HTML
    wrong = replace(ALIF, update="v = alpha*v + zeta*I - v_th*z +\na = rho*a + z")
    assert wrong._repr_markdown_().startswith("<table>")


def test_a_history_is_a_curve_and_a_small_table():
    history = History()
    assert history._repr_html_().startswith("<table>")  # there is nothing to draw
    for k in range(300):
        history.append(1 / (k + 1), 0.5, 10.0, 0.1)
    html = history._repr_html_()
    alt, texts = picture(html)
    assert alt == "History of 300 iterations"
    assert "iteration (number)" in texts
    assert html.count("<tr>") < 8


@pytest.mark.parametrize(
    ("has_widgets", "in_notebook"), [(True, True), (False, True), (True, False)]
)
def test_a_bar_is_a_widget_only_where_widgets_are_drawn(monkeypatch, has_widgets, in_notebook):
    config = {"IPKernelApp": {}} if in_notebook else {}
    shell = SimpleNamespace(config=config)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(progress, "find_spec", lambda name: has_widgets or None)
    assert progress._widgets_are_drawn() == (has_widgets and in_notebook)
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    with progress.progress_bar(3, 1, "it", shown=True) as bar:
        assert (bar.n, bar.total, type(bar).__name__) == (1, 3, "tqdm")
