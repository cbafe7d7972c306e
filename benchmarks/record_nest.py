"""Record reference cases from NEST: ``python -m benchmarks.record_nest FOLDER [CASE ...]``.

Every case is a small training run in the format of ``tests/reference/README.md``, which
``eprop-brian verify`` replays. The cases go through all options of NEST's two families of e-prop
models and through all pairs of them; ``--list`` names them.

NEST changes a weight when a spike comes along its synapse, after the steps that gave rise to the
change. So the weights after k updates are read from a run of their own, which ends with spikes
along all synapses: neurons are driven over their threshold, and the inputs are given a spike each.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nest_network import NEURON, NestNetwork, build

__all__ = ["CONTINUOUS", "TRIALS", "cases", "draw", "main", "pairwise", "record"]

N_IN, N_NEURONS, N_OUT = 4, 5, 2
#: Steps of a trial, or of a period of continuous operation.
N_STEPS, N_PERIODS, N_UPDATES = 50, 2, 3
#: Far above any threshold.
_DRIVE = 1e3
#: Steps of the next trial after which its spikes come along all synapses, and for how long neurons
#: are driven: none is refractory for that long.
_FLUSH_AFTER, _DRIVEN = 8, 10

_SURROGATES = ("piecewise_linear", "exponential", "fast_sigmoid_derivative", "arctan_derivative")
_ADAM = {"type": "adam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
_DESCENT = {"type": "gradient_descent"}
#: Options of trials with resets, and what each may be.
TRIALS: dict[str, tuple[Any, ...]] = {
    "neurons": ("lif", "alif", "both"),
    "sg_fun": _SURROGATES,
    "loss": ("mean_squared_error", "cross_entropy"),
    "optimizer": ("gradient_descent", "adam"),
    "batch_size": (1, 2),
    "learning_window": (N_STEPS, 15),
    "average_gradient": (False, True),
    "c_reg": (0.0, 20.0),
    "t_ref": (0.0, 3.0),
    "rec_regular_spike_arrival": (True, False),
    "out_regular_spike_arrival": (True, False),
    "clipped": (False, True),
    "first_inputs": (2, 1),
    "dt": (1.0, 0.5),
}
#: Options of continuous operation. Steps of a cut-off; `pauses` are steps without learning.
CONTINUOUS: dict[str, tuple[Any, ...]] = {
    "model": (
        *("eprop_iaf", "eprop_iaf_adapt"),
        *("eprop_iaf_psc_delta", "eprop_iaf_psc_delta_adapt"),
    ),
    "sg_fun": _SURROGATES,
    "optimizer": ("gradient_descent", "adam"),
    "optimize_each_step": (False, True),
    "cutoff": (None, 6, 15),
    "c_reg": (0.0, 2.0),
    "pauses": (False, True),
    "t_ref": (0.0, 2.0),
    "kappa": (0.97, 0.9),
    "clipped": (False, True),
    "dt": (1.0, 0.5),
}


def pairwise(options: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Few choices of all options in which every pair of values of two options occurs.

    The first one takes the first value of every option. Greedy: each takes a pair that is missing,
    and for every other option the value that completes most missing pairs, or else one that is
    rare so far.
    """

    def pairs(choice: Mapping[str, int]) -> set[tuple]:
        return set(itertools.combinations(sorted(choice.items()), 2))

    missing = {
        ((a, i), (b, j))
        for a, b in itertools.combinations(sorted(options), 2)
        for i, j in itertools.product(range(len(options[a])), range(len(options[b])))
    }
    choice = dict.fromkeys(options, 0)
    used: Counter[tuple[str, int]] = Counter()
    choices = []
    while missing:
        used.update(choice.items())
        choices.append({name: options[name][i] for name, i in choice.items()})
        missing -= pairs(choice)
        choice = dict(min(missing, default=()))
        for name in options:
            if name not in choice:
                gains = [
                    (len(pairs({**choice, name: i}) & missing), -used[name, i])
                    for i in range(len(options[name]))
                ]
                choice[name] = gains.index(max(gains))
    return choices


