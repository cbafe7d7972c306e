"""Published neurons are those of Brian2, and their gradient is that of Brian2's own code."""

from pathlib import Path

import brian2
import numpy as np
import pytest

from eprop_brian import get_neuron
from eprop_brian.equations.published import PUBLISHED
from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron
from support.published import ROWS, compare
from support.refused import REFUSED, reason_of

TOLERANCE = 1e-9
TABLE = Path(__file__).parents[2] / "docs" / "models" / "table.md"
#: Cells of the table in the documentation, by the model's name.
PAGE = {
    cells[0].strip("` "): cells
    for cells in (line.strip("| ").split(" | ") for line in TABLE.read_text("utf-8").splitlines())
    if cells[0].startswith("`")
}
DERIVED = {row.name: row for row in ROWS}


@pytest.fixture(autouse=True)
def _numpy(monkeypatch):
    """Run Brian2's objects in NumPy, as Cython would compile them first."""
    monkeypatch.setitem(brian2.prefs, "codegen.target", "numpy")


def test_the_documentation_lists_the_models():
    assert {name: cells[1] for name, cells in PAGE.items()} == {
        name: model.source for name, model in (DERIVED | REFUSED).items()
    }
    refused = {name for name, cells in PAGE.items() if len(cells) == 3}
    assert refused == {*REFUSED}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * row.slow) for name, row in DERIVED.items()],
)
def test_spikes_are_brian2s_and_the_gradient_that_of_its_code(name):
    row = DERIVED[name]
    with np.errstate(all="ignore"):
        found = compare(row)
    assert 4 <= found.n_spikes < row.size * row.n_steps / 2, "the case says nothing"
    assert found.differing == 0
    assert max(found.deviations.values()) <= TOLERANCE


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_for_the_reason_given(name):
    model = REFUSED[name]
    with pytest.raises(ValueError) as raised:
        model.derive()
    assert model.reason in reason_of(raised.value)
    assert model.reason in PAGE[name][2]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_library_has_the_neuron_and_its_file(name, tmp_path):
    """Reading a file derives its neuron."""
    text = write_neuron(get_neuron(name))
    (tmp_path / "neuron.toml").write_text(text, encoding="utf-8")
    assert write_neuron(read_neuron(tmp_path / "neuron.toml")) == text
