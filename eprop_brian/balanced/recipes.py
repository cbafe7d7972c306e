"""Recipes: settings with which each task of a balanced network works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["RECIPES", "BalancedRecipe", "get_recipe"]

_NETWORK: Mapping[str, Any] = {
    "n": 100,
    "rule": "closed",
    "norm": 2.5,
    "mu": 0.0,
    "nu": 0.0,
    "sigma": 0.0,
    "lambda_r": "20 Hz",
    "lambda_v": "20 Hz",
    "t_ref": "0 ms",
    "delay": "0 ms",
    "dt": "0.1 ms",
    "one_spike": True,
    "basis": "linear",
    "feedback": "corrected",
    "n_basis": 0,
    "basis_gain": [3.0, 8.0],
    "fast_start": 0.0,
}
_NO_TRAINING: Mapping[str, Any] = {
    "duration": 0.0,
    "k_0": 0.0,
    "eta_0": 0.0,
    "eta_fast": 0.0,
    "gain": "k_0",
    "rate": "eta_0",
    "fast_rate": "eta_fast_0",
    "input_std": 0.0,
    "input_tau": 0.1,
    "pull": 0.0,
    "reach": 1.2,
    "explore_tau": 0.05,
}
#: The error gain stays for nine tenths of the training, then goes to 0 in a straight line; the
#: learning rate falls from four tenths on.
_GAIN = "k_0*clip((1 - t/duration)/0.1, 0, 1)"
_RATE = "eta_0*clip((1 - t/duration)/0.6, 0, 1)**2"
_TEST: Mapping[str, Any] = {
    "duration": 10.0,
    "settle": 1.0,
    "kill": 0.0,
    "noise": -1.0,
}


@dataclass(frozen=True)
class BalancedRecipe:
    """Settings of an experiment: what differs from the defaults.

    Attributes
    ----------
    network, training, test : mapping
        See `eprop_brian.balanced.config.BalancedConfig`.
    """

    network: Mapping[str, Any]
    training: Mapping[str, Any]
    test: Mapping[str, Any]


def _recipe(
    network: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    test: Mapping[str, Any] | None = None,
) -> BalancedRecipe:
    return BalancedRecipe(
        {**_NETWORK, **(network or {})},
        {**_NO_TRAINING, **(training or {})},
        {**_TEST, **(test or {})},
    )


def _learned(training: Mapping[str, Any], **network: Any) -> BalancedRecipe:
    return _recipe(
        {"rule": "learned", "basis": "tanh", "n_basis": 200, **network},
        {
            **{"duration": 100.0, "k_0": 100.0, "gain": _GAIN, "eta_0": 40.0, "rate": _RATE},
            **{"pull": 80.0, **training},
        },
    )


#: By task name.
RECIPES: Mapping[str, BalancedRecipe] = {
    "balanced-autoencoder": _recipe(),
    "balanced-integrator": _recipe(),
    "balanced-oscillator": _recipe({"norm": 3.0}),
    "balanced-sustained-oscillator": _recipe(),
    "balanced-linear": _learned(
        {"input_std": 1.5, "pull": 0.0, "eta_0": 100.0}, basis="linear", n_basis=0
    ),
    "balanced-fast": _recipe(
        # The cost is half a decoding vector's square; without one the fast weights end too small.
        {"fast_start": 0.67, "norm": 5.0, "mu": 3.1e-6},
        {
            **{"duration": 60.0, "eta_fast": 0.01, "input_std": 20.0},
            "fast_rate": "eta_fast_0*clip(2 - 2*t/duration, 0, 1)**2",
        },
    ),
    "balanced-bistable": _learned({"duration": 60.0}),
    "balanced-van-der-pol": _learned({}),
    "balanced-lorenz": _learned(
        {"duration": 150.0, "pull": 100.0, "explore_tau": 0.03, "reach": 1.0},
        n_basis=300,
        basis_gain=[2.0, 5.0],
    ),
    "balanced-pendulum": _learned({}),
    "balanced-arm": _learned({}, basis_gain=[2.0, 5.0]),
}


def get_recipe(task: str) -> BalancedRecipe:
    """The recipe of a task (KeyError if it has none)."""
    return RECIPES[task]
