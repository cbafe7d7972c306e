"""The spikes of a Brian2 script's sources as the inputs of trials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import brian2
import numpy as np
from brian2 import PoissonGroup, PoissonInput, SpikeGeneratorGroup, TimedArray
from brian2.core.namespace import get_local_namespace
from brian2.utils.stringtools import get_identifiers

from eprop_brian.base.checks import check_positive
from eprop_brian.brian.reading.namespaces import external_values, values_of
from eprop_brian.brian.reading.networks import objects_of
from eprop_brian.symbolic.expressions import evaluate
from eprop_brian.symbolic.parameters import UNITS
from eprop_brian.symbolic.timed_arrays import TimedValues

__all__ = ["inputs_from_brian2"]

#: What Brian2 adds to the times of spikes before it rounds down to steps, in steps.
_SHIFT = 1e-3


def inputs_from_brian2(
    network: Any,
    n_steps: int,
    n_trials: int = 1,
    *,
    seed: int = 0,
    namespace: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """What the sources of a Brian2 network send, as `Trials` takes it.

    A spike that a source has in step t of Brian2 acts on states after that step. It is the input of
    step t + 1 here, and step 0 has none. Steps are counted from the present time of a
    `brian2.Network`, and from the time 0 where its objects are given.

    Parameters
    ----------
    network : brian2.Network or iterable of Brian2's objects
        As for `Network.from_brian2`.
    n_steps : int
    n_trials : int
        How many are drawn. The spikes of a `SpikeGeneratorGroup` are the same in all of them.
    seed : int
        Of the spikes of `PoissonGroup` and `PoissonInput`. They are other ones than Brian2 draws.
    namespace : mapping, optional
        Values of names in rates that are expressions, as for `Network.from_brian2`.

    Returns
    -------
    bool or float array, shape (n_trials, n_steps, n_inputs)
        The inputs of all sources, in the order of the network. Floats where a `PoissonInput` sends
        numbers of spikes.

    Raises
    ------
    ValueError
        If there is no source, or rates cannot be worked out.
    """
    names = get_local_namespace(1) if namespace is None else namespace
    check_positive("n_steps", n_steps)
    check_positive("n_trials", n_trials)
    sources = objects_of(network).sources
    if not sources:
        raise ValueError(
            "there is no SpikeGeneratorGroup, PoissonGroup or PoissonInput among the objects"
        )
    rng = np.random.default_rng(seed)
    shape = (int(n_trials), int(n_steps) - 1)
    start = float(network.t) if isinstance(network, brian2.Network) else 0.0
    sent = [_sent(source, start, shape, rng, names) for source in sources]
    inputs = np.concatenate(sent, axis=2)
    return np.concatenate([np.zeros_like(inputs[:, :1]), inputs], axis=1)


def _sent(
    source: Any,
    start: float,
    shape: tuple[int, int],
    rng: np.random.Generator,
    namespace: Mapping[str, Any],
) -> np.ndarray:
    """What a source sends, (n_trials, n_steps, size)."""
    dt = float(source.clock.dt_)
    if isinstance(source, PoissonInput):
        draws = rng.binomial(source.N, float(source.rate) * dt, (*shape, len(source._group)))
        return draws.astype(float)
    if isinstance(source, PoissonGroup):
        times = start + np.arange(shape[1]) * dt
        return rng.random((*shape, len(source))) < _rates(source, times, namespace) * dt
    return np.broadcast_to(_generated(source, start, shape[1], dt), (*shape, len(source)))


def _rates(source: PoissonGroup, times: np.ndarray, namespace: Mapping[str, Any]) -> np.ndarray:
    """The rates of a group in Hz, (size,) or (n_steps, size)."""
    text = source._rates
    if not isinstance(text, str):
        return values_of(source, "rates")
    named = {*get_identifiers(text)} - {*source.variables}
    external = external_values(source, named, namespace)
    dt = float(source.clock.dt_)
    values: dict[str, Any] = {
        "t": times[:, np.newaxis],
        "i": np.arange(len(source)),
        "N": len(source),
        "dt": dt,
    }
    for name, value in {**UNITS, **external}.items():
        if isinstance(value, TimedArray):
            array = np.asarray(value.values)
            rows = TimedValues(array, value.dt, value.dim).rows(times, dt)
            text = re.sub(rf"\b{name}\(\s*t\s*(,\s*i\s*)?\)", name, text)
            value = array[rows] if array.ndim == 2 else array[rows, np.newaxis]
        values[name] = np.asarray(value)
    where = f"PoissonGroup '{source.name}', rates"
    return np.broadcast_to(evaluate(text, values, where), (len(times), len(source)))


def _generated(source: SpikeGeneratorGroup, start: float, n_steps: int, dt: float) -> np.ndarray:
    """The spikes of a generator from a time on, (n_steps, size)."""
    now = round(start / dt)
    neurons = np.asarray(source._neuron_index)
    steps = (np.asarray(source._spike_time) / dt + _SHIFT).astype(int)
    spikes = np.zeros((n_steps, len(source)), dtype=bool)
    seconds = float(values_of(source, "period"))
    period = round(seconds / dt) if np.isfinite(seconds) else 0
    for first in range(0, now + n_steps, period) if period else (0,):
        place = first + steps - now
        inside = (place >= 0) & (place < n_steps)
        spikes[place[inside], neurons[inside]] = True
    return spikes
