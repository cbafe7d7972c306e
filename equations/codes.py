"""Codes of an environment's quantities: how a group of inputs senses one of them.

Each function makes a `Code`. The quantity is an expression of the environment's states and
parameters, such as ``"x"`` or ``"sin(angle)"``; limits have its unit. ``when`` is a condition of
the same names, the time ``t`` among them, without which the inputs are silent.
"""

from __future__ import annotations

from eprop_brian.equations.environment import Code
from eprop_brian.equations.neuron import Parameter

__all__ = ["analog_code", "latency_code", "poisson_code", "population_code"]

#: Parameters of inputs that prefer different values, equally far apart from `low` to `high`.
_TUNING = {"spacing": "(high - low)/(N - 1)", "centre": "low + i*spacing"}
#: How close a quantity is to what an input prefers, 1 at most.
_CLOSENESS = "exp(-(({quantity} - centre)/spacing)**2/2)"


def population_code(
    quantity: str,
    low: Parameter,
    high: Parameter,
    size: int = 10,
    *,
    peak: float = 0.5,
    when: str = "",
) -> Code:
    """Random spikes of inputs that prefer different values.

    Gaussian tuning curves with centres equally far apart from `low` to `high`, as wide as that
    distance is (one standard deviation).

    Parameters
    ----------
    quantity : str
    low, high : number, Quantity or str
        Preferred values of the first and the last input.
    size : int
        Number of inputs, 2 or more.
    peak : float
        Probability of a spike in a step, of an input whose preferred value it is.
    when : str

    Raises
    ------
    ValueError
        If there are fewer than 2 inputs.
    """
    probability = f"peak*{_CLOSENESS.format(quantity=quantity)}"
    return _tuned(f"rand() < {probability}", low, high, size, when, {"peak": peak})


def latency_code(
    quantity: str,
    low: Parameter,
    high: Parameter,
    size: int = 10,
    *,
    window: Parameter = "5 ms",
    when: str = "",
) -> Code:
    """One spike of every input after each action, the earlier the closer its preferred value is.

    Tuning curves are those of `population_code`. Nothing is random: an input spikes in the first
    step at its preferred value, and `window` later far away from it.

    Parameters
    ----------
    quantity : str
    low, high : number, Quantity or str
        Preferred values of the first and the last input.
    size : int
        Number of inputs, 2 or more.
    window : Quantity or str
        Largest latency; of the time between two actions or longer, inputs far away are silent.
    when : str

    Raises
    ------
    ValueError
        If there are fewer than 2 inputs.
    """
    latency = f"window*(1 - {_CLOSENESS.format(quantity=quantity)})"
    spike = f"timestep(t_action, dt) == timestep({latency}, dt)"
    return _tuned(spike, low, high, size, when, {"window": window})


def poisson_code(rate: Parameter, size: int = 10, *, when: str = "") -> Code:
    """Random spikes at a rate, which say whether a condition holds.

    Parameters
    ----------
    rate : Quantity or str
        Firing rate, ``"40 Hz"``; times the step of the network it is the probability of a spike.
    size : int
        Number of inputs.
    when : str
    """
    return Code(size=size, spike=_gated("rand() < rate*dt", when), parameters={"rate": rate})


def analog_code(quantity: str, low: Parameter, high: Parameter) -> Code:
    """One analog input with the quantity's value, scaled: -1 at `low`, 1 at `high`.

    Parameters
    ----------
    quantity : str
    low, high : number, Quantity or str
    """
    value = f"(2*({quantity}) - low - high)/(high - low)"
    return Code(size=1, value=value, parameters={"low": low, "high": high})


def _tuned(
    spike: str,
    low: Parameter,
    high: Parameter,
    size: int,
    when: str,
    parameters: dict[str, Parameter],
) -> Code:
    """A code of inputs that prefer different values."""
    if size < 2:
        raise ValueError(
            f"size must be 2 inputs or more, which prefer different values, not {size}"
        )
    return Code(
        size=size,
        spike=_gated(spike, when),
        parameters={"low": low, "high": high, **_TUNING, **parameters},
    )


def _gated(spike: str, when: str) -> str:
    return f"({when}) and {spike}" if when.strip() else spike
