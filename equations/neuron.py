"""A spiking neuron as equation strings.

A `Neuron` is data: the equations of one time step, the condition for a spike, the surrogate for
the spike's missing derivative, and parameters. Nothing here computes; `eprop_brian.symbolic` turns
a `Neuron` into a step map and derives its learning rule.

Two ways of writing a neuron are understood:

*update style*, as papers print it: ``update`` holds one statement per state. Statements run in the
order written, each sees the values already updated above it. ``I`` is the step's summed weighted
input, ``z`` the neuron's own spike of the step before, and ``not_refractory`` is 1, or 0 in a step
in which the neuron is refractory.

*Brian2 style*: ``model`` holds differential equations with units, integrated by ``method``;
``reset`` runs after a spike; ``on_pre`` is the effect of a presynaptic spike of weight ``w``. The
step is ``on_pre``, ``reset`` (where the step before spiked), then Brian2's own state updater, which
is the order of a Brian2 simulation seen from one threshold test to the next.

A neuron may have several receptors, each with dynamics of its own, and every connection then drives
one of them. In Brian2 style ``on_pre`` is a mapping, ``{"ampa": "g_ampa += w", "gaba": "g_gaba +=
w"}``; in update style ``receptors = ("ampa", "gaba")`` names them, and statements read ``I_ampa``
and ``I_gaba`` in place of ``I``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from eprop_brian.base.description import Described, Description, assignments
from eprop_brian.equations.parametrised import Parametrised

__all__ = ["Neuron", "Parameter"]

#: A number, a Brian2 quantity, a string with a unit ("20 ms"), or one value per neuron.
Parameter = Any


@dataclass(frozen=True)
class Neuron(Described, Parametrised):
    """A spiking neuron as equation strings.

    Parameters
    ----------
    name : str
        Short lower-case name, used in the names of the Brian2 objects built from it.
    threshold : str
        Condition for a spike, a single comparison such as ``"v >= v_th + beta*a"``.
    surrogate : str
        dz/dv as an expression of the states. Evaluated, never differentiated.
    refractory_surrogate : str
        dz/dv in the steps in which the neuron is refractory, likewise; may be a constant.
    update : str
        Update style: one statement per state, one per line.
    model, method, reset : str
        Brian2 style: differential equations, name of Brian2's state updater, and statements after a
        spike.
    on_pre : str or mapping
        Brian2 style: the effect of a presynaptic spike of weight ``w`` (``"v += w"``). A mapping
        has that of every receptor, by name; the inputs of a step enter in its order.
    receptors : tuple of str
        Update style: names of the receptors; none for a single input ``I``.
    refractory : str
        Time without spikes after a spike: a parameter's name or a time (``"5 ms"``). The smallest
        inter-spike interval is this time in steps: rounded in update style, and in Brian2 style
        cut off, as Brian2 does.
    parameters : mapping
        Numbers, quantities, or strings with units; an array gives every neuron its own value.
    constants : mapping
        Quantities computed once from the parameters and ``dt``, as expressions
        (``{"alpha": "exp(-dt/tau_m)"}``).
    initial : mapping
        Value of a state at the start of a trial, as an expression of the parameters; 0 if absent.
    detach : tuple of str, optional
        States whose path through the neuron's own spike is not differentiated. Default: the states
        the input enters, and the membrane: of the states that the input reaches without a spike,
        those whose rise makes the threshold's condition true.
    source : str
        Where the equations come from.
    """

    kind: ClassVar[str] = "neuron"

    name: str
    threshold: str
    surrogate: str
    update: str = ""
    model: str = ""
    method: str = "exact"
    reset: str = ""
    on_pre: str | Mapping[str, str] = ""
    receptors: tuple[str, ...] = ()
    refractory: str = ""
    refractory_surrogate: str = "0"
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    initial: Mapping[str, str] = field(default_factory=dict)
    detach: tuple[str, ...] | None = None
    source: str = ""

    @property
    def on_pre_by_receptor(self) -> Mapping[str, str]:
        """The effect of a presynaptic spike at every receptor; at ``""`` without receptors."""
        return {"": self.on_pre} if isinstance(self.on_pre, str) else self.on_pre

    @property
    def receptor_names(self) -> tuple[str, ...]:
        """Names of the receptors; ``("",)`` for a single input without a name."""
        return tuple(self.receptors or self.on_pre_by_receptor)

    def description(self) -> Description:
        """Its equations and parameters, for `print` and notebooks."""
        refractory = [self.refractory] if self.refractory.strip() else []
        if refractory and self.refractory_surrogate.strip() != "0":
            refractory.append(f"surrogate = {self.refractory_surrogate}")
        rows = [
            ("update", _lines(self.update)),
            ("model", _lines(self.model)),
            ("method", self.method if self.model.strip() else ""),
            *_on_pre_rows(self.on_pre_by_receptor),
            ("receptors", ", ".join(self.receptors)),
            ("reset", _lines(self.reset)),
            ("threshold", self.threshold.strip()),
            ("surrogate", self.surrogate.strip()),
            ("refractory", "\n".join(refractory)),
            ("parameters", assignments(self.parameters)),
            ("constants", assignments(self.constants)),
            ("initial", assignments(self.initial)),
            ("detach", "" if self.detach is None else ", ".join(self.detach) or "nothing"),
            ("source", self.source),
        ]
        return Description(f"Neuron {self.name}", rows)

    def __repr__(self) -> str:
        equations = _lines(self.update or self.model).replace("\n", "; ")
        return f"<neuron '{self.name}': {equations}>"


def _on_pre_rows(effects: Mapping[str, str]) -> list[tuple[str, str]]:
    """The effect of a presynaptic spike, a row for each receptor."""
    return [
        (f"on_pre, {receptor}" if receptor else "on_pre", _lines(code))
        for receptor, code in effects.items()
    ]


def _lines(code: str) -> str:
    """Code without indentation and empty lines."""
    return "\n".join(line.strip() for line in code.splitlines() if line.strip())
