"""How a device wants the arrays and loops of a step laid out."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MOST_STEPS", "STAGES", "Layout"]

#: Most times that a block can repeat its statements in one iteration of its loop.
MOST_STEPS = 8
#: Parts of a trial that a profile tells apart: inputs, and spikes that enter before neurons are
#: advanced; neurons, with the sums that are made there, and their spike lists; readout with loss;
#: traces of the online program; errors and neurons backwards; sums over presynaptic spikes; the
#: rest (starts and ends of trials, updates).
STAGES = ("spikes", "neurons", "readout", "traces", "backward", "accumulate", "rest")


@dataclass(frozen=True)
class Layout:
    """How a device wants arrays laid out.

    Attributes
    ----------
    lanes : int
        Numbers in a vector register. Rows of synapses and histories are padded to a multiple of it,
        and loops over a population run over the padding too: what it holds means nothing.
    tile_bytes : int, optional
        Cache to plan for: the backward pass takes as many neurons at a time as have their results
        in it, and four vectors at least. Default: all neurons at once.
    steps_per_pass : int
        Steps that the ``online`` program does in one pass over the synapses, which keeps a
        synapse's traces in registers meanwhile; at most `MOST_STEPS`.
    recompute : bool
        Whether steps can run again, so that a history need not hold a whole trial.
    profile : bool
        Measure how long each of `STAGES` takes, into ``profile.seconds``.
    most_numbers : int, optional
        Elements that an array has at most. Default: as many as memory has room for.
    """

    lanes: int = 1
    tile_bytes: int | None = None
    steps_per_pass: int = 1
    profile: bool = False
    most_numbers: int | None = None
    recompute: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.steps_per_pass <= MOST_STEPS:
            raise ValueError(f"steps_per_pass must be 1 to {MOST_STEPS}, not {self.steps_per_pass}")

    def width(self, size: int) -> int:
        """Size of a population with padding."""
        return -(-size // self.lanes) * self.lanes
