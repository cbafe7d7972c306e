"""A session: a network on a device, with weights, running batches of trials.

It implements the protocol between Python and a `Program`: which arrays are set before a call and
read after it.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from eprop_brian.base.sparse import Matrix, values_of
from eprop_brian.devices.program import Program, ProgramKilledError
from eprop_brian.network.built import Capacity
from eprop_brian.network.episodes import EPISODES, REPORTED
from eprop_brian.network.groups import OF_TRIAL
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.names import own
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.episodes import Episode, last_episode, spikes_of
from eprop_brian.training.kept import (
    Copies,
    Kept,
    ProgramArrays,
    Snapshot,
    Stored,
    all_finite,
    stored_arrays,
    stored_states,
    stored_weights,
)
from eprop_brian.training.playing import Players, play
from eprop_brian.training.state import Episodes, LearningSession, Outcome, check_batches
from eprop_brian.training.trial_data import TrialData, trial_data

__all__ = ["RETRIES", "Session", "Share", "retried"]

T = TypeVar("T")

#: How often the work of a killed program is repeated.
RETRIES = 3


@dataclass(frozen=True)
class Share:
    """Results of a share of a batch.

    Attributes
    ----------
    outcome : Outcome
    sums : dict of str to array
        Sums over its trials for the update, keyed ``"group.variable"``.
    """

    outcome: Outcome
    sums: dict[str, np.ndarray]


class Session(LearningSession):
    """A network on a device.

    Parameters
    ----------
    network : Network or Resolved
    make_program : callable
        ``make_program(network, capacity)`` gives the `Program`.
    example : Trials
        The largest set of trials of one call: its shapes fix what the program reserves.
    learning_window : int
        Steps at the end of a trial in which the error counts.
    weights : dict
        As `Network.initial_weights` gives them; any may be dense or sparse.
    learning : bool
        False for a program that only runs trials. It is smaller, its outcome is bit-identical, and
        it takes a network of any gradient.
    """

    def __init__(
        self,
        network: Network | Resolved,
        make_program: Callable[[Resolved, Capacity], Program],
        example: Trials,
        learning_window: int,
        weights: Mapping[str, Any],
        learning: bool = True,
    ) -> None:
        super().__init__(network, example, learning_window, weights, learning)
        self.program = make_program(self.resolved, self.capacity)
        built = self.program.built
        self.carried = Kept(built.initial_state())
        self._stored: list[tuple[str, Kept, dict[str, Stored]]] = [
            ("", self.weights, stored_weights(built)),
            ("", self.optimizer_states, stored_states(built)),
            ("carried.", self.carried, stored_arrays(built)),
        ]
        self._arrays = ProgramArrays(self.program)
        # Which start of the program was told the parameters.
        self._start = 0
        # The state before a call, while that may have to be repeated.
        self._before: Snapshot | None = None
        environment = self.capacity.environment
        external = None if environment is None else environment.external
        self._players = None if external is None else Players(external)

    def run(
        self,
        trials: Trials,
        batch_size: int,
        *,
        learning: bool = True,
        check_states: bool = False,
        greedy: bool = False,
    ) -> Outcome:
        """Run trials and, if learning, one update at the end of every batch.

        Parameters
        ----------
        trials : Trials
            A whole number of batches, at most the capacity.
        batch_size : int
        learning : bool
        check_states : bool
            Without learning: report `Outcome.is_number`. Where trials run side by side, only the
            last one is checked.
        greedy : bool
            In an environment: whether the best action is taken rather than one at random.

        Raises
        ------
        ValueError
            If the trials are not whole batches or do not fit, or learning is asked of a session
            that was made without it.
        """
        check_batches(trials, batch_size)
        control = self._control(
            trials.n_trials, batch_size, learning=learning, updating=learning, greedy=greedy
        )
        data = self.data(trials)
        if check_states:
            return self._called(lambda: self._checked({**data.arrays, **control}, data))
        places = batch_size if learning else 0
        n_updates = trials.n_trials // batch_size if learning else 0

        def call() -> Outcome:
            self._run(data, control, places)
            self.n_updates += n_updates
            return self._outcome(data)

        return self._called(call, learning)

    def _run(self, data: TrialData, control: Mapping[str, np.ndarray], places: int = 0) -> None:
        """Run trials; `places` is as in `play`."""
        arrays = {**data.arrays, **control}
        if data.seeds is None:
            self.program.run(arrays)
        else:
            deque(self._play(data.seeds, arrays, places), maxlen=0)

    def shares(
        self,
        shares: Iterable[TrialData],
        batch_size: int,
        *,
        learning: bool = True,
        check_states: bool = False,
        greedy: bool = False,
    ) -> list[Share]:
        """Run shares of a batch, each at most `SHARE` trials, without the update.

        Parameters
        ----------
        shares : iterable of TrialData
        batch_size : int
            Trials of the whole batch.
        learning : bool
            Whether to compute sums.
        check_states, greedy : bool
            As for `run`.
        """
        keys = [*self.program.built.sums] if learning else []
        results = []
        for data in shares:
            outcome = self.share(data, batch_size, learning, check_states, greedy)
            results.append(Share(outcome, self.program.get_all(keys)))
        return results

    def share(
        self,
        data: TrialData,
        batch_size: int,
        learning: bool = True,
        check_states: bool = False,
        greedy: bool = False,
    ) -> Outcome:
        """Run one share as `shares` does; its sums stay in the program."""
        self._send()
        control = self._control(
            data.n_trials, batch_size, learning=learning, updating=False, greedy=greedy
        )
        if check_states:
            return self._checked({**data.arrays, **control}, data)
        self._run(data, control)
        return self._outcome(data)

    def _play(
        self, seeds: np.ndarray, arrays: Mapping[str, np.ndarray], batch_size: int = 0
    ) -> Iterator[int]:
        """Run episodes of an environment outside of the program; yield the number of each."""
        assert self._players is not None
        yield from play(self.program, self.program.built, self._players, seeds, arrays, batch_size)

    def _checked(self, arrays: Mapping[str, np.ndarray], data: TrialData) -> Outcome:
        """Run trials without learning, and check the states at their ends."""
        built, is_number = self.program.built, np.ones(data.n_trials, dtype=bool)
        keys = [
            built.key(p.name, own(state))
            for p in self.resolved.populations
            for state in p.system.step.states
        ]

        def check(trial: int) -> None:
            states = self.program.get_all(keys).values()
            is_number[trial] = not any(np.any(np.isnan(values)) for values in states)

        if data.seeds is not None:
            for trial in self._play(data.seeds, arrays):
                check(trial)
            return replace(self._outcome(data), is_number=is_number)
        # Arrays stay set, so a call for each trial costs next to nothing.
        self.program.set(arrays)
        each = [data.n_trials - 1] if self.program.side_by_side else range(data.n_trials)
        for trial in each:
            first = 0 if self.program.side_by_side else trial
            ends = {"control.trial": first, "control.n_trials": trial + 1}
            self.program.run({key: np.array([value]) for key, value in ends.items()})
            check(trial)
        return replace(self._outcome(data), is_number=is_number)

    def update(self, shares: Sequence[Mapping[str, np.ndarray]], batch_size: int) -> None:
        """Make an update from the sums of all shares of a batch.

        They are summed in this order, as in `run`, so the result is bit-identical.
        """

        def call() -> None:
            self._clear_sums()
            for number, sums in enumerate(shares):
                self._add(number, sums)
            self._make_update(batch_size)

        self._called(call, learning=True)

    def _clear_sums(self) -> None:
        """Forget what the program itself has summed up over a share."""
        for key, total in self.program.built.sums.items():
            if key != total:
                self.program.view(key)[:] = 0

    def _add(self, n_added: int, sums: Mapping[str, np.ndarray]) -> None:
        """Add the sums of a share to those of others, in the program's memory."""
        for key, total in self.program.built.sums.items():
            before = self.program.view(total)
            np.add(before if n_added else 0, sums[key], out=before)

    def _make_update(self, batch_size: int) -> None:
        """Make an update from the sums that were added up."""
        self.program.run(self._control(0, batch_size, learning=False, updating=True))
        self.n_updates += 1

    def apply_pending(self) -> None:
        """Apply gradients that are waiting for a presynaptic spike (``updates="spike"``)."""
        control = self._control(0, 1, learning=False, updating=True)
        self._called(lambda: self.program.run(control), learning=True)

    def spikes(self) -> np.ndarray:
        """Recurrent spikes of the last trial that was run, shape (n_steps, n_recurrent).

        A trial with a length of its own has so many steps.
        """
        if self.capacity.environment is not None:
            return self.episode().spikes
        built = self.program.built
        spikes, n_steps = [], self._last_steps()
        for p in self.resolved.populations:
            fired = spikes_of(self.program, built, p.name, p.size, n_steps)
            spikes.append(fired[::-1] if p.reverse_time else fired)
        return np.concatenate(spikes, axis=1)

    def _last_steps(self) -> int:
        """Steps of the last trial that was run."""
        if not self.capacity.has_lengths:
            return self.n_steps
        return int(self.program.get(f"{OF_TRIAL}.n_steps")[0])

    def episode(self) -> Episode:
        """The last episode that was played.

        Raises
        ------
        ValueError
            If the trials of the session are no episodes.
        """
        return last_episode(self.program, self.program.built)

    def readouts(self) -> np.ndarray:
        """Readouts y in every step of the last trial, shape (n_steps, n_outputs).

        Raises
        ------
        ValueError
            If the session was made with learning, whose program keeps errors instead.
        """
        if self.capacity.learning:
            raise ValueError("only a session made with learning=False keeps readouts of every step")
        last = self._last_steps()
        histories = [
            self.program.get(f"{readout.name}_history.y").reshape(self.n_steps, readout.size)[:last]
            for readout in self.resolved.readouts
        ]
        return np.concatenate(histories, axis=1).astype(float)

    def close(self) -> None:
        """End the processes that run the network, and the environment that it plays in."""
        self.program.close()
        self.stop_playing()

    def stop_playing(self) -> None:
        """Close the environment outside of the program, if there is one."""
        if self._players is not None:
            self._players.close()

    def gradient(self) -> dict[str, Matrix]:
        """Gradient of the last update, mean over its batch, keyed and shaped as the weights.

        Gradients of learned parameters are per SI unit, those of learned delays per step.
        """
        self._require_learning()
        built = self.program.built
        synaptic, learned = self.keys.synaptic, self.keys.learned
        values = self.program.get_all(
            [
                *(x for key in synaptic for x in built.synaptic_keys(key, "gradient").values()),
                *(built.parameter_array(name, "gradient") for name in learned),
            ]
        )
        return {
            **{key: built.matrix(key, "gradient", values) for key in synaptic},
            **{name: values[built.parameter_array(name, "gradient")] for name in learned},
        }

    def data(self, trials: Trials) -> TrialData:
        """Convert trials to the arrays of the program.

        Raises
        ------
        ValueError
            If there are too many trials or a shape does not fit.
        """
        self.check_trials(trials)
        groups = self.program.built.groups
        return trial_data(trials, self.resolved, groups, self.learning_window)

    def _control(
        self,
        n_trials: int,
        batch_size: int,
        learning: bool,
        updating: bool,
        greedy: bool = False,
    ) -> dict[str, np.ndarray]:
        values: dict[str, float] = {
            "n_trials": n_trials,
            "window_start": self.n_steps - self.learning_window,
        }
        if self.capacity.environment is not None:
            values["greedy"] = int(greedy)
        if learning or updating:
            self._require_learning()
        if self.capacity.learning:
            flags = {"learning": int(learning), "updating": int(updating)}
            values |= {"batch_size": batch_size, "gradient_scale": self.gradient_scale, **flags}
            if "control.k" not in self.carried:
                values["k"] = self.n_updates
        return {f"control.{name}": np.array([value]) for name, value in values.items()}

    def _require_learning(self) -> None:
        if not self.capacity.learning:
            raise ValueError("this session was made with learning=False: it only runs trials")

    def _called(self, call: Callable[[], T], learning: bool = False, late: bool = False) -> T:
        """Call the program; repeat it if the program is killed.

        A call that learns changes weights where they are, in the memory of the program, which may
        end at any moment: in the middle of an update, of several updates, or when a call is
        interrupted from here. What is there then is no state of anything. So the state before such
        a call is copied, as the program stores it, and goes back when the call fails. The copy is
        that of `snapshot`, which a trainer wants anyway. If it is `late`, the call makes it itself,
        by `_remember`, before there is an update.

        A call that does not learn leaves weights alone, but not what continuous operation hands on
        from call to call: that is fetched before, to be sent again for the next call.
        """
        if not learning:
            self.carried.fetch()
        elif not late:
            self._remember()

        def attempt() -> T:
            try:
                self._send()
                result = call()
                if learning:
                    self._leave()
                return result
            except BaseException:
                if self._before is not None:
                    self.go_back(self._before)
                raise
            finally:
                if not learning:
                    self.carried.resend()

        try:
            return retried(attempt)
        finally:
            self._before = None

    def _remember(self) -> None:
        """Copy the state before a call, unless an earlier attempt at it has."""
        if self._before is None:
            self._before = self.snapshot()

    def _send(self) -> None:
        """Send the program what it does not have."""
        start, arrays = self.program.started(), {}
        if start != self._start:
            # Learned parameters are kept: to set them here would undo what was learned, by workers
            # that start later even for all programs.
            given, kept_arrays = self.program.built.parameter_arrays(), self.program.built.kept
            arrays.update({key: given[key] for key in given.keys() - kept_arrays})
            for _, kept, _ in self._stored:
                kept.resend()
            arrays.update(self._arrays.lost())
        arrays.update(self._arrays.returned)
        for _, kept, stored in self._stored:
            for name, value in kept.changed.items():
                arrays.update(stored[name].split(value))
        self.program.set(arrays)
        self._start, self._arrays.returned = start, {}
        for _, kept, _ in self._stored:
            kept.sent()

    def _leave(self) -> None:
        """After a call that has learned: the program has the present values."""
        self._arrays.forget_copies()
        for _, kept, stored in self._stored:
            changed = {name: x for name, x in stored.items() if x.changes}
            kept.leave({name: partial(self._arrays.matrix, x) for name, x in changed.items()})
        if not self.program.keeps_arrays:
            self._copies()

    def watch(self) -> None:
        """Leave the weights to another session, whose program shares them with this one's."""
        for _, kept, stored in self._stored:
            kept.leave({name: partial(self._arrays.matrix, stored[name]) for name in kept})

    def _copies(self) -> Copies:
        """Copies of the arrays of all that is left to the program."""
        left = (
            stored[name]
            for _, kept, stored in self._stored
            for name in kept
            if name not in kept.here
        )
        return self._arrays.copies([key for x in left for key in x.keys])

    def is_finite(self) -> bool:
        """See `SessionState.is_finite`; what is left to the program is looked at there."""
        for _, kept, stored in self._stored:
            here = kept.here
            for name in kept:
                # Padding, which a matrix does not have, may be anything.
                arrays = (self._arrays.get(key) for key in stored[name].keys)
                is_good = name not in here and all(map(all_finite, arrays))
                if not (is_good or all_finite(values_of(kept.peek(name)))):
                    return False
        return True

    def snapshot(self) -> Snapshot:
        """See `LearningSession.snapshot`; no matrix is made."""
        copies = self._copies()
        values: dict[str, Any] = {
            prefix + name: kept.here.get(name, partial(stored[name].joined, copies))
            for prefix, kept, stored in self._stored
            for name in kept
        }
        values |= {f"connected.{name}": value.copy() for name, value in self.connected.items()}
        return Snapshot({**values, "n_updates": np.array(self.n_updates)}, copies)

    def go_back(self, snapshot: Mapping[str, Matrix]) -> None:
        """See `LearningSession.go_back`; no matrix is made of what is left to the program."""
        if not isinstance(snapshot, Snapshot):
            self.restore(snapshot)
            return
        for prefix, kept, stored in self._stored:
            left = {name for name in kept if callable(snapshot.matrices[prefix + name])}
            kept.leave({name: partial(self._arrays.matrix, stored[name]) for name in left})
            kept.update({name: snapshot[prefix + name] for name in kept if name not in left})
        self._arrays.go_back(snapshot.arrays)
        self.connected = {name: snapshot[f"connected.{name}"].copy() for name in self.connected}
        self.n_updates = int(snapshot["n_updates"])

    def _outcome(self, data: TrialData) -> Outcome:
        n_trials, n_out = data.n_trials, self.resolved.n_outputs
        keys = ("outcomes.loss", "answers.output", "trials_results.spike_count")
        losses, outputs, counts = (a.astype(float) for a in self.program.get_all(keys).values())
        episodes = self._episodes(n_trials)
        counted = data.counted if episodes is None else episodes.lengths[:, np.newaxis]
        return self._reported(
            losses[: n_trials * n_out].reshape(n_trials, n_out),
            outputs[: n_out * counted.size].reshape(*counted.shape, n_out),
            counts.reshape(-1, len(self.resolved.populations))[:n_trials],
            counted,
            episodes,
            data.lengths,
        )

    def _episodes(self, n_trials: int) -> Episodes | None:
        """What came of the episodes of a call, if they were any."""
        if self.capacity.environment is None:
            return None
        keys = [f"{EPISODES}.{name}" for name in REPORTED]
        values = self.program.get_all([*keys, "entropies.entropy"])
        returns, lengths, errors, done = (values[key][:n_trials].astype(float) for key in keys)
        entropies = values["entropies.entropy"].astype(float)
        n_outputs = len(entropies) // self.capacity.n_trials
        return Episodes(
            returns=returns,
            lengths=np.round(lengths).astype(int),
            entropy=entropies[: n_trials * n_outputs].reshape(n_trials, n_outputs).sum(axis=1),
            value_error=errors,
            done=done > 0,
        )


def retried(compute: Callable[[], T]) -> T:
    """Compute; repeat it, up to `RETRIES` times, if a program is killed meanwhile."""
    for _ in range(RETRIES):
        with contextlib.suppress(ProgramKilledError):
            return compute()
    return compute()
