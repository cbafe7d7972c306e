"""A neuron's learning rule: derived, printed, and rendered in notebooks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from eprop_brian.base.printable import printable
from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.neurons import get_neuron
from eprop_brian.equations.readouts import LEAKY, ReadoutFilter
from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.eligibility import derive as derive_system
from eprop_brian.symbolic.latex import derivation_latex, derivation_markdown
from eprop_brian.symbolic.printing import derivation_text
from eprop_brian.symbolic.programs import readout_program
from eprop_brian.symbolic.step_map import step_map

__all__ = ["Derivation", "derive", "formulas_of"]


@dataclass(frozen=True)
class Derivation:
    """The e-prop learning rule of a neuron. `print` shows it, and a notebook renders it.

    Attributes
    ----------
    system : EligibilitySystem
        Step map, its derivatives, and where each component of the eligibility vector lives.
    readout : ReadoutFilter
        Whose filter the eligibility trace goes through.
    """

    system: EligibilitySystem
    readout: ReadoutFilter

    @property
    def neuron(self) -> Neuron:
        """The neuron it is the rule of."""
        return self.system.step.neuron

    @property
    def latex(self) -> str:
        """Step map, eligibility system and gradient programs in ``align*`` environments."""
        return derivation_latex(self.system, readout_program(self.readout))

    def __str__(self) -> str:
        return printable(derivation_text(self.system, readout_program(self.readout)))

    def __repr__(self) -> str:
        return f"<learning rule of neuron '{self.neuron.name}': print it to read it>"

    def _repr_latex_(self) -> str:
        return self.latex


def derive(
    neuron: Neuron | str,
    *,
    readout: ReadoutFilter = LEAKY,
    learned: Collection[str] = (),
    voltage_cost: str = "",
) -> Derivation:
    """Derive the e-prop learning rule of a neuron (Bellec et al. 2020, eqs. 13-14).

    Parameters
    ----------
    neuron : Neuron or str
        A neuron, or the name of one of the library's.
    readout : ReadoutFilter
        Whose filter the eligibility trace goes through.
    learned : collection of str
        Parameters of the neuron that learn.
    voltage_cost : str
        Cost of the voltage regulariser, as for `eprop_brian.Network`.

    Raises
    ------
    EquationError
        If an equation cannot be read or has no derivative; the message quotes the line.
    ValueError
        If the library has no neuron of that name.

    Examples
    --------
    >>> from eprop_brian import ALIF, derive
    >>> derive(ALIF).system.placement[""]
    {'v': 'pre', 'a': 'synapse'}
    """
    if isinstance(neuron, str):
        neuron = get_neuron(neuron)
    return Derivation(derive_system(step_map(neuron), learned, voltage_cost), readout)


def formulas_of(neuron: Neuron) -> str:
    """Write a neuron's step and the eligibility trace derived from it as Markdown, for notebooks.

    The trace is filtered as the usual readout, ``LEAKY``, filters spikes.

    Raises
    ------
    EquationError
        If an equation cannot be read or has no derivative.
    """
    return derivation_markdown(derive(neuron).system, readout_program(LEAKY))
