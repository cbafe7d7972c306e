"""Settings of recurrent networks that learn tasks by e-prop.

Options of the network are the parameters of `Network.standard`; they are named nowhere else.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, Field, fields, replace
from typing import Any

from brian2.units import Hz, ms

from eprop_brian.devices.choices import AVAILABLE, DTYPES
from eprop_brian.equations import OPTIMIZERS
from eprop_brian.network.parts import Agent
from eprop_brian.network.spec import Network
from eprop_brian.runs.settings import Schema, Setting, Table, Tables, listed, model_setting
from eprop_brian.tasks import task_class

__all__ = [
    "EQUATIONS",
    "EXACT",
    "FEEDBACK",
    "PARAMETERS",
    "READOUT_TRACE",
    "RUN",
    "SCHEMA",
    "TASK",
    "first_sentences",
    "kind_of",
    "optimizer_settings",
    "parameters_of",
]

#: Neurons are numbered by 32-bit integers.
_MOST_NEURONS = 2**31 - 1
READOUT_TRACE = {
    "trace_gain": Setting("value", "gain of the readout's trace, in place of the derived one"),
    "trace_decay": Setting("value", "decay of the readout's trace in a step, in its place"),
}
_READOUT = {
    "tau_out": Setting("value", "time constant of the membrane"),
    "kappa": Setting("value", "decay of the membrane in a step, an expression of `tau_out`"),
    "zeta_out": Setting("value", "factor of the input, an expression of `kappa`"),
}
#: Of the learning signal; ``feedback_scale`` is its option ``scale``.
FEEDBACK = {
    "feedback": Setting(
        "value",
        "the learning signal: a kind, an equation such as `B*tanh(error)`, or a file `.npy` with B",
        shown="symmetric",
    ),
    "feedback_scale": Setting("value", "scale of feedback weights that are drawn or all the same"),
    "feedback_signal": Setting("value", "expression that a readout sends, such as `tanh(error)`"),
    "feedback_delay": Setting("value", "dendritic delay, one time or a pair (shortest, longest)"),
    "feedback_diffusion": Setting(
        "value", "how the learning signal spreads: `grid`, `kept`, `radius` and `seed` of a grid"
    ),
    "feedback_decay": Setting("value", "decay of adaptive feedback and readout weights"),
    "feedback_update": Setting("value", "statements that change the feedback weights"),
}
#: Network options that need a more exact kind than their annotation has.
EXACT = {
    "f_target": Setting("quantity", "", unit=Hz, shown="10 Hz"),
    "trace_cutoff": Setting("quantity", "", unit=ms),
    "dt": Setting("quantity", "", unit=ms, shown="the task's, or 1 ms"),
}
_KIND_OF_ANNOTATION = {
    "float": "number",
    "float | None": "number",
    "int": "count",
    "bool": "switch",
    "str": "text",
    "Groups": "names",
}
#: Parameters of the network that follow from other tables.
_ELSEWHERE = (
    *("n_inputs", "n_outputs", "neurons", "readout", "feedback", "optimizer", "dt"),
    *("parts", "options"),
)
#: Options that are equations, not quantities, though they may begin with a number.
EQUATIONS = ("loss", "voltage_cost", "feedback_signal", "feedback_update")


def kind_of(annotation: str) -> str:
    """The kind of a setting that has the type of a parameter."""
    return _KIND_OF_ANNOTATION.get(annotation, "value")


def first_sentences(cls: Any) -> dict[str, str]:
    """Say in one line what each parameter of a class is, and what it may be, by its docstring."""
    section = (inspect.getdoc(cls) or "").partition("Parameters\n----------\n")[2]
    section = re.split(r"\n\n\w+\n-+\n", section)[0]
    lines = {}
    for entry in re.split(r"\n(?=\S)", section):
        head, _, text = entry.partition("\n")
        names, _, kind = head.partition(" : ")
        choices = re.findall(r'"([^"]+)"', kind) if kind.startswith("{") else []
        sentence = re.split(r"(?<=[.;])\s", " ".join(text.split()))[0].rstrip(".;")
        lines.update(dict.fromkeys(names.split(", "), sentence + listed(choices)))
    return lines


def _network_settings() -> dict[str, Setting]:
    """Give every option of the standard network that is a setting, as it is declared."""
    docs = {**first_sentences(Network), **first_sentences(Network.standard)}
    parameters = {
        **inspect.signature(Network.standard).parameters,
        **inspect.signature(Network).parameters,
    }
    options = {}
    for name, parameter in parameters.items():
        if name in _ELSEWHERE:
            continue
        default, doc = parameter.default, docs.get(name, "")
        if name in EXACT:
            options[name] = replace(EXACT[name], doc=doc)
            continue
        kind = kind_of(parameter.annotation)
        shown = "" if not isinstance(default, int | float | str) else str(default)
        options[name] = Setting(kind, doc, shown=shown)
    return options


def _agent_settings() -> dict[str, Setting]:
    """Give every option that a network has more of if it acts."""
    docs = {**first_sentences(Agent), **first_sentences(Network.for_environment)}
    usual = inspect.signature(Network.standard).parameters
    parameters = {
        **inspect.signature(Agent).parameters,
        **inspect.signature(Network.for_environment).parameters,
    }
    options = {}
    for name, parameter in parameters.items():
        kind = kind_of(parameter.annotation)
        # What is no number and no switch is a name of the network's parts, or one of them.
        if name not in usual and kind in ("number", "switch"):
            options[name] = Setting(kind, docs[name], shown=str(parameter.default))
    return options


def _task_settings(tables: Tables) -> dict[str, Setting]:
    name = tables.get("run", {}).get("task")
    try:
        task = task_class(str(name))
    except ValueError:
        # Of a task of one's own the object judges them.
        return {key: Setting("value", f"of the task `{name}`") for key in tables.get("task", {})}
    return parameters_of(task)


def parameters_of(task: Any) -> dict[str, Setting]:
    """The parameters of a class of tasks, with defaults and meanings as it declares them."""
    docs: dict[str, str] = {}
    for cls in reversed(task.__mro__):
        docs |= first_sentences(cls)
    return {
        f.name: Setting("value", docs.get(f.name) or f"of the task `{task.name}`", shown=_shown(f))
        for f in fields(task)
        if f.init
    }


def _shown(parameter: Field[Any]) -> str:
    """A default as a file has it; empty if there is none that a line can show."""
    made = parameter.default_factory
    default = parameter.default if made is MISSING else made()
    if default is MISSING or default is None or default in ("", (), {}):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    # Brian2 writes 1 ms as "1. ms".
    return re.sub(r"(?<=[0-9])[.](?= )", "", str(default))


def _sizes(tables: Tables) -> dict[str, Setting]:
    return {
        name: Setting("count", "neurons of this kind", least=0, most=_MOST_NEURONS)
        for name in tables.get("size", {})
    }


def optimizer_settings(tables: Tables) -> dict[str, Setting]:
    """The parameters of the library's optimizer that is named."""
    name = tables.get("optimizer", {}).get("name", "adam")
    parameters = OPTIMIZERS[name].parameters if isinstance(name, str) and name in OPTIMIZERS else {}
    return {
        key: Setting("value", f"of the optimizer `{name}`", shown=str(value))
        for key, value in parameters.items()
    }


