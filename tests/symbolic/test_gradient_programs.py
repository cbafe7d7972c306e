"""Both programs compute the derivative of the neuron that runs.

The spike is made smooth: with z a sigmoid of the margin and psi its slope nothing is approximated,
so the programs must give the exact derivative of a trial's loss by the weight. That derivative is
taken by a complex step through the step map.
"""

from dataclasses import replace

import numpy as np
import pytest
import sympy
from brian2.parsing.sympytools import sympy_to_str

from eprop_brian.equations import LEAKY
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import symbol
from eprop_brian.symbolic.names import BEFORE
from eprop_brian.symbolic.programs import (
    factored_program,
    online_program,
    parameter_program,
    readout_program,
)
from eprop_brian.symbolic.step_map import step_map

DT = 1e-3
N_STEPS = 25
READOUT = {"kappa": 0.8, "zeta_out": 0.4}
#: Input weight that moves each neuron about its threshold, and the sigmoid's steepness there.
SCALES = {
    "own_adex": (1e-9, 200.0),
    "own_izhikevich": (20.0, 0.3),
    "izhikevich": (2.0, 0.1),
    **dict.fromkeys(("lif_exp", "lif_alpha", "lif_cond", "adex", "glif"), (0.5, 200.0)),
}
#: Parameters to learn of every neuron that has them: time constants, thresholds, scales.
LEARNED = (
    "tau_m",
    "tau_s",
    "tau_a",
    "tau_w",
    "beta",
    "v_th",
    "V_T",
    "i_0",
    "E_e",
    "a",
    "a_1",
    "k_1",
    "C",
    "g_L",
)


def where(condition, a, b):
    """The choice between the two, made smooth as the spike is."""
    return b + (a - b) * condition


FUNCTIONS = {
    **{"e": np.e, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs, "sign": np.sign},
    "where": where,
}
#: The derivative is in the imaginary part.
MODULES = [{"Detached": np.real, "where": where}, "numpy"]


def run(statements, values):
    for statement in statements:
        name, text = statement.split(" = ", 1)
        values[name] = eval(text, {"__builtins__": {}}, {**FUNCTIONS, **values})


class SmoothTrial:
    """One neuron, one synapse, random input; refractory in some steps where the neuron is."""

    def __init__(self, system, seed=1):
        self.system = system
        step = system.step
        rng = np.random.default_rng(seed)
        self.pre = rng.random(N_STEPS) < 0.4
        self.error = rng.standard_normal(N_STEPS)
        self.active = np.ones(N_STEPS)
        self.active[8:11] = 0.0
        self.receptive = np.ones(N_STEPS)
        self.receptive[7:10] = 0.0
        self.rate_factor = 0.3
        self.weight, self.steepness = SCALES.get(step.neuron.name, (0.7, 3.0))
        self.values = {**step.values(DT), "dt": DT}
        self.compile(self.values)
        run(
            [f"{n} = {x}" for p in system.learned.values() for n, x in p.slopes.items()],
            self.values,
        )
        self.spikes = np.zeros(N_STEPS)
        self.states = []
        self.run(self.weight)

    def compile(self, values):
        """The step map as functions, with these values of parameters and constants."""
        step = self.system.step
        names = [*step.states, "I", "z", "z_detached", "not_refractory", BEFORE]
        symbols = [symbol(name) for name in names]
        constants = {symbol(k): v for k, v in values.items()}
        self.advance = {
            k: sympy.lambdify(symbols, x.subs(constants), MODULES) for k, x in step.composed.items()
        }
        self.margin = sympy.lambdify(symbols[: len(step.states)], step.margin.subs(constants))

    def run(self, weight):
        """The trial's loss; the detached spike is the recorded one, whatever the weight."""
        h = list(self.system.step.initial_values(DT).values())
        z, y, loss, recorded = 0.0, 0.0, 0.0, not self.states
        for t in range(N_STEPS):
            detached = z if recorded else (self.spikes[t - 1] if t else 0.0)
            current = weight * self.pre[t]
            if recorded:
                self.states.append(h)
            seen = self.active[t], self.receptive[t]
            h = [f(*h, current, z, detached, *seen) for f in self.advance.values()]
            z = 1 / (1 + np.exp(-self.steepness * self.margin(*h)))
            if recorded:
                self.spikes[t] = z
            y = READOUT["kappa"] * y + READOUT["zeta_out"] * z
            loss = loss + self.error[t] * y + self.rate_factor * z
        return loss

    def exact(self):
        """Derivative of the loss by a complex step."""
        size = 1e-30 * self.weight
        return self.run(self.weight + 1j * size).imag / size

    def exact_by_parameter(self, name):
        """Derivative by a parameter of the neuron, likewise."""
        step = self.system.step
        size = 1e-30 * (abs(float(step.parameters[name])) or 1.0)
        values = {**step.parameters, name: step.parameters[name] + 1j * size, "dt": DT}
        run([f"{constant} = {text}" for constant, text in step.constants.items()], values)
        self.compile(values)
        derivative = self.run(self.weight).imag / size
        self.compile(self.values)
        return derivative

    def step_values(self, t):
        """What a program reads in step t: parameters, psi and the coefficients."""
        step, system = self.system.step, self.system
        values = {**self.values, **READOUT, "pre": float(self.pre[t]), "L": self.error[t]}
        old = dict(zip(step.states, self.states[t], strict=True))
        z = self.spikes[t - 1] if t else 0.0
        seen = {"not_refractory": self.active[t], BEFORE: self.receptive[t]}
        old |= {"z": z, "I": self.weight * self.pre[t], **seen}
        coefficients = dict(old) | self.values
        run(
            [f"{n} = {sympy_to_str(x)}" for n, x in system.varying(after=False).items()],
            coefficients,
        )
        new = {
            k: f(*self.states[t], old["I"], z, z, *seen.values()) for k, f in self.advance.items()
        }
        coefficients |= new
        run(
            [f"{n} = {sympy_to_str(x)}" for n, x in system.varying(after=True).items()],
            coefficients,
        )
        varying = {*system.varying(after=False), *system.varying(after=True)}
        psi = self.steepness * self.spikes[t] * (1 - self.spikes[t])
        return values | {name: coefficients[name] for name in varying} | {"psi": psi}

    def online(self, readout):
        program = online_program(self.system, readout)
        state = dict.fromkeys([*program.pre_variables, *program.synapse_variables], 0.0)
        for t in range(N_STEPS):
            values = self.step_values(t) | state
            run([*program.pre, *program.synapse], values)
            state = {name: values[name] for name in state}
        return state["signal_sum"] + self.rate_factor * state["trace_sum"]

    def online_by_parameter(self, name, readout):
        program = parameter_program(self.system, self.system.learned[name], readout)
        state = dict.fromkeys(program.variables, 0.0)
        for t in range(N_STEPS):
            values = self.step_values(t) | state
            run(program.step, values)
            state = {variable: values[variable] for variable in state}
        total = {f"gradient_sum_{name}": 0.0, "rate_factor": self.rate_factor} | state
        run(program.gradient, total)
        return total[f"gradient_sum_{name}"]

    def factored(self, readout, rate_averaging="trial"):
        program = factored_program(self.system, readout, rate_averaging)
        state = dict.fromkeys([*program.variables, "filtered_error", "filtered_signal"], 0.0)
        # What a parameter learns is summed on the way.
        state |= {f"gradient_sum_{name}": 0.0 for name in self.system.learned}
        sums = dict.fromkeys(program.results, 0.0)
        for t in reversed(range(N_STEPS)):
            values = self.step_values(t) | state | {"error": self.error[t], "signal": self.error[t]}
            run(readout.backward, values)
            values |= {"L_filtered": values["filtered_signal"], "rate_factor": self.rate_factor}
            run(program.backward, values)
            state = {name: values[name] for name in state}
            sums = {name: total + values[name] * self.pre[t] for name, total in sums.items()}
        return sums | {name: value for name, value in state.items() if "gradient_sum" in name}


