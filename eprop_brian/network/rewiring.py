"""Sparse rewiring (DEEP R): synapses keep their sign, and their number stays the same.

A synapse of sign s has the weight ``s theta``. The optimizer changes it as any weight; besides,

    theta <- theta - eta l1 + sqrt(2 eta temperature) noise

(Bellec et al. 2018, "Deep rewiring", algorithm 1; the noise is standard normal). Where theta falls
below 0 the synapse is removed, and for every synapse that is removed another one, drawn among all
pairs that have none, begins with weight 0. Signs belong to pairs, or with Dale's law to presynaptic
neurons.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.checks import is_number
from eprop_brian.base.memory import check_memory
from eprop_brian.base.suggestions import unknown

if TYPE_CHECKING:
    from eprop_brian.network.graph import Connection

__all__ = ["Rewiring", "as_rewiring", "connect", "draw_signs", "rewire", "rewired_fractions"]


@dataclass(frozen=True)
class Rewiring:
    """Which matrices are rewired, and how.

    Parameters
    ----------
    connectivity : float or mapping of str to float
        Fraction of all pairs that are connected: of all weight matrices, or of some by name.
    l1 : float
        Pull towards 0, times the learning rate.
    temperature : float
        Of the noise.
    dale : bool
        Whether all synapses of a presynaptic neuron have one sign, over all matrices.
    excitatory : float
        With `dale`, the fraction of inputs and of recurrent neurons that are excitatory. Weights of
        the others begin larger, so that a neuron's inputs cancel on average.
    """

    connectivity: float | Mapping[str, float] = field(default=0.2, hash=False)
    l1: float = 1e-2
    temperature: float = 0.0
    dale: bool = False
    excitatory: float = 0.8

    def __post_init__(self) -> None:
        for name in ("l1", "temperature"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value < np.inf:
                raise ValueError(f"rewiring: {name} must be a number from 0 on, not {value!r}")
        if not isinstance(self.dale, bool):
            raise ValueError(f"rewiring: dale is true or false, not {self.dale!r}")
        if not is_number(self.excitatory) or not 0 < self.excitatory < 1:
            raise ValueError(
                f"rewiring: excitatory must be a fraction between 0 and 1, not {self.excitatory!r}"
            )


def as_rewiring(given: Any) -> Rewiring | None:
    """A `Rewiring`, a fraction for all matrices, or a mapping of its fields (None: none).

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if given is None or isinstance(given, Rewiring):
        return given
    if is_number(given):
        return Rewiring(given)
    options = [f.name for f in fields(Rewiring)]
    if not isinstance(given, Mapping) or any(key not in options for key in given):
        raise ValueError(
            f"rewiring is a fraction or takes {', '.join(options)}, for example "
            f"{{connectivity = {{w_rec = 0.2}}, dale = true}}; got {given!r}"
        )
    return Rewiring(**given)


def rewired_fractions(rewiring: Rewiring, matrices: Sequence[str]) -> dict[str, float]:
    """The fraction of all pairs that are connected in every matrix that is rewired.

    Parameters
    ----------
    rewiring : Rewiring
    matrices : sequence of str
        Names of all weight matrices.

    Raises
    ------
    ValueError
        If a matrix does not exist, or a number is no fraction.
    """
    given = rewiring.connectivity
    fractions = given if isinstance(given, Mapping) else dict.fromkeys(matrices, given)
    if not fractions or not (isinstance(given, Mapping) or is_number(given)):
        raise ValueError(
            f"rewiring: connectivity names weight matrices, e.g. {{w_rec = 0.2}}; got {given!r}"
        )
    for name, value in fractions.items():
        if name not in matrices:
            raise ValueError(unknown("weight matrix", name, matrices, "rewiring"))
        if not is_number(value) or not 0 < value < 1:
            raise ValueError(
                f"rewiring: connectivity of {name} must be a fraction between 0 and 1, "
                f"not {value!r}"
            )
    return {name: float(value) for name, value in fractions.items()}


