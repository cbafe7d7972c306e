"""A network and its trials as parts of Brian2 (`eprop_brian.brian.parts`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from eprop_brian.brian.context import Context, renamed
from eprop_brian.brian.functions import NAMES
from eprop_brian.brian.neurons import describe_inputs, describe_population, finish_population
from eprop_brian.brian.parts import NetworkPart, WeightBlock
from eprop_brian.brian.readouts import describe_readout, finish_readout
from eprop_brian.brian.sources import Source
from eprop_brian.brian.synapses import describe_projection, describe_signal, prepare_projection
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.state import SessionState, check_batches

__all__ = ["check_exportable", "describe"]


def describe(
    network: Network | Resolved,
    trials: Trials,
    *,
    learning_window: int,
    batch_size: int,
    weights: Mapping[str, Any],
) -> NetworkPart:
    """Describe a network that learns from trials.

    Parameters
    ----------
    network : Network or Resolved
    trials : Trials
        A whole number of batches.
    learning_window : int
    batch_size : int
    weights : mapping
        As `Network.initial_weights` gives them.

    Raises
    ------
    ValueError
        If the network has something that ordinary Brian2 objects have not, or trials and weights do
        not fit it.
    """
    resolved = as_resolved(network)
    check_exportable(resolved)
    check_batches(trials, batch_size)
    state = SessionState(network, trials, learning_window, weights)
    part = NetworkPart([], float(resolved.dt), state.n_steps, trials.n_trials, batch_size)
    context = Context(state, batch_size)
    part.shapes = dict(resolved.shapes)
    _time_inputs(part, resolved, trials)
    sources: dict[str, Source] = {}
    for inputs in resolved.inputs:
        sources[inputs.name] = describe_inputs(context, part, inputs, trials.n_trials)
    for population in resolved.populations:
        sources[population.name] = describe_population(context, part, population, trials)
    for readout in resolved.readouts:
        sources[readout.name] = describe_readout(context, part, readout)
    arriving: dict[str, dict[str, list[str]]] = {name: {} for name in sources}
    ends = [
        (c, sources[source], sources[target])
        for c in resolved.connections
        for source in c.sources
        for target in c.targets
    ]
    projections = [p for p in (prepare_projection(context, *end) for end in ends) if p is not None]
    for p in projections:
        if p.received:
            variables = arriving[p.target.part.name].setdefault(p.input_of(context), [])
            variables.append(p.received)
        describe_projection(context, part, p)
    for s in resolved.signals:
        for target in s.targets:
            if not (s.symmetric or s.learns):
                describe_signal(context, part, s, sources[s.source], sources[target])
    for inputs in resolved.inputs:
        sources[inputs.name].finish(context)
    for population in resolved.populations:
        finish_population(
            context, population, sources[population.name], state.weights, arriving[population.name]
        )
        for name in population.learned:
            key = f"{population.name}.{name}"
            variable = sources[population.name].learned[name]
            part.weights.append(WeightBlock(key, population.name, variable))
            part.shapes[key] = (population.size,)
    for readout in resolved.readouts:
        own = sources[readout.name]
        finish_readout(context, part, readout, own, trials, arriving[readout.name].get("I", []))
    for one in (*part.groups.values(), *part.synapses.values()):
        one.codes = [replace(code, lines=renamed(code.lines, NAMES)) for code in one.codes]
    for synapses in part.synapses.values():
        if synapses.on_pre is not None:
            lines = renamed(synapses.on_pre.lines, NAMES)
            synapses.on_pre = replace(synapses.on_pre, lines=lines)
    return part


def _time_inputs(part: NetworkPart, network: Resolved, trials: Trials) -> None:
    """The arrays of inputs, and which of their patterns and targets each trial has.

    The step after the last trial has an input of its own: none.
    """
    for name, columns in network.input_slices.items():
        own = trials.inputs[:, :, columns]
        rows = own.reshape(-1, own.shape[2]).astype(float)
        part.timed[f"{name}_patterns"] = np.append(rows, np.zeros((1, own.shape[2])), axis=0)
    part.timed["pattern_of_trial"] = np.append(trials.pattern, len(trials.inputs)).astype(float)
    part.timed["target_of_trial"] = trials.target.astype(float)


def check_exportable(network: Resolved) -> None:
    """Refuse what ordinary Brian2 objects have not.

    Raises
    ------
    ValueError
        It names the part.
    """
    if network.continuous:
        raise ValueError(
            f"updates = '{network.updates}' runs on without trials, which is not written for"
            " Brian2's objects: learn by trials, with updates = 'batch'"
        )
    if network.gradient == "bptt":
        raise ValueError(
            "gradient = 'bptt' runs in JAX, which Brian2 has not: choose factored or online"
        )
    if network.rewiring is not None:
        raise ValueError(
            "rewiring cannot be written with Brian2's objects, whose synapses stay where they are: "
            "leave rewiring away"
        )
    if network.clip_norm is not None:
        raise ValueError(
            "clip_norm needs the gradients of all synapses at once, which Brian2's synapses have "
            "not: use clip_value, which each has for itself"
        )
    for readout in network.readouts:
        if readout.loss.of_labels:
            raise ValueError(
                f"readout '{readout.name}' has a loss of labels, whose errors become known at a "
                "trial's end, which is not written for Brian2's objects: choose another loss"
            )
    if network.frame_steps > 1:
        raise ValueError(
            f"readout '{network.readouts[0].name}' takes a step every {network.frame_steps} of the "
            "network, which is not written for Brian2's objects: leave `every` away"
        )
    for p in network.populations:
        if p.reverse_time:
            raise ValueError(
                f"population '{p.name}' has reverse_time, and Brian2's clocks run forwards: leave "
                "reverse_time away"
            )
    for c in network.connections:
        if c.learned_delay is not None:
            raise ValueError(
                f"projection '{c.name}' learns its delays, which Brian2 fixes when a run begins: "
                "leave its learned_delay away"
            )
        if c.shared is not None and c.plastic:
            raise ValueError(
                f"projection '{c.name}' shares weights, but each of Brian2's synapses learns for "
                "itself: let it stay as it is (learn = False)"
            )
    for s in network.signals:
        if s.emitted:
            raise ValueError(
                f"learning signal '{s.name}' is emitted by a population, which is not written for "
                "Brian2's objects: send it from a readout"
            )
        if s.diffusion is not None:
            raise ValueError(
                f"learning signal '{s.name}' diffuses, which is not written for Brian2's objects: "
                "leave its diffusion away"
            )
