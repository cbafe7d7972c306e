"""Phones as TIMIT has them: label files, and the folding of 61 phones to 39.

A file ``.phn`` has a line for each phone: first sample, sample after the last, phone. Results on
TIMIT are usually given for the 39 classes of Lee and Hon 1989 (IEEE Trans. Acoust. Speech Signal
Process. 37:1641): allophones are taken together, closures and pauses are silence (``sil``), and
glottal stops (``q``) do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eprop_brian.base.suggestions import unknown
from eprop_brian.tasks.datasets import DataError, read_bytes

__all__ = ["FOLDED", "PHONES", "UNCOUNTED", "fold", "frame_labels", "label_file"]

#: Label of frames that do not count.
UNCOUNTED = ""
#: Those of TIMIT's phones that the 39 classes call something else.
FOLDED: Mapping[str, str] = {
    "ao": "aa",
    "ax": "ah",
    "ax-h": "ah",
    "axr": "er",
    "hv": "hh",
    "ix": "ih",
    "el": "l",
    "em": "m",
    "en": "n",
    "nx": "n",
    "eng": "ng",
    "zh": "sh",
    "ux": "uw",
    **dict.fromkeys(("bcl", "dcl", "gcl", "pcl", "tcl", "kcl", "h#", "pau", "epi"), "sil"),
    "q": UNCOUNTED,
}
#: The 39 classes.
_CLASSES = (
    "iy ih eh ae ah uw uh aa ey ay oy aw ow l r y w er m n ng v f dh th z s sh jh ch b p d dx g t "
    "k hh sil"
)
#: TIMIT's phones and the 39 classes.
PHONES = (*FOLDED, *_CLASSES.split())
#: Frames by which labels and recording may differ at the end: windows overlap it.
_MOST_APART = 5


def fold(phone: str) -> str:
    """Return which of the 39 classes a phone belongs to; `UNCOUNTED` for itself or a glottal stop.

    Raises
    ------
    DataError
        If it is none of TIMIT's phones.
    """
    if phone not in (*PHONES, UNCOUNTED):
        raise DataError(unknown("phone of TIMIT", phone, PHONES))
    return FOLDED.get(phone, phone)


def label_file(path: Path) -> Path:
    """Return the label file beside a recording or its features; TIMIT comes in capitals."""
    capital = path.with_suffix(".PHN")
    return capital if capital.exists() else path.with_suffix(".phn")


def frame_labels(path: Path, n_frames: int, period: float, sample_rate: float) -> list[str]:
    """Read the phone of each frame from a label file of TIMIT: what sounds in its middle.

    A frame in a gap between two phones, or before the first, does not count (`UNCOUNTED`).

    Parameters
    ----------
    path : Path
        A ``.phn`` file.
    n_frames : int
    period : float
        Time from one frame to the next in seconds.
    sample_rate : float
        Samples per second that the file counts.

    Raises
    ------
    DataError
        If the file cannot be read, a line is not of the form "0 3050 h#", or its times and the
        frames end at different times.
    """
    begins, ends, phones = [], [], []
    lines = read_bytes(path).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        fields = line.split()
        if len(fields) != 3 or not fields[0].isdecimal() or not fields[1].isdecimal():
            raise DataError(
                f"{path}, line {number}: expected first sample, last sample and phone such as "
                f"'0 3050 h#', got {line.strip()!r}"
            )
        if int(fields[0]) > int(fields[1]):
            line = line.strip()
            raise DataError(f"{path}, line {number}: the phone ends before it begins, {line!r}")
        begins.append(int(fields[0]))
        ends.append(int(fields[1]))
        phones.append(fields[2])
    if not phones or np.any(np.diff(ends) < 0):
        raise DataError(f"{path} must hold at least one phone, and later ones further down")
    middle = (np.arange(n_frames) + 0.5) * period * sample_rate
    late = int(np.sum(middle >= ends[-1]))
    early = int((ends[-1] / sample_rate - n_frames * period) / period)
    if max(late, early) > _MOST_APART:
        raise DataError(
            f"{path} ends {max(late, early)} frames {'before' if late else 'after'} the recording "
            f"does: is {sample_rate:g} Hz the rate of the samples that it counts?"
        )
    # What is past the last phone's end belongs to it.
    phone = np.minimum(np.searchsorted(ends, middle, side="right"), len(phones) - 1)
    in_gap = middle < np.asarray(begins)[phone]
    return [UNCOUNTED if gap else phones[k] for k, gap in zip(phone, in_gap, strict=True)]
