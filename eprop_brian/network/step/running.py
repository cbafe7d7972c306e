"""Nodes that run the blocks of a network's parts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from eprop_brian.network.step.parts import (
    NetworkParts,
    PopulationPart,
    ProjectionPart,
    ReadoutPart,
    block_name,
    coupling_block,
)
from eprop_brian.steps.nodes import Each, If, Lap, Node, Pairs, Record, Sync
from eprop_brian.steps.spiking import Deliver, Follow, RowUpdate, Signal, mirrored

__all__ = ["Running"]


class Running:
    """Nodes that run the blocks of parts. A block that a part does not have gives no node.

    Parameters
    ----------
    parts : NetworkParts
    blocks : collection of str
    """

    def __init__(self, parts: NetworkParts, blocks: Collection[str]) -> None:
        self.parts, self.rules, self._blocks = parts, parts.rules, frozenset(blocks)

    def block(self, part: str, what: str) -> str | None:
        """The name of a block, if there is such a block."""
        name = block_name(part, what)
        return name if name in self._blocks else None

    def each(
        self,
        part: str,
        what: str,
        n: int,
        rows: Mapping[str, str] | None = None,
        padded: int | None = None,
        index: str = "_neuron",
    ) -> list[Node]:
        """A block for all elements."""
        block = self.block(part, what)
        return [Each(block, n, rows or {}, padded, index)] if block else []

    def neurons(self, population: PopulationPart, what: str, **rows: str) -> list[Node]:
        """A block for all neurons; `rows` are the steps at which other indices stand."""
        spikes = population.spikes
        places = {f"_{index}": f"{row}*{spikes.width}" for index, row in rows.items()}
        return self.each(population.name, what, spikes.n, places, spikes.width)

    def outputs(self, readout: ReadoutPart, what: str, **rows: str) -> list[Node]:
        """A block for all readouts."""
        places = {f"_{index}": row for index, row in rows.items()}
        return self.each(readout.name, what, readout.n, places)

    def probabilities(self, readout: ReadoutPart) -> list[Node]:
        """The softmax probabilities of a readout, if its loss reads them."""
        if not self.block(readout.name, "softmax"):
            return []
        pairs = Pairs(block_name(readout.name, "softmax"), readout.n)
        return [pairs, *self.outputs(readout, "probability"), Sync()]

    def loss(self, readout: ReadoutPart, what: str = "loss", **rows: str) -> list[Node]:
        """The loss of a readout in a step; `rows` are where its target and what it keeps stand.

        Or a part of its error, `what`, alone.
        """
        nodes: list[Node] = []
        couple = coupling_block(what)
        if self.block(readout.name, couple):
            coupled = Pairs(block_name(readout.name, "coupled"), readout.n)
            sample = {"sample": rows["sample"]} if "sample" in rows else {}
            nodes = [*self.outputs(readout, couple, **sample), Sync(), coupled, Sync()]
        return [*nodes, *self.outputs(readout, what, **rows)]

    def recorded(self, moment: str, row: str, part: str = "") -> list[Node]:
        """What is recorded at a moment of a step, into a row; with `part`, of this one alone."""
        records: list[Node] = [
            Record(probe.array, f"({row})*{probe.n}", probe.value, probe.n)
            for probe in self.parts.probes
            if probe.moment == moment and part in ("", probe.part)
        ]
        return [Sync(), *records, Sync()] if records else []

    def lap(self, stage: str) -> list[Node]:
        """The end of a stage, if time is measured."""
        stages = self.rules.stages
        return [Lap(stages.index(stage))] if stages else []

    def deliver(self, projection: ProjectionPart) -> Deliver:
        """The node that delivers spikes."""
        return Deliver(
            block_name(projection.name, "deliver"),
            self.block(projection.name, "deliver_several"),
            projection.synapses,
            self.parts.sources[projection.source],
            projection.delay,
            projection.analog,
            self.rules.later_rows,
            projection.adds,
            mirrored("_step") if self.parts.is_mirrored(projection) else "_step",
        )

    def lagged(self, projection: ProjectionPart) -> dict[int, str]:
        """Blocks of the steps around an arrival, by lag; none if delays do not learn."""
        name = projection.name
        return {lag: block_name(name, f"lag_{k}") for k, lag in enumerate(projection.lags)}

    def row_update(self, projection: ProjectionPart) -> RowUpdate:
        """An update of a presynaptic neuron's synapses."""
        return RowUpdate(
            block_name(projection.name, "optimize"),
            projection.synapses,
            projection.updates,
            projection.sums,
            projection.weights,
        )

    def signals(self, population: str, row: str, what: str = "deliver") -> list[Signal]:
        """The learning signals of a population, from a row of the history of errors."""
        return [
            Signal(block_name(s.name, what), s.synapses, row, s.delay)
            for s in self.parts.signals
            if s.population == population and self.block(s.name, what)
        ]

    def spread(self, readout: ReadoutPart, number: int) -> list[Node]:
        """The learning signals of a step from a readout, of this number, that diffuse."""
        rules, diffusions = self.rules, self.parts.diffusions
        spreading = [d for d in diffusions if d.readout == readout.name]
        targets = {d.target for d in spreading}
        hearing = [p for p in self.parts.populations if p.name in targets]
        nodes: list[Node] = []
        for p in hearing:
            nodes += self.neurons(p, "spread")
        nodes.append(Sync())
        for p in hearing:
            nodes += self.signals(p.name, f"_step + {rules.signal_rows}")
        nodes += [Signal(block_name(d.name, "deliver"), d.synapses, "0", None) for d in spreading]
        nodes.append(Sync())
        for p in hearing:
            nodes += self.kept_signal(p)
        # Before the first error that counts there is nothing to spread.
        return nodes if readout.period else [If(f"_step >= _window_start_{number}", nodes)]

    def kept_signal(self, population: PopulationPart) -> list[Node]:
        """Keep the learning signal of a step for the backward pass, if there is one."""
        lag = self.rules.lag
        kept = self.neurons(population, "hear", history=f"(_step - {lag})")
        return [If(f"_step >= {lag}", kept)] if lag and kept else kept

    def diffuse(self) -> list[Node]:
        """The learning signals of a step that diffuse."""
        sending = {d.readout for d in self.parts.diffusions}
        readouts = enumerate(self.parts.readouts)
        return [node for k, r in readouts if r.name in sending for node in self.spread(r, k)]

    def follow(self) -> list[Follow]:
        """Feedback weights that follow those of a readout."""
        return [s.follow for s in self.parts.signals if s.follow]