RUN = Table(
    "What is run, and where.",
    {
        "model": model_setting("eprop"),
        "task": Setting("text", "name of the task"),
        "iterations": Setting("count", "updates, in all", default=1000, least=1),
        "batch_size": Setting("count", "trials per update", default=1, least=1),
        "seed": Setting("count", "of weights and trials", default=1, least=0),
        "device": Setting("value", "where it runs", default="cpp", choices=AVAILABLE),
        "dtype": Setting("value", "type of all state", default="float64", choices=DTYPES),
        "validate_every": Setting("count", "iterations between validations", least=1),
        "patience": Setting(
            "count", "validations in a row without a better one after which it stops", least=1
        ),
    },
)
TASK = Table(
    "Settings of the task.",
    further=_task_settings,
    further_doc="settings of the [task](tasks.md) that is named",
)
SCHEMA: Schema = {
    "run": RUN,
    "task": TASK,
    "size": Table(
        "Neurons of each kind, in this order.",
        further=_sizes,
        further_doc="by the neuron's name, how many there are",
    ),
    "network": Table(
        "Options of the network.",
        {**FEEDBACK, **_network_settings()},
    ),
    "agent": Table(
        "How a network acts that learns a task in an environment; others have no such table.",
        _agent_settings(),
        optional=True,
    ),
    "readout": Table("The readout.", {**_READOUT, **READOUT_TRACE}),
    "optimizer": Table(
        "How gradients change weights.",
        {
            "name": Setting(
                "value",
                "the rule; another name resets the rest",
                default="adam",
                choices=OPTIMIZERS,
            ),
            "schedule": Setting(
                "value", "factor of the learning rate, an expression of the update"
            ),
        },
        further=optimizer_settings,
        further_doc="parameters of the [optimizer](training.md#optimizers) that is named",
    ),
}
PARAMETERS: Schema = {
    "neuron": Table(
        "Parameters of the neurons, of all kinds that have them.",
        {
            "detach": Setting(
                "value",
                "list of states whose path through the neuron's own spike is not differentiated",
            )
        },
        # A recipe's parameters are for those neurons that have them.
        further=lambda tables: {key: Setting("value", "") for key in tables.get("neuron", {})},
        further_doc="parameters and constants, by their names in the neuron",
    )
}
