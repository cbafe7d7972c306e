"""Gradient programs: two ways of computing sum_t L[t] filtered_trace[t], as statements.

`online` runs forwards and keeps the traces of every synapse: causal, local, recordable.

`factored` uses that the traces are linear in the presynaptic spikes with coefficients that belong
to the postsynaptic neuron. One backward pass inside each neuron, the transpose of its own
eligibility recursion, gives lambda[t]; the gradient of a synapse is then the sum of lambda over the
presynaptic spikes. With ``q[t] = gain F[t] + r`` (F: learning signal filtered backwards by the
readout, r: factor of the rate regulariser),

    g[t]  = q[t] + u[t+1] . mu[t+1]
    mu[t] = c[t] g[t] + r[t] + A[t+1]^T mu[t+1]
    lambda_r[t] = b_r[t] . mu[t]

with one lambda for each receptor. The r in mu is the slope of the voltage regulariser's cost, which
meets the eligibility vector itself. So does a readout that reads s(h) in the place of spikes: with
F_s, its signal filtered likewise, mu has ``gain F_s[t] ds/dh[t]`` besides. Both are exact
rearrangements of one sum.

Of rewards `online` learns by tags (Bellec et al. 2020, eqs. 5 and 36): a learning signal L' that is
to be multiplied by an advantage, which is still unknown, is collected in a tag, and every reward
prediction error delta multiplies what there is of it,

    gradient += delta[n] tag,    tag <- tag_decay tag,    then tag += L'[n] filtered_trace[n]

which for constant weights is the sum of ``advantage[n] L'[n] filtered_trace[n]`` rearranged, as the
advantage is the sum of later deltas, discounted by the tag's decay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eprop_brian.equations.readouts import ReadoutFilter
from eprop_brian.equations.regularizers import MOVING_TRACE
from eprop_brian.symbolic.coefficients import Coefficient, LearnedParameter, eps_name
from eprop_brian.symbolic.eligibility import EligibilitySystem
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import parse_expression, require_known, total
from eprop_brian.symbolic.names import shown, substituted
from eprop_brian.symbolic.step_map import readout_map

__all__ = [
    "REWARDED",
    "VOLTAGE_SCALE",
    "FactoredProgram",
    "OnlineProgram",
    "ParameterProgram",
    "ReadoutProgram",
    "Tags",
    "cutoff_program",
    "delay_program",
    "direct_name",
    "factored_program",
    "lambda_name",
    "online_program",
    "parameter_program",
    "parameter_sums",
    "readout_program",
]

#: What the cost's slope is multiplied by: ``c_v/n_steps``, or ``c_v`` without trials.
VOLTAGE_SCALE = "voltage_scale"


@dataclass(frozen=True)
class ReadoutProgram:
    """The readout's filter, for traces and errors.

    Attributes
    ----------
    decay, gain : Coefficient
        dy[t]/dy[t-1] and dy[t]/dI[t].
    trace_decay, trace_gain : Coefficient
        Decay of a filtered eligibility trace, and factor of a trace entering its filter.
    backward : tuple of str
        Statements, backwards in time, for ``filtered_error`` (filtered as the readout filters
        spikes) and ``filtered_signal`` (as traces are filtered).
    pre_trace : tuple of str
        Statements, forwards, for the filtered spikes of a presynaptic neuron (``eps_y``).
    """

    decay: Coefficient
    gain: Coefficient
    trace_decay: Coefficient
    trace_gain: Coefficient
    backward: tuple[str, ...]
    pre_trace: tuple[str, ...]


def readout_program(
    readout: ReadoutFilter, names: Mapping[str, str] | None = None
) -> ReadoutProgram:
    """Derive the filter of a linear readout (EquationError if it is not linear).

    With `names`, its own names are replaced in the statements.
    """
    names = names or {}
    decay, gain = (Coefficient(slope, names=names) for slope in readout_map(readout))
    known = [*readout.parameters, *readout.constants, "dt"]

    def own(option: str, derived: Coefficient) -> Coefficient:
        """The readout's option for the filter of the traces, or else its derived filter."""
        text = getattr(readout, option)
        if not text.strip():
            return derived
        where = f"readout '{readout.name}', {option}"
        expression = parse_expression(text, where)
        require_known(sorted(s.name for s in expression.free_symbols), known, where, text)
        return Coefficient(expression, names=names)

    trace_decay = own("trace_decay", decay)
    return ReadoutProgram(
        decay=decay,
        gain=gain,
        trace_decay=trace_decay,
        trace_gain=own("trace_gain", gain),
        backward=(
            f"filtered_error = {total(decay.times('filtered_error'), 'error')}",
            f"filtered_signal = {total(trace_decay.times('filtered_signal'), 'signal')}",
        ),
        pre_trace=(f"eps_y = {total(decay.times('eps_y'), gain.times('pre'))}",),
    )


