"""Formulas as MathML: every current browser draws it, without a script from another server."""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

_MATHML = "http://www.w3.org/1998/Math/MathML"
ElementTree.register_namespace("", _MATHML)
_LOGGER = logging.getLogger(__name__)
#: The sign between a function and its argument, and the space that TeX leaves there.
_APPLY, _THIN = "\u2061", "0.17em"
#: Environments that docutils takes for granted when it finds several rows.
_ROWS = re.compile(r"\s*\\(begin|end)\{(align|aligned|split|gather|equation)\*?\}\s*")
#: A fraction of two digits without braces, which docutils takes for a number over what follows.
_FRACTION = re.compile(r"(\\[dt]?frac)\s*(\d)\s*(\d)")
#: A section of a derivation: an environment whose first row is a title.
SECTION = re.compile(
    r"\\begin\{align\*\}\s*& \\textbf\{(?P<title>.*?)\} \\\\\n(?P<rows>.*?)\\end\{align\*\}", re.S
)


def mathml(tex: str, *, block: bool) -> str:
    """Write a formula as MathML; raises MathError for what it cannot write."""
    tex = _FRACTION.sub(r"\1{\2}{\3}", tex)
    if block:
        tex = _ROWS.sub("", tex)
    return _with_indices(tex2mathml(tex, as_block=block))


def _mathml(tex: str, node: nodes.Node, *, block: bool) -> str:
    try:
        return mathml(tex, block=block)
    except MathError as error:
        _LOGGER.warning("formula cannot be written as MathML: %s", error, location=node)
        return f"<code>{escape(tex)}</code>"


def _with_indices(markup: str) -> str:
    """Put the index of an accented letter beside it: docutils puts it below, as under a sum."""
    # XML has no names for characters such as &nbsp; but these five.
    named = re.sub(r"&(?!lt;|gt;|amp;|quot;|apos;)\w+;", lambda m: unescape(m[0]), markup)
    formula = ElementTree.fromstring(named)
    for element in list(formula.iter(f"{{{_MATHML}}}munderover")):
        letter, index, accent = element
        if accent.tag == f"{{{_MATHML}}}mo" and letter.tag != accent.tag:
            for part in (letter, accent):
                element.remove(part)
            accented = ElementTree.Element(f"{{{_MATHML}}}mover")
            accented.extend((letter, accent))
            element.insert(0, accented)
            element.tag = f"{{{_MATHML}}}msub"
    _set_brackets(formula)
    _set_functions(formula)
    # At the beginning of a cell and before words they would get no space.
    for cell in formula.iter(f"{{{_MATHML}}}mtd"):
        if len(cell) and cell[0].tag == f"{{{_MATHML}}}mo" and cell[0].text in ("=", ":", "←"):
            cell[0].set("lspace", "0.28em")
            cell[0].set("rspace", "0.28em")
    return ElementTree.tostring(formula, encoding="unicode").replace("\n", "")


def _set_brackets(formula: ElementTree.Element) -> None:
    """Let angle brackets grow in pairs alone (``\\left``), and bars stand close to a term."""
    pairs = [
        bracket
        for row in formula.iter(f"{{{_MATHML}}}mrow")
        if len(row) > 1 and (row[0].text, row[-1].text) == ("⟨", "⟩")
        for bracket in (row[0], row[-1])
    ]
    for sign in formula.iter(f"{{{_MATHML}}}mo"):
        if sign.text in ("⟨", "⟩") and sign not in pairs:
            sign.set("stretchy", "false")
        if sign.text == "|":
            sign.set("lspace", "0")
            sign.set("rspace", "0")


def _set_functions(formula: ElementTree.Element) -> None:
    """Give the name of a function a thin space on both sides, but towards signs and brackets."""
    for row in list(formula.iter()):
        for sign in [part for part in row if part.text == _APPLY]:
            place = list(row).index(sign)
            after = row[place + 1] if place + 1 < len(row) else sign
            first = next((part for part in after.iter() if (part.text or "").strip()), after)
            if first.tag != f"{{{_MATHML}}}mo":
                sign.set("rspace", _THIN)
            if place > 1 and row[place - 2].tag != f"{{{_MATHML}}}mo":
                row.insert(place - 1, ElementTree.Element(f"{{{_MATHML}}}mspace", width=_THIN))


def _visit_math(translator: Any, node: nodes.math) -> None:
    translator.body.append('<span class="math notranslate nohighlight">')
    translator.body.append(f"{_mathml(node.astext(), node, block=False)}</span>")
    raise nodes.SkipNode


def _visit_displaymath(translator: Any, node: nodes.math_block) -> None:
    tex = node.astext()
    sections = [(match["title"], match["rows"]) for match in SECTION.finditer(tex)]
    for title, rows in sections or [("", tex)]:
        if title:
            translator.body.append(f"<p><strong>{escape(title)}</strong></p>\n")
        start = translator.starttag(node, "div", CLASS="math notranslate nohighlight")
        translator.body.append(start)
        if node.get("number"):
            number = get_node_equation_number(translator, node)
            translator.body.append(f'<span class="eqno">({number})</span>')
        translator.body.append(f"{_mathml(rows, node, block=True)}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the renderer as ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
