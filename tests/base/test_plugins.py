"""What installed packages offer, and what is said of those that are broken."""

import pytest

from eprop_brian import LIF, Network, RunConfig, Trainer, get_neuron, get_task
from eprop_brian.base.plugins import PluginError, plugins
from eprop_brian.tasks import task_class
from support.command import call
from support.plugins import install

POINTS = [
    "[eprop_brian.tasks]",
    "faster = own_package:Faster",
    "[eprop_brian.neurons]",
    "slow-lif = own_package:NEURON",
    "[eprop_brian.devices]",
    "loud = own_package:Loud",
]


@pytest.fixture
def package(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "own_package", POINTS)


def test_what_a_package_offers_has_its_name_everywhere(package):
    task = get_task("faster", peak=0.4)
    assert task.peak == 0.4
    assert str(get_neuron("slow-lif").parameters["tau_m"]).startswith("30")
    config = RunConfig.from_recipe("faster", neuron="slow-lif", settings=["task.peak=0.3"])
    assert config.make_task().peak == 0.3 and [*config.neurons] == ["lif"]
    assert "faster" in call("tasks")
    with pytest.raises(ValueError, match=r"did you mean 'peak'"):
        RunConfig.from_recipe("faster", settings=["task.paek=0.3"])


def test_a_device_of_a_package_runs_a_network(package):
    task = get_task("faster")
    trainer = Trainer(Network.for_task(task, [(LIF, 3)]), task, device="loud")
    assert type(trainer.session.program).made == 1
    with pytest.raises(ValueError, match=r"unknown device 'lod'.*runtime, loud"):
        Trainer(Network.for_task(task, [(LIF, 3)]), task, device="lod")


@pytest.mark.parametrize(
    ("point", "module", "says"),
    [
        ("own_broken:Missing", "", "cannot be imported: AttributeError"),
        ("own_broken:Missing", "import nowhere", "cannot be imported: ModuleNotFoundError: No mod"),
        ("own_broken:Task", "Task = 3", "must be a subclass of Task, not 3"),
        ("own_broken:Other", "from own_package import Faster as Other", "whose name is 'broken'"),
    ],
)
def test_a_broken_package_is_named(tmp_path, monkeypatch, package, point, module, says):
    folder = tmp_path / "broken"
    folder.mkdir()
    points = ["[eprop_brian.tasks]", f"broken = {point}"]
    install(folder, monkeypatch, "own_broken", points, module)
    with pytest.raises(PluginError, match=f"'broken' of the package 'own_broken'.*{says}"):
        task_class("broken")


def test_two_packages_cannot_offer_one_name(tmp_path, monkeypatch, package):
    folder = tmp_path / "second"
    folder.mkdir()
    install(folder, monkeypatch, "own_second", ["[eprop_brian.tasks]", "faster = own_second:X"])
    with pytest.raises(PluginError, match=r"two packages offer eprop_brian.tasks 'faster': .*own_"):
        plugins("eprop_brian.tasks")


def test_the_library_keeps_its_names(tmp_path, monkeypatch):
    points = ["[eprop_brian.tasks]", "digits = own_digits:X"]
    install(tmp_path, monkeypatch, "own_digits", points, "raise RuntimeError")
    assert task_class("digits").__module__ == "eprop_brian.tasks.digits"
