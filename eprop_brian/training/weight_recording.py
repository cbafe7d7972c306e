"""Weights over training: those of chosen synapses, after every update or every n-th."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.checks import check_count
from eprop_brian.base.files import read_arrays, write_arrays
from eprop_brian.base.sparse import Matrix
from eprop_brian.network.resolved import Resolved
from eprop_brian.symbolic.units import trace_units
from eprop_brian.training.conversion import columns_of, required
from eprop_brian.training.recorded import Recorded
from eprop_brian.training.recording_file import synapses_as_arrays, synapses_from_arrays
from eprop_brian.training.state import LearningSession
from eprop_brian.training.traces import TracedSynapse, check_synapses, connection_of

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = ["WeightRecorder"]


class WeightRecorder:
    """Records weights while a `Trainer` trains: ``trainer.train(100, record_weights=recorder)``.

    Parameters
    ----------
    synapses : sequence of TracedSynapse
        They may also end at a readout.
    every : int
        Updates from one record to the next; before the first update there is one too. In
        continuous operation it counts trials.

    Attributes
    ----------
    synapses : tuple of TracedSynapse
    every : int
    """

    def __init__(self, synapses: Sequence[TracedSynapse], every: int = 1) -> None:
        self.synapses = tuple(synapses)
        self.every = check_count("every", every)
        self._updates: list[int] = []
        self._weights: list[list[float]] = []
        self._units: tuple[str, ...] = ()

    @property
    def updates(self) -> np.ndarray:
        """Updates that had been made at each record, shape (n_records,)."""
        return np.array(self._updates, dtype=int)

    @property
    def weights(self) -> Recorded:
        """Weights of the synapses, shape (n_records, n_synapses), with their units."""
        shape = len(self._updates), len(self.synapses)
        values = np.array(self._weights, dtype=float).reshape(shape)
        return Recorded("w", "synapses", values, self.synapses, self._units or ("1",) * shape[1])

    def check(self, network: Resolved) -> None:
        """Raise ValueError if a network lacks one of the synapses."""
        check_synapses(network, self.synapses, readouts=True)
        units = {p.name: trace_units(p.system).inputs for p in network.populations}
        self._units = tuple(
            units[s.target][s.receptor] if s.target in units else "1" for s in self.synapses
        )

    def note(self, session: LearningSession) -> None:
        """Record the weights of a session, if that is due and not done."""
        update = session.n_updates
        if update % self.every or update in self._updates[-1:]:
            return
        self._updates.append(update)
        self._weights.append([*_weights(session, self.synapses)])

    def forget(self, update: int) -> None:
        """Drop the records after an update, which was taken back."""
        kept = sum(number <= update for number in self._updates)
        del self._updates[kept:], self._weights[kept:]

    def write(self, path: str | Path) -> None:
        """Write an ``.npz`` that `WeightRecorder.read` reads."""
        arrays = {"updates": self.updates, "weights": self.weights.values}
        units = {"units": np.array(self.weights.units, dtype=str), "every": np.array(self.every)}
        synapses = synapses_as_arrays("synapses", self.synapses)
        write_arrays(Path(path), {**arrays, **units, **synapses})

    @classmethod
    def read(cls, path: str | Path) -> WeightRecorder:
        """Read what `write` wrote.

        Raises
        ------
        ValueError
            If the file is missing, damaged or no record of weights.
        """
        arrays: Mapping[str, Any] = read_arrays(Path(path))
        try:
            recorder = cls(synapses_from_arrays("synapses", arrays), int(arrays["every"]))
            recorder._updates = arrays["updates"].tolist()
            recorder._weights = arrays["weights"].tolist()
            recorder._units = tuple(arrays["units"].tolist())
            _ = recorder.weights
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not a record of weights ({error})") from None
        return recorder

    def to_pandas(self) -> pandas.DataFrame:
        """A row for every record, and columns by synapse and unit."""
        pd = required("pandas")
        columns = columns_of(self.weights)
        names = [*zip(columns.labels, columns.units, strict=True)]
        return pd.DataFrame(
            columns.values,
            index=pd.Index(self.updates, name="update"),
            columns=pd.MultiIndex.from_tuples(names, names=["synapse", "unit"]),
        )

    def to_xarray(self) -> xarray.DataArray:
        """An array with dimensions ``update`` and ``synapse``."""
        xr = required("xarray")
        columns = columns_of(self.weights)
        about = {f"synapse_{name}": ("synapse", v) for name, v in columns.about.items()}
        return xr.DataArray(
            columns.values,
            {
                "update": self.updates,
                "synapse": columns.labels,
                **about,
                "unit": ("synapse", columns.units),
            },
            ("update", "synapse"),
            name="w",
        )


def _weights(session: LearningSession, synapses: Iterable[TracedSynapse]) -> Iterator[float]:
    """The weights of synapses; each matrix is looked at once."""
    looked: dict[str, Matrix] = {}
    for synapse in synapses:
        connection = connection_of(session.resolved, synapse)
        assert connection is not None  # as `WeightRecorder.check` has seen
        name = connection.name
        if name not in looked:
            looked[name] = connection.matrix(session.weights.peek(name))
        row = connection.targets[synapse.target].start + synapse.post
        column = connection.sources[synapse.source].start + synapse.pre
        yield float(looked[name][row, column])
