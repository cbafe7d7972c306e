"""Reference cases: a recorded run of another simulator, as a network and its data.

The format is that of ``tests/reference/README.md``: an ``.npz`` without pickled objects whose
``meta`` entry describes the network, and whose arrays hold inputs, initial weights and what came
out. There are two kinds: trials with a reset between them, and, where ``meta`` names a ``model``,
continuous operation (e-prop+), in which a trial is a period of the target.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from brian2.units import Hz, ms

from eprop_brian.base.checks import check_choice, check_count, check_real
from eprop_brian.base.files import read_arrays
from eprop_brian.equations import (
    ADAM,
    ALIF,
    GRADIENT_DESCENT,
    LEAKY,
    LIF,
    LOSSES,
    SURROGATES,
    Neuron,
    surrogate,
)
from eprop_brian.equations.neurons import ALIF_HARD_RESET, LIF_HARD_RESET
from eprop_brian.network.spec import Network
from eprop_brian.tasks.trials import Trials

__all__ = ["ReferenceCase", "load_case"]

_LOSSES = {"mean_squared_error": "squared_error", "cross_entropy": "softmax_cross_entropy"}
#: The recording simulator's names of surrogates that have another one here.
_SURROGATES = {"fast_sigmoid_derivative": "fast_sigmoid", "arctan_derivative": "arctan"}
_OPTIMIZERS = {"adam": ADAM, "gradient_descent": GRADIENT_DESCENT}
_REQUIRED = (
    *("dt", "T", "learning_window", "n_in", "n_out", "c_reg", "f_target", "t_ref", "tau_m"),
    *("V_th", "sg_fun", "sg_height", "sg_width", "tau_m_out", "optimizer"),
)
_REQUIRED_OF_TRIALS = (
    *("n_iter", "batch_size", "n_reg", "n_ad", "loss", "average_gradient"),
    *("rec_regular_spike_arrival", "out_regular_spike_arrival"),
)
_REQUIRED_OF_CONTINUOUS = ("n_trials", "n_rec", "kappa", "kappa_reg", "V_reset")
#: Entries that count something, and the least of each.
_COUNTS = {
    **dict.fromkeys(("T", "learning_window", "n_in", "n_out"), 1),
    **dict.fromkeys(("n_iter", "batch_size", "n_trials", "n_rec"), 1),
    **dict.fromkeys(("n_reg", "n_ad"), 0),
}
#: Entries that must be above 0.
_POSITIVE = ("dt", "tau_m", "tau_m_out", "adapt_tau", "sg_width")
#: Entries that are other numbers, and the least of each.
_NUMBERS = {
    **dict.fromkeys((*_POSITIVE, "c_reg", "f_target", "t_ref", "cutoff", "kappa", "kappa_reg"), 0),
    **dict.fromkeys(("V_th", "V_reset", "sg_height", "adapt_beta"), -np.inf),
}
_FLAGS = ("average_gradient", "rec_regular_spike_arrival", "out_regular_spike_arrival")
#: Spiking neurons of continuous cases: equations that run the same.
_MODELS = {
    # The membrane is lowered by v_th in the step of the spike, not in the next.
    "eprop_iaf": replace(LIF, update="v = alpha*(v - v_th*z) + zeta*I"),
    "eprop_iaf_adapt": replace(ALIF, update="v = alpha*(v - v_th*z) + zeta*I\na = rho*a + z"),
    "eprop_iaf_psc_delta": LIF_HARD_RESET,
    "eprop_iaf_psc_delta_adapt": ALIF_HARD_RESET,
}
#: What is 1 in the steps after a spike in which the recording simulator holds such a neuron.
_HELD = "(1 - active*(1 - z))"
_HELD_LIF = f"""
free = alpha*v + zeta*I
v = free + detached((v_reset - free)*{_HELD})
"""
#: Those with a reset to a voltage, if they are refractory. They are held for `t_ref`, but the
#: surrogate is not 0 in the last step of it. The threshold is held too, and the spike, which would
#: raise it in the first of these steps, does not.
_REFRACTORY_MODELS = {
    "eprop_iaf_psc_delta": replace(
        LIF_HARD_RESET, update=f"{_HELD_LIF}active = not_refractory", initial={"active": "1"}
    ),
    "eprop_iaf_psc_delta_adapt": replace(
        ALIF_HARD_RESET,
        update=f"""{_HELD_LIF}
