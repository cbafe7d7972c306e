"""Signatures of data classes: defaults as they are written, not what they have become.

Sphinx does so for functions alone (``autodoc_preserve_defaults``), as a data class has no source of
its constructor. So ``dt=1*ms`` stands in the place of ``dt=<factory>``, and ``optimizer=ADAM`` in
that of all that Adam consists of.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import is_dataclass
from functools import cache
from textwrap import dedent
from typing import Any

from sphinx.application import Sphinx

#: What factories make, and the package's own functions that stand for `field`.
_EMPTY = {"dict": "{}", "list": "[]", "tuple": "()", "set": "set()"}
_FIELDS = {"column": "[]", "columns_of": "{}"}


def written_signature(cls: type) -> str:
    """The signature of a data class, with its defaults as its source, or a base's, has them.

    Examples
    --------
    >>> from eprop_brian.tasks import Lemniscate
    >>> written_signature(Lemniscate)
    '(*, dt=1*ms, n_inputs=100, spike_probability=0.05, n_steps=1258)'
    """
    parts, is_named = [], False
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not is_named:
            is_named = True
            parts.append("*")
        default = "" if parameter.default is parameter.empty else _default(cls, parameter.name)
        parts.append(f"{parameter.name}={default}" if default else parameter.name)
    return f"({', '.join(parts)})"


def _default(cls: type, name: str) -> str:
    for base in cls.__mro__:
        if is_dataclass(base) and name in (written := _written(base)):
            return written[name]
    return "..."


@cache
def _written(cls: type) -> dict[str, str]:
    """Defaults in the body of a class, by field; empty where a field must be given."""
    (body,) = ast.parse(dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    return {
        node.target.id: _shown(node.value)
        for node in body.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
    }


def _shown(value: ast.expr) -> str:
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name):
        return _unparsed(value)
    options = {keyword.arg: keyword.value for keyword in value.keywords}
    if value.func.id == "Converted":
        return _unparsed(value.args[1]) if len(value.args) > 1 else ""
    if value.func.id in _FIELDS:
        return _FIELDS[value.func.id]
    if value.func.id != "field":
        return _unparsed(value)
    if "default" in options:
        return _shown(options["default"])
    made = options.get("default_factory")
    if isinstance(made, ast.Lambda):
        return _unparsed(made.body)
    return _EMPTY.get(ast.unparse(made), f"{ast.unparse(made)}()") if made else ""


def _unparsed(value: ast.expr) -> str:
    text = ast.unparse(value)
    is_quantity = isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult | ast.Div)
    return text.replace(" ", "") if is_quantity else text


def _process(
    _app: Sphinx, what: str, _name: str, obj: Any, _options: Any, *shown: str
) -> tuple[str, str | None] | None:
    if what != "class" or not is_dataclass(obj) or "__init__" not in vars(obj):
        return None
    return written_signature(obj), None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handler."""
    app.connect("autodoc-process-signature", _process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