def cases() -> dict[str, dict[str, Any]]:
    """The ``meta`` entries of all cases by name, and the options that they were made from."""
    metas = {}
    for k, choice in enumerate(pairwise(TRIALS)):
        metas[f"trials_{k:02d}"] = _trials(choice)
    for k, choice in enumerate(pairwise(CONTINUOUS)):
        metas[f"continuous_{k:02d}"] = _continuous(choice)
    return {name: {"case": name, **meta} for name, meta in metas.items()}


def _common(choice: Mapping[str, Any]) -> dict[str, Any]:
    kind = _ADAM if choice["optimizer"] == "adam" else _DESCENT
    return {
        **{name: choice[name] for name in ("sg_fun", "c_reg", "t_ref", "dt")},
        **{"n_in": N_IN, "n_out": N_OUT, "T": N_STEPS},
        **{"V_th": 0.5, "tau_m": 20.0, "tau_m_out": 15.0, "f_target": 20.0},
        **{"sg_height": 0.6, "sg_width": 0.5, "adapt_tau": 60.0, "adapt_beta": 0.2},
        "optimizer": {**kind, "Wmin": -100.0, "Wmax": 100.0},
    }


def _gain(meta: Mapping[str, Any]) -> float:
    """What a recurrent neuron multiplies its input by; weights are as much larger."""
    alpha = np.exp(-meta["dt"] / meta["tau_m"])
    return 1.0 if meta.get("rec_regular_spike_arrival", True) else float(1 - alpha)


def _clip(meta: dict[str, Any], choice: Mapping[str, Any]) -> None:
    """Bounds that some weights are at from the start and others reach."""
    if choice["clipped"]:
        bound = round(0.4 / _gain(meta), 3)
        meta["optimizer"] |= {"Wmin": -bound, "Wmax": bound}


def _trials(choice: Mapping[str, Any]) -> dict[str, Any]:
    n_ad = {"lif": 0, "alif": N_NEURONS, "both": 2}[choice["neurons"]]
    names = ["loss", "batch_size", "learning_window", "average_gradient", "first_inputs"]
    names += ["rec_regular_spike_arrival", "out_regular_spike_arrival"]
    meta = {**_common(choice), **{name: choice[name] for name in names}}
    _clip(meta, choice)
    eta = 0.02
    if choice["optimizer"] != "adam":
        # Changes are no larger than the weights.
        eta = 2e-3 * (choice["learning_window"] if choice["average_gradient"] else 1)
        eta *= 5e-3 if choice["out_regular_spike_arrival"] else 1
    meta["optimizer"]["eta"] = eta
    return {
        **meta,
        **{"n_reg": N_NEURONS - n_ad, "n_ad": n_ad, "n_iter": N_UPDATES},
        # A spike in step 1 comes before the learning signal of the last step of the trial before.
        "nest_step1_quirk": choice["first_inputs"] == 1,
    }


def _continuous(choice: Mapping[str, Any]) -> dict[str, Any]:
    meta = {**_common(choice), **{name: choice[name] for name in ("model", "kappa", "pauses")}}
    meta["optimizer"]["optimize_each_step"] = choice["optimize_each_step"]
    meta["optimizer"]["eta"] = 1e-3 if choice["optimizer"] == "adam" else 1e-4
    _clip(meta, choice)
    steps = choice["cutoff"]
    return {
        **meta,
        **{"kappa_reg": 0.95, "V_reset": -0.1, "n_rec": N_NEURONS, "n_trials": N_PERIODS},
        "learning_window": N_STEPS,
        "cutoff": None if steps is None else steps * meta["dt"],
    }


