"""Networks that learn to learn families of tasks by one update: settings, and what follows.

A file describes the network part by part, as for networks that learn one task
(`eprop_brian.runs.graph`); ``[optimizer]`` makes the update within a task, ``[meta]`` trains the
weights that tasks begin with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eprop_brian.base.files import read_numbers, write_arrays, write_text
from eprop_brian.base.history import Rows, mean_of_last
from eprop_brian.base.interrupts import uninterrupted
from eprop_brian.base.sparse import Matrix
from eprop_brian.base.toml import toml_table
from eprop_brian.equations import OPTIMIZERS
from eprop_brian.network.spec import Network
from eprop_brian.runs.eprop_settings import PARAMETERS
from eprop_brian.runs.graph import GRAPH
from eprop_brian.runs.graph_reading import network_of, normalised
from eprop_brian.runs.iterated import IteratedModel, refuse_callbacks
from eprop_brian.runs.meta_settings import META_SCHEMA
from eprop_brian.runs.settings import Tables, as_quantity, read_results
from eprop_brian.tasks.families import TaskFamily
from eprop_brian.tasks.few_shot import FAMILIES, get_family
from eprop_brian.training.adaptation import AdaptationTest, Example, measure_adaptation
from eprop_brian.training.callbacks import Callback
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.jax_session import require_jax
from eprop_brian.training.meta_history import MetaHistory
from eprop_brian.training.requirements import check_family

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig
    from eprop_brian.training.meta import MetaRules, MetaTrainer

__all__ = ["META", "RESULTS", "TEST", "adaptation_of", "read_adaptation", "save_adaptation"]

#: What the test of a run showed: means, and the errors of all tasks with the course of some.
RESULTS, TEST = "results.toml", "test.npz"
_LABELS = {
    "after": "error after one update",
    "before": "error before",
    "ratio": "error after one update, of that before",
}


class _Meta(IteratedModel):
    """See `eprop_brian.runs.models.Model`."""

    name = "meta"
    tasks: Mapping[str, str] = {name: family.description for name, family in FAMILIES.items()}
    schema = META_SCHEMA
    parameters = PARAMETERS
    needed = (
        *(("run", key) for key in ("task", "iterations", "batch_size", "seed", "device", "dtype")),
        ("optimizer", "name"),
    )
    feedback = None
    example = "meta.eta=1e-3, optimizer.eta=1e-4 or population.learner.size=100"
    unit = "iteration"
    spec = Network
    history: type[Rows] = MetaHistory
    methods: tuple[str, ...] = ()
    failures = (TrainingError,)
    tested_tables: tuple[str, ...] = ()
    test_files: tuple[str, ...] = (RESULTS, TEST)

    def curves(self, config: RunConfig) -> tuple[str, ...]:
        """Give loss and error after the update."""
        return ("loss", "error")

    def check(self, config: RunConfig) -> None:
        """Raise ValueError for names that are not identifiers or not in a list."""
        GRAPH.check_names(config)
        fixed = config.meta.get("fixed", [])
        if not isinstance(fixed, list) or not all(isinstance(name, str) for name in fixed):
            raise ValueError(f"meta.fixed must be a list of names, ['w_out'], not {fixed!r}")

    def begin(
        self, tables: Tables, replacements: Mapping[str, str | None], folder: Path
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Take the neurons and arrays that a recipe names."""
        for name, value in replacements.items():
            if value is not None:
                raise ValueError(
                    f"a {name} cannot be given for a network that learns to learn: its neurons "
                    "stand in its recipe, one population each"
                )
        ours = normalised({k: v for k, v in tables.items() if k != "neuron"}, folder)
        ours["network"] = {"gradient": "factored", **ours.get("network", {})}
        ours["optimizer"] = {"name": "gradient_descent", **ours.get("optimizer", {})}
        return ours, {}

    def reconsidered(self, base: RunConfig, chosen: RunConfig) -> RunConfig:
        """Return the base: no choice excludes a setting of a recipe."""
        return base

    def with_value(self, config: RunConfig, table: str, key: str, value: Any) -> RunConfig:
        """Replace a setting; of parts, that of one, ``name.field``, or of all, ``field``."""
        if (table, key) == ("meta", "optimizer"):
            kept = {k: v for k, v in config.meta.items() if k in META_SCHEMA["meta"].settings}
            return config.with_tables({"meta": {**kept, "optimizer": value}})
        return GRAPH.with_value(config, table, key, value)

    def with_parameter(self, config: RunConfig, key: str, value: Any, where: str) -> RunConfig:
        """Replace a parameter of all neurons that have it."""
        return GRAPH.with_parameter(config, key, value, where)

    def with_method(self, config: RunConfig, method: str) -> RunConfig:
        """Raise ValueError: there is one way to learn."""
        raise ValueError("a network that learns to learn has no other methods to compare")

    def part_files(self, config: RunConfig) -> dict[str, Any]:
        """Give nothing: the whole network stands in ``config.toml``."""
        return {}

    def read_parts(self, folder: Path, tables: Tables) -> tuple[Tables, dict[str, Any]]:
        """Read the arrays."""
        return normalised(tables, folder), {}

    def make_task(self, config: RunConfig) -> TaskFamily:
        """Make the family of tasks with its settings."""
        settings = {k: as_quantity(v, f"task.{k}") for k, v in config.tables["task"].items()}
        return get_family(config.run["task"], **settings)

    def make_network(self, config: RunConfig, task: TaskFamily) -> Network:
        """Make the network for a family."""
        return network_of(config.tables, task)

    def make_trainer(
        self,
        config: RunConfig,
        device: str,
        workers: int | None,
        scheduler: str | None,
        state: Mapping[str, Any] | None,
        source: Path,
    ) -> MetaTrainer:
        """Make the trainer, at its start or in a stored state; `device` is for its test."""
        require_jax()
        from eprop_brian.training.meta import MetaTrainer

        if workers not in (None, 1) or scheduler is not None:
            name = "workers" if scheduler is None else "a scheduler"
            raise ValueError(f"{name} cannot be given: learning to learn runs in JAX, in a process")
        task = self.make_task(config)
        try:
            return MetaTrainer(
                self.make_network(config, task),
                task,
                _rules(config),
                batch_size=config.run["batch_size"],
                seed=config.run["seed"],
                dtype=config.run["dtype"],
                state=state,
            )
        except ValueError as error:
            if state is None:
                raise
            raise ValueError(f"{source}: {error}") from None

    def check_trainable(self, config: RunConfig) -> None:
        """Raise ValueError, before anything is trained, for what cannot be."""
        require_jax()
        task = self.make_task(config)
        check_family(self.make_network(config, task).resolved, task)

    def state(self, trainer: MetaTrainer) -> dict[str, Matrix]:
        """Give weights and the optimizer's state."""
        return trainer.state()

    def train(
        self,
        trainer: MetaTrainer,
        config: RunConfig,
        iterations: int,
        progress: bool,
        after_call: Callable[[Any], None],
        callbacks: Sequence[Callback],
    ) -> None:
        """Train to so many iterations in all."""
        refuse_callbacks(callbacks)
        trainer.train(iterations, progress=progress, after_iteration=after_call)

    def refuse_unused(self, config: RunConfig, settings: Sequence[str]) -> None:
        """Raise nothing: a network refuses what a part cannot use."""

    def methods_of(self, config: RunConfig) -> tuple[str, ...]:
        """Give no methods."""
        return ()

    def measures(self, config: RunConfig, names: Sequence[str]) -> dict[str, str]:
        """Give the errors after and before the update."""
        return _LABELS

    def results(self, trainer: MetaTrainer, folder: Path) -> dict[str, float]:
        """Give what the test showed; before it, the mean error of the last 10 iterations."""
        path = folder / RESULTS
        if path.exists():
            return read_results(path)
        return {"after": mean_of_last(trainer.history.error)}

    def figures(self, folder: Path, formats: Sequence[str]) -> list[Path]:
        """Draw the course of the training, and the test if there has been one."""
        from eprop_brian.figures.meta import plot_meta_run

        return plot_meta_run(folder, formats=formats)


