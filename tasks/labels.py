"""Sequences of labels: what the outputs of frames say, and how far that is from what was shown.

In every frame a network shows one of its labels or, by its last output, none of them (the blank).
Of what frames show, a label that stays for several frames counts once, and blanks are left out:
with the labels a and b, the frames ``a a - b - b`` say ``a b b``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eprop_brian.base.checks import check_count
from eprop_brian.tasks.trials import Trials

__all__ = ["beam_labels", "edit_distance", "greedy_labels", "label_errors"]


def greedy_labels(p: ArrayLike) -> list[int]:
    """The labels of the frames' most probable outputs: best path decoding.

    A frame in which nothing is more probable than the blank shows no label, as before the first
    spike, when all outputs are equal.

    Parameters
    ----------
    p : array of float, shape (n_frames, n_outputs)
        Probabilities of the labels and, last, of the blank.

    Returns
    -------
    list of int
        Empty where no frame shows a label.
    """
    values = _probabilities(p)
    blank = values.shape[1] - 1
    best = np.where(values[:, blank] >= values.max(axis=1), blank, values.argmax(axis=1))
    changes = np.append(True, best[1:] != best[:-1])[: len(best)]
    return best[changes & (best != blank)].tolist()


def beam_labels(p: ArrayLike, width: int = 10) -> list[int]:
    """The most probable labels, summed over all ways to spread them over the frames.

    A prefix beam search (Graves 2008, section 7.5.3; Hannun et al. 2014): after each frame the most
    probable beginnings are kept, each with the probability of all ways to show it, separately for
    those whose last frame is blank, since only these let the same label come again.

    Parameters
    ----------
    p : array of float, shape (n_frames, n_outputs)
        As for `greedy_labels`.
    width : int
        Beginnings that are kept. The result is the most probable sequence if it is large enough.

    Returns
    -------
    list of int

    Raises
    ------
    ValueError
        If the width is not positive, or `p` has no outputs.
    """
    check_count("width", width)
    with np.errstate(divide="ignore"):
        log_p = np.log(_probabilities(p))
    blank = log_p.shape[1] - 1
    # Logarithms of the probabilities of each beginning: of all ways that end in a blank, and of
    # those that end in its last label.
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}
    for frame in log_p:
        grown: dict[tuple[int, ...], list[float]] = {}
        for prefix, (of_blank, of_label) in beam.items():
            both = np.logaddexp(of_blank, of_label)
            _add(grown, prefix, 0, both + frame[blank])
            if prefix:
                _add(grown, prefix, 1, of_label + frame[prefix[-1]])
            for label in np.flatnonzero(frame[:blank] > -np.inf).tolist():
                again = bool(prefix) and label == prefix[-1]
                _add(grown, (*prefix, label), 1, (of_blank if again else both) + frame[label])
        ranked = sorted(
            grown.items(), key=lambda item: (-np.logaddexp(item[1][0], item[1][1]), item[0])
        )
        beam = {prefix: (ends[0], ends[1]) for prefix, ends in ranked[:width]}
    return list(next(iter(beam)))


def _add(grown: dict[tuple[int, ...], list[float]], prefix: tuple, end: int, log_p: float) -> None:
    """Add the probability of some ways to show a beginning."""
    ends = grown.setdefault(prefix, [-np.inf, -np.inf])
    ends[end] = float(np.logaddexp(ends[end], log_p))


def _probabilities(p: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(p, dtype=float)
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"p must have the shape (n_frames, n_outputs), got {values.shape}")
    return values


def edit_distance(first: Sequence[int], second: Sequence[int]) -> int:
    """The fewest insertions, deletions and substitutions that make one sequence of the other.

    The distance of Levenshtein.
    """
    row = np.arange(len(second) + 1)
    for count, label in enumerate(first, start=1):
        # Substituted or deleted; then what is inserted follows from the left.
        best = np.minimum(row[:-1] + (np.asarray(second) != label), row[1:] + 1)
        best = np.append(count, best)
        row = np.minimum.accumulate(best - np.arange(len(best))) + np.arange(len(best))
    return int(row[-1])


def label_errors(outputs: ArrayLike, trials: Trials, beam_width: int = 1) -> NDArray[np.float64]:
    """How far the labels that trials show are from theirs.

    Parameters
    ----------
    outputs : array of float, shape (n_trials, n_frames, n_outputs)
        Probabilities of the labels and, last, of the blank; NaN for a frame that a trial does not
        have.
    trials : Trials
        With labels.
    beam_width : int
        Beginnings that the search for the labels keeps (`beam_labels`); with 1 it takes the most
        probable output of each frame (`greedy_labels`).

    Returns
    -------
    errors : array of float, shape (n_trials,)
        The edit distance of each trial over the number of its labels, or over 1 if it has none. The
        mean weighted by these numbers is the label error rate. It exceeds 1 where there are more
        labels too many than right ones.

    Raises
    ------
    ValueError
        If the trials have no labels, or `outputs` has another shape or contains NaN in a frame.
    """
    if trials.labels is None or trials.periods is None:
        raise ValueError("the trials have no labels: give Trials(..., labels=...)")
    check_count("beam_width", beam_width)
    outputs = np.asarray(outputs, dtype=float)
    expected = (trials.n_trials, trials.n_answers, trials.targets.shape[2])
    if outputs.shape != expected:
        raise ValueError(
            f"outputs must have the shape (n_trials, n_frames, n_outputs) = {expected}, got "
            f"{outputs.shape}"
        )
    n_frames = trials.periods.max(axis=1)[trials.target]
    counts, distances = trials.label_counts, np.zeros(trials.n_trials)
    for trial, row in enumerate(trials.target):
        p = outputs[trial, : n_frames[trial]]
        if np.isnan(p).any():
            raise ValueError("outputs contain NaN")
        shown = greedy_labels(p) if beam_width == 1 else beam_labels(p, beam_width)
        distances[trial] = edit_distance(shown, trials.labels[row, : counts[trial]].tolist())
    return distances / np.maximum(counts, 1)
