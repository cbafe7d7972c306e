"""Wiring: the projections and learning signals of a network, resolved to connections."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from brian2.units import Quantity
from scipy.sparse import csc_array, issparse

from eprop_brian.base.checks import check_choice, check_identifier
from eprop_brian.base.sparse import Matrix
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.learning_signals import Feedback
from eprop_brian.equations.optimizers import Optimizer
from eprop_brian.network.connectivity import adjacency, check_seed, structure_rng
from eprop_brian.network.delays import delay_steps
from eprop_brian.network.diffusion import as_diffusion
from eprop_brian.network.emission import emission_feedback, emission_filter
from eprop_brian.network.feedback import as_feedback, check_feedback
from eprop_brian.network.graph import (
    Connection,
    Group,
    InputGroup,
    PopulationGroup,
    ReadoutGroup,
    SignalConnection,
    connection,
)
from eprop_brian.network.learned_delays import as_learned_delay
from eprop_brian.network.optimization import SIGNS, check_sign, projection_optimizer
from eprop_brian.network.parts import Groups, LearningSignal, Projection, names_of, part_name
from eprop_brian.network.sharing import SharedWeights, Sharing
from eprop_brian.network.transmissions import transmission_of
from eprop_brian.symbolic.errors import named

__all__ = ["Wiring", "reads_of"]

_INITIAL_WEIGHTS = ("normal", "glorot", "balanced")


def reads_of(parts: Iterable[Projection]) -> dict[str, list[str]]:
    """What readouts sum of each population in the place of its spikes, each expression once."""
    reads: dict[str, list[str]] = {}
    for part in parts:
        text = _reads(part)
        for source in names_of(part.source) if text else ():
            if text not in reads.setdefault(source, []):
                reads[source].append(text)
    return reads


class Wiring:
    """Resolves what connects the groups of a network.

    Parameters
    ----------
    groups : mapping of str to Group
        All groups by name.
    dt : Quantity
    seed : int
        Of the draws of structure.
    optimizer : Optimizer
        Of the projections that have none of their own.
    """

    def __init__(
        self, groups: Mapping[str, Group], dt: Quantity, seed: int, optimizer: Optimizer
    ) -> None:
        check_seed(seed)
        self._groups, self._dt, self._seed, self._optimizer = groups, dt, seed, optimizer

    def connection(self, part: Projection) -> Connection:
        """The connection that a projection describes.

        Raises
        ------
        ValueError
            If it names a group that there is not, or connects groups that cannot be connected, or
            an option does not fit.
        """
        name = part_name(part)
        check_identifier(name, "projection")
        where = f"projection '{name}'"
        sources = self._lookup(where, "source", part.source, (InputGroup, PopulationGroup))
        targets = self._lookup(where, "target", part.target, (PopulationGroup, ReadoutGroup))
        if len(targets) > 1 and any(isinstance(group, ReadoutGroup) for group in targets):
            raise ValueError(f"{where} has several readouts as targets: connect each by its own")
        reads = _reads(part)
        from_inputs = any(isinstance(group, InputGroup) for group in sources)
        if reads and (from_inputs or not isinstance(targets[0], ReadoutGroup)):
            raise ValueError(
                f"{where}: reads = '{reads}' is for a projection from populations to a readout; "
                "other targets hear spikes, so leave it away"
            )
        drawn = part.weights if isinstance(part.weights, str) else None
        if drawn is not None:
            check_choice(f"weights of {name}", drawn, _INITIAL_WEIGHTS)
        if not isinstance(part.learn, bool):
            raise ValueError(f"{where}: learn is true or false, not {part.learn!r}")
        receptor = _receptor(part.receptor, targets)
        shared = _shared(where, part, sources, targets)
        n_axes = 2 if shared is None else len(shared.shape)
        bare = connection(
            name,
            sources,
            targets,
            receptor=receptor,
            glorot=drawn == "glorot",
            balanced=drawn == "balanced",
            weights=_given_weights(where, part.weights, n_axes) if drawn is None else None,
            scale=part.scale,
            plastic=part.learn,
            reads=reads,
            transmission=transmission_of(where, part, sources, targets, receptor),
            optimizer=self._optimizer_of(name, part),
            shared=shared,
        )
        if shared is None:
            pairs = adjacency(bare, part.connectivity, self._seed)
        else:
            pairs = shared.adjacency
        return replace(
            bare,
            sign=SIGNS[part.sign],
            adjacency=pairs,
            delay_steps=self._delays(bare, part, pairs),
            learned_delay=as_learned_delay(where, part.learned_delay, self._dt),
        )

    def _optimizer_of(self, name: str, part: Projection) -> Optimizer | None:
        """The optimizer of a projection, if it is not the network's."""
        options = {x: getattr(part, x) for x in ("eta", "minimum", "maximum")}
        if not part.learn:
            check_sign(name, part.sign)
            useless = [x for x in ("optimizer", *options) if getattr(part, x) is not None]
            if useless:
                raise ValueError(
                    f"projection '{name}' does not learn (learn=False), so its {useless[0]} "
                    "changes nothing: leave one of them away"
                )
            return None
        given = [value for value in (part.optimizer, *options.values()) if value is not None]
        if not given and part.sign == "":
            return None
        own = projection_optimizer(name, part.optimizer or self._optimizer, options, part.sign)
        return None if own == self._optimizer else own

    def signal(self, part: LearningSignal, connections: Sequence[Connection]) -> SignalConnection:
        """The connection that a learning signal describes.

        Raises
        ------
        ValueError, EquationError
            If it names a group that there is not, or its feedback cannot work.
        """
        name = part_name(part)
        check_identifier(name, "learning signal")
        where = f"learning signal '{name}'"
        sources = self._lookup(where, "source", part.source, (ReadoutGroup, PopulationGroup))
        targets = self._lookup(where, "target", part.target, (PopulationGroup,))
        ends = connection(name, sources, targets)
        with named(where):
            feedback = as_feedback(part.feedback)
        if all(isinstance(source, PopulationGroup) for source in sources):
            with named(where):
                feedback = emission_feedback(feedback, ends.shape)
                own = emission_filter(part.filter, self._dt)
            return SignalConnection(name, ends.sources, ends.targets, feedback, filter=own)
        if len(sources) > 1:
            raise ValueError(
                f"{where} has several sources, one of which is a readout: give each a signal"
            )
        if part.filter is not None:
            raise ValueError(
                f"{where} has a filter, which is for what populations emit: readout "
                f"'{sources[0].name}' has its own, so leave it away"
            )
        (readout,) = sources
        assert isinstance(readout, ReadoutGroup)
        follows = _followed(where, ends, feedback, connections)
        followed = {c.name: c.optimizer for c in connections}.get(follows)
        optimizer = followed or self._optimizer
        with named(where):
            feedback = check_feedback(
                feedback,
                readout.loss,
                [*readout.readout.parameters, *readout.readout.constants],
                [*optimizer.states, *optimizer.parameters],
                ends.shape,
            )
            steps = self._signal_delays(name, feedback, ends.shape)
        if feedback.update.strip() and any(c.name == follows and c.shared for c in connections):
            raise ValueError(
                f"{where} changes with the weights of '{follows}', which synapses share: choose "
                "symmetric, random or broadcast feedback"
            )
        spread = as_diffusion(where, feedback.diffusion, ends.shape[0])
        return SignalConnection(name, ends.sources, ends.targets, feedback, follows, steps, spread)

    def _lookup(self, where: str, what: str, names: Groups, kinds: tuple[type, ...]) -> list[Group]:
        """The groups of some names, which must be of some kinds."""
        allowed = {name: g for name, g in self._groups.items() if isinstance(g, kinds)}
        chosen = []
        for name in names_of(names):
            if name in self._groups and name not in allowed:
                raise ValueError(
                    f"{where}: its {what} cannot be '{name}'; it can be {_listed(allowed)}"
                )
            if name not in allowed:
                raise ValueError(unknown(what, name, allowed, where))
            if allowed[name] in chosen:
                raise ValueError(f"{where}: its {what} names '{name}' twice")
            chosen.append(allowed[name])
        if not chosen:
            raise ValueError(f"{where} has no {what}; it can be {_listed(allowed)}")
        return chosen

    def _delays(self, bare: Connection, part: Projection, pairs: csc_array | None) -> int | Matrix:
        if part.delay is None:
            return bare.least_delay
        steps = delay_steps(
            f"delay of {bare.name}",
            part.delay,
            self._dt,
            bare.least_delay,
            bare.shape,
            structure_rng(self._seed, f"delay {bare.name}"),
            connected=pairs,
            autapses=bare.autapses,
        )
        if bare.to_readout and (not isinstance(steps, int) or steps > 1):
            raise ValueError(
                f"delay of {bare.name} must be 0 (a readout sees the spikes of its own step) or "
                f"one time step ({self._dt}), the same for all"
            )
        return steps

    def _signal_delays(
        self, name: str, feedback: Feedback, shape: tuple[int, int]
    ) -> np.ndarray | None:
        if feedback.delay is None:
            return None
        rng = structure_rng(self._seed, f"delay {name}")
        steps = delay_steps("feedback delay", feedback.delay, self._dt, 1, shape, rng)
        return None if np.all(steps == 1) else np.broadcast_to(steps, shape)


