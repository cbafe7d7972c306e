"""The package as it is installed: what is in it, under which names."""

import configparser
import re
import subprocess
import sys
from importlib import import_module, resources
from importlib.metadata import distributions, entry_points
from pathlib import Path

import pytest

import eprop_brian

REPOSITORY = Path(__file__).resolve().parents[1]

PACKAGES = [
    "eprop_brian",
    "eprop_brian.base",
    "eprop_brian.symbolic",
    "eprop_brian.network",
    "eprop_brian.network.step",
    "eprop_brian.steps",
    "eprop_brian.devices",
    "eprop_brian.training",
    "eprop_brian.balanced",
    "eprop_brian.brian",
    "eprop_brian.brian.reading",
    "eprop_brian.export",
    "eprop_brian.figures",
    "eprop_brian.runs",
    "eprop_brian.recipes",
    "eprop_brian.cli",
    "eprop_brian.native",
    "eprop_brian.equations",
    "eprop_brian.equations.published",
    "eprop_brian.tasks",
]

SOURCES = {
    "eprop_brian": "eprop_brian",
    "equations": "eprop_brian.equations",
    "tasks": "eprop_brian.tasks",
}


@pytest.fixture(scope="module")
def installed():
    """The installed distribution; only that has a RECORD, a build's egg-info folder has not."""
    return next(d for d in distributions(name="eprop_brian") if d.read_text("RECORD") is not None)


def find_installed(name):
    """What Python finds under a name when only installed packages are on its path."""
    program = f"from importlib.util import find_spec; print(find_spec({name!r}))"
    return subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_version_is_the_installed_one(installed):
    assert eprop_brian.__version__ == installed.version


def test_name_and_licence(installed):
    assert installed.metadata["Name"] == "eprop_brian"
    assert installed.metadata["License-Expression"] == "MIT"


@pytest.mark.parametrize("name", PACKAGES)
def test_package_can_be_imported(name):
    assert import_module(name).__doc__


def test_no_package_of_the_repository_is_left_out():
    """A folder with an ``__init__.py`` that setup.cfg does not name would not be installed."""
    found = {
        ".".join([package, *init.parent.relative_to(REPOSITORY / folder).parts])
        for folder, package in SOURCES.items()
        for init in (REPOSITORY / folder).rglob("__init__.py")
    }
    assert found == set(PACKAGES)


@pytest.mark.parametrize("name", ["equations", "tasks"])
def test_folder_is_not_installed_as_a_top_level_package(installed, name):
    assert name not in {file.parts[0] for file in installed.files}
    assert find_installed(name) == "None"


@pytest.mark.parametrize("name", ["eprop_brian.equations", "eprop_brian.tasks"])
def test_top_level_folder_is_installed_inside_the_package(name):
    assert find_installed(name).startswith("ModuleSpec")


def test_command_is_registered():
    (command,) = entry_points(group="console_scripts", name="eprop-brian")
    assert command.value == "eprop_brian.cli:main"
    assert callable(command.load())


def test_types_are_declared():
    assert resources.files("eprop_brian").joinpath("py.typed").is_file()


def test_every_template_is_installed():
    templates = {
        path.name
        for path in resources.files("eprop_brian.devices").joinpath("templates").iterdir()
        if path.is_file()
    }
    source = REPOSITORY / "eprop_brian" / "devices" / "templates"
    assert templates
    assert templates == {path.name for path in source.iterdir() if path.is_file()}


def test_the_conda_recipe_requires_what_the_package_requires():
    """The same version, and the same packages, under the names that conda-forge has for them."""
    metadata = configparser.ConfigParser()
    metadata.read(REPOSITORY / "setup.cfg")
    recipe = (REPOSITORY / "conda" / "meta.yaml").read_text()
    version = metadata["metadata"]["version"]
    assert f'{{% set version = "{version}" %}}' in recipe
    run = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    named = set(re.findall(r"^    - ([\w-]+)", run, re.MULTILINE))
    required = re.findall(r"^([\w-]+)", metadata["options"]["install_requires"], re.MULTILINE)
    renamed = {"matplotlib": "matplotlib-base"}
    assert named - {"python", "cxx-compiler", "make"} == {renamed.get(n, n) for n in required}