def draw_signs(
    rewiring: Rewiring, names: Collection[str], connections: Sequence[Connection], seed: int
) -> dict[str, np.ndarray]:
    """Signs of all pairs, 1.0 or -1.0, shaped as the weights [post, pre].

    Parameters
    ----------
    rewiring : Rewiring
    names : collection of str
        Of the connections that are rewired.
    connections : sequence of Connection
    seed : int
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(b"signs")]))
    by_name = {c.name: c for c in connections}
    check_memory(
        {
            f"the signs of all pairs of {c.name}, which is rewired,": 8 * c.n_possible
            for c in connections
            if c.name in names
        },
        lambda share: f"{share:.0%} of these pairs would fit: rewire a smaller matrix",
    )
    if not rewiring.dale:
        return {name: rng.choice([-1.0, 1.0], size=by_name[name].shape) for name in names}
    of_groups: dict[str, np.ndarray] = {}
    for c in connections:
        # A neuron has one sign in all its connections; groups that are first met together share
        # the fraction.
        sizes = {x: w.stop - w.start for x, w in c.sources.items() if x not in of_groups}
        size = sum(sizes.values())
        if not size:
            continue
        signs = np.ones(size)
        signs[round(rewiring.excitatory * size) :] = -1
        parts = np.split(rng.permutation(signs), np.cumsum([*sizes.values()])[:-1])
        of_groups |= dict(zip(sizes, parts, strict=True))
    return {
        name: np.tile(
            np.concatenate([of_groups[x] for x in by_name[name].sources]),
            (by_name[name].shape[0], 1),
        )
        for name in names
    }


def connect(
    rng: np.random.Generator, connected: np.ndarray, size: int, *, autapses: bool
) -> np.ndarray:
    """Connect pairs drawn at random, besides those that are, until there are `size` synapses.

    Parameters
    ----------
    rng : numpy.random.Generator
    connected : array of bool, shape (n_post, n_pre)
    size : int
    autapses : bool
        Whether neurons may be connected to themselves.
    """
    missing = size - int(connected.sum())
    result = connected.copy()
    result.flat[rng.choice(_free(connected, autapses), size=missing, replace=False)] = True
    return result


def rewire(
    rewiring: Rewiring,
    weights: np.ndarray,
    connected: np.ndarray,
    signs: np.ndarray,
    eta: float,
    rng: np.random.Generator,
    *,
    autapses: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Rewire a matrix after an update of the optimizer.

    Parameters
    ----------
    rewiring : Rewiring
    weights, signs : array, shape (n_post, n_pre)
    connected : array of bool, shape (n_post, n_pre)
        Synapses that there were; weights elsewhere mean nothing.
    eta : float
        Learning rate of this update.
    rng : numpy.random.Generator
    autapses : bool
        Whether neurons may be connected to themselves.

    Returns
    -------
    weights, connected : array
        As many synapses as before. Weights are 0 where there is none.
    """
    theta = signs * weights - eta * rewiring.l1
    if rewiring.temperature:
        theta += np.sqrt(2 * eta * rewiring.temperature) * rng.standard_normal(theta.shape)
    kept = connected & (theta >= 0)
    free = _free(connected, autapses)
    n_removed = int(connected.sum() - kept.sum())
    # In a matrix that is nearly full there may be fewer free pairs than synapses to replace.
    removed = np.flatnonzero(connected & ~kept)
    back = rng.choice(removed, size=max(0, n_removed - len(free)), replace=False)
    new = rng.choice(free, size=n_removed - len(back), replace=False)
    result = np.where(kept, signs * theta, 0.0)
    kept.flat[new] = True
    kept.flat[back] = True
    return result, kept


def _free(connected: np.ndarray, autapses: bool) -> np.ndarray:
    """Flat indices of the pairs that have no synapse and may have one."""
    free = ~connected
    if not autapses:
        np.fill_diagonal(free, False)
    return np.flatnonzero(free)
