"""A session: a network on a device, with weights, running batches of trials.

It implements the protocol between Python and a `Program`: which arrays are set before a call and
read after it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from eprop_brian.base.sparse import Matrix
from eprop_brian.devices.program import Program, ProgramKilledError
from eprop_brian.network.built import Capacity, state_variable
from eprop_brian.network.resolved import Resolved
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.names import own
from eprop_brian.tasks.trials import Trials
from eprop_brian.training.state import LearningSession, Outcome, check_batches
from eprop_brian.training.trial_data import TrialData, trial_data

__all__ = ["RETRIES", "Session", "Share", "retried"]

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
        self._parameters = self.program.built.parameter_arrays()
        self.carried = self.program.built.initial_state()

    def run(
        self,
        trials: Trials,
        batch_size: int,
        *,
        learning: bool = True,
        check_states: bool = False,
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

        Raises
        ------
        ValueError
            If the trials are not whole batches or do not fit, or learning is asked of a session
            that was made without it.
        """
        check_batches(trials, batch_size)
        control = self._control(trials.n_trials, batch_size, learning=learning, updating=learning)
        data = self.data(trials)
        if check_states:
            everything = {**self._everything(), **data.arrays, **control}
            return retried(lambda: self._checked(everything, data))
        self._run({**data.arrays, **control})
        if learning:
            self._read_state()
            self.n_updates += trials.n_trials // batch_size
        return self._outcome(data)

    def shares(
        self,
        shares: Iterable[TrialData],
        batch_size: int,
        *,
        learning: bool = True,
        check_states: bool = False,
    ) -> list[Share]:
        """Run shares of a batch, each at most `SHARE` trials, without the update.

        Parameters
        ----------
        shares : iterable of TrialData
        batch_size : int
            Trials of the whole batch.
        learning : bool
            Whether to compute sums.
        check_states : bool
            As for `run`.
        """
        self.program.set(self._weight_arrays())
        keys = self.program.built.sums if learning else {}
        results = []
        for data in shares:
            control = self._control(data.n_trials, batch_size, learning=learning, updating=False)
            if check_states:
                results.append(Share(self._checked({**data.arrays, **control}, data), {}))
                continue
            self.program.run({**data.arrays, **control})
            sums = self.program.get_all(keys)
            results.append(Share(self._outcome(data), sums))
        return results

    def _checked(self, arrays: Mapping[str, np.ndarray], data: TrialData) -> Outcome:
        """Run trials without learning, and check the states at their ends."""
        built, is_number = self.program.built, np.ones(data.n_trials, dtype=bool)
        keys = [
            built.key(p.name, own(state))
            for p in self.resolved.populations
            for state in p.system.step.states
        ]
        # Arrays stay set, so a call for each trial costs next to nothing.
        self.program.set(arrays)
        each = [data.n_trials - 1] if self.program.side_by_side else range(data.n_trials)
        for trial in each:
            first = 0 if self.program.side_by_side else trial
            ends = {"control.trial": first, "control.n_trials": trial + 1}
            self.program.run({key: np.array([value]) for key, value in ends.items()})
            states = self.program.get_all(keys).values()
            is_number[trial] = not any(np.any(np.isnan(values)) for values in states)
        return replace(self._outcome(data), is_number=is_number)

    def update(self, shares: Sequence[Mapping[str, np.ndarray]], batch_size: int) -> None:
        """Make an update from the sums of all shares of a batch.

        They are summed in this order, as in `run`, so the result is bit-identical.
        """
        control = self._control(0, batch_size, learning=False, updating=True)
        totals = {}
        for key, total in self.program.built.sums.items():
            totals[key] = np.zeros_like(shares[0][key])
            totals[total] = sum((share[key] for share in shares), start=totals[key])
        self._run({**totals, **control})
        self._read_state()
        self.n_updates += 1

    def apply_pending(self) -> None:
        """Apply gradients that are waiting for a presynaptic spike (``updates="spike"``)."""
        self._run(self._control(0, 1, learning=False, updating=True))
        self._read_state()

    def spikes(self) -> np.ndarray:
        """Recurrent spikes of the last trial that was run, shape (n_steps, n_recurrent)."""
        fired = np.zeros((self.n_steps, self.resolved.n_recurrent), dtype=bool)
        for name, columns in self.resolved.slices.items():
            # The first entry is the step before the trial's first.
            key = self.program.built.key
            first = self.program.get(key(f"{name}_offsets", "first"))[1:]
            neurons = self.program.get(key(f"{name}_spikes", "neuron"))[first[0] : first[-1]]
            steps = np.repeat(np.arange(self.n_steps), np.diff(first))
            fired[steps, columns.start + neurons] = True
        return fired

    def readouts(self) -> np.ndarray:
        """Readouts y in every step of the last trial, shape (n_steps, n_outputs).

        Raises
        ------
        ValueError
            If the session was made with learning, whose program keeps errors instead.
        """
        if self.capacity.learning:
            raise ValueError("only a session made with learning=False keeps readouts of every step")
        histories = [
            self.program.get(f"{readout.name}_history.y").reshape(self.n_steps, readout.size)
            for readout in self.resolved.readouts
        ]
        return np.concatenate(histories, axis=1).astype(float)

    def close(self) -> None:
        """End the processes that run the network."""
        self.program.close()

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

    def _control(self, n_trials: int, batch_size: int, learning: bool, updating: bool) -> dict:
        values = {"n_trials": n_trials}
        if learning or updating:
            self._require_learning()
        if self.capacity.learning:
            flags = {"learning": int(learning), "updating": int(updating)}
            values |= {"batch_size": batch_size, **flags}
        return {f"control.{name}": np.array([value]) for name, value in values.items()}

    def _require_learning(self) -> None:
        if not self.capacity.learning:
            raise ValueError("this session was made with learning=False: it only runs trials")

    def _run(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Run the program from this session's state; repeat the run if the program is killed."""
        everything = {**self._everything(), **arrays}
        retried(lambda: self.program.run(everything))

    def _everything(self) -> dict[str, np.ndarray]:
        """Arrays of this session's state."""
        return {**self._weight_arrays(), **self._optimizer_arrays()}

    def _weight_arrays(self) -> dict[str, np.ndarray]:
        """Parameters and weights."""
        built = self.program.built
        return {
            **self._parameters,
            **built.synaptic_arrays("w", self.weights),
            **built.feedback_arrays(self.weights),
            **{name: self.weights[name] for name in self.keys.learned},
            **self.carried,
            "control.window_start": np.array([self.n_steps - self.learning_window]),
        }

    def _optimizer_arrays(self) -> dict[str, np.ndarray]:
        if not self.capacity.learning:
            return {}
        arrays = {"control.gradient_scale": np.array([self.gradient_scale])}
        if not self.resolved.continuous:
            arrays["control.k"] = np.array([float(self.n_updates)])
        built = self.program.built
        for key, value in self.optimizer_states.items():
            kept = self.keys.optimizer[key]
            variable = state_variable(kept.name)
            if kept.owner not in self.keys.learned:
                arrays.update(built.synaptic_arrays(variable, {kept.owner: value}))
            else:
                arrays[built.parameter_array(kept.owner, variable)] = value
        return arrays

    def _read_state(self) -> None:
        """Read the arrays that an update changes into the session's state."""
        built = self.program.built
        values = self.program.get_all(self._changing)
        for key in self.keys.synaptic:
            self.weights[key] = built.matrix(key, "w", values)
        for name in self.keys.learned:
            self.weights[name] = values[name].astype(float)
        for key, kept in self.keys.optimizer.items():
            variable = state_variable(kept.name)
            if kept.owner not in self.keys.learned:
                self.optimizer_states[key] = built.matrix(kept.owner, variable, values)
            else:
                array = values[built.parameter_array(kept.owner, variable)]
                self.optimizer_states[key] = array.astype(float)
        for f in built.feedback:
            if f.connection.learns:
                weights = self.weights[f.matrix]
                weights[f.target_slice] = f.by_pair(values[built.key(f.name, "B")]).T
        self._follow()
        self.carried = {key: values[key] for key in self.carried}

    @cached_property
    def _changing(self) -> list[str]:
        """Arrays that an update changes."""
        built = self.program.built
        return [
            *(
                array
                for key in self.keys.synaptic
                for x in ("w", *self._states(key))
                for array in built.synaptic_keys(key, x).values()
            ),
            *(
                built.parameter_array(name, x)
                for name in self.keys.learned
                for x in ("", *self._states(name))
            ),
            *(built.key(f.name, "B") for f in built.feedback if f.connection.learns),
            *self.carried,
        ]

    def _states(self, owner: str) -> list[str]:
        """Variables that hold the optimizer's states of weights or a learned parameter."""
        return [state_variable(kept.name) for kept in self.keys.states_of(owner)]

    def _outcome(self, data: TrialData) -> Outcome:
        n_trials, n_out = data.n_trials, self.resolved.n_outputs
        keys = ("outcomes.loss", "answers.output", "trials.spike_count")
        losses, outputs, counts = (a.astype(float) for a in self.program.get_all(keys).values())
        return self._reported(
            losses[: n_trials * n_out].reshape(n_trials, n_out),
            outputs[: n_out * data.counted.size].reshape(*data.counted.shape, n_out),
            counts[:n_trials],
            data.counted,
        )


def retried(compute: Callable[[], Any]) -> Any:
    """Compute; repeat it, up to `RETRIES` times, if a program is killed meanwhile."""
    for _ in range(RETRIES):
        with contextlib.suppress(ProgramKilledError):
            return compute()
    return compute()