@dataclass(frozen=True)
class Tags:
    """That learning signals wait in tags for reward prediction errors.

    Attributes
    ----------
    direct : frozenset of str
        Learning signals of which a part does not wait: its variable is `direct_name`.
    """

    direct: frozenset[str] = frozenset()


def direct_name(name: str) -> str:
    """The part of a learning signal, or of an error, that no reward is multiplied by."""
    return f"{name}_direct"


#: What a reward prediction error makes of a tag.
REWARDED = ("signal_sum = signal_sum + reward_prediction_error*tag", "tag = tag_decay*tag")


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
        Run per synapse and step after the neurons' update; reads psi, ``L`` and the signals that
        answer readings of the postsynaptic neuron.
    gradient : tuple of str
        Run at the end of a trial: what the synapse's sums add to the gradient.
    reward : tuple of str
        With tags, run at every ``reward_prediction_error``, before the traces of the step.
    """

    pre_variables: tuple[str, ...]
    synapse_variables: tuple[str, ...]
    pre: tuple[str, ...]
    synapse: tuple[str, ...]
    gradient: tuple[str, ...]
    reward: tuple[str, ...] = ()


def online_program(
    system: EligibilitySystem,
    readout: ReadoutProgram,
    rate_averaging: str = "trial",
    receptor: str = "",
    tags: Tags | None = None,
) -> OnlineProgram:
    """Write the forward program of a derived system, for the synapses of a receptor.

    Parameters
    ----------
    system : EligibilitySystem
    readout : ReadoutProgram
    rate_averaging : {"trial", "batch", "moving", "none"}
        As for `eprop_brian.network.spec.Network`; ``"none"`` without a rate regulariser.
    receptor : str
    tags : Tags, optional
    """
    placement, drive = system.placement[receptor], system.drive[receptor]
    on_pre = [k for k, place in placement.items() if place == "pre"]
    on_synapse = [k for k, place in placement.items() if place == "synapse"]
    # A synapse's recursion reads presynaptic components of the step before, which the presynaptic
    # statements have advanced by then: keep a copy of those that are read so.
    kept = [m for m in on_pre if any(not system.transition[k, m].is_zero for k in on_synapse)]

    def advance(k: str) -> str:
        terms = [
            system.transition[k, m].times(
                f"{eps_name(m)}_before" if k in on_synapse and m in kept else eps_name(m)
            )
            for m in placement
        ]
        own_spike = system.spike_path[k].times("eligibility_trace")
        return total(*terms, own_spike, drive[k].times("pre"))

    pre = [f"{eps_name(k)}_before = {eps_name(k)}" for k in kept]
    pre += _together({eps_name(k): advance(k) for k in on_pre})
    names = {k: eps_name(k) for k in placement}
    filters, sums = _sums(system, readout, rate_averaging, names, tags)
    reward = REWARDED if tags else ()
    synapse = [
        *_together({eps_name(k): advance(k) for k in on_synapse}),
        *filters,
    ]
    return OnlineProgram(
        pre_variables=tuple(
            [eps_name(k) for k in on_pre] + [f"{eps_name(k)}_before" for k in kept]
        ),
        synapse_variables=(*(eps_name(k) for k in on_synapse), *_variables([*filters, *reward])),
        pre=tuple(pre),
        synapse=tuple(synapse),
        gradient=tuple(sums),
        reward=reward,
    )


def _together(advanced: dict[str, str]) -> list[str]:
    """Statements that advance several variables from their values of the step before."""
    if len(advanced) == 1:
        return [f"{name} = {value}" for name, value in advanced.items()]
    return [f"_{name} = {value}" for name, value in advanced.items()] + [
        f"{name} = _{name}" for name in advanced
    ]


def _variables(statements: Iterable[str]) -> list[str]:
    """What statements set, each once."""
    return [*dict.fromkeys(line.split(" = ")[0] for line in statements)]


def _sums(
    system: EligibilitySystem,
    readout: ReadoutProgram,
    rate_averaging: str,
    names: dict[str, str],
    tags: Tags | None = None,
    direct: str = "",
    direct_cost: str = "",
    direct_readings: Sequence[str] = (),
) -> tuple[list[str], list[str]]:
    """From the eligibility vector to the gradient: statements of a step and of a trial's end.

    `names` are the variables of the components that there are, `direct`, `direct_cost` and
    `direct_readings` are what moves the threshold, the voltage regulariser's cost and readings
    separately.
    """
    slopes = [r.times(names[k]) for k, r in system.cost_gradient.items() if k in names]
    cost = total(*slopes, direct_cost)
    cost = f" + {VOLTAGE_SCALE}*({cost})" if cost != "0" else ""
    margin = total(*(system.spike_gradient[k].times(name) for k, name in names.items()), direct)
    step = [
        f"eligibility_trace = psi*{f'({margin})' if ' ' in margin else margin}",
        "filtered_trace = "
        + total(
            readout.trace_decay.times("filtered_trace"),
            readout.trace_gain.times("eligibility_trace"),
        ),
    ]
    traces = {"L": "filtered_trace"}
    for reading in system.readings:
        slopes = [s.times(names[k]) for k, s in reading.gradient.items() if k in names]
        slope = total(*slopes, *direct_readings[reading.number - 1 : reading.number])
        if slope == "0":
            continue
        trace = f"filtered_reading_{reading.number}"
        entering = readout.trace_gain.times(f"({slope})" if " " in slope else slope)
        step.append(f"{trace} = {total(readout.trace_decay.times(trace), entering)}")
        traces[reading.signal] = trace
    heard = " + ".join(f"{signal}*{trace}" for signal, trace in traces.items())
    if tags:
        step.append(f"tag = tag + {heard}")
        parts = (f"{direct_name(s)}*{trace}" for s, trace in traces.items() if s in tags.direct)
        heard = " + ".join(parts) or "0"
    if rate_averaging == "moving":
        step += [
            MOVING_TRACE,
            f"signal_sum = signal_sum + {heard} + rate_factor*rate_trace{cost}",
        ]
        return step, ["gradient_sum = gradient_sum + signal_sum"]
    if f"{heard}{cost}" != "0":
        step.append(f"signal_sum = signal_sum + {heard}{cost}")
    if rate_averaging == "none":
        return step, ["gradient_sum = gradient_sum + signal_sum"]
    step.append("trace_sum = trace_sum + eligibility_trace")
    if rate_averaging == "trial":
        return step, ["gradient_sum = gradient_sum + signal_sum + rate_factor*trace_sum"]
    return step, [
        "gradient_sum = gradient_sum + signal_sum",
        "batch_trace_sum = batch_trace_sum + trace_sum",
    ]


def cutoff_program(
    system: EligibilitySystem,
    readout: ReadoutProgram,
    rate_averaging: str = "trial",
    receptor: str = "",
) -> tuple[str, ...]:
    """Statements for ``skipped`` steps at once in which no gradient accumulates.

    Without a presynaptic spike and with no eligibility trace, what stands on a synapse decays by a
    constant factor a step (NEST's cut-off of the traces).

    Raises
    ------
    EquationError
        If a trace of this neuron does not decay so.
    """
    decayed = []
    placement = system.placement[receptor]
    for k in placement:
        if placement[k] == "pre":
            continue
        own = system.transition[k, k]
        others = [system.transition[k, m] for m in placement if m != k]
        path = system.spike_path[k]
        if own.name or path.name or not all(other.is_zero for other in others):
            raise EquationError(
                f"neuron '{system.step.neuron.name}'",
                f"trace of {shown(k)}",
                "a trace cut-off needs traces that decay by a constant factor, each independently; "
                "this one follows other states or changes in time",
            )
        # The trace of the last step still enters; later ones are 0.
        name = eps_name(k)
        before = total(own.times(name), path.times("eligibility_trace"))
        decayed.append(f"{name} = ({before})*({own})**(skipped - 1)")
    decayed += [
        "eligibility_trace = 0",
        f"filtered_trace = filtered_trace*({readout.trace_decay})**skipped",
    ]
    if rate_averaging == "moving":
        decayed.append("rate_trace = rate_trace*kappa_reg**skipped")
    return tuple(decayed)


@dataclass(frozen=True)
class ParameterProgram:
    """Statements of the forward program for a learned parameter of a neuron, or a synapse's delay.

    Attributes
    ----------
    variables : tuple of str
        Per neuron or synapse, zero at the start of a trial.
    step : tuple of str
        Run per neuron or synapse and step after the neurons' update.
    gradient : tuple of str
        Run at the end of a trial.
    reward : tuple of str
        With tags, run at every reward prediction error.
    """

    variables: tuple[str, ...]
    step: tuple[str, ...]
    gradient: tuple[str, ...]
    reward: tuple[str, ...] = ()


def parameter_program(
    system: EligibilitySystem,
    parameter: LearnedParameter,
    readout: ReadoutProgram,
    rate_averaging: str = "trial",
    tags: Tags | None = None,
) -> ParameterProgram:
    """Write the forward program of a learned parameter: the recursion of a synapse, one a neuron.

    The presynaptic spike's place is taken by what the parameter itself does to the states in a
    step.
    """
    drive = {k: parameter.drive[k].times("1") for k in system.components}
    threshold, cost = (c.times("1") for c in (parameter.spike_gradient, parameter.cost_gradient))
    readings = [c.times("1") for c in parameter.readings]
    direct = (threshold, cost, readings)
    return _driven(system, parameter.name, drive, readout, rate_averaging, tags, direct)


def delay_program(
    system: EligibilitySystem,
    name: str,
    readout: ReadoutProgram,
    rate_averaging: str = "trial",
    receptor: str = "",
    tags: Tags | None = None,
) -> ParameterProgram:
    """Write the forward program of the delay `name` of a synapse onto a receptor.

    The presynaptic spike's place is taken by ``drive_<name>``: the slope of what arrives in this
    step by the delay. No component is the same for all synapses of a presynaptic neuron.
    """
    drive = {k: system.drive[receptor][k].times(f"drive_{name}") for k in system.components}
    return _driven(system, name, drive, readout, rate_averaging, tags)


def _driven(
    system: EligibilitySystem,
    name: str,
    drive: Mapping[str, str],
    readout: ReadoutProgram,
    rate_averaging: str,
    tags: Tags | None,
    direct: tuple[str, str, Sequence[str]] = ("", "", ()),
) -> ParameterProgram:
    """The recursion of an eligibility vector with the given drive; its variables end in `name`."""
    names = {k: f"{eps_name(k)}_{name}" for k in system.components}
    advanced = {
        names[k]: total(
            *(system.transition[k, m].times(names[m]) for m in system.components),
            system.spike_path[k].times("eligibility_trace"),
            drive[k],
        )
        for k in system.components
    }
    filters, sums = _sums(system, readout, rate_averaging, names, tags, *direct)
    reward = REWARDED if tags else ()
    kept = _variables([*filters, *reward])
    own = {
        variable: f"{variable}_{name}" for variable in (*kept, "gradient_sum", "batch_trace_sum")
    }

    def of_parameter(statements: Iterable[str]) -> tuple[str, ...]:
        return tuple(substituted(line, own) for line in statements)

    return ParameterProgram(
        variables=(*names.values(), *(own[variable] for variable in kept)),
        step=of_parameter([*_together(advanced), *filters]),
        gradient=of_parameter(sums),
        reward=of_parameter(reward),
    )


def parameter_sums(name: str, rate_averaging: str) -> dict[str, str]:
    """Sums over trials for a learned parameter, and what shares of them are summed up in."""
    sums = {f"gradient_sum_{name}": f"gradient_total_{name}"}
    if rate_averaging == "batch":
        sums[f"batch_trace_sum_{name}"] = f"batch_trace_total_{name}"
    return sums


def lambda_name(receptor: str, *, of_traces: bool = False) -> str:
    """What the backward pass gives a receptor's synapses: ``lambda_``, if it has no name.

    Multiplied by the presynaptic spikes, it is their gradient or, `of_traces`, the sum of the
    eligibility traces.
    """
    if of_traces:
        return f"lambda_trace_{receptor}" if receptor else "lambda_trace"
    return f"lambda_{receptor}"


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
        Run for t = T-1 ... 0; reads ``L_filtered``, the same of signals that answer readings (and
        ``rate_factor``), writes the results, and adds to the sums of learned parameters.
    results : tuple of str
        `lambda_name` of every receptor and, if the sum of the traces is needed separately, what
        belongs to that.
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
    rate_averaging : {"trial", "batch", "moving"}
        As for `eprop_brian.network.spec.Network`. With ``"batch"`` the regulariser's factor is not
        known at the end of a trial, so the sum of the traces is passed back beside the gradient:
        ``lambda_trace``, for which a second set of carried variables ends in ``_trace``. With
        ``"moving"`` the factor is a history that is filtered backwards.
    """
    signal = readout.trace_gain.times("L_filtered")
    heard = [
        f"_{r.signal} = {readout.trace_gain.times(f'{r.signal}_filtered')}" for r in system.readings
    ]
    history = ["psi", *system.varying(after=False), *system.varying(after=True)]
    results = [lambda_name(receptor) for receptor in system.drive]
    filtered: list[str] = []
    if rate_averaging == "batch":
        carried, backward = _backward(system, signal, "gradient_sum")
        names = {name: f"{name}_trace" for name in carried}
        names |= {lambda_name(r): lambda_name(r, of_traces=True) for r in system.drive}
        _, trace = _backward(system, "1", "batch_trace_sum")
        backward += [substituted(line, names) for line in trace]
        carried += [names[name] for name in carried]
        results += [lambda_name(receptor, of_traces=True) for receptor in system.drive]
    elif rate_averaging == "moving":
        filtered = ["rate_filtered = kappa_reg*rate_filtered + rate_factor"]
        source = total(signal, "(1 - kappa_reg)*rate_filtered")
        carried, backward = _backward(system, source, "gradient_sum")
        carried.append("rate_filtered")
        history.append("rate_factor")
    else:
        carried, backward = _backward(system, total(signal, "rate_factor"), "gradient_sum")
    return FactoredProgram(
        history=tuple(history),
        variables=tuple(carried),
        results=tuple(results),
        backward=(*filtered, *heard, *backward),
    )


def _backward(system: EligibilitySystem, source: str, into: str) -> tuple[list[str], list[str]]:
    """Carried variables and statements for the factor `source` of the eligibility trace.

    What a learned parameter gets is added to the sum `into` of that parameter.
    """
    components = system.components
    mu = {k: f"_mu_{k}" for k in components}
    carried = {
        k: f"carry_{k}"
        for k in components
        if any(not system.transition[m, k].is_zero for m in components)
    }
    own_spike = any(not system.spike_path[k].is_zero for k in components)
    backward = [f"_g = psi*({total(source, 'carry_z' if own_spike else '')})"]
    # Cost and readings enter where the gradient is computed, not where the traces' sum is.
    cost = system.cost_gradient if into == "gradient_sum" else {}
    readings = system.readings if into == "gradient_sum" else ()
    for k in components:
        terms = [system.spike_gradient[k].times("_g"), carried.get(k, "")]
        if k in cost:
            terms.append(cost[k].times(VOLTAGE_SCALE))
        terms += [r.gradient[k].times(f"_{r.signal}") for r in readings if k in r.gradient]
        backward.append(f"{mu[k]} = {total(*terms)}")
    for receptor, drive in system.drive.items():
        terms = [drive[k].times(mu[k]) for k in components]
        backward.append(f"{lambda_name(receptor)} = {total(*terms)}")
    for parameter in system.learned.values():
        sum_name = f"{into}_{parameter.name}"
        terms = [parameter.drive[k].times(mu[k]) for k in components]
        terms.append(parameter.spike_gradient.times("_g"))
        if into == "gradient_sum":
            terms.append(parameter.cost_gradient.times(VOLTAGE_SCALE))
        terms += [parameter.readings[r.number - 1].times(f"_{r.signal}") for r in readings]
        backward.append(f"{sum_name} = {total(sum_name, *terms)}")
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
