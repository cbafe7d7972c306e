"""Arrays of a balanced network in a checkpoint, and whether they belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.balanced.spec import BalancedNetwork

__all__ = ["check_arrays", "drawn_arrays"]


def drawn_arrays(network: BalancedNetwork) -> dict[str, np.ndarray]:
    """Give what a network's seed decides, by which a checkpoint is known to be its own."""
    arrays = {"decoder": network.decoder, "threshold": network.threshold}
    if network.basis_weights is not None and network.basis_offset is not None:
        arrays |= {"basis_weights": network.basis_weights, "basis_offset": network.basis_offset}
    return arrays


def check_arrays(network: BalancedNetwork, arrays: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError, naming the file, unless arrays are those of a network's checkpoint."""
    shapes = {
        "slow_weights": network.slow_weights.shape,
        "fast_weights": network.fast_weights.shape,
    }
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].shape != shape:
            raise ValueError(f"{path} lacks '{name}' of shape {shape}")
        if not np.all(np.isfinite(arrays[name])):
            raise ValueError(f"{path}: '{name}' is not finite")
    points = arrays.get("points")
    if points is None or points.ndim != 2 or points.shape[1] != network.n_dimensions:
        raise ValueError(f"{path} lacks 'points' of shape (n, {network.n_dimensions})")
    for name, drawn in drawn_arrays(network).items():
        if name not in arrays or not np.array_equal(arrays[name], drawn):
            raise ValueError(
                f"{path}: '{name}' is not what the settings beside it and their seed give: the "
                "weights belong to another network"
            )
