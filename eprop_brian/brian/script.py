"""A described network as a script of plain Brian2 and the file of its numbers."""

from __future__ import annotations

import keyword
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from eprop_brian.base.files import write_arrays, write_text
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.brian.functions import PYTHON, source_of
from eprop_brian.brian.parts import (
    SCHEDULE,
    GroupPart,
    NetworkPart,
    ObjectPart,
    SynapsesPart,
)
from eprop_brian.symbolic.names import free_name

__all__ = ["arrays", "check_script", "script", "write_script"]

_BRIAN2 = (
    *("Clock", "Function", "Network", "NeuronGroup", "SpikeMonitor", "StateMonitor", "Synapses"),
    *("TimedArray", "device", "ms", "prefs", "second", "set_device"),
)
#: What the script calls its own things.
_OWN = (
    *("os", "sys", "Path", "np", "data", "here", "mode", "dt", "n_steps", "n_trials", "batch_size"),
    *("step_clock", "trial_clock", "batch_clock", "network", "losses", "results", "end"),
    *("only_generate", "brian2cuda", "code", "updater", "counted", "cpp", "cython"),
    *("argparse", "parser", "options"),
)


def check_script(out: Path) -> None:
    """Raise ValueError if a script cannot be called so, or it or the file of its numbers exists."""
    if out.suffix != ".py":
        raise ValueError(f"a script ends in .py, not '{out.name}'")
    for file in (out, out.with_suffix(".npz")):
        if file.exists():
            raise ValueError(f"{file} exists: name another script, or remove it")


def write_script(part: NetworkPart, out: Path) -> None:
    """Write a script, and beside it the ``.npz`` file of its numbers.

    Parameters
    ----------
    part : NetworkPart
    out : Path
        Of the script, ending in ``.py``.

    Raises
    ------
    ValueError
        See `check_script`.
    """
    check_script(out)
    numbers, text = arrays(part), script(part, out.stem)
    # Both or none.
    with uninterrupted():
        write_arrays(out.with_suffix(".npz"), numbers)
        write_text(out, text)


def arrays(part: NetworkPart) -> dict[str, np.ndarray]:
    """The numbers that a script reads from its file."""
    found = {name: _small(values) for name, values in part.timed.items()}
    for group in part.groups.values():
        for variable, values in group.arrays.items():
            found[f"{group.name}.{variable}"] = np.broadcast_to(values, group.size)
    for s in part.synapses.values():
        if s.connect == "pairs":
            found[f"{s.name}.i"], found[f"{s.name}.j"] = s.pairs
        found |= {f"{s.name}.{variable}": values for variable, values in s.arrays.items()}
        if s.on_pre is not None and np.ndim(s.on_pre.delay):
            found[f"{s.name}.delay"] = np.asarray(s.on_pre.delay)
    for outcome in part.outcomes:
        found[f"{outcome.readout}.counted"] = outcome.counted
        found[f"{outcome.readout}.steps"] = outcome.steps
    return found


def _small(values: np.ndarray) -> np.ndarray:
    """Spikes as bytes, which take less room."""
    return values.astype(np.int8) if np.all((values == 0) | (values == 1)) else values


def script(part: NetworkPart, stem: str) -> str:
    """The text of the script, whose numbers are in ``<stem>.npz``."""
    writer = _Writer(part)
    sections = [
        _head(part, stem),
        *(source_of(name) for name in PYTHON if part.calls(name)),
        _timing(part),
        *(writer.group(g) for g in part.groups.values()),
        *(writer.synapses(s) for s in part.synapses.values()),
        writer.network(),
        writer.results(stem),
    ]
    return "\n\n".join(section.strip("\n") for section in sections) + "\n"


