"""Gradient programs: two ways of computing sum_t L[t] filtered_trace[t], as statements.

`online` runs forwards and keeps the traces of every synapse: causal, local, recordable.

`factored` uses that the traces are linear in the presynaptic spikes with coefficients that belong
to the postsynaptic neuron. One backward pass inside each neuron, the transpose of its own
eligibility recursion, gives lambda[t]; the gradient of a synapse is then the sum of lambda over the
presynaptic spikes. With ``q[t] = gain F[t] + r`` (F: learning signal filtered backwards by the
readout, r: factor of the rate regulariser),

    g[t]  = q[t] + u[t+1] . mu[t+1]
    mu[t] = c[t] g[t] + A[t+1]^T mu[t+1]
    lambda[t] = b[t] . mu[t]

Both are exact rearrangements of one sum.
"""

from __future__ import annotations

from dataclasses import dataclass

from brian2.utils.stringtools import word_substitute

from eprop_brian.equations.readouts import Readout
from eprop_brian.symbolic.eligibility import Coefficient, EligibilitySystem, eps_name
from eprop_brian.symbolic.parameters import parse_expression, require_known
from eprop_brian.symbolic.step_map import readout_map, total

__all__ = [
    "FactoredProgram",
    "OnlineProgram",
    "ReadoutProgram",
    "factored_program",
    "online_program",
    "readout_program",
]


@dataclass(frozen=True)
class ReadoutProgram:
    """The readout's filter, for traces and errors.

    Attributes
    ----------
    decay, gain : Coefficient
        dy[t]/dy[t-1] and dy[t]/dI[t].
    trace_gain : Coefficient
        Factor of an eligibility trace entering its filter.
    backward : tuple of str
        Statements, backwards in time, for ``filtered_error``.
    pre_trace : tuple of str
        Statements, forwards, for the filtered spikes of a presynaptic neuron (``eps_y``).
    """

    decay: Coefficient
    gain: Coefficient
    trace_gain: Coefficient
    backward: tuple[str, ...]
    pre_trace: tuple[str, ...]


def readout_program(readout: Readout) -> ReadoutProgram:
    """Derive the filter of a linear readout (EquationError if it is not linear)."""
    decay, gain = (Coefficient(slope) for slope in readout_map(readout))
    trace_gain = gain
    if readout.trace_gain.strip():
        where = f"readout '{readout.name}', trace_gain"
        trace_gain = Coefficient(parse_expression(readout.trace_gain, where))
        require_known(
            sorted(s.name for s in trace_gain.expression.free_symbols),
            [*readout.parameters, *readout.constants, "dt"],
            where,
            readout.trace_gain,
        )
    return ReadoutProgram(
        decay=decay,
        gain=gain,
        trace_gain=trace_gain,
        backward=(f"filtered_error = {total(decay.times('filtered_error'), 'error')}",),
        pre_trace=(f"eps_y = {total(decay.times('eps_y'), gain.times('pre'))}",),
    )


@dataclass(frozen=True)
class OnlineProgram:
    """Statements of the forward program.

    Attributes
    ----------
    pre_variables, synapse_variables : tuple of str
        State variables on the presynaptic neuron and on the synapse, zero at the start of a trial.
    pre : tuple of str
        Run once per presynaptic neuron and step; reads ``pre``, the spike that enters.
    synapse : tuple of str
        Run per synapse and step after the neurons' update; reads psi and ``L`` of the
        postsynaptic neuron.
    """

    pre_variables: tuple[str, ...]
    synapse_variables: tuple[str, ...]
    pre: tuple[str, ...]
    synapse: tuple[str, ...]


