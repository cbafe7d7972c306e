"""The sessions of workers: they compute sums over shares of a batch, with the weights of another.

What a worker computes goes into memory of its own. The weights are in memory that it cannot write
to (`eprop_brian.devices.sharing`): whoever makes the updates changes them there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from eprop_brian.devices import ProcessProgram
from eprop_brian.network.built import SHARE
from eprop_brian.network.program import make_program
from eprop_brian.network.resolved import Resolved
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session

__all__ = ["How", "WorkerSpec", "largest_share"]

#: Held while a session is made: Python 3.11 cannot parse expressions in several threads at once.
_making = threading.RLock()


@dataclass(frozen=True)
class How:
    """How trials are run; as the arguments of `Session.run`."""

    batch_size: int
    learning: bool
    check_states: bool
    greedy: bool


@dataclass(frozen=True)
class WorkerSpec:
    """What the sessions of workers are made of.

    Attributes
    ----------
    network : Resolved
    share : Trials
        As large as the largest share.
    learning_window : int
    device, dtype : str
    """

    network: Resolved
    share: Trials
    learning_window: int
    device: str
    dtype: str

    def program(self) -> ProcessProgram:
        """Make the program whose copies sessions run; the weights are in its memory."""
        with _making:
            return cast(ProcessProgram, self._made(make_program(self.device, self.dtype)).program)

    def session(self, program: ProcessProgram) -> Session:
        """Make a session with a copy of a program."""
        with _making:
            session = self._made(lambda *_: program.copy())
        session.watch()
        return session

    def _made(self, make: Callable) -> Session:
        # Whatever weights there are, the program has its own.
        weights = self.network.initial_weights(0)
        return Session(self.network, make, self.share, self.learning_window, weights)


def largest_share(example: Trials) -> Trials:
    """Trials as large as the largest share of these trials."""
    n_trials = min(SHARE, example.n_trials)
    indices = np.zeros(n_trials, dtype=int)
    return replace(
        example,
        inputs=example.inputs[:SHARE],
        pattern=indices,
        target=indices,
        **{name: array[:SHARE] for name, array in example.of_targets.items()},
        noise=None,
        lengths=None if example.lengths is None else np.full(n_trials, example.inputs.shape[1]),
    )
