"""Exported programs learn sequences of labels, and say how many are wrong."""

import pytest

from support.command import last_line
from support.programs import assert_same, configure, exported, in_tool, run

STRINGS = configure(
    "symbol-strings",
    *("task.n_symbols=2", "task.most_symbols=3", "task.group_size=6", "size.lif=9", "size.alif=5"),
    iterations=3,
    batch_size=4,
)


@pytest.mark.slow
def test_an_exported_program_learns_labels(tmp_path):
    program = exported(tmp_path / "project", STRINGS)
    output = run(program, "--run", tmp_path / "run")
    expected = in_tool(STRINGS, 3)
    assert_same(tmp_path / "run", expected)
    assert last_line(output) == str(expected.evaluate())
    assert "label error rate" in last_line(output)
