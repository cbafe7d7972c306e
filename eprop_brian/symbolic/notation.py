"""Notation of derivations: what text and LaTeX share.

Names that people read, and the parts of an eligibility system with time-varying coefficients by the
names that they are printed with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import sympy
from brian2.units import second

from eprop_brian.equations.learning_signals import LEARNING_SIGNAL
from eprop_brian.equations.regularizers import FIRING_RATE
from eprop_brian.symbolic.coefficients import Coefficient, eps_name
from eprop_brian.symbolic.derivatives import derivative, tidied
from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.exogenous import Sample
from eprop_brian.symbolic.expressions import symbol
from eprop_brian.symbolic.names import free_name, input_name, is_own, shown
from eprop_brian.symbolic.programs import (
    FactoredProgram,
    OnlineProgram,
    ReadoutProgram,
    factored_program,
    lambda_name,
    online_program,
)
from eprop_brian.symbolic.scope import neuron_names, scoped, scoped_receptor

__all__ = [
    "FORMULAS",
    "NAMES",
    "PREFIXES",
    "chain",
    "detached_paths",
    "dh_dh",
    "displayed",
    "names_of",
    "printed_eps",
    "printed_name",
    "nonzero",
    "places",
    "readable_programs",
    "timed_arrays",
    "trace_statements",
    "varying_by_name",
]

#: Names of the gradient programs: what they are, and symbol and index in LaTeX.
NAMES: dict[str, tuple[str, str, str]] = {
    "pre": (
        "presynaptic spike that enters: an input's of this step, a neuron's of the step before",
        r"\mathrm{pre}",
        "i",
    ),
    "psi": ("surrogate of the postsynaptic spike", r"\psi", "j"),
    "eligibility_trace": ("the paper's eligibility trace", "e", "ji"),
    "filtered_trace": ("the same, filtered as the readout filters spikes", r"\bar{e}", "ji"),
    "L": ("learning signal, summed over the readouts", "L", "j"),
    "signal_sum": ("the error's part of the trial's gradient", "G", "ji"),
    "trace_sum": ("the rate regulariser's part, but for its factor", "S", "ji"),
    "error": ("derivative of the loss by the readout", r"\delta", "k"),
    "filtered_error": ("the same, filtered by the readout backwards in time", r"\bar{\delta}", "k"),
    "signal": ("what a readout sends as a learning signal: its error, or made of it", "s", "k"),
    "filtered_signal": ("the same, filtered backwards as traces are forwards", r"\bar{s}", "k"),
    "L_filtered": ("the learning signal made of the filtered signals", "F", "j"),
    "rate_factor": ("factor of the rate regulariser", "r", "j"),
    "_g": ("derivative of the trial's loss by the margin of the threshold", "g", "j"),
    "lambda_": (
        "summed over the steps in which a presynaptic spike enters: the trial's gradient",
        r"\lambda",
        "j",
    ),
}
#: Beginnings of names: what they are, and their symbol in LaTeX.
PREFIXES = {
    "_mu_": ("derivative of the trial's loss by the new state", r"\mu_{j}"),
    "carry_": ("carried over from step t+1 to step t; 0 at the trial's end", r"\hat{\mu}_{j}"),
}
#: Statements that the gradient programs leave to others.
FORMULAS = {"L": LEARNING_SIGNAL, "rate_factor": f"rate_factor = {FIRING_RATE}"}


def names_of(system: EligibilitySystem) -> dict[str, tuple[str, str, str]]:
    """`NAMES` with a ``lambda_`` for every receptor."""
    words, base, index = NAMES["lambda_"]
    named = [receptor for receptor in system.drive if receptor]
    return NAMES | {
        lambda_name(r): (f"{words} at receptor {r}", base, rf"{index},\mathrm{{{r}}}")
        for r in named
    }


def nonzero(entries: Mapping[Any, Coefficient]) -> list[tuple[Any, Coefficient]]:
    """The entries that are not zero, with their keys."""
    return [(key, entry) for key, entry in entries.items() if not entry.is_zero]


def dh_dh(system: EligibilitySystem) -> list[tuple[str, str, sympy.Expr]]:
    """The paper's dh_k[t]/dh_m[t-1] where it is not zero, as (k, m, derivative)."""
    entries = [(k, m, system.dh_dh(k, m)) for k in system.components for m in system.components]
    return [(k, m, entry) for k, m, entry in entries if entry != 0]


