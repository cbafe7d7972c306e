"""Checks of what is given for a network: each number and choice alone, and combinations."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from brian2.units import hertz, second

from eprop_brian.base.checks import (
    check_choice,
    check_positive_quantity,
    check_real,
)
from eprop_brian.equations.learning_signals import SYMMETRIC
from eprop_brian.equations.optimizers import Optimizer
from eprop_brian.network.choices import GRADIENTS, RATE_AVERAGING, UPDATES
from eprop_brian.network.graph import (
    Connection,
    PopulationGroup,
    ReadoutGroup,
    SignalConnection,
)
from eprop_brian.network.optimization import check_optimizer, check_range
from eprop_brian.symbolic.refractory import LAST_SPIKE

if TYPE_CHECKING:
    from eprop_brian.network.resolved import Resolved
    from eprop_brian.network.spec import Network

__all__ = [
    "check_bptt",
    "check_learned",
    "check_options",
    "check_paths",
    "check_precision",
    "check_rewiring",
    "check_training",
    "check_updates",
]

#: Steps up to which two times in float32 differ by less than the thousandth of a step that
#: `timestep` allows for: each is rounded by 2^-24 of itself.
_STEPS_IN_FLOAT32 = 8000


def check_options(network: Network) -> None:
    """Check choices and quantities."""
    check_choice("gradient", network.gradient, GRADIENTS)
    check_choice("updates", network.updates, UPDATES)
    check_choice("rate_averaging", network.rate_averaging, RATE_AVERAGING)
    check_positive_quantity("dt", network.dt, second, "1*ms")
    check_positive_quantity("f_target", network.f_target, hertz, "10*Hz")


def check_training(network: Network) -> None:
    """Check regularisers, clipping and the optimizer."""
    for name in ("c_reg", "kappa_reg", "c_v", "c_l2"):
        check_real(name, getattr(network, name), minimum=0)
    if not isinstance(network.voltage_cost, str) or not network.voltage_cost.strip():
        raise ValueError(
            "voltage_cost must be an equation, for example 'margin**2', not "
            f"{network.voltage_cost!r}"
        )
    for name in ("clip_value", "clip_norm"):
        if getattr(network, name) is not None:
            check_real(name, getattr(network, name), minimum=0)
            if getattr(network, name) == 0:
                raise ValueError(f"{name} must be above 0: nothing is left of the gradient")
    if network.kappa_reg >= 1:
        raise ValueError(f"kappa_reg must be below 1, not {network.kappa_reg}")
    if not isinstance(network.average_gradient, bool):
        raise ValueError(
            f"average_gradient must be true or false, not {network.average_gradient!r}"
        )
    check_optimizer(network.optimizer)


def check_learned(optimizer: Optimizer, populations: Iterable[PopulationGroup]) -> None:
    """Check that the optimizer has the learning rates of learned parameters."""
    for population in populations:
        for name, options in population.learned.items():
            if options.eta is not None and "eta" not in optimizer.parameters:
                raise ValueError(
                    f"learned parameter '{name}' has an eta, but optimizer '{optimizer.name}' "
                    "has none: its learning rate must be called eta"
                )


def check_rewiring(
    network: Network,
    rewired: Collection[str],
    connections: Iterable[Connection],
    signals: Iterable[SignalConnection],
) -> None:
    """Check that connections of some names can be rewired."""
    both = [c.name for c in connections if c.adjacency is not None and c.name in rewired]
    if both:
        raise ValueError(
            f"{both[0]} has a fixed connectivity and is to be rewired: give one of them"
        )
    for c in connections:
        if c.name in rewired and not c.n_possible:
            raise ValueError(f"{c.name} has no pairs to rewire: leave it out of the rewiring")
    for signal in signals:
        if signal.learns and signal.follows in rewired:
            raise ValueError(
                "feedback that learns with the readout weights would follow synapses that are "
                f"not there: leave {signal.follows} out of the rewiring, or choose other feedback"
            )
    if network.clip_norm is not None:
        raise ValueError(
            "clip_norm would count gradients of synapses that are not there: with rewiring "
            "clip by clip_value"
        )
    if network.updates != "batch":
        raise ValueError("rewiring happens between batches: it needs updates = 'batch'")
    if "eta" not in network.optimizer.parameters:
        raise ValueError(
            f"rewiring needs a learning rate: optimizer '{network.optimizer.name}' has no eta"
        )


def check_updates(network: Network, populations: Iterable[PopulationGroup]) -> None:
    """Refuse what continuous operation and updates at the end of a batch cannot have."""
    if not network.continuous and network.trace_cutoff is not None:
        raise ValueError("trace_cutoff is for updates = 'step' or 'spike'")
    if network.updates == "batch":
        return
    if network.gradient != "online":
        raise ValueError(
            f"updates = '{network.updates}' needs gradient = 'online': '{network.gradient}' "
            "works backwards from the end of a trial"
        )
    if network.continuous and network.rate_averaging != "moving" and network.c_reg:
        raise ValueError(
            f"updates = '{network.updates}' has no trials: the regulariser (c_reg) needs "
            f"rate_averaging = 'moving', not '{network.rate_averaging}'"
        )
    if network.clip_norm is not None:
        raise ValueError(
            f"updates = '{network.updates}' changes weights within a trial: gradients are clipped "
            "by clip_value there, not by clip_norm"
        )
    if any(population.learned for population in populations):
        raise ValueError("parameters of neurons can be learned with updates = 'batch' only")


def check_bptt(
    rate_averaging: str, readouts: Iterable[ReadoutGroup], signals: Iterable[SignalConnection]
) -> None:
    """Refuse learning signals and traces, which backpropagation through time does not have."""
    for signal in signals:
        if signal.emitted:
            raise ValueError(
                "gradient = 'bptt' sends the error back through the network itself: no population "
                f"can emit a learning signal, so leave '{signal.name}' away"
            )
        feedback = signal.feedback
        sent: tuple[Any, ...] = (feedback.weights, feedback.signal.strip(), feedback.delay)
        if sent != (SYMMETRIC.weights, SYMMETRIC.signal, None) or signal.diffusion is not None:
            raise ValueError(
                "gradient = 'bptt' sends the error back through the network itself and has no "
                "learning signal: leave feedback at 'symmetric', without signal, delay and "
                "diffusion, or take the learning signals away"
            )
    if rate_averaging == "moving":
        raise ValueError(
            "gradient = 'bptt' differentiates a rate of trials: rate_averaging must be 'trial' "
            "or 'batch', not 'moving'"
        )
    for readout in readouts:
        for name in ("trace_gain", "trace_decay"):
            if getattr(readout.readout, name):
                raise ValueError(
                    f"gradient = 'bptt' has no eligibility traces: leave the readout's {name} away"
                )


def check_precision(network: Resolved, n_steps: int, dtype: type) -> None:
    """Refuse a float type that cannot hold the time since a spike, or a parameter of an optimizer.

    Raises
    ------
    ValueError
    """
    for optimizer in network.optimizers:
        check_range(optimizer, dtype)
    if dtype != np.float32 or n_steps <= _STEPS_IN_FLOAT32 and not network.continuous:
        return
    for population in network.populations:
        if LAST_SPIKE in population.system.step.states:
            long = "without trials" if network.continuous else f"in trials of {n_steps} steps"
            raise ValueError(
                f"population '{population.name}' reads the time since its last spike, which "
                f"float32 does not hold to a step {long} (to {_STEPS_IN_FLOAT32} it does): take "
                "dtype = 'float64'"
            )


def check_paths(network: Resolved) -> None:
    """Refuse groups that nothing drives, that nobody reads, or that cannot learn what they should.

    Raises
    ------
    ValueError
        It names the group and says what it needs.
    """
    sources = {name for c in network.connections for name in c.sources}
    targets = {name for c in network.connections for name in c.targets}
    taught = {name for signal in network.signals for name in signal.targets}
    emitting = {name for s in network.signals if s.emitted for name in s.sources}
    learning = [c for c in network.connections if c.plastic or c.learned_delay]
    learns = {name for c in learning for name in c.targets}
    for group in network.inputs:
        if group.name not in sources:
            raise ValueError(f"inputs '{group.name}' drive nothing: project them to a population")
    for readout in network.readouts:
        # A modulator is the task's, whatever the network does.
        if readout.name not in targets and not readout.loss.is_modulator:
            raise ValueError(f"no projection leads to readout '{readout.name}'")
    regularised = network.c_reg or network.c_v or network.gradient == "bptt"
    for population in network.populations:
        name = population.name
        if name not in targets:
            raise ValueError(f"no projection leads to population '{name}': it would never spike")
        read = any(name in c.sources and [*c.targets] != [name] for c in network.connections)
        if not read and name not in taught and name not in emitting:
            raise ValueError(
                f"population '{name}' reaches no readout and no other population, and neither has "
                "nor emits a learning signal: project it to one of them"
            )
        if population.learned and name not in taught and not regularised:
            raise ValueError(
                f"no learning signal reaches population '{name}', so its parameters cannot learn: "
                f"add LearningSignal(<readout>, '{name}', 'random'), or leave `learned` away"
            )
        if name in learns and name not in taught and not regularised:
            raise ValueError(
                f"no learning signal reaches population '{name}', so its synapses cannot learn: "
                f"add LearningSignal(<readout>, '{name}', 'random'), or give the projections to "
                "it learn=False and no learned delays"
            )