def _reads(part: Projection) -> str:
    """What a projection hands on in the place of spikes, ``""`` for spikes."""
    if not isinstance(part.reads, str):
        raise ValueError(
            f"projection '{part_name(part)}': reads is an expression of the source's states, such "
            f"as 'v', not {part.reads!r}"
        )
    return part.reads.strip()


def _shared(
    where: str, part: Projection, sources: Sequence[Group], targets: Sequence[Group]
) -> SharedWeights | None:
    """The weights that the synapses of a projection share, if they do."""
    sharing = part.connectivity
    if not isinstance(sharing, Sharing):
        return None
    kind = f"{where} shares weights ({type(sharing).__name__})"
    if len(sources) > 1 or len(targets) > 1 or sources[0] is targets[0]:
        raise ValueError(f"{kind}, so it must lead from one group to another: give each its own")
    if isinstance(part.weights, str) and part.weights == "balanced":
        raise ValueError(f"{kind}, which cannot be balanced: choose normal or glorot weights")
    if part.learned_delay is not None:
        raise ValueError(f"{kind}, and its delays cannot learn: leave learned_delay away")
    with named(where):
        return sharing.resolved((targets[0].size, sources[0].size))


def _given_weights(where: str, weights: Any, n_axes: int) -> Matrix:
    """Initial weights as a matrix of numbers, or as an array of those that synapses share."""
    if issparse(weights):
        return csc_array(weights, dtype=float, copy=True)
    try:
        matrix = np.array(weights, dtype=float)
    except (TypeError, ValueError):
        matrix = np.zeros(())
    if matrix.ndim != n_axes:
        kind = "a matrix [post, pre]" if n_axes == 2 else f"an array with {n_axes} axes"
        raise ValueError(
            f"{where}: weights are {', '.join(_INITIAL_WEIGHTS)} or {kind} of numbers, not "
            f"{weights!r}"
        )
    return matrix


