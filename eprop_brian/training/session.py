"""A session: a network on a device, with weights, running batches of trials.

Owns the protocol between Python and a `Program`: how trials become arrays, what is set before a
call, what is read after it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from brian2.units import Quantity
from brian2.units.fundamentalunits import have_same_dimensions
from scipy.sparse import issparse

from eprop_brian.base.sparse import (
    Matrix,
    copied,
    dense,
    fit,
    same_structure,
    values_of,
    with_values,
)
from eprop_brian.devices.program import Program, ProgramKilledError
from eprop_brian.network.built import Capacity, state_variable
from eprop_brian.network.rewiring import connect, rewire
from eprop_brian.network.spec import Network
from eprop_brian.symbolic.names import own
from eprop_brian.tasks.base import Trials

__all__ = [
    "MATRICES",
    "RETRIES",
    "Outcome",
    "Session",
    "SessionState",
    "Share",
    "TrialData",
    "pack_spikes",
    "check_batches",
    "require_trials",
    "retried",
]

#: How often what a killed program was computing is computed again.
RETRIES = 3
#: Steps of continuous operation that the counter of a program can hold, a little less.
_MOST_STEPS = 2_000_000_000
#: The plastic weight matrices.
MATRICES = ("w_in", "w_rec", "w_out")


def pack_spikes(spikes: np.ndarray) -> np.ndarray:
    """Pack spikes into words of 32 neurons.

    Parameters
    ----------
    spikes : array of bool, shape (..., n_inputs)

    Returns
    -------
    array of int32, shape (..., ceil(n_inputs/32))
    """
    *leading, n = spikes.shape
    n_words = -(-n // 32)
    # Padded first: whole bytes on end are packed several times as fast as rows of a few.
    padded = np.zeros((*leading, 32 * n_words), dtype=bool)
    padded[..., :n] = spikes
    return np.packbits(padded.ravel(), bitorder="little").view("<i4").reshape(*leading, n_words)


@dataclass(frozen=True)
class Outcome:
    """What came out of a run of trials.

    Attributes
    ----------
    loss : array, shape (n_trials,)
    output : array, shape (n_trials, n_outputs) or (n_trials, n_answers, n_outputs)
        Mean output signal over the learning window; of trials with periods, over each period, and
        NaN for one that a trial does not have.
    rate : array, shape (n_trials,)
        Mean firing rate of the recurrent neurons in Hz.
    is_number : array of bool, shape (n_trials,), or None
        Whether the trial ended without a neuron whose state is NaN: such a neuron is silent, which
        no loss shows. None where it was not looked at.
    """

    loss: np.ndarray
    output: np.ndarray
    rate: np.ndarray
    is_number: np.ndarray | None = None


@dataclass(frozen=True)
class TrialData:
    """Trials as a program takes them.

    Attributes
    ----------
    arrays : dict of str to array
        Inputs, targets and which of them each trial uses, keyed ``"group.variable"``.
    counted : array of int, shape (n_trials, n_answers or 1)
        Steps that count for each answer.
    """

    arrays: dict[str, np.ndarray]
    counted: np.ndarray

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.counted)


@dataclass(frozen=True)
class Share:
    """What came out of a share of a batch.

    Attributes
    ----------
    outcome : Outcome
    sums : dict of str to array
        Sums over its trials that the update needs, keyed ``"group.variable"``.
    """

    outcome: Outcome
    sums: dict[str, np.ndarray]


class SessionState:
    """A network with all that learning changes, and the sizes of the trials that it takes.

    Parameters
    ----------
    network : Network
    example : Trials
        The largest set of trials of one call.
    learning_window : int
        Steps at the end of a trial in which the error counts.
    weights : dict
        As `Network.initial_weights` gives them; any may be dense or sparse.
    learning : bool
        Whether there are updates. Without, there is nothing that only they need.

    Attributes
    ----------
    weights : dict of str to array or scipy.sparse.csc_array
        ``w_in``, ``w_rec``, ``w_out`` [post, pre] and ``B`` (n_recurrent, n_outputs). Matrices that
        are sparse in the network have the structure of its `adjacency`, whose index arrays they
        share. Learned parameters by ``"population.parameter"``, in SI units.
    carried : dict of str to array
        With continuous operation, all that goes on from one call to the next (membranes, spikes on
        their way, traces, pending gradients), keyed ``"group.variable"``.
    connected : dict of str to array of bool
        Pairs [post, pre] that are connected now, of the matrices that are rewired.
    optimizer_states : dict of str to array or scipy.sparse.csc_array
        ``"m.w_in"`` and so on, shaped as the weights.
    n_updates : int
        Updates made so far; with continuous operation, trials (whose ends then mean nothing).
    """

    def __init__(
        self,
        network: Network,
        example: Trials,
        learning_window: int,
        weights: Mapping[str, Any],
        learning: bool = True,
    ) -> None:
        self.network = network
        self._learned = tuple(network.learned_shapes)
        self.weights = _fitted(network, weights)
        self.n_steps = example.inputs.shape[1]
        self.learning_window = learning_window
        self.capacity = Capacity(
            n_steps=self.n_steps,
            n_patterns=len(example.inputs),
            n_targets=len(example.targets),
            target_steps=example.targets.shape[1],
            n_trials=example.n_trials,
            n_answers=example.n_answers,
            analog=example.analog,
            learning=learning,
        )
        self.check_trials(example)
        self.optimizer_states = {
            f"{state}.{name}": _zeros(network, name)
            for state in network.optimizer.states
            for name in (*MATRICES, *self._learned)
            if learning
        }
        self.carried: dict[str, np.ndarray] = {}
        # Of weights that are 0, some have a synapse all the same if others are too few.
        self.connected = {
            name: connect(
                np.random.default_rng(0),  # always the same ones
                self.weights[name] != 0,
                network.n_connected(name),
                autapses=name != "w_rec",
            )
            for name in network.signs
        }
        self.n_updates = 0

    @property
    def most_trials(self) -> int:
        """Trials that one call can have."""
        return self.capacity.n_trials

    def state(self) -> dict[str, Matrix]:
        """Copies of weights, optimizer states and ``n_updates``: all that learning changes."""
        return {
            **{name: copied(value) for name, value in self.weights.items()},
            **{name: copied(value) for name, value in self.optimizer_states.items()},
            **{f"carried.{name}": value.copy() for name, value in self.carried.items()},
            **{f"connected.{name}": value.copy() for name, value in self.connected.items()},
            "n_updates": np.array(self.n_updates),
        }

    def restore(self, state: Mapping[str, Matrix]) -> None:
        """Go back to what `state` returned.

        Raises
        ------
        ValueError
            If an array is missing or of another shape, or has other synapses than the network, or
            the number of updates or of steps is negative.
        """
        for current in (self.weights, self.optimizer_states):
            for name, value in current.items():
                if name not in state or np.shape(state[name]) != value.shape:
                    raise ValueError(
                        f"the saved state has no '{name}' of shape {value.shape} that this "
                        "network needs"
                    )
                if issparse(state[name]) != issparse(value) or (
                    issparse(value) and not same_structure(state[name], value)
                ):
                    raise ValueError(
                        f"the saved state's '{name}' has other synapses than this network: its "
                        "connectivity was not the same"
                    )
                if issparse(value):
                    current[name] = with_values(value, np.array(state[name].data, dtype=float))
                else:
                    current[name] = dense(state[name])
        for kind in ("carried", "connected"):
            for name, value in getattr(self, kind).items():
                key = f"{kind}.{name}"
                if key not in state or np.shape(state[key]) != value.shape:
                    raise ValueError(f"the saved state has no '{key}' of shape {value.shape}")
                getattr(self, kind)[name] = np.array(state[key], dtype=value.dtype)
        # Rows of what is kept of earlier steps are found by it.
        clock = self.carried.get("control.clock", np.zeros(1))
        if not np.all((clock >= 0) & (clock <= _MOST_STEPS) & (clock == np.floor(clock))):
            raise ValueError(f"the saved state's 'carried.control.clock' is {clock}, no step")
        if "n_updates" not in state:
            raise ValueError("the saved state has no 'n_updates'")
        if not np.all(np.asarray(state["n_updates"]) >= 0):
            raise ValueError(f"the saved state's 'n_updates' is {state['n_updates']}")
        self.n_updates = int(state["n_updates"])

    def rewire(self, eta: float, rng: np.random.Generator) -> None:
        """Rewire matrices after an update (`eprop_brian.network.rewiring`).

        Parameters
        ----------
        eta : float
            Learning rate of the update.
        rng : numpy.random.Generator
        """
        network = self.network
        for name, signs in network.signs.items():
            before = self.connected[name]
            weights, self.connected[name] = rewire(
                network.rewiring,
                self.weights[name],
                before,
                signs,
                eta,
                rng,
                autapses=name != "w_rec",
            )
            bounds = network.optimizer.parameters
            low, high = bounds.get("w_min", -np.inf), bounds.get("w_max", np.inf)
            self.weights[name] = np.clip(weights, min(low, 0.0), max(high, 0.0))
            # What a synapse that begins or ends had gathered belongs to it no more.
            stays = before & self.connected[name] & (self.weights[name] != 0)
            for state in network.optimizer.states:
                key = f"{state}.{name}"
                self.optimizer_states[key] = np.where(stays, self.optimizer_states[key], 0.0)
        if network.feedback.weights == "symmetric":
            self.weights["B"] = dense(self.weights["w_out"].T)

    def is_finite(self) -> bool:
        """Whether all weights, optimizer states and what is carried on are finite."""
        states = (self.weights, self.optimizer_states, self.carried)
        return all(np.all(np.isfinite(values_of(x))) for some in states for x in some.values())

    def check_trials(self, trials: Trials) -> None:
        """Raise ValueError if there are too many trials or a shape does not fit."""
        capacity = self.capacity
        if trials.n_trials > capacity.n_trials:
            raise ValueError(f"{trials.n_trials} trials do not fit: at most {capacity.n_trials}")
        if trials.inputs.shape[1:] != (self.n_steps, self.network.n_inputs):
            raise ValueError(
                f"the trials' inputs have shape {trials.inputs.shape}, not (patterns, "
                f"{self.n_steps} steps, {self.network.n_inputs} inputs)"
            )
        if trials.analog != capacity.analog:
            kinds = ("spikes", "analog values")
            raise ValueError(
                f"the trials' inputs are {kinds[trials.analog]}, the session was made for "
                f"{kinds[capacity.analog]}"
            )
        if trials.targets.shape[1:] != (capacity.target_steps, self.network.n_outputs):
            raise ValueError(
                f"the trials' targets have shape {trials.targets.shape}, not (targets, "
                f"{capacity.target_steps} steps, {self.network.n_outputs} outputs)"
            )
        if trials.n_answers != capacity.n_answers:
            raise ValueError(
                f"the trials have periods for {trials.n_answers} answers, the session was made for "
                f"{capacity.n_answers}"
            )
        for what, given, most in (
            ("input patterns", len(trials.inputs), capacity.n_patterns),
            ("targets", len(trials.targets), capacity.n_targets),
        ):
            if given > most:
                raise ValueError(f"{given} {what} do not fit: at most {most}")

    @property
    def gradient_scale(self) -> float:
        """What a gradient is multiplied by, beside the mean over trials."""
        return 1.0 / self.learning_window if self.network.average_gradient else 1.0

    def _reported(
        self, losses: np.ndarray, outputs: np.ndarray, spikes: np.ndarray, counted: np.ndarray
    ) -> Outcome:
        """What trials report, from sums over their steps.

        Parameters
        ----------
        losses : array, shape (n_trials, n_outputs)
        outputs : array, shape (n_trials, n_answers or 1, n_outputs)
        spikes : array, shape (n_trials,)
            Spikes of all recurrent neurons.
        counted : array of int, shape (n_trials, n_answers or 1)
            Steps that count for each answer.
        """
        loss = self.network.loss
        total = losses.mean(axis=1) if loss.mean_over_readouts else losses.sum(axis=1)
        if loss.mean_over_window:
            total = total / counted.sum(axis=1)
        with np.errstate(invalid="ignore"):  # an answer that a trial does not have
            outputs = outputs / counted[..., np.newaxis]
        seconds = self.n_steps * float(self.network.dt)
        return Outcome(
            loss=total,
            output=outputs if self.capacity.n_answers else outputs[:, 0],
            rate=spikes / (self.network.n_recurrent * seconds),
        )


class Session(SessionState):
    """A network on a device.

    Parameters
    ----------
    network : Network
    make_program : callable
        ``make_program(network, capacity)`` gives the `Program`.
    example : Trials
        The largest set of trials of one call: its shapes fix what the program reserves.
    learning_window : int
        Steps at the end of a trial in which the error counts.
    weights : dict
        As `Network.initial_weights` gives them; any may be dense or sparse.
    learning : bool
        False for a program that runs trials and nothing else: smaller, and with the same outcome to
        the bit. It takes a network of any gradient.
    """

    def __init__(
        self,
        network: Network,
        make_program: Callable[[Network, Capacity], Program],
        example: Trials,
        learning_window: int,
        weights: Mapping[str, Any],
        learning: bool = True,
    ) -> None:
        super().__init__(network, example, learning_window, weights, learning)
        self.program = make_program(network, self.capacity)
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
            last one is looked at.

        Raises
        ------
        ValueError
            If the trials are no whole batches, do not fit, or are to be learned from by a session
            that was made without learning.
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
        """Run trials without learning, and look at the states at their ends."""
        built, is_number = self.program.built, np.ones(data.n_trials, dtype=bool)
        keys = [
            built.key(p.name, own(state))
            for p in self.network.populations
            for state in p.system.step.states
        ]
        # What was set stays: a call for each trial costs next to nothing.
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

        They are summed in the order given, as `run` does: the result is the same to the bit.
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
        """Apply gradients that wait for a presynaptic spike (``updates="spike"``)."""
        self._run(self._control(0, 1, learning=False, updating=True))
        self._read_state()

    def spikes(self) -> np.ndarray:
        """Recurrent spikes of the last trial that was run, shape (n_steps, n_recurrent)."""
        fired = np.zeros((self.n_steps, self.network.n_recurrent), dtype=bool)
        for name, columns in self.network.slices.items():
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
        return self.program.get("readout_history.y").astype(float).reshape(self.n_steps, -1)

    def close(self) -> None:
        """End the processes that run the network."""
        self.program.close()

    def gradient(self) -> dict[str, Matrix]:
        """Gradient of the last update, mean over its batch, keyed and shaped as the weights.

        That of learned parameters too, per SI unit.
        """
        self._require_learning()
        built = self.program.built
        values = self.program.get_all(
            [
                *(built.key(p.name, "gradient") for p in built.projections),
                *(built.parameter_array(name, "gradient") for name in self._learned),
            ]
        )
        return {
            **{name: built.matrix(name, "gradient", values) for name in MATRICES},
            **{name: values[built.parameter_array(name, "gradient")] for name in self._learned},
        }

    def data(self, trials: Trials) -> TrialData:
        """Trials in the form that the program takes.

        Raises
        ------
        ValueError
            If there are too many or a shape does not fit.
        """
        self.check_trials(trials)
        capacity = self.capacity
        groups = self.program.built.groups
        periods = {}
        if trials.periods is not None:
            size = groups["period_data"].N
            periods["period_data.period"] = _filled(trials.periods, size, np.int32)
        if trials.analog:
            inputs = {"x": _filled(trials.inputs, groups["input_data"].N, float)}
        else:
            words = pack_spikes(trials.inputs)
            inputs = {"words": _filled(words, groups["input_data"].N, np.int32)}
        return TrialData(
            {
                **periods,
                **{f"input_data.{name}": values for name, values in inputs.items()},
                "target_data.y_target": _filled(trials.targets, groups["target_data"].N, float),
                "trials.pattern": _filled(trials.pattern, capacity.n_trials, np.int32),
                "trials.target": _filled(trials.target, capacity.n_trials, np.int32),
            },
            trials.counted(self.learning_window),
        )

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
        """Run the program from this session's state; once more if it was killed on the way."""
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
            **built.feedback_arrays(self.weights["B"]),
            **{name: self.weights[name] for name in self._learned},
            **self.carried,
            "control.window_start": np.array([self.n_steps - self.learning_window]),
        }

    def _optimizer_arrays(self) -> dict[str, np.ndarray]:
        if not self.capacity.learning:
            return {}
        arrays = {"control.gradient_scale": np.array([self.gradient_scale])}
        if not self.network.continuous:
            arrays["control.k"] = np.array([float(self.n_updates)])
        for key, value in self.optimizer_states.items():
            state, name = key.split(".", 1)
            built, variable = self.program.built, state_variable(state)
            if name in MATRICES:
                arrays.update(built.synaptic_arrays(variable, {name: value}))
            else:
                arrays[built.parameter_array(name, variable)] = value
        return arrays

    def _read_state(self) -> None:
        built = self.program.built
        states = self.network.optimizer.states
        variables = [state_variable(state) for state in states]
        values = self.program.get_all(
            [
                *(built.key(p.name, x) for p in built.projections for x in ("w", *variables)),
                *(
                    built.parameter_array(name, x)
                    for name in self._learned
                    for x in ("", *variables)
                ),
                *(
                    [built.key(f.name, "B") for f in built.feedback]
                    if self._feedback_learns
                    else []
                ),
                *self.carried,
            ]
        )
        for name in MATRICES:
            self.weights[name] = built.matrix(name, "w", values)
            for state in states:
                self.optimizer_states[f"{state}.{name}"] = built.matrix(
                    name, state_variable(state), values
                )
        for name in self._learned:
            self.weights[name] = values[name].astype(float)
            for state in states:
                state_values = values[built.parameter_array(name, state_variable(state))]
                self.optimizer_states[f"{state}.{name}"] = state_values.astype(float)
        if self._feedback_learns:
            for f in built.feedback:
                self.weights["B"][f.target_slice] = f.by_pair(values[built.key(f.name, "B")]).T
        elif self.network.feedback.weights == "symmetric":
            self.weights["B"] = dense(self.weights["w_out"].T)
        self.carried = {key: values[key] for key in self.carried}

    @property
    def _feedback_learns(self) -> bool:
        return bool(self.network.feedback.update.strip())

    def _outcome(self, data: TrialData) -> Outcome:
        n_trials, n_out = data.n_trials, self.network.n_outputs
        keys = ("outcomes.loss", "answers.output", "trials.spike_count")
        losses, outputs, counts = (a.astype(float) for a in self.program.get_all(keys).values())
        return self._reported(
            losses[: n_trials * n_out].reshape(n_trials, n_out),
            outputs[: n_out * data.counted.size].reshape(*data.counted.shape, n_out),
            counts[:n_trials],
            data.counted,
        )


