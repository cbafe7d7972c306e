"""Recurrent networks that learn by e-prop 3: their settings, and what follows from them.

The network is that of a run that learns by e-prop (`eprop_brian.runs.eprop`), with the same files
beside ``config.toml``, or an LSTM as a yardstick, which has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.base.history import mean_of_last
from eprop_brian.base.sparse import Matrix
from eprop_brian.network.spec import Network
from eprop_brian.runs.eprop import EPROP, optimizer_of
from eprop_brian.runs.iterated import IteratedModel, refuse_callbacks
from eprop_brian.runs.settings import Tables
from eprop_brian.runs.synthetic_settings import LSTM, LSTM_OPTIONS, PARAMETERS, SCHEMA
from eprop_brian.tasks import CopyRepeat
from eprop_brian.training.callbacks import Callback
from eprop_brian.training.curriculum import CurriculumHistory, CurriculumTrainer
from eprop_brian.training.diagnosis import TrainingError
from eprop_brian.training.jax_session import SYNTHESISERS, make_windowed_session, require_jax
from eprop_brian.training.lstm import Lstm

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig

__all__ = ["SYNTHETIC"]

#: Windows of methods that name one.
_WINDOWS = (1, 2, 4, 8, 16, 32)
#: What each method changes of the table ``windows``.
_METHODS: Mapping[str, Mapping[str, Any]] = {
    "e-prop": {"window": 1, "synthesiser": "off"},
    **{kind: {"synthesiser": kind} for kind in SYNTHESISERS},
    "bptt": {"window": 0, "synthesiser": "off"},
    **{
        f"{kind}-{window}": {"window": window, "synthesiser": kind}
        for window in _WINDOWS
        for kind in SYNTHESISERS
    },
}


class _Synthetic(IteratedModel):
    """See `eprop_brian.runs.models.Model`."""

    name = "synthetic"
    tasks: Mapping[str, str] = {CopyRepeat.name: CopyRepeat.description}
    schema = SCHEMA
    parameters = PARAMETERS
    needed = (
        *(("run", key) for key in ("task", "iterations", "batch_size", "seed", "device", "dtype")),
        ("optimizer", "name"),
    )
    feedback = None
    example = "windows.window=8 or windows.synthesiser=off"
    unit = "iteration"
    spec = Network
    history = CurriculumHistory
    methods = tuple(_METHODS)
    failures = (TrainingError,)
    tested_tables: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()

    def curves(self, config: RunConfig) -> tuple[str, ...]:
        """Give the loss, and the length of the trials that are solved."""
        return ("loss", "solved_length")

    def check(self, config: RunConfig) -> None:
        """Raise ValueError for names of neurons that name no file, or what an LSTM has not."""
        EPROP.check(config)
        if not config.curriculum["threshold"] > 0:
            raise ValueError("curriculum.threshold must be a positive number of bits")
        if not _is_lstm(config.tables):
            return
        if len(config.size) > 1:
            raise ValueError(
                f"[size] {LSTM} stands alone: a network is an LSTM or consists of neurons, not "
                f"{', '.join(config.size)}"
            )
        for table, allowed in (("network", LSTM_OPTIONS), ("readout", ())):
            for key in config.tables[table]:
                if key not in allowed:
                    raise ValueError(f"{table}.{key} means nothing to an LSTM: leave it away")

    def begin(
        self, tables: Tables, replacements: Mapping[str, str | None], folder: Path
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Take the library's neurons with the recipe's parameters, or another in their place."""
        if _is_lstm(tables) and replacements["neuron"] is None:
            if tables.get("neuron"):
                raise ValueError("[neuron] means nothing to an LSTM: leave it away")
            ours = {name: dict(values) for name, values in tables.items() if name != "neuron"}
            return ours, _no_parts()
        ours, parts = EPROP.begin(tables, replacements, folder)
        # The gradient is that of the windows.
        ours["network"] = {k: v for k, v in ours["network"].items() if k != "gradient"}
        return ours, parts

    def reconsidered(self, base: RunConfig, chosen: RunConfig) -> RunConfig:
        """Return the base: no choice excludes a setting of a recipe."""
        return base

    def with_value(self, config: RunConfig, table: str, key: str, value: Any) -> RunConfig:
        """Replace a setting; of another optimizer the rest is reset."""
        return EPROP.with_value(config, table, key, value)

    def with_parameter(self, config: RunConfig, key: str, value: Any, where: str) -> RunConfig:
        """Replace a parameter of all neurons that have it, or what they detach."""
        return EPROP.with_parameter(config, key, value, where)

    def with_method(self, config: RunConfig, method: str) -> RunConfig:
        """Learn with another synthesiser, or other windows."""
        return config.with_values("windows", **_METHODS[method])

    def part_files(self, config: RunConfig) -> dict[str, Any]:
        """Give the neuron files."""
        return EPROP.part_files(config)

    def read_parts(self, folder: Path, tables: Tables) -> tuple[Tables, dict[str, Any]]:
        """Read the neuron files."""
        return (tables, _no_parts()) if _is_lstm(tables) else EPROP.read_parts(folder, tables)

    def make_task(self, config: RunConfig) -> CopyRepeat:
        """Make the task at its first level."""
        task = EPROP.make_task(config)
        assert isinstance(task, CopyRepeat)  # the only one that settings allow
        return task

    def make_network(self, config: RunConfig, task: CopyRepeat) -> Network | Lstm:
        """Make the network for the task, whose sizes are those of all levels."""
        if not _is_lstm(config.tables):
            return EPROP.make_network(config, task)
        return Lstm(
            task.n_inputs,
            config.size[LSTM],
            task.n_outputs,
            task.loss,
            optimizer_of(config),
            config.network.get("clip_norm"),
        )

    def make_trainer(
        self,
        config: RunConfig,
        device: str,
        workers: int | None,
        scheduler: str | None,
        state: Mapping[str, Any] | None,
        source: Path,
    ) -> CurriculumTrainer:
        """Make the trainer, at its start or in a stored state."""
        if workers not in (None, 1) or scheduler is not None:
            name = "workers" if scheduler is None else "a scheduler"
            raise ValueError(f"{name} cannot be given for e-prop 3, which runs in JAX")
        task, windows = self.make_task(config), config.windows
        session = make_windowed_session(
            self.make_network(config, task),
            windows["window"],
            windows["synthesiser"],
            n_hidden=windows["n_hidden"],
            memory=windows["memory"],
            shifted=windows["shifted"],
            seed=config.run["seed"],
            dtype=config.run["dtype"],
        )
        trainer = CurriculumTrainer(
            session,
            task,
            batch_size=config.run["batch_size"],
            seed=config.run["seed"],
            threshold=config.curriculum["threshold"],
        )
        if state is not None:
            try:
                trainer.restore(state)
            except ValueError as error:
                raise ValueError(f"{source}: {error}") from None
        return trainer

    def check_trainable(self, config: RunConfig) -> None:
        """Raise ValueError, before anything is trained, for what cannot be."""
        self.make_network(config, self.make_task(config))
        require_jax()

    def state(self, trainer: CurriculumTrainer) -> dict[str, Matrix]:
        """Give weights, the states of optimizer and synthesiser, and the level."""
        return {**trainer.state()}

    def train(
        self,
        trainer: CurriculumTrainer,
        config: RunConfig,
        iterations: int,
        progress: bool,
        after_call: Callable[[Any], None],
        callbacks: Sequence[Callback],
    ) -> None:
        """Train to so many iterations in all."""
        refuse_callbacks(callbacks)
        trainer.train(iterations, progress=progress, after_call=after_call)

    def refuse_unused(self, config: RunConfig, settings: Sequence[str]) -> None:
        """Do nothing: every setting has an effect whatever the others are."""

    def methods_of(self, config: RunConfig) -> tuple[str, ...]:
        """Give e-prop, windows without and with a synthesiser, and those with the oracle."""
        chosen = config.windows["synthesiser"]
        return ("e-prop", "off", chosen if chosen in ("linear", "hidden") else "linear", "oracle")

    def measures(self, config: RunConfig, names: Sequence[str]) -> dict[str, str]:
        """Give the length of the trials that are solved, and the loss of those that follow."""
        return {"solved_length": "solved length (steps)", "loss": "loss (bits)"}

    def results(self, trainer: CurriculumTrainer, folder: Path) -> dict[str, float]:
        """Give the length of the last level that is solved, and the mean of the last 10 losses."""
        columns = trainer.history.columns
        rate = {} if np.isnan(columns["rate_hz"][-1]) else {"rate_hz": columns["rate_hz"][-1]}
        return {
            "loss": mean_of_last(columns["loss"]),
            "solved_length": float(trainer.solved_length),
            **rate,
        }

    def figures(self, folder: Path, formats: Sequence[str]) -> list[Path]:
        """Draw the course of the training and a trial before and after it."""
        from eprop_brian.figures.synthetic import plot_synthetic_run

        return plot_synthetic_run(folder, formats=formats)


def _is_lstm(tables: Tables) -> bool:
    return LSTM in tables.get("size", {})


def _no_parts() -> dict[str, Any]:
    return {"neurons": {}, "feedback_matrix": None, "environment": None}


#: The model.
SYNTHETIC = _Synthetic()
