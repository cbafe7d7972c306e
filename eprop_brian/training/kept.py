"""What a session keeps: matrices by name, of which a program may have the present values.

`Kept` is the mapping that users see. `Stored` is how a program stores what is under one name, and
`Snapshot` all of it as it was at some time.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from eprop_brian.base.sparse import Matrix, copied, dense
from eprop_brian.base.suggestions import unknown
from eprop_brian.devices.program import Program
from eprop_brian.network.built import BuiltNetwork, state_variable
from eprop_brian.network.graph import SignalConnection

__all__ = [
    "Copies",
    "Kept",
    "ProgramArrays",
    "Snapshot",
    "Stored",
    "all_finite",
    "stored_arrays",
    "stored_states",
    "stored_weights",
]


class Kept(Mapping[str, Matrix]):
    """Matrices by name, some here, some left to a program.

    What is looked up comes here. It may be changed in place until the next call that learns, so
    until then it is sent for every call. What is set is sent once.

    Parameters
    ----------
    values : mapping of str to array or scipy.sparse.csc_array
    """

    def __init__(self, values: Mapping[str, Matrix]) -> None:
        self._names = tuple(values)
        self._here: dict[str, Matrix] = dict(values)
        self._read: dict[str, Callable[[], Matrix]] = {}
        self._changed = set(values)
        # What somebody may change in place at any time.
        self._lent: set[str] = set()

    def __getitem__(self, name: str) -> Matrix:
        if name not in self._here:
            self._here[name] = self._read.pop(name)()
        self._lent.add(name)
        return self._here[name]

    def __setitem__(self, name: str, value: Matrix) -> None:
        if name not in self._names:
            raise KeyError(unknown("name", name, self._names))
        self._here[name] = value
        self._read.pop(name, None)
        self._changed.add(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __or__(self, other: Mapping[str, Matrix]) -> dict[str, Matrix]:
        return {**self, **other}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._names)})"

    def update(self, values: Mapping[str, Matrix]) -> None:
        """Set several."""
        for name, value in values.items():
            self[name] = value

    def copies(self) -> dict[str, Matrix]:
        """Copies of all; none comes here or counts as changed by that."""
        return {
            name: copied(self._here[name]) if name in self._here else self._read[name]()
            for name in self._names
        }

    def peek(self, name: str) -> Matrix:
        """A matrix that nobody is going to change."""
        return self._here[name] if name in self._here else self._read[name]()

    @property
    def here(self) -> dict[str, Matrix]:
        """Those that are not left to a program."""
        return dict(self._here)

    @property
    def changed(self) -> dict[str, Matrix]:
        """Those that must be sent for the next call."""
        changed = self._changed | self._lent
        return {name: self._here[name] for name in self._names if name in changed}

    def sent(self) -> None:
        """All has been sent, as it is now."""
        self._changed.clear()

    def resend(self) -> None:
        """Nothing of what is here has been sent."""
        self._changed.update(self._here)

    def fetch(self) -> None:
        """Bring all here."""
        for name in self._names:
            if name not in self._here:
                self._here[name] = self._read.pop(name)()

    def leave(self, read: Mapping[str, Callable[[], Matrix]]) -> None:
        """Leave some to a program, which has them from now on."""
        for name in read:
            self._here.pop(name, None)
            self._changed.discard(name)
            self._lent.discard(name)
        self._read.update(read)


@dataclass(frozen=True)
class Stored:
    """How a program stores a matrix, and what else is under a name.

    Attributes
    ----------
    keys : tuple of str
        Its arrays, ``"group.variable"``.
    split : callable
        Gives the values of the arrays from the matrix.
    joined : callable
        Gives the matrix from the values of the arrays.
    changes : bool
        Whether calls that learn change it.
    """

    keys: tuple[str, ...]
    split: Callable[[Matrix], Mapping[str, np.ndarray]]
    joined: Callable[[Mapping[str, np.ndarray]], Matrix]
    changes: bool = True


class Copies(dict[str, np.ndarray]):
    """Copies of arrays, which nobody changes."""

    __slots__ = ("__weakref__",)


class ProgramArrays:
    """The arrays that a program has for a session, of what is left to it.

    Parameters
    ----------
    program : Program

    Attributes
    ----------
    returned : mapping of str to array
        Those that go back to the program, which has others now.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self.returned: Mapping[str, np.ndarray] = {}
        self._copies: Copies | None = None
        # Memory of copies that nobody has any more. To fill memory that is new to the process would
        # take several times as long.
        self._free: list[dict[str, np.ndarray]] = []

    def get(self, key: str) -> np.ndarray:
        """An array as the program has it, or will have it when it is sent; not to be changed."""
        if key in self.returned:
            return self.returned[key]
        return self._program.view(key) if self._copies is None else self._copies[key]

    def matrix(self, stored: Stored) -> Matrix:
        """What is stored in these arrays."""
        return stored.joined({key: self.get(key) for key in stored.keys})

    def copies(self, keys: Iterable[str]) -> Copies:
        """Copies of arrays; the last ones, as long as there are no others."""
        if self._copies is None:
            free, made = self._free.pop() if self._free else {}, Copies()
            for key in keys:
                array = self.get(key)
                made[key] = free[key] if key in free else np.empty_like(array)
                np.copyto(made[key], array)
            weakref.finalize(made, _keep_one, self._free, dict(made)).atexit = False
            self._copies = made
        return self._copies

    def forget_copies(self) -> None:
        """The program has changed the arrays."""
        self._copies = None

    def go_back(self, copies: Copies) -> None:
        """The program shall have these instead."""
        self.returned = self._copies = copies

    def lost(self) -> Mapping[str, np.ndarray]:
        """What a program that was started anew does not have any more."""
        return {} if self._program.keeps_arrays else self._copies or {}