raised = rho*a + z
a = raised + detached((a - raised)*{_HELD})
active = not_refractory
""",
        initial={"active": "1"},
    ),
}


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
        With continuous operation: periods of the target, 1, steps of a period (all of which
        learn).
    initial_weights : dict
        As `Network.initial_weights` returns them.
    spikes : array of bool
        Recorded recurrent spikes, shape (n_trials, n_steps, n_recurrent).
    losses : array
        Recorded loss of every iteration.
    weights : dict of int to dict
        Recorded weights after some number of updates.
    window : array of bool, shape (n_steps,), or None
        With continuous operation: steps of a period in which errors count.
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
    window: np.ndarray | None


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

    _check_shapes(path, arrays, meta)
    continuous = "model" in meta
    n_iterations = meta["n_trials"] if continuous else meta["n_iter"]
    batch_size = 1 if continuous else meta["batch_size"]
    if recorded:
        initial = {name: arrays[name][0].astype(float) for name in names}
        weights = {k: {name: arrays[name][k] for name in names} for k in range(1, n_iterations + 1)}
    else:
        initial = {name: arrays[f"{name}0"].astype(float) for name in names}
        weights = {}
        if all(f"{name}_final" in arrays for name in names):
            weights[n_iterations] = {name: arrays[f"{name}_final"] for name in names}
    n_trials = n_iterations * batch_size
    spikes_in, spikes = (_unpack(path, arrays, name) for name in ("x", "z_rec"))
    target = arrays["target"].astype(float)
    window = None
    if continuous:
        window = _window(path, arrays, meta["T"])
        n_steps, target = meta["T"], target[np.newaxis]
        spikes_in, spikes = (a.reshape(n_trials, n_steps, -1) for a in (spikes_in, spikes))
    if len(target) not in (1, n_trials):
        raise ValueError(
            f"{path}: {n_trials} trials need one or {n_trials} targets, not {len(target)}"
        )
    if not continuous and np.any(spikes_in[:, 0]):
        raise ValueError(
            f"{path}: 'x' has spikes in step 0, which the recording simulator drops: a trial's "
            "inputs begin in step 1"
        )
    trials = Trials(
        inputs=spikes_in,
        targets=target,
        pattern=np.arange(n_trials) % len(spikes_in),
        target=np.arange(n_trials) % len(target),
    )
    return ReferenceCase(
        path=path,
        network=_continuous_network(meta) if continuous else _network(meta, gradient),
        trials=trials,
        n_iterations=n_iterations,
        batch_size=batch_size,
        n_steps=meta["T"],
        learning_window=meta["learning_window"],
        initial_weights={**initial, "B": arrays["B"].astype(float)},
        spikes=spikes,
        losses=arrays["loss"].astype(float),
        weights=weights,
        window=window,
    )


def _meta(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    try:
        meta = json.loads(str(arrays["meta"]))
    except (KeyError, ValueError, RecursionError):  # among them json.JSONDecodeError
        raise ValueError(f"{path}: a reference case needs a JSON entry 'meta'") from None
    if not isinstance(meta, dict):
        raise ValueError(f"{path}: its meta must be a JSON object, not {meta!r}")
    if "model" in meta and meta["model"] not in tuple(_MODELS):
        raise ValueError(
            f"{path}: neurons '{meta['model']}' cannot be replayed; there are {', '.join(_MODELS)}"
        )
    kind: tuple[str, ...] = _REQUIRED_OF_CONTINUOUS if "model" in meta else _REQUIRED_OF_TRIALS
    adapts = "adapt" in meta["model"] if "model" in meta else meta.get("n_ad")
    if adapts:
        kind += ("adapt_tau", "adapt_beta")
    missing = [key for key in (*_REQUIRED, *kind) if key not in meta]
    if missing:
        raise ValueError(f"{path}: its meta lacks '{missing[0]}'")
    try:
        _check_values(meta, kind)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: in its meta, {error}") from None
    return meta


def _check_values(meta: dict[str, Any], kind: tuple[str, ...]) -> None:
    """Raise TypeError or ValueError, naming the entry, for what no recorded run can have."""
    given = {key: meta[key] for key in (*_REQUIRED, *kind)}
    given |= {key: meta[key] for key in _NUMBERS if meta.get(key) is not None}
    for key, value in given.items():
        if key in _COUNTS:
            check_count(key, value, _COUNTS[key])
        elif key in _NUMBERS:
            check_real(key, value, _NUMBERS[key])
            if key in _POSITIVE and value == 0:
                raise ValueError(f"{key} must be above 0")
        elif key in _FLAGS and value not in (False, True):
            raise ValueError(f"{key} must be true or false, not {value!r}")
    if meta["learning_window"] > meta["T"]:
        raise ValueError(
            f"learning_window must be T = {meta['T']} steps at most, not {meta['learning_window']}"
        )
    check_choice("loss", meta.get("loss", "mean_squared_error"), _LOSSES)
    check_choice("sg_fun", meta["sg_fun"], (*SURROGATES, *_SURROGATES))
    if not isinstance(meta["optimizer"], dict):
        raise ValueError(f"optimizer must be a table with a type, not {meta['optimizer']!r}")
    check_choice("optimizer", meta["optimizer"].get("type"), _OPTIMIZERS)


def _check_shapes(path: Path, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    """Raise ValueError for an array whose shape or type differs from the meta."""
    continuous = "model" in meta
    steps, n_in, n_out = (meta[key] for key in ("T", "n_in", "n_out"))
    n_rec = meta["n_rec"] if continuous else meta["n_reg"] + meta["n_ad"]
    n_iterations = meta["n_trials"] if continuous else meta["n_iter"]
    matrices = {"w_in": (n_rec, n_in), "w_rec": (n_rec, n_rec), "w_out": (n_out, n_rec)}
    expected: dict[str, tuple[int, ...]] = {"B": (n_rec, n_out), "loss": (n_iterations,)}
    for name, shape in matrices.items():
        expected |= {name: (n_iterations + 1, *shape), f"{name}0": shape, f"{name}_final": shape}
    if continuous:
        expected["target"] = (steps, n_out)
    for name, array in arrays.items():
        if name not in expected and name != "target":
            continue
        if array.dtype.kind not in "fiu":
            raise ValueError(f"{path}: '{name}' does not hold numbers but {array.dtype}")
        expected_shape = expected.get(name)
        if expected_shape is not None and array.shape != expected_shape:
            raise ValueError(
                f"{path}: '{name}' has the shape {array.shape}, where its meta implies "
                f"{expected_shape}"
            )
    target = arrays["target"]
    if not continuous and (
        target.ndim != 3 or target.shape[2] != n_out or not 1 <= target.shape[1] <= steps
    ):
        raise ValueError(
            f"{path}: 'target' has the shape {target.shape}; it must be trials, steps (at most "
            f"{steps}) and {n_out} outputs"
        )
    for name, size in (("x", n_in), ("z_rec", n_rec)):
        bits, sizes = arrays[name], arrays[f"{name}_shape"]
        if bits.dtype != np.uint8 or bits.ndim != 1:
            raise ValueError(f"{path}: '{name}' must hold packed bits: bytes in one dimension")
        if sizes.dtype.kind not in "iu" or sizes.ndim != 1:
            raise ValueError(f"{path}: '{name}_shape' must be whole numbers, not {sizes}")
        trials = n_iterations if continuous else n_iterations * meta["batch_size"]
        allowed: list[tuple[int, ...]]
        allowed = [(trials * steps, size)] if continuous else [(trials, steps, size)]
        if name == "x" and not continuous:
            allowed.append((1, steps, size))
        if tuple(sizes.tolist()) not in allowed:
            raise ValueError(
                f"{path}: '{name}_shape' is {tuple(sizes.tolist())}, where its meta implies "
                f"{' or '.join(map(str, dict.fromkeys(allowed)))}"
            )


def _unpack(path: Path, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    shape = tuple(int(n) for n in arrays[f"{name}_shape"])
    if arrays[name].size * 8 < np.prod(shape):
        raise ValueError(f"{path}: '{name}' is shorter than its shape {shape}")
    return np.unpackbits(arrays[name], count=int(np.prod(shape))).reshape(shape).astype(bool)


def _window(path: Path, arrays: dict[str, np.ndarray], n_steps: int) -> np.ndarray:
    """Steps of a period in which errors count; all if the case has no window."""
    window = arrays.get("window", np.ones(n_steps))
    if window.shape != (n_steps,) or not np.all((window == 0) | (window == 1)):
        raise ValueError(f"{path}: 'window' must be 0 or 1 in each of {n_steps} steps")
    return window.astype(bool)


def _network(meta: dict[str, Any], gradient: str) -> Network:
    zeta = "1" if meta["rec_regular_spike_arrival"] else "1 - alpha"
    neurons = [(_neuron(LIF, meta, "v - v_th", zeta=zeta), meta["n_reg"])]
    if meta["n_ad"]:
        adaptation = {"tau_a": meta["adapt_tau"] * ms, "beta": meta["adapt_beta"]}
        alif = _neuron(ALIF, meta, "v - v_th - beta*a", zeta=zeta, **adaptation)
        neurons.append((alif, meta["n_ad"]))
    readout = LEAKY.with_parameters(
        tau_out=meta["tau_m_out"] * ms,
        zeta_out="1" if meta["out_regular_spike_arrival"] else "1 - kappa",
    )
    return Network.standard(
        neurons=[(n, size) for n, size in neurons if size],
        # The recording simulator filters traces with this gain whatever the readout's input gain.
        readout=replace(readout, trace_gain="1 - kappa"),
        loss=LOSSES[_LOSSES[meta["loss"]]],
        gradient=gradient,
        average_gradient=meta["average_gradient"],
        **_common(meta),
    )


def _continuous_network(meta: dict[str, Any]) -> Network:
    """Readouts see the spikes of the step before; traces are filtered by a constant of their own.

    Continuous operation has the online program only.
    """
    models = {**_MODELS, **(_REFRACTORY_MODELS if meta["t_ref"] else {})}
    neuron, margin = models[meta["model"]], "v - v_th"
    own = {"v_reset": meta["V_reset"]} if "v_reset" in neuron.parameters else {}
    if "beta" in neuron.parameters:
        margin = "v - v_th - beta*a"
        own |= {"tau_a": meta["adapt_tau"] * ms, "beta": meta["adapt_beta"]}
    readout = LEAKY.with_parameters(tau_out=meta["tau_m_out"] * ms, zeta_out="1")
    return Network.standard(
        neurons=[(_neuron(neuron, meta, margin, **own), meta["n_rec"])],
        readout=replace(readout, trace_decay=repr(meta["kappa"]), trace_gain="1"),
        gradient="online",
        updates="step" if meta["optimizer"].get("optimize_each_step") else "spike",
        trace_cutoff=None if meta.get("cutoff") is None else meta["cutoff"] * ms,
        delays={"w_out": meta["dt"] * ms},
        rate_averaging="moving",
        kappa_reg=meta["kappa_reg"],
        **_common({**meta, **_moving_rate(meta)}),
    )


def _moving_rate(meta: dict[str, Any]) -> dict[str, float]:
    """Strength and target of the regulariser of continuous operation.

    Its rates are spikes per ms in the recording simulator, its target is spikes per step; here both
    are per step. With steps of 1 ms there is no difference.
    """
    return {"c_reg": meta["c_reg"] / meta["dt"], "f_target": meta["f_target"] * meta["dt"]}


def _neuron(neuron: Neuron, meta: dict[str, Any], margin: str, **parameters: Any) -> Neuron:
    """A library neuron with the recording's parameters and surrogate."""
    kind = _SURROGATES.get(meta["sg_fun"], meta["sg_fun"])
    bump = surrogate(kind, margin, height="sg_height", width="sg_width")
    own = {k: v for k, v in neuron.parameters.items() if k != "gamma"}
    shape = {"sg_height": meta["sg_height"], "sg_width": meta["sg_width"]}
    neuron = replace(neuron, surrogate=bump, parameters={**own, **shape})
    times = {"tau_m": meta["tau_m"] * ms, "t_ref": meta["t_ref"] * ms}
    return neuron.with_parameters(**times, v_th=meta["V_th"], **parameters)


def _common(meta: dict[str, Any]) -> dict[str, Any]:
    """Options that both kinds of cases have."""
    optimizer = {k: v for k, v in meta["optimizer"].items() if k != "optimize_each_step"}
    rule = _OPTIMIZERS[optimizer.pop("type")]
    renamed = {"Wmin": "w_min", "Wmax": "w_max"}
    settings = {renamed.get(k, k): v for k, v in optimizer.items()}
    return {
        "n_inputs": meta["n_in"],
        "n_outputs": meta["n_out"],
        "feedback": "random",
        "optimizer": rule.with_parameters(**settings),
        "c_reg": meta["c_reg"],
        "f_target": meta["f_target"] * Hz,
        "dt": meta["dt"] * ms,
    }
