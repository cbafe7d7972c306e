"""Brian2's objects of a network that is described (`eprop_brian.brian.parts`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from brian2 import (
    Clock,
    Function,
    NeuronGroup,
    Quantity,
    SpikeMonitor,
    StateMonitor,
    Synapses,
    TimedArray,
    second,
)
from brian2 import Network as Brian2Network

from eprop_brian.brian.functions import PYTHON, make_function
from eprop_brian.brian.parts import (
    SCHEDULE,
    Code,
    GroupPart,
    NetworkPart,
    SynapsesPart,
)

__all__ = ["Brian2Objects", "make_objects"]


@dataclass
class Brian2Objects:
    """A network as ordinary objects of Brian2.

    Attributes
    ----------
    network : brian2.Network
        Holds all of them. Add monitors to it, and run it once.
    groups : dict of str to NeuronGroup
        Inputs, populations and readouts by name.
    synapses : dict of str to Synapses
        Projections and learning signals by name.
    spikes : dict of str to SpikeMonitor
        Of the populations.
    outcomes : dict of str to StateMonitor
        Of the readouts, whenever a trial begins: what the one before has left.
    duration : Quantity
        Of all trials and of one step, in which what the last one has left is summed up.
    part : NetworkPart
        What they were made of.
    """

    network: Brian2Network
    groups: dict[str, NeuronGroup]
    synapses: dict[str, Synapses]
    spikes: dict[str, SpikeMonitor]
    outcomes: dict[str, StateMonitor]
    duration: Quantity
    part: NetworkPart = field(repr=False)

    def run(self, **options: Any) -> None:
        """Run all trials, with the options of `brian2.Network.run`.

        Raises
        ------
        RuntimeError
            If they have run: inputs and targets are those of one run.
        """
        if float(self.network.t) > 0:
            raise RuntimeError(
                "these objects have run their trials: make new ones by to_brian2, with "
                "weights=objects.weights() to go on from what they have learned"
            )
        self.network.run(self.duration, **{"namespace": {}, **options})

    def losses(self) -> np.ndarray:
        """Loss of every trial."""
        self._check_recorded()
        total = np.zeros(self.part.n_trials)
        for outcome in self.part.outcomes:
            monitor = self.outcomes[outcome.readout]
            sums = np.asarray(getattr(monitor, outcome.loss))[:, 1:].T
            each = sums.mean(axis=1) if outcome.mean_over_readouts else sums.sum(axis=1)
            total += each / outcome.counted
        return total

    def outputs(self) -> np.ndarray:
        """Mean output of every trial and answer, shape (n_trials, n_answers, n_outputs)."""
        self._check_recorded()
        means = []
        for outcome in self.part.outcomes:
            monitor = self.outcomes[outcome.readout]
            sums = [np.asarray(getattr(monitor, x))[:, 1:].T for x in outcome.outputs]
            by_answer = np.stack(sums, axis=1)
            with np.errstate(invalid="ignore"):  # an answer that a trial does not have
                means.append(by_answer / outcome.steps[:, :, np.newaxis])
        return np.concatenate(means, axis=2)

    def _check_recorded(self) -> None:
        """Raise unless all trials have run."""
        n_trials = min(len(monitor.t) for monitor in self.outcomes.values()) - 1
        if n_trials != self.part.n_trials:
            raise RuntimeError(
                f"losses and outputs are those of {self.part.n_trials} trials, of which "
                f"{max(n_trials, 0)} have ended: call run() first, once"
            )

    def weights(self) -> dict[str, np.ndarray]:
        """Weights [post, pre], and parameters that learn, by the keys of the network's."""
        matrices = {name: np.zeros(shape) for name, shape in self.part.shapes.items()}
        for block in self.part.weights:
            matrix = matrices[block.matrix]
            if block.object in self.groups:
                matrix[:] = np.asarray(getattr(self.groups[block.object], f"{block.variable}_"))
                continue
            synapses = self.synapses[block.object]
            pre, post = np.asarray(synapses.i), np.asarray(synapses.j)
            rows, columns = (pre, post) if block.transposed else (post, pre)
            values = np.asarray(getattr(synapses, block.variable))
            matrix[block.row + rows, block.column + columns] = values
        return matrices


