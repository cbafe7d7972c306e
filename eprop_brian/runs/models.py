"""The models that can be trained, each with all that a run, a command or a figure asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from eprop_brian.base.history import Rows
from eprop_brian.base.sparse import Matrix
from eprop_brian.runs.balanced import BALANCED
from eprop_brian.runs.eprop import EPROP
from eprop_brian.runs.graph import GRAPH
from eprop_brian.runs.graph_settings import is_graph
from eprop_brian.runs.meta import META
from eprop_brian.runs.settings import Schema, Tables
from eprop_brian.runs.synthetic import SYNTHETIC
from eprop_brian.training.callbacks import Callback

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig

__all__ = ["MODELS", "Model", "Training", "model_for"]


class Training(Protocol):
    """What a model trains with: a trainer or an experiment of its own kind."""

    history: Any

    @property
    def iteration(self) -> int:
        """Iterations, or parts of the training, that are done."""
        ...

    def take_back(self) -> None:
        """Go back to the state before a call that has not ended."""
        ...

    def close(self) -> None:
        """End the processes that run the network."""
        ...


class Model(Protocol):
    """A kind of network and how it learns.

    Attributes
    ----------
    name : str
    tasks : mapping of str to str
        Its tasks, and a line about each.
    schema : Schema
        The tables of ``config.toml``.
    parameters : Schema
        The table of a recipe and of ``--set`` that changes what stands in files of its own:
        ``neuron`` or ``teacher``.
    needed : tuple of (str, str)
        Tables and keys without default that every ``config.toml`` has.
    feedback : tuple of str, optional
        Table and key that choose the feedback of the whole network.
    example : str
        Examples of ``--set``.
    unit : str
        What training is counted in.
    spec : type
        Class of the network.
    history : type
        Class of the history, whose fields are the columns of ``history.csv``.
    methods : tuple of str
        Ways to learn that can be compared.
    failures : tuple of type
        Errors with which training or a test ends that are a result of the settings.
    tested_tables : tuple of str
        Tables that do not change training, only what is tested afterwards.
    test_files : tuple of str
        What a test writes into a run's folder; other weights are saved without them.
    """

    @property
    def name(self) -> str: ...
    @property
    def tasks(self) -> Mapping[str, str]: ...
    @property
    def schema(self) -> Schema: ...
    @property
    def parameters(self) -> Schema: ...
    @property
    def needed(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def feedback(self) -> tuple[str, str] | None: ...
    @property
    def example(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def spec(self) -> type: ...
    @property
    def history(self) -> type[Rows]: ...
    @property
    def methods(self) -> tuple[str, ...]: ...
    @property
    def failures(self) -> tuple[type[Exception], ...]: ...
    @property
    def tested_tables(self) -> tuple[str, ...]: ...
    @property
    def test_files(self) -> tuple[str, ...]: ...

    def curves(self, config: RunConfig) -> tuple[str, ...]:
        """Give the two columns of the history whose last values a comparison reports."""
        ...

    def check(self, config: RunConfig) -> None:
        """Raise ValueError if settings do not fit each other."""
        ...

    def begin(
        self, tables: Tables, replacements: Mapping[str, str | None], folder: Path
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Make the tables and parts that a recipe in a folder means, with what replaces others."""
        ...

    def reconsidered(self, base: RunConfig, chosen: RunConfig) -> RunConfig:
        """Return what choices should have started from: `base`, or a copy without what they bar."""
        ...

    def with_value(self, config: RunConfig, table: str, key: str, value: Any) -> RunConfig:
        """Return a copy with one setting replaced, and what follows from it."""
        ...

    def with_parameter(self, config: RunConfig, key: str, value: Any, where: str) -> RunConfig:
        """Return a copy with one parameter of the neurons or the teacher replaced."""
        ...

    def with_method(self, config: RunConfig, method: str) -> RunConfig:
        """Return a copy that learns by one of `methods`."""
        ...

    def part_files(self, config: RunConfig) -> dict[str, Any]:
        """Give the files beside ``config.toml``, texts and arrays by name."""
        ...

    def read_parts(self, folder: Path, tables: Tables) -> tuple[Tables, dict[str, Any]]:
        """Read the files beside ``config.toml``; returns the tables with them, and parts."""
        ...

    def completed(self, config: RunConfig) -> RunConfig:
        """Return a copy that says what follows from defaults of its task."""
        ...

    def make_task(self, config: RunConfig) -> Any:
        """Make the task."""
        ...

    def make_network(self, config: RunConfig, task: Any) -> Any:
        """Make the network."""
        ...

    def make_trainer(
        self,
        config: RunConfig,
        device: str,
        workers: int | None,
        scheduler: str | None,
        state: Mapping[str, Any] | None,
        source: Path,
    ) -> Any:
        """Make what trains the network, at its start or in the state of a checkpoint."""
        ...

    def check_trainable(self, config: RunConfig) -> None:
        """Raise ValueError, before anything is trained, for what cannot be."""
        ...

    def length(self, config: RunConfig) -> int:
        """Give the iterations, or parts, of the whole training."""
        ...

    def with_length(self, config: RunConfig, iterations: int) -> RunConfig:
        """Return a copy that is trained for so many iterations in all."""
        ...

    def state(self, trainer: Any) -> dict[str, Matrix]:
        """Give the arrays of a checkpoint, of the last call that ended."""
        ...

    def train(
        self,
        trainer: Any,
        config: RunConfig,
        iterations: int,
        progress: bool,
        after_call: Callable[[Any], None],
        callbacks: Sequence[Callback],
    ) -> None:
        """Train to so many iterations in all."""
        ...

    def refuse_unused(self, config: RunConfig, settings: Sequence[str]) -> None:
        """Raise ValueError if one of these settings changes nothing."""
        ...

    def methods_of(self, config: RunConfig) -> tuple[str, ...]:
        """Give the methods that go with these settings."""
        ...

    def measures(self, config: RunConfig, names: Sequence[str]) -> dict[str, str]:
        """Give the results that a sweep over these settings shows, and the labels of their axes."""
        ...

    def results(self, trainer: Any, folder: Path) -> dict[str, float]:
        """Give the numbers by which a trained network is judged, from its folder if it has them."""
        ...

    def beside(
        self, results: Mapping[str, float], reference: Mapping[str, float]
    ) -> Mapping[str, float]:
        """Add what is measured by the results of a reference."""
        ...

    def figures(self, folder: Path, formats: Sequence[str]) -> list[Path]:
        """Draw the run in a folder."""
        ...


#: By the name that ``[run] model`` has.
MODELS: Mapping[str, Model] = {model.name: model for model in (EPROP, BALANCED, META, SYNTHETIC)}


def model_for(name: str, tables: Tables) -> Model:
    """The model of a name, in the form in which tables describe its network."""
    return GRAPH if name == GRAPH.name and is_graph(tables) else MODELS[name]
