"""From what is given to what follows: the parts of a `Network` as groups and connections.

Checked as a whole, so that a combination that cannot work is refused before anything is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from brian2.units import Quantity
from brian2.utils.stringtools import get_identifiers

from eprop_brian.base.checks import check_positive, check_real
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.losses import LOSSES, Loss, weighted
from eprop_brian.equations.readouts import ReadoutFilter
from eprop_brian.network.checks import (
    check_bptt,
    check_learned,
    check_options,
    check_paths,
    check_rewiring,
    check_training,
    check_updates,
)
from eprop_brian.network.delays import delay_steps
from eprop_brian.network.feedback import check_loss
from eprop_brian.network.filters import filter_values
from eprop_brian.network.graph import Connection, Group, InputGroup, ReadoutGroup
from eprop_brian.network.parts import (
    Agent,
    Inputs,
    LearningSignal,
    Population,
    Projection,
    Readout,
    names_of,
)
from eprop_brian.network.populations import check_group_name, make_populations
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.rewiring import as_rewiring, draw_signs, rewired_fractions
from eprop_brian.network.wiring import Wiring, reads_of
from eprop_brian.symbolic.errors import named
from eprop_brian.symbolic.losses import derive_loss
from eprop_brian.symbolic.programs import cutoff_program, readout_program

if TYPE_CHECKING:
    from eprop_brian.network.spec import Network

__all__ = ["make_readout", "resolve"]

P = TypeVar("P", Inputs, Population, Projection, Readout, LearningSignal, Agent)


def resolve(network: Network) -> Resolved:
    """What follows from a network.

    Raises
    ------
    ValueError, EquationError
        If a size, name, unit or combination cannot work.
    """
    _check_parts(network.parts)
    check_options(network)
    check_training(network)
    inputs = tuple(_input_group(part) for part in _of_kind(network, Inputs))
    populations = make_populations(
        _of_kind(network, Population),
        network.dt,
        network.c_v,
        network.voltage_cost,
        reads_of(_of_kind(network, Projection)),
        network.connectivity_seed,
    )
    check_learned(network.optimizer, populations)
    readouts = tuple(_readout_group(part, network.dt) for part in _of_kind(network, Readout))
    groups = _by_name((*inputs, *populations, *readouts))
    optimizer = network.optimizer
    wiring = Wiring(groups, network.dt, network.connectivity_seed, optimizer)
    connections = [wiring.connection(part) for part in _of_kind(network, Projection)]
    signals = [wiring.signal(part, connections) for part in _of_kind(network, LearningSignal)]
    rewiring = as_rewiring(network.rewiring)
    if rewiring is not None:
        fractions = rewired_fractions(rewiring, [c.name for c in connections])
        check_rewiring(network, fractions, connections, signals)
        signs = draw_signs(rewiring, fractions, connections, network.connectivity_seed)
        connections = [_rewired(c, signs, fractions) for c in connections]
    check_updates(network, populations)
    averaging = "moving" if network.continuous else network.rate_averaging
    if network.gradient == "bptt":
        check_bptt(averaging, readouts, signals)
    resolved = Resolved(
        inputs=inputs,
        populations=populations,
        readouts=readouts,
        connections=tuple(connections),
        signals=tuple(signals),
        agent=_agent(_of_kind(network, Agent)),
        optimizer=optimizer,
        gradient=network.gradient,
        updates=network.updates,
        rate_averaging=averaging,
        trace_cutoff_steps=None,
        rewiring=rewiring,
        c_reg=network.c_reg,
        f_target=network.f_target,
        kappa_reg=network.kappa_reg,
        c_v=network.c_v,
        voltage_cost=network.voltage_cost,
        c_l2=network.c_l2,
        clip_value=network.clip_value,
        clip_norm=network.clip_norm,
        average_gradient=network.average_gradient,
        dt=network.dt,
        history_steps=network.history_steps,
        history_dtype=network.history_dtype,
    )
    check_paths(resolved)
    if network.trace_cutoff is None:
        return resolved
    return replace(resolved, trace_cutoff_steps=_cutoff(network.trace_cutoff, resolved))


def _check_parts(parts: Any) -> None:
    """Check that there are inputs, neurons and a readout, and nothing that is no part."""
    kinds = (Inputs, Population, Projection, Readout, LearningSignal, Agent)
    if isinstance(parts, str) or not isinstance(parts, Sequence):
        raise ValueError(
            "a network is a list of parts: Network([Inputs(40), Population(LIF, 100), ...]); "
            "Network.standard(n_inputs, n_outputs, [(LIF, 100)]) and Network.for_task(task, "
            f"[(LIF, 100)]) make the usual ones; got {parts!r}"
        )
    for part in parts:
        if not isinstance(part, kinds):
            names = ", ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"a part of a network is one of {names}, not {part!r}")
    for kind in (Inputs, Population, Readout):
        if not any(isinstance(part, kind) for part in parts):
            raise ValueError(f"a network needs at least one part of the kind {kind.__name__}")
    if all(part.constant is True for part in parts if isinstance(part, Inputs)):
        raise ValueError("a network needs inputs that a task drives: all of its are constant")


def _of_kind(network: Network, kind: type[P]) -> list[P]:
    return [part for part in network.parts if isinstance(part, kind)]


def _agent(parts: Sequence[Agent]) -> Agent | None:
    """The part that acts, if there is one."""
    if len(parts) > 1:
        raise ValueError("a network has one Agent at most: it acts in one environment")
    for agent in parts:
        for name in ("discount", "trace_decay"):
            check_real(f"{name} of the agent", getattr(agent, name), minimum=0)
            if getattr(agent, name) > 1:
                raise ValueError(
                    f"{name} of the agent must be from 0 to 1, not {getattr(agent, name)}"
                )
        check_real("noise of the agent", agent.noise, minimum=0)
        if not isinstance(agent.bootstrap, bool):
            raise ValueError(f"bootstrap of the agent is true or false, not {agent.bootstrap!r}")
        pairs = agent.local
        if isinstance(pairs, str) or not isinstance(pairs, Sequence):
            raise ValueError(
                f"local of the agent is a list of pairs [policy, value] of readouts, not {pairs!r}"
            )
        for pair in pairs:
            if len(names_of(pair)) != 2 or isinstance(pair, str):
                raise ValueError(
                    "local of the agent is a list of pairs [policy, value], each the names of two "
                    f"readouts, not of {pair!r}"
                )
        return agent
    return None


def _rewired(
    c: Connection, signs: Mapping[str, np.ndarray], fractions: Mapping[str, float]
) -> Connection:
    """A connection with the signs and the number of its synapses, if it is rewired."""
    if c.name not in signs:
        return c
    n_connected = max(1, round(fractions[c.name] * c.n_possible))
    return replace(c, signs=signs[c.name], n_connected=n_connected)


def _by_name(groups: Sequence[Group]) -> dict[str, Group]:
    by_name: dict[str, Group] = {}
    for group in groups:
        if group.name in by_name:
            raise ValueError(
                f"two parts of the network are called '{group.name}': give each a name of its own"
            )
        by_name[group.name] = group
    return by_name


def _input_group(part: Inputs) -> InputGroup:
    check_group_name(part.name, "group of inputs")
    check_positive(f"the number of inputs '{part.name}'", part.size)
    if not isinstance(part.constant, bool):
        raise ValueError(f"inputs '{part.name}': constant is true or false, not {part.constant!r}")
    return InputGroup(part.name, int(part.size), part.constant)


def _readout_group(part: Readout, dt: Quantity) -> ReadoutGroup:
    check_group_name(part.name, "readout")
    check_positive(f"the number of outputs of readout '{part.name}'", part.size)
    if not isinstance(part.filter, ReadoutFilter):
        raise ValueError(
            f"readout '{part.name}': its filter is a ReadoutFilter such as LEAKY, not "
            f"{part.filter!r}"
        )
    with named(f"readout '{part.name}'"):
        loss = _as_loss(part.loss, part.filter)
        check_loss(loss, _names(part.filter), part.size)
    check_real(f"loss_weight of readout '{part.name}'", part.loss_weight)
    every = _steps_of_step(part, dt)
    readout = make_readout(
        part.name, int(part.size), part.filter, weighted(loss, float(part.loss_weight)), dt * every
    )
    readout = replace(readout, every=every)
    if part.window is None:
        return readout
    window = delay_steps(f"window of readout '{part.name}'", part.window, dt, 1, ())
    return replace(readout, window_steps=int(window))


def _steps_of_step(part: Readout, dt: Quantity) -> int:
    """Steps of the network in which a readout takes one."""
    if part.every is None:
        return 1
    every = int(delay_steps(f"every of readout '{part.name}'", part.every, dt, 1, ()))
    if every > 1 and "dt" in get_identifiers(part.filter.update):
        raise ValueError(
            f"readout '{part.name}': its update reads dt, the network's time step, but it takes a "
            f"step every {every} of these: write what follows from dt as a constant of the filter"
        )
    return every


def make_readout(
    name: str, size: int, readout: ReadoutFilter, loss: Loss, dt: Quantity
) -> ReadoutGroup:
    """A group of readouts, with the values and the filter of its equations.

    Parameters
    ----------
    name : str
    size : int
    readout : ReadoutFilter
    loss : Loss
    dt : Quantity

    Raises
    ------
    ValueError, EquationError
        If a parameter has another unit, or the equations are no linear filter.
    """
    program = readout_program(readout)
    return ReadoutGroup(name, size, readout, loss, filter_values(readout, dt), program)


def _names(readout: ReadoutFilter) -> list[str]:
    return [*readout.parameters, *readout.constants]


def _as_loss(loss: Loss | str, readout: ReadoutFilter) -> Loss:
    """A loss by name, or derived from an equation."""
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise ValueError(f"loss must be a name or an equation, not {loss!r}")
    if loss in LOSSES:
        return LOSSES[loss]
    if not get_identifiers(loss) & {"y", "p"}:
        raise ValueError(
            f"{unknown('loss', loss, LOSSES)}. Or give an equation of y and y_target, for "
            "example 'log(cosh(y - y_target))'"
        )
    return derive_loss(loss, tuple(_names(readout)))


def _cutoff(trace_cutoff: Quantity, network: Resolved) -> int:
    """Steps of the trace cut-off, if a trace meets a learning signal before."""
    cutoff = delay_steps("trace_cutoff", trace_cutoff, network.dt, 1, ())
    spread = max(c.spread for c in network.connections if not c.to_readout)
    least = spread + network.readout_delay + 1
    if cutoff < least:
        raise ValueError(
            f"trace_cutoff of {cutoff} steps is too short: with this network's delays a "
            f"spike's trace meets its first learning signal after {least} steps"
        )
    for population in network.populations:
        for readout in network.readouts:
            for receptor in population.system.drive:
                cutoff_program(population.system, readout.program, network.rate_averaging, receptor)
    return int(cutoff)
