"""Settings of networks that a file describes part by part.

A table ``[[population]]`` has the fields of `eprop_brian.network.parts.Population`, and so on; they
are named nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace

from eprop_brian.equations import OPTIMIZERS
from eprop_brian.equations.learning_signals import FEEDBACKS, Feedback
from eprop_brian.network.parts import (
    Agent,
    Inputs,
    LearningSignal,
    Part,
    Population,
    Projection,
    Readout,
)
from eprop_brian.network.spec import Network
from eprop_brian.runs.eprop_settings import (
    EXACT,
    RUN,
    TASK,
    first_sentences,
    kind_of,
    optimizer_settings,
)
from eprop_brian.runs.settings import Schema, Setting, Table, Tables

__all__ = ["FEEDBACK_OPTIONS", "GRAPH_SCHEMA", "PARTS", "is_graph"]

#: The parts of a network by the name of their table.
PARTS: Mapping[str, type[Part]] = {
    "inputs": Inputs,
    "population": Population,
    "projection": Projection,
    "readout": Readout,
    "learning_signal": LearningSignal,
    "agent": Agent,
}
#: What a table says in another way than the field of the part.
_SPECIAL = {
    (
        "population",
        "neuron",
    ): "a neuron of the library, a neuron file `.toml`, or a table with what stands in such a file",
    ("projection", "optimizer"): "its optimizer, as in the table `[optimizer]`",
    ("projection", "synapse"): "dynamics of its synapses: a synapse file `.toml`, or a table with "
    "what stands in such a file",
    ("readout", "filter"): "parameters of the readout's equation, and `trace_gain`, `trace_decay`; "
    "or an equation of its own, `update`",
    ("learning_signal", "filter"): "of what populations emit, as the `filter` of a readout; of the "
    "kind `emitted` by default",
    ("readout", "loss"): "a name, an equation, or a table with the fields of a `Loss`",
    ("learning_signal", "feedback"): "a kind, an equation such as `B*tanh(error)`, or a file with "
    "a matrix [post, output]",
}
#: What needs no word in a docstring.
_PLAIN = {
    "name": "what other parts call it",
    "size": "how many there are; of inputs and readouts, what the task has if it is left out",
    "source": "where it comes from",
    "target": "where it leads",
}
#: Fields of `Feedback` that stand beside ``feedback``.
FEEDBACK_OPTIONS = ("scale", "signal", "delay", "diffusion", "update", "parameters")


def is_graph(tables: Tables) -> bool:
    """Whether a file describes a network part by part."""
    alone = {*PARTS} - {"readout", "agent"}
    return any(isinstance(t, list) for t in tables.values()) or not alone.isdisjoint(tables)


def _part_settings(table: str) -> dict[str, Setting]:
    """A setting for every field of a part, as it is declared."""
    docs = first_sentences(PARTS[table])
    settings = {}
    for field in fields(PARTS[table]):
        doc = _SPECIAL.get((table, field.name)) or docs.get(field.name) or _PLAIN[field.name]
        kind = "value" if (table, field.name) in _SPECIAL else kind_of(str(field.type))
        shown = field.default if isinstance(field.default, int | float | str) else ""
        settings[field.name] = Setting(kind, doc, shown=str(shown))
    return settings


def _network_settings() -> dict[str, Setting]:
    """Every option of a network."""
    docs = first_sentences(Network)
    options = {}
    for field in fields(Network):
        if field.name in ("parts", "optimizer"):
            continue
        setting = EXACT.get(field.name, Setting(kind_of(str(field.type)), ""))
        shown = setting.shown or (field.default if field.default is not MISSING else "")
        shown = str(shown) if isinstance(shown, int | float | str) else ""
        options[field.name] = replace(setting, doc=docs[field.name], shown=shown)
    return options


def _feedback_settings() -> dict[str, Setting]:
    docs = first_sentences(Feedback)
    options = {name: Setting("value", docs[name]) for name in FEEDBACK_OPTIONS}
    for kind, feedback in FEEDBACKS.items():
        for name in feedback.parameters:
            options[name] = Setting("value", f"of the kind `{kind}`")
    return options


_DOCS = {
    "inputs": "A group of inputs.",
    "population": "Neurons of one kind.",
    "projection": "Synapses from one group to another.",
    "readout": "Outputs with a loss of their own.",
    "learning_signal": "How the error of a readout, or what a population emits, reaches "
    "populations.",
    "agent": "How the network acts, in a task that is an environment: its actor and its critic.",
}
_FURTHER: Mapping[str, dict[str, Setting]] = {
    "population": {
        "parameters": Setting("value", "parameters and constants that the neuron has otherwise")
    },
    "learning_signal": _feedback_settings(),
}

GRAPH_SCHEMA: Schema = {
    "run": RUN,
    "task": TASK,
    **{
        table: Table(_DOCS[table], {**_part_settings(table), **_FURTHER.get(table, {})}, many=True)
        for table in PARTS
    },
    "network": Table("Options of the network.", _network_settings()),
    "optimizer": Table(
        "How gradients change weights.",
        {
            "name": Setting(
                "text", f"one of {', '.join(OPTIMIZERS)}; or that of your own", default="adam"
            ),
            "schedule": Setting(
                "value", "factor of the learning rate, an expression of the update"
            ),
            "update": Setting("text", "of your own: statements for its states and `w`"),
            "states": Setting("value", "of your own: list of its states"),
            "parameters": Setting("value", "of your own: numbers by name"),
            "source": Setting("text", "of your own: where it comes from"),
        },
        further=optimizer_settings,
        further_doc="parameters of the [optimizer](training.md#optimizers) that is named",
    ),
}
