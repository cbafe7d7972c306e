"""What a network consists of, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

import numpy as np

from eprop_brian.base.description import Description
from eprop_brian.base.sparse import values_of
from eprop_brian.equations.optimizers import Optimizer
from eprop_brian.network.delays import longest
from eprop_brian.network.graph import Connection, SignalConnection

if TYPE_CHECKING:
    from eprop_brian.network.resolved import Resolved
    from eprop_brian.network.spec import Network

__all__ = ["describe", "summary"]

#: Fields that have a row of their own; of the others, those that differ from the default are shown.
_IN_ROWS = frozenset(("parts", "optimizer", "gradient", "updates", "dt"))


def summary(network: Network) -> str:
    """A network in one line: its sizes, and how it learns."""
    neurons = " + ".join(f"{p.size} {p.name}" for p in network.populations)
    return (
        f"{network.n_inputs} inputs, {neurons}, {network.n_outputs} readouts, "
        f"{network.gradient}, {network.optimizer.name}"
    )


def describe(network: Network) -> Description:
    """A table of a network's populations, connections and rules of learning."""
    resolved = network.resolved
    neurons = []
    for population in resolved.populations:
        learned = f", learns {', '.join(population.learned)}" if population.learned else ""
        back = ", in reverse time" * population.reverse_time
        neurons.append(f"{population.size} {population.name}{back}{learned}")
    several = len(resolved.readouts) > 1
    readouts, losses = [], []
    for r in resolved.readouts:
        name = f"{r.name}  " * several
        window = "" if r.window_steps is None else f", its last {r.window_steps} steps"
        every = f", every {r.every} steps" if r.every > 1 else ""
        readouts.append(f"{name}{r.size} {r.readout.name}: {r.readout.update}{every}")
        losses.append(f"{name}{r.loss.name}: {r.loss.loss}{window}")
    rows = [
        ("inputs", "\n".join(_inputs(resolved))),
        ("neurons", "\n".join(neurons)),
        ("readouts", "\n".join(readouts)),
        ("weights [post, pre]", "\n".join(_weights(resolved))),
        ("loss", "\n".join(losses)),
        ("learning signal", "\n".join(_signals(resolved))),
        ("optimizer", _settings(network.optimizer)),
        ("gradient", f"{network.gradient}, weights change after every {network.updates}"),
        ("time step", str(network.dt)),
        ("other options", "\n".join(_options(network))),
    ]
    return Description("Network", rows)


def _inputs(network: Resolved) -> Iterator[str]:
    """The groups of inputs; the only one of a network without its name."""
    if len(network.inputs) == 1:
        yield str(network.n_inputs)
        return
    for group in network.inputs:
        yield f"{group.size} {group.name}{', constant' * group.constant}"


def _weights(network: Resolved) -> Iterator[str]:
    for c in network.connections:
        n_post, n_pre = c.shape
        details = [f"{c.name}  {n_post} x {n_pre}, {_ends(c)}", c.receptor]
        details.append(f"reads {c.reads}" if c.reads else "")
        if c.transmission is not None:
            details.append(f"synapse '{c.transmission.map.synapse.name}'")
        if c.adjacency is not None:
            details.append(f"{c.adjacency.nnz} synapses")
        if c.shared is not None:
            details.append(f"shared weights {' x '.join(map(str, c.weight_shape))}")
        if c.sign:
            details.append("excitatory" if c.sign > 0 else "inhibitory")
        if c.spread:
            details.append(_delays(c))
        if not c.plastic:
            details.append("frozen")
        elif network.optimizer_of(c) != network.optimizer:
            details.append(_difference(network.optimizer_of(c), network.optimizer))
        yield ", ".join(detail for detail in details if detail)


def _delays(c: Connection) -> str:
    steps = values_of(c.delay_steps)
    last = longest(c.delay_steps)
    first = int(np.min(steps, initial=last))
    some = f"delay {last} step" if first == last else f"delays {first} to {last} step"
    delays = some + "s" * (last != 1)
    return f"{delays}, learned up to {c.learned_delay.longest}" if c.learned_delay else delays


def _settings(optimizer: Optimizer) -> str:
    parameters = ", ".join(f"{name} = {value:g}" for name, value in optimizer.parameters.items())
    return f"{optimizer.name}: {parameters}"


def _difference(optimizer: Optimizer, other: Optimizer) -> str:
    """An optimizer by what sets it apart from another."""
    if optimizer.name != other.name or optimizer.parameters.keys() != other.parameters.keys():
        return _settings(optimizer)
    changed = {k: v for k, v in optimizer.parameters.items() if v != other.parameters[k]}
    return ", ".join(f"{name} = {value:g}" for name, value in changed.items())


def _signals(network: Resolved) -> Iterator[str]:
    for signal in network.signals:
        feedback = signal.feedback
        yield f"{signal.name}  {feedback.weights}, {_ends(signal)}"
        yield from (line for line in feedback.update.splitlines() if line.strip())
        if feedback.signal != "error":
            yield f"signal = {feedback.signal}"
        if signal.filter is not None:
            yield f"emitted: {signal.filter.readout.update}"
        if signal.diffusion is not None:
            yield f"diffuses among {signal.shape[0]} neurons"


def _ends(c: Connection | SignalConnection) -> str:
    """Where a connection leads from and to."""
    return f"{' + '.join(c.sources)} -> {' + '.join(c.targets)}"


def _options(network: Network) -> Iterator[str]:
    """Options that differ from the default; of those by name, such as delays, the names."""
    for option in fields(network):
        if option.name in _IN_ROWS:
            continue
        value = getattr(network, option.name)
        if isinstance(value, Mapping):
            if value:
                yield f"{option.name} of {', '.join(value)}"
            continue
        default = option.default
        if option.default_factory is not MISSING:
            default = option.default_factory()
        if value != default:
            yield f"{option.name} = {value}"
