"""The equations of a balanced network as text, printed from the strings that run."""

from __future__ import annotations

from collections.abc import Iterable

from brian2.utils.stringtools import get_identifiers

from eprop_brian.equations.balanced import (
    BASES,
    CANDIDATE,
    ERROR,
    ESTIMATE,
    FAST_LEARNING,
    FEEDBACKS,
    FEEDFORWARD,
    FILTERED_SPIKES,
    MEMBRANE,
    PROJECTED_ERROR,
    QUANTITIES,
    SLOW,
    SLOW_LEARNING,
    SPIKE,
)

__all__ = ["balanced_text", "local_quantities"]

#: Names of functions and such, which are no quantities.
_NOT_QUANTITIES = {"int", "tanh"}


def local_quantities(rule: str) -> dict[str, list[str]]:
    """Where everything that a learning rule names is found.

    Parameters
    ----------
    rule : str
        A statement.

    Returns
    -------
    dict of str to list of str
        By place: ``"postsynaptic"``, ``"presynaptic"``, ``"synapse"``, ``"constants"``.

    Raises
    ------
    ValueError
        If it names something that a synapse does not have: it is not local.
    """
    names = get_identifiers(rule) - _NOT_QUANTITIES
    places = {
        place: sorted(names & known.keys())
        for place, known in QUANTITIES.items()
        if names & known.keys()
    }
    elsewhere = sorted(names - {name for found in places.values() for name in found})
    if elsewhere:
        raise ValueError(f"'{rule}' is not local: a synapse does not have '{elsewhere[0]}'")
    return places


def balanced_text() -> str:
    """All equations of a balanced network with dendrites as its basis."""
    chosen = BASES["tanh"]
    membrane = MEMBRANE.format(feedback=FEEDBACKS["corrected"])
    lines = ["Efficient balanced network", ""]
    lines += ["Signal and estimate (every dimension)"]
    lines += _indented([ERROR, ESTIMATE, "a spike of neuron i:  estimate = estimate + D[:, i]"])
    lines += ["Neuron"]
    lines += _indented(membrane.splitlines())
    lines += _indented([f"{FEEDFORWARD}    (over dimensions)"])
    lines += _indented([f"{PROJECTED_ERROR}    (over dimensions)"])
    lines += _indented([f"{SLOW}    (over dendritic branches, or neurons)"])
    lines += _indented([FILTERED_SPIKES, "a spike:  r = r + 1"])
    lines += [f"Basis '{chosen.name}'"]
    spike = "a spike of neuron i:  u = u + M[:, i]"
    lines += _indented([chosen.model, spike, f"psi = {chosen.psi}"])
    lines += ["Spikes: the neuron with the largest candidate above 0, at most one a step"]
    lines += _indented([CANDIDATE, f"every neuron:  {SPIKE}"])
    for title, rule in (
        ("Learning of slow weights, every step", SLOW_LEARNING),
        ("Learning of fast weights, at a presynaptic spike", FAST_LEARNING),
    ):
        lines += [title, *_indented([rule])]
        for place, names in local_quantities(rule).items():
            known = QUANTITIES[place]
            lines += _indented(f"{place + ':':<14} {n}, {known[n]}" for n in names)
    return "\n".join(lines)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line.strip()}" for line in lines if line.strip()]
