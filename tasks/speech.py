"""Recorded speech: what tasks share whose utterances are audio files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from brian2.units import Hz, Quantity, kHz, ms, second

from eprop_brian.base.checks import check_count, check_quantity
from eprop_brian.tasks.audio import FEATURES, Extracted, FrontEnd, features_of
from eprop_brian.tasks.frames import FrameTask

__all__ = ["SpeechTask"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SpeechTask(FrameTask):
    """Base class: utterances are audio files, whose features are computed here.

    Parameters
    ----------
    features : {"mfcc", "log-mel"}
        Cepstral coefficients, the first of them the log energy, or log energies in mel bands.
    n_coefficients : int
        Cepstral coefficients (13).
    n_bands : int
        Mel bands (26).
    deltas : int
        How often the slope over 5 frames is appended (2: slopes, and slopes of slopes).
    window : Quantity
        Length of a frame (25 ms).
    frame_period : Quantity
        Time from one frame to the next (10 ms).
    sample_rate : Quantity
        Rate to which recordings are resampled (16 kHz).
    """

    features: str = "mfcc"
    n_coefficients: int = 13
    n_bands: int = 26
    deltas: int = 2
    window: Quantity = field(default_factory=lambda: 25 * ms)
    frame_period: Quantity = field(default_factory=lambda: 10 * ms)
    sample_rate: Quantity = field(default_factory=lambda: 16 * kHz)

    def __post_init__(self) -> None:
        if self.features not in FEATURES:
            raise ValueError(
                f"features must be one of {', '.join(FEATURES)}, got {self.features!r}"
            )
        for name in ("n_coefficients", "n_bands"):
            check_count(name, getattr(self, name))
        check_count("deltas", self.deltas, minimum=0)
        if self.n_bands < 3:
            raise ValueError(f"n_bands must be 3 or greater, got {self.n_bands}")
        if self.features == "mfcc" and self.n_coefficients > self.n_bands:
            raise ValueError(
                f"n_coefficients ({self.n_coefficients}) must be at most n_bands ({self.n_bands})"
            )
        for name, unit in (("window", second), ("frame_period", second), ("sample_rate", Hz)):
            value = getattr(self, name)
            if check_quantity(name, value, unit) <= 0:
                raise ValueError(f"{name} must be positive, got {value!s}")
        for name in ("window", "frame_period"):
            value = getattr(self, name)
            if float(value * self.sample_rate) < 2:
                raise ValueError(
                    f"{name} must be two samples or longer, got {value!s} at {self.sample_rate!s}"
                )
        super().__post_init__()

    @cached_property
    def front_end(self) -> FrontEnd:
        """What becomes of a recording."""
        return FrontEnd(
            features=self.features,
            n_coefficients=self.n_coefficients,
            n_bands=self.n_bands,
            deltas=self.deltas,
            window=check_quantity("window", self.window, second),
            period=check_quantity("frame_period", self.frame_period, second),
            sample_rate=check_quantity("sample_rate", self.sample_rate, Hz),
        )

    def extracted(
        self, recordings: Sequence[Sequence[Path]], pause: float = 0.0
    ) -> list[Extracted]:
        """See `eprop_brian.tasks.audio.features_of`."""
        return features_of(recordings, self.front_end, pause)
