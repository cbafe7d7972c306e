"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_array, issparse

from eprop_brian.base.memory import shown_bytes
from eprop_brian.base.sparse import Matrix
from eprop_brian.base.temporary import temporary_file

__all__ = [
    "beside",
    "flattened",
    "read_array",
    "read_arrays",
    "store",
    "read_numbers",
    "write_array",
    "write_arrays",
    "write_text",
]

#: What a file system says that stores nothing by request.
_NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
#: Bytes that an array may unpack to in any case, and how many times its packed size it may have.
_UNPACKED, _MOST_PACKED = 10**8, 100
#: What a sparse matrix ``w`` is made of in a file: ``w.data``, ``w.indices``, ...
_PARTS = ("data", "indices", "indptr", "shape")


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder and rename it to `path` on success.

    What is written is on the disk before it takes the place of what was there.
    """
    path = Path(path)
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_file(f".{path.stem}_", path.suffix, path.parent) as temporary:
            yield temporary
            temporary.chmod(0o644)
            # The content first: after a power cut a name must not stand for half a file.
            store(temporary)
            temporary.replace(path)
            store(path.parent)


def store(path: Path) -> None:
    """Have the system write a file, or what stands in a folder, to the disk (``fsync``)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have an error of the file system name a file, not the temporary one in its place."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise type(error)(f"cannot write {path.name} in {path.parent}: {reason}") from error


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


def _check_size(archive: zipfile.ZipFile) -> None:
    """Refuse what would unpack to very much more than the file, before it is unpacked."""
    for member in archive.infolist():
        if member.file_size > max(_UNPACKED, _MOST_PACKED * member.compress_size):
            raise ValueError(
                f"'{member.filename}' would unpack to {shown_bytes(member.file_size)}, from "
                f"{shown_bytes(member.compress_size)}"
            )


def read_numbers(path: Path) -> dict[str, Matrix]:
    """Read an ``.npz`` of numbers alone, as a run has them; else as `read_arrays`.

    Raises
    ------
    ValueError
        Also if an array holds something else, such as text.
    """
    arrays = read_arrays(path)
    for name, value in arrays.items():
        if value.dtype.kind not in "biuf":
            raise ValueError(f"{path}: '{name}' does not hold numbers but {value.dtype}")
    return arrays


def read_arrays(path: Path) -> dict[str, Matrix]:
    """Read an ``.npz`` of plain arrays; those of a sparse matrix become one again.

    Raises
    ------
    ValueError
        If the file is missing, damaged, or holds anything but plain arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            _check_size(file.zip)
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
