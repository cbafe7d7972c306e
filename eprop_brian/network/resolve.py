"""From what is given to what follows: a `Network` as lists of groups and connections.

Checked as a whole, so that a combination that cannot work is refused before anything is compiled.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from brian2.units import Quantity, second
from brian2.utils.stringtools import get_identifiers
from scipy.sparse import csc_array, issparse

from eprop_brian.base.checks import check_choice, check_real
from eprop_brian.base.sparse import Matrix, draw_pairs, structure
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.learning_signals import Feedback
from eprop_brian.equations.losses import LOSSES, Loss
from eprop_brian.equations.readouts import ReadoutFilter
from eprop_brian.network.checks import (
    check_bptt,
    check_learned,
    check_options,
    check_rewiring,
    check_training,
    check_updates,
)
from eprop_brian.network.delays import delay_steps
from eprop_brian.network.feedback import as_learning_signal, check_learning_signal, check_loss
from eprop_brian.network.graph import (
    Connection,
    InputGroup,
    PopulationGroup,
    ReadoutGroup,
    SignalConnection,
    connection,
)
from eprop_brian.network.learned import as_learned
from eprop_brian.network.populations import make_populations
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.rewiring import MATRICES, Rewiring, as_rewiring, draw_signs
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import evaluate
from eprop_brian.symbolic.losses import derive_loss
from eprop_brian.symbolic.parameters import resolve_parameters
from eprop_brian.symbolic.programs import cutoff_program, readout_program

if TYPE_CHECKING:
    from eprop_brian.network.spec import Network

__all__ = ["make_readout", "resolve"]

_W_IN, _W_REC, _W_OUT = MATRICES
_INPUTS, _READOUT, _FEEDBACK = "inputs", "readout", "B"


def resolve(network: Network) -> Resolved:
    """What follows from a network: all its inputs to all neurons, these to each other and out.

    Raises
    ------
    ValueError, EquationError
        If a size, name, unit or combination cannot work.
    """
    loss = _as_loss(network.loss, network.readout)
    check_options(network)
    check_loss(loss, _names(network.readout), network.n_outputs)
    check_training(network)
    learned = {name: as_learned(name, options) for name, options in network.learned.items()}
    check_learned(network, learned)
    populations = make_populations(
        network.neurons, learned, network.dt, network.c_v, network.voltage_cost
    )
    inputs = InputGroup(_INPUTS, int(network.n_inputs))
    readout = make_readout(_READOUT, int(network.n_outputs), network.readout, loss, network.dt)
    connections = [
        connection(_W_IN, [inputs], populations),
        connection(_W_REC, populations, populations),
        connection(_W_OUT, populations, [readout], glorot=network.readout_weights == "glorot"),
    ]
    adjacency = _adjacency(network, connections)
    signal = _signal(network, readout, populations)
    rewiring = as_rewiring(network.rewiring)
    signs: dict[str, np.ndarray] = {}
    if rewiring is not None:
        check_rewiring(network, rewiring, signal, adjacency)
        signs = draw_signs(rewiring, connections, network.connectivity_seed)
    delays = _delays(network, connections, adjacency)
    check_updates(network)
    averaging = "moving" if network.continuous else network.rate_averaging
    if network.gradient == "bptt":
        check_bptt(averaging, network.readout, signal.feedback)
    resolved = Resolved(
        inputs=(inputs,),
        populations=populations,
        readouts=(readout,),
        connections=tuple(
            _completed(c, adjacency.get(c.name), delays[c.name], signs.get(c.name), rewiring)
            for c in connections
        ),
        signals=(signal,),
        optimizer=network.optimizer,
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
    )
    if network.trace_cutoff is None:
        return resolved
    return replace(resolved, trace_cutoff_steps=_cutoff(network.trace_cutoff, resolved))


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
    return ReadoutGroup(name, size, readout, loss, _readout_values(readout, dt), program)


def _readout_values(readout: ReadoutFilter, dt: Quantity) -> dict[str, Any]:
    """SI values of a readout's parameters and constants."""
    where = f"readout '{readout.name}'"
    values, dimensions = resolve_parameters(readout.parameters, f"{where}, parameters")
    for name, value in values.items():
        if name.startswith("tau") and dimensions[name] is not second.dim:
            raise EquationError(where, f"{name} = {value}", "must be a time, e.g. `20 ms`")
        if name.startswith("tau") and not np.all(np.asarray(value) > 0):
            raise EquationError(where, f"{name} = {value}", "must be positive")
    for name, expression in readout.constants.items():
        scope = {**values, "dt": float(dt)}
        values[name] = evaluate(expression, scope, f"{where}, constant {name}")
    return values


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


def _rng(network: Network, what: str) -> np.random.Generator:
    """For draws of the network's structure."""
    seeds = [network.connectivity_seed, zlib.crc32(what.encode())]
    return np.random.default_rng(np.random.SeedSequence(seeds))