def _head(part: NetworkPart, stem: str) -> str:
    title = " ".join(part.title)
    command = f"python {shlex.quote(f'{stem}.py')}".replace("\\", r"\\")
    called = any(part.calls(name) for name in PYTHON)
    names = [name for name in _BRIAN2 if name != "Function" or called]
    imports = "\n".join(f"    {name}," for name in names)
    return f'''"""{title}

A network that learns by e-prop, as plain Brian2: eligibility traces are variables of the synapses,
learning signals are summed variables. It was written by a program, and needs only Brian2.

    {command}                             # Brian2's own runtime
    {command} cpp_standalone              # compiled C++
    {command} cuda_standalone             # CUDA, with brian2cuda
    {command} cuda_standalone --generate  # the sources alone

A time step is one of Brian2's, with slots of its own (`network.schedule`). Trials follow one
another without a pause. What ends a trial or a batch runs when the next one begins, so there is one
step more than the trials have; in the first step nothing has ended, and `choose(updates, new, old)`
keeps what is old. Traces, gradients and constants are numbers in SI units.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from brian2 import (
{imports}
)

parser = argparse.ArgumentParser()
parser.add_argument(
    "mode", nargs="?", default="runtime", choices=["runtime", "cpp_standalone", "cuda_standalone"]
)
parser.add_argument("--generate", action="store_true", help="write the sources alone")
options = parser.parse_args()
mode, only_generate = options.mode, options.generate
if only_generate and mode == "runtime":
    parser.error("--generate needs cpp_standalone or cuda_standalone")
here = Path(__file__).resolve().parent
# Inputs, targets, weights and connections.
data = np.load(here / {stem + ".npz"!r}, allow_pickle=False)

if mode == "runtime":
    prefs.codegen.target = "numpy"
else:
    if mode == "cuda_standalone":
        import brian2cuda

        if only_generate:
            # There need not be a GPU.
            prefs.devices.cuda_standalone.cuda_backend.detect_gpus = False
            prefs.devices.cuda_standalone.cuda_backend.gpu_id = 0
            prefs.devices.cuda_standalone.cuda_backend.compute_capability = 9.0
    set_device(mode, build_on_run=False)
    # Brian2 itself starts all compilations at once.
    prefs.devices.cpp_standalone.extra_make_args_unix = [f"-j{{os.cpu_count()}}"]
# Brian2's own flags have -ffast-math, which rounds in another way.
prefs.codegen.cpp.extra_compile_args_gcc = ["-w", "-O3", "-std=c++17"]'''


def _timing(part: NetworkPart) -> str:
    lines = [
        "# --- time and trials ".ljust(100, "-"),
        "",
        f"dt = {part.dt * 1e3:.15g}*ms",
        f"n_steps, n_trials, batch_size = {part.n_steps}, {part.n_trials}, {part.batch_size}",
        'step_clock = Clock(dt=dt, name="step_clock")',
        'trial_clock = Clock(dt=n_steps*dt, name="trial_clock")',
        'batch_clock = Clock(dt=batch_size*n_steps*dt, name="batch_clock")',
        "",
        "# Rows of these are steps, or trials where their name says so.",
        *(
            f'{name} = TimedArray(data["{name}"].astype(float), dt=dt, name="{name}")'
            for name in part.timed
        ),
    ]
    return "\n".join(lines)


