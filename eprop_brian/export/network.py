"""Describes a network for the exported program: a C++ file and arrays of numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from eprop_brian.base.sparse import Matrix, is_sparse, with_values
from eprop_brian.equations.losses import LOSSES, Loss
from eprop_brian.network.built import BuiltNetwork, state_variable
from eprop_brian.network.draws import initial_draws
from eprop_brian.network.episodes import EPISODES, REPORTED
from eprop_brian.network.exogenous import NOISE, draws
from eprop_brian.network.graph import SignalConnection
from eprop_brian.network.keys import OptimizerState
from eprop_brian.network.learned_delays import DELAY
from eprop_brian.network.projection import BuiltProjection
from eprop_brian.network.resolved import Resolved
from eprop_brian.runs.config import RunConfig
from eprop_brian.symbolic.names import OPTIMIZER, own
from eprop_brian.tasks.base import Task
from eprop_brian.tasks.episodes import EpisodicTask
from eprop_brian.training.calls import CHECK_EVERY, iterations_per_call
from eprop_brian.training.evaluation import (
    CONFIRMATION_BATCHES,
    VALIDATION_BATCH_SIZE,
    VALIDATION_BATCHES,
)
from eprop_brian.training.firing import is_read, most_rate
from eprop_brian.training.history import EPISODES as N_EPISODES
from eprop_brian.training.state import SessionState

__all__ = ["constants", "description", "places", "state_name"]

#: Arrays whose values a call sets or reads, beside the network's own.
_CALL_ARRAYS = (
    *(f"control.{n}" for n in ("n_trials", "batch_size", "learning", "updating", "trial", "step")),
    *("control.k", "target_data.y_target", "input_data.x"),
    *("outcomes.loss", "answers.output", "trials_results.spike_count"),
    *("control.greedy", "entropies.entropy", *(f"{EPISODES}.{name}" for name in REPORTED)),
    *(f"trials.{half}" for half in NOISE),
)
_TYPES = {"f8": "d", "f4": "f", "i4": "i"}


@dataclass(frozen=True)
class StateArray:
    """An array of the program that belongs to the state; fields as in the C++ struct."""

    array: str
    state: str
    places: str
    learned: bool


@dataclass(frozen=True)
class Drawn:
    """Weights that a seed begins with; fields as in the C++ struct."""

    state: str
    uniform: bool
    divisor: float
    limit: float
    factor: float
    sign: float
    diagonal: int
    masked: int
    given: bool


@dataclass(frozen=True)
class Population:
    """Neurons of one kind; fields as in the C++ struct."""

    name: str
    size: int
    most_hz: float
    read: bool


@dataclass(frozen=True)
class Readout:
    """Outputs with a loss of their own; fields as in the C++ struct."""

    first: int
    size: int
    window: int
    every: int
    mean_over_readouts: bool
    mean_over_window: bool
    judged: bool
    of_labels: bool


@dataclass(frozen=True)
class Signal:
    """A learning signal whose weights belong to a readout's; fields as in the C++ struct."""

    weights: str
    readout_weights: str
    places: str
    follows: bool


def state_name(name: str, matrix: Matrix) -> str:
    """Name of the values of a matrix in a file."""
    return f"{name}.data" if is_sparse(matrix) else name


def constants(
    state: SessionState, built: BuiltNetwork, types: Mapping[str, np.dtype]
) -> dict[str, np.ndarray]:
    """All parameters, in the types of the program's arrays."""
    values = {
        **built.parameter_arrays(),
        "control.window_start": np.array([state.n_steps - state.learning_window]),
        "control.gradient_scale": np.array([state.gradient_scale]),
    }
    return {key: np.ascontiguousarray(value, dtype=types[key]) for key, value in values.items()}


def places(state: SessionState, built: BuiltNetwork) -> dict[str, np.ndarray]:
    """Places of the values of each projection in its matrix, as files hold it; -1 is padding.

    The entry of a learning signal has the places of the readout weights that its own belong to.
    """
    numbered = {name: _numbered(state.weights[name]) for name in state.resolved.shapes}
    return {
        **{p.name: _stored(p, numbered[p.matrix]) for p in built.projections},
        **{f.name: _stored(f, numbered[f.matrix]) for f in (*built.feedback, *built.emissions)},
        **{_followed_key(s): _followed(numbered[s.follows]) for s in _following(state.resolved)},
    }


