"""Backpropagation through time, which needs JAX, an optional dependency.

Importing JAX takes a second, so it is imported only when a session is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from eprop_brian.base.sparse import Matrix
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials

if TYPE_CHECKING:
    from eprop_brian.training.bptt import BpttSession

__all__ = ["make_bptt_session", "require_jax"]


def require_jax() -> None:
    """Raise ValueError if JAX, which is optional, is not installed."""
    if find_spec("jax") is None or find_spec("jaxlib") is None:
        raise ValueError("backpropagation through time needs JAX: pip install 'eprop_brian[bptt]'")


def make_bptt_session(
    network: Network | Resolved,
    example: Trials,
    window: int,
    weights: Mapping[str, Matrix],
    dtype: str,
) -> BpttSession:
    """Make a `BpttSession`, which has the same parameters.

    Raises
    ------
    ValueError
        If JAX is not installed, or something does not fit.
    """
    require_jax()
    from eprop_brian.training.bptt import BpttSession

    return BpttSession(network, example, window, weights, dtype)
