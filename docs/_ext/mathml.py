"""Formulas as MathML: every current browser draws it, without a script from another server."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

_LOGGER = logging.getLogger(__name__)
#: Accents, which docutils would take for operators with their index below.
_ACCENT = re.compile(r"(\\(?:bar|hat|tilde)\{[^{}]*\})")
#: Environments that docutils takes for granted when it finds several rows.
_ROWS = re.compile(r"\s*\\(begin|end)\{(align|aligned|split|gather|equation)\*?\}\s*")


def _mathml(node: nodes.Node, *, block: bool) -> str:
    tex = _ACCENT.sub(r"{\1}", node.astext())
    if block:
        tex = _ROWS.sub("", tex)
    try:
        return tex2mathml(tex, as_block=block).replace("\n", "")
    except MathError as error:
        _LOGGER.warning("formula cannot be written as MathML: %s", error, location=node)
        return f"<code>{escape(tex)}</code>"


def _visit_math(translator: Any, node: nodes.math) -> None:
    translator.body.append('<span class="math notranslate nohighlight">')
    translator.body.append(f"{_mathml(node, block=False)}</span>")
    raise nodes.SkipNode


def _visit_displaymath(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node.get("number"):
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})</span>')
    translator.body.append(f"{_mathml(node, block=True)}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the renderer as ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