def draw(meta: Mapping[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Inputs, targets and initial weights of a case."""
    rng = np.random.default_rng(seed)
    n_steps, continuous = meta["T"], "model" in meta
    n = meta["n_rec"] if continuous else meta["n_reg"] + meta["n_ad"]
    n_in, n_out = meta["n_in"], meta["n_out"]
    gain, limit = _gain(meta), meta["optimizer"]["Wmax"]
    weights = {
        "w_in": (0.2 + 0.2 * rng.standard_normal((n, n_in))) / gain,
        "w_rec": 0.25 * rng.standard_normal((n, n)) / gain,
        "w_out": 0.5 * rng.standard_normal((n_out, n)),
    }
    np.fill_diagonal(weights["w_rec"], 0.0)
    arrays: dict[str, np.ndarray] = {k: np.clip(w, -limit, limit) for k, w in weights.items()}
    arrays["B"] = rng.standard_normal((n, n_out))
    n_trials = meta["n_trials"] if continuous else meta["n_iter"] * meta["batch_size"]
    x = rng.random((n_trials, n_steps, n_in)) < np.array([0.3, 0.3, 0.15, 0.04])
    if not continuous:
        x[:, 0] = False
        x[:, 1] &= meta["first_inputs"] == 1
        if meta["first_inputs"] == 1:
            x[:, 1, 0] = True
    arrays["x"] = x
    if continuous:
        t = np.arange(n_steps)[:, np.newaxis]
        arrays["target"] = np.round(np.sin(2 * np.pi * t / np.array([n_steps, n_steps / 3])), 3)
        arrays["window"] = np.ones(n_steps)
        if meta["pauses"]:
            arrays["window"][:5] = 0.0
            arrays["window"][20:32] = 0.0
    elif meta["loss"] == "cross_entropy":
        arrays["target"] = np.eye(n_out)[rng.integers(n_out, size=n_trials)][:, np.newaxis]
    else:
        t = np.arange(n_steps)[np.newaxis, :, np.newaxis]
        arrays["target"] = np.round(np.sin(2 * np.pi * t / np.array([n_steps, n_steps / 3])), 3)
    return arrays


def record(nest: Any, meta: Mapping[str, Any], drawn: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Run a case in NEST.

    Parameters
    ----------
    nest : module
    meta : mapping
    drawn : mapping
        As `draw` gives them.

    Returns
    -------
    dict
        The arrays of the case's file.
    """
    n_updates = meta["n_trials"] if "model" in meta else meta["n_iter"]
    runs = [_run(nest, meta, drawn, k) for k in range(1, n_updates + 1)]
    weights = [{name: drawn[name] for name in ("w_in", "w_rec", "w_out")}]
    weights += [w for w, _, _ in runs]
    _, spikes, losses = runs[-1]
    shape = spikes.shape
    x = drawn["x"]
    if "model" in meta:
        # There are no trials: steps follow on one another.
        x, shape = x.reshape(-1, x.shape[-1]), (shape[0] * shape[1], shape[2])
    arrays = {name: drawn[name] for name in ("target", "window", "B") if name in drawn}
    return {
        **arrays,
        **{name: np.array([w[name] for w in weights]) for name in weights[0]},
        **{"x": np.packbits(x), "x_shape": np.array(x.shape)},
        **{"z_rec": np.packbits(spikes), "z_rec_shape": np.array(shape)},
        "loss": losses,
        "meta": json.dumps({**meta, "generator": f"NEST {nest.__version__}"}),
    }


def _run(
    nest: Any, meta: Mapping[str, Any], drawn: Mapping[str, np.ndarray], n_updates: int
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Weights after some updates; spikes (trial, step, neuron) and losses up to them."""
    nest.ResetKernel()
    network = build(nest, meta, drawn)
    n_trials, n_steps = n_updates * meta.get("batch_size", 1), meta["T"]
    steps = n_trials * n_steps
    x = drawn["x"].reshape(-1, drawn["x"].shape[-1])
    targets = drawn["target"]
    if targets.ndim == 2:
        targets = targets[np.newaxis]
    targets = np.broadcast_to(targets[:n_trials], (n_trials, n_steps, targets.shape[2]))
    targets = targets.reshape(steps, -1)
    continuous = "model" in meta
    # The next trial begins as it will: what its first spikes do to weights belongs to the update.
    # In continuous operation, inputs go with the spikes of driven neurons, a step after these left.
    goes_on = 0 if continuous else _FLUSH_AFTER
    x = np.concatenate([x[: steps + goes_on], np.zeros((_FLUSH_AFTER + 1, x.shape[1]), dtype=bool)])
    x[steps + (goes_on or 1)] = True
    network.feed(x, targets, np.tile(drawn["window"], n_updates) if continuous else None)
    recorder = _recorders(nest, network)
    if continuous:
        # Up to the last step of the last period.
        nest.Simulate((steps + NEURON - 1) * meta["dt"])
        network.neurons.V_m = _DRIVE
        nest.Simulate(3 * meta["dt"])
    else:
        # The recorders have seen all of the last trial before weights change.
        nest.Simulate((steps + network.readout_delay) * meta["dt"])
        for _ in range(_DRIVEN):
            network.neurons.V_m = _DRIVE
            nest.Simulate(meta["dt"])
        nest.Simulate(_DRIVEN * meta["dt"])
    spikes, losses = recorder(meta, n_trials)
    return network.weights(), spikes, losses


def _recorders(nest: Any, network: NestNetwork) -> Any:
    """Attach recorders; return a function that reads spikes and losses from them."""
    spike_recorder = nest.Create("spike_recorder")
    recorded = ["readout_signal", "target_signal"]
    multimeter = nest.Create("multimeter", {"interval": network.dt, "record_from": recorded})
    network.connect(network.neurons, spike_recorder)
    network.connect(multimeter, network.readouts)

    def placed(events: Mapping[str, np.ndarray], nodes: Any, late: int, n_steps: int) -> Any:
        step = np.round(events["times"] / network.dt).astype(int) - late
        counts = (step >= 0) & (step < n_steps)
        return counts, (step[counts], events["senders"][counts] - nodes[0].global_id)

    def read(meta: Mapping[str, Any], n_trials: int) -> tuple[np.ndarray, np.ndarray]:
        n_steps = n_trials * meta["T"]
        spikes = np.zeros((n_steps, len(network.neurons)), dtype=bool)
        _, place = placed(spike_recorder.events, network.neurons, NEURON, n_steps)
        spikes[place] = True
        events = multimeter.events
        counts, place = placed(events, network.readouts, network.readout_delay, n_steps)
        y, target = np.full((2, n_steps, len(network.readouts)), np.nan)
        y[place], target[place] = events["readout_signal"][counts], events["target_signal"][counts]
        by_trial = (n_trials, meta["T"], -1)
        return spikes.reshape(by_trial), _losses(
            meta, y.reshape(by_trial), target.reshape(by_trial)
        )

    return read


def _losses(meta: Mapping[str, Any], y: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Losses of all updates from signals (trial, step, readout)."""
    y, target = (a[:, meta["T"] - meta["learning_window"] :] for a in (y, target))
    if meta.get("loss") == "cross_entropy":
        of_trials = -np.sum(target * np.log(y), axis=(1, 2)) / meta["learning_window"]
    else:
        of_trials = np.sum((y - target) ** 2 / 2, axis=1).mean(axis=1)
    return of_trials.reshape(-1, meta.get("batch_size", 1)).mean(axis=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Record cases, one file each."""
    parser = argparse.ArgumentParser(prog="benchmarks.record_nest", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="where the cases are written")
    parser.add_argument("names", nargs="*", metavar="CASE", help="default: all cases")
    parser.add_argument("--list", action="store_true", help="name the cases and their options")
    options = parser.parse_args(arguments)
    all_cases = cases()
    if options.list:
        for name, meta in all_cases.items():
            print(name, json.dumps(meta))
        return
    if options.folder is None:
        parser.error("say which folder the cases are written to")
    unknown = [name for name in options.names if name not in all_cases]
    if unknown:
        parser.error(f"unknown case '{unknown[0]}'; --list prints the valid names")
    if importlib.util.find_spec("nest") is None:
        parser.error("NEST is not installed (pip install nest-simulator)")
    os.environ["PYNEST_QUIET"] = "1"
    import nest

    nest.verbosity = nest.VerbosityLevel.ERROR
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or all_cases:
        meta = {**all_cases[name], "seed": zlib.crc32(name.encode()) % 1000}
        arrays = record(nest, meta, draw(meta, meta["seed"]))
        path = options.folder / f"{name}.npz"
        np.savez_compressed(path, **arrays)
        n_spikes = np.unpackbits(arrays["z_rec"]).sum()
        change = [np.abs(arrays[w][-1] - arrays[w][0]).max() for w in ("w_in", "w_rec", "w_out")]
        changes = " ".join(f"{c:.1e}" for c in change)
        size = path.stat().st_size / 1e3
        print(f"{name}: {n_spikes} spikes, weights change by {changes}, {size:.1f} kB")


if __name__ == "__main__":
    main()
