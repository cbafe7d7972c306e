"""The documentation: what its pages show runs, and names what exists."""

import ast
import re
from importlib import import_module
from pathlib import Path

import nbformat
import pytest

import eprop_brian
from eprop_brian.cli import main
from eprop_brian.equations import NEURONS
from eprop_brian.runs.models import MODELS
from eprop_brian.symbolic.environment_file import read_environment
from eprop_brian.symbolic.neuron_file import read_neuron
from eprop_brian.tasks import TASKS, EpisodicTask
from support.acting import assert_same_environment

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("tasks/*.md"))]
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
REFERENCE = "".join(p.read_text(encoding="utf-8") for p in sorted((DOCS / "api").glob("*.md")))
#: Modules of the reference, each with the names that it shows; none: all public ones.
DOCUMENTED = [
    (module, names.replace(",", " ").split())
    for block in re.findall(r"^```\{modules\}\n(.*?)^```", REFERENCE, re.MULTILINE | re.DOTALL)
    for module, _, names in (line.partition(":") for line in block.splitlines())
] + [(module, []) for module in re.findall(r"automodule:: (\S+)", REFERENCE)]
NEURON_FILES = sorted((DOCS / "neurons").glob("*.toml"))
ENVIRONMENT_FILES = sorted((DOCS / "environments").glob("*.toml"))


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of a page in one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def with_python(pages: list[Path]) -> list[Path]:
    return [page for page in pages if blocks(page, "python")]


