"""Figures that are drawn while the pages are made, and the gallery of examples.

``{network-diagram} RECIPE``
    The schematic of a recipe's network.
``{task-trial} RECIPE``
    Inputs and targets of a trial of a recipe's task.
``{task} RECIPE``
    All that the page of a task prints: schematic, trial, settings and recipe.
``{example} NAME``
    What an example of the gallery says, its stored figure, and its source.
"""

from __future__ import annotations

import ast
import base64
import io
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
from docutils import nodes
from docutils.parsers.rst import directives
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from printed import Printed, prose
from sphinx.application import Sphinx

from eprop_brian import RunConfig, plot
from eprop_brian.balanced import BalancedNetwork
from eprop_brian.equations import LOSSES
from eprop_brian.network.spec import Network
from eprop_brian.tasks import TASKS, EpisodicTask, Task

mpl.use("Agg")

_REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = _REPOSITORY / "examples"
#: Tasks that cannot be made without files of the user.
_OF_FILES = frozenset(("n-mnist", "shd", "spoken-digits", "timit", "feature-file"))


class _Drawn(Printed):
    """``{...} NAME``: a figure with a caption, kept in the page itself."""

    required_arguments = 1
    option_spec = {"alt": directives.unchanged}

    def drawn(self, name: str) -> tuple[Figure, str, str]:
        """The figure, what it shows for those who cannot see it, and its format."""
        raise NotImplementedError

    def printed(self) -> list[nodes.Node]:
        figure, alt, suffix = self.drawn(self.arguments[0])
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=130)
        width = round(96 * figure.get_size_inches()[0])
        plt.close(figure)
        kind = "svg+xml" if suffix == "svg" else suffix
        data = base64.b64encode(buffer.getvalue()).decode()
        html = (
            f'<img src="data:image/{kind};base64,{data}" alt="{self.options.get("alt", alt)}" '
            f'width="{width}" style="max-width: 100%; height: auto; background: white">'
        )
        return [nodes.raw("", html, format="html")]


class _NetworkDiagram(_Drawn):
    """``{network-diagram} RECIPE``."""

    def drawn(self, name: str) -> tuple[Figure, str, str]:
        network = RunConfig.from_recipe(name).make_network()
        alt = (
            f"Schematic of the network of the recipe {name}: groups, projections, learning signals"
        )
        return plot.network_diagram(network), alt, "svg"


class _TaskTrial(_Drawn):
    """``{task-trial} RECIPE``."""

    def drawn(self, name: str) -> tuple[Figure, str, str]:
        task = RunConfig.from_recipe(name).make_task()
        return plot.task(task), f"Inputs and targets of a trial of {task.name}", "png"


def _expand_tasks(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace ``{task} RECIPE`` by the sections of a task's page."""
    source[0] = re.sub(
        r"^```\{task\} (\S+)\n```$",
        lambda match: _sections(match[1]),
        source[0],
        flags=re.MULTILINE,
    )


def _sections(recipe: str) -> str:
    config = RunConfig.from_recipe(recipe)
    name = config.run["task"]
    kind = TASKS.get(name)
    text = ""
    if config.model.spec in (Network, BalancedNetwork) and name not in _OF_FILES:
        text += f"## Network\n\n```{{network-diagram}} {recipe}\n```\n\n"
    has_trials = kind is not None and issubclass(kind, Task) and not issubclass(kind, EpisodicTask)
    if has_trials and name not in _OF_FILES:
        said = (
            "Inputs, and the labels in their order."
            if LOSSES[config.make_task().loss].of_labels
            else "Inputs and targets; the error counts where it is shaded."
        )
        text += f"## A trial\n\n{said}\n\n```{{task-trial}} {recipe}\n```\n\n"
    if kind is not None:
        path = f"{kind.__module__}:{kind.__qualname__}"
        text += f"## Settings\n\n```{{settings}} {path}\n```\n\n"
    return f"{text}## Recipe\n\n```{{recipe}} {recipe}\n```\n"


class _Example(Printed):
    """``{example} NAME``; its picture: the option ``figure``, or ``gallery/NAME.png`` if stored."""

    required_arguments = 1
    option_spec = {"figure": directives.unchanged}

    def printed(self) -> list[nodes.Node]:
        name = self.arguments[0]
        path = EXAMPLES / f"{name}.py"
        self.env.note_dependency(str(path))
        text = path.read_text(encoding="utf-8")
        said = ast.get_docstring(ast.parse(text))
        if said is None:
            raise self.error(f"{path.name} has no docstring")
        title, *paragraphs = said.split("\n\n")
        shown: list[nodes.Node] = [nodes.paragraph("", "", nodes.strong("", title))]
        picture = self.options.get("figure", f"gallery/{name}.png")
        if "figure" in self.options or (Path(self.env.srcdir) / picture).exists():
            # As wide as it was drawn, and to be seen in full by a click: some have many panels.
            image = nodes.image(uri=f"/{picture}", alt=title, width="720px")
            target = f"{'../' * self.env.docname.count('/')}_images/{Path(picture).name}"
            shown.append(nodes.reference("", "", image, refuri=target))
        for paragraph in paragraphs:
            shown.append(nodes.paragraph("", "", *prose(" ".join(paragraph.split()))))
        summary = f"<details><summary><code>examples/{path.name}</code></summary>"
        shown.append(nodes.raw("", summary, format="html"))
        shown.append(self.literal(text, "python"))
        shown.append(nodes.raw("", "</details>", format="html"))
        return shown


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.connect("source-read", _expand_tasks)
    app.add_directive("network-diagram", _NetworkDiagram)
    app.add_directive("task-trial", _TaskTrial)
    app.add_directive("example", _Example)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
