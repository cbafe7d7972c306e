"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_array, issparse

from eprop_brian.base.sparse import Matrix

__all__ = [
    "beside",
    "flattened",
    "read_array",
    "read_arrays",
    "write_array",
    "write_arrays",
    "write_text",
]

#: What a sparse matrix ``w`` is made of in a file: ``w.data``, ``w.indices``, ...
_PARTS = ("data", "indices", "indptr", "shape")


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder and rename it to `path` on success."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}_", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    with beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def flattened(arrays: Mapping[str, Matrix]) -> dict[str, np.ndarray]:
    """Replace every sparse matrix ``w`` [post, pre] by plain arrays.

    They are those of `scipy.sparse.csc_array`: ``w.data`` and ``w.indices``, the postsynaptic
    neurons, (n_synapses,) each; ``w.indptr`` (n_pre + 1,), where the synapses of each presynaptic
    neuron begin; ``w.shape`` (2,).
    """
    plain = {}
    for name, value in arrays.items():
        if issparse(value):
            plain.update({f"{name}.{part}": np.asarray(getattr(value, part)) for part in _PARTS})
        else:
            plain[name] = value
    return plain


def write_arrays(path: Path, arrays: Mapping[str, Matrix]) -> None:
    """Write an ``.npz`` in one step, sparse matrices as `flattened` makes them."""
    with beside(path) as temporary, open(temporary, "wb") as file:
        plain: dict[str, Any] = flattened(arrays)
        np.savez(file, **plain)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an ``.npy`` in one step."""
    with beside(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array, allow_pickle=False)


def _reason(error: Exception) -> str:
    """Why a file could not be read; not NumPy's advice to load pickled objects, which run code."""
    return "" if "pickle" in str(error) else f" ({error})"


def read_array(path: Path) -> np.ndarray:
    """Read an ``.npy``.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or not a plain array.
    """
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: not an .npy of a plain array{_reason(error)}") from None


def read_arrays(path: Path) -> dict[str, Matrix]:
    """Read an ``.npz`` of plain arrays; those of a sparse matrix become one again.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or holds anything but plain arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except Exception as error:  # NumPy and zipfile raise many types for a damaged file
        raise ValueError(f"{path}: not an .npz of plain arrays{_reason(error)}") from None
    for name in [key.removesuffix(".indptr") for key in arrays if key.endswith(".indptr")]:
        try:
            data, indices, indptr, shape = (arrays.pop(f"{name}.{part}") for part in _PARTS)
            matrix = csc_array((data, indices, indptr), shape=tuple(shape.tolist()))
            matrix.check_format(full_check=True)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(f"{path}: '{name}' is not a sparse matrix ({error})") from None
        arrays[name] = matrix
    return arrays
