"""From a `Network` to Brian2 objects and one fused step.

Every array of the network belongs to a Brian2 `NeuronGroup` (neurons, synapses, histories alike),
so that monitors, `state(...)` and a standalone program's arguments work on all of them. What
happens in a time step is a set of blocks (`eprop_brian.network.blocks`) that one code object runs,
in the order of the device's ``step`` template.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from brian2 import Network as Brian2Network
from brian2.groups.group import Group
from brian2.utils.stringtools import get_identifiers

from eprop_brian.equations.learning_signals import LEARNING_SIGNAL, TRANSMITTED
from eprop_brian.equations.regularizers import FIRING_RATE, L2, MOVING_RATE, MOVING_RATE_FACTOR
from eprop_brian.network.blocks import StepCode, View, repeat, stored_name
from eprop_brian.network.built import (
    NEVER,
    SHARE,
    BuiltNetwork,
    Capacity,
    dependent_constants,
)
from eprop_brian.network.checks import PROGRAMS
from eprop_brian.network.graph import Connection, Population, SignalConnection
from eprop_brian.network.groups import NetworkGroups
from eprop_brian.network.optimization import update_statements
from eprop_brian.network.projection import Projection
from eprop_brian.network.resolved import Resolved, as_resolved
from eprop_brian.network.runner import StepRunner
from eprop_brian.network.spec import Network
from eprop_brian.steps.layout import MOST_STEPS, STAGES, Layout
from eprop_brian.symbolic.coefficients import LIMITS
from eprop_brian.symbolic.expressions import total
from eprop_brian.symbolic.names import BEFORE, owned, substituted
from eprop_brian.symbolic.programs import cutoff_program, parameter_sums

__all__ = ["build"]

#: Largest 1/p of a softmax probability: keeps log(p) finite in float32 too.
_LARGEST_INVERSE_P = "1e30"
#: Spikes whose rows of synapses a compiled loop goes through together.
SPIKES_AT_ONCE = 4


def build(
    network: Network | Resolved,
    capacity: Capacity,
    codeobj_class: type,
    dtype: type = np.float64,
    layout: Layout | None = None,
) -> BuiltNetwork:
    """Make the Brian2 objects of a network for the active device.

    Parameters
    ----------
    network : Network
    capacity : Capacity
    codeobj_class : type
        Code object class whose templates include ``step``.
    dtype : type
        Float type of all state.
    layout : Layout, optional

    Raises
    ------
    ValueError
        If the network is too large for one program.
    """
    network = as_resolved(network)
    if capacity.learning and network.gradient not in PROGRAMS:
        raise ValueError(
            f"gradient = '{network.gradient}' is no program of a device, which has "
            f"{' and '.join(PROGRAMS)}; a Trainer runs it"
        )
    layout = layout or Layout()
    _check_sizes(network, capacity, layout)
    return _Builder(network, capacity, codeobj_class, dtype, layout).build()


def _check_sizes(network: Resolved, capacity: Capacity, layout: Layout) -> None:
    """Compiled loops index arrays with 32 bits."""
    width, steps = max(layout.width(p.size) for p in network.populations), capacity.n_steps
    sizes = {
        f"{width} neurons x {steps} steps": width * steps,
        f"{network.n_inputs} inputs x {steps} steps": network.n_inputs * steps,
        f"{capacity.n_targets} targets of {capacity.target_steps} steps": capacity.n_targets
        * capacity.target_steps
        * network.n_outputs,
    }
    if capacity.analog:
        n_values = capacity.n_patterns * network.n_inputs * steps
        sizes[f"{capacity.n_patterns} patterns of {network.n_inputs} analog inputs"] = n_values
    for c in network.connections:
        n_pre = c.shape[1]
        if c.adjacency is not None:
            sizes[f"the synapses of {c.name}"] = c.adjacency.nnz
        else:
            sizes[f"{n_pre} x {width} synapses"] = n_pre * width
    for what, size in sizes.items():
        if size >= 2**31:
            raise ValueError(f"{what} are too many for one program: {size} numbers, at most 2^31")


def _views(sides: Iterable[tuple[Group, str, Iterable[str]]]) -> list[View]:
    """Views of the sides that `repeat` takes, for the statements once."""
    return [View(group, index, {name: name for name in names}) for group, index, names in sides]


class _Builder(NetworkGroups):
    """Writes the blocks of a network's step, and the plan that a device's template follows."""

    def __init__(
        self, network: Resolved, capacity: Capacity, codeobj_class, dtype, layout: Layout
    ) -> None:
        super().__init__(network, capacity, dtype, layout)
        self.codeobj_class = codeobj_class
        self.code = StepCode()
        (self.readout,), (self.signal,) = network.readouts, network.signals

    def build(self) -> BuiltNetwork:
        network = self.network
        plan = {
            "n_steps": self.capacity.n_steps,
            "target_steps": self.capacity.target_steps,
            "n_words": -(-network.n_inputs // 32),
            "analog": self.capacity.analog,
            "share": SHARE,
            "spikes_at_once": SPIKES_AT_ONCE,
            "profile": self.layout.profile,
            "stages": STAGES,
            "real": "float" if self.dtype == np.float32 else "double",
            "learning": self.learning,
            "online": self.online,
            "steps_per_pass": self.steps_per_pass,
            "window_rows": self.window_rows,
            "later_rows": self.later_rows,
            "signal_rows": self.signal_rows,
            "lag": self.lag,
            "continuous": network.continuous,
            "updates": network.updates,
            "cutoff": network.trace_cutoff_steps,
            "never": NEVER,
            "rate_per_batch": self.rate_per_batch,
            "softmax": self.readout.loss.softmax,
            "periods": self.periods,
            "n_answers": max(1, self.capacity.n_answers),
            **self._plan_clipping(),
            **self._plan_profile(),
            "control": {
                v: self.code.array(self.control, v)
                for v in (*self.control_integers, *["k"] * self.learning)
            },
            "data": {
                "inputs": self.code.array(
                    self.groups["input_data"], "x" if self.capacity.analog else "words"
                ),
                "pattern": self.code.array(self.groups["trials"], "pattern"),
                "target": self.code.array(self.groups["trials"], "target"),
                "spike_count": self.code.array(self.groups["trials"], "spike_count"),
                "output": self.code.array(self.groups["answers"], "output", "0"),
                **self._plan_periods(),
            },
            "inputs": self._spiking_plan("inputs", network.n_inputs),
            "readout": self._plan_readout(),
            "populations": [self._plan_population(p) for p in network.populations],
            "projections": [self._plan_projection(p) for p in self.projections],
            "feedback": [self._plan_feedback(f) for f in self.feedback],
        }
        runner = StepRunner(self.control, self.code, plan, self.codeobj_class)
        objects = [*self.groups.values(), runner]
        return BuiltNetwork(
            network=network,
            capacity=self.capacity,
            brian2_network=Brian2Network(objects, name="network_"),
            groups=self.groups,
            projections=self.projections,
            feedback=self.feedback,
            carried=self._carried() if network.continuous else {},
        )

    def _plan_profile(self) -> dict[str, Any]:
        if not self.layout.profile:
            return {}
        return {"seconds": self.code.array(self.groups["profile"], "seconds")}

    def _plan_periods(self) -> dict[str, Any]:
        if not self.periods:
            return {}
        return {"period": self.code.array(self.groups["period_data"], "period", "0")}

    def _plan_clipping(self) -> dict[str, Any]:
        if self.network.clip_norm is None or not self.learning:
            return {}
        names = ("clip_norm", "clip_factor")
        return {name: self.code.array(self.control, name) for name in names}

    def _carried(self) -> dict[str, float]:
        """What continuous operation hands from one call to the next, and its value at the start.

        Not the states of the neurons, which start from values of their own.
        """
        carried = {"control.clock": 0.0, "readout.y": 0.0}
        for name, system in self.systems.items():
            zero = ["z", "refractory_counter"]
            carried |= {self._key(name, variable): 0.0 for variable in (*system.step.states, *zero)}
            if self.later_rows:
                carried |= self._whole(f"{name}_later")
        if self.learning:
            carried |= self._carried_learning()
        return carried

    def _carried_learning(self) -> dict[str, float]:
        """The same of what learns."""
        carried = {"control.k": 0.0, **self._whole("readout_window")}
        for population in self.network.populations:
            carried[self._key(population.name, "moving_rate")] = 0.0
            carried |= self._whole(f"{population.name}_window")
        if self.signal_rows:
            carried |= self._whole("earlier_history")
        for p in self.projections:
            carried |= self._whole(f"{p.name}_pre_window")
            carried |= {
                self._key(p.pre_group.name, name): NEVER if name == "since" else 0.0
                for name in (*self._trace_variables(p.target)[0], "since", "updates")
            }
            carried |= {self._key(p.name, name): 0.0 for name in self._trace_variables(p.target)[1]}
        return carried

    def _whole(self, store: str) -> dict[str, float]:
        return {self._key(store, name): 0.0 for name in self.groups[store].names}

    def _key(self, group: str, variable: str) -> str:
        return f"{group}.{stored_name(self.groups[group], variable)}"

    # --- blocks and the plan the template follows ---------------------------------------------

    def _spiking_plan(self, name: str, size: int) -> dict[str, Any]:
        group = self.groups[name]
        return {
            "name": name,
            "n": size,
            "width": self.layout.width(size),
            "z": self.code.array(group, "z"),
            "spikespace": self.code.array(group, "_spikespace", "0"),
            "spikes": self.code.array(self.groups[f"{name}_spikes"], "neuron"),
            "first": self.code.array(self.groups[f"{name}_offsets"], "first"),
        }

    def _plan_population(self, population: Population) -> dict[str, Any]:
        group, system = self.groups[population.name], self.systems[population.name]
        step, name = system.step, population.name
        own, control = View(group, "_neuron"), View(self.control, "0")
        code = self.code

        # Neurons that are never refractory are spared the counting.
        refractory = bool(np.any(population.system.step.refractory_steps(float(self.network.dt))))
        count = "refractory_counter = "
        limits = LIMITS[np.dtype(self.dtype).itemsize]
        before, after = (
            system.varying_code(after=after, limits=limits) if self.learning else []
            for after in (False, True)
        )
        entering = []
        if BEFORE in get_identifiers("\n".join(step.code)):
            entering = [f"{BEFORE} = (1.0 - z)*int(refractory_counter < 0.5)"]
        update = [
            *entering,
            *([f"{count}(refractory_counter - 1)*int(refractory_counter > 0.5)"] * refractory),
            *before,
            *step.code,
            *([f"psi = {step.psi}"] * self.learning),
            f"z = not_refractory*int({step.threshold})",
            *after,
            *([f"{count}refractory_counter + z*refractory_steps"] * refractory),
            "I = 0",
        ]
        # In place, not by a name: Brian2 would make it a 64-bit integer, which vectors do not like.
        active = {"not_refractory": "int(refractory_counter < 0.5)" if refractory else "1"}
        update = [substituted(line, active) for line in update]
        arriving: list[View] = []
        if self.later_rows:
            update = ["I = I + I_later", "I_later = 0", *update]
            arriving = [View(self.groups[f"{name}_later"], "_arriving")]
        if self.moving_rate:
            update += [MOVING_RATE, MOVING_RATE_FACTOR]
        zeroed = ["spike_count"]
        reset = []
        if not self.network.continuous:
            zeroed += [
                *("I", "z"),
                *["psi", "L"] * self.learning,
                "refractory_counter",
                *["moving_rate"] * self.moving_rate,
            ]
            reset = [f"{s} = {s}_initial" for s in step.states]
        reset += [f"{v} = 0" for v in zeroed]
        plan = self._spiking_plan(name, population.size)
        if self.later_rows:
            plan["later"] = code.array(self.groups[f"{name}_later"], "I_later", "0")
        plan["learned"] = bool(population.learned)
        if population.learned:
            plan |= self._plan_learned(population)
        if self.online or not self.learning:
            plan["advance"] = code.block(f"advance_{name}", update, *arriving, own, control)
        else:
            program = self._factored(population)
            history = View(
                self.groups[f"{name}_history"], "_history", {n: n for n in program.history}
            )
            plan["advance"] = code.block(
                f"advance_{name}", update, *arriving, history, own, control
            )
            # For whoever looks at the neurons in mid-trial.
            plan["show"] = code.block(
                f"show_{name}",
                [f"{n}_shown = {n}" for n in program.history],
                View(group, "_neuron", {f"{n}_shown": n for n in program.history}),
                history,
            )
        plan["reset"] = code.block(f"reset_{name}", reset, own)
        plan["spike_count"] = code.array(group, "spike_count")
        if not self.learning:
            return plan
        count = "batch_spike_count" if self.rate_per_batch else "spike_count"
        mean_count = View(group, "_neuron", {"rate_factor": "rate_factor", "spike_count": count})
        mean = ["spike_count = spike_count/batch_size"] if self.rate_per_batch else []
        cleared = ["spike_count = 0"] if self.rate_per_batch else []
        if not self.moving_rate:
            plan["rate"] = code.block(
                f"rate_{name}",
                [*mean, f"rate_factor = {FIRING_RATE}", *cleared],
                mean_count,
                control,
            )
        if self.rate_per_batch:
            plan["zero_sums"] = code.block(f"zero_sums_{name}", ["batch_spike_count = 0"], own)
            plan["tally"] = code.block(
                f"count_{name}", ["batch_spike_count = batch_spike_count + spike_count"], own
            )
        if self.online:
            plan["window"] = self._plan_window(name)
            plan["window_signal"] = code.block(
                f"window_signal_{name}",
                ["L_stored = L"],
                View(self.groups[f"{name}_window"], "_window", {"L_stored": "L"}),
                own,
            )
            plan["window_L"] = code.array(self.groups[f"{name}_window"], "L", "0")
            return plan
        plan["tile"] = self._tile(population)
        # Signals that are delayed arrive one by one, and are filtered where they arrive.
        delayed = plan["signal_delayed"] = self.signal.delay_steps is not None
        zeroed = [*program.variables, *["L_filtered"] * delayed]
        plan["zero"] = code.block(f"zero_{name}", [f"{v} = 0" for v in zeroed], own)
        # The learning signal of the first outputs comes without a way over memory.
        fused = plan["fused_outputs"] = 0 if delayed else min(self.network.n_outputs, MOST_STEPS)
        signal = "0" if fused == self.network.n_outputs else "L_filtered"
        for k in range(fused):
            names = {"B": f"_B_{k}", "signal": f"_filtered_signal_{k}"}
            signal = f"({signal}) + {substituted(TRANSMITTED, names)}"
        _, outputs = repeat(
            [],
            fused,
            (self.groups[f"readout_to_{name}"], "_synapse", ("B",)),
            (self.groups["readout_history"], "_output", ("filtered_signal",)),
        )
        filtered = []
        if delayed:
            decayed = self.readout_program.trace_decay.times("L_filtered")
            filtered = [f"L_filtered = {total(decayed, 'L')}"]
        backward = [substituted(x, {"L_filtered": "_signal"}) for x in program.backward]
        plan["backward"] = code.block(
            f"backward_{name}",
            [*filtered, f"_signal = {signal}", *backward],
            *outputs,
            history,
            self._results(name),
            own,
            View(self.groups["readout"], "0"),
            control,
        )
        plan["signal"] = code.array(group, "L" if delayed else "L_filtered")
        plan["results"] = [
            code.array(self.groups[f"{name}_results"], result, "0") for result in program.results
        ]
        return plan

    def _plan_learned(self, population: Population) -> dict[str, Any]:
        """Blocks of a population's learned parameters."""
        code, network, optimizer = self.code, self.network, self.network.optimizer
        group, name = self.groups[population.name], population.name
        system, step = self.systems[name], self.systems[name].step
        neurons, control = View(group, "_neuron"), View(self.control, "0")
        changing = owned(dependent_constants(population)).values()
        derived = [f"{constant} = {step.constants[constant]}" for constant in changing]
        if not self.learning:
            return {"refresh": code.block(f"refresh_{name}", derived, neurons, control)}
        names = self.optimizer_names
        statements = self._optimizer_statements()
        update, zero_sums, fold = [], [], []
        for parameter in system.learned:
            sums = parameter_sums(parameter, network.rate_averaging)
            cleared = [f"{x} = 0" for pair in sums.items() for x in pair]
            zero_sums += cleared
            fold += [line for x, t in sums.items() for line in (f"{t} = {t} + {x}", f"{x} = 0")]
            summed = [f"({x} + {t})" for x, t in sums.items()]
            gradient = summed[0]
            if self.rate_per_batch:
                gradient = f"({gradient} + rate_factor*{summed[1]})"
            of_parameter = {
                "w": f"scaled_{parameter}",
                "g": f"(scale_{parameter}*gradient_{parameter})",
                names.get("eta", ""): f"eta_{parameter}",
                # Bounds of weights mean nothing to a parameter, which has its own.
                names.get("w_min", ""): f"minimum_{parameter}",
                names.get("w_max", ""): f"maximum_{parameter}",
                **{names[state]: f"{names[state]}_{parameter}" for state in optimizer.states},
            }
            scaled = f"scaled_{parameter}"
            update += [
                f"gradient_{parameter} = gradient_scale*{gradient}/batch_size",
                *cleared,
                # Anew in every update: rounding is then the same however many calls there are.
                f"{scaled} = {parameter}/scale_{parameter}",
                *(substituted(x, of_parameter) for x in statements),
                f"{scaled} = clip({scaled}, minimum_{parameter}, maximum_{parameter})",
                f"{parameter} = scale_{parameter}*{scaled}",
            ]
        for parameter in system.learned.values():
            derived += [f"{slope} = {text}" for slope, text in parameter.slopes.items()]
        plan = {
            # At the start of a trial alone: another loop might round them in another way.
            "refresh": code.block(f"refresh_{name}", derived, neurons, control),
            "learn": code.block(f"learn_{name}", update, neurons, control),
            "zero_learned": code.block(f"zero_learned_{name}", zero_sums, neurons),
            "fold": code.block(f"fold_{name}", fold, neurons),
        }
        if self.online:
            programs = [self._parameter(population, p) for p in system.learned]
            variables = [f"{v} = 0" for program in programs for v in program.variables]
            window = self.groups[f"{name}_window"]
            plan["parameter_trace"] = code.block(
                f"parameter_trace_{name}",
                [line for program in programs for line in program.step],
                View(window, "_window", {n: n for n in window.names}),
                neurons,
                self._readout_view(),
                control,
            )
            plan["parameter_gradient"] = code.block(
                f"parameter_gradient_{name}",
                [line for program in programs for line in program.gradient],
                neurons,
            )
            plan["parameter_zero"] = code.block(f"parameter_zero_{name}", variables, neurons)
        return plan

    def _optimizer_statements(self) -> list[str]:
        optimizer = self.network.optimizer
        return [substituted(x, self.optimizer_names) for x in update_statements(optimizer)]

    def _readout_view(self) -> View:
        """The readout's parameters, where a synapse or neuron reads them."""
        names = self.readout_names[self.readout.name].values()
        return View(self.groups["readout"], "0", {name: name for name in names})

    def _of_readout(self, code: str) -> str:
        """An equation that may read the readout's parameters."""
        return substituted(code, self.readout_names[self.readout.name])

    def _plan_window(self, target: str) -> str:
        """The block that keeps what the traces read, for the next pass over the synapses."""
        # The learning signal of a step may come later, see `window_signal`.
        stored = {f"{name}_stored": name for name in self.signals(target) if name != "L"}
        return self.code.block(
            f"window_{target}",
            [f"{stored_name} = {name}" for stored_name, name in stored.items()],
            View(self.groups[f"{target}_window"], "_window", stored),
            View(self.groups[target], "_neuron"),
        )

    def _results(self, population: str) -> View:
        return View(self.groups[f"{population}_results"], "_tile")

    def _plan_readout(self) -> dict[str, Any]:
        network, code = self.network, self.code
        group, loss = self.groups["readout"], self.readout.loss
        own, control = View(group, "_neuron"), View(self.control, "0")
        kept = {"record": "y"}
        if self.learning:
            kept = {"stored_error": "error", "stored_signal": "signal"}
        history = View(self.groups["readout_history"], "_history", kept)
        errors = [name for name in kept.values() if self.learning]
        plan: dict[str, Any] = {
            "n": network.n_outputs,
            "width": network.n_outputs,
            "errors": [code.array(history.group, name) for name in errors],
        }
        if "earlier_history" in self.groups:
            plan["earlier"] = code.array(self.groups["earlier_history"], "signal", "0")
        advance = [self._of_readout(self.readout.readout.update), "I = 0", "softmax_sum = 0"]
        if not self.learning:
            advance.append("record = y")
        plan["advance"] = code.block("advance_readout", advance, history, own, control)
        if loss.softmax:
            n = network.n_outputs
            plan["pairs"] = {"n_pre": n, "width": n, "sparse": False}
            plan["softmax"] = code.block(
                "softmax",
                ["softmax_sum = softmax_sum + exp(y_other - y)"],
                View(group, "_pre", {"y_other": "y"}),
                View(group, "_post"),
            )
            plan["probability"] = code.block(
                "probability",
                [f"p = 1/clip(softmax_sum, {self._least_inverse_p()}, {_LARGEST_INVERSE_P})"],
                own,
            )
        sample = View(self.groups["target_data"], "_sample")
        if loss.coupling:
            coupling = [f"coupling = {self._of_readout(loss.coupling)}", "coupled = 0"]
            plan["couple"] = code.block("couple", coupling, sample, own, control)
            plan["coupled"] = code.block(
                "coupled",
                ["coupled = coupled + coupling_other"],
                View(group, "_pre", {"coupling_other": "coupling"}),
                View(group, "_post"),
            )
        signalled = [
            f"signal = {self._of_readout(self.signal.feedback.signal)}",
            "stored_error = error",
            "stored_signal = signal",
        ] * self.learning
        plan["loss"] = code.block(
            "loss",
            [
                f"error = {self._of_readout(loss.error)}",
                f"loss_sum = loss_sum + {self._of_readout(loss.loss)}",
                f"output = output + {loss.signal}",
                *signalled,
            ],
            sample,
            View(self.groups["answers"], "_answered", {"output": "output"}),
            history,
            own,
            control,
        )
        if self.periods:
            silent = ["error = 0", *["signal = 0"] * self.learning]
            plan["silent"] = code.block("silent", silent, own)
        variables = ["error", *["signal"] * self.learning, "loss_sum"]
        if not network.continuous:
            variables += ["I", "y"]
        plan["reset"] = code.block("reset_readout", [f"{v} = 0" for v in variables], own)
        if self.learning:
            self._plan_readout_learning(plan, own)
        plan["outcome"] = code.block(
            "outcome",
            ["loss = loss_sum"],
            View(self.groups["outcomes"], "_record"),
            own,
        )
        return plan

    def _least_inverse_p(self) -> str:
        """The least 1/p of a softmax probability."""
        if not self.readout.loss.open_at_one:
            return "1"
        return repr(float(1 + np.finfo(self.dtype).eps))

    def _plan_readout_learning(self, plan: dict[str, Any], own: View) -> None:
        """What traces read of the readouts, and the errors' way backwards."""
        code = self.code
        if self.online:
            plan["window"] = self._plan_window("readout")
        filtered = ("filtered_error", "filtered_signal")
        plan["zero"] = code.block("zero_readout", [f"{name} = 0" for name in filtered], own)
        plan["backward"] = code.block(
            "backward_readout",
            [*self.readout_program.backward, *(f"stored_{name} = {name}" for name in filtered)],
            View(
                self.groups["readout_history"],
                "_history",
                {
                    **{name: name for name in ("error", "signal")},
                    **{f"stored_{name}": name for name in filtered},
                },
            ),
            own,
        )

    def _plan_projection(self, p: Projection[Connection]) -> dict[str, Any]:
        code, own = self.code, View(p.group, "_synapse")
        target = self.groups[p.target]
        post, control = View(target, "_post"), View(self.control, "0")
        kind = p.connection.kind
        plan: dict[str, Any] = {
            "kind": kind,
            "source": p.source,
            "target": p.target,
            **self._plan_rows(p),
            # A recurrent spike acts in the next step at the earliest, an input spike in its own.
            "delay": self.lag if kind == "readout" else p.connection.least_delay,
            # Rows of the history of errors that come before the first step's.
            "first_row": self.signal_rows if kind == "readout" else 0,
            "analog": self.is_analog(p),
        }
        arriving, values = "w", []
        if self.is_analog(p):
            arriving, values = "w*z", [(self.groups[p.source], "_pre", ("z",))]
        if self.is_delayed(p):
            steps = p.connection.delay_steps
            plan["extra"] = (
                f"{self.code.array(p.group, 'delay', '_synapse')}"
                if np.ndim(steps)
                else int(steps) - p.connection.least_delay
            )
            later = View(self.groups[f"{p.target}_later"], "_later")
            deliver = [f"I_later = I_later + {arriving}"]
            plan["deliver"] = code.block(f"deliver_{p.name}", deliver, *_views(values), later, own)
        else:
            deliver = [f"I = I + {arriving}"]
            plan["deliver"] = code.block(f"deliver_{p.name}", deliver, *_views(values), post, own)
            sides = [(p.group, "_synapse", ("w",)), *values]
            lines, several = repeat(deliver, SPIKES_AT_ONCE, *sides)
            plan["deliver_several"] = code.block(f"deliver_several_{p.name}", lines, *several, post)
        if not self.learning:
            return plan
        plan["pre_rows"] = self.pre_rows(p.connection) if self.is_delayed(p) else self.window_rows
        self._plan_optimize(p, plan, control)
        if self.online:
            self._plan_online(p, plan, post, control)
        else:
            self._plan_factored(p, plan, post, control)
        return plan

    def _plan_optimize(self, p: Projection[Connection], plan, control: View) -> None:
        """The update of a synapse, and the sums over the trials of a batch that it is made of."""
        code, own = self.code, View(p.group, "_synapse")
        views = [View(p.group, "_synapse", {"g": "gradient"}), own]
        l2 = f" + {L2}" if self.network.c_l2 else ""
        if self.network.continuous:
            sums = ["signal_sum"]
            gradient = [f"gradient = gradient_scale*signal_sum{l2}", "signal_sum = 0"]
            if self.network.updates == "spike":
                # All synapses of a presynaptic neuron have had the same number of updates.
                views.append(View(p.pre_group, "_pre", {"k": "updates"}))
        else:
            totals = {"gradient_total": "gradient_sum"}
            summed = "(gradient_total + gradient_sum)"
            if self._has_rate_term(p):
                totals["batch_trace_total"] = "batch_trace_sum"
                summed = f"({summed} + rate_factor*(batch_trace_total + batch_trace_sum))"
                views.append(View(self.groups[p.target], "_post", {"rate_factor": "rate_factor"}))
            sums = sorted({*totals, *totals.values()})
            cleared = [f"{name} = 0" for name in sums]
            gradient = [f"gradient = gradient_scale*{summed}/batch_size{l2}", *cleared]
            plan["zero_sums"] = code.block(f"zero_sums_{p.name}", cleared, own)
            plan["fold"] = code.block(
                f"fold_{p.name}",
                [line for t, x in totals.items() for line in (f"{t} = {t} + {x}", f"{x} = 0")],
                own,
            )
        if not p.autapses and not p.sparse:
            # Of a dense projection onto itself, what must stay 0, before an update and after it.
            plan["no_autapses"] = {
                "before": [code.array(p.group, name, "_synapse") for name in sums],
                "after": [code.array(p.group, "w", "_synapse")],
            }
        if self.network.clip_value is not None:
            gradient.append("gradient = clip(gradient, -clip_value, clip_value)")
        if self.network.clip_norm is not None:
            # The norm is known when all gradients are.
            plan["measure"] = code.block(f"measure_{p.name}", gradient, *views, control)
            plan["gradient_array"] = code.array(p.group, "gradient", "_synapse")
            gradient = ["gradient = clip_factor*gradient"]
        optimizer = self._optimizer_statements()
        feedback = self.signal.feedback
        if p.target == "readout" and feedback.update.strip():
            numbers = {k: f"({float(v)!r})" for k, v in feedback.parameters.items()}
            optimizer = [
                "w_before = w",
                *optimizer,
                "increment = w - w_before",
                *(substituted(x, numbers) for x in feedback.update.strip().split("\n")),
            ]
            views.append(View(self.groups[f"readout_to_{p.source}"], "_feedback", {"B": "B"}))
            plan["feedback_width"] = self.layout.width(p.n_pre)
        plan["optimize"] = code.block(
            f"optimize_{p.name}", [*gradient, *optimizer], *views, control
        )

    def _has_rate_term(self, p: Projection[Connection]) -> bool:
        """Whether the regulariser's part of the gradient waits for the end of the batch."""
        return self.rate_per_batch and p.target != "readout"

    def _plan_factored(self, p: Projection[Connection], plan, post: View, control: View) -> None:
        """Sums over presynaptic spikes."""
        code, own, kind = self.code, View(p.group, "_synapse"), plan["kind"]
        if kind == "readout":
            source = self.groups["readout_history"]
            gain = self.readout_program.gain.times("filtered_error")
            statements, names = [f"gradient_sum = gradient_sum + {gain}"], ["filtered_error"]
        else:
            source = self.groups[f"{p.target}_results"]
            added = {"lambda_": "gradient_sum"}
            if self._has_rate_term(p):
                added["lambda_trace"] = "batch_trace_sum"
            factor = "x*" if self.is_analog(p) else ""
            statements = [f"{x} = {x} + {factor}{n}" for n, x in added.items()]
            names = list(added)
        sides = [(source, "_tile", names)]
        if self.is_analog(p):
            sides.append((self.groups["input_data"], "_value", ["x"]))
        lines, several = repeat(statements, SPIKES_AT_ONCE, *sides)
        plan["accumulate"] = code.block(
            f"accumulate_{p.name}", statements, *_views(sides), own, post, control
        )
        plan["accumulate_several"] = code.block(
            f"accumulate_several_{p.name}", lines, *several, own, post, control
        )

    def _plan_online(self, p: Projection[Connection], plan, post: View, control: View) -> None:
        code = self.code
        # Not the optimizer's states: the neuron's parameters may share their names.
        traces = (*self._trace_variables(p.target)[1], "gradient_sum", "batch_trace_sum")
        own = View(p.group, "_synapse", {name: name for name in traces})
        readout = self._readout_view()
        source = View(self.groups[p.source], "_neuron", {"z": "z"})
        pre_own = View(p.pre_group, "_neuron")
        silent = "int(pre == 0)" if self.is_analog(p) else "(1 - pre)"
        counted = [f"since = (since + 1)*{silent}"] if self.network.continuous else []
        if p.target == "readout":
            program = self.readout_program
            pre_code = program.pre_trace
            synapse = ["signal_sum = signal_sum + error*eps_y"]
            gradient, sums = ["gradient_sum = gradient_sum + signal_sum"], ["signal_sum"]
            pre_names: tuple[str, ...] = ("eps_y",)
            views = (own, post, control)
        else:
            online = self._online(p.target)
            pre_code, synapse, gradient = online.pre, online.synapse, online.gradient
            sums, pre_names = list(online.synapse_variables), online.pre_variables
            views = (own, post, readout, control)
        plan["pre_trace"] = code.block(
            f"pre_trace_{p.name}",
            ["pre = z", *pre_code, *counted],
            source,
            pre_own,
            post,
            control,
        )
        kept = ("pre", *pre_names)
        plan["window_pre"] = code.block(
            f"window_{p.name}",
            [f"{name}_stored = {name}" for name in kept],
            View(
                self.groups[f"{p.name}_pre_window"],
                "_window",
                {f"{name}_stored": name for name in kept},
            ),
            pre_own,
        )
        plan["trace"] = self._trace_block(p, synapse, 1, views)
        if self.steps_per_pass > 1:
            plan["traces"] = self._trace_block(p, synapse, self.steps_per_pass, views)
        if self.is_delayed(p):
            window = self.groups[f"{p.name}_pre_window"]
            plan["pre_window"] = [code.array(window, name, "0") for name in window.names]
        if self.network.continuous:
            self._plan_continuous(p, plan, views)
            return
        plan["gradient"] = code.block(f"gradient_{p.name}", gradient, *views)
        plan["zero"] = code.block(f"zero_{p.name}", [f"{v} = 0" for v in sums], own)
        plan["zero_pre"] = code.block(
            f"zero_pre_{p.name}", [f"{v} = 0" for v in ("pre", *pre_names)], pre_own
        )

    def _plan_continuous(self, p: Projection[Connection], plan, views) -> None:
        """What happens when a spike arrives in continuous operation."""
        counters = ("since", "updates", "skipped")
        plan |= {name: self.code.array(p.pre_group, name, "_pre") for name in counters}
        # A readout's synapse has no trace of its own that would decay.
        if self.network.trace_cutoff_steps is not None and p.target != "readout":
            system, averaging = self.systems[p.target], self.network.rate_averaging
            statements = cutoff_program(system, self.readout_program, averaging)
            counter = View(p.pre_group, "_pre", {"skipped": "skipped"})
            plan["decay"] = self.code.block(f"decay_{p.name}", statements, counter, *views)

    def _plan_rows(self, p: Projection) -> dict[str, Any]:
        """How the template loops over the synapses of a presynaptic neuron."""
        plan = {
            "n_pre": p.n_pre,
            "n_post": p.n_post,
            "width": p.width,
            "size": int(p.group.N),
            "sparse": p.sparse,
        }
        if p.sparse:
            plan["post"] = self.code.array(p.group, "post", "_synapse")
            plan["first"] = self.code.array(self.groups[f"{p.name}_rows"], "first")
        return plan

    def _trace_block(
        self, p: Projection[Connection], statements: Iterable[str], n_steps: int, views
    ) -> str:
        """Statements of a synapse for some steps on end, from what was kept of each."""
        pre, post = self.groups[f"{p.name}_pre_window"], self.groups[f"{p.target}_window"]
        code, windows = repeat(
            statements,
            n_steps,
            (pre, "_pre", pre.names),
            (post, "_post", post.names),
        )
        return self.code.block(f"trace_{p.name}_{n_steps}", code, *windows, *views)

    def _plan_feedback(self, f: Projection[SignalConnection]) -> dict[str, Any]:
        code = self.code
        own, target = View(f.group, "_synapse"), self.groups[f.target]
        history = self.groups["readout_history"]
        delayed = self.signal.delay_steps is not None
        plan: dict[str, Any] = {
            "target": f.target,
            **self._plan_rows(f),
            "B": code.array(f.group, "B"),
            "L": code.array(target, "L"),
            "delay": code.array(f.group, "delay", "_synapse") if delayed else None,
        }
        learning_signal = [LEARNING_SIGNAL]
        if self.online:
            learning_signal = [
                f"transmitted = {TRANSMITTED}",
                LEARNING_SIGNAL.replace(TRANSMITTED, "transmitted"),
            ]
        names = {"L": "L", "signal": "signal"}
        if not self.online and not delayed:
            names = {"L": "L_filtered", "signal": "filtered_signal"}
        plan["deliver"] = code.block(
            f"signal_{f.name}",
            learning_signal,
            own,
            View(target, "_post", {"L": names["L"]}),
            View(history, "_sent", {"signal": names["signal"]}),
        )
        if self.signal.symmetric:
            mirrored = next(
                p for p in self.projections if p.source == f.target and p.target == "readout"
            )
            plan["follows"] = {
                **self._plan_rows(mirrored),
                "w": code.array(mirrored.group, "w"),
            }
        return plan
