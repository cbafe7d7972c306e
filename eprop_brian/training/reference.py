"""Reference cases: a recorded run of another simulator, as a network and its data.

The format is that of ``tests/reference/README.md``: an ``.npz`` without pickled objects whose
``meta`` entry describes the network, and whose arrays hold inputs, initial weights and what came
out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from brian2.units import Hz, ms

from eprop_brian.equations import ADAM, ALIF, GRADIENT_DESCENT, LEAKY, LIF, LOSSES, surrogate
from eprop_brian.network.spec import Network
from eprop_brian.tasks.base import Trials
from eprop_brian.training.files import read_arrays

__all__ = ["ReferenceCase", "load_case"]

_LOSSES = {"mean_squared_error": "squared_error", "cross_entropy": "softmax_cross_entropy"}
_SURROGATES = {"fast_sigmoid_derivative": "fast_sigmoid", "arctan": "arctan"}
_OPTIMIZERS = {"adam": ADAM, "gradient_descent": GRADIENT_DESCENT}
_REQUIRED = [
    "dt",
    "T",
    "learning_window",
    "n_iter",
    "batch_size",
    "n_in",
    "n_reg",
    "n_ad",
    "n_out",
    "c_reg",
    "f_target",
    "t_ref",
    "tau_m",
    "V_th",
    "sg_fun",
    "sg_height",
    "sg_width",
    "rec_regular_spike_arrival",
    "out_regular_spike_arrival",
    "tau_m_out",
    "loss",
    "average_gradient",
    "optimizer",
]


@dataclass(frozen=True)
class ReferenceCase:
    """A recorded run.

    Attributes
    ----------
    path : Path
    network : Network
        Equations and options of the recorded run.
    trials : Trials
        All trials, in order.
    n_iterations, batch_size, n_steps, learning_window : int
    initial_weights : dict
        As `Network.initial_weights` returns them.
    spikes : array of bool
        Recorded recurrent spikes, shape (n_trials, n_steps, n_recurrent).
    losses : array
        Recorded loss of every iteration.
    weights : dict of int to dict
        Recorded weights after some number of updates.
    exact_weights : bool
        False where the recording simulator is known to lose a term of the gradient
        (``nest_step1_quirk``): weights then say nothing to the tolerance of the losses.
    """

    path: Path
    network: Network
    trials: Trials
    n_iterations: int
    batch_size: int
    n_steps: int
    learning_window: int
    initial_weights: dict[str, np.ndarray]
    spikes: np.ndarray
    losses: np.ndarray
    weights: dict[int, dict[str, np.ndarray]]
    exact_weights: bool


def load_case(path: str | Path, gradient: str = "factored") -> ReferenceCase:
    """Read a reference case.

    Raises
    ------
    ValueError
        If the file is not a reference case or is of a kind that cannot be replayed; the message
        names what is missing.
    """
    path = Path(path)
    arrays = read_arrays(path)
    meta = _meta(path, arrays)
    names = ("w_in", "w_rec", "w_out")
    recorded = all(name in arrays for name in names)
    suffix = "" if recorded else "0"
    needed = ["x", "x_shape", "z_rec", "z_rec_shape", "target", "B", "loss"]
    needed += [name + suffix for name in names]
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise ValueError(f"{path}: a reference case needs the array '{missing[0]}'")

    n_iterations, batch_size = meta["n_iter"], meta["batch_size"]
    if recorded:
        initial = {name: arrays[name][0].astype(float) for name in names}
        weights = {k: {name: arrays[name][k] for name in names} for k in range(1, n_iterations + 1)}
    else:
        initial = {name: arrays[f"{name}0"].astype(float) for name in names}
        weights = {}
        if all(f"{name}_final" in arrays for name in names):
            weights[n_iterations] = {name: arrays[f"{name}_final"] for name in names}
    spikes_in, spikes = (_unpack(path, arrays, name) for name in ("x", "z_rec"))
    n_trials = n_iterations * batch_size
    target = arrays["target"].astype(float)
    if any(len(rows) not in (1, n_trials) for rows in (target, spikes_in)):
        raise ValueError(
            f"{path}: {n_trials} trials need one or {n_trials} inputs and targets, "
            f"not {len(spikes_in)} and {len(target)}"
        )
    trials = Trials(
        spikes=spikes_in,
        targets=target,
        pattern=np.arange(n_trials) % len(spikes_in),
        target=np.arange(n_trials) % len(target),
    )
    return ReferenceCase(
        path=path,
        network=_network(meta, gradient),
        trials=trials,
        n_iterations=n_iterations,
        batch_size=batch_size,
        n_steps=meta["T"],
        learning_window=meta["learning_window"],
        initial_weights={**initial, "B": arrays["B"].astype(float)},
        spikes=spikes,
        losses=arrays["loss"].astype(float),
        weights=weights,
        exact_weights=not meta.get("nest_step1_quirk", False),
    )


def _meta(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    try:
        meta = json.loads(str(arrays["meta"]))
    except (KeyError, json.JSONDecodeError):
        raise ValueError(f"{path}: a reference case needs a JSON entry 'meta'") from None
    missing = [key for key in _REQUIRED if key not in meta]
    if missing:
        raise ValueError(
            f"{path}: its meta lacks '{missing[0]}'; only trial-based cases (LIF and ALIF, updates "
            "at the end of a batch) can be replayed"
        )
    for key, known in (("loss", _LOSSES), ("sg_fun", None)):
        if known is not None and meta[key] not in known:
            raise ValueError(f"{path}: unknown {key} '{meta[key]}'; known: {', '.join(known)}")
    if meta["optimizer"].get("type") not in _OPTIMIZERS:
        raise ValueError(f"{path}: unknown optimizer '{meta['optimizer'].get('type')}'")
    return meta


def _unpack(path: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    shape = tuple(int(n) for n in arrays[f"{name}_shape"])
    if arrays[name].size * 8 < np.prod(shape):
        raise ValueError(f"{path}: '{name}' is shorter than its shape {shape}")
    return np.unpackbits(arrays[name], count=int(np.prod(shape))).reshape(shape).astype(bool)


def _network(meta: dict[str, Any], gradient: str) -> Network:
    def bump(margin: str) -> str:
        kind = _SURROGATES.get(meta["sg_fun"], meta["sg_fun"])
        return surrogate(kind, margin, height="sg_height", width="sg_width")

    common = {
        "tau_m": meta["tau_m"] * ms,
        "v_th": meta["V_th"],
        "t_ref": meta["t_ref"] * ms,
    }
    zeta = "1" if meta["rec_regular_spike_arrival"] else "1 - alpha"
    shape = {"sg_height": meta["sg_height"], "sg_width": meta["sg_width"]}
    lif = _with_surrogate(LIF, bump("v - v_th"), shape).with_parameters(**common, zeta=zeta)
    neurons = [(lif, meta["n_reg"])]
    if meta["n_ad"]:
        alif = _with_surrogate(ALIF, bump("v - v_th - beta*a"), shape).with_parameters(
            **common, zeta=zeta, tau_a=meta["adapt_tau"] * ms, beta=meta["adapt_beta"]
        )
        neurons.append((alif, meta["n_ad"]))
    readout = LEAKY.with_parameters(
        tau_out=meta["tau_m_out"] * ms,
        zeta_out="1" if meta["out_regular_spike_arrival"] else "1 - kappa",
    )
    optimizer = dict(meta["optimizer"])
    rule = _OPTIMIZERS[optimizer.pop("type")]
    renamed = {"Wmin": "w_min", "Wmax": "w_max"}
    settings = {renamed.get(k, k): v for k, v in optimizer.items()}
    return Network(
        n_inputs=meta["n_in"],
        n_outputs=meta["n_out"],
        neurons=[(n, size) for n, size in neurons if size],
        # The recording simulator filters traces with this gain whatever the readout's input gain.
        readout=replace(readout, trace_gain="1 - kappa"),
        loss=LOSSES[_LOSSES[meta["loss"]]],
        feedback="random",
        optimizer=rule.with_parameters(**settings),
        gradient=gradient,
        c_reg=meta["c_reg"],
        f_target=meta["f_target"] * Hz,
        average_gradient=meta["average_gradient"],
        dt=meta["dt"] * ms,
    )


def _with_surrogate(neuron, text: str, shape: dict[str, float]):
    parameters = {k: v for k, v in neuron.parameters.items() if k != "gamma"}
    return replace(neuron, surrogate=text, parameters={**parameters, **shape})
