"""Features of speech in the format of the HTK toolkit.

A header of 12 bytes (number of frames, frame period in 100 ns, bytes per frame, kind of parameter),
then 32-bit floats; all big-endian.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eprop_brian.tasks.datasets import DataError, read_bytes

__all__ = ["read_htk"]

#: Bits of the kind of parameter: compressed, with a checksum at the end.
_COMPRESSED, _CHECKSUM = 0o2000, 0o10000
#: The kind's basic part; waveforms, 16-bit reflection coefficients and discrete data are no floats.
_BASIC, _NO_FLOATS = 0o77, (0, 5, 10)


def read_htk(path: Path) -> tuple[NDArray[np.float64], float]:
    """Read a file of features in the format of HTK.

    Returns
    -------
    features : float array, shape (n_frames, n_features)
    period : float
        Time from one frame to the next in seconds.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged or holds no plain floats.
    """
    raw = read_bytes(path)
    if len(raw) < 12:
        raise DataError(f"{path} is no HTK file: it is shorter than the header of 12 bytes")
    n_frames, period, n_bytes, kind = struct.unpack(">iihH", raw[:12])
    if kind & _COMPRESSED or kind & _BASIC in _NO_FLOATS:
        raise DataError(
            f"{path} holds compressed, 16-bit or discrete data: features must be 32-bit floats "
            "(in HCopy's configuration SAVECOMPRESSED = F)"
        )
    expected = 12 + n_frames * n_bytes + (2 if kind & _CHECKSUM else 0)
    if n_frames < 1 or period < 1 or n_bytes < 4 or n_bytes % 4 or len(raw) != expected:
        raise DataError(f"{path} is no HTK file of floats, or damaged: its header and size differ")
    values = np.frombuffer(raw, dtype=">f4", offset=12, count=n_frames * n_bytes // 4)
    features = values.reshape(n_frames, -1).astype(float)
    if not np.isfinite(features).all():
        raise DataError(f"{path} holds values that are not finite")
    return features, 1e-7 * period
