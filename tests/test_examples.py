"""The gallery: every example runs in its short form, says what it is, and saves its figure."""

import ast
import re
import runpy
import warnings
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from support.libraries import skip_without_libraries

mpl.use("Agg")

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_saves_its_figure(path, tmp_path, monkeypatch):
    if "atari" in path.stem:
        skip_without_libraries("atari")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EPROP_EXAMPLES_SHORT", "1")
    with warnings.catch_warnings():
        # Two updates say nothing about how training goes.
        warnings.simplefilter("ignore", UserWarning)
        runpy.run_path(str(path), run_name="__main__")
    plt.close("all")
    with Image.open(tmp_path / f"{path.stem}.png") as image:
        assert min(image.size) > 200


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_what_it_is(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    title, _, rest = text.partition("\n")
    assert title.endswith(".") and "What to see:" in rest
    assert re.search(r"\(\d{4}\)|NEST \d", rest), "no publication is named"
    assert re.search(r"^[A-Z].*(seconds|minute|minutes)", rest, re.MULTILINE), "no time is named"
    assert path.read_text().count("\n") < 110
