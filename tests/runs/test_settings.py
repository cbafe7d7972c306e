"""One schema checks the settings of every model, wherever they come from."""

import re
from inspect import signature

import pytest

from eprop_brian.network.spec import Network
from eprop_brian.runs.config import RunConfig
from eprop_brian.runs.eprop_settings import parameters_of
from eprop_brian.runs.graph import GRAPH
from eprop_brian.runs.models import MODELS
from eprop_brian.tasks import task_class

TASKS = {
    "eprop": "pattern-generation",
    "balanced": "balanced-bistable",
    "meta": "one-shot-arm",
    "synthetic": "copy-repeat",
}
#: By model: a setting, what a file has in its place, and what is said of it.
MISTAKES = [
    ("eprop", "network.c_rg=1", "unknown key 'c_rg' (did you mean 'c_reg'?). There are: feedback,"),
    ("eprop", "network.c_reg=big", "network.c_reg = 'big' must be a finite number"),
    ("eprop", "network.average_gradient=1", "network.average_gradient = 1 must be true or false"),
    ("eprop", "network.f_target=10 ms", "network.f_target = '10 ms' has the wrong unit"),
    ("eprop", "run.seed=-1", "run.seed must be at least 0, not -1"),
    ("eprop", "size.lif=2.5", "size.lif = 2.5 must be a whole number"),
    ("eprop", "optimizer.name=adm", "unknown optimizer 'adm' (did you mean 'adam'?)"),
    ("eprop", "run.device=gpu", "unknown device 'gpu'"),
    ("balanced", "network.mmu=1", "unknown key 'mmu' (did you mean 'mu'?). There are: n, rule,"),
    ("balanced", "network.n=2.5", "network.n = 2.5 must be a whole number"),
    ("balanced", "network.one_spike=1", "network.one_spike = 1 must be true or false"),
    ("balanced", "network.dt=1 Hz", "network.dt = '1 Hz' has the wrong unit"),
    ("balanced", "test.kill=1", "test.kill must be 0.0 to 0.95, not 1"),
    ("balanced", "run.dtype=int", "unknown dtype 'int'"),
]


