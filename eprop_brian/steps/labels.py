"""The node that compares what a trial shows with its labels."""

from __future__ import annotations

from dataclasses import dataclass

from eprop_brian.steps.nodes import Node

__all__ = ["LabelProbabilities", "room_for_labels"]


@dataclass(frozen=True)
class LabelProbabilities(Node):
    """Computes the probabilities of frames, alone and given the labels of the trial.

    By connectionist temporal classification, see `eprop_brian.equations.losses.CTC`. All of it is
    computed in double precision, of logarithms.

    Attributes
    ----------
    n : int
        Outputs, the last of which is the blank.
    labels, at_labels : str
        Array of the labels, and where those of the trial begin.
    most_labels, most_frames : int
    sums, at_sums : str
        Array of the sums of outputs over the steps of frames, and where those of the trial begin.
        They become those of the probabilities.
    row : int
        Numbers that all outputs have in a frame there.
    frame_steps : str
        Array of the steps of each frame, 0 behind the last.
    y, p, y_target : str
        Arrays, by frame and output: the mean of the outputs, the probabilities, and the
        probabilities given the labels.
    log_likelihood : str
        Array of a number for every output, of which the first becomes that of the labels.
    room : str
        Array of `room_for_labels` doubles.
    """

    n: int
    labels: str
    at_labels: str
    most_labels: int
    most_frames: int
    sums: str
    at_sums: str
    row: int
    frame_steps: str
    y: str
    p: str
    y_target: str
    log_likelihood: str
    room: str

    def sets(self) -> tuple[str, ...]:
        """See `Node.sets`. The sums have a row for every trial and belong to none."""
        return self.y, self.p, self.y_target, self.log_likelihood, self.room


def room_for_labels(most_frames: int, most_labels: int) -> int:
    """Numbers that the probabilities take on the way: of positions forwards and backwards."""
    return (most_frames + 2) * (2 * most_labels + 1) + most_frames
