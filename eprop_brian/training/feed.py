"""The batches of a training, call by call of the program; a thread draws those of the next call."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

from eprop_brian.tasks.base import Task, hand_out
from eprop_brian.tasks.trials import Trials, join_trials
from eprop_brian.training.calls import enlarged

__all__ = ["Batches", "Feed"]


@dataclass(frozen=True)
class Batches:
    """Consecutive batches of equal size, which a session runs in one call."""

    trials: Trials
    size: int


class Feed:
    """The training trials of a task, as a seed draws them.

    Parameters
    ----------
    task : Task
    seed : int
        Of the trials.
    batch_size : int
        Trials of an iteration, at most.
    per_call : int
        Iterations of one call of the program, at most.
    """

    def __init__(self, task: Task, seed: int, batch_size: int, per_call: int) -> None:
        self.task, self.seed, self.batch_size, self.per_call = task, seed, batch_size, per_call
        # Trials of the first call that have not been learned from yet, by iteration.
        self._drawn: dict[int, Trials] = {}

    def first_call(self) -> Trials:
        """Draw the trials of the first call, for their shapes; they are kept until it comes."""
        self._drawn = {i: self._hand_out(i) for i in range(self.per_call)}
        return enlarged(join_trials([*self._drawn.values()]), self.per_call * self.batch_size)

    def calls(
        self,
        first: int,
        iterations: int,
        *,
        ends_every: int | None = None,
        groups_every: int | None = None,
    ) -> Generator[tuple[range, list[Batches]], None, None]:
        """Yield iteration numbers and trials of each call, while a thread draws the next trials.

        Parameters
        ----------
        first, iterations : int
            The iteration to begin with, and their number in all.
        ends_every : int, optional
            Calls end at multiples of it too.
        groups_every : int, optional
            Iterations after which a call's batches are run apart. Default: where calls end.
        """
        with ThreadPoolExecutor(max_workers=1) as pool:
            upcoming = None
            numbers = self.call_from(first, iterations, ends_every)
            while numbers:
                batches = upcoming.result() if upcoming else self._batches(numbers, groups_every)
                following = self.call_from(numbers.stop, iterations, ends_every)
                if following:
                    upcoming = pool.submit(self._batches, following, groups_every)
                yield numbers, batches
                numbers = following

    def call_from(self, first: int, iterations: int, ends_every: int | None = None) -> range:
        """Iterations of a call; calls end at the same ones whether or not a run was interrupted."""
        ends = [(first // every + 1) * every for every in (self.per_call, ends_every) if every]
        return range(first, min(iterations, *ends))

    def _hand_out(self, iteration: int) -> Trials:
        return hand_out(self.task, self.seed, "train", iteration, self.batch_size)

    def _batches(self, numbers: range, groups_every: int | None) -> list[Batches]:
        """The trials of several iterations, in groups that a session runs in one call.

        They end where the size of the batches changes, and at multiples of `groups_every`.
        """
        drawn, every = self._drawn, groups_every or self.per_call
        parts = {i: drawn.pop(i) if i in drawn else self._hand_out(i) for i in numbers}
        groups = groupby(parts, key=lambda i: (parts[i].n_trials, i // every))
        return [Batches(join_trials([parts[i] for i in same]), key[0]) for key, same in groups]
