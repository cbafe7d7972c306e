"""Every stored figure of the pages can be drawn again, and is shown somewhere."""

import importlib.util
import re
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import click
import pytest

from eprop_brian.cli import main

DOCS = Path(__file__).parents[1] / "docs"
spec = importlib.util.spec_from_file_location("redraw_figures", DOCS / "redraw_figures.py")
redraw = importlib.util.module_from_spec(spec)
sys.modules["redraw_figures"] = redraw
spec.loader.exec_module(redraw)

COMMANDS = [command for drawing in redraw.DRAWINGS for command in drawing.commands]
STORED = [stored for drawing in redraw.DRAWINGS for stored in drawing.files]


def test_every_stored_figure_is_drawn_by_one_drawing():
    kept = {
        path.relative_to(DOCS).as_posix()
        for folder in ("figures", "gallery", "performance", "tasks")
        for path in (DOCS / folder).iterdir()
        if path.suffix in (".png", ".gif")
    }
    assert kept == {stored for stored in STORED if stored.endswith((".png", ".gif"))}
    assert max(Counter(STORED).values()) == 1
    assert all((DOCS / stored).exists() for stored in STORED)


def test_a_name_is_that_of_figures_of_one_drawing():
    for drawing in redraw.DRAWINGS:
        for stored in drawing.files:
            assert redraw.chosen([Path(stored).stem]) == [drawing]
    assert redraw.chosen(["handwriting", "handwriting_learning"]) == redraw.chosen(["handwriting"])
    assert redraw.chosen([]) == list(redraw.DRAWINGS)
    with pytest.raises(KeyError, match="handwritten"):
        redraw.chosen(["handwritten"])


def test_every_stored_figure_is_shown():
    text = "".join(
        path.read_text() for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts
    )
    examples = re.findall(r"^```\{example\} (\S+)\n```$", text, re.MULTILINE)
    shown = {f"gallery/{name}.png" for name in examples}
    for stored in STORED:
        if stored.endswith((".png", ".gif")):
            assert stored in shown or stored in text, stored


@pytest.mark.parametrize("command", COMMANDS)
def test_command_can_be_parsed(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    _, *rest = redraw.words(command, data=str(tmp_path / "data"))
    if rest[:2] == ["-m", "eprop_brian"]:
        _, _, name, *arguments = rest
        if name == "plot":
            Path(arguments[0]).mkdir(parents=True)
        context = main.commands[name].make_context(name, arguments)
    elif rest[0] == "-m":
        module = import_module(f"{rest[1]}.__main__" if rest[1] == "benchmarks" else rest[1])
        context = module.main.make_context(rest[1], rest[2:])
    else:
        assert Path(rest[0]).is_file()
        return
    assert isinstance(context, click.Context)


def test_a_drawing_stores_what_its_commands_write(tmp_path, monkeypatch):
    monkeypatch.setattr(redraw, "DOCS", tmp_path)
    (tmp_path / "a.png").write_text("old")
    write = "from pathlib import Path; Path('b.png').write_text('{}')"
    drawing = redraw.Drawing((f'python -c "{write.format("new")}"',), {"a.png": "b.png"})
    redraw.draw(drawing)
    assert (tmp_path / "a.png").read_text() == "new"

    fails = f'python -c "{write.format("half")}; raise SystemExit(3)"'
    with pytest.raises(Exception, match="status 3"):
        redraw.draw(redraw.Drawing((fails,), {"a.png": "b.png"}))
    assert (tmp_path / "a.png").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
