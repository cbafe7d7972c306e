"""Blocks of functions of the weight: their values, which spikes bring, and their slopes."""

from __future__ import annotations

from eprop_brian.network.graph import Connection
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.step.writing import Writer
from eprop_brian.steps.blocks import View
from eprop_brian.symbolic.names import owned

__all__ = ["effective_weight", "slope_of_weight", "write_effective_weight"]

_EFFECTIVE = "w_effective"


def effective_weight(writer: Writer, p: BuiltProjection[Connection]) -> str:
    """The variable of a synapse that a spike brings."""
    return "w" if writer.groups.weight_function(p) is None else _EFFECTIVE


def slope_of_weight(writer: Writer, p: BuiltProjection[Connection]) -> tuple[str, list[View]]:
    """What a gradient by the effective weight is multiplied by, ``""`` for 1, and what it reads."""
    function = writer.groups.weight_function(p)
    if function is None:
        return "", []
    names = owned(function.names)
    return f"({function.code(function.slope, names)})*", _views(writer, p, names)


def write_effective_weight(
    writer: Writer, p: BuiltProjection[Connection]
) -> tuple[list[str], list[View]]:
    """Write how the effective weight follows the weight; returns that for other blocks, too."""
    function = writer.groups.weight_function(p)
    if function is None:
        return [], []
    names = owned(function.names)
    refresh = [f"{_EFFECTIVE} = {function.code(function.expression, names)}"]
    views = _views(writer, p, names)
    writer.block(p.name, "refresh_weights", refresh, *views, View(p.group, "_synapse"))
    return refresh, views


def _views(writer: Writer, p: BuiltProjection[Connection], names: dict[str, str]) -> list[View]:
    """What a function of the weight reads of the postsynaptic neuron."""
    if not names:
        return []
    return [View(writer.groups.groups[p.target], "_post", {x: x for x in names.values()})]