def _keep_one(free: list[dict[str, np.ndarray]], arrays: dict[str, np.ndarray]) -> None:
    free[:] = [arrays]


@dataclass(frozen=True, eq=False)
class Snapshot(Mapping[str, Matrix]):
    """All that a session keeps, as it was: reads as `SessionState.state` does.

    Attributes
    ----------
    matrices : mapping of str to array, csc_array or callable
        By the names of a state; what was left to a program is made a matrix when it is looked up.
    arrays : Copies
        What a program had, ``"group.variable"``.
    """

    matrices: Mapping[str, Matrix | Callable[[], Matrix]]
    arrays: Copies

    def __getitem__(self, name: str) -> Matrix:
        value = self.matrices[name]
        return value() if callable(value) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self.matrices)

    def __len__(self) -> int:
        return len(self.matrices)


def all_finite(values: np.ndarray) -> bool:
    """Whether all numbers are finite. Those whose sum is need no closer look."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.sum(values)) or np.all(np.isfinite(values)))


def stored_weights(built: BuiltNetwork) -> dict[str, Stored]:
    """How a program stores weights, learned delays and learned parameters, by their keys."""
    network, learning, stored = built.network, built.capacity.learning, {}
    for name in (*network.keys.connections, *network.keys.delays):
        stored[name] = _synaptic(built, name, "w", learning and name in network.keys.synaptic)
    for name in network.keys.learned:
        stored[name] = _parameter(name, learning)
    for signal in network.signals:
        stored[signal.name] = _feedback(built, signal, learning)
    return stored


def stored_states(built: BuiltNetwork) -> dict[str, Stored]:
    """How a program stores the states of optimizers, by their keys."""
    stored = {}
    for key, state in built.network.keys.optimizer.items():
        variable = state_variable(state.name)
        if state.owner in built.network.keys.learned:
            stored[key] = _parameter(built.parameter_array(state.owner, variable))
        else:
            stored[key] = _synaptic(built, state.owner, variable)
    return stored


def stored_arrays(built: BuiltNetwork) -> dict[str, Stored]:
    """How a program stores what calls hand on: as it is."""
    return {key: _parameter(key) for key in built.carried}


def _synaptic(built: BuiltNetwork, name: str, variable: str, changes: bool = True) -> Stored:
    return Stored(
        tuple(built.synaptic_keys(name, variable).values()) if changes else (),
        lambda matrix: built.synaptic_arrays(variable, {name: matrix}),
        lambda values: built.matrix(name, variable, values),
        changes,
    )


def _parameter(key: str, changes: bool = True) -> Stored:
    return Stored(
        (key,), lambda value: {key: value}, lambda values: values[key].astype(float), changes
    )


def _feedback(built: BuiltNetwork, signal: SignalConnection, learning: bool) -> Stored:
    def split(weights: Matrix) -> Mapping[str, np.ndarray]:
        return built.feedback_arrays(signal.name, weights)

    def followed(values: Mapping[str, np.ndarray]) -> Matrix:
        """The program follows the readout's weights by itself, and so does who reads it."""
        weights = built.matrix(signal.follows, "w", values)
        return dense(built.network.keys.connections[signal.follows].matrix(weights).T)

    def assembled(values: Mapping[str, np.ndarray]) -> Matrix:
        return built.feedback_matrix(signal.name, values)

    if signal.symmetric and learning and signal.follows in built.network.keys.synaptic:
        return Stored(tuple(built.synaptic_keys(signal.follows, "w").values()), split, followed)
    if signal.learns and learning:
        return Stored(tuple(built.feedback_keys(signal.name)), split, assembled)
    return Stored((), split, assembled, changes=False)
