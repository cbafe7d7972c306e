"""Balanced networks that represent and learn dynamical systems: settings, and what follows.

Beside ``config.toml`` stands the teacher, ``teacher.toml``, so that a run does not change when the
library does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from brian2.units import Hz, ms

from eprop_brian.balanced.experiment import Experiment, TrainingHistory, part_edges
from eprop_brian.balanced.simulation import UnstableNetworkError
from eprop_brian.balanced.spec import (
    BalancedNetwork,
    closed_form,
    learned,
    random_basis,
    random_decoder,
)
from eprop_brian.base.sparse import Matrix
from eprop_brian.devices import DEVICES, DTYPES
from eprop_brian.equations.balanced import FEEDBACKS
from eprop_brian.equations.teachers import Teacher
from eprop_brian.runs.settings import Schema, Setting, Table, Tables
from eprop_brian.symbolic.parameters import parse_quantity
from eprop_brian.symbolic.teacher import (
    read_teacher,
    teacher_from_string,
    teacher_map,
    write_teacher,
)
from eprop_brian.tasks.dynamics import DYNAMICS, Dynamics, get_dynamics

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig

__all__ = ["BALANCED", "RULES"]

#: Where the slow weights come from.
RULES = ("closed", "learned")
_TEACHER_FILE = "teacher.toml"

_SCHEMA: Schema = {
    "run": Table(
        "What is run, and where.",
        {
            "model": Setting("text", "`balanced`", default="balanced", choices=("balanced",)),
            "task": Setting("value", "name of the task", choices=DYNAMICS),
            "seed": Setting(
                "count", "of weights, decoder and inputs", default=1, least=0, most=2**31 - 1
            ),
            "device": Setting("value", "where it runs", default="cpp", choices=DEVICES),
            "dtype": Setting("value", "type of all state", default="float64", choices=DTYPES),
        },
    ),
    "network": Table(
        "The network; what is not here follows from the teacher.",
        {
            "n": Setting("count", "neurons", default=100, least=1, most=20_000),
            "rule": Setting(
                "text", "where slow weights come from", default="closed", choices=RULES
            ),
            "norm": Setting("number", "length of the decoding vectors, times `n`", default=2.5),
            "mu": Setting("number", "quadratic cost of spikes", default=0.0),
            "nu": Setting("number", "linear cost of spikes", default=0.0),
            "sigma": Setting(
                "number",
                "voltage noise: the standard deviation that it alone would give a potential",
                default=0.0,
            ),
            "lambda_r": Setting("quantity", "decay of filtered spikes", default="20 Hz", unit=Hz),
            "lambda_v": Setting("quantity", "leak of the potentials", default="20 Hz", unit=Hz),
            "t_ref": Setting("quantity", "refractory period", default="0 ms", unit=ms),
            "delay": Setting("quantity", "delay of fast synapses", default="0 ms", unit=ms),
            "dt": Setting("quantity", "time step", default="0.1 ms", unit=ms),
            "one_spike": Setting("switch", "at most one spike a step", default=True),
            "basis": Setting("text", "what slow weights see: `linear` or `tanh`", default="linear"),
            "feedback": Setting(
                "text",
                "how the error enters: `corrected`, `published` or an expression",
                default="corrected",
            ),
            "n_basis": Setting(
                "count", "dendrites; 0: as many as neurons", default=0, least=0, most=20_000
            ),
            "basis_gain": Setting(
                "numbers",
                "least and largest slope of a dendrite, times half the size of the region",
                default=[3.0, 8.0],
            ),
            "fast_start": Setting(
                "number",
                "start of fast weights, as a share of the best ones' diagonal; 0: the best ones",
                default=0.0,
            ),
            "region": Setting("numbers", "half the size of the box to learn, by dimension"),
        },
    ),
    "input": Table(
        "The input of the test: noise, filtered twice.",
        {
            "std": Setting("number", "standard deviation in 1/s", shown="the task's"),
            "tau": Setting("number", "time constant in s", shown="the task's"),
        },
    ),
    "training": Table(
        "Training. The teacher is drawn along a path through the region, or driven by noise.",
        {
            "duration": Setting("number", "in s; 0: none", default=0.0, least=0.0),
            "k_0": Setting("number", "error gain in 1/s", default=0.0),
            "eta_0": Setting("number", "learning rate of slow weights, per s", default=0.0),
            "eta_fast": Setting("number", "learning rate of fast weights, per spike", default=0.0),
            "gain": Setting("text", "the gain by `k_0`, `t` and `duration`", default="k_0"),
            "rate": Setting("text", "the rate by `eta_0`, `t` and `duration`", default="eta_0"),
            "fast_rate": Setting(
                "text", "the rate by `eta_fast_0`, `t` and `duration`", default="eta_fast_0"
            ),
            "input_std": Setting("number", "noise in 1/s, where `pull` is 0", default=0.0),
            "input_tau": Setting("number", "its time constant in s", default=0.1),
            "pull": Setting("number", "pull to the path in 1/s; 0: noise", default=0.0),
            "reach": Setting("number", "size of the path, of the region", default=1.2),
            "explore_tau": Setting(
                "number", "time constant of the path in s", default=0.05, least=0.0
            ),
        },
    ),
    "test": Table(
        "The test, without error feedback.",
        {
            # Shares of time, by which a network is judged, mean nothing in less.
            "duration": Setting("number", "in s", default=10.0, least=0.1),
            "settle": Setting("number", "seconds before it", default=1.0, least=0.0),
            "kill": Setting(
                "number", "fraction of the neurons that falls silent", default=0.0, least=0.0,
                most=0.95,
            ),
            "noise": Setting("number", "in place of `sigma`; negative: stays", default=-1.0),
        },
    ),
}
_PARAMETERS: Schema = {
    "teacher": Table(
        "Parameters of the teacher.",
        further=lambda tables: {key: Setting("value", "") for key in tables.get("teacher", {})},
        further_doc="by their names in the teacher",
    )
}


class _Balanced:
    """See `eprop_brian.runs.models.Model`."""

    name = "balanced"
    tasks: Mapping[str, str] = {name: task.description for name, task in DYNAMICS.items()}
    schema = _SCHEMA
    parameters = _PARAMETERS
    needed = (("run", "task"), ("network", "region"), ("input", "std"), ("input", "tau"))
    example = "network.n=50 or training.duration=100"
    spec = BalancedNetwork
    history = TrainingHistory
    #: How the error enters, and the weights that need no learning.
    methods = (*reversed(FEEDBACKS), "closed")
    curves = ("nmse", "field_nmse")
    failures = (UnstableNetworkError,)
    tested_tables = ("input", "test")

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

    def begin(
        self, tables: Tables, replacements: Mapping[str, str | None]
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
        """Nothing bars anything of a recipe."""
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

    def read_parts(self, folder: Path, tables: Tables) -> dict[str, Any]:
        """Read the teacher's file."""
        return {"teacher": read_teacher(folder / _TEACHER_FILE)}

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
                initial=system.initial,
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
        self, config: RunConfig, device: str, workers: int | None, scheduler: str | None
    ) -> Experiment:
        """Make the experiment, before its training."""
        if workers is not None or scheduler is not None:
            name = "workers" if scheduler is None else "a scheduler"
            raise ValueError(
                f"{name} cannot be given for a balanced network: it learns from one long signal, "
                "and there are no trials to share"
            )
        task = self.make_task(config)
        return Experiment(
            self.make_network(config, task),
            task,
            config.training,
            config.test,
            seed=config.run["seed"],
            device=device,
            dtype=config.run["dtype"],
        )

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

    def state(self, trainer: Experiment) -> dict[str, Matrix]:
        """Give weights, and in the middle of a training all that it goes on from."""
        return trainer.state()

    def restore(self, trainer: Experiment, state: Mapping[str, Any], path: Path) -> None:
        """Go back to weights and to the middle of a training."""
        trainer.restore(state, path)

    def train(
        self,
        trainer: Experiment,
        iterations: int,
        progress: bool,
        after_call: Callable[[Any], None],
    ) -> None:
        """Train to the end."""
        trainer.train(progress=progress, after_part=after_call)

    def results(self, trainer: Experiment) -> dict[str, float]:
        """Give what a test shows."""
        return asdict(trainer.test()[0])

    def figures(self, folder: Path, formats: Sequence[str]) -> list[Path]:
        """Draw the test and the course of the training."""
        from eprop_brian.balanced.plotting import plot_experiment

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