def _receptor(receptor: str, targets: Sequence[Group]) -> str:
    """The receptor that a projection drives: the one it names, or the only one there is.

    A projection that must name one, and does not, is refused with the whole network.
    """
    if receptor:
        return receptor
    names = {
        name
        for group in targets
        if isinstance(group, PopulationGroup)
        for name in group.neuron.receptor_names
    }
    return names.pop() if len(names) == 1 else ""


def _listed(groups: Collection[str]) -> str:
    return ", ".join(groups) or "none here"


def _followed(
    where: str, ends: Connection, feedback: Feedback, connections: Sequence[Connection]
) -> str:
    """The connection whose weights, or whose changes, those of a learning signal follow."""
    (readout,) = ends.sources
    fitting = [
        c.name
        for c in connections
        if [*c.sources.items()] == [*ends.targets.items()] and [*c.targets] == [readout]
    ]
    if len(fitting) == 1:
        return fitting[0]
    if feedback.weights != "symmetric" and not feedback.update.strip():
        return ""
    needed = "symmetric weights are" if feedback.weights == "symmetric" else "its update reads"
    populations = " and ".join(f"'{name}'" for name in ends.targets)
    found = "several do" if fitting else "none does: add it"
    raise ValueError(
        f"{where}: {needed} those of the one projection that leads from {populations} to "
        f"'{readout}', and {found}. Or choose 'random' or 'broadcast' feedback, or give each "
        "projection to the readout a learning signal of its own"
    )
