"""Networks that learn by one update: what they can have, and the same without who emits."""

from __future__ import annotations

from dataclasses import replace

from eprop_brian.equations.learning_signals import SYMMETRIC
from eprop_brian.network.exogenous import draws, samples_of
from eprop_brian.network.graph import SignalConnection
from eprop_brian.network.resolved import Resolved

__all__ = ["check_one_update", "with_errors", "without_emitting"]


def check_one_update(network: Resolved) -> None:
    """Refuse networks whose update is more than that of weights by emitted learning signals.

    Raises
    ------
    ValueError
        It names the option.
    """
    if any(readout.loss.of_labels for readout in network.readouts):
        raise ValueError(
            "one update by emitted learning signals is tested by losses of steps: choose another "
            "loss than one of labels"
        )
    if not any(signal.emitted for signal in network.signals):
        raise ValueError(
            "no population of the network emits a learning signal: add LearningSignal(<population>,"
            " <population>, 'random')"
        )
    options = "c_reg", "c_v", "c_l2", "clip_value", "clip_norm", "average_gradient", "rewiring"
    for name in options:
        if getattr(network, name):
            raise ValueError(f"one update by emitted learning signals has no {name}: leave it away")
    others = [signal.name for signal in network.signals if not signal.emitted]
    if others:
        raise ValueError(
            f"learning signal '{others[0]}' comes from a readout, but the update is by emitted "
            "ones alone: leave it away"
        )
    if network.keys.learned or network.keys.delays:
        raise ValueError(
            "one update by emitted learning signals changes weights alone: no parameter of a "
            "neuron and no delay can learn"
        )
    emitted_to = {target for signal in network.signals for target in signal.targets}
    for c in network.connections:
        if c.plastic and not {*c.targets} <= emitted_to:
            raise ValueError(
                f"projection '{c.name}' learns, but no learning signal is emitted to its target: "
                "give it learn=False"
            )
        if c.plastic and c.shared:
            raise ValueError(
                f"projection '{c.name}' shares weights, which the update cannot change"
            )
    for population in network.populations:
        if draws([population]) or samples_of(population):
            raise ValueError(
                f"population '{population.name}' reads random numbers or timed arrays, which the "
                "second derivative of an update has not: take another neuron"
            )
    if network.keys.optimizer:
        raise ValueError(
            f"optimizer '{network.optimizer.name}' keeps something from one update to the next, "
            "but there is one only: take gradient_descent"
        )


def without_emitting(network: Resolved) -> Resolved:
    """A network without the populations that do nothing but emit, and without learning signals.

    Its outputs are the same; inputs keep their places.
    """
    useful: set[str] = {readout.name for readout in network.readouts}
    while True:
        reaching = {s for c in network.connections if useful & {*c.targets} for s in c.sources}
        if reaching <= useful:
            break
        useful |= reaching
    kept = tuple(p for p in network.populations if p.name in useful)
    connections = tuple(c for c in network.connections if {*c.targets} <= useful)
    return replace(network, populations=kept, connections=connections, signals=())


def with_errors(network: Resolved) -> Resolved:
    """A network that learns by the errors of its readouts, in the place of what is emitted.

    These come back through the weights of the readouts (symmetric e-prop), and traces are filtered
    as the readouts filter spikes. Populations that do nothing but emit are left away.
    """
    alone = without_emitting(network)
    signals = tuple(
        SignalConnection(f"B_{c.name}", c.targets, c.sources, SYMMETRIC, follows=c.name)
        for c in alone.connections
        if c.to_readout and not c.from_inputs
    )
    return replace(alone, signals=signals)
