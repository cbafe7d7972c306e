"""Learning signals that populations emit: what they can have, and beside what they can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brian2.units import Quantity

from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.learning_signals import Feedback
from eprop_brian.equations.losses import LOSSES
from eprop_brian.equations.readouts import EMITTED, ReadoutFilter
from eprop_brian.network.feedback import check_feedback
from eprop_brian.network.filters import filter_values
from eprop_brian.network.graph import SignalFilter
from eprop_brian.symbolic.programs import readout_program

if TYPE_CHECKING:
    from eprop_brian.network.resolved import Resolved

__all__ = [
    "check_emissions",
    "emission_feedback",
    "emission_filter",
]

_WEIGHTS = ("random", "broadcast", "given")


def emission_feedback(feedback: Feedback, shape: tuple[int, int]) -> Feedback:
    """Check the weights by which populations emit; returns them with a matrix as an array.

    Parameters
    ----------
    feedback : Feedback
    shape : (int, int)
        Of the weights, (n_post, n_pre).

    Raises
    ------
    ValueError
        If it has something that only the error of a readout can have.
    """
    if feedback.weights not in _WEIGHTS:
        reason = " (symmetric ones follow a readout)" if feedback.weights == "symmetric" else ""
        raise ValueError(
            unknown("weights by which a population emits", feedback.weights, _WEIGHTS) + reason
        )
    useless: dict[str, Any] = {
        "update": feedback.update.strip(),
        "signal": feedback.signal.strip() != Feedback.signal,
        "delay": feedback.delay is not None,
        "diffusion": feedback.diffusion is not None,
    }
    for name, is_given in useless.items():
        if is_given:
            raise ValueError(
                f"a learning signal that a population emits has no {name}, which is for errors of "
                f"a readout: leave the {name} of its feedback away"
            )
    return check_feedback(feedback, LOSSES["squared_error"], (), (), shape)


def emission_filter(readout: ReadoutFilter | None, dt: Quantity) -> SignalFilter:
    """The filter of what populations emit, by default `EMITTED`.

    Raises
    ------
    ValueError, EquationError
        If it is no linear filter, or a parameter has another unit.
    """
    readout = EMITTED if readout is None else readout
    if not isinstance(readout, ReadoutFilter):
        raise ValueError(f"its filter is a ReadoutFilter such as EMITTED or LEAKY, not {readout!r}")
    readout_program(readout)  # raises if it is not linear
    return SignalFilter(readout, filter_values(readout, dt))


def check_emissions(network: Resolved) -> None:
    """Refuse learning signals of two kinds at one population, and emission where it cannot act.

    Raises
    ------
    ValueError
    """
    for signal in network.signals:
        if not signal.emitted:
            continue
        what = f"learning signal '{signal.name}' is emitted by '{signal.source}'"
        if network.agent is not None:
            raise ValueError(f"{what}, but an agent learns from rewards: leave one of them away")
        if network.updates != "batch":
            raise ValueError(
                f"{what}, which needs trials that it starts with: set updates = 'batch', not "
                f"'{network.updates}'"
            )
        for target in signal.targets:
            if target in signal.sources:
                raise ValueError(f"{what}, and cannot lead to '{target}' itself")
            for other in network.signals:
                if other is not signal and target in other.targets:
                    raise ValueError(
                        f"{what}, so '{target}' can have no other learning signal: leave "
                        f"'{other.name}' away, or emit from several populations, source = [...]"
                    )
            for readout in network.readouts:
                if reads := network.reads(target, readout.name):
                    raise ValueError(
                        f"{what} and meets the spikes of '{target}', of which readout "
                        f"'{readout.name}' reads '{reads}': let the readout sum spikes"
                    )
