"""What all writers of blocks share: a network's groups and the code that they fill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from brian2.groups.group import Group

from eprop_brian.network.built import emission_names
from eprop_brian.network.groups import NetworkGroups
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.step.parts import block_name
from eprop_brian.steps.blocks import StepCode, View
from eprop_brian.steps.spiking import Spikes, Synapses
from eprop_brian.symbolic.names import substituted

__all__ = ["Writer", "views"]


def views(sides: Iterable[tuple[Group, str, Iterable[str]]]) -> list[View]:
    """Views of the sides that `repeat` takes, for the statements once."""
    return [View(group, index, {name: name for name in names}) for group, index, names in sides]


class Writer:
    """Writes blocks of a network.

    Attributes
    ----------
    network : Resolved
    groups : NetworkGroups
    code : StepCode
    signals : mapping of str to str
        Equation of the error that each readout's learning signals carry.
    control : View
        Numbers that steer a call.
    """

    def __init__(self, groups: NetworkGroups, signals: Mapping[str, str]) -> None:
        self.network, self.groups, self.code = groups.network, groups, StepCode()
        self.signals = signals
        self.control = View(groups.control, "0")

    def block(self, part: str, what: str, statements: Iterable[str], *views: View) -> None:
        """Add a block of a part."""
        self.code.block(block_name(part, what), statements, *views)

    def array(self, group: str, variable: str, index: str = "0") -> str:
        """Register an array and return the name that it has in the blocks."""
        return self.code.array(self.groups.groups[group], variable, index)

    def own(self, group: str, index: str = "_neuron") -> View:
        """All variables of a group."""
        return View(self.groups.groups[group], index)

    def spikes(self, name: str, size: int) -> Spikes:
        """The spikes of a source."""
        return Spikes(
            name,
            size,
            self.groups.layout.width(size),
            self.array(name, "z", "_neuron"),
            self.array(f"{name}_spikes", "neuron", "_neuron"),
            self.array(f"{name}_offsets", "first", "_neuron"),
            self.array(name, "_spikespace"),
        )

    def synapses(
        self, p: BuiltProjection, extra: int | str | None = None, feedback_width: int | None = None
    ) -> Synapses:
        """How the synapses of a projection are stored."""
        post = first = None
        if p.sparse:
            post = self.code.array(p.group, "post", "_synapse")
            first = self.array(f"{p.name}_rows", "first", "_neuron")
        size = int(p.group.N)
        return Synapses(p.n_pre, p.n_post, p.width, size, post, first, extra, feedback_width)

    def of_readout(self, name: str, code: str) -> str:
        """An equation that may read the parameters of a readout."""
        return substituted(code, self.groups.readout_names[name])

    def filter_parameters(self, target: str) -> View:
        """The parameters of the filter of a population's traces, where they are read.

        All readouts filter in the same way, so those of the first serve for all. A population to
        which a learning signal is emitted has those of its filter itself.
        """
        group, names = self.network.readouts[0].name, self.groups.readout_names
        if target in self.groups.emitted:
            return View(self.groups.groups[target], "0", self._own_filter(target))
        return View(self.groups.groups[group], "0", {one: one for one in names[group].values()})

    def _own_filter(self, target: str) -> dict[str, str]:
        names = emission_names(self.groups.emitted[target]).values()
        return {one: one for one in names}

    def window(self, target: str) -> None:
        """The block that keeps what the traces read, for the next pass over the synapses."""
        # The learning signal of a step may come later, see the block ``window_signal``.
        late = self.groups.signal_names(target) if target in self.groups.systems else ()
        kept = (name for name in self.groups.signals(target) if name not in late)
        stored = {f"{name}_stored": name for name in kept}
        self.block(
            target,
            "window",
            [f"{stored_name} = {name}" for stored_name, name in stored.items()],
            View(self.groups.groups[f"{target}_window"], "_window", stored),
            self.own(target),
        )
