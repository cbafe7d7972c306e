r"""How inputs of a network sense the observations of an environment outside of its program.

Each component of an observation has inputs of its own. What is a number :math:`x` is clipped to its
range and coded as the setting `coding` says, as in `eprop_brian.equations.codes`:

- ``"population"``: several inputs with Gaussian tuning curves fire at random;
- ``"latency"``: such inputs fire once after each action, the sooner the closer :math:`x` is to what
  they prefer;
- ``"analog"``: one input has the value :math:`x` over the largest absolute value of the range: from
  -1 to 1, or from 0 to 1 for what is never negative, such as the brightness of a pixel.

A component that is one of several classes has one input for each. The one of its class fires at
random with the probability of a tuning curve's peak, fires in the first step after an action, or
has the value 1; the others are silent, or 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from brian2.units import Quantity
from numpy.typing import NDArray

from eprop_brian.base.memory import check_memory
from eprop_brian.equations.codes import analog_code, latency_code, population_code
from eprop_brian.equations.environment import Code
from eprop_brian.tasks.spaces import Observations

__all__ = ["CODINGS", "observation_codes"]

CODINGS = ("population", "latency", "analog")

#: Numbers that are kept of each input that codes for a number, and while it is made.
_PER_CELL = 8

_NUMBER = "clip(observation, low, high)"
_IS_CLASS = "observation == number"


def observation_codes(
    observations: Observations,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    *,
    coding: str,
    n_cells: int,
    peak: float,
    action_every: Quantity,
) -> list[Code]:
    """Make the codes: that of all numbers, and that of all classes.

    Parameters
    ----------
    observations : Observations
    low, high : float array, shape (n_components,)
        Ranges of the components.
    coding : {"population", "latency", "analog"}
    n_cells : int
        Inputs for each number, at least 2; one with analog coding.
    peak : float
        Largest probability of a spike in a step, with population coding.
    action_every : Quantity
        Time between two actions.

    Returns
    -------
    codes : list of Code
        One or two; inputs of a code are in the order of the components.
    """
    is_class = observations.classes > 0
    numbers, classes = np.flatnonzero(~is_class), np.flatnonzero(is_class)
    made = []
    if numbers.size:
        ranges = low[numbers], high[numbers]
        made.append(_numbers(numbers, *ranges, coding, n_cells, peak, action_every))
    if classes.size:
        made.append(_classes(classes, observations.classes[classes], coding, peak))
    return made


def _numbers(
    components: NDArray[np.intp],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    coding: str,
    n_cells: int,
    peak: float,
    action_every: Quantity,
) -> Code:
    """The code of all components that are numbers."""
    if coding == "analog":
        largest = np.maximum(abs(low), abs(high))
        code = analog_code("observation", -largest, largest)
        return replace(code, size=len(components), senses=components)
    check_memory(
        {f"{n_cells} inputs for each number": 8 * _PER_CELL * len(components) * n_cells},
        lambda share: f"at most {int(share * n_cells)} would fit (n_cells)",
    )
    low, high, senses = (
        np.repeat(low, n_cells),
        np.repeat(high, n_cells),
        np.repeat(components, n_cells),
    )
    size = len(senses)
    if coding == "population":
        code = population_code(_NUMBER, low, high, size, peak=peak)
    else:
        code = latency_code(_NUMBER, low, high, size, window=action_every)
    # Inputs are counted anew for each component.
    spacing = (high - low) / (n_cells - 1)
    centre = low + np.tile(np.arange(n_cells), len(components)) * spacing
    return replace(code.with_parameters(spacing=spacing, centre=centre), senses=senses)


def _classes(
    components: NDArray[np.intp], n_classes: NDArray[np.intp], coding: str, peak: float
) -> Code:
    """The code of all components that are classes."""
    number = np.concatenate([np.arange(float(n)) for n in n_classes])
    how = {
        "population": {"spike": f"{_IS_CLASS} and rand() < peak"},
        "latency": {"spike": f"{_IS_CLASS} and t_action < dt/2"},
        "analog": {"value": f"int({_IS_CLASS})"},
    }[coding]
    return Code(
        size=len(number),
        parameters={"number": number, **({"peak": peak} if coding == "population" else {})},
        senses=np.repeat(components, n_classes),
        **how,
    )