def online_program(system: EligibilitySystem, readout: ReadoutProgram) -> OnlineProgram:
    """Write the forward program of a derived system."""
    on_pre = [k for k in system.components if system.placement[k] == "pre"]
    on_synapse = [k for k in system.components if system.placement[k] == "synapse"]
    # A synapse's recursion reads presynaptic components of the step before, which the presynaptic
    # statements have advanced by then: keep a copy of those that are read so.
    kept = [m for m in on_pre if any(not system.transition[k, m].is_zero for k in on_synapse)]

    def advance(k: str) -> str:
        terms = [
            system.transition[k, m].times(
                f"{eps_name(m)}_before" if k in on_synapse and m in kept else eps_name(m)
            )
            for m in system.components
        ]
        own_spike = system.spike_path[k].times("eligibility_trace")
        return total(*terms, own_spike, system.drive[k].times("pre"))

    def statements(components: list[str]) -> list[str]:
        if len(components) == 1:
            return [f"{eps_name(k)} = {advance(k)}" for k in components]
        # All components advance together from the values of the step before.
        return [f"_{eps_name(k)} = {advance(k)}" for k in components] + [
            f"{eps_name(k)} = _{eps_name(k)}" for k in components
        ]

    pre = [f"{eps_name(k)}_before = {eps_name(k)}" for k in kept] + statements(on_pre)
    margin = total(*(system.spike_gradient[k].times(eps_name(k)) for k in system.components))
    synapse = [
        *statements(on_synapse),
        f"eligibility_trace = psi*{f'({margin})' if ' ' in margin else margin}",
        "filtered_trace = "
        + total(
            readout.decay.times("filtered_trace"), readout.trace_gain.times("eligibility_trace")
        ),
        "signal_sum = signal_sum + L*filtered_trace",
        "trace_sum = trace_sum + eligibility_trace",
    ]
    return OnlineProgram(
        pre_variables=tuple(
            [eps_name(k) for k in on_pre] + [f"{eps_name(k)}_before" for k in kept]
        ),
        synapse_variables=(
            *(eps_name(k) for k in on_synapse),
            "eligibility_trace",
            "filtered_trace",
            "signal_sum",
            "trace_sum",
        ),
        pre=tuple(pre),
        synapse=tuple(synapse),
    )


@dataclass(frozen=True)
class FactoredProgram:
    """Statements of the backward program inside each neuron.

    Attributes
    ----------
    history : tuple of str
        Variables of the forward pass that the backward pass reads, one value per step.
    variables : tuple of str
        Variables carried from step to step, backwards; zero at the trial's end.
    backward : tuple of str
        Run for t = T-1 ... 0; reads ``L_filtered`` (and ``rate_factor``), writes the results.
    results : tuple of str
        ``lambda_``, and ``lambda_trace`` if the sum of the traces is wanted by itself.
    """

    history: tuple[str, ...]
    variables: tuple[str, ...]
    results: tuple[str, ...]
    backward: tuple[str, ...]


def factored_program(
    system: EligibilitySystem, readout: ReadoutProgram, rate_averaging: str = "trial"
) -> FactoredProgram:
    """Write the backward program: the transpose of the forward recursion.

    Parameters
    ----------
    system : EligibilitySystem
    readout : ReadoutProgram
    rate_averaging : {"trial", "batch"}
        As for `eprop_brian.network.spec.Network`. With ``"batch"`` the regulariser's factor is not
        known at the end of a trial, so the sum of the traces is passed back beside the gradient:
        ``lambda_trace``, for which a second set of carried variables ends in ``_trace``.
    """
    signal = readout.trace_gain.times("L_filtered")
    if rate_averaging == "trial":
        carried, backward = _backward(system, total(signal, "rate_factor"), "lambda_")
    else:
        carried, backward = _backward(system, signal, "lambda_")
        names = {**{name: f"{name}_trace" for name in carried}, "lambda_": "lambda_trace"}
        _, trace = _backward(system, "1", "lambda_")
        backward += [word_substitute(line, names) for line in trace]
        carried += [names[name] for name in carried]
    return FactoredProgram(
        history=("psi", *system.varying(after=False), *system.varying(after=True)),
        variables=tuple(carried),
        results=("lambda_",) if rate_averaging == "trial" else ("lambda_", "lambda_trace"),
        backward=tuple(backward),
    )


def _backward(system: EligibilitySystem, source: str, result: str) -> tuple[list[str], list[str]]:
    """Carried variables and statements for the factor `source` of the eligibility trace."""
    components = system.components
    mu = {k: f"_mu_{k}" for k in components}
    carried = {
        k: f"carry_{k}"
        for k in components
        if any(not system.transition[m, k].is_zero for m in components)
    }
    own_spike = any(not system.spike_path[k].is_zero for k in components)
    backward = [f"_g = psi*({total(source, 'carry_z' if own_spike else '')})"]
    backward += [
        f"{mu[k]} = {total(system.spike_gradient[k].times('_g'), carried.get(k, ''))}"
        for k in components
    ]
    backward.append(f"{result} = {total(*(system.drive[k].times(mu[k]) for k in components))}")
    backward += [
        f"{carried[k]} = " + total(*(system.transition[m, k].times(mu[m]) for m in components))
        for k in components
        if k in carried
    ]
    if own_spike:
        backward.append(
            "carry_z = " + total(*(system.spike_path[k].times(mu[k]) for k in components))
        )
    return [*carried.values(), *(("carry_z",) if own_spike else ())], backward
