"""Balanced networks that represent and learn dynamical systems: settings, and what follows.

Beside ``config.toml`` stands the teacher, ``teacher.toml``, so that a run does not change when the
library does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eprop_brian.balanced.experiment import RESULTS, TEST, Experiment, TrainingHistory, part_edges
from eprop_brian.balanced.metrics import relative_performance
from eprop_brian.balanced.spec import (
    BalancedNetwork,
    closed_form,
    learned,
    noise_strength,
    random_basis,
    random_decoder,
)
from eprop_brian.balanced.watchdog import UnstableNetworkError
from eprop_brian.base.sparse import Matrix
from eprop_brian.equations.balanced import FEEDBACKS
from eprop_brian.equations.teachers import Teacher
from eprop_brian.runs.balanced_settings import PARAMETERS, SCHEMA
from eprop_brian.runs.iterated import refuse_callbacks
from eprop_brian.runs.settings import Tables, read_results
from eprop_brian.symbolic.parameters import parse_quantity
from eprop_brian.symbolic.teacher import (
    read_teacher,
    teacher_from_string,
    teacher_map,
    write_teacher,
)
from eprop_brian.tasks.dynamics import DYNAMICS, Dynamics, get_dynamics
from eprop_brian.training.callbacks import Callback

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig

__all__ = ["BALANCED"]

_TEACHER_FILE = "teacher.toml"


class _Balanced:
    """See `eprop_brian.runs.models.Model`."""

    name = "balanced"
    tasks: Mapping[str, str] = {name: task.description for name, task in DYNAMICS.items()}
    schema = SCHEMA
    parameters = PARAMETERS
    needed = (("run", "task"), ("network", "region"), ("input", "std"), ("input", "tau"))
    feedback = None
    example = "network.n=50 or training.duration=100"
    unit = "part"
    spec = BalancedNetwork
    history = TrainingHistory
    #: How the error enters, and the weights that need no learning.
    methods = (*reversed(FEEDBACKS), "closed")
    failures = (UnstableNetworkError,)
    tested_tables = ("input", "test")
    test_files = (RESULTS, TEST)

    def curves(self, config: RunConfig) -> tuple[str, ...]:
        """Give the errors of the decoding and of the vector field."""
        return ("nmse", "field_nmse")

    def check(self, config: RunConfig) -> None:
        """Raise ValueError if settings do not fit each other or the teacher."""
        network, training = config.network, config.training
        if network["rule"] == "closed" and _matrix(config.teacher) is None:
            raise ValueError(
                f"network.rule = 'closed' needs a linear teacher, dx/dt = A x, which "
                f"'{config.teacher.name}' is not: take a task that learns"
            )
        size = len(teacher_map(config.teacher).states)
        for key, length in (("region", size), ("basis_gain", 2)):
            if len(network[key]) != length:
                raise ValueError(f"network.{key} must have {length} numbers, not {network[key]}")
        if network["rule"] == "closed" and network["basis"] != "linear":
            raise ValueError("network.basis must be linear with network.rule = 'closed'")
        least, most = network["basis_gain"]
        if least > most:
            raise ValueError(f"network.basis_gain = [{least}, {most}]: the smaller one comes first")
        if training["duration"] and not any(training[key] for key in ("eta_0", "eta_fast")):
            raise ValueError(
                "training.duration needs a learning rate, training.eta_0 or training.eta_fast"
            )
        if not network["norm"] > 0:
            raise ValueError("network.norm must be positive")
        noise_strength(config.test["noise"], np.ones(1), "test.noise")

    def begin(
        self, tables: Tables, replacements: Mapping[str, str | None], folder: Path
    ) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """Take the task's teacher, region and input, or another teacher."""
        if replacements["neuron"] is not None:
            raise ValueError("the neurons of a balanced network follow from its task: no neuron")
        ours = {name: dict(values) for name, values in tables.items() if name != "teacher"}
        dynamics, text = get_dynamics(ours["run"]["task"]), replacements["teacher"]
        if text is None:
            teacher, region = dynamics.teacher, list(dynamics.region)
        else:
            teacher = read_teacher(text) if text.endswith(".toml") else teacher_from_string(text)
            region = [1.0] * len(teacher_map(teacher).states)
        teacher = _with_parameters(teacher, tables.get("teacher", {}))
        ours["network"] = {"region": region, **ours.get("network", {})}
        given = {"std": dynamics.input_std, "tau": dynamics.input_tau}
        ours["input"] = {**given, **ours.get("input", {})}
        return ours, {"teacher": teacher}

    def reconsidered(self, base: RunConfig, chosen: RunConfig) -> RunConfig:
        """Return the base: no choice excludes a setting of a recipe."""
        return base

    def with_value(self, config: RunConfig, table: str, key: str, value: Any) -> RunConfig:
        """Replace a setting."""
        return config.with_values(table, **{key: value})

    def with_parameter(self, config: RunConfig, key: str, value: Any, where: str) -> RunConfig:
        """Replace a parameter of the teacher."""
        teacher = _with_parameters(config.teacher, {key: value})
        return replace(config, parts={"teacher": teacher})

    def with_method(self, config: RunConfig, method: str) -> RunConfig:
        """Let the error enter in another way, or take the weights of the closed form."""
        if method != "closed":
            return config.with_values("network", feedback=method)
        # Both at once: neither a basis nor a training goes with weights in closed form.
        network = {**config.network, "rule": "closed", "basis": "linear"}
        training = {**config.training, "duration": 0.0}
        tables = {**config.tables, "network": network, "training": training}
        return replace(config, tables=tables)

    def part_files(self, config: RunConfig) -> dict[str, Any]:
        """Give the teacher's file."""
        return {_TEACHER_FILE: write_teacher(config.teacher)}

    def read_parts(self, folder: Path, tables: Tables) -> tuple[Tables, dict[str, Any]]:
        """Read the teacher's file."""
        return tables, {"teacher": read_teacher(folder / _TEACHER_FILE)}

    def make_task(self, config: RunConfig) -> Dynamics:
        """Make the task with the input of the test."""
        region = tuple(config.network["region"])
        base = replace(get_dynamics(config.run["task"]), teacher=config.teacher, region=region)
        return base.with_input(config.input["std"], config.input["tau"])

    def make_network(self, config: RunConfig, task: Dynamics) -> BalancedNetwork:
        """Make the network, with weights and decoder of its seed."""
        settings = dict(config.network)
        n, seed, rule = settings.pop("n"), config.run["seed"], settings.pop("rule")
        norm, mu, nu = settings.pop("norm"), settings.pop("mu"), settings.pop("nu")
        n_basis, gain = settings.pop("n_basis"), settings.pop("basis_gain")
        region, fast_start = settings.pop("region"), settings.pop("fast_start")
        system = teacher_map(config.teacher)
        decoder = random_decoder(len(system.states), n, norm / n, seed)
        training = config.training
        options = {
            **settings,
            "learns": _learns(training),
            "gain": training["gain"],
            "rate": training["rate"],
            "fast_rate": training["fast_rate"],
        }
        if rule == "closed":
            options.pop("basis")
            matrix = _matrix(config.teacher)
            assert matrix is not None  # as `check` has seen
            network = closed_form(
                matrix,
                decoder,
                mu=mu,
                nu=nu,
                initial=[*system.initial],
                name=config.teacher.name,
                **options,
            )
        else:
            if options["basis"] == "tanh":
                weights, offset = random_basis(decoder, n_basis or n, gain, region, seed)
                options |= {"basis_weights": weights, "basis_offset": offset}
            network = learned(config.teacher, decoder, mu=mu, nu=nu, **options)
        if fast_start:
            start = fast_start * np.diag(np.diag(network.fast_weights))
            network = replace(network, fast_weights=start)
        return network

    def make_trainer(
        self,
        config: RunConfig,
        device: str,
        workers: int | None,
        scheduler: str | None,
        state: Mapping[str, Any] | None,
        source: Path,
    ) -> Experiment:
        """Make the experiment, at its start or in a stored state."""
        if workers not in (None, 1) or scheduler is not None:
            name = "workers" if scheduler is None else "a scheduler"
            raise ValueError(
                f"{name} cannot be given for a balanced network: it learns from one long signal, "
                "and there are no trials to share"
            )
        task = self.make_task(config)
        experiment = Experiment(
            self.make_network(config, task),
            task,
            config.training,
            config.test,
            seed=config.run["seed"],
            device=device,
            dtype=config.run["dtype"],
        )
        if state is not None:
            experiment.restore(state, source)
        return experiment

    def refuse_unused(self, config: RunConfig, settings: Sequence[str]) -> None:
        """Do nothing: every setting has an effect whatever the others are."""

    def methods_of(self, config: RunConfig) -> tuple[str, ...]:
        """Give all methods, the closed form only for linear teachers and slow weights."""
        linear = config.training["eta_0"] and _matrix(config.teacher) is not None
        return self.methods if linear else self.methods[:-1]

    def measures(self, config: RunConfig, names: Sequence[str]) -> dict[str, str]:
        """Give what a test shows; the performance if the networks are the same."""
        measures = {"nmse": "NMSE", "rate": "firing rate (Hz)"}
        if config.network["rule"] == "learned":
            measures["field_nmse"] = "vector-field NMSE"
        if all(name.startswith("test.") for name in names):
            # Other settings make another network, with another unperturbed performance.
            measures["performance"] = "relative performance"
        return measures

    def beside(
        self, results: Mapping[str, float], reference: Mapping[str, float]
    ) -> Mapping[str, float]:
        """Add the performance relative to a reference's."""
        if not results:
            return results
        error = reference.get("error", float("nan"))
        performance = relative_performance(results["error"], error, results["silent_error"])
        return {**results, "performance": float(performance)}

    def check_trainable(self, config: RunConfig) -> None:
        """Raise ValueError, before anything is trained, for what cannot be."""
        self.make_network(config, self.make_task(config))

    def length(self, config: RunConfig) -> int:
        """Give the parts of the training."""
        if not _learns(config.training):
            return 0
        dt = float(parse_quantity(config.network["dt"], "network.dt"))
        return len(part_edges(config.training["duration"], dt)) - 1

    def with_length(self, config: RunConfig, iterations: int) -> RunConfig:
        """Refuse another length."""
        raise ValueError(
            "the training of a balanced network is as long as training.duration says, on which "
            "gain and learning rate depend; iterations cannot be given"
        )

    def completed(self, config: RunConfig) -> RunConfig:
        """Return the configuration: nothing follows from defaults of a task."""
        return config

    def state(self, trainer: Experiment) -> dict[str, Matrix]:
        """Give weights, and in the middle of a training all that it goes on from."""
        return trainer.state()

    def train(
        self,
        trainer: Experiment,
        config: RunConfig,
        iterations: int,
        progress: bool,
        after_call: Callable[[Any], None],
        callbacks: Sequence[Callback],
    ) -> None:
        """Train to the end."""
        refuse_callbacks(callbacks)
        trainer.train(progress=progress, after_part=after_call)

    def results(self, trainer: Experiment, folder: Path) -> dict[str, float]:
        """Give what a test shows, which is done once and saved."""
        path = folder / RESULTS
        if not path.exists():
            outcome, recording = trainer.test()
            trainer.save_test(folder, outcome, recording)
        return read_results(path)

    def figures(self, folder: Path, formats: Sequence[str]) -> list[Path]:
        """Draw the test and the course of the training."""
        from eprop_brian.figures.balanced import plot_experiment

        return plot_experiment(folder, formats=formats)


def _with_parameters(teacher: Teacher, values: Mapping[str, Any]) -> Teacher:
    if not values:
        return teacher
    changed = teacher.with_parameters(**values)
    teacher_map(changed)  # raises for a value that does not fit
    return changed


def _learns(training: Mapping[str, Any]) -> tuple[str, ...]:
    pairs = (("slow", "eta_0"), ("fast", "eta_fast"))
    return tuple(name for name, key in pairs if training["duration"] and training[key])


def _matrix(teacher: Teacher) -> np.ndarray | None:
    """Give A of a linear teacher dx/dt = A x; None if it is not linear."""
    system = teacher_map(teacher)
    points = np.random.default_rng(0).standard_normal((5, len(system.states)))
    matrix = system.jacobian(np.zeros(len(system.states)))
    linear = np.allclose(system.field(points), points @ matrix.T, rtol=1e-9, atol=1e-12)
    return matrix if linear else None


#: The model.
BALANCED = _Balanced()
