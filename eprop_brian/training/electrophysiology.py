"""Recordings in the formats of electrophysiology: Neo and Neurodata Without Borders (NWB)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from brian2.units.fundamentalunits import get_dimensions

from eprop_brian.base.files import beside
from eprop_brian.symbolic.parameters import parse_quantity
from eprop_brian.training.conversion import Columns, columns_of, required

if TYPE_CHECKING:
    import neo

    from eprop_brian.training.recorded import Recorded, Recording

__all__ = ["to_neo", "write_nwb"]

#: Units whose names differ in the package `quantities`.
_SYMBOLS = {
    **{
        "1": "dimensionless",
        "unknown": "dimensionless",
        "volt": "V",
        "amp": "A",
        "siemens": "S",
        "ohm": "ohm",
        "farad": "F",
    },
    **{"second": "s", "hertz": "Hz", "coulomb": "C", "metre": "m", "kelvin": "K"},
}
#: Symbols of the base units, in Brian2's order of dimensions.
_BASE = ("m", "kg", "s", "A", "K", "mol", "cd")


def to_neo(recording: Recording) -> neo.Block:
    """A block of one segment; spikes are of the time at which their step starts."""
    neo, pq = required("neo"), required("quantities")
    segment = neo.Segment(name="trial")
    ms = pq.ms
    end = (recording.n_steps * recording.dt) * ms
    for name, recorded in recording.items():
        for member, times in _spike_times(recording, recorded):
            segment.spiketrains.append(
                neo.SpikeTrain(
                    times * ms,
                    t_stop=end,
                    name=str(member),
                    quantity=name,
                    part=member.part,
                    index=member.index,
                )
            )
        if _are_spikes(recorded):
            continue
        for columns in _by_unit(columns_of(recorded)):
            unit = columns.units[0]
            segment.analogsignals.append(
                neo.AnalogSignal(
                    columns.values,
                    units=_neo_unit(pq, unit),
                    sampling_period=recording.dt * ms,
                    name=name,
                    array_annotations={
                        "label": np.array(columns.labels),
                        **{k: np.array(v) for k, v in columns.about.items()},
                    },
                )
            )
    block = neo.Block(name="recording")
    block.segments.append(segment)
    return block


def write_nwb(recording: Recording, path: Path, **about: Any) -> None:
    """Write an NWB file.

    Spikes of neurons are its units, with the columns ``part`` and ``index``; all other quantities
    are time series of the acquisition, of shape (n_steps, n_columns), each with a table
    ``columns of NAME`` in the processing module ``recording``.
    """
    nwb, common = required("pynwb"), required("hdmf.common")
    about = {
        "session_description": "a trial of a spiking network, simulated with eprop_brian",
        "identifier": str(uuid.uuid4()),
        "session_start_time": datetime.now(UTC),
        **about,
    }
    file = nwb.NWBFile(**about)
    described = file.create_processing_module("recording", "what the columns of the series are of")
    for name in ("quantity", "part", "index"):
        file.add_unit_column(name, f"{name} of the spikes")
    window = [[0.0, recording.n_steps * recording.dt * 1e-3]]
    for name, recorded in recording.items():
        for member, times in _spike_times(recording, recorded):
            file.add_unit(
                spike_times=times * 1e-3,
                obs_intervals=window,
                quantity=name,
                part=member.part,
                index=member.index,
            )
        if _are_spikes(recorded):
            continue
        groups = [*_by_unit(columns_of(recorded))]
        for columns in groups:
            series = name if len(groups) == 1 else f"{name} in {columns.units[0]}".replace("/", "|")
            file.add_acquisition(
                nwb.TimeSeries(
                    name=series,
                    data=columns.values,
                    unit=columns.units[0],
                    rate=1e3 / recording.dt,
                    starting_time=0.0,
                    description=f"{name}, whose columns are described in recording",
                )
            )
            about_columns = {"label": columns.labels, **columns.about}
            table = common.DynamicTable(
                name=f"columns of {series}",
                description="what each column is of",
                columns=[
                    common.VectorData(name=key, description=key, data=values)
                    for key, values in about_columns.items()
                ],
            )
            described.add(table)
    with beside(path) as temporary, nwb.NWBHDF5IO(str(temporary), "w") as io:
        io.write(file)


def _are_spikes(recorded: Recorded) -> bool:
    return recorded.values.dtype == bool


def _spike_times(recording: Recording, recorded: Recorded) -> Iterator[tuple[Any, np.ndarray]]:
    """Neurons or inputs with the times of their spikes in ms, if the quantity is spikes."""
    if _are_spikes(recorded):
        for member, column in zip(recorded.members, recorded.values.T, strict=True):
            yield member, recording.time[column]


def _by_unit(columns: Columns) -> Iterator[Columns]:
    """Columns of one unit each."""
    for unit in dict.fromkeys(columns.units):
        places = [place for place, other in enumerate(columns.units) if other == unit]
        yield Columns(
            columns.values[:, places],
            [columns.labels[place] for place in places],
            [unit] * len(places),
            {key: [values[place] for place in places] for key, values in columns.about.items()},
        )


def _neo_unit(pq: Any, unit: str) -> Any:
    """A unit of Brian2 as one of `quantities`."""
    if unit in _SYMBOLS:
        return getattr(pq, _SYMBOLS[unit])
    if unit.removeprefix("1/") in _SYMBOLS:
        return 1 / getattr(pq, _SYMBOLS[unit.removeprefix("1/")])
    exponents = get_dimensions(parse_quantity(f"1 {unit}", "unit"))._dims
    product = pq.dimensionless
    for symbol, exponent in zip(_BASE, exponents, strict=True):
        product = product * getattr(pq, symbol) ** exponent
    return product
