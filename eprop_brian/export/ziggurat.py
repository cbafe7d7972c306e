"""Tables of the ziggurats by which NumPy draws normal and exponential numbers.

The algorithm is that of Marsaglia & Tsang 2000 ("The ziggurat method for generating random
variables") with 256 layers. Layer i holds the numbers below ``x_i``; a whole number that is drawn
for it times ``width`` is the number, and one below ``inside`` is right without another look.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["ziggurat_tables"]

_LAYERS = 256
#: Of the 64 bits that are drawn: how many are the whole number, and which its lowest.
_NORMAL_BITS, _NORMAL_SHIFT = 52, 9
_EXPONENTIAL_BITS, _EXPONENTIAL_SHIFT = 53, 11
#: Where the tail begins, and the area of each layer.
_NORMAL_TAIL, _NORMAL_AREA = 3.6541528853610088, 0.00492867323397465524494
_EXPONENTIAL_TAIL, _EXPONENTIAL_AREA = 7.69711747013104972, 0.0039496598225815571993
#: PCG64's step, s -> a s + c modulo 2^128.
_MULTIPLIER = (2549297995355413924 << 64) + 4865540595714422341
_MODULUS = 1 << 128


def ziggurat_tables() -> dict[str, np.ndarray]:
    """Return ``normal.width``, ``normal.inside``, ``normal.density``, and so on, shape (256,)."""
    normal = _layers(
        _NORMAL_TAIL,
        _NORMAL_AREA,
        _NORMAL_BITS,
        lambda x: np.exp(-0.5 * x * x),
        lambda y: np.sqrt(-2.0 * np.log(y)),
    )
    exponential = _layers(
        _EXPONENTIAL_TAIL,
        _EXPONENTIAL_AREA,
        _EXPONENTIAL_BITS,
        lambda x: np.exp(-x),
        lambda y: -np.log(y),
    )
    widths = {
        "normal": _numpy_widths("standard_normal", _NORMAL_SHIFT),
        "exponential": _numpy_widths("standard_exponential", _EXPONENTIAL_SHIFT),
    }
    return {
        f"{name}.{key}": table
        for name, (inside, density) in (("normal", normal), ("exponential", exponential))
        for key, table in (("width", widths[name]), ("inside", inside), ("density", density))
    }


def _layers(
    tail: float,
    area: float,
    bits: int,
    density: Callable[[float], float],
    inverse: Callable[[float], float],
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for every layer, the whole numbers that lie inside and the density at its edge."""
    edges = np.empty(_LAYERS)
    edges[-1] = tail
    for i in range(_LAYERS - 2, 0, -1):
        edges[i] = inverse(area / edges[i + 1] + density(edges[i + 1]))
    # The first has the tail; its edge would be that of a rectangle of the same area.
    edges[0] = 0.0
    outer = edges.copy()
    outer[0] = area / density(tail)
    inside = np.concatenate([[tail / outer[0]], edges[:-1] / outer[1:]])
    heights = np.concatenate([[1.0], [density(x) for x in edges[1:]]])
    return np.rint(inside * 2.0**bits).astype(np.int64), heights


def _numpy_widths(draw: str, shift: int) -> np.ndarray:
    """Ask NumPy how wide its layers are: what it makes of the whole number 1 in each.

    Computed, they would differ in the last digit, as every way to round does.
    """
    bits = np.random.PCG64(0)
    generator = np.random.Generator(bits)
    state = bits.state
    increment = state["state"]["inc"]
    inverse = pow(_MULTIPLIER, -1, _MODULUS)
    layer_shift = 3 if draw == "standard_exponential" else 0
    widths = []
    for layer in range(_LAYERS):
        drawn = 1 << shift | layer << layer_shift
        # The output of a state below 2^64 is the state itself.
        state["state"]["state"] = (drawn - increment) * inverse % _MODULUS
        bits.state = state
        widths.append(getattr(generator, draw)())
    return np.array(widths)
