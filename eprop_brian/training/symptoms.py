"""Signs that a network does not learn, in its history and in how its weights move.

Each is a measurement with the bound that it crosses, and what to change. Populations that are
silent or saturated, and what is not finite, are named while a network trains
(`eprop_brian.training.firing`, `eprop_brian.training.diagnosis`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import mannwhitneyu

from eprop_brian.base.sparse import Matrix, values_of
from eprop_brian.network.resolved import Resolved
from eprop_brian.training.firing import LASTING
from eprop_brian.training.history import History
from eprop_brian.training.rerun import learning_rates

__all__ = ["Symptom", "of_loss", "of_return", "of_updates", "relative_changes"]

#: Rows that a judgement of the course needs, and the share of them at each end that is compared.
_LEAST_ROWS, _SHARE = 20, 5
#: Level of the test that the loss is lower at the end than at the beginning.
_LEVEL = 0.01
#: The loss counts as risen again beyond so many times the lowest level, and a row as a jump beyond
#: so many times the median; that share of jumps is too many.
_RISEN, _JUMP, _JUMPS = 1.5, 3.0, 0.05
#: A loss that fell by less is falling slowly, or not at all.
_SLOW, _NOTHING = 0.1, 0.01
#: Change of a weight matrix by one update, relative to its length: more is too large, and with less
#: nothing is learned in a hundred thousand updates.
_LARGE_UPDATE, _SMALL_UPDATE = 0.1, 1e-6
_NO_WAY = (
    "The surrogate is 0 where its neurons are, they or their sources are silent, or no learning "
    "signal reaches them"
)


@dataclass(frozen=True)
class Symptom:
    """A sign that something is wrong.

    Attributes
    ----------
    what : str
        What was measured, in a sentence without its full stop.
    advice : str
        What to change; ``""`` if `what` says it.
    """

    what: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.what}. {self.advice}".rstrip()


def of_loss(history: History, network: Resolved) -> Iterator[Symptom]:
    """Judge the course of the loss: not finite, not falling, risen again, jumping, too slow."""
    loss = np.array(history.loss)
    bad = np.flatnonzero(~np.isfinite(loss))
    if len(bad):
        yield Symptom(
            f"the loss was not finite in {len(bad)} iterations, first in iteration {bad[0] + 1}",
            "Train on from there: a warning names the quantity that was not finite first",
        )
    loss = loss[np.isfinite(loss)]
    if len(loss) < _LEAST_ROWS:
        return
    n = max(LASTING, len(loss) // _SHARE)
    first, last = loss[:n], loss[-n:]
    before, after = float(np.median(first)), float(np.median(last))
    levels = np.array([np.median(part) for part in np.array_split(loss, len(loss) // n)])
    best = int(np.argmin(levels))
    eta = learning_rates(network)
    rate = f"a smaller learning rate (now {eta})"
    if 0 < best < len(levels) - 2 and after > _RISEN * levels[best]:
        yield Symptom(
            f"the loss rose again: a median of {levels[best]:.4g} around iteration "
            f"{int((best + 0.5) * len(loss) / len(levels))}, {after:.4g} at the end",
            f"Take {rate} or a schedule that lowers it, and keep the best weights "
            "(--validate-every)",
        )
    elif (
        after > (1 - _NOTHING) * before
        or mannwhitneyu(last, first, alternative="less").pvalue > _LEVEL
    ):
        yield Symptom(
            f"the loss does not fall: a median of {before:.4g} in the first {n} iterations, "
            f"{after:.4g} in the last {n}",
            "Look at the sizes of updates, at the firing rates, and at the feedback",
        )
    elif 1 - after / before < _SLOW:
        yield Symptom(
            f"the loss falls slowly: by {1 - after / before:.1%} in {len(loss)} iterations",
            f"Train longer, or take a larger learning rate (now {eta})",
        )
    second = loss[len(loss) // 2 :]
    jumps = np.mean(second > _JUMP * np.median(second))
    if jumps > _JUMPS:
        yield Symptom(
            f"the loss jumps: in {jumps:.0%} of the later iterations it is more than {_JUMP:g} "
            "times its median",
            f"Take {rate}, larger batches, or clip the gradient (clip_norm)",
        )


def of_return(history: History) -> Iterator[Symptom]:
    """Judge the course of the return in an environment: whether it rises."""
    returns = np.array(history.returns)
    if len(returns) < _LEAST_ROWS:
        return
    n = max(LASTING, len(returns) // _SHARE)
    first, last = returns[:n], returns[-n:]
    if mannwhitneyu(last, first, alternative="greater").pvalue > _LEVEL:
        yield Symptom(
            f"the return does not rise: a median of {np.median(first):.4g} in the first {n} "
            f"iterations, {np.median(last):.4g} in the last {n}",
            "Look at the sizes of updates, and at the rewards: are some reached by chance?",
        )


def relative_changes(before: Mapping[str, Matrix], after: Mapping[str, Matrix]) -> dict[str, float]:
    """Length of the change of each array, relative to its length before; NaN if that is 0."""
    changes = {}
    for name, old in before.items():
        start, end = values_of(old), values_of(after[name])
        if start.shape != end.shape:  # rewired
            continue
        length = np.linalg.norm(np.ravel(start))
        change = np.linalg.norm(np.ravel(end - start))
        changes[name] = float(change / length) if length else float("nan")
    return changes


def of_updates(changes: Mapping[str, float], network: Resolved) -> Iterator[Symptom]:
    """Judge how far one update moves the weights of each projection that learns."""
    eta = learning_rates(network)
    kinds = (
        (lambda change: change == 0, "does not change {names}: no gradient arrives there", _NO_WAY),
        (
            lambda change: change > _LARGE_UPDATE,
            "changes {names} by up to {most:.2g} of its length",
            f"Take a smaller learning rate (now {eta}), or larger initial weights there",
        ),
        (
            lambda change: 0 < change < _SMALL_UPDATE,
            "changes {names} by no more than {most:.2g} of its length",
            f"Take a larger learning rate (now {eta})",
        ),
    )
    for holds, what, advice in kinds:
        found = {name: change for name, change in changes.items() if holds(change)}
        if found:
            text = what.format(names=", ".join(found), most=max(found.values()))
            yield Symptom(f"an update {text}", advice)
