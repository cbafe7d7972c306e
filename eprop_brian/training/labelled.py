"""A loss of labels turned into data: its errors, once a trial has shown what they are.

They are known at a trial's end alone, but what is recorded in a step needs them there. So the trial
runs twice, the second time with the errors of the first as a modulator that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from eprop_brian.base.sparse import Matrix
from eprop_brian.network.program import make_program
from eprop_brian.network.resolved import Resolved
from eprop_brian.steps.numpy_labels import label_probabilities
from eprop_brian.symbolic.expressions import evaluate
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.session import Session

__all__ = ["errors_as_data"]


def errors_as_data(
    network: Resolved,
    trials: Trials,
    weights: Mapping[str, Matrix],
    learning_window: int,
    device: str,
    dtype: str,
) -> tuple[Resolved, Trials, Trials]:
    """Compute the errors of losses of labels in a trial, and give them to its network as data.

    Parameters
    ----------
    network : Resolved
    trials : Trials
        One trial.
    weights, learning_window, device, dtype
        As for `eprop_brian.record`.

    Returns
    -------
    network : Resolved
        Its readouts with a loss of labels send their targets in the place of errors.
    trials : Trials
        Their targets are the errors of every step.
    shown : Trials
        The same trial with the probability, given the labels, that an output is what a step shows
        as the target of these readouts.

    Raises
    ------
    ValueError
        If learning signals are an equation of something else than the error.
    """
    labelled = [readout for readout in network.readouts if readout.loss.of_labels]
    names = {readout.name for readout in labelled}
    for signal in network.signals:
        if signal.source in names and signal.feedback.signal != "error":
            raise ValueError(
                f"learning signal '{signal.name}' sends '{signal.feedback.signal}', but with a "
                "loss of labels only one that sends the error can be recorded"
            )
    session = Session(
        network, make_program(device, dtype), trials, learning_window, dict(weights), learning=False
    )
    try:
        p = session.run(trials, 1, learning=False).output[0]
    finally:
        session.close()
    assert trials.periods is not None and trials.labels is not None  # the session has checked it
    row = trials.target[0]
    period, n_steps = trials.periods[row], trials.inputs.shape[1]
    shape = (1, n_steps, network.n_outputs)
    errors = np.array(np.broadcast_to(trials.targets[row], shape))
    given = errors.copy()
    n_frames = int(period.max())
    steps = np.bincount(period, minlength=n_frames + 1)[1:]
    frame, counts = np.maximum(period - 1, 0), (period > 0)[:, np.newaxis]
    for readout in labelled:
        columns = network.output_slices[readout.name]
        # What single precision rounds to 0 is given its smallest number: no way of showing the
        # labels may be lost, or nothing divides into their probabilities.
        log_p = np.log(np.maximum(p[:n_frames, columns], np.finfo(p.dtype).tiny))
        _, _, y_target, _ = label_probabilities(steps, trials.labels[row], log_p * steps[:, None])
        values = {**readout.values, "p": p[:n_frames, columns], "y_target": y_target}
        error = evaluate(readout.loss.error, values, "loss, error") / steps[:, None]
        errors[0, :, columns] = np.where(counts, error[frame], 0)
        given[0, :, columns] = np.where(counts, y_target[frame], 0)
    readouts = tuple(
        replace(readout, loss=replace(readout.loss, loss="0", error="y_target", of_labels=False))
        if readout.name in names
        else readout
        for readout in network.readouts
    )
    advantage = None if trials.advantage is None else trials.advantage[[row]]
    own = {
        "target": np.zeros(1, int),
        "periods": period[np.newaxis],
        "labels": None,
        "advantage": advantage,
    }
    return (
        replace(network, readouts=readouts),
        replace(trials, targets=errors, **own),
        replace(trials, targets=given, **own),
    )