def _rules(config: RunConfig) -> MetaRules:
    from eprop_brian.training.meta import MetaRules

    settings = dict(config.meta)
    library = OPTIMIZERS[settings.pop("optimizer")]
    own = {key: settings[key] for key in library.parameters if key in settings}
    schedule = str(settings.get("schedule", library.schedule))
    return MetaRules(
        optimizer=replace(library.with_parameters(**own), schedule=schedule),
        clip_norm=settings["clip_norm"] or None,
        rate_cost=settings["rate_cost"],
        f_target=float(as_quantity(settings["f_target"], "meta.f_target")),
        f_emitting=float(as_quantity(settings["f_emitting"], "meta.f_emitting")),
        fixed=tuple(settings.get("fixed", ())),
    )


def adaptation_of(
    config: RunConfig,
    weights: Mapping[str, Matrix],
    drawn: Mapping[str, Matrix],
    *,
    device: str | None = None,
    n_tasks: int | None = None,
    seed: int = 1,
) -> AdaptationTest:
    """Test a trained network on unseen tasks, by the compiled program alone."""
    family = config.make_task()
    return measure_adaptation(
        config.make_network(family),
        family,
        weights,
        drawn,
        n_tasks=config.meta["n_test"] if n_tasks is None else n_tasks,
        seed=seed,
        device=device or config.run["device"],
    )


def save_adaptation(folder: Path, test: AdaptationTest) -> None:
    """Write the test of a run into its folder."""
    with uninterrupted():
        write_arrays(folder / TEST, {**test.errors(), **test.example.arrays()})
        write_text(folder / RESULTS, toml_table("results", test.results()))


def read_adaptation(folder: Path) -> tuple[dict[str, Any], Example] | None:
    """Read what `save_adaptation` wrote: errors of all tasks, and examples; None without a test."""
    path = Path(folder) / TEST
    if not path.exists():
        return None
    arrays = read_numbers(path)
    return {k: v for k, v in arrays.items() if not Example.is_array(k)}, Example.of(arrays)


#: The model.
META = _Meta()
