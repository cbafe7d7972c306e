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
from brian2 import Clock, NeuronGroup
from brian2 import Network as Brian2Network
from brian2.devices.device import get_device
from brian2.groups.group import CodeRunner
from brian2.parsing.sympytools import sympy_to_str
from brian2.utils.stringtools import word_substitute

from eprop_brian.equations.learning_signals import LEARNING_SIGNAL
from eprop_brian.equations.regularizers import FIRING_RATE
from eprop_brian.network.blocks import MOST_STEPS, StepCode, Store, View, repeat
from eprop_brian.network.built import (
    SHARE,
    STAGES,
    BuiltNetwork,
    Capacity,
    Layout,
    Projection,
    neuron_values,
)
from eprop_brian.network.spec import Network, Population
from eprop_brian.symbolic.programs import FactoredProgram, factored_program, online_program

__all__ = ["build"]

#: Largest 1/p of a softmax probability: keeps log(p) finite in float32 too.
_LARGEST_INVERSE_P = "1e30"
#: Spikes whose rows of synapses a compiled loop goes through together.
SPIKES_AT_ONCE = 4


class _StepRunner(CodeRunner):
    """Runs the fused step: one code object, many blocks."""

    def __init__(self, group, code: StepCode, plan: dict[str, Any], codeobj_class) -> None:
        self.variables = code.variables
        self.step_code = code
        CodeRunner.__init__(
            self,
            group,
            "step",
            code=code.blocks,
            clock=group.clock,
            when="start",
            name="step_runner",
            check_units=False,
            template_kwds={"plan": plan, "ptr": self._pointer},
            codeobj_class=codeobj_class,
        )

    def create_default_code_object(self, run_namespace):
        """As Brian2's, but made once, and under a fixed name: equal networks give equal sources."""
        if self.codeobj is not None:
            return self.codeobj
        # Not by Brian2's create_runner_codeobj, which looks for the variables of every block by
        # hashing all of them: `StepCode` knows them.
        code = self.step_code
        names = code.unknown()
        functions = self.group.resolve_all(names, run_namespace, user_identifiers=set())
        self.codeobj = get_device().code_object(
            owner=self.group,
            name="step_codeobject",
            abstract_code=code.blocks,
            variables={**code.variables, **functions, "N": self.group.variables["N"]},
            template_name="step",
            variable_indices=code.variables.indices,
            template_kwds=self.template_kwds,
            codeobj_class=self.codeobj_class,
        )
        return self.codeobj

    def _pointer(self, name: str) -> str:
        return self.codeobj_class.generator_class.get_array_name(self.variables[name])