def calls() -> list[tuple[str, str]]:
    """Every call of the command that a page shows, with the page's name."""
    return [
        (page.name, line.removeprefix("$ ").partition("#")[0].strip())
        for page in PAGES
        for block in blocks(page, "console")
        for line in block.splitlines()
        if line.startswith("$ eprop-brian ")
    ]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder of its own, in which the repository's paths can be read."""
    for name in ("docs", "tests"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    monkeypatch.chdir(tmp_path)


# --- what runs ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("page", with_python(PAGES), ids=lambda page: page.stem)
def test_python_of_a_page_runs(page, elsewhere):
    """The blocks of a page, in order, as one script."""
    namespace = {"__name__": page.stem}
    for number, block in enumerate(blocks(page, "python")):
        exec(compile(block, f"{page.name}, python block {number + 1}", "exec"), namespace)


@pytest.fixture(scope="module")
def kernel():
    """One kernel for all notebooks: to start it and to import costs more than what most show."""
    from nbclient import NotebookClient

    client = NotebookClient(nbformat.v4.new_notebook(), timeout=300)
    with pytest.MonkeyPatch.context() as environment:
        # Debuggers warn about frozen modules in the kernel.
        environment.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        with client.setup_kernel():
            yield client


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, kernel, tmp_path):
    """In a folder of its own, without the names of the notebooks before."""
    kernel.nb = nbformat.read(path, as_version=4)
    fresh = nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {tmp_path}")
    kernel.nb.cells.insert(0, fresh)
    kernel.reset_execution_trackers()
    for index, cell in enumerate(kernel.nb.cells):
        kernel.execute_cell(cell, index)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_with_outputs(path):
    """As it was run from top to bottom, without an error."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert all(output.output_type != "error" for output in cell.outputs)
        # What draws a figure shows it, styled as it is.
        if re.match(r"plot\.\w+\(.*\);$", cell.source.rpartition("\n")[2]):
            kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
            assert kinds & {"image/png", "image/svg+xml"}, cell.source
    assert path.stat().st_size < 600_000


def test_every_notebook_is_on_the_page_of_notebooks():
    text = (DOCS / "notebooks.md").read_text()
    listed = re.findall(r"\]\(notebooks/(\w+)\.ipynb\)", text)
    assert sorted(listed) == sorted(path.stem for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NEURON_FILES, ids=lambda path: path.stem)
def test_neuron_file_is_read_and_shown(path):
    read_neuron(path)
    assert f"{{neuron-file}} neurons/{path.name}" in (DOCS / "neurons.md").read_text()


@pytest.mark.parametrize("path", ENVIRONMENT_FILES, ids=lambda path: path.stem)
def test_environment_file_is_read_and_shown(path):
    read_environment(path)
    assert f"{{environment-file}} environments/{path.name}" in (DOCS / "acting.md").read_text()


def test_the_environment_in_a_file_is_that_in_python():
    (block,) = [b for b in blocks(DOCS / "acting.md", "python") if "TRACKING = " in b]
    namespace = {}
    exec(block.partition("class Tracking")[0], namespace)
    in_file = read_environment(DOCS / "environments" / "tracking.toml")
    assert_same_environment(in_file, namespace["TRACKING"])
    for field in ("n_actions", "most_actions", "action_every"):
        assert getattr(in_file, field) == getattr(namespace["TRACKING"], field)


# --- what exists ----------------------------------------------------------------------------------


def test_there_is_something_to_test():
    assert len(PAGES) > 6
    assert NOTEBOOKS
    assert NEURON_FILES
    assert ENVIRONMENT_FILES
    assert len(calls()) > 5


def test_command_reference_has_every_command():
    text = (DOCS / "command.md").read_text()
    shown = re.findall(r"^```\{command\} (\S+)", text, re.MULTILINE)
    assert sorted(shown) == sorted(main.commands)


@pytest.mark.parametrize(("page", "call"), calls(), ids=lambda value: value.replace("/", "_"))
def test_call_uses_commands_and_options_that_exist(page, call):
    name, *arguments = call.removeprefix("eprop-brian ").split()
    options = {option for p in main.commands[name].params for option in p.opts}
    used = {argument for argument in arguments if argument.startswith("--")}
    assert used <= options, page


@pytest.mark.parametrize("model", MODELS)
def test_the_settings_of_every_model_are_printed(model):
    assert f"```{{schema}} {model}\n" in (DOCS / "settings.md").read_text()


def test_the_reference_names_what_exists():
    modules = [module for module, _ in DOCUMENTED]
    assert len(set(modules)) == len(modules) > 60
    for module, names in DOCUMENTED:
        assert set(names) <= set(import_module(module).__all__), module


def documented_names() -> set[str]:
    shown = {
        f"{module}.{name}"
        for module, names in DOCUMENTED
        for name in names or import_module(module).__all__
    }
    return shown | set(re.findall(r"auto(?:function|data):: (\S+)", REFERENCE))


def test_the_reference_lists_what_scripts_import_from_the_package():
    """By the table on its first page, whose links lead to what is documented."""
    table = dict(re.findall(r"`(\w+) <(eprop_brian[\w.]+)>`", (DOCS / "api/index.md").read_text()))
    assert table.keys() == set(eprop_brian.__all__) - {"__version__"}
    assert set(table.values()) - {"eprop_brian.plot"} <= documented_names()


def imported_names() -> list[tuple[str, str, str]]:
    """Where pages, notebooks and examples import which name, and from which module."""
    sources = [(page.name, block) for page in PAGES for block in blocks(page, "python")]
    sources += [(path.name, path.read_text()) for path in (REPOSITORY / "examples").glob("*.py")]
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        # Without the lines that only notebooks know.
        code = (re.sub(r"^[%!].*$", "", c.source, flags=re.MULTILINE) for c in cells)
        sources += [
            (path.name, source)
            for cell, source in zip(cells, code, strict=True)
            if cell.cell_type == "code"
        ]
    return [
        (where, node.module, alias.name)
        for where, source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eprop_brian.")
        for alias in node.names
    ]


def test_the_reference_has_what_the_documentation_imports():
    """Under the module that defines it, or one that offers it."""
    shown = documented_names()
    imported = imported_names()
    assert len(imported) > 40
    for where, module, name in imported:
        home = getattr(getattr(import_module(module), name), "__module__", module)
        package = module.rpartition(".")[0]
        assert {f"{offered}.{name}" for offered in (module, home, package)} & shown, where


def test_every_reference_case_is_in_the_table():
    shown = re.findall(r"^\| `(\w+)` \| \d", (DOCS / "verification.md").read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(p.stem for p in (REPOSITORY / "tests/reference").glob("*.npz"))


def test_every_library_neuron_is_in_the_table():
    text = (DOCS / "neurons.md").read_text()
    assert re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+\d{4} \|", text, re.MULTILINE) == list(NEURONS)


def test_every_environment_is_in_the_table_of_tasks():
    rows = re.findall(
        r"^\| `([\w-]+)[:\w.]*` \| [\[\w]", (DOCS / "tasks.md").read_text(), re.MULTILINE
    )
    episodic = {name for name, task in TASKS.items() if issubclass(task, EpisodicTask)}
    assert episodic <= {*rows}


def test_every_recipe_of_a_task_has_a_page():
    """Variants of a task are on its page, and tasks that need a file or a game in the table."""
    named = {name for model in MODELS.values() for name in model.tasks}
    pages = {path.stem for path in (DOCS / "tasks").glob("*.md")}
    assert pages == named - {"gymnasium", "atari", "environment", "arrays"}
    for path in (DOCS / "tasks").glob("*.md"):
        assert f"```{{task}} {path.stem}\n```" in path.read_text()
        assert f"](tasks/{path.name})" in (DOCS / "tasks.md").read_text()


def test_every_example_is_in_the_gallery():
    shown = re.findall(r"^```\{example\} (\w+)$", (DOCS / "gallery.md").read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(path.stem for path in (REPOSITORY / "examples").glob("*.py"))


def test_names_in_the_glossary_exist():
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("eprop_brian", "equations", "tasks")
        for path in (REPOSITORY / folder).rglob("*.py")
    )
    words = set(re.findall(r"\w+", sources)) | {"eps_v", "eps_a"}
    text = (DOCS / "glossary.md").read_text()
    rows = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(names) > 30
    assert not set(names) - words
