"""From what a program recorded to quantities with units and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eprop_brian.base.sparse import Matrix
from eprop_brian.network.exogenous import constant_values, exogenous_values
from eprop_brian.network.graph import PopulationGroup
from eprop_brian.network.probes import Probe
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.expressions import evaluate, symbol
from eprop_brian.symbolic.names import own
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.probing import Probing, threshold_states
from eprop_brian.training.quantities import Recordable, membrane_of
from eprop_brian.training.recorded import Member, Recorded
from eprop_brian.training.session import Session
from eprop_brian.training.traces import TracedSynapse, connection_of

__all__ = ["Assembly"]


class Assembly:
    """What was recorded in a trial that has run.

    Parameters
    ----------
    network : Resolved
    probing : Probing
    session : Session
        Whose program has run the trial.
    trials : Trials
        The trial.
    weights : mapping
        With which it ran, learned parameters among them.
    """

    def __init__(
        self,
        network: Resolved,
        probing: Probing,
        session: Session,
        trials: Trials,
        weights: Mapping[str, Matrix],
    ) -> None:
        self._network, self._probing, self._session = network, probing, session
        self._trials, self._weights = trials, weights
        self._read: dict[Probe, np.ndarray] = {}

    def quantity(self, name: str, recordables: Sequence[Recordable]) -> Recorded:
        """A quantity of all parts that have it, side by side."""
        kind = recordables[0].kind
        if kind == "synapses":
            return self._of_synapses(name, recordables)
        values, members, units = [], [], []
        for q in recordables:
            indices, part = self._part(q)
            values.append(part)
            members += [Member(q.part, i) for i in indices]
            units += [q.units[""]] * len(indices)
        return Recorded(name, kind, np.concatenate(values, axis=1), tuple(members), tuple(units))

    def _part(self, q: Recordable) -> tuple[Sequence[int], np.ndarray]:
        """The members of a part that were recorded, and their values."""
        network, trials = self._network, self._trials
        if q.kind == "inputs":
            columns = network.input_slices[q.part]
            values = trials.inputs[trials.pattern[0]][:, columns].copy()
            return range(values.shape[1]), values
        if q.kind == "outputs":
            values = self._outputs(q)
            return range(values.shape[1]), values
        chosen = self._probing.neurons[q.part]
        if q.kind == "pairs":
            return chosen, self._transmitted(q.part)
        if q.variable:
            return chosen, self._of_neurons(q.part, q.variable)
        if q.name == "spikes":
            return chosen, self._session.spikes()[:, network.slices[q.part]][:, chosen]
        return chosen, self._threshold(q.part)

    def _values(self, probe: Probe) -> np.ndarray:
        """What a probe recorded, (n_steps, n)."""
        if probe not in self._read:
            program = self._session.program
            stored = program.get(program.built.key(program.built.probes[probe], "x"))
            self._read[probe] = stored.reshape(self._session.n_steps, probe.n).astype(float)
        return self._read[probe]

    def _of_neurons(self, population: str, variable: str) -> np.ndarray:
        return self._values(self._probing.of_neurons(population, variable))

    def _outputs(self, q: Recordable) -> np.ndarray:
        readout = next(r for r in self._network.readouts if r.name == q.part)
        n_steps = self._session.n_steps
        if q.name == "target":
            target = self._trials.targets[self._trials.target[0]]
            target = target[:, self._network.output_slices[q.part]]
            return np.array(np.broadcast_to(target, (n_steps, readout.size)))
        values = self._values(Probe(q.part, q.variable or "y", readout.size))
        # A program has probabilities only where they count.
        scored = q.name == "output" and readout.loss.signal == "p"
        if not scored:
            return values
        from scipy.special import softmax  # which takes a while to import

        return softmax(values, axis=1)

    def _transmitted(self, population: str) -> np.ndarray:
        """Signals at each neuron from each output, (n_steps, n_neurons, n_outputs)."""
        n_steps, n = self._session.n_steps, len(self._probing.neurons[population])
        values = np.zeros((n_steps, n, self._network.n_outputs))
        for probe, outputs in self._probing.of_signals(population):
            values[:, :, outputs] += self._values(probe).reshape(n_steps, n, -1)
        return values

    def _threshold(self, name: str) -> np.ndarray:
        """What the membrane must reach for a spike."""
        network, chosen = self._network, self._probing.neurons[name]
        population = next(p for p in network.populations if p.name == name)
        step, dt = population.system.step, float(network.dt)
        states = {s: self._of_neurons(name, own(s)) for s in threshold_states(population)}
        membrane = membrane_of(population)
        learned = {p: self._weights[f"{name}.{p}"] for p in population.learned}
        values = {
            parameter: np.asarray(value)[chosen] if np.ndim(value) else value
            for parameter, value in step.values(dt, learned).items()
        }
        exogenous = {**constant_values(population), **self._exogenous(population)}
        for name in (quantity.name for quantity in step.exogenous if quantity.several):
            exogenous[name] = np.asarray(exogenous[name])[..., chosen]
        right = symbol(membrane) - step.margin
        where = f"neuron '{population.neuron.name}', threshold"
        threshold = evaluate(right, {**values, **exogenous, "dt": dt, **states}, where)
        return np.array(np.broadcast_to(threshold, states[membrane].shape))

    def _exogenous(self, population: PopulationGroup) -> dict[str, np.ndarray]:
        """What the population has read of time, noise and timed arrays, (n_steps, size or 1)."""
        key, n_steps = self._trials.noise_keys[:1], self._session.n_steps
        values = exogenous_values(population, key, n_steps, float(self._network.dt))
        return {name: value[:, 0] for name, value in values.items()}

    def _of_synapses(self, name: str, recordables: Sequence[Recordable]) -> Recorded:
        """A quantity of those of the chosen synapses that have it."""
        of_targets = {q.part: q for q in recordables}
        n_steps = self._session.n_steps
        late = self._network.readout_delay if self._network.continuous else 0
        columns, members, units = [], [], []
        for synapse in self._probing.synapses:
            q, connection = of_targets.get(synapse.target), self._connection(synapse)
            if q is None or connection not in q.units:
                continue
            probe, number = self._probing.of_synapse(synapse, q.variable)
            column = self._values(probe)[:, number].copy()
            if late and q.variable != "w":
                # The learning signals that these traces wait for come after the trial.
                column[n_steps - late :] = np.nan
            columns.append(column)
            members.append(synapse)
            units.append(q.units[connection])
        values = np.stack(columns, axis=1) if columns else np.zeros((n_steps, 0))
        return Recorded(name, "synapses", values, tuple(members), tuple(units))

    def _connection(self, synapse: TracedSynapse) -> str:
        connection = connection_of(self._network, synapse)
        return connection.name if connection else ""
