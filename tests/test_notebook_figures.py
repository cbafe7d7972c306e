"""A notebook shows every figure, and each of them once."""

import nbformat
import pytest

CELLS = (
    "import matplotlib.pyplot as plt\nfrom eprop_brian import get_task, plot",
    "task = get_task('lemniscate')",
    "plot.task(task);",  # Pyplot shows it at the end of the cell
    "plot.task(task)",  # and it is the value of the cell, too
    "figure = plot.task(task)\nfigure.suptitle('changed');",
    "figure, ax = plt.subplots()",
    "for seed in (1, 2):\n    plot.task(task, seed=seed)",
)


@pytest.mark.slow
def test_every_figure_is_shown_once(monkeypatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    NotebookClient(notebook, timeout=300).execute()
    shown = [
        sum("image/png" in output.get("data", {}) for output in cell.outputs)
        for cell in notebook.cells
    ]
    assert shown == [0, 0, 1, 1, 1, 1, 2]