def _adjacency(network: Network, connections: Collection[Connection]) -> dict[str, csc_array]:
    seed = network.connectivity_seed
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"connectivity_seed must be a whole number from 0 on, not {seed!r}")
    if not isinstance(network.connectivity, Mapping):
        raise ValueError(
            "connectivity names weight matrices, e.g. {w_rec = 0.1}; "
            f"got {network.connectivity!r}"
        )
    by_name = {c.name: c for c in connections}
    adjacency = {}
    for name, value in network.connectivity.items():
        check_choice("weight matrix in connectivity", name, by_name)
        if isinstance(value, int | float | str) or np.isscalar(value):
            adjacency[name] = _drawn(by_name[name], value, _rng(network, name))
        else:
            adjacency[name] = _checked_adjacency(by_name[name], value)
    return adjacency


def _drawn(c: Connection, fraction: Any, rng: np.random.Generator) -> csc_array:
    """An adjacency matrix with a fraction of the possible pairs."""
    check_real(f"connectivity of {c.name}", fraction, minimum=0)
    if fraction > 1:
        raise ValueError(f"connectivity of {c.name} is a fraction, not {fraction}")
    return draw_pairs(rng, c.shape, round(fraction * c.n_possible), autapses=c.autapses)


def _checked_adjacency(c: Connection, matrix: Any) -> csc_array:
    """A user's adjacency matrix, checked."""
    if issparse(matrix):
        adjacency = csc_array(matrix, copy=True)
        if not np.all(np.isfinite(adjacency.data)):
            raise ValueError(f"connectivity of {c.name} must not hold NaN or infinity")
        adjacency.sum_duplicates()
        adjacency.eliminate_zeros()
    else:
        try:
            adjacency = np.asarray(matrix)
        except ValueError:
            raise ValueError(f"connectivity of {c.name} has rows of several lengths") from None
    if adjacency.shape != c.shape or (adjacency.dtype != bool and not issparse(adjacency)):
        raise ValueError(
            f"connectivity of {c.name} must be a fraction or a bool array of shape "
            f"{c.shape} [post, pre], not {adjacency.dtype} {adjacency.shape}"
        )
    if not c.autapses and np.any(adjacency.diagonal()):
        raise ValueError(f"{c.name} cannot have autapses: its diagonal must be False")
    pre, post = adjacency.T.nonzero()
    return structure(pre, post, c.shape)


def _signal(
    network: Network, readout: ReadoutGroup, populations: Collection[PopulationGroup]
) -> SignalConnection:
    """The learning signal from the readout to all neurons."""
    signal = connection(_FEEDBACK, [readout], populations)
    feedback = check_learning_signal(
        as_learning_signal(network.feedback),
        readout.loss,
        _names(readout.readout),
        [*network.optimizer.states, *network.optimizer.parameters],
        signal.shape,
    )
    return SignalConnection(
        name=_FEEDBACK,
        sources=signal.sources,
        targets=signal.targets,
        feedback=feedback,
        follows=_W_OUT,
        delay_steps=_signal_delays(network, feedback, signal.shape),
    )


def _signal_delays(
    network: Network, feedback: Feedback, shape: tuple[int, int]
) -> np.ndarray | None:
    if feedback.delay is None:
        return None
    rng = _rng(network, f"delay {_FEEDBACK}")
    steps = delay_steps("feedback delay", feedback.delay, network.dt, 1, shape, rng)
    return None if np.all(steps == 1) else np.broadcast_to(steps, shape)


def _delays(
    network: Network, connections: Collection[Connection], adjacency: Mapping[str, csc_array]
) -> dict[str, int | Matrix]:
    if not isinstance(network.delays, Mapping):
        raise ValueError(
            f"delays name weight matrices, e.g. {{w_rec = '3 ms'}}; got {network.delays!r}"
        )
    by_name = {c.name: c for c in connections}
    steps: dict[str, int | Matrix] = {c.name: c.least_delay for c in connections}
    for name, value in network.delays.items():
        check_choice("weight matrix in delays", name, by_name)
        c = by_name[name]
        steps[name] = delay_steps(
            f"delay of {name}",
            value,
            network.dt,
            c.least_delay,
            c.shape,
            _rng(network, f"delay {name}"),
            connected=adjacency.get(name),
            autapses=c.autapses,
        )
    for c in connections:
        late = steps[c.name]
        if c.to_readout and (not isinstance(late, int) or late > 1):
            raise ValueError(
                f"delay of {c.name} must be 0 (a readout sees the spikes of its own step) or one "
                f"time step ({network.dt}), the same for all"
            )
    return steps


def _completed(
    c: Connection,
    adjacency: csc_array | None,
    steps: int | Matrix,
    signs: np.ndarray | None,
    rewiring: Rewiring | None,
) -> Connection:
    """A connection with its synapses, delays and signs."""
    n_connected = None
    if signs is not None and rewiring is not None:
        n_connected = max(1, round(rewiring.connectivity[c.name] * c.n_possible))
    return replace(c, adjacency=adjacency, delay_steps=steps, signs=signs, n_connected=n_connected)


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
            cutoff_program(population.system, readout.program, network.rate_averaging)
    return int(cutoff)
