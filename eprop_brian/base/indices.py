"""Types of whole numbers that number elements of arrays: 32 bits where they are enough."""

from __future__ import annotations

import numpy as np

__all__ = ["MOST_NUMBERS", "index_type"]

#: Elements of an array whose numbers need more than 32 bits.
MOST_NUMBERS = 2**31


def index_type(size: int) -> type:
    """Type of whole numbers up to `size`, of 32 bits if they are enough."""
    return np.int32 if size < MOST_NUMBERS else np.int64