def make_objects(part: NetworkPart) -> Brian2Objects:
    """Make the objects of a network on the device that is active."""
    dt = part.dt * second
    clocks = {
        "step": Clock(dt=dt, name="step_clock"),
        "trial": Clock(dt=part.n_steps * dt, name="trial_clock"),
        "batch": Clock(dt=part.batch_size * part.n_steps * dt, name="batch_clock"),
    }
    timed: dict[str, Any] = {
        name: TimedArray(values, dt=dt, name=name) for name, values in part.timed.items()
    }
    timed |= {name: make_function(name) for name in PYTHON if part.calls(name)}
    groups = {g.name: _group(part, g, timed, clocks) for g in part.groups.values()}
    synapses = {s.name: _synapses(part, s, groups, timed, clocks) for s in part.synapses.values()}
    spikes = {name: SpikeMonitor(groups[name], name=f"spikes_of_{name}") for name in part.spiking}
    outcomes = {
        o.readout: StateMonitor(
            groups[o.readout],
            [o.loss, *o.outputs],
            record=True,
            clock=clocks["trial"],
            name=f"outcomes_of_{o.readout}",
        )
        for o in part.outcomes
    }
    network = Brian2Network(
        *groups.values(), *synapses.values(), *spikes.values(), *outcomes.values()
    )
    network.schedule = [*SCHEDULE]
    duration = (part.n_trials * part.n_steps + 1) * dt
    return Brian2Objects(network, groups, synapses, spikes, outcomes, duration, part)


def _group(
    network: NetworkPart,
    part: GroupPart,
    functions: Mapping[str, Function],
    clocks: Mapping[str, Clock],
) -> NeuronGroup:
    group = NeuronGroup(
        part.size,
        _model(part.variables),
        threshold=part.threshold or None,
        reset="" if part.threshold else None,
        namespace=_namespace(network, part, functions),
        clock=clocks["step"],
        name=part.name,
    )
    if part.threshold:
        group.thresholder["spike"].when = part.threshold_when
        group.thresholder["spike"].order = 1
    _run_codes(group, part.codes, clocks)
    for variable, values in part.arrays.items():
        setattr(group, f"{variable}_", np.broadcast_to(values, part.size))
    return group


def _run_codes(
    group: NeuronGroup | Synapses, codes: list[Code], clocks: Mapping[str, Clock]
) -> None:
    for number, code in enumerate(codes):
        runner = group.run_regularly(
            "\n".join(code.lines),
            clock=clocks[code.clock],
            when=code.when,
            order=code.order,
            name=f"{group.name}_{code.when}_{number}",
        )
        runner.check_units = code.has_units


def _synapses(
    network: NetworkPart,
    part: SynapsesPart,
    groups: Mapping[str, NeuronGroup],
    functions: Mapping[str, Function],
    clocks: Mapping[str, Clock],
) -> Synapses:
    summed = [f"{s.variable} = {s.expression} : 1 (summed)" for s in part.summed]
    on_pre, dt = part.on_pre, network.dt * second
    arguments: dict[str, Any] = {}
    if on_pre is not None:
        arguments["on_pre"] = "\n".join(on_pre.lines)
        if not np.ndim(on_pre.delay):
            arguments["delay"] = on_pre.delay * dt
    synapses = Synapses(
        groups[part.source],
        groups[part.target],
        "\n".join([_model(part.variables), *summed]),
        namespace=_namespace(network, part, functions),
        clock=clocks["step"],
        name=part.name,
        **arguments,
    )
    if part.connect == "pairs":
        synapses.connect(i=part.pairs[0], j=part.pairs[1])
    else:
        synapses.connect(condition="i != j" if part.connect == "others" else None)
    if on_pre is not None:
        synapses.pre.when, synapses.pre.order = on_pre.when, on_pre.order
        if np.ndim(on_pre.delay):
            synapses.pre.delay = on_pre.delay * dt
    for s in part.summed:
        updater = synapses.summed_updaters[s.variable]
        updater.when, updater.order = s.when, s.order
    _run_codes(synapses, part.codes, clocks)
    for variable, values in part.arrays.items():
        setattr(synapses, variable, values)
    return synapses


def _model(variables: Mapping[str, str]) -> str:
    return "\n".join(f"{name} : {unit}" for name, unit in variables.items())


def _namespace(
    network: NetworkPart, part: GroupPart | SynapsesPart, functions: Mapping[str, Function]
) -> dict[str, Any]:
    called = {name: functions[timed] for name, timed in part.functions.items()}
    called |= {name: functions[name] for name in PYTHON if part.calls(name)}
    return {**part.constants, **called}
