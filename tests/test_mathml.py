"""Formulas of the pages as MathML: what docutils would write otherwise than LaTeX means it."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("sphinx")
sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "_ext"))

from mathml import mathml

NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"


def elements(tex, tag):
    return list(ElementTree.fromstring(mathml(tex, block=True)).iter(NAMESPACE + tag))


@pytest.mark.parametrize("tex", [r"\tfrac12 |D|^2", r"\frac 12", r"\frac{1}{2}", r"\dfrac1{2}"])
def test_a_fraction_has_a_numerator_and_a_denominator(tex):
    (fraction,) = elements(tex, "mfrac")
    assert [part.text for part in fraction] == ["1", "2"]


def test_brackets_grow_in_pairs():
    brackets = elements(r"\langle x^2 \rangle_{a}", "mo")
    assert [sign.get("stretchy") for sign in brackets] == ["false", "false"]
    brackets = elements(r"\left\langle x^2 \right\rangle", "mo")
    assert [sign.text for sign in brackets] == ["⟨", "⟩"]
    assert all(sign.get("stretchy") is None for sign in brackets)


def test_bars_stand_close():
    for bar in elements(r"a < |x|", "mo")[1:]:
        assert (bar.text, bar.get("lspace"), bar.get("rspace")) == ("|", "0", "0")


def test_names_of_functions_stand_apart():
    (space,) = elements(r"a \sin(x)", "mspace")
    assert space.get("width") == "0.17em"
    (apply,) = (sign for sign in elements(r"- \log p", "mo") if sign.text == "\u2061")
    assert apply.get("rspace") == "0.17em"
    # Not towards a sign or a bracket.
    assert not elements(r"- \sin(x)", "mspace")
    assert not any(sign.get("rspace") for sign in elements(r"\sin(x)", "mo"))
