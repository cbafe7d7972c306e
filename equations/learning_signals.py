"""Learning signals: how the readouts' errors reach the recurrent neurons.

A learning-signal connection goes from readout k to recurrent neuron j. It has a static weight
``B_jk`` and a dendritic delay ``d_jk``, and

    L_j[t] = sum_k B_jk signal_k[t - (d_jk - 1)]                   d_jk in steps, at least 1

(Bellec et al. 2020, eq. 4; the delay as in NEST's learning-signal connection, where one step is the
least there can be and the signal of a step still meets the traces of that step). The kinds differ
in where B comes from and in whether it changes.

A learning signal may diffuse. What has arrived then spreads from neuron to neuron, by a matrix K,

    L_j[t] = sum_i K_ji L_i[t - 1] + sum_k B_jk signal_k[t - (d_jk - 1)]

with L = 0 before the first step in which the error counts (arXiv 2603.08949): neurons without
feedback weights learn from what reaches them through others.

In the place of a readout a population of spiking neurons may send. Each of its spikes counts in the
step in which it is fired, and what they bring is filtered as an output is,

    L_j[t] = kappa L_j[t - 1] + sum_i B_ji z_i[t]

in all steps of a trial, whatever the errors are (e-prop 2, Bellec et al. 2019, arXiv 1901.09049;
Scherr et al. 2020). Its weights are learned across many tasks, so that one update by it solves a
task (see `eprop_brian.training.meta`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from eprop_brian.equations.parametrised import Parametrised

__all__ = [
    "ADAPTIVE",
    "BROADCAST",
    "DIFFUSION",
    "EMISSION",
    "FEEDBACKS",
    "LEARNING_SIGNAL",
    "RANDOM",
    "SYMMETRIC",
    "TRANSMITTED",
    "Feedback",
]

#: What arrives of one readout's signal, and what it adds to a neuron's learning signal.
TRANSMITTED = "B*signal"
LEARNING_SIGNAL = f"L = L + {TRANSMITTED}"
#: What a spike of a population that sends a learning signal adds to the input of its filter.
EMISSION = "emitted = emitted + B"
#: What spreads to a neuron from another, of its learning signal in the step before.
DIFFUSION = "L = L + K*L_before"


@dataclass(frozen=True)
class Feedback(Parametrised):
    """A learning-signal connection, readouts to recurrent neurons.

    Parameters
    ----------
    weights : {"symmetric", "random", "broadcast", "given"}
        Where B comes from: the transpose of the readout weights, which it follows (an error always
        comes back through the weights that the readout made it with); drawn once from
        N(0, 1)*scale; the same value `scale` for all; or `matrix`.
    description : str
        One line for lists of kinds.
    signal : str
        What a readout sends: an expression of its ``error``, ``y``, ``y_target`` and, with a
        softmax, ``p``.
    update : str
        Statements for ``B``, and for ``w`` where the rule changes the readout weight too, run after
        each update of the readout weight ``w`` that belongs to the same pair. ``increment`` is the
        change that the optimizer made, ``w_before`` the weight before it. ``""``: B is static.
    parameters : mapping of str to float
        Numbers of `update`.
    scale : float
        Scale of the weights that are drawn, and the value of those that are all the same.
    matrix : array, shape (n_recurrent, n_outputs), optional
        The weights, with ``weights="given"``.
    delay : Quantity, str, array of Quantity or pair, optional
        Dendritic delay: one for all, an array of shape (n_recurrent, n_outputs), or a pair
        (shortest, longest) between which they are drawn with the network's ``connectivity_seed``.
        At least one time step, which is the default.
    diffusion : matrix [post, pre] or mapping, optional
        How the learning signal spreads in a step among the neurons that it reaches: an array or a
        `scipy.sparse` matrix K, or the arguments of `eprop_brian.network.diffusion.diffusion`:
        ``{"grid": (10, 10), "kept": 0.75}``. Default: it does not spread.
    source : str
    """

    kind: ClassVar[str] = "learning signal"

    weights: str = "random"
    description: str = ""
    signal: str = "error"
    update: str = ""
    parameters: Mapping[str, float] = field(default_factory=dict)
    scale: float = 1.0
    # Arrays cannot be compared like numbers.
    matrix: Any = field(default=None, compare=False)
    delay: Any = field(default=None, compare=False)
    diffusion: Any = field(default=None, compare=False)
    source: str = ""

    def with_options(self, **options: Any) -> Feedback:
        """Return a copy with fields or numbers of the update replaced.

        Raises
        ------
        ValueError
            If there is no field or parameter of that name; the message lists the valid ones.
        """
        names = (f.name for f in fields(self) if f.name != "parameters")
        return self._replaced("option", options, names)


SYMMETRIC = Feedback(
    weights="symmetric",
    description="B is the transpose of the readout weights and follows them",
    source="Bellec et al. 2020, Nat. Commun. 11:3625, symmetric e-prop",
)

RANDOM = Feedback(
    description="B is drawn once from N(0, 1)*scale and stays",
    source="Bellec et al. 2020, Nat. Commun. 11:3625, random e-prop",
)

ADAPTIVE = Feedback(
    description="B is drawn like random, then gets the readout weights' increments; both decay",
    update="B = (1 - decay)*B + increment\nw = w - decay*w_before",
    parameters={"decay": 1e-3},
    source="Bellec et al. 2020, Nat. Commun. 11:3625, adaptive e-prop (Kolen & Pollack 1994)",
)

BROADCAST = Feedback(
    weights="broadcast",
    description="B is the same value, scale, for all pairs: one signal for the whole network",
    source="Bellec et al. 2020, Nat. Commun. 11:3625, broadcast alignment",
)

#: The library's kinds by name.
FEEDBACKS: dict[str, Feedback] = {
    "symmetric": SYMMETRIC,
    "random": RANDOM,
    "adaptive": ADAPTIVE,
    "broadcast": BROADCAST,
}
