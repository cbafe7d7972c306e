"""Which probes a recording needs, and which elements they record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from eprop_brian.network.built import BuiltNetwork
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.probes import Probe, probed_places
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.names import own
from eprop_brian.training.quantities import Recordable
from eprop_brian.training.traces import TracedSynapse, connection_of

__all__ = ["Probing", "threshold_states"]

#: Connection, source and target: what synapses that are stored together have in common.
_Ends = tuple[str, str, str]


def threshold_states(population: PopulationGroup) -> list[str]:
    """States that the spike condition reads."""
    step = population.system.step
    read = {s.name for s in step.margin.free_symbols}
    return [state for state in step.states if state in read]


class Probing:
    """The probes of a recording.

    Parameters
    ----------
    network : Resolved
    quantities : sequence of Recordable
        What is recorded.
    neurons : mapping of str to list of int
        Of each population.
    synapses : int or sequence of TracedSynapse
        A number makes room for so many, which `choose` names after a first run.

    Attributes
    ----------
    synapses : list of TracedSynapse
    """

    def __init__(
        self,
        network: Resolved,
        quantities: Sequence[Recordable],
        neurons: Mapping[str, list[int]],
        synapses: int | Sequence[TracedSynapse],
    ) -> None:
        self.network, self.neurons = network, neurons
        self._elements: dict[Probe, list[int | tuple[int, int]]] = {}
        for q in quantities:
            self._add(q)
        if isinstance(synapses, int):
            numbers = dict.fromkeys(self._all_ends(), synapses)
        else:
            numbers = Counter(map(self._ends, synapses))
        self._of_synapses = {
            (ends, q.variable): Probe(ends[0], q.variable, n, ends[1:])
            for ends, n in numbers.items()
            for q in quantities
            if q.kind == "synapses" and n and q.part == ends[2] and ends[0] in q.units
        }
        self.choose([] if isinstance(synapses, int) else synapses)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """All probes, each once."""
        return (*self._elements, *self._of_synapses.values())

    def choose(self, synapses: Sequence[TracedSynapse]) -> None:
        """Say which synapses to record."""
        self.synapses = list(synapses)
        self._pairs: dict[_Ends, list[tuple[int, int]]] = {}
        for synapse in synapses:
            pairs = self._pairs.setdefault(self._ends(synapse), [])
            pairs.append((synapse.pre, synapse.post))

    def places(self, built: BuiltNetwork) -> dict[str, np.ndarray]:
        """Arrays that tell the program which elements to record."""
        synapses = {probe: self._pairs.get(k[0], []) for k, probe in self._of_synapses.items()}
        return probed_places(built, {**self._elements, **synapses})

    def of_neurons(self, population: str, variable: str) -> Probe:
        """The probe of a variable of neurons."""
        return Probe(population, variable, len(self.neurons[population]))

    def of_synapse(self, synapse: TracedSynapse, variable: str) -> tuple[Probe, int]:
        """The probe of a synapse's variable, and the synapse's number there."""
        ends = self._ends(synapse)
        number = self._pairs[ends].index((synapse.pre, synapse.post))
        return self._of_synapses[ends, variable], number

    def of_signals(self, population: str) -> list[tuple[Probe, slice]]:
        """Probes of what learning signals bring to a population, and which outputs send it."""
        n, network = len(self.neurons[population]), self.network
        return [
            (
                Probe(signal.name, "transmitted", n * readout.size, (readout.name, population)),
                network.output_slices[readout.name],
            )
            for signal in network.signals
            for readout in network.readouts
            if population in signal.targets and readout.name in signal.sources
        ]

    def _add(self, q: Recordable) -> None:
        """Add the probes that a quantity needs, unless it is one of synapses."""
        if q.kind == "pairs":
            for probe, outputs in self.of_signals(q.part):
                sending = range(outputs.stop - outputs.start)
                self._elements[probe] = [(k, j) for j in self.neurons[q.part] for k in sending]
        elif q.kind == "neurons":
            variables = [q.variable] if q.variable else []
            if q.name == "threshold" and not q.is_state:
                population = next(p for p in self.network.populations if p.name == q.part)
                variables = [own(state) for state in threshold_states(population)]
            for variable in variables:
                self._elements[self.of_neurons(q.part, variable)] = [*self.neurons[q.part]]
        elif q.kind == "outputs":
            variable = "y" if q.name == "output" else q.variable
            size = next(r.size for r in self.network.readouts if r.name == q.part)
            if variable:
                self._elements[Probe(q.part, variable, size)] = [*range(size)]

    def _all_ends(self) -> list[_Ends]:
        """All parts of connections whose synapses have traces."""
        return [
            (c.name, source, target)
            for c in self.network.connections
            if c.plastic and not c.to_readout
            for source in c.sources
            for target in c.targets
        ]

    def _ends(self, synapse: TracedSynapse) -> _Ends:
        connection = connection_of(self.network, synapse)
        assert connection is not None  # as `check_synapses` has seen
        return connection.name, synapse.source, synapse.target
