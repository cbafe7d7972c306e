"""Recordings in files: an ``.npz`` of plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian.base.files import read_arrays, write_arrays
from eprop_brian.training.recorded import (
    Member,
    Recorded,
    RecordedPopulation,
    RecordedReadout,
    Recording,
)
from eprop_brian.training.traces import TracedSynapse

__all__ = ["read_recording", "synapses_as_arrays", "synapses_from_arrays", "write_recording"]

#: What names the ends of a synapse.
_TEXTS = ("source", "target", "receptor")
#: What the columns of quantities can be.
KINDS = ("inputs", "neurons", "synapses", "outputs", "pairs")


def write_recording(recording: Recording, path: Path) -> None:
    """Write a recording."""
    write_arrays(path, _as_arrays(recording))


def read_recording(path: Path) -> Recording:
    """Read what `write_recording` wrote; ValueError if it is something else."""
    arrays = read_arrays(path)
    try:
        return _from_arrays(arrays)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a recording ({error})") from None


def _as_arrays(recording: Recording) -> dict[str, Any]:
    """Everything as plain arrays."""
    populations, readouts = recording.populations, recording.readouts
    arrays: dict[str, Any] = {
        "time": recording.time,
        "dt": np.array(recording.dt),
        "counts": recording.counts,
        "populations.name": _text(p.name for p in populations),
        "populations.size": np.array([p.size for p in populations], dtype=int),
        "populations.membrane": _text(p.membrane or "" for p in populations),
        "readouts.name": _text(r.name for r in readouts),
        "readouts.first": np.array([r.first for r in readouts], dtype=int),
        "readouts.softmax": np.array([r.softmax for r in readouts], dtype=bool),
        "readouts.outputs": np.array([(r.outputs.start, r.outputs.stop) for r in readouts]),
        **synapses_as_arrays("synapses", recording.synapses),
        "quantities": _text(recording),
    }
    for number, quantity in enumerate(recording.values()):
        key = f"quantity_{number}"
        arrays |= {
            f"{key}.values": quantity.values,
            f"{key}.kind": np.array(quantity.kind),
            f"{key}.units": _text(quantity.units),
        }
        if quantity.kind == "synapses":
            arrays |= synapses_as_arrays(key, quantity.members)
        else:
            arrays[f"{key}.part"] = _text(m.part for m in quantity.members)
            arrays[f"{key}.index"] = np.array([m.index for m in quantity.members], int)
    return arrays


def _from_arrays(arrays: Mapping[str, Any]) -> Recording:
    names, membranes = (arrays[f"populations.{x}"].tolist() for x in ("name", "membrane"))
    populations = [
        RecordedPopulation(name, int(size), membrane or None)
        for name, size, membrane in zip(names, arrays["populations.size"], membranes, strict=True)
    ]
    readouts = [
        RecordedReadout(name, slice(int(start), int(stop)), bool(softmax), int(first))
        for name, (start, stop), softmax, first in zip(
            arrays["readouts.name"].tolist(),
            arrays["readouts.outputs"],
            arrays["readouts.softmax"],
            arrays["readouts.first"],
            strict=True,
        )
    ]
    quantities = {}
    for number, name in enumerate(arrays["quantities"].tolist()):
        key = f"quantity_{number}"
        kind, values = str(arrays[f"{key}.kind"]), arrays[f"{key}.values"]
        if kind not in KINDS or len(values) != len(arrays["time"]):
            raise ValueError(f"'{name}' is damaged")
        members: Any
        if kind == "synapses":
            members = synapses_from_arrays(key, arrays)
        else:
            parts, indices = arrays[f"{key}.part"].tolist(), arrays[f"{key}.index"].tolist()
            members = tuple(Member(*pair) for pair in zip(parts, indices, strict=True))
        units = tuple(arrays[f"{key}.units"].tolist())
        if not len(units) == len(members) == values.shape[1]:
            raise ValueError(f"'{name}' is damaged")
        quantities[name] = Recorded(name, kind, values, members, units)
    return Recording(
        time=arrays["time"],
        dt=float(arrays["dt"]),
        counts=arrays["counts"],
        populations=tuple(populations),
        readouts=tuple(readouts),
        synapses=synapses_from_arrays("synapses", arrays),
        quantities=quantities,
    )


def _text(values: Any) -> np.ndarray:
    return np.array([*values], dtype=str)


def synapses_as_arrays(key: str, synapses: Any) -> dict[str, np.ndarray]:
    """Synapses as plain arrays, under keys that begin with `key`."""
    return {
        **{f"{key}.{x}": _text(getattr(s, x) for s in synapses) for x in _TEXTS},
        **{f"{key}.{x}": np.array([getattr(s, x) for s in synapses], int) for x in ("pre", "post")},
    }


def synapses_from_arrays(key: str, arrays: Mapping[str, Any]) -> tuple[TracedSynapse, ...]:
    """The synapses of `synapses_as_arrays`."""
    columns = (arrays[f"{key}.{x}"].tolist() for x in ("source", "pre", "target", "post"))
    receptors = arrays[f"{key}.receptor"].tolist()
    return tuple(TracedSynapse(*ends) for ends in zip(*columns, receptors, strict=True))