@pytest.mark.parametrize(("model", "setting", "message"), MISTAKES)
def test_a_wrong_setting_is_refused_by_name(model, setting, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        RunConfig.from_recipe(TASKS[model], settings=[setting])


@pytest.mark.parametrize(("model", "setting", "message"), MISTAKES)
def test_a_wrong_setting_in_a_file_is_refused_with_the_file(model, setting, message, tmp_path):
    RunConfig.from_recipe(TASKS[model]).write(tmp_path)
    path = tmp_path / "config.toml"
    name, _, value = setting.partition("=")
    table, _, key = name.partition(".")
    value = value if re.fullmatch(r"[-\d.]+", value) else f'"{value}"'
    head, mark, rest = path.read_text().partition(f"[{table}]\n")
    rest = re.sub(rf"(?m)^{key} = .*\n", "", rest, count=1)
    path.write_text(f"{head}{mark}{key} = {value}\n{rest}")
    with pytest.raises(ValueError, match=r"config\.toml: ") as refused:
        RunConfig.read(tmp_path)
    # What must be listed differs from the recipe's keys in their order alone.
    assert message.partition(" There are")[0] in str(refused.value)


@pytest.mark.parametrize("model", MODELS)
def test_unknown_tables_and_other_texts_are_refused(model):
    config = RunConfig.from_recipe(TASKS[model])
    with pytest.raises(ValueError, match=r"unknown table 'netwrk' .did you mean 'network'"):
        config.with_setting("netwrk.n=1")
    with pytest.raises(ValueError, match=r"write TABLE\.KEY=VALUE, for example \w+\.\w+="):
        config.with_setting("network")
    with pytest.raises(ValueError, match="a recipe is for one task"):
        config.with_setting("run.task=digits")
    with pytest.raises(AttributeError, match="has no 'nothing'"):
        config.nothing  # noqa: B018


@pytest.mark.parametrize("model", [*MODELS.values(), GRAPH])
def test_every_setting_is_documented_in_one_line(model):
    tables = {**model.schema, **model.parameters}
    for name, table in tables.items():
        assert table.doc.endswith(".")
        assert table.settings or table.further_doc
        for key, setting in table.settings.items():
            assert setting.doc and "\n" not in setting.doc, (name, key)
            assert len(setting.doc) < 400, (name, key)


def test_options_of_the_network_are_those_of_its_constructor():
    settings = MODELS["eprop"].schema["network"].settings
    assert settings["c_reg"].doc.startswith("Strength of the firing-rate regulariser")
    assert settings["c_reg"].shown_default == "`0.0`"
    for name in ("loss", "gradient", "delays", "learned", "rewiring", "clip_norm"):
        assert name in settings
    assert settings["updates"].meaning.endswith(" (`batch`, `action`, `step` or `spike`)")
    options = {*signature(Network).parameters, *signature(Network.standard).parameters}
    assert {n for n in settings if not n.startswith("feedback")} <= options


def test_texts_that_are_allowed_are_listed():
    schema = MODELS["eprop"].schema
    assert schema["run"].settings["dtype"].meaning == "type of all state (`float64` or `float32`)"
    assert "`momentum`" in schema["optimizer"].settings["name"].meaning
    # One text is no choice.
    assert schema["run"].settings["model"].meaning.endswith("follow")


def test_defaults_that_are_made_are_shown():
    settings = parameters_of(task_class("evidence-accumulation"))
    assert settings["cue_duration"].shown_default == "`100 ms`"
    assert settings["n_cues"].shown_default == "`7`"


@pytest.mark.parametrize("model", MODELS)
def test_a_configuration_comes_back_from_its_files(model, tmp_path):
    config = RunConfig.from_recipe(TASKS[model], run={"seed": 7})
    config.write(tmp_path)
    read = RunConfig.read(tmp_path)
    assert read == config and config.is_of(tmp_path)
    assert f'model = "{model}"' in (tmp_path / "config.toml").read_text()
    other = config.with_values("run", seed=8)
    assert other != config and not other.is_of(tmp_path)
    elsewhere = "jax" if model == "synthetic" else "runtime"
    assert config.with_values("run", device=elsewhere).is_of(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((r"\[network\]", "[netwrk]"), r"the table \[network\] is missing"),
        ((r"\[run\]", "[rn]"), r"the table \[run\] is missing"),
        (
            ('"(eprop|balanced|meta|synthetic)"', '"epro"'),
            "unknown model 'epro' .did you mean 'eprop'",
        ),
        ((r"(?s)^", "a = 1\n"), "a stands outside of the tables"),
        ((r"\[run\]", "[run"), "config.toml: "),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_a_damaged_file_is_named(model, change, message, tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        RunConfig.read(tmp_path)
    RunConfig.from_recipe(TASKS[model]).write(tmp_path)
    path = tmp_path / "config.toml"
    path.write_text(re.sub(*change, path.read_text(), count=1))
    with pytest.raises(ValueError, match=message):
        RunConfig.read(tmp_path)


@pytest.mark.parametrize(
    ("task", "name", "setting"),
    [
        ("pattern-generation", "optimizer.name=momentum", "optimizer.eta=0.25"),
        ("cartpole", "optimizer.name=momentum", "optimizer.eta=0.25"),
        ("one-shot-arm", "meta.optimizer=momentum", "meta.eta=0.25"),
    ],
)
def test_settings_of_an_optimizer_may_stand_before_its_name(task, name, setting):
    first, last = (
        RunConfig.from_recipe(task, settings=x) for x in ([setting, name], [name, setting])
    )
    table = setting.partition(".")[0]
    assert first.tables[table] == last.tables[table]
    assert first.tables[table]["eta"] == 0.25