def require_trials(network: Network) -> None:
    """Raise ValueError if a network runs on without trials, which BPTT needs."""
    if network.continuous or network.rate_averaging == "moving":
        raise ValueError(
            "backpropagation through time needs trials: updates = 'batch', and "
            "rate_averaging = 'trial' or 'batch'"
        )


def retried(compute: Callable[[], Any]) -> Any:
    """Compute; again, up to `RETRIES` times, if a program is killed on the way."""
    for _ in range(RETRIES):
        with contextlib.suppress(ProgramKilledError):
            return compute()
    return compute()


def check_batches(trials: Trials, batch_size: int) -> None:
    """Raise ValueError unless the trials are whole batches."""
    if trials.n_trials % batch_size:
        raise ValueError(f"{trials.n_trials} trials are no whole batches of {batch_size}")


def _fitted(network: Network, weights: Mapping[str, Any]) -> dict[str, Matrix]:
    """Copies of weights, dense or with the network's synapses; ValueError if they do not fit."""
    shapes = {**network.shapes, **network.learned_shapes}
    unknown = sorted({*weights} - {*shapes})
    if unknown:
        raise ValueError(f"there are no weights '{unknown[0]}'; there are {', '.join(shapes)}")
    for name, shape in shapes.items():
        if name not in weights or np.shape(weights[name]) != shape:
            given = np.shape(weights[name]) if name in weights else "nothing"
            raise ValueError(f"the weights need '{name}' of shape {shape}, not {given}")
        if isinstance(weights[name], Quantity) and not have_same_dimensions(weights[name], 1):
            raise ValueError(f"'{name}' of the weights must be plain numbers (SI), without unit")
        if not np.all(np.isfinite(values_of(weights[name]))):
            raise ValueError(f"'{name}' of the weights must be finite")
    for name, signs in network.signs.items():
        if np.any(signs * dense(weights[name]) < 0):
            raise ValueError(f"'{name}' of the weights has other signs than network.signs")
        found, wanted = np.count_nonzero(dense(weights[name])), network.n_connected(name)
        if found > wanted:
            raise ValueError(
                f"'{name}' of the weights has {found} synapses (weights other than 0), rewiring "
                f"keeps {wanted}"
            )
    for population in network.populations:
        for parameter, bounds in population.learned.items():
            name = f"{population.name}.{parameter}"
            value = np.asarray(weights[name])
            slack = 1e-6 * bounds.scale  # of rounding, in single precision too
            if np.any((value < bounds.minimum - slack) | (value > bounds.maximum + slack)):
                raise ValueError(
                    f"'{name}' of the weights must lie between {bounds.minimum:g} and "
                    f"{bounds.maximum:g} (SI units), not {value}"
                )
    fitted = {
        name: fit(name, weights[name], network.adjacency[name])
        if name in network.adjacency
        else dense(weights[name])
        for name in shapes
    }
    if np.any(fitted["w_rec"].diagonal()):
        raise ValueError("w_rec must have a zero diagonal: there are no autapses")
    return fitted


def _zeros(network: Network, name: str) -> Matrix:
    """Zeros shaped as a weight matrix or a learned parameter."""
    connected = network.adjacency.get(name)
    if connected is None:
        return np.zeros({**network.shapes, **network.learned_shapes}[name])
    return with_values(connected, np.zeros(connected.nnz))


def _filled(values: np.ndarray, size: int, dtype: type) -> np.ndarray:
    """Flatten and pad with zeros to the size the program reserved."""
    flat = np.zeros(int(size), dtype=dtype)
    flat[: values.size] = np.asarray(values).ravel()
    return flat