def _following(network: Resolved) -> list[SignalConnection]:
    """The learning signals whose weights belong to those of a readout."""
    return [signal for signal in network.signals if signal.follows]


def _followed_key(signal: SignalConnection) -> str:
    # No group or matrix has a point in its name.
    return f"followed.{signal.name}"


def _followed(numbered: Matrix) -> np.ndarray:
    dense = numbered.toarray() if is_sparse(numbered) else numbered
    return dense.T.ravel().astype(np.int64) - 1


def _numbered(matrix: Matrix) -> Matrix:
    """Number the entries that a matrix stores, from 1; others are 0."""
    if is_sparse(matrix):
        return with_values(matrix, np.arange(1.0, matrix.nnz + 1))
    return np.arange(1.0, matrix.size + 1).reshape(matrix.shape)


def _stored(projection: BuiltProjection, numbered: Matrix) -> np.ndarray:
    return projection.stored(numbered).astype(np.int64) - 1


def description(
    config: RunConfig,
    task: Task,
    state: SessionState,
    built: BuiltNetwork,
    types: Mapping[str, np.dtype],
    source: str,
    copied: Iterable[str],
    sums: Mapping[str, int],
) -> str:
    """The C++ file that defines ``eprop_brian::description``.

    Parameters
    ----------
    sums : mapping of str to int
        CRC32 of the files in ``data`` that belong to the source, by their names.
    """
    network, capacity = state.resolved, built.capacity
    rates = _learning_rates(built)
    arrays = _state_arrays(state, built)
    acts = isinstance(task, EpisodicTask)
    solved_return = task.solved_return if isinstance(task, EpisodicTask) else None
    used = [a.array for a in arrays] + rates + [name for name in _CALL_ARRAYS if name in types]
    values = {
        "task": task.name,
        "source": source,
        "seed": config.run["seed"],
        "iterations": config.run["iterations"],
        "n_steps": capacity.n_steps,
        "n_inputs": network.n_inputs,
        "n_outputs": network.n_outputs,
        "n_recurrent": network.n_recurrent,
        "input_groups": [where.stop - where.start for where in network.input_slices.values()],
        "dt": float(network.dt),
        "batch_size": config.run["batch_size"],
        "iterations_per_call": iterations_per_call(network, config.run["batch_size"]),
        "check_every": CHECK_EVERY,
        "validation_batches": VALIDATION_BATCHES,
        "validation_batch_size": VALIDATION_BATCH_SIZE,
        "confirmation_batches": CONFIRMATION_BATCHES,
        "n_trials": capacity.n_trials,
        "n_patterns": capacity.n_patterns,
        "n_targets": capacity.n_targets,
        "target_steps": capacity.target_steps,
        "n_answers": capacity.n_answers,
        "most_labels": capacity.most_labels,
        "analog": capacity.analog,
        "has_lengths": capacity.has_lengths,
        "noise": acts or draws(network.populations),
        "acts": acts,
        "steps_per_action": task.steps_per_action if isinstance(task, EpisodicTask) else 0,
        "n_episodes": N_EPISODES,
        "solved_return": math.nan if solved_return is None else solved_return,
        "has_error": LOSSES[task.loss].softmax,
        "error_threshold": task.error_threshold or 0.0,
        "populations": [
            Population(p.name, p.size, most_rate(p, float(network.dt)), is_read(p, network))
            for p in network.populations
        ],
        "readouts": _readouts(state, LOSSES[task.loss]),
        "signals": [
            Signal(
                s.name,
                state_name(s.follows, state.weights[s.follows]),
                _followed_key(s),
                s.symmetric,
            )
            for s in _following(network)
        ],
        "continuous": network.continuous,
        "learning_rate": float(network.optimizer.parameters.get("eta", 0.0)),
        "learning_rates": rates,
        "types": {name: _Character(_TYPES[types[name].str[1:]]) for name in sorted({*used})},
        "state": arrays,
        "weights": [state_name(name, values) for name, values in state.weights.items()],
        "drawn": _drawn(state),
        "copied": list(copied),
        "sums": dict(sums),
    }
    lines = [f"    d.{name} = {_cpp(value)};" for name, value in values.items()]
    return "\n".join(
        [
            "// What this network is, written by eprop-brian export.",
            '#include "description.h"',
            "",
            "namespace eprop_brian",
            "{",
            "const Description description = [] {",
            "    Description d;",
            *lines,
            "    return d;",
            "}();",
            "}",
            "",
        ]
    )


