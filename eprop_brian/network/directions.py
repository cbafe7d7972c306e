"""Populations that go through a trial from its last step to its first.

Such a population is the same network run forwards on inputs in the opposite order. Its steps are
its own: step s of it is step T - 1 - s of a trial of T steps. Readouts hear both kinds where they
meet, so they are computed when all populations have gone through the trial; errors then go back to
a reversed population in its own order. (Graves and Schmidhuber 2005; Bellec et al. 2020, in the
network for TIMIT.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eprop_brian.network.graph import Connection, SignalConnection

if TYPE_CHECKING:
    from eprop_brian.network.resolved import Resolved

__all__ = ["check_directions", "mirrored_inputs"]


def mirrored_inputs(inputs: str) -> str:
    """The source that has the spikes of some inputs from the last step of a trial on."""
    return f"{inputs}_mirrored"


def check_directions(network: Resolved) -> None:
    """Refuse what a network with populations in reverse time cannot have.

    Raises
    ------
    ValueError
        It names the part, and what would be right.
    """
    if not network.reversed:
        return
    first = next(p.name for p in network.populations if p.reverse_time)
    what = f"population '{first}' has reverse_time"
    if network.gradient == "online":
        raise ValueError(
            f"{what}, which gradient = 'online' cannot have: a synapse would have to wait for "
            "errors of steps that its neuron has long passed. Choose 'factored' or 'bptt'"
        )
    if network.agent is not None:
        raise ValueError(
            f"{what}, but the network has an agent: what is still to come depends on its actions. "
            "Leave reverse_time away"
        )
    if network.readout_delay:
        raise ValueError(
            f"{what}, and readouts then see the spikes of their own step: leave the delays of "
            "projections to readouts away"
        )
    for connection in network.connections:
        _check_connection(connection, network, what)
    for signal in network.signals:
        _check_signal(signal, network, what)


def _check_connection(c: Connection, network: Resolved, what: str) -> None:
    """Refuse a connection between directions, and what readouts cannot hear afterwards."""
    where = f"projection '{c.name}'"
    if c.kind == "recurrent":
        ends = [*c.sources, *c.targets]
        forwards = [name for name in ends if name not in network.reversed]
        backwards = [name for name in ends if name in network.reversed]
        if forwards and backwards:
            raise ValueError(
                f"{where} connects '{forwards[0]}', which goes forwards through a trial, with "
                f"'{backwards[0]}', which has reverse_time: when one of them reaches a step the "
                "other has not been there, so let them meet in a readout"
            )
    if not c.to_readout:
        if c.from_inputs and c.transmission is not None and {*c.targets} & network.reversed:
            raise ValueError(
                f"{where} has dynamics of its synapses, which inputs to a population with "
                "reverse_time cannot have: leave its synapse away"
            )
        return
    if c.reads or c.transmission is not None:
        raise ValueError(
            f"{what}, so readouts hear spikes when all neurons have gone through the trial: "
            f"{where} can have neither `reads` nor a synapse"
        )
    constant = {group.name for group in network.inputs if group.constant}
    if c.from_inputs and not constant >= {*c.sources}:
        raise ValueError(
            f"{what}, so readouts hear spikes when all neurons have gone through the trial: "
            f"{where} can lead there from populations and constant inputs alone"
        )


def _check_signal(signal: SignalConnection, network: Resolved, what: str) -> None:
    where = f"learning signal '{signal.name}'"
    if signal.emitted or signal.diffusion is not None:
        kind = "is emitted" if signal.emitted else "diffuses"
        raise ValueError(
            f"{what}, so errors are known when all neurons have gone through the trial: {where} "
            f"{kind}, which happens step by step. Choose other feedback"
        )
    late = {*signal.targets} & network.reversed
    if signal.delay_steps is not None and late:
        raise ValueError(
            f"{where} is delayed, but '{min(late)}' has reverse_time, in which later is earlier: "
            "leave the delay away"
        )