@pytest.mark.parametrize("detach", [None, ()], ids=["reset detached", "all paths"])
def test_programs_give_the_exact_derivative(any_neuron, detach, leaky):
    trial = SmoothTrial(derive(step_map(replace(any_neuron, detach=detach))))
    exact = trial.exact()
    assert 0.01 < trial.spikes.mean() < 0.99
    assert exact != 0
    assert trial.online(leaky) == pytest.approx(exact, rel=1e-9)
    assert trial.factored(leaky)["lambda_"] == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("detach", [None, ()], ids=["reset detached", "all paths"])
def test_learned_parameters_get_the_exact_derivative(any_neuron, detach, leaky):
    neuron = replace(any_neuron, detach=detach)
    names = [name for name in LEARNED if name in neuron.parameters]
    trial = SmoothTrial(derive(step_map(neuron), learned=tuple(names)))
    both = trial.factored(leaky)
    for name in names:
        exact = trial.exact_by_parameter(name)
        assert exact != 0
        found = trial.online_by_parameter(name, leaky), both[f"gradient_sum_{name}"]
        assert found == pytest.approx((exact, exact), rel=1e-9, abs=0), name
    # The weight's derivative is what it is without them.
    assert both["lambda_"] == pytest.approx(trial.exact(), rel=1e-9)


def test_detached_path_matters(cuba, leaky):
    """The exact derivative of the whole neuron is another one."""
    detached = SmoothTrial(derive(step_map(cuba)))
    whole = SmoothTrial(derive(step_map(replace(cuba, detach=()))))
    assert abs(detached.exact() / whole.exact() - 1) > 1e-3


def test_sum_of_the_traces_can_be_passed_back_separately(any_system, leaky):
    trial = SmoothTrial(any_system)
    both = trial.factored(leaky, rate_averaging="batch")
    together = both["lambda_"] + trial.rate_factor * both["lambda_trace"]
    assert together == pytest.approx(trial.exact(), rel=1e-9)


def test_trace_gain_of_the_readout_is_an_option(lif_brian2):
    """NEST filters the traces with 1 - kappa whatever the readout does with its input."""
    system = derive(step_map(lif_brian2))
    own, nest = readout_program(LEAKY), readout_program(replace(LEAKY, trace_gain="1 - kappa"))
    assert str(own.trace_gain) == str(nest.gain) == "zeta_out"
    trial = SmoothTrial(system)
    trial.rate_factor = 0.0
    ratio = (1 - READOUT["kappa"]) / READOUT["zeta_out"]
    assert trial.online(nest) == pytest.approx(ratio * trial.online(own), rel=1e-12)
    assert trial.factored(nest)["lambda_"] == pytest.approx(trial.online(nest), rel=1e-12)
    with pytest.raises(EquationError, match=r"'kapa' is not defined \(did you mean 'kappa'\?\)"):
        readout_program(replace(LEAKY, trace_gain="1 - kapa"))


def test_filter_of_the_readout(leaky):
    assert leaky.backward == (
        "filtered_error = kappa*filtered_error + error",
        "filtered_signal = kappa*filtered_signal + signal",
    )
    assert leaky.pre_trace == ("eps_y = kappa*eps_y + zeta_out*pre",)