def _readouts(state: SessionState, scored: Loss) -> list[Readout]:
    """The readouts, and which of them a task that is scored by a loss judges."""
    network = state.resolved
    alone = len(network.readouts) == 1 and network.readouts[0].window_steps is None
    return [
        Readout(
            first=network.output_slices[readout.name].start,
            size=readout.size,
            window=readout.window(state.learning_window),
            every=readout.every,
            mean_over_readouts=readout.loss.mean_over_readouts,
            mean_over_window=readout.loss.mean_over_window,
            judged=scored.softmax
            and (alone or readout.loss.softmax and readout.loss.of_labels == scored.of_labels),
            of_labels=readout.loss.of_labels,
        )
        for readout in network.readouts
    ]


def _learning_rates(built: BuiltNetwork) -> list[str]:
    """Arrays that hold the optimizer's learning rate."""
    network = built.network
    if "eta" not in network.optimizer.parameters:
        return []
    return [
        built.key("control", own("eta", OPTIMIZER)),
        *(
            built.parameter_array(key, "eta")
            for key, parameter in network.keys.learned.items()
            if parameter.population.learned[parameter.name].eta is None
        ),
        *(
            built.key(p.name, f"eta_{DELAY}")
            for p in built.projections
            if p.connection.learned_delay and p.connection.learned_delay.eta is None
        ),
    ]


def _state_arrays(state: SessionState, built: BuiltNetwork) -> list[StateArray]:
    weights, keys = state.weights, state.keys
    arrays = []
    for name in (*keys.connections, *keys.delays):
        key = state_name(name, weights[name])
        for projection, array in built.synaptic_keys(name, "w").items():
            arrays.append(StateArray(array, key, projection, name in keys.trained))
            arrays += [
                StateArray(
                    built.synaptic_keys(name, state_variable(x.name))[projection],
                    OptimizerState(x.name, key).key,
                    projection,
                    True,
                )
                for x in keys.states_of(name)
            ]
    arrays += [
        StateArray(built.key(f.name, "B"), f.matrix, f.name, f.connection.learns)
        for f in (*built.feedback, *built.emissions)
    ]
    for name in keys.learned:
        arrays.append(StateArray(name, name, "", True))
        arrays += [
            StateArray(built.parameter_array(name, state_variable(x.name)), x.key, "", True)
            for x in keys.states_of(name)
        ]
    return arrays + [StateArray(name, f"carried.{name}", "", True) for name in state.carried]


def _drawn(state: SessionState) -> list[Drawn]:
    """Describes how `Network.initial_weights` draws, in the same order."""
    drawn = []
    draws = initial_draws(state.resolved.connections)
    for c in state.resolved.connections:
        draw = draws[c.name]
        drawn.append(
            Drawn(
                state=state_name(c.name, state.weights[c.name]),
                uniform=draw.uniform,
                divisor=draw.divisor,
                limit=draw.limit,
                factor=draw.factor,
                sign=draw.sign,
                diagonal=0 if c.autapses or c.adjacency is not None else c.shape[0],
                masked=-1,
                given=c.weights is not None,
            )
        )
    for s in state.resolved.signals:
        if s.feedback.weights == "random":
            following = [other.name for other in _following(state.resolved)]
            is_masked = s.learns and is_sparse(state.weights[s.follows])
            masked = following.index(s.name) if is_masked else -1
            scale = float(s.feedback.scale)
            drawn.append(Drawn(s.name, False, 1.0, 0.0, scale, 0.0, 0, masked, False))
    return drawn


class _Character(str):
    """A C++ character."""


def _cpp(value: Any) -> str:
    """A value as C++ writes it."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int) and value >= 2**31:
        return f"{value}ULL"
    if isinstance(value, float) and math.isnan(value):
        return "NAN"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, _Character):
        return f"'{value}'"
    if isinstance(value, str):
        # C++ has the same escapes as JSON for the characters of names.
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        items = [f"{{{_cpp(key)}, {_cpp(item)}}}" for key, item in value.items()]
    elif is_dataclass(value):
        return f"{{{', '.join(_cpp(getattr(value, f.name)) for f in fields(value))}}}"
    else:
        items = [_cpp(item) for item in value]
    return "{" + ",".join(f"\n        {item}" for item in items) + "}"
