"""Readouts as equation strings: what turns spikes into outputs.

A readout is linear: it sums the weighted spikes of the recurrent neurons of the same step (``I``)
and filters them. The filter that e-prop puts on the eligibility traces is the readout's own, so it
is derived from this equation and never written twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from eprop_brian.equations.neuron import Parameter
from eprop_brian.equations.parametrised import Parametrised

__all__ = ["EMITTED", "LEAKY", "READOUTS", "ReadoutFilter"]


@dataclass(frozen=True)
class ReadoutFilter(Parametrised):
    """A linear readout ``y = A*y + b*I``.

    Parameters
    ----------
    name : str
    update : str
        The statement for ``y``; ``I`` is the summed weighted input of the step.
    parameters, constants : mapping
        As for `eprop_brian.equations.neuron.Neuron`.
    trace_gain : str
        Factor of a new eligibility trace as it enters its filter. ``""`` (the default): the
        derivative dy/dI, which makes the learning rule the derivative of this very readout. NEST
        and the TensorFlow code use ``"1 - kappa"`` whatever the readout does with its input.
    trace_decay : str
        Factor by which a filtered eligibility trace decays in a step. ``""`` (the default): the
        readout's own, dy[t]/dy[t-1]. NEST's e-prop+ has a number of its own, ``"0.97"``.
    source : str
    """

    kind: ClassVar[str] = "readout"

    name: str
    update: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    trace_gain: str = ""
    trace_decay: str = ""
    source: str = ""


LEAKY = ReadoutFilter(
    name="leaky",
    update="y = kappa*y + zeta_out*I",
    parameters={"tau_out": "20 ms"},
    constants={"kappa": "exp(-dt/tau_out)", "zeta_out": "1"},
    source="Bellec et al. 2020, Nat. Commun. 11:3625, eq. 11",
)

EMITTED = replace(
    LEAKY,
    name="emitted",
    trace_gain="1",
    trace_decay="0",
    source="Ortner et al. 2025, arXiv 2405.05141: a learning signal is filtered as an output is, "
    "and meets eligibility traces that are not filtered",
)

READOUTS: dict[str, ReadoutFilter] = {readout.name: readout for readout in (LEAKY, EMITTED)}