class _Writer:
    """Writes the objects of a network under names that a script can have."""

    def __init__(self, part: NetworkPart) -> None:
        self.part = part
        taken = {*_BRIAN2, *_OWN, *PYTHON, *part.timed, *keyword.kwlist}
        self.names: dict[str, str] = {}
        for name in (*part.groups, *part.synapses):
            self.names[name] = free_name(name, taken | {*self.names.values()})

    def group(self, g: GroupPart) -> str:
        """A group with its code."""
        name = self.names[g.name]
        spikes = []
        if g.threshold:
            spikes = [f'    threshold="{g.threshold}",', '    reset="",']
        lines = [
            *_heading(g),
            f"{name} = NeuronGroup(",
            f"    {g.size},",
            *_model(g, ()),
            *spikes,
            *_namespace(g),
            "    clock=step_clock,",
            f'    name="{g.name}",',
            ")",
        ]
        if g.threshold and g.threshold_when != "thresholds":
            lines.append(f'{name}.set_event_schedule("spike", when="{g.threshold_when}", order=1)')
        lines += [f'{name}.{variable}_ = data["{g.name}.{variable}"]' for variable in g.arrays]
        return "\n".join([*lines, *self._codes(g, name)])

    def _codes(self, part: ObjectPart, name: str) -> Iterator[str]:
        for number, code in enumerate(part.codes):
            yield f"# {code.comment}"
            assigned = "" if code.has_units else "code = "
            yield f"{assigned}{name}.run_regularly("
            yield from _text(code.lines)
            yield f"    clock={code.clock}_clock,"
            yield f'    when="{code.when}",'
            yield f"    order={code.order},"
            yield f'    name="{part.name}_{code.when}_{number}",'
            yield ")"
            if not code.has_units:
                yield "code.check_units = False  # numbers in SI units"

    def synapses(self, s: SynapsesPart) -> str:
        """Synapses with their code."""
        name = self.names[s.name]
        summed = [f"{x.variable} = {x.expression} : 1 (summed)" for x in s.summed]
        lines = [
            *_heading(s),
            f"{name} = Synapses(",
            f"    {self.names[s.source]},",
            f"    {self.names[s.target]},",
            *_model(s, summed),
        ]
        if s.on_pre is not None:
            lines.append(f'    on_pre="{"; ".join(s.on_pre.lines)}",')
            if not np.ndim(s.on_pre.delay):
                lines.append(f"    delay={s.on_pre.delay}*dt,")
        lines += [
            *_namespace(s),
            "    clock=step_clock,",
            f'    name="{s.name}",',
            ")",
            self._connect(s, name),
        ]
        if s.on_pre is not None:
            place = f'"{s.on_pre.when}", {s.on_pre.order}'
            lines.append(f"{name}.pre.when, {name}.pre.order = {place}")
            if np.ndim(s.on_pre.delay):
                lines.append(f'{name}.pre.delay = data["{s.name}.delay"]*dt')
        for x in s.summed:
            lines.append(f'updater = {name}.summed_updaters["{x.variable}"]')
            lines.append(f'updater.when, updater.order = "{x.when}", {x.order}')
        lines += [f'{name}.{variable} = data["{s.name}.{variable}"]' for variable in s.arrays]
        return "\n".join([*lines, *self._codes(s, name)])

    def _connect(self, s: SynapsesPart, name: str) -> str:
        if s.connect == "pairs":
            return f'{name}.connect(i=data["{s.name}.i"], j=data["{s.name}.j"])'
        return f"{name}.connect({'condition=' + repr('i != j') if s.connect == 'others' else ''})"

    def network(self) -> str:
        """The network, its monitors and the run."""
        part = self.part
        lines = ["# --- the network ".ljust(100, "-"), ""]
        monitors = []
        for name in part.spiking:
            monitors.append(f"spikes_of_{name}")
            lines.append(
                f'spikes_of_{name} = SpikeMonitor({self.names[name]}, name="spikes_of_{name}")'
            )
        for outcome in part.outcomes:
            monitors.append(f"outcomes_of_{outcome.readout}")
            recorded = [outcome.loss, *outcome.outputs]
            lines += [
                f"outcomes_of_{outcome.readout} = StateMonitor(",
                f"    {self.names[outcome.readout]},",
                f"    {recorded},",
                "    record=True,",
                "    clock=trial_clock,",
                f'    name="outcomes_of_{outcome.readout}",',
                ")",
            ]
        objects = [self.names[name] for name in (*part.groups, *part.synapses)]
        lines += [
            "network = Network(",
            *(f"    {name}," for name in (*objects, *monitors)),
            ")",
            "network.schedule = [",
            *(f'    "{slot}",  # {what}' for slot, what in SCHEDULE.items()),
            "]",
            "",
            "# Add monitors of your own here, for example",
            f"#     states = StateMonitor({self.names[part.spiking[0]]}, True, record=[0])",
            "#     network.add(states)",
            "",
            "network.run((n_trials*n_steps + 1)*dt, namespace={})",
            'if mode != "runtime":',
            "    device.build(",
            '        directory=str(here / f"{Path(__file__).stem}_{mode}"),',
            "        compile=not only_generate,",
            "        run=not only_generate,",
            "        with_output=False,",
            "    )",
            "if only_generate:",
            "    sys.exit()",
        ]
        return "\n".join(lines)

    def results(self, stem: str) -> str:
        """What was learned."""
        part = self.part
        lines = [
            "# --- results ".ljust(100, "-"),
            "",
            "losses = np.zeros(n_trials)",
            "results = {}",
            "# What the readouts have when a trial begins is the sum over the one before.",
        ]
        for o in part.outcomes:
            monitor, mean = f"outcomes_of_{o.readout}", "mean" if o.mean_over_readouts else "sum"
            lines.append(
                f"losses += np.asarray({monitor}.{o.loss})[:, 1:].{mean}(axis=0)"
                f'/data["{o.readout}.counted"]'
            )
            for number, output in enumerate(o.outputs, start=1):
                lines += [
                    f'results["{o.readout}.output.{number}"] = (',
                    f"    np.asarray({monitor}.{output})[:, 1:].T"
                    f'/data["{o.readout}.steps"][:, {number - 1}, np.newaxis]',
                    ")",
                ]
        lines += ["", "# Matrices [postsynaptic, presynaptic]."]
        lines += [f'results["{name}"] = np.zeros({shape})' for name, shape in part.shapes.items()]
        for b in part.weights:
            name = self.names[b.object]
            if b.object in part.groups:
                lines.append(f'results["{b.matrix}"][:] = np.asarray({name}.{b.variable}_)')
                continue
            ends = ("i", "j") if b.transposed else ("j", "i")
            places = [
                f"{f'{first} + ' if first else ''}np.asarray({name}.{end})"
                for first, end in zip((b.row, b.column), ends, strict=True)
            ]
            lines.append(f'results["{b.matrix}"][{", ".join(places)}] = {name}.{b.variable}')
        lines += [""]
        for name in part.spiking:
            lines += [
                f"counted = spikes_of_{name}.t < (n_trials*n_steps - 0.5)*dt",
                f'results["{name}.spikes.i"] = np.asarray(spikes_of_{name}.i)[counted]',
                f'results["{name}.spikes.t"] = np.asarray(spikes_of_{name}.t/second)[counted]',
            ]
        lines += [
            f"np.savez(here / {stem + '_results.npz'!r}, losses=losses, **results)",
            'print(f"{n_trials} trials, loss {losses[0]:.6g} at first, {losses[-1]:.6g} at last")',
        ]
        return "\n".join(lines)


def _heading(part: ObjectPart) -> list[str]:
    return [f"# --- {part.name} ".ljust(100, "-"), *(f"# {x}".rstrip() for x in part.comment), ""]


def _model(part: ObjectPart, summed: Iterable[str]) -> list[str]:
    lines = []
    for name, unit in part.variables.items():
        comment = part.comments.get(name, "")
        lines.append(f"{name} : {unit}" + (f"  # {comment}" if comment else ""))
    return ['    """', *_indented([*lines, *summed], 4), '    """,']


def _namespace(part: ObjectPart) -> list[str]:
    lines = ["    namespace={"]
    for name, value in part.constants.items():
        comment = part.comments.get(name, "")
        plain = comment and not _is_number(comment)
        lines.append(f'        "{name}": {value!r},' + (f"  # {comment}" if plain else ""))
    called = part.functions | {name: name for name in PYTHON if part.calls(name)}
    lines += [f'        "{name}": {timed},' for name, timed in called.items()]
    return [*lines, "    },"]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _text(lines: Iterable[str]) -> list[str]:
    return ['    """', *_indented(lines, 4), '    """,']


def _indented(lines: Iterable[str], by: int) -> list[str]:
    return [" " * by + line for line in lines]
