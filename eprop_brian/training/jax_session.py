"""Backpropagation through time and e-prop 3, which need JAX, an optional dependency.

Importing JAX takes a second, so it is imported only when a session is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from eprop_brian.base.checks import check_choice
from eprop_brian.base.sparse import Matrix
from eprop_brian.devices.choices import DTYPES
from eprop_brian.network.program import make_program
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.lstm import Lstm

if TYPE_CHECKING:
    from eprop_brian.training.bptt import BpttSession
    from eprop_brian.training.bptt_episodes import ActingBpttSession
    from eprop_brian.training.windowed_session import WindowedSession

__all__ = [
    "NEEDS_JAX",
    "SYNTHESISERS",
    "has_jax",
    "make_bptt_session",
    "make_windowed_session",
    "require_jax",
]

#: What says, in e-prop 3, the derivative of later losses at a window's end: nothing; a linear map
#: or one with a hidden layer, which learn it; backpropagation through the whole trial.
SYNTHESISERS = ("off", "linear", "hidden", "oracle")


NEEDS_JAX = (
    "backpropagation through time, learning to learn and e-prop 3 need JAX: pip install "
    "'eprop_brian[bptt]'"
)


def has_jax() -> bool:
    """Whether JAX, which is optional, is installed."""
    return find_spec("jax") is not None and find_spec("jaxlib") is not None


def require_jax() -> None:
    """Raise ValueError if JAX is not installed."""
    if not has_jax():
        raise ValueError(NEEDS_JAX)


def make_bptt_session(
    network: Network | Resolved,
    example: Trials,
    window: int,
    weights: Mapping[str, Matrix],
    *,
    device: str,
    dtype: str,
) -> BpttSession | ActingBpttSession:
    """Make a `BpttSession`, or an `ActingBpttSession` of episodes, which `device` plays.

    They have the same parameters.

    Raises
    ------
    ValueError
        If JAX is not installed, or something does not fit.
    """
    require_jax()
    if example.environment is not None:
        from eprop_brian.training.bptt_episodes import ActingBpttSession

        program = make_program(device, dtype)
        return ActingBpttSession(network, program, example, window, weights, dtype)
    from eprop_brian.training.bptt import BpttSession

    return BpttSession(network, example, window, weights, dtype)


def make_windowed_session(
    network: Network | Resolved | Lstm,
    window: int,
    synthesiser: str,
    *,
    n_hidden: int,
    memory: int,
    shifted: bool = False,
    seed: int,
    dtype: str,
) -> WindowedSession:
    """Make a `WindowedSession`, which has the same parameters.

    Raises
    ------
    ValueError
        If JAX is not installed, or something acts across windows that they do not carry.
    """
    require_jax()
    check_choice("dtype", dtype, DTYPES)
    from eprop_brian.training.lstm_windows import LstmWindows
    from eprop_brian.training.network_windows import NetworkWindows
    from eprop_brian.training.windowed_session import WindowedSession

    own = (
        LstmWindows(network, dtype) if isinstance(network, Lstm) else NetworkWindows(network, dtype)
    )
    return WindowedSession(
        own, window, synthesiser, n_hidden=n_hidden, memory=memory, shifted=shifted, seed=seed
    )
