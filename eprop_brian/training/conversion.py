"""Recordings as tables and labelled arrays: CSV, pandas, xarray."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.table import write_table
from eprop_brian.symbolic.names import free_name
from eprop_brian.training.recorded import Member, Recorded, Recording

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = ["Columns", "columns_of", "required", "to_pandas", "to_xarray", "write_csv"]

#: Dimension of the columns of each kind.
_DIMENSIONS = {
    **{"inputs": "input", "neurons": "neuron", "pairs": "neuron", "outputs": "readout"},
    "synapses": "synapse",
}
#: What describes a member, by dimension.
_ABOUT = {
    **dict.fromkeys(("input", "neuron", "readout"), ("part", "index")),
    "synapse": ("source", "pre", "target", "post", "receptor"),
}


def required(module: str) -> Any:
    """Import a module that a conversion needs.

    Raises
    ------
    ValueError
        If it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(
            f"this form of a recording needs {module}: pip install 'eprop_brian[recordings]'"
        ) from None


@dataclass(frozen=True)
class Columns:
    """A quantity as a plain table.

    Attributes
    ----------
    values : array, shape (n_steps, n_columns)
    labels : list of str
        Of each column: ``"alif 3"``, or ``"alif 3, output 1"`` where there is one for each output.
    units : list of str
    about : dict of str to list
        What describes the member of each column: part and index, or the ends of a synapse.
    """

    values: np.ndarray
    labels: list[str]
    units: list[str]
    about: dict[str, list]


def columns_of(recorded: Recorded) -> Columns:
    """A quantity as a plain table."""
    names = _ABOUT[_DIMENSIONS[recorded.kind]]
    members, units, labels = [*recorded.members], [*recorded.units], [*map(str, recorded.members)]
    if recorded.kind != "pairs":
        about = {name: [getattr(m, name) for m in members] for name in names}
        return Columns(recorded.values, labels, units, about)
    n_outputs = recorded.values.shape[2]
    every = [(i, k) for i in range(len(members)) for k in range(n_outputs)]
    about = {name: [getattr(members[i], name) for i, _ in every] for name in names}
    return Columns(
        recorded.values.reshape(len(recorded.values), -1),
        [f"{labels[i]}, output {k}" for i, k in every],
        [units[i] for i, _ in every],
        {**about, "output": [k for _, k in every]},
    )


def write_csv(recording: Recording, path: Path) -> None:
    """Write a row for every step."""
    names, tables = ["time (ms)"], [recording.time[:, np.newaxis]]
    for name, recorded in recording.items():
        columns = columns_of(recorded)
        names += [
            f"{name} of {label} ({unit})"
            for label, unit in zip(columns.labels, columns.units, strict=True)
        ]
        values = columns.values
        tables.append(values.astype(int) if values.dtype == bool else values)
    rows = zip(*(table.tolist() for table in tables), strict=True)
    write_table(path, names, ([x for part in row for x in part] for row in rows))


def to_pandas(recording: Recording) -> pandas.DataFrame:
    """A row for every step; columns by quantity, member and unit."""
    pd = required("pandas")
    frames, names = [], []
    index = pd.Index(recording.time, name="time (ms)")
    for name, recorded in recording.items():
        columns = columns_of(recorded)
        frames.append(pd.DataFrame(columns.values, index=index))
        names += [(name, *pair) for pair in zip(columns.labels, columns.units, strict=True)]
    table = pd.concat(frames, axis=1) if frames else pd.DataFrame(index=index)
    table.columns = pd.MultiIndex.from_tuples(names, names=["quantity", "of", "unit"])
    return table


def to_xarray(recording: Recording) -> xarray.Dataset:
    """A data set; what some members do not have is NaN there."""
    xr = required("xarray")
    members = _members(recording)
    coordinates: dict[str, Any] = {"time": ("time", recording.time, {"units": "ms"})}
    for dimension, known in members.items():
        coordinates[dimension] = [str(member) for member in known]
        for name in _ABOUT[dimension]:
            values = [getattr(member, name) for member in known]
            coordinates[f"{dimension}_{name}"] = dimension, values
    variables = {}
    for name, recorded in recording.items():
        dimension = _DIMENSIONS[recorded.kind]
        places = [members[dimension][member] for member in recorded.members]
        data, n = recorded.values, len(members[dimension])
        if len(places) < n:
            data = np.full((len(data), n, *data.shape[2:]), np.nan)
            data[:, places] = recorded.values
        dimensions = ["time", dimension, *["readout"] * (recorded.kind == "pairs")]
        units = [*dict.fromkeys(recorded.units)]
        about = {"units": units[0]} if len(units) == 1 else {}
        variables[free_name(name, coordinates)] = dimensions, data, about
        if len(units) > 1:
            of_each = dict(zip(places, recorded.units, strict=True))
            texts = [of_each.get(place, "") for place in range(n)]
            coordinates[f"units_of_{name}"] = dimension, texts
    return xr.Dataset(variables, coordinates, {"dt (ms)": recording.dt})


def _members(recording: Recording) -> dict[str, dict[Any, int]]:
    """Everything that has a column somewhere, numbered along each dimension."""
    members: dict[str, dict[Any, int]] = {}
    for recorded in recording.values():
        known = members.setdefault(_DIMENSIONS[recorded.kind], {})
        for member in recorded.members:
            known.setdefault(member, len(known))
        if recorded.kind in ("pairs", "outputs"):
            outputs = (r.outputs.stop - r.outputs.start for r in recording.readouts)
            sizes = zip(recording.readouts, outputs, strict=True)
            every = [Member(readout.name, k) for readout, n in sizes for k in range(n)]
            members["readout"] = {member: number for number, member in enumerate(every)}
    return members
