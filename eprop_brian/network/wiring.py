"""Wiring: the projections and learning signals of a network, resolved to connections."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from brian2.units import Quantity
from scipy.sparse import csc_array, issparse

from eprop_brian.base.checks import check_choice, check_real, is_identifier
from eprop_brian.base.sparse import Matrix, draw_pairs, structure
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.learning_signals import Feedback
from eprop_brian.network.delays import delay_steps
from eprop_brian.network.feedback import as_learning_signal, check_learning_signal
from eprop_brian.network.graph import (
    Connection,
    Group,
    InputGroup,
    PopulationGroup,
    ReadoutGroup,
    SignalConnection,
    connection,
)
from eprop_brian.network.parts import Groups, LearningSignal, Projection, names_of, part_name

__all__ = ["Wiring"]

_INITIAL_WEIGHTS = ("normal", "glorot")


class Wiring:
    """Resolves what connects the groups of a network.

    Parameters
    ----------
    groups : mapping of str to Group
        All groups by name.
    dt : Quantity
    seed : int
        Of the draws of structure.
    optimizer_names : collection of str
        States and parameters of the optimizer, which an update rule of feedback cannot have.
    """

    def __init__(
        self, groups: Mapping[str, Group], dt: Quantity, seed: int, optimizer_names: Collection[str]
    ) -> None:
        if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f"connectivity_seed must be a whole number from 0 on, not {seed!r}")
        self._groups, self._dt, self._seed = groups, dt, seed
        self._optimizer_names = optimizer_names

    def connection(self, part: Projection) -> Connection:
        """The connection that a projection describes.

        Raises
        ------
        ValueError
            If it names a group that there is not, or connects groups that cannot be connected, or
            an option does not fit.
        """
        name = part_name(part)
        _check_key(name, "projection")
        where = f"projection '{name}'"
        sources = self._lookup(where, "source", part.source, (InputGroup, PopulationGroup))
        targets = self._lookup(where, "target", part.target, (PopulationGroup, ReadoutGroup))
        if len(targets) > 1 and any(isinstance(group, ReadoutGroup) for group in targets):
            raise ValueError(f"{where} has several readouts as targets: connect each by its own")
        check_choice(f"weights of {name}", part.weights, _INITIAL_WEIGHTS)
        bare = connection(
            name,
            sources,
            targets,
            receptor=_receptor(where, part.receptor, targets),
            glorot=part.weights == "glorot",
            plastic=part.learn,
        )
        adjacency = None
        if part.connectivity is not None:
            adjacency = _adjacency(bare, part.connectivity, self._rng(name))
        return replace(bare, adjacency=adjacency, delay_steps=self._delays(bare, part, adjacency))

    def signal(self, part: LearningSignal, connections: Sequence[Connection]) -> SignalConnection:
        """The connection that a learning signal describes.

        Raises
        ------
        ValueError, EquationError
            If it names a group that there is not, or its feedback cannot work.
        """
        name = part_name(part)
        _check_key(name, "learning signal")
        where = f"learning signal '{name}'"
        sources = self._lookup(where, "source", part.source, (ReadoutGroup,))
        targets = self._lookup(where, "target", part.target, (PopulationGroup,))
        if len(sources) > 1:
            raise ValueError(f"{where} has several readouts as sources: give each a signal")
        (readout,) = sources
        assert isinstance(readout, ReadoutGroup)
        ends = connection(name, sources, targets)
        feedback = check_learning_signal(
            as_learning_signal(part.feedback),
            readout.loss,
            [*readout.readout.parameters, *readout.readout.constants],
            self._optimizer_names,
            ends.shape,
        )
        follows = _followed(where, ends, feedback, connections)
        steps = self._signal_delays(name, feedback, ends.shape)
        return SignalConnection(name, ends.sources, ends.targets, feedback, follows, steps)

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
            chosen.append(allowed[name])
        if not chosen:
            raise ValueError(f"{where} has no {what}; it can be {_listed(allowed)}")
        return chosen

    def _rng(self, what: str) -> np.random.Generator:
        """For draws of the network's structure."""
        seeds = [self._seed, zlib.crc32(what.encode())]
        return np.random.default_rng(np.random.SeedSequence(seeds))

    def _delays(
        self, bare: Connection, part: Projection, adjacency: csc_array | None
    ) -> int | Matrix:
        if part.delay is None:
            return bare.least_delay
        steps = delay_steps(
            f"delay of {bare.name}",
            part.delay,
            self._dt,
            bare.least_delay,
            bare.shape,
            self._rng(f"delay {bare.name}"),
            connected=adjacency,
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
        rng = self._rng(f"delay {name}")
        steps = delay_steps("feedback delay", feedback.delay, self._dt, 1, shape, rng)
        return None if np.all(steps == 1) else np.broadcast_to(steps, shape)


def _receptor(where: str, receptor: str, targets: Sequence[Group]) -> str:
    """The receptor that a projection drives: the one it names, or the only one there is."""
    if receptor:
        return receptor
    names = {
        name
        for group in targets
        if isinstance(group, PopulationGroup)
        for name in group.neuron.receptor_names
    }
    if len(names) > 1:
        raise ValueError(
            f"{where} must say which receptor of its target it drives: {', '.join(sorted(names))}"
        )
    return next(iter(names), "")


def _listed(groups: Collection[str]) -> str:
    return ", ".join(groups) or "none here"


def _check_key(name: str, what: str) -> None:
    """Check the name of something that has weights: a key of files."""
    if not isinstance(name, str) or not is_identifier(name):
        raise ValueError(
            f"a {what} cannot be called {name!r}: a name is letters, digits and _, starting with "
            "a letter"
        )


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
    found = "several do" if fitting else "none does"
    raise ValueError(
        f"{where}: {needed} those of the one projection that leads from {populations} to "
        f"'{readout}', and {found}. Choose 'random' or 'broadcast' feedback, or give each "
        "projection to the readout a learning signal of its own"
    )


def _adjacency(c: Connection, connectivity: Any, rng: np.random.Generator) -> csc_array:
    """The adjacency matrix of a connection that does not have all pairs."""
    if isinstance(connectivity, int | float | str) or np.isscalar(connectivity):
        return _drawn(c, connectivity, rng)
    return _checked_adjacency(c, connectivity)


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