def build(
    network: Network,
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
    """
    layout = layout or Layout()
    _check_sizes(network, capacity, layout)
    return _Builder(network, capacity, codeobj_class, dtype, layout).build()


def _check_sizes(network: Network, capacity: Capacity, layout: Layout) -> None:
    """Compiled loops index arrays with 32 bits."""
    widths = [layout.width(p.size) for p in network.populations]
    steps, sources = capacity.n_steps, max(network.n_recurrent, network.n_inputs)
    sizes = {
        f"{max(widths)} neurons x {steps} steps": max(widths) * steps,
        f"{network.n_inputs} inputs x {steps} steps": network.n_inputs * steps,
        f"{sources} x {max(widths)} synapses": sources * max(widths),
        f"{capacity.n_targets} targets of {capacity.target_steps} steps": capacity.n_targets
        * capacity.target_steps
        * network.n_outputs,
    }
    for what, size in sizes.items():
        if size >= 2**31:
            raise ValueError(f"{what} are too many for one program: {size} numbers, at most 2^31")


class _Builder:
    def __init__(
        self, network: Network, capacity: Capacity, codeobj_class, dtype, layout: Layout
    ) -> None:
        self.network = network
        self.capacity = capacity
        self.codeobj_class = codeobj_class
        self.dtype = dtype
        self.layout = layout
        self.clock = Clock(dt=network.dt, name="step_clock")
        self.code = StepCode()
        self.groups: dict[str, NeuronGroup | Store] = {}
        self.online = network.gradient == "online"
        self.rate_per_batch = network.rate_averaging == "batch"
        self.readout_program = network.readout_program

    def group(self, name: str, size: int, variables: dict[str, str], **kwargs) -> NeuronGroup:
        """A NeuronGroup with the given variables ("1", "1 (shared)", "integer (shared)"...)."""
        model = "\n".join(f"{variable} : {unit}" for variable, unit in variables.items())
        self.groups[name] = NeuronGroup(
            size, model, name=name, clock=self.clock, dtype=self.dtype, namespace={}, **kwargs
        )
        return self.groups[name]

    def store(
        self, name: str, size: int, variables: Iterable[str], dtype: type | None = None
    ) -> None:
        """A store with the given variables, of the network's float type or another."""
        types = dict.fromkeys(variables, dtype or self.dtype)
        self.groups[name] = Store(size, types, name, self.clock)

    def build(self) -> BuiltNetwork:
        network = self.network
        self._make_neurons()
        projections, feedback = self._make_projections()
        plan = {
            "n_steps": self.capacity.n_steps,
            "target_steps": self.capacity.target_steps,
            "n_words": -(-network.n_inputs // 32),
            "share": SHARE,
            "spikes_at_once": SPIKES_AT_ONCE,
            "profile": self.layout.profile,
            "stages": STAGES,
            "real": "float" if self.dtype == np.float32 else "double",
            "online": self.online,
            "steps_per_pass": self.layout.steps_per_pass,
            "rate_per_batch": self.rate_per_batch,
            "softmax": network.loss.softmax,
            **self._plan_profile(),
            "control": {v: self.code.array(self.control, v) for v in (*self.control_integers, "k")},
            "data": {
                "words": self.code.array(self.groups["input_data"], "words"),
                "pattern": self.code.array(self.groups["trials"], "pattern"),
                "target": self.code.array(self.groups["trials"], "target"),
                "spike_count": self.code.array(self.groups["trials"], "spike_count"),
            },
            "inputs": self._spiking_plan("inputs", network.n_inputs),
            "readout": self._plan_readout(),
            "populations": [self._plan_population(p) for p in network.populations],
            "projections": [self._plan_projection(p) for p in projections],
            "feedback": [self._plan_feedback(f, projections) for f in feedback],
        }
        runner = _StepRunner(self.control, self.code, plan, self.codeobj_class)
        objects = [*self.groups.values(), runner]
        return BuiltNetwork(
            network=network,
            capacity=self.capacity,
            brian2_network=Brian2Network(objects, name="network_"),
            groups=self.groups,
            projections=projections,
            feedback=feedback,
        )

    def _plan_profile(self) -> dict[str, Any]:
        if not self.layout.profile:
            return {}
        return {"seconds": self.code.array(self.groups["profile"], "seconds")}

    # --- groups -------------------------------------------------------------------------------

    def _make_neurons(self) -> None:
        network, capacity = self.network, self.capacity
        self.control_integers = (
            *("step", "trial", "n_trials", "batch_size", "learning", "updating"),
            "window_start",
        )
        self.control = self.group(
            "control",
            1,
            {
                **dict.fromkeys(self.control_integers, "integer (shared)"),
                **dict.fromkeys(
                    [
                        "k",
                        "gradient_scale",
                        "n_steps",
                        "c_reg",
                        "f_target",
                        *network.optimizer.parameters,
                    ],
                    "1 (shared)",
                ),
            },
        )
        if self.layout.profile:
            self.store("profile", len(STAGES), ["seconds"])
        self._spiking_group("inputs", network.n_inputs, {})
        n_words = -(-network.n_inputs // 32)
        n_samples = capacity.n_targets * capacity.target_steps * network.n_outputs
        n_words *= capacity.n_patterns * capacity.n_steps
        self.store("input_data", n_words, ["words"], np.int32)
        self.store("target_data", n_samples, ["y_target"])
        self.store("trials", capacity.n_trials, ["pattern", "target", "spike_count"], np.int32)
        self.store("outcomes", capacity.n_trials * network.n_outputs, ["loss", "output"])
        for population in network.populations:
            self._make_population(population)
        variables = ["I", "y", "softmax_sum", "p", "error", "loss_sum", "output_sum"]
        parameters = [*network.readout.parameters, *network.readout.constants]
        self.group(
            "readout",
            network.n_outputs,
            {
                **dict.fromkeys([*variables, "filtered_error"], "1"),
                **dict.fromkeys(parameters, "1 (shared)"),
            },
        )
        if self.online:
            self._window_group("readout", network.n_outputs)
        n_errors = capacity.n_steps * network.n_outputs
        self.store("readout_history", n_errors, ["error", "filtered_error"])

    def _spiking_group(self, name: str, size: int, variables: dict[str, str]) -> NeuronGroup:
        group = self.group(name, size, {"z": "1", **variables}, threshold="z > 0", reset="")
        # The step itself fills the spike space; monitors read it like any NeuronGroup's.
        group.thresholder["spike"].active = False
        group.resetter["spike"].active = False
        steps = self.capacity.n_steps
        self.store(f"{name}_spikes", size * steps, ["neuron"], np.int32)
        self.store(f"{name}_offsets", steps + 1, ["first"], np.int32)
        return group

    def _make_population(self, population: Population) -> None:
        system, size = population.system, population.size
        step = system.step
        program = self._factored(population)
        varying = [*system.varying(after=False), *system.varying(after=True)]
        neuron_variables = [
            *("I", "L", "psi", "refractory_counter", "spike_count"),
            *("batch_spike_count", "rate_factor", "L_filtered"),
            *(program.variables if not self.online else ()),
            *varying,
        ]
        values = neuron_values(population, float(self.network.dt))
        self._spiking_group(
            population.name,
            size,
            {
                **step.units,
                **dict.fromkeys(neuron_variables, "1"),
                **{k: "1" if np.ndim(v) else "1 (shared)" for k, v in values.items()},
            },
        )
        steps = self.capacity.n_steps
        if self.online:
            self._window_group(population.name, self.layout.width(size))
        else:
            width, tile = self.layout.width(size), self._tile(population)
            self.store(f"{population.name}_history", width * steps, program.history)
            self.store(f"{population.name}_results", tile * steps, program.results)

    def _window_group(self, target: str, width: int) -> None:
        self.store(f"{target}_window", self.layout.steps_per_pass * width, self._signals(target))

    def _tile(self, population: Population) -> int:
        """Neurons of a population that the backward pass takes at a time."""
        width, lanes = self.layout.width(population.size), self.layout.lanes
        results = self.capacity.n_steps * np.dtype(self.dtype).itemsize
        # The synapses of a compressed row may go anywhere.
        if self.layout.tile_bytes is None or self.network.adjacency.keys() & {"w_in", "w_rec"}:
            return width
        # At least four vectors: fewer are slower than a tile that outgrows the cache.
        return min(width, max(4, self.layout.tile_bytes // (results * lanes)) * lanes)

    def _make_projections(self) -> tuple[list[Projection], list[Projection]]:
        network = self.network
        slices = {
            **network.slices,
            "inputs": slice(0, network.n_inputs),
            "readout": slice(0, network.n_outputs),
        }
        names = [p.name for p in network.populations]
        projections = [
            *(self._projection("w_in", "inputs", n, slices) for n in names),
            *(self._projection("w_rec", m, n, slices) for m in names for n in names),
            *(self._projection("w_out", m, "readout", slices) for m in names),
        ]
        feedback = [self._projection("B", "readout", n, slices) for n in names]
        return projections, feedback

    def _projection(self, matrix: str, source: str, target: str, slices) -> Projection:
        n_pre = slices[source].stop - slices[source].start
        n_post = slices[target].stop - slices[target].start
        width = n_post if target == "readout" else self.layout.width(n_post)
        name = f"{source}_to_{target}"
        adjacency = self.network.adjacency.get(matrix)
        pre = post = None
        size = n_pre * width
        if adjacency is not None:
            pre, post = np.nonzero(adjacency[slices[target], slices[source]].T)
            size = max(1, len(pre))
            self.store(f"{name}_rows", n_pre + 1, ["first"], np.int32)
        autapses = not (matrix == "w_rec" and source == target)
        pre_group = None
        if matrix == "B":
            variables = ["B"]
        else:
            variables = [
                *("w", "gradient_sum", "gradient_total", "gradient"),
                *self.network.optimizer.states,
            ]
            if self.rate_per_batch and target != "readout":
                variables += ["batch_trace_sum", "batch_trace_total"]
            if adjacency is not None:
                variables.append("post")
            if self.online:
                presynaptic, synaptic = self._trace_variables(target)
                variables += synaptic
                pre_variables = dict.fromkeys(["pre", *presynaptic], "1")
                pre_group = self.group(f"{name}_pre", n_pre, pre_variables)
                rows = self.layout.steps_per_pass * n_pre
                self.store(f"{name}_pre_window", rows, pre_variables)
        types = {v: "integer" if v == "post" else "1" for v in variables}
        group = self.group(name, size, types)
        return Projection(
            name=name,
            matrix=matrix,
            source=source,
            target=target,
            n_pre=n_pre,
            n_post=n_post,
            width=width,
            source_slice=slices[source],
            target_slice=slices[target],
            autapses=autapses,
            group=group,
            pre_group=pre_group,
            pre=pre,
            post=post,
        )

    def _trace_variables(self, target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if target == "readout":
            return ("eps_y",), ("signal_sum",)
        program = online_program(self._population(target).system, self.readout_program)
        return program.pre_variables, program.synapse_variables

    def _factored(self, population: Population) -> FactoredProgram:
        return factored_program(
            population.system, self.readout_program, self.network.rate_averaging
        )

    def _population(self, name: str) -> Population:
        return next(p for p in self.network.populations if p.name == name)

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
        group, system = self.groups[population.name], population.system
        step, name = system.step, population.name
        own, control = View(group, "_neuron"), View(self.control, "0")
        code = self.code

        # Neurons that are never refractory are spared the counting.
        refractory = bool(np.any(step.refractory_steps(float(self.network.dt))))
        count = "refractory_counter = "
        update = [
            *([f"{count}(refractory_counter - 1)*int(refractory_counter > 0.5)"] * refractory),
            *(f"{n} = {sympy_to_str(x)}" for n, x in system.varying(after=False).items()),
            *step.code,
            f"psi = {step.psi}",
            f"z = not_refractory*int({step.threshold})",
            *(f"{n} = {sympy_to_str(x)}" for n, x in system.varying(after=True).items()),
            *([f"{count}refractory_counter + z*refractory_steps"] * refractory),
            "I = 0",
        ]
        # In place, not by a name: Brian2 would make it a 64-bit integer, which vectors do not like.
        active = {"not_refractory": "int(refractory_counter < 0.5)" if refractory else "1"}
        update = [word_substitute(line, active) for line in update]
        zeroed = ["I", "z", "psi", "L", "refractory_counter", "spike_count"]
        reset = [f"{s} = {s}_initial" for s in step.states] + [f"{v} = 0" for v in zeroed]
        plan = self._spiking_plan(name, population.size)
        if self.online:
            plan["advance"] = code.block(f"advance_{name}", update, own, control)
        else:
            program = self._factored(population)
            history = View(
                self.groups[f"{name}_history"], "_history", {n: n for n in program.history}
            )
            plan["advance"] = code.block(f"advance_{name}", update, history, own, control)
            # For whoever looks at the neurons in mid-trial.
            plan["show"] = code.block(
                f"show_{name}",
                [f"{n}_shown = {n}" for n in program.history],
                View(group, "_neuron", {f"{n}_shown": n for n in program.history}),
                history,
            )
        plan["reset"] = code.block(f"reset_{name}", reset, own)
        plan["spike_count"] = code.array(group, "spike_count")
        count = "batch_spike_count" if self.rate_per_batch else "spike_count"
        mean_count = View(group, "_neuron", {"rate_factor": "rate_factor", "spike_count": count})
        mean = ["spike_count = spike_count/batch_size"] if self.rate_per_batch else []
        cleared = ["spike_count = 0"] if self.rate_per_batch else []
        plan["rate"] = code.block(
            f"rate_{name}", [*mean, f"rate_factor = {FIRING_RATE}", *cleared], mean_count, control
        )
        if self.rate_per_batch:
            plan["zero_sums"] = code.block(f"zero_sums_{name}", ["batch_spike_count = 0"], own)
            plan["tally"] = code.block(
                f"count_{name}", ["batch_spike_count = batch_spike_count + spike_count"], own
            )
        if self.online:
            plan["window"] = self._plan_window(name)
            return plan
        plan["tile"] = self._tile(population)
        plan["zero"] = code.block(f"zero_{name}", [f"{v} = 0" for v in program.variables], own)
        # The learning signal of the first outputs comes without a way over memory.
        fused = plan["fused_outputs"] = min(self.network.n_outputs, MOST_STEPS)
        contribution = LEARNING_SIGNAL.removeprefix("L = ")
        signal = "0" if fused == self.network.n_outputs else "L_filtered"
        for k in range(fused):
            names = {"L": f"({signal})", "B": f"_B_{k}", "error": f"_filtered_error_{k}"}
            signal = word_substitute(contribution, names)
        _, outputs = repeat(
            [],
            fused,
            (self.groups[f"readout_to_{name}"], "_synapse", ("B",)),
            (self.groups["readout_history"], "_output", ("filtered_error",)),
        )
        backward = [word_substitute(x, {"L_filtered": "_signal"}) for x in program.backward]
        plan["backward"] = code.block(
            f"backward_{name}",
            [f"_signal = {signal}", *backward],
            *outputs,
            history,
            self._results(name),
            own,
            View(self.groups["readout"], "0"),
            control,
        )
        plan["L_filtered"] = code.array(group, "L_filtered")
        return plan

    def _signals(self, target: str) -> tuple[str, ...]:
        """What the traces of a synapse read of its postsynaptic side and changes every step."""
        if target == "readout":
            return ("error",)
        system = self._population(target).system
        return ("psi", "L", *system.varying(after=False), *system.varying(after=True))

    def _plan_window(self, target: str) -> str:
        """The block that keeps what the traces read, for the next pass over the synapses."""
        stored = {f"{name}_stored": name for name in self._signals(target)}
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
        group, loss = self.groups["readout"], network.loss
        own, control = View(group, "_neuron"), View(self.control, "0")
        history = View(self.groups["readout_history"], "_history", {"stored": "error"})
        plan: dict[str, Any] = {
            "n": network.n_outputs,
            "width": network.n_outputs,
            "errors": code.array(history.group, "error"),
        }
        plan["advance"] = code.block(
            "advance_readout", [network.readout.update, "I = 0", "softmax_sum = 0"], own, control
        )
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
                "probability", [f"p = 1/clip(softmax_sum, 1, {_LARGEST_INVERSE_P})"], own
            )
        plan["loss"] = code.block(
            "loss",
            [
                f"error = {loss.error}",
                f"loss_sum = loss_sum + {loss.loss}",
                f"output_sum = output_sum + {loss.signal}",
                "stored = error",
            ],
            View(self.groups["target_data"], "_sample"),
            history,
            own,
            control,
        )
        variables = ["I", "y", "error", "loss_sum", "output_sum"]
        plan["reset"] = code.block("reset_readout", [f"{v} = 0" for v in variables], own)
        if self.online:
            plan["window"] = self._plan_window("readout")
        plan["zero"] = code.block("zero_readout", ["filtered_error = 0"], own)
        plan["backward"] = code.block(
            "backward_readout",
            [*self.readout_program.backward, "stored = filtered_error"],
            View(
                self.groups["readout_history"],
                "_history",
                {"error": "error", "stored": "filtered_error"},
            ),
            own,
        )
        plan["outcome"] = code.block(
            "outcome",
            ["loss = loss_sum", "output = output_sum"],
            View(self.groups["outcomes"], "_record"),
            own,
        )
        return plan

    def _plan_projection(self, p: Projection) -> dict[str, Any]:
        code, own = self.code, View(p.group, "_synapse")
        target = self.groups[p.target]
        post, control = View(target, "_post"), View(self.control, "0")
        kind = {"w_in": "input", "w_rec": "recurrent", "w_out": "readout"}[p.matrix]
        plan: dict[str, Any] = {
            "kind": kind,
            "source": p.source,
            "target": p.target,
            **self._plan_rows(p),
            # A recurrent spike acts in the next step, an input spike and a readout's in its own.
            "delay": 1 if kind == "recurrent" else 0,
        }
        deliver = ["I = I + w"]
        plan["deliver"] = code.block(f"deliver_{p.name}", deliver, post, own)
        lines, several = repeat(deliver, SPIKES_AT_ONCE, (p.group, "_synapse", ("w",)))
        plan["deliver_several"] = code.block(f"deliver_several_{p.name}", lines, *several, post)
        rate_term = self.rate_per_batch and kind != "readout"
        sums = {"gradient_total": "gradient_sum"}
        if rate_term:
            sums["batch_trace_total"] = "batch_trace_sum"
        cleared = [f"{name} = 0" for pair in sums.items() for name in pair]
        plan["zero_sums"] = code.block(f"zero_sums_{p.name}", cleared, own)
        plan["fold"] = code.block(
            f"fold_{p.name}",
            [line for t, x in sums.items() for line in (f"{t} = {t} + {x}", f"{x} = 0")],
            own,
        )
        summed = "(gradient_total + gradient_sum)"
        if rate_term:
            summed = f"({summed} + rate_factor*(batch_trace_total + batch_trace_sum))"
        mean = f"gradient_scale*{summed}/batch_size"
        if not p.autapses and not p.sparse:
            # Of a dense projection onto itself, what must stay 0, before an update and after it.
            plan["no_autapses"] = {
                "before": [
                    code.array(p.group, name, "_synapse")
                    for name in sorted({*sums, *sums.values()})
                ],
                "after": [code.array(p.group, "w", "_synapse")],
            }
        plan["optimize"] = code.block(
            f"optimize_{p.name}",
            [
                f"gradient = {mean}",
                *cleared,
                *self.network.optimizer.update.split("\n"),
            ],
            View(p.group, "_synapse", {"g": "gradient"}),
            own,
            View(target, "_post", {"rate_factor": "rate_factor"}),
            control,
        )
        if self.online:
            self._plan_online(p, plan, post, control)
        else:
            if kind == "readout":
                source = self.groups["readout_history"]
                gain = self.readout_program.gain.times("filtered_error")
                statements, names = [f"gradient_sum = gradient_sum + {gain}"], ["filtered_error"]
            else:
                source = self.groups[f"{p.target}_results"]
                added = {"lambda_": "gradient_sum"}
                if rate_term:
                    added["lambda_trace"] = "batch_trace_sum"
                statements, names = [f"{x} = {x} + {n}" for n, x in added.items()], list(added)
            one = View(source, "_tile", {n: n for n in names})
            lines, several = repeat(statements, SPIKES_AT_ONCE, (source, "_tile", names))
            plan["accumulate"] = code.block(
                f"accumulate_{p.name}", statements, own, one, post, control
            )
            plan["accumulate_several"] = code.block(
                f"accumulate_several_{p.name}", lines, *several, own, post, control
            )
        return plan

    def _plan_online(self, p: Projection, plan, post: View, control: View) -> None:
        code = self.code
        # Not the optimizer's states: the neuron's parameters may share their names.
        traces = (*self._trace_variables(p.target)[1], "gradient_sum", "batch_trace_sum")
        own = View(p.group, "_synapse", {name: name for name in traces})
        parameters = [*self.network.readout.parameters, *self.network.readout.constants]
        readout = View(self.groups["readout"], "0", {n: n for n in parameters})
        source = View(self.groups[p.source], "_neuron", {"z": "z"})
        pre_own = View(p.pre_group, "_neuron")
        if p.target == "readout":
            program = self.readout_program
            pre_code = program.pre_trace
            synapse = ["signal_sum = signal_sum + error*eps_y"]
            gradient, sums = ["gradient_sum = gradient_sum + signal_sum"], ["signal_sum"]
            pre_names: tuple[str, ...] = ("eps_y",)
            views = (own, post, control)
        else:
            online = online_program(self._population(p.target).system, self.readout_program)
            pre_code, synapse = online.pre, online.synapse
            if self.rate_per_batch:
                gradient = [
                    "gradient_sum = gradient_sum + signal_sum",
                    "batch_trace_sum = batch_trace_sum + trace_sum",
                ]
            else:
                gradient = ["gradient_sum = gradient_sum + signal_sum + rate_factor*trace_sum"]
            sums, pre_names = list(online.synapse_variables), online.pre_variables
            views = (own, post, readout, control)
        plan["pre_trace"] = code.block(
            f"pre_trace_{p.name}",
            ["pre = z", *pre_code],
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
        if self.layout.steps_per_pass > 1:
            plan["traces"] = self._trace_block(p, synapse, self.layout.steps_per_pass, views)
        plan["gradient"] = code.block(f"gradient_{p.name}", gradient, *views)
        plan["zero"] = code.block(f"zero_{p.name}", [f"{v} = 0" for v in sums], own)
        plan["zero_pre"] = code.block(
            f"zero_pre_{p.name}", [f"{v} = 0" for v in ("pre", *pre_names)], pre_own
        )

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

    def _trace_block(self, p: Projection, statements: Iterable[str], n_steps: int, views) -> str:
        """Statements of a synapse for some steps on end, from what was kept of each."""
        pre, post = self.groups[f"{p.name}_pre_window"], self.groups[f"{p.target}_window"]
        code, windows = repeat(
            statements,
            n_steps,
            (pre, "_pre", pre.names),
            (post, "_post", post.names),
        )
        return self.code.block(f"trace_{p.name}_{n_steps}", code, *windows, *views)

    def _plan_feedback(self, f: Projection, projections: list[Projection]) -> dict[str, Any]:
        code = self.code
        own, post = View(f.group, "_synapse"), View(self.groups[f.target], "_post")
        readout = self.groups["readout"]
        plan: dict[str, Any] = {
            "target": f.target,
            **self._plan_rows(f),
            "B": code.array(f.group, "B"),
            "signal": code.array(self.groups[f.target], "L"),
        }
        if self.online:
            plan["deliver"] = code.block(
                f"signal_{f.name}", [LEARNING_SIGNAL], own, post, View(readout, "_pre")
            )
        else:
            plan["deliver"] = code.block(
                f"signal_{f.name}",
                [LEARNING_SIGNAL],
                own,
                View(self.groups[f.target], "_post", {"L": "L_filtered"}),
                View(self.groups["readout_history"], "_history_pre", {"error": "filtered_error"}),
            )
        if self.network.feedback == "symmetric":
            mirrored = next(
                p for p in projections if p.source == f.target and p.target == "readout"
            )
            plan["follows"] = {
                **self._plan_rows(mirrored),
                "w": code.array(mirrored.group, "w"),
            }
        return plan
