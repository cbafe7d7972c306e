"""Which learning signals wait in tags for rewards, if a network learns from episodes forwards."""

from __future__ import annotations

from collections.abc import Mapping

from eprop_brian.network.agent import split_errors
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.losses import ErrorPart
from eprop_brian.symbolic.programs import Tags, direct_name
from eprop_brian.symbolic.readings import signal_name

__all__ = ["Tagging"]


class Tagging:
    """How the errors of actor and critic reach synapses before an advantage is known.

    Parameters
    ----------
    network : Resolved
    systems : mapping of str to EligibilitySystem
        Of the populations.

    Attributes
    ----------
    errors : dict of str to (ErrorPart, ErrorPart)
        What rewards multiply of the error of each readout, and what they do not.
    """

    def __init__(self, network: Resolved, systems: Mapping[str, EligibilitySystem]) -> None:
        self._network, self._systems = network, systems
        self.errors: dict[str, tuple[ErrorPart, ErrorPart]] = split_errors(network)

    def is_direct(self, readout: str) -> bool:
        """Whether a part of a readout's error does not wait for rewards."""
        return not self.errors[readout][1].is_zero

    def direct_variables(self, target: str) -> list[str]:
        """What a target's traces meet at once: parts of learning signals, or of a readout's error.

        They are named `eprop_brian.symbolic.programs.direct_name`.
        """
        return [direct_name(name) for name in sorted(self.tags(target).direct)]

    def tags(self, target: str) -> Tags:
        """How the learning signals of a population, or errors of a readout, wait for rewards."""
        if target not in self._systems:
            return Tags(frozenset(["error"] * self.is_direct(target)))
        system = self._systems[target]
        reads = (
            self._network.reads(target, readout)
            for signal in self._network.signals
            for readout in signal.sources
            if target in signal.targets and self.is_direct(readout)
        )
        return Tags(frozenset(signal_name(system.number_of(text)) for text in reads))
