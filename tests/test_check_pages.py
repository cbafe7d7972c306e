"""The check of the built pages finds what is wrong with them."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "check_pages.py"
spec = importlib.util.spec_from_file_location("check_pages", SCRIPT)
pages = importlib.util.module_from_spec(spec)
sys.modules["check_pages"] = pages
spec.loader.exec_module(pages)

GOOD = """<p id="here"><a href="other.html#there">a</a> <a href="#here">b</a>
<a href="https://example.org/none">c</a> <img src="a.png" alt="A curve that falls"></p>
<div class="highlight-python notranslate"><div class="highlight"><pre><span>x</span> = 1
</pre></div></div>"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "other.html").write_text('<h2 id="there">There</h2>')
    return tmp_path


def test_good_pages_pass(folder):
    assert list(pages.check(folder)) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("other.html#there", "gone.html", "index.html: link to gone.html: there is no such file"),
        ("#there", "#nowhere", "index.html: link to other.html#nowhere: there is no such place"),
        (' alt="A curve that falls"', "", "image a.png: its alt text is missing"),
        ("A curve that falls", " ", "image a.png: its alt text is missing"),
        ("x</span> = 1", "x</span> = " + 97 * "1", "101 columns of code: x = 111"),
    ],
)
def test_what_is_wrong_is_said(folder, old, new, message):
    (folder / "index.html").write_text(GOOD.replace(old, new))
    (found,) = pages.check(folder)
    assert message in found


def test_long_lines_of_what_is_printed_are_wrapped(folder):
    printed = GOOD.replace("x</span> = 1", "x</span> = " + 97 * "1")
    printed = printed.replace('class="highlight-python', 'class="wrapped highlight-python')
    (folder / "index.html").write_text(printed)
    assert list(pages.check(folder)) == []


def test_contrasts_are_those_of_the_standard(folder):
    # Examples of the explanation of WCAG 2.
    assert pages.contrast("#000", "#ffffff") == pytest.approx(21)
    assert pages.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    styles = folder / "_static" / "pygments.css"
    styles.parent.mkdir()
    styles.write_text(".highlight { background: #fff; color: #000 }\n.highlight .c { color: #777 }")
    (found,) = pages.check(folder)
    assert found.startswith("pygments.css: .highlight .c has a contrast of 4.5 (#777 on #fff)")


def test_a_folder_without_pages_is_wrong(tmp_path):
    assert list(pages.check(tmp_path)) == [f"{tmp_path}: no pages"]
