"""A derivation in the names of a program: users' names in a form of their own.

Order and form of every expression stay what they are, as names alone are replaced in the strings
that have been written of it: sympy sorts by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from eprop_brian.symbolic.coefficients import Coefficient, LearnedParameter
from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.names import RECEPTOR, input_name, own, owned, substituted
from eprop_brian.symbolic.step_map import StepMap

__all__ = ["neuron_names", "scoped", "scoped_receptor"]


def neuron_names(step: StepMap) -> dict[str, str]:
    """Names of a neuron with the form that they have in the statements of a program."""
    return owned([*step.states, *step.neuron.parameters, *step.constants])


def scoped_receptor(receptor: str) -> str:
    """The form of a receptor's name in the statements of a program."""
    return own(receptor, RECEPTOR) if receptor else ""


def scoped(system: EligibilitySystem) -> EligibilitySystem:
    """A derived system whose statements are those of a program.

    States, parameters, constants and what is called after them have the form of
    `eprop_brian.symbolic.names.own`, and so have receptors (`scoped_receptor`); the input is ``I``,
    the spike ``z``. Numbers are to be asked of the system it is made of.
    """
    step = system.step
    signals = step.signals
    names = neuron_names(step) | {
        **{quantity.name: quantity.stored for quantity in step.exogenous},
        **{name: input_name(scoped_receptor(r)) for r, name in signals.inputs.items()},
        signals.spike: "z",
        signals.detached: "z_detached",
    }
    learned = {}
    for p in system.learned.values():
        # A constant and a parameter share its slope.
        slopes = {
            name: f"slope_{own(constant)}_{own(p.name)}"
            for name, constant in zip(p.slopes, p.constants, strict=True)
        }
        learned[p.name] = slopes
        names |= slopes
    entry = _Entries(names)
    return EligibilitySystem(
        step=_scoped_step(step, names),
        components=tuple(own(k) for k in system.components),
        transition={
            (own(k), own(m)): entry(c, "A", k, m) for (k, m), c in system.transition.items()
        },
        spike_path={own(k): entry(c, "u", k) for k, c in system.spike_path.items()},
        drive={
            scoped_receptor(r): {own(k): entry(c, "b", k, receptor=r) for k, c in drive.items()}
            for r, drive in system.drive.items()
        },
        spike_gradient={own(k): entry(c, "c", k) for k, c in system.spike_gradient.items()},
        placement={
            scoped_receptor(r): {own(k): place for k, place in placement.items()}
            for r, placement in system.placement.items()
        },
        learned={
            own(name): LearnedParameter(
                name=own(name),
                drive={own(k): entry(c, "b", k, name) for k, c in p.drive.items()},
                spike_gradient=entry(p.spike_gradient, "c", name),
                slopes={
                    learned[name][slope]: substituted(text, names)
                    for slope, text in p.slopes.items()
                },
                constants=tuple(own(constant) for constant in p.constants),
                cost_gradient=entry(p.cost_gradient, "r", name),
                readings=tuple(
                    entry(c, f"s{number}", name) for number, c in enumerate(p.readings, start=1)
                ),
            )
            for name, p in system.learned.items()
        },
        cost_gradient={own(k): entry(c, "r", k) for k, c in system.cost_gradient.items()},
        readings=tuple(
            replace(
                reading,
                value=entry(reading.value, ""),
                gradient={
                    own(k): entry(c, f"s{reading.number}", k) for k, c in reading.gradient.items()
                },
            )
            for reading in system.readings
        ),
        slopes=tuple(
            tuple(replace(slope, names=names) for slope in slopes) for slopes in system.slopes
        ),
    )


class _Entries:
    """Coefficients in the names of a program."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def __call__(
        self, coefficient: Coefficient, letter: str, *of: str, receptor: str = ""
    ) -> Coefficient:
        name = ""
        if coefficient.name:
            parts = [letter, *map(own, of), scoped_receptor(receptor)]
            name = "_".join(part for part in parts if part)
        return replace(coefficient, name=name, names=self.names)


def _scoped_step(step: StepMap, names: Mapping[str, str]) -> StepMap:
    def renamed(text: str) -> str:
        return substituted(text, names)

    return replace(
        step,
        states=tuple(names[state] for state in step.states),
        code=tuple(renamed(line) for line in step.code),
        active=renamed(step.active),
        threshold=renamed(step.threshold),
        surrogate=renamed(step.surrogate),
        refractory_surrogate=renamed(step.refractory_surrogate),
        detached=tuple(names[state] for state in step.detached),
        constants={names[name]: renamed(text) for name, text in step.constants.items()},
        units={names[state]: unit for state, unit in step.units.items()},
    )
