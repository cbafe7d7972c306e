"""A recording: quantities of a network over time, as arrays with units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.suggestions import unknown
from eprop_brian.training.traces import TracedSynapse

if TYPE_CHECKING:
    import neo
    import pandas
    import xarray

__all__ = ["Member", "Recorded", "RecordedPopulation", "RecordedReadout", "Recording"]


@dataclass(frozen=True)
class Member:
    """A neuron, an input or an output: what a column of an array belongs to.

    Attributes
    ----------
    part : str
        A population, an input group or a readout.
    index : int
        Within that part.
    """

    part: str
    index: int

    def __str__(self) -> str:
        return f"{self.part} {self.index}"


@dataclass(frozen=True, eq=False)
class Recorded:
    """A quantity over time. `numpy.asarray` gives its values.

    Attributes
    ----------
    name : str
    kind : str
        What the columns are: ``"inputs"``, ``"neurons"``, ``"synapses"``, ``"outputs"``; or
        ``"pairs"``, where each neuron has a value for each output.
    values : array, shape (n_steps, n_members) or (n_steps, n_members, n_outputs)
        In SI units.
    members : tuple of Member or TracedSynapse
        Of each column.
    units : tuple of str
        SI unit of each column, ``"1"`` for none.
    """

    name: str
    kind: str
    values: np.ndarray
    members: tuple[Any, ...]
    units: tuple[str, ...]

    @property
    def unit(self) -> str:
        """SI unit of the values.

        Raises
        ------
        ValueError
            If columns have different units, as membranes of different neurons may.
        """
        units = dict.fromkeys(self.units)
        if len(units) > 1:
            raise ValueError(
                f"the columns of '{self.name}' have different units: {', '.join(units)}; see units"
            )
        return next(iter(units), "1")

    def column(self, part: str, index: int) -> int:
        """Column of a member of a population, an input group or a readout.

        Raises
        ------
        ValueError
            If it was not recorded.
        """
        member = Member(part, index)
        if member in self.members:
            return self.members.index(member)
        parts = dict.fromkeys(m.part for m in self.members if isinstance(m, Member))
        raise ValueError(f"'{self.name}' of {member} was not recorded; it has {', '.join(parts)}")

    def columns(self, part: str) -> list[int]:
        """Columns of a population, an input group or a readout."""
        members = enumerate(self.members)
        return [i for i, m in members if isinstance(m, Member) and m.part == part]

    def has(self, part: str, index: int) -> bool:
        """Whether a member was recorded."""
        return Member(part, index) in self.members

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype) if copy or dtype else self.values

    def __repr__(self) -> str:
        units = ", ".join(dict.fromkeys(self.units))
        return f"<'{self.name}' ({units}) of {len(self.members)} {self.kind}>"


@dataclass(frozen=True)
class RecordedPopulation:
    """A population of a recorded network.

    Attributes
    ----------
    name : str
    size : int
    membrane : str or None
        The state that its spike condition compares with all else; None if there is no such one.
    """

    name: str
    size: int
    membrane: str | None


@dataclass(frozen=True)
class RecordedReadout:
    """Position of a readout's outputs in the arrays of a `Recording`.

    Attributes
    ----------
    name : str
    outputs : slice
        Its columns in arrays of shape (n_steps, n_outputs).
    softmax : bool
        Whether its output is the softmax.
    first : int
        The first step in which its error may count.
    """

    name: str
    outputs: slice
    softmax: bool
    first: int = 0


@dataclass(frozen=True, eq=False)
class Recording(Mapping[str, Recorded]):
    """Quantities of one trial: ``recording["v"]`` with unit and columns, ``recording.v`` as array.

    By default these are

    - ``inputs``, bool or float: spikes, or analog values. Both act in their own step.
    - ``spikes``, bool. They act on neurons in the step after, on the readouts in their own.
    - The states of the neurons under their own names (``v``, ``a``), as the spike condition sees
      them, before a reset that follows the threshold.
    - ``threshold``: what `RecordedPopulation.membrane` must reach for a spike, of the populations
      that have one.
    - ``psi``: surrogate derivative dz/dv; while refractory the neuron's ``refractory_surrogate``.
    - ``learning_signal``: L = sum_k B_jk signal_k with the signals that have arrived, of the
      readouts that do not read a state of the neuron.
    - ``eligibility_trace``: dz/dw along the neuron's own past; ``filtered_trace``: the same
      filtered as the readout filters spikes; both of chosen synapses.
    - ``y``: readouts; ``output``: what the task scores, of each readout the softmax, or y itself;
      ``target``: what it should be; ``error``: dE/dy, 0 where it does not count.

    `eprop_brian.training.quantities.recordable` says what else there is.

    Attributes
    ----------
    time : float array, shape (n_steps,)
        Start of every step in ms.
    dt : float
        Length of a step in ms.
    counts : bool array, shape (n_steps,)
        Steps in which the error of any readout counts: the learning window or the longest of the
        readouts' own, or the periods of the trial.
    populations : tuple of RecordedPopulation
    readouts : tuple of RecordedReadout
    synapses : tuple of TracedSynapse
        Those of which traces were recorded.
    quantities : dict of str to Recorded
    """

    time: np.ndarray
    dt: float
    counts: np.ndarray
    populations: tuple[RecordedPopulation, ...]
    readouts: tuple[RecordedReadout, ...]
    synapses: tuple[TracedSynapse, ...]
    quantities: Mapping[str, Recorded]

    def __getitem__(self, name: str) -> Recorded:
        if name not in self.quantities:
            raise KeyError(unknown("quantity", name, self.quantities, "the recording"))
        return self.quantities[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.quantities)

    def __len__(self) -> int:
        return len(self.quantities)

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("__") or name == "quantities":
            raise AttributeError(name)
        if name not in self.quantities:
            raise AttributeError(unknown("quantity", name, self.quantities, "the recording"))
        return self.quantities[name].values

    @property
    def softmax(self) -> bool:
        """Whether all outputs are softmax probabilities."""
        return all(readout.softmax for readout in self.readouts)

    @property
    def n_steps(self) -> int:
        """Steps of the trial."""
        return len(self.time)

    def population(self, name: str) -> RecordedPopulation:
        """A population by its name.

        Raises
        ------
        ValueError
            If there is no such population.
        """
        for population in self.populations:
            if population.name == name:
                return population
        names = [population.name for population in self.populations]
        raise ValueError(unknown("population", name, names, "the recording"))

    def write(self, path: str | Path) -> None:
        """Write an ``.npz`` that `Recording.read` reads."""
        from eprop_brian.training.recording_file import write_recording

        write_recording(self, Path(path))

    @classmethod
    def read(cls, path: str | Path) -> Recording:
        """Read what `write` wrote.

        Raises
        ------
        ValueError
            If the file is missing, damaged or no recording.
        """
        from eprop_brian.training.recording_file import read_recording

        return read_recording(Path(path))

    def write_csv(self, path: str | Path) -> None:
        """Write all quantities as a table, a row for every step.

        A column is called ``v of alif 3 (volt)``; those of ``transmitted`` name the output too.
        """
        from eprop_brian.training.conversion import write_csv

        write_csv(self, Path(path))

    def to_pandas(self) -> pandas.DataFrame:
        """As a table: a row for every step, and columns by quantity, member and unit."""
        from eprop_brian.training.conversion import to_pandas

        return to_pandas(self)

    def to_xarray(self) -> xarray.Dataset:
        """As a data set with dimensions ``time``, ``neuron``, ``synapse``, ``input``, ``readout``.

        What some neurons do not have is NaN there. Units are the attribute ``units``.
        """
        from eprop_brian.training.conversion import to_xarray

        return to_xarray(self)

    def to_neo(self) -> neo.Block:
        """As a Neo block with spike trains, and an analog signal for each quantity and unit."""
        from eprop_brian.training.electrophysiology import to_neo

        return to_neo(self)

    def write_nwb(self, path: str | Path, **about: Any) -> None:
        """Write an NWB file: spikes as units, all other quantities as time series.

        Parameters
        ----------
        path : path
        **about
            What `pynwb.NWBFile` knows of a session, such as ``session_description``,
            ``session_start_time`` (default: now) and ``experimenter``.
        """
        from eprop_brian.training.electrophysiology import write_nwb

        write_nwb(self, Path(path), **about)

    def __repr__(self) -> str:
        return f"<recording of {self.n_steps} steps: {', '.join(self.quantities)}>"
