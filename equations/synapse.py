"""What a synapse does to the spikes that it hands on, as equation strings.

A `Synapse` is written as Brian2's ``Synapses`` is: ``model`` holds the equations of its variables,
``on_pre`` what a presynaptic spike does. Of these, the statement for a variable of the postsynaptic
neuron, ``g_post += w*u*x``, says what arrives; it is the neuron's own ``on_pre`` with an amount
beside the weight. All others are for the variables of the synapse.

All synapses of a presynaptic neuron have the same variables, as they hear the same spikes and have
the same parameters; they are stored and advanced once for each presynaptic neuron.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from eprop_brian.base.description import Described, Description, assignments
from eprop_brian.equations.brian_arguments import expression_of, text_of
from eprop_brian.equations.neuron import Parameter, Text
from eprop_brian.equations.parametrised import Parametrised

__all__ = ["Synapse"]


@dataclass(frozen=True)
class Synapse(Described, Parametrised):
    """Dynamics of the synapses of a projection, driven by presynaptic spikes alone.

    Parameters
    ----------
    model : str or Equations
        Brian2's equations of its variables, with ``(event-driven)`` or ``(clock-driven)``;
        subexpressions; and, if what arrives is a value in every step rather than an effect of
        spikes, that value: ``s_tot_post = w*s : 1 (summed)``. ``w : 1`` may stand there too.
    on_pre : str
        Statements of a presynaptic spike, for its own variables and, unless there is a summed one,
        for variables of the postsynaptic neuron: ``u += U*(1 - u); g_post += w*u*x; x -= u*x``.
        They add what the neuron's own ``on_pre`` adds, times an amount. An input without a name of
        the neuron, or of a readout, is ``I``.
    method : str
        Name of Brian2's state updater of its clock-driven equations; event-driven ones are solved
        exactly.
    parameters : mapping
        Numbers, quantities, or strings with units; an array has a value for each presynaptic
        neuron.
    initial : mapping
        Value of a variable at the start of a trial, as an expression of the parameters or a
        quantity; 0 if absent.
    name : str
        What messages call it.
    source : str
        Where the equations come from.
    """

    kind: ClassVar[str] = "synapse"

    model: Text
    on_pre: Text
    method: str = "exact"
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    initial: Mapping[str, Any] = field(default_factory=dict)
    name: str = "synapse"
    source: str = ""

    def __post_init__(self) -> None:
        # The way in which a frozen dataclass sets its own fields.
        for name in ("model", "on_pre"):
            object.__setattr__(self, name, text_of(getattr(self, name)))
        if isinstance(self.initial, Mapping):
            initial = {state: expression_of(value) for state, value in self.initial.items()}
            object.__setattr__(self, "initial", initial)

    def description(self) -> Description:
        """Its equations and parameters, for `print` and notebooks."""
        rows = [
            ("model", _lines(self.model)),
            ("method", self.method),
            ("on_pre", _lines(self.on_pre)),
            ("parameters", assignments(self.parameters)),
            ("initial", assignments(self.initial)),
            ("source", self.source),
        ]
        return Description(f"Synapse {self.name}", rows)

    def __repr__(self) -> str:
        return f"<synapse '{self.name}': {_lines(self.model).replace(chr(10), '; ')}>"


def _lines(code: str) -> str:
    """Code without indentation and empty lines."""
    return "\n".join(line.strip() for line in code.splitlines() if line.strip())
