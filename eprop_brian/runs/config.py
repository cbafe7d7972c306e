"""Configuration of a run: everything that determines its result, as a TOML file.

``config.toml`` has the tables of the run's model (`eprop_brian.runs.models`). What may change
later, in a library or in a file, stands beside it, so that a run stays what it is: the neurons, the
environment, or the teacher.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import issparse

from eprop_brian.base.files import flattened, write_array, write_arrays, write_text
from eprop_brian.base.printable import printable
from eprop_brian.base.suggestions import unknown
from eprop_brian.base.toml import toml_array, toml_table
from eprop_brian.network.spec import Network
from eprop_brian.runs.graph_writing import ARRAYS, tables_of, without_arrays
from eprop_brian.runs.models import MODELS, Model, model_for
from eprop_brian.runs.recipes import Recipe, get_recipe
from eprop_brian.runs.settings import Tables, check_tables, read_tables, read_value, with_defaults
from eprop_brian.runs.tasks import check_name, check_same, parts_of, settings_of
from eprop_brian.tasks import Task, task_class

__all__ = ["CONFIG", "RunConfig", "model_of_folder", "same_content"]

#: The file of a run's settings; a folder that has one is a run.
CONFIG = "config.toml"
#: Settings that reset others: an optimizer's own.
_RESETTING = ("optimizer.name", "meta.optimizer")


@dataclass(frozen=True, eq=False)
class RunConfig:
    """Everything that determines a run.

    Every table is an attribute too: ``config.network["c_reg"]``, and so is every part:
    ``config.neurons``.

    Attributes
    ----------
    tables : mapping of str to mapping
        Settings by table and key, as ``config.toml`` has them; quantities as text with a unit.
        ``run`` names the model. Of a table that comes several times, ``[[projection]]``, a list,
        with arrays in place of the files that are named.
    parts : mapping of str to object
        What stands in files of its own: ``neurons`` (dict of str to Neuron) and
        ``feedback_matrix`` (array of shape (n_recurrent, n_outputs), or None), ``environment``
        (Environment, of the task that reads one from a file, else None), ``arrays`` (of a task of
        arrays, else None), ``own_task`` (a task that neither the library nor a package offers, else
        None), or ``teacher`` (Teacher).

    Raises
    ------
    ValueError
        If a setting is unknown, or a value does not fit.
    """

    tables: Tables
    parts: Mapping[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        check_tables(self.model.schema, self.tables)
        _check_needed(self.model, self.tables)
        self.model.check(self)

    def __getattr__(self, name: str) -> Any:
        # Not of `tables` itself, which is missing while an object is unpickled.
        if name not in ("tables", "parts"):
            for source in (self.tables, self.parts):
                if name in source:
                    return source[name]
        raise AttributeError(f"a configuration has no '{name}'")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunConfig) and same_content(self.files(), other.files())

    __hash__ = None  # type: ignore[assignment]

    @property
    def model(self) -> Model:
        """The model of the run."""
        return model_for(self.tables["run"]["model"], self.tables)

    @classmethod
    def from_recipe(
        cls,
        recipe: str | Path | Recipe | RunConfig,
        *,
        neuron: str | None = None,
        teacher: str | None = None,
        feedback: str | None = None,
        task: Task | None = None,
        run: Mapping[str, Any] | None = None,
        network: Mapping[str, Any] | None = None,
        test: Mapping[str, Any] | None = None,
        settings: Iterable[str] = (),
    ) -> RunConfig:
        """Take a recipe, or the settings of another run, and replace some.

        Parameters
        ----------
        recipe : str, Path, Recipe or RunConfig
            A name, mostly a task's, the file of a recipe, the folder of a run, or what such a
            folder says.
        neuron : str, optional
            A library neuron or a neuron file that takes the place of all recurrent neurons.
        teacher : str, optional
            Of a balanced network: a teacher file (``.toml``) or equations, in place of the task's.
        feedback : str, optional
            Of all learning signals: a kind, an equation, or a file ``.npy``.
        task : Task, optional
            A task of your own in place of the recipe's; of a run, the object that it learned.
        run, network, test : mapping, optional
            Settings of these tables; those that are None keep the recipe's value.
        settings : iterable of str
            ``"table.key=value"``. The table ``neuron`` or ``teacher`` holds parameters;
            ``neuron.detach`` is the list of states whose path through the neuron's own spike is not
            differentiated (`eprop_brian.equations.neuron.Neuron`).

        Raises
        ------
        ValueError, EquationError
            For a name that does not exist or a value that does not fit.
        """
        if isinstance(recipe, str | Path):
            recipe = get_recipe(recipe)
        replacements = {"neuron": neuron, "teacher": teacher}
        base = cls._beginning(recipe, replacements, task)
        model = base.model
        options = {"run": run or {}, "network": network or {}, "test": test or {}}
        if model.feedback is not None:
            table, key = model.feedback
            options[table] = {key: feedback, **options.get(table, {})}
        settings = tuple(settings)
        config = base._with_options(options, settings)
        other = model.reconsidered(base, config)
        return config if other is base else other._with_options(options, settings)

    @classmethod
    def _beginning(
        cls, recipe: Recipe | RunConfig, replacements: Mapping[str, str | None], task: Task | None
    ) -> RunConfig:
        """What a recipe says, or the configuration of the run that stands in its place."""
        if isinstance(recipe, RunConfig) or recipe.is_run:
            for name, value in replacements.items():
                if value is not None:
                    raise ValueError(
                        f"the {name} of a run cannot be replaced: take a recipe, or change "
                        f"parameters with {name}.KEY=VALUE"
                    )
            if isinstance(recipe, Recipe):
                return cls.read(recipe.path.parent, task)
            return recipe if task is None else recipe._with_object(task)
        if task is not None:
            recipe = recipe.with_task(task.name, settings_of(task))
        model = model_for(model_of(recipe.tables["run"], recipe.path), recipe.tables)
        schema = {**model.schema, **model.parameters}
        check_tables(schema, recipe.tables, str(recipe.path))
        try:
            tables, parts = model.begin(recipe.tables, replacements, recipe.path.parent)
            if task is not None:
                parts |= parts_of(task)
            tables["run"] = {"model": model.name, **tables.get("run", {})}
            return cls(with_defaults(model.schema, tables), parts)
        except ValueError as error:
            if any(replacements.values()):
                raise
            # Without replacements the mistake is the recipe's.
            raise ValueError(f"{recipe.path}: {error}") from None

    @classmethod
    def of(cls, network: Network, task: Task, **run: Any) -> RunConfig:
        """Describe a network that was made in Python, and the task that it learns.

        Parameters
        ----------
        network : Network
        task : Task
            Also one of your own, or an `ArrayTask`.
        **run
            Settings of the table ``run``: ``iterations``, ``batch_size``, ``seed``, ``device``,
            ``dtype``, ``validate_every``, ``patience``.

        Raises
        ------
        ValueError
            If a setting is unknown or wrong, or the network cannot be written as a file.
        """
        tables = tables_of(network)
        tables["run"] = {"model": "eprop", "task": task.name, **run}
        tables["task"] = settings_of(task)
        tables["network"] = {"gradient": network.gradient, **tables["network"]}
        schema = model_for("eprop", tables).schema
        return cls(with_defaults(schema, tables), parts_of(task))

    def completed(self) -> RunConfig:
        """Return a copy that says all settings of its task, also those with defaults."""
        return self.model.completed(self)

    def _with_options(self, given: Tables, settings: Iterable[str]) -> RunConfig:
        """Return a copy with settings by table, unless they are None, and ``table.key=value``."""
        config = self
        for table, values in given.items():
            for key, value in values.items():
                if value is not None:
                    config = config._with_known(table, key, value, f"{table}.{key}")
        # In any order: the choice of an optimizer would reset those of its settings before it.
        for setting in sorted(
            settings, key=lambda s: s.partition("=")[0].strip() not in _RESETTING
        ):
            config = config.with_setting(setting)
        return config

    def with_method(self, method: str) -> RunConfig:
        """Return a copy that learns by another of the model's methods.

        Raises
        ------
        ValueError
            If there is no such method, or it cannot be had with these settings.
        """
        if method not in self.model.methods:
            raise ValueError(unknown("method", method, self.model.methods))
        return self.model.with_method(self, method)

    def with_setting(self, setting: str) -> RunConfig:
        """Return a copy with one ``table.key=value`` replaced."""
        path, equals, text = setting.partition("=")
        table, dot, key = path.strip().partition(".")
        where = printable(f"--set {setting}")
        if not equals or not dot:
            raise ValueError(f"{where}: write TABLE.KEY=VALUE, for example {self.model.example}")
        return self._with_known(table, key, read_value(text.strip()), where)

    def _with_known(self, table: str, key: str, value: Any, where: str) -> RunConfig:
        """Return a copy with one setting replaced; `where` is named if there is none."""
        if table in self.model.parameters:
            return self.model.with_parameter(self, key, value, where)
        if table not in self.model.schema:
            names = [*self.model.schema, *self.model.parameters]
            raise ValueError(unknown("table", table, names, where))
        if self.model.schema[table].many:
            try:
                return self.model.with_value(self, table, key, value)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
        settings = self.model.schema[table].all_settings(self.tables)
        if key not in settings:
            raise ValueError(unknown("key", key, settings, where))
        if (table, key) in (("run", "model"), ("run", "task")):
            raise ValueError(f"{where}: a recipe is for one task, start from that of another")
        return self.model.with_value(self, table, key, value)

    def with_values(self, table: str, **values: Any) -> RunConfig:
        """Return a copy with some values of a table replaced."""
        return self.with_tables({table: {**self.tables[table], **values}})

    def with_tables(self, tables: Tables) -> RunConfig:
        """Return a copy with some tables replaced."""
        return replace(self, tables={**self.tables, **tables})

    def shares_training(self, other: RunConfig) -> bool:
        """Whether a run is trained as this one is, and tested in another way at most."""
        tested = {name: other.tables.get(name, {}) for name in self.model.tested_tables}
        return bool(tested) and self.with_tables(tested) == other

    def refuse_unused(self, settings: Iterable[str]) -> None:
        """Raise ValueError if one of these settings, ``table.key=value``, changes nothing."""
        self.model.refuse_unused(self, tuple(settings))

    # The model's own, by settings.

    def make_task(self) -> Any:
        """Make the task with its settings: a `Task`, or the `Dynamics` of a balanced network."""
        return self.model.make_task(self)

    def make_network(self, task: Any = None) -> Any:
        """Make the network, for a task (default: the run's): `Network` or `BalancedNetwork`."""
        return self.model.make_network(self, self.make_task() if task is None else task)

    def make_trainer(
        self,
        device: str | None = None,
        workers: int | None = None,
        scheduler: str | None = None,
        state: Mapping[str, Any] | None = None,
        source: Path = Path("state"),
    ) -> Any:
        """Make the `Trainer` or `Experiment` of this run, at its start or in a stored state.

        Parameters
        ----------
        device : str, optional
            Default: the run's.
        workers, scheduler : optional
            As for `Trainer`; a balanced network has no trials to share.
        state : mapping of str to array, optional
            Of a checkpoint.
        source : Path
            The file of `state`, which messages name.
        """
        place = (device or self.run["device"], workers, scheduler)
        return self.model.make_trainer(self, *place, state, source)

    # Files.

    def files(self) -> dict[str, Any]:
        """Everything that is written, by name: texts and arrays, ``config.toml`` last."""
        arrays: dict[str, Any] = {}
        texts = []
        for name, table in self.model.schema.items():
            if table.many:
                texts.append(toml_array(name, without_arrays(self.tables[name], ARRAYS, arrays)))
            elif self.tables[name] or not table.optional:
                texts.append(toml_table(name, self._ordered(name)))
        files = {ARRAYS: flattened(arrays)} if arrays else {}
        return {**files, **self.model.part_files(self), CONFIG: "\n".join(filter(None, texts))}

    def _ordered(self, table: str) -> dict[str, Any]:
        """Give a table in the schema's order, so that equal settings are equal files."""
        values, settings = self.tables[table], self.model.schema[table].settings
        return {**{key: values[key] for key in settings if key in values}, **values}

    def write(self, folder: Path) -> None:
        """Write ``config.toml`` and what stands beside it."""
        for name, content in self.files().items():
            path = Path(folder) / name
            if isinstance(content, str):
                write_text(path, content)
            elif isinstance(content, Mapping):
                write_arrays(path, content)
            else:
                write_array(path, content)

    def is_of(self, folder: Path) -> bool:
        """Whether the run in a folder is this one, perhaps of another length or elsewhere.

        Raises
        ------
        ValueError
            If the folder holds no run or its configuration is damaged.
        """
        here = {key: self.run[key] for key in ("iterations", "device") if key in self.run}
        other = RunConfig.read(folder, self.parts.get("own_task"))
        if other.model is not self.model:
            return False
        return other.with_values("run", **here).completed() == self.completed()

    @classmethod
    def read(cls, folder: Path, task: Task | None = None) -> RunConfig:
        """Read what `write` wrote, or an earlier version, which did not name the model.

        Parameters
        ----------
        folder : Path
        task : Task, optional
            The task of the run, if it is one of your own that no installed package offers.

        Raises
        ------
        ValueError
            If the folder holds no run or its configuration is damaged, or `task` is not its task.
        """
        path, name = Path(folder) / CONFIG, model_of_folder(folder)
        tables = read_tables(path)
        model = model_for(name, tables)
        for name_of_table, table in model.schema.items():
            if name_of_table not in tables and not (table.many or table.optional):
                raise ValueError(f"{path}: the table [{name_of_table}] is missing")
        tables["run"] = {"model": name, **tables["run"]}
        check_tables(model.schema, tables, str(path))
        filled = with_defaults(model.schema, tables)
        try:
            # What stands in other files depends on them.
            _check_needed(model, filled)
            read, parts = model.read_parts(Path(folder), filled)
            if task is not None:
                check_name(filled, task)
                parts |= _object_of(task)
            config = cls(read, parts)
            return config if task is None else config._with_object(task)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def _with_object(self, task: Task) -> RunConfig:
        """Return a copy with the object of its task (ValueError if that is another task)."""
        check_name(self.tables, task)
        check_same(self, task)
        return replace(self, parts={**self.parts, **_object_of(task)})


def _object_of(task: Task) -> dict[str, Any]:
    """The part that holds a task which only an object says."""
    return {"own_task": parts_of(task)["own_task"]}


def _check_needed(model: Model, tables: Tables) -> None:
    """Raise ValueError if a setting without default is missing."""
    for table, key in model.needed:
        if key not in tables.get(table, {}):
            raise ValueError(f"[{table}] lacks '{key}'")


def model_of_folder(folder: Path) -> str:
    """Name the model of the run in a folder (ValueError if it holds none)."""
    path = Path(folder) / CONFIG
    if not path.exists():
        raise ValueError(f"{folder} holds no run: there is no {path.name} in it")
    run = read_tables(path).get("run")
    if run is None:
        raise ValueError(f"{path}: the table [run] is missing")
    return model_of(run, path)


def model_of(run: Mapping[str, Any], path: Path) -> str:
    """Name the model of a table ``run``; in earlier files only the task says which it is."""
    name = run.get("model")
    if name is None:
        task = run.get("task")
        of_task = [m.name for m in MODELS.values() if task in tuple(m.tasks)]
        if of_task:
            return of_task[0]
        try:
            task_class(str(task))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return MODELS["eprop"].name  # of tasks that packages offer
    if name not in tuple(MODELS):  # a file may have a list there
        raise ValueError(f"{path}: {unknown('model', name, MODELS)}")
    return str(name)


def same_content(one: Any, other: Any) -> bool:
    """Whether two contents of files are equal: texts, arrays, tables and lists of them."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_content(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(same_content(a, b) for a, b in pairs)
    if issparse(one) or issparse(other):
        return (
            issparse(one)
            and issparse(other)
            and same_content(flattened({"": one}), flattened({"": other}))
        )
    return np.array_equal(one, other)
