"""The standard network as parts: inputs to all neurons, these to each other and to a readout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eprop_brian.base.checks import check_choice, check_positive
from eprop_brian.equations.learning_signals import Feedback
from eprop_brian.equations.neuron import Neuron
from eprop_brian.network.learned import Learned
from eprop_brian.network.parts import Inputs, LearningSignal, Part, Population, Projection, Readout
from eprop_brian.network.populations import population_names

__all__ = ["FEEDBACK", "MATRICES", "standard_parts"]

#: Names of the weight matrices of the standard network; keys of its options.
MATRICES = _W_IN, _W_REC, _W_OUT = "w_in", "w_rec", "w_out"
#: Name of its feedback weights.
FEEDBACK = "B"


def standard_parts(
    n_inputs: int,
    readouts: Sequence[Readout],
    neurons: Sequence[tuple[Neuron, int]],
    feedback: str | Feedback | Any,
    readout_weights: str,
    connectivity: Mapping[str, Any],
    delays: Mapping[str, Any],
    learned: Mapping[str, Learned | Mapping[str, Any]],
    weight_scale: Mapping[str, float],
    fixed: Sequence[str],
) -> list[Part]:
    """The parts of the standard network; parameters as for `Network.standard`.

    Several readouts have weights ``w_<readout>`` and feedback weights ``B_<readout>``, a single one
    ``w_out`` and ``B``.

    Raises
    ------
    ValueError
        If a size is no positive number, or an option names something that there is not.
    """
    check_positive("n_inputs", n_inputs)
    for readout in readouts:
        check_positive("n_outputs", readout.size)
    check_choice("readout_weights", readout_weights, ("normal", "glorot"))
    if not isinstance(connectivity, Mapping):
        raise ValueError(
            f"connectivity names weight matrices, e.g. {{w_rec = 0.1}}; got {connectivity!r}"
        )
    if not isinstance(delays, Mapping):
        raise ValueError(f"delays name weight matrices, e.g. {{w_rec = '3 ms'}}; got {delays!r}")
    several = len(readouts) > 1
    weights = [f"w_{r.name}" for r in readouts] if several else [_W_OUT]
    matrices = (_W_IN, _W_REC, *weights)
    if not isinstance(weight_scale, Mapping):
        raise ValueError(
            f"weight_scale names weight matrices, e.g. {{w_in = 0.5}}; got {weight_scale!r}"
        )
    if isinstance(fixed, str) or not isinstance(fixed, Sequence):
        raise ValueError(f"fixed is a list of weight matrices, e.g. ['w_in']; got {fixed!r}")
    for option, chosen in (
        *(("connectivity", connectivity), ("delays", delays)),
        *(("weight_scale", weight_scale), ("fixed", fixed)),
    ):
        for name in chosen:
            check_choice(f"weight matrix in {option}", name, matrices)
    populations = _populations(neurons, learned)
    inputs = Inputs(n_inputs)
    names = [p.name for p in populations]

    def projection(
        name: str, source: str | Sequence[str], target: str | Sequence[str], weights: str = "normal"
    ) -> Projection:
        return Projection(
            source,
            target,
            name,
            weights=weights,
            scale=weight_scale.get(name, 1.0),
            connectivity=connectivity.get(name),
            delay=delays.get(name),
            learn=name not in fixed,
        )

    return [
        inputs,
        *populations,
        *readouts,
        projection(_W_IN, inputs.name, names),
        projection(_W_REC, names, names),
        *(
            projection(name, names, readout.name, readout_weights)
            for name, readout in zip(weights, readouts, strict=True)
        ),
        *(
            LearningSignal(r.name, names, feedback, f"{FEEDBACK}_{r.name}" if several else FEEDBACK)
            for r in readouts
        ),
    ]


def _populations(
    neurons: Sequence[tuple[Neuron, int]], learned: Mapping[str, Learned | Mapping[str, Any]]
) -> list[Population]:
    """Populations with names of their own, each with the parameters to learn that it has."""
    if not neurons:
        raise ValueError("a network needs neurons: give [(neuron, size), ...]")
    if not isinstance(learned, Mapping):
        raise ValueError(
            "learned names parameters of the neurons, e.g. {tau_m = {minimum = '5 ms'}}; "
            f"got {learned!r}"
        )
    for neuron, _ in neurons:
        if not isinstance(neuron, Neuron):
            raise ValueError(
                f"neurons are pairs of a Neuron and a number, not of {neuron!r}; "
                "get_neuron('lif') is one of the library's"
            )
    valid_names = {name for neuron, _ in neurons for name in neuron.parameters}
    for name in learned:
        if name not in valid_names:
            raise ValueError(
                f"no neuron has the parameter '{name}' to learn; there are "
                f"{', '.join(sorted(valid_names))}"
            )
    names = population_names([neuron for neuron, _ in neurons])
    return [
        Population(neuron, size, name, {k: v for k, v in learned.items() if k in neuron.parameters})
        for name, (neuron, size) in zip(names, neurons, strict=True)
    ]
