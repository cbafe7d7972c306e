"""Directives that print what runs, so that the pages cannot contradict it.

``{derivation}``
    Sections of `derivation_latex` for a library neuron or a neuron file.
``{strings}``
    Equation strings of the package: an object's path, ``module:name`` or ``module:name.attribute``.
``{neuron-file}``
    A neuron file, once `read_neuron` has accepted it.
``{teacher-file}``, ``{environment-file}``
    The same of a teacher file, or an environment file.
``{neuron-error}``
    A change to a neuron file, and the error with which `read_neuron` refuses it.
``{shell}``
    Calls of the command ``eprop-brian`` and what it prints.
``{command}``
    Usage, arguments and options of one of its commands.
``{recipe}``
    The settings with which a task is trained by default.
``{schema}``
    The settings of a model, as its schema declares them.
``{settings}``
    Fields of a dataclass, those of its base classes first, and their defaults.
``{modules}``
    A section of the reference for each module, one a line: ``MODULE`` or ``MODULE: NAME, NAME``.
``{tree}``
    The modules of a package, with the first line of each docstring.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import click
from click.testing import CliRunner
from docutils import nodes
from docutils.parsers.rst import directives
from mathml import SECTION
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import eprop_brian
from eprop_brian.cli import main
from eprop_brian.equations import LEAKY, Neuron, get_neuron
from eprop_brian.runs.config import CONFIG, RunConfig
from eprop_brian.runs.graph import GRAPH
from eprop_brian.runs.models import MODELS
from eprop_brian.symbolic.eligibility import derive
from eprop_brian.symbolic.environment_file import read_environment
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.latex import derivation_latex
from eprop_brian.symbolic.neuron_file import read_neuron
from eprop_brian.symbolic.programs import readout_program
from eprop_brian.symbolic.step_map import step_map
from eprop_brian.symbolic.teacher import read_teacher

#: The package's modules.
_SOURCES = [
    path
    for package in (eprop_brian, eprop_brian.equations, eprop_brian.tasks)
    for path in Path(package.__file__).parent.rglob("*.py")
]


class Printed(SphinxDirective):
    """What the directives share: files of the documentation, and literal text."""

    def run(self) -> list[nodes.Node]:
        # A page is made again when what it prints has changed.
        for source in (Path(__file__), *_SOURCES):
            self.env.note_dependency(str(source))
        return self.printed()

    def printed(self) -> list[nodes.Node]:
        raise NotImplementedError

    def path(self, name: str) -> Path:
        relative, absolute = self.env.relfn2path(name)
        self.env.note_dependency(relative)
        return Path(absolute)

    def neuron(self, name: str) -> Neuron:
        return read_neuron(self.path(name)) if name.endswith(".toml") else get_neuron(name)

    def literal(self, text: str, language: str, caption: str = "") -> nodes.Node:
        block = nodes.literal_block(text, text, language=language)
        if not caption:
            return block
        container = nodes.container("", literal_block=True, classes=["literal-block-wrapper"])
        container += [nodes.caption("", "", nodes.literal(caption, caption)), block]
        return container


class _Derivation(Printed):
    """``{derivation} NEURON``; the content names sections by their beginning, one a line."""

    required_arguments = 1
    has_content = True

    def printed(self) -> list[nodes.Node]:
        system = derive(step_map(self.neuron(self.arguments[0])))
        latex = derivation_latex(system, readout_program(LEAKY))
        sections = {match["title"]: match["rows"].strip() for match in SECTION.finditer(latex)}
        shown: list[nodes.Node] = []
        for wanted in filter(None, map(str.strip, self.content)):
            found = [title for title in sections if title.startswith(wanted)]
            if len(found) != 1:
                raise self.error(f"no section '{wanted}'; there are {', '.join(sections)}")
            shown.append(nodes.paragraph("", "", nodes.strong("", found[0])))
            # A row of text alone names the neuron's source, which stands in its strings.
            rows = re.sub(r"^& \\text\{.*?\} \\\\\n", "", sections[found[0]])
            block = nodes.math_block(rows, rows, number=None, label=None, nowrap=True)
            self.set_source_info(block)
            shown.append(block)
        return shown


class _Strings(Printed):
    """``{strings} MODULE:NAME[.ATTRIBUTE] ...``: strings, or mappings of names to them."""

    required_arguments = 1
    final_argument_whitespace = True

    def printed(self) -> list[nodes.Node]:
        lines: list[str] = []
        for path in self.arguments[0].split():
            module, _, names = path.partition(":")
            value: Any = import_module(module)
            for name in names.split("."):
                value = getattr(value, name)
            if isinstance(value, Mapping):
                width = max(map(len, value))
                texts = {k: getattr(item, "description", item) for k, item in value.items()}
                lines += [f"{name:<{width}}  {text}" for name, text in texts.items()]
            else:
                lines += str(value).strip().split("\n")
        return [self.literal("\n".join(lines), "text")]


class _NeuronFile(Printed):
    """``{neuron-file} PATH``."""

    required_arguments = 1
    read = staticmethod(read_neuron)

    def printed(self) -> list[nodes.Node]:
        path = self.path(self.arguments[0])
        try:
            self.read(path)
        except EquationError as error:
            raise self.error(str(error)) from error
        return [self.literal(path.read_text(encoding="utf-8"), "toml", path.name)]


class _TeacherFile(_NeuronFile):
    """``{teacher-file} PATH``."""

    read = staticmethod(read_teacher)


class _EnvironmentFile(_NeuronFile):
    """``{environment-file} PATH``."""

    read = staticmethod(read_environment)


class _NeuronError(Printed):
    """``{neuron-error} PATH``; the content takes lines away (``-``) and puts others in (``+``)."""

    required_arguments = 1
    has_content = True

    def printed(self) -> list[nodes.Node]:
        path = self.path(self.arguments[0])
        before, after = (
            "\n".join(line[2:] for line in self.content if line.startswith(sign)) for sign in "-+"
        )
        text = path.read_text(encoding="utf-8")
        if text.count(before) != 1:
            raise self.error(f"{path.name} must contain once: {before}")
        with tempfile.TemporaryDirectory() as folder:
            changed = Path(folder) / path.name
            changed.write_text(text.replace(before, after), encoding="utf-8")
            try:
                read_neuron(changed)
            except EquationError as error:
                message = str(error)
            else:
                raise self.error(f"{path.name} can be read after: {after}")
        said = self.literal(message, "text")
        said["classes"].append("wrapped")
        return [self.literal("\n".join(self.content), "diff"), said]


class _Shell(Printed):
    """``{shell}``; every line of the content is a call. Option ``lines``: so many of the output.

    With the option ``folder`` they run in a new folder, and long lines are wrapped. Progress bars
    are not shown.
    """

    has_content = True
    option_spec = {"lines": directives.positive_int, "folder": directives.flag}

    def printed(self) -> list[nodes.Node]:
        if "folder" not in self.options:
            return self.called()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            shown = self.called()
        shown[0]["classes"].append("wrapped")  # type: ignore[index]
        return shown

    def called(self) -> list[nodes.Node]:
        text = []
        for call in self.content:
            program, *arguments = shlex.split(call)
            if program != "eprop-brian":
                raise self.error(f"{program} is not run here")
            arguments = [str(self.path(a)) if a.endswith(".toml") else a for a in arguments]
            result = CliRunner().invoke(main, arguments, prog_name="eprop-brian")
            if result.exit_code:
                raise self.error(f"{call}: {result.output}")
            lines = [line.rpartition("\r")[2] for line in result.output.rstrip().split("\n")]
            output = [line for line in lines if not re.match(r"\s*\d+%\|", line)]
            kept = self.options.get("lines", len(output))
            text += [f"$ {call}", *output[:kept], *(["..."] if len(output) > kept else [])]
        return [self.literal("\n".join(text), "console")]


class _Command(Printed):
    """``{command} NAME``."""

    required_arguments = 1

    def printed(self) -> list[nodes.Node]:
        name = self.arguments[0]
        command = main.commands[name]
        context = click.Context(command, info_name=f"eprop-brian {name}")
        shown: list[nodes.Node] = [
            nodes.paragraph("", _sentence(command.help or "")),
            self.literal(context.get_usage().removeprefix("Usage: "), "text"),
        ]
        rows = []
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                rows.append((parameter.make_metavar(context), _argument(parameter)))
            else:
                rows.append(parameter.get_help_record(context))
        return [*shown, _table(("Argument or option", "Meaning"), rows)]


def _sentence(text: str) -> str:
    return " ".join(inspect.cleandoc(text).split())


def _argument(parameter: click.Parameter) -> str:
    number = "one or more, " if parameter.nargs == -1 else ""
    return f"{number}{'required' if parameter.required else 'may be left out'}"


class _Recipe(Printed):
    """``{recipe} TASK``."""

    required_arguments = 1

    def printed(self) -> list[nodes.Node]:
        config = RunConfig.from_recipe(self.arguments[0])
        shown = self.literal(str(config.files()[CONFIG]).strip(), "toml", CONFIG)
        # A table in a line, such as a neuron's parameters, may be longer than the column.
        shown[1]["classes"].append("wrapped")  # type: ignore[index]
        return [shown]


class _Schema(Printed):
    """``{schema} MODEL``: tables of ``config.toml``, and what ``--set`` takes beside them.

    The model ``parts`` is that of networks which a file describes part by part.
    """

    required_arguments = 1

    def printed(self) -> list[nodes.Node]:
        model = {**MODELS, "parts": GRAPH}[self.arguments[0]]
        shown: list[nodes.Node] = []
        for name, table in {**model.schema, **model.parameters}.items():
            further = f" Also: {table.further_doc}." if table.further_doc else ""
            text = f"{f'`[[{name}]]`' if table.many else f'`[{name}]`'} {table.doc}{further}"
            without_links = re.sub(r"\[([^][]+)\]\([^()]+\)", r"\1", text)
            shown.append(nodes.paragraph("", "", *prose(without_links)))
            rows = [(key, s.shown_default, s.meaning) for key, s in table.settings.items()]
            if rows:
                shown.append(_table(("Key", "Default", "Meaning"), rows))
        return shown


class _Settings(Printed):
    """``{settings} MODULE:NAME``, of a class or a function.

    The content describes parameters without a docstring.
    """

    required_arguments = 1
    has_content = True

    def printed(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].partition(":")
        target = reduce(getattr, name.split("."), import_module(module))
        meanings = dict(_parameters(target))
        for line in self.content:
            field, _, meaning = line.partition(": ")
            if meanings.get(field):
                raise self.error(f"the docstring of {name} describes {field} already")
            meanings[field] = meaning
        rows = [
            (parameter, _default(default), meanings.get(parameter, ""))
            for parameter, default in _defaults(target).items()
        ]
        return [_table(("Name", "Default", "Meaning"), rows)]


def _defaults(target: Any) -> dict[str, Any]:
    """Defaults of the parameters of a data class or a function; MISSING for those without."""
    if not isinstance(target, type):
        parameters = inspect.signature(target).parameters.values()
        return {
            p.name: MISSING if p.default is p.empty else p.default
            for p in parameters
            if p.kind is not p.VAR_KEYWORD
        }
    return {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(target)
        if field.init
    }


def _default(default: Any) -> str:
    """The default as it would be written, in backquotes; ``""`` for nothing."""
    if default is MISSING:
        return "(required)"
    if default is None or default in ("", {}, ()):
        return ""
    default = getattr(default, "name", default)
    text = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    # Brian2 writes 1 ms as "1. ms".
    return f"`{re.sub(r'(?<=[0-9])[.](?= )', '', text)}`"


def _parameters(target: Any) -> Iterator[tuple[str, str]]:
    """Names and texts of the section Parameters in the docstring of a class or function.

    Of a class, those of its base classes come first.
    """
    bases = target.__bases__ if isinstance(target, type) else ()
    for base in bases:
        yield from _parameters(base)
    section = (inspect.getdoc(target) or "").partition("Parameters\n----------\n")[2]
    section = re.split(r"\n\n\w+\n-+\n", section)[0]
    for entry in re.split(r"\n(?=\S)", section):
        head, _, text = entry.partition("\n")
        for name in head.partition(" : ")[0].split(", "):
            yield name, _sentence(text)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> nodes.table:
    """A table with code in its first column; equal texts of neighbours in its last are joined."""
    head, rows = list(head), [list(row) for row in rows]
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]

    def cell(text: str) -> nodes.entry:
        return nodes.entry("", nodes.paragraph("", "", *prose(text)))

    body = nodes.tbody()
    for number, (name, *texts, meaning) in enumerate(rows):
        row = nodes.row("", cell(f"`{name}`" if name else ""), *map(cell, texts))
        if number == 0 or not meaning or rows[number - 1][-1] != meaning:
            row += cell(meaning)
            same = list(takewhile(lambda later, m=meaning: later[-1] == m, rows[number:]))
            if meaning and len(same) > 1:
                row[-1]["morerows"] = len(same) - 1
        body += row
    group += nodes.thead("", nodes.row("", *map(cell, head)))
    group += body
    return nodes.table("", group, classes=["settings"])


def prose(text: str) -> list[nodes.Node]:
    """Text in which backquotes mark code, and formulas after ``:math:``, as in docstrings."""
    parts = re.split(r"(:math:)?`+([^`]+)`+", text)
    shown: list[nodes.Node] = [nodes.Text(parts[0])]
    for role, quoted, after in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        kind = nodes.math if role else nodes.literal
        shown += [kind(quoted, quoted), nodes.Text(after)]
    return shown


class _Tree(Printed):
    """``{tree} PACKAGE``"""

    required_arguments = 1

    def printed(self) -> list[nodes.Node]:
        return [_table(("Module", "Contents"), _summaries(self.arguments[0]))]


def _modules(package: str) -> list[str]:
    """The names of a package's public modules."""
    path = import_module(package).__path__
    names = [module.name for module in walk_packages(path, f"{package}.")]
    return [name for name in names if not name.rpartition(".")[2].startswith("_")]


def _summaries(package: str) -> Iterator[tuple[str, str]]:
    for name in _modules(package):
        spec = find_spec(name)
        assert spec is not None and spec.origin is not None
        text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
        yield name.removeprefix("eprop_brian."), text.partition("\n")[0]


def _list_modules(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace ``{modules}`` by a section for each module that its lines name."""

    def sections(match: re.Match[str]) -> str:
        lines = (line.partition(":") for line in match[1].splitlines())
        return "\n".join(
            f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:{members}\n```\n"
            for name, _, members in lines
        )

    source[0] = re.sub(
        r"^```\{modules\}\n(.*?)^```$", sections, source[0], flags=re.MULTILINE | re.DOTALL
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.connect("source-read", _list_modules)
    for name, directive in {
        "derivation": _Derivation,
        "strings": _Strings,
        "neuron-file": _NeuronFile,
        "teacher-file": _TeacherFile,
        "environment-file": _EnvironmentFile,
        "neuron-error": _NeuronError,
        "shell": _Shell,
        "command": _Command,
        "recipe": _Recipe,
        "schema": _Schema,
        "settings": _Settings,
        "tree": _Tree,
    }.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