def chain(system: EligibilitySystem) -> list[list[tuple[str, sympy.Expr]]]:
    """What is computed before each statement of a long step, but for sums by the chain rule."""
    return [
        [(slope.name, slope.expression) for slope in slopes if not slope.name.startswith("_d_")]
        for slopes in system.slopes
    ]


def detached_paths(system: EligibilitySystem) -> dict[str, sympy.Expr]:
    """dM/dz of the paths that are not differentiated, by state.

    Of a long step, the derivatives of single statements.
    """
    detached, spike = (symbol(x) for x in (system.step.signals.detached, system.step.signals.spike))
    slopes = [
        (k, tidied(derivative(x, detached).subs(detached, spike)))
        for k, x in system.step.composed.items() or system.step.statements
    ]
    return {k: slope for k, slope in slopes if slope != 0}


def trace_statements(
    system: EligibilitySystem, readout: ReadoutProgram, receptor: str
) -> dict[str, str]:
    """Right sides of the online program's statements for the two traces of a receptor's synapse."""
    online, _, _ = readable_programs(system, readout)
    statements = dict(line.split(" = ", 1) for line in online[receptor].synapse)
    traces = ("eligibility_trace", "filtered_trace")
    return {name: statements[displayed(system, name)] for name in traces}


def displayed(system: EligibilitySystem, statement: str) -> str:
    """A statement of a program, with the names of people.

    Users' names as they are written; a number behind another that would be the same.
    """
    signals = system.step.signals
    readable = {"psi": signals.psi, "z": signals.spike}
    readable |= {quantity.stored: quantity.name for quantity in system.step.exogenous}
    readable |= {input_name(scoped_receptor(r)): name for r, name in signals.inputs.items()}

    def name(match: re.Match) -> str:
        written, word = match.group(), shown(match.group())
        return word if is_own(written) else readable.get(written) or printed_name(system, word)

    return re.sub(r"(?<![\w.])[A-Za-z_]\w*", name, statement)


def printed_eps(system: EligibilitySystem, state: str) -> str:
    """A component of the eligibility vector as it is printed."""
    return printed_name(system, eps_name(state))


def printed_name(system: EligibilitySystem, name: str) -> str:
    """A name of the toolkit's, with a number behind it if the neuron has a quantity called so."""
    return free_name(name, neuron_names(system.step))


def varying_by_name(system: EligibilitySystem, *, after: bool) -> dict[str, sympy.Expr]:
    """Coefficients that change in time, by the names that they are printed with."""
    return {printed_name(system, name): x for name, x in system.varying(after=after).items()}


def timed_arrays(system: EligibilitySystem) -> list[tuple[str, str]]:
    """The timed arrays of a neuron in words, by name."""
    arrays = {q.array: q.values for q in system.step.exogenous if isinstance(q, Sample)}
    return [
        (name, f"{len(array.values)} values, one every {array.dt * second}")
        for name, array in arrays.items()
    ]


def readable_programs(
    system: EligibilitySystem, readout: ReadoutProgram
) -> tuple[dict[str, OnlineProgram], FactoredProgram, list[str]]:
    """Both gradient programs and the readout's way backwards, with the names of people.

    The first is by receptor.
    """

    def readable(program: Any) -> Any:
        statements = {
            f.name: tuple(displayed(system, line) for line in getattr(program, f.name))
            for f in fields(program)
        }
        return replace(program, **statements)

    in_scope = scoped(system)
    return (
        {
            r: readable(online_program(in_scope, readout, receptor=scoped_receptor(r)))
            for r in system.drive
        },
        readable(factored_program(in_scope, readout)),
        [displayed(system, line) for line in readout.backward],
    )


def places(system: EligibilitySystem, readout: ReadoutProgram) -> list[tuple[str, str, str]]:
    """Name, place and number of values of what the online program keeps."""
    signals = [displayed(system, name) for name in ("psi", "L")]
    online, _, _ = readable_programs(system, readout)
    coefficients = (*varying_by_name(system, after=False), *varying_by_name(system, after=True))
    rows = []
    for receptor, program in online.items():
        at = f", {receptor}" if receptor else ""
        rows += [(name, f"presynaptic neuron{at}", "N_pre") for name in program.pre_variables]
        rows += [(name, f"synapse{at}", "N_pre*N_post") for name in program.synapse_variables]
    return rows + [(name, "postsynaptic neuron", "N_post") for name in (*signals, *coefficients)]
