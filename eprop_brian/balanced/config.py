"""Configuration of an experiment with a balanced network, as a TOML file.

Tables: ``run``, ``network``, ``input``, ``training`` and ``test``. The teacher stands beside it as
``teacher.toml``, so that a run does not change when the library does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from brian2.units.fundamentalunits import Quantity

from eprop_brian.balanced.recipes import get_recipe
from eprop_brian.balanced.spec import BalancedNetwork, closed_form, learned, random_decoder
from eprop_brian.base.checks import is_number
from eprop_brian.base.files import write_text
from eprop_brian.base.settings import read_tables, read_value
from eprop_brian.base.suggestions import unknown
from eprop_brian.base.toml import toml_table
from eprop_brian.equations.teachers import Teacher
from eprop_brian.symbolic.parameters import parse_quantity
from eprop_brian.symbolic.teacher import (
    read_teacher,
    teacher_from_string,
    teacher_map,
    write_teacher,
)
from eprop_brian.tasks.dynamics import Dynamics, get_dynamics

__all__ = ["RULES", "BalancedConfig"]

#: Where the slow weights come from.
RULES = ("closed", "learned")
_TABLES = ("run", "network", "input", "training", "test")
_TEACHER_FILE = "teacher.toml"
#: Kind of every setting: a number, a whole number, yes or no, text, or a quantity with a unit.
_KINDS: Mapping[str, Mapping[str, type]] = {
    "run": {"task": str, "seed": int, "device": str, "dtype": str},
    "network": {
        "n": int,
        "rule": str,
        "norm": float,
        "mu": float,
        "nu": float,
        "sigma": float,
        "lambda_r": Quantity,
        "lambda_v": Quantity,
        "t_ref": Quantity,
        "delay": Quantity,
        "dt": Quantity,
        "one_spike": bool,
        "basis": str,
        "feedback": str,
        "n_basis": int,
        "basis_gain": list,
        "region": list,
        "fast_start": float,
    },
    "input": {"std": float, "tau": float},
    "training": {
        "duration": float,
        "k_0": float,
        "eta_0": float,
        "eta_fast": float,
        "gain": str,
        "rate": str,
        "fast_rate": str,
        "input_std": float,
        "input_tau": float,
        "pull": float,
        "reach": float,
        "explore_tau": float,
    },
    "test": {"duration": float, "settle": float, "kill": float, "noise": float},
}


@dataclass(frozen=True)
class BalancedConfig:
    """Everything that determines an experiment.

    Attributes
    ----------
    run : dict
        ``task``, ``seed``, ``device``, ``dtype``.
    network : dict
        ``n`` neurons; ``norm`` of the decoding vectors times n; ``rule``; costs ``mu`` and ``nu``;
        noise ``sigma``; ``basis``, how many dendrites (``n_basis``), of which slopes, least and
        largest (``basis_gain``), and in which ``region``;
        ``fast_start``, the fast weights at the start as a share of the optimal ones' diagonal
        (0: optimal); and the options of `BalancedNetwork` by their names.
    input : dict
        ``std`` in 1/s and ``tau`` in s of the input in the test.
    training : dict
        ``duration`` in s (0: none), error gain ``k_0`` in 1/s, learning rates ``eta_0`` and
        ``eta_fast``, the equations ``gain``, ``rate`` and ``fast_rate``, and the input: the
        teacher is drawn (``pull``, in 1/s) along a path through the region (``reach``,
        ``explore_tau``), or driven by noise (``input_std``, ``input_tau``) where ``pull`` is 0.
    test : dict
        ``duration`` in s; ``settle``, the seconds before it, which do not count; then a fraction of
        the neurons is killed (``kill``), and ``noise`` takes the place of ``sigma`` (negative: it
        does not).
    teacher : Teacher
    """

    run: dict[str, Any]
    network: dict[str, Any]
    input: dict[str, Any]
    training: dict[str, Any]
    test: dict[str, Any]
    teacher: Teacher = field(repr=False)

    def __post_init__(self) -> None:
        for table in _TABLES:
            for key, value in getattr(self, table).items():
                _check(table, key, value)
        if self.network["rule"] not in RULES:
            raise ValueError(
                f"network.rule = '{self.network['rule']}': choose from {', '.join(RULES)}"
            )
        if self.network["rule"] == "closed" and _matrix(self.teacher) is None:
            raise ValueError(
                f"network.rule = 'closed' needs a linear teacher, dx/dt = A x, which "
                f"'{self.teacher.name}' is not: take a task that learns"
            )
        size = len(teacher_map(self.teacher).states)
        for key, length in (("region", size), ("basis_gain", 2)):
            if len(self.network[key]) != length:
                raise ValueError(
                    f"network.{key} must have {length} numbers, not {self.network[key]}"
                )
        if self.network["rule"] == "closed" and self.network["basis"] != "linear":
            raise ValueError("network.basis must be linear with network.rule = 'closed'")
        least, most = self.network["basis_gain"]
        if least > most:
            raise ValueError(f"network.basis_gain = [{least}, {most}]: the smaller one comes first")
        learning = any(self.training[key] for key in ("eta_0", "eta_fast"))
        if self.training["duration"] and not learning:
            raise ValueError(
                "training.duration needs a learning rate, training.eta_0 or training.eta_fast"
            )
        for table, key, least, most in (
            ("network", "n_basis", 0, 20_000),
            ("training", "explore_tau", 0.0, np.inf),
            # Shares of time, by which a network is judged, mean nothing in less.
            ("test", "duration", 0.1, np.inf),
            ("test", "kill", 0.0, 0.95),
            ("network", "n", 1, 20_000),
            ("training", "duration", 0.0, np.inf),
            ("test", "settle", 0.0, np.inf),
            ("run", "seed", 0, 2**31 - 1),
        ):
            value = getattr(self, table)[key]
            if not least <= value <= most:
                raise ValueError(f"{table}.{key} must be {least} to {most}, not {value}")
        if not self.network["norm"] > 0:
            raise ValueError("network.norm must be positive")

    @classmethod
    def from_recipe(
        cls,
        task: str,
        *,
        teacher: str | None = None,
        run: Mapping[str, Any] | None = None,
        test: Mapping[str, Any] | None = None,
        settings: Iterable[str] = (),
    ) -> BalancedConfig:
        """Take a task's recipe and replace settings.

        Parameters
        ----------
        task : str
            A key of `eprop_brian.tasks.dynamics.DYNAMICS`.
        teacher : str, optional
            A teacher file (``.toml``) or equations, in place of the task's.
        run, test : mapping, optional
            Values that are not None replace the recipe's.
        settings : iterable of str
            ``"table.key=value"``; the table ``teacher`` holds the teacher's parameters.

        Raises
        ------
        ValueError, EquationError
            For a name that does not exist or a value that does not fit.
        """
        dynamics = get_dynamics(task)
        recipe = get_recipe(task)
        chosen = dynamics.teacher if teacher is None else _read(teacher)
        region = list(dynamics.region)
        if teacher is not None:
            region = [1.0] * len(teacher_map(chosen).states)
        given = {key: value for key, value in (run or {}).items() if value is not None}
        tested = {key: value for key, value in (test or {}).items() if value is not None}
        config = cls(
            run={"task": task, "seed": 1, "device": "cpp", "dtype": "float64", **given},
            network={**recipe.network, "region": region},
            input={"std": dynamics.input_std, "tau": dynamics.input_tau},
            training=dict(recipe.training),
            test={**recipe.test, **tested},
            teacher=chosen,
        )
        for setting in settings:
            config = config.with_setting(setting)
        return config

    def with_setting(self, setting: str) -> BalancedConfig:
        """Return a copy with one ``table.key=value`` replaced."""
        path, equals, text = setting.partition("=")
        table, dot, key = path.strip().partition(".")
        if not equals or not dot:
            raise ValueError(
                f"--set {setting}: write TABLE.KEY=VALUE, for example network.n=50 or "
                "training.duration=100"
            )
        value = read_value(text.strip())
        if table == "teacher":
            return self.with_values("teacher", {key: value})
        known = [*_TABLES, "teacher"]
        if table not in known:
            raise ValueError(unknown("table", table, known, f"--set {setting}"))
        if key not in _KINDS[table]:
            raise ValueError(unknown("key", key, list(_KINDS[table]), f"--set {setting}"))
        return self.with_values(table, {key: value})

    def with_values(self, table: str, values: Mapping[str, Any]) -> BalancedConfig:
        """Return a copy with some values of a table replaced."""
        if table == "teacher":
            teacher = self.teacher.with_parameters(**values)
            teacher_map(teacher)
            return replace(self, teacher=teacher)
        return replace(self, **{table: {**getattr(self, table), **values}})

    @property
    def dynamics(self) -> Dynamics:
        """The task with the input of the test."""
        region = tuple(self.network["region"])
        base = replace(get_dynamics(self.run["task"]), teacher=self.teacher, region=region)
        return base.with_input(self.input["std"], self.input["tau"])

    def training_inputs(self, n_steps: int) -> np.ndarray:
        """Inputs of the training, (n_steps, K); of an exploring teacher, where it is pulled to."""
        training, seed, dt = self.training, self.run["seed"], float(self._dt)
        if training["pull"]:
            places = self.dynamics.places(
                n_steps, dt, training["explore_tau"], training["reach"], seed
            )
            return training["pull"] * places
        dynamics = self.dynamics.with_input(training["input_std"], training["input_tau"])
        return dynamics.inputs(n_steps, len(self.network["region"]), dt, seed)

    @property
    def _dt(self) -> Quantity:
        return parse_quantity(self.network["dt"], "network.dt")

    def make_network(self) -> BalancedNetwork:
        """The network, with weights and decoder of its seed."""
        settings = dict(self.network)
        n, seed, rule = settings.pop("n"), self.run["seed"], settings.pop("rule")
        norm, mu, nu = settings.pop("norm"), settings.pop("mu"), settings.pop("nu")
        n_basis, gain = settings.pop("n_basis"), settings.pop("basis_gain")
        region = settings.pop("region")
        fast_start = settings.pop("fast_start")
        k = len(teacher_map(self.teacher).states)
        decoder = random_decoder(k, n, norm / n, seed)
        options = {
            **settings,
            "learns": _learns(self.training),
            "gain": self.training["gain"],
            "rate": self.training["rate"],
            "fast_rate": self.training["fast_rate"],
        }
        if rule == "closed":
            options.pop("basis")
            network = closed_form(
                _matrix(self.teacher),
                decoder,
                mu=mu,
                nu=nu,
                initial=teacher_map(self.teacher).initial,
                name=self.teacher.name,
                **options,
            )
        else:
            if options["basis"] == "tanh":
                weights, offset = random_basis(decoder, n_basis or n, gain, region, seed)
                options |= {"basis_weights": weights, "basis_offset": offset}
            network = learned(self.teacher, decoder, mu=mu, nu=nu, **options)
        if fast_start:
            start = fast_start * np.diag(np.diag(network.fast_weights))
            network = replace(network, fast_weights=start)
        return network

    def write(self, folder: Path) -> None:
        """Write ``teacher.toml`` and ``config.toml``, in this order."""
        folder = Path(folder)
        write_text(folder / _TEACHER_FILE, write_teacher(self.teacher))
        tables = [toml_table(name, getattr(self, name)) for name in _TABLES]
        write_text(folder / "config.toml", "\n".join(tables))

    @classmethod
    def read(cls, folder: Path) -> BalancedConfig:
        """Read what `write` wrote.

        Raises
        ------
        ValueError
            If the folder holds no experiment or its configuration is damaged.
        """
        tables = read_tables(folder, _KINDS)
        get_dynamics(tables["run"]["task"])
        teacher = read_teacher(Path(folder) / _TEACHER_FILE)
        return cls(**{name: tables[name] for name in _TABLES}, teacher=teacher)


def random_basis(
    decoder: np.ndarray,
    n_basis: int,
    gain: Sequence[float] = (3.0, 8.0),
    region: Sequence[float] | float = 1.0,
    seed: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Dendrites tanh(M r + theta) that see the estimate from random directions.

    M = G D with rows of G of random direction, and theta such that each dendrite's midpoint lies
    at a random place of the region.

    Parameters
    ----------
    decoder : array of shape (K, N)
    n_basis : int
    gain : (float, float)
        Least and largest slope of a dendrite, in units of 1 over the region's size.
    region : array of shape (K,) or float
        Half the size of the box in which the dendrites lie.
    seed : int

    Returns
    -------
    M : ndarray of shape (n_basis, N)
    theta : ndarray of shape (n_basis,)
    """
    rng = np.random.default_rng([seed, 2])
    directions = rng.standard_normal((n_basis, len(decoder)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    scaled = rng.uniform(*gain, (n_basis, 1)) * directions
    midpoints = rng.uniform(-1.0, 1.0, directions.shape)
    return (scaled / np.asarray(region)) @ decoder, -np.sum(scaled * midpoints, axis=1)


def _learns(training: Mapping[str, Any]) -> tuple[str, ...]:
    pairs = (("slow", "eta_0"), ("fast", "eta_fast"))
    return tuple(name for name, key in pairs if training["duration"] and training[key])


def _matrix(teacher: Teacher) -> np.ndarray | None:
    """A of a linear teacher dx/dt = A x; None if it is not one."""
    found = teacher_map(teacher)
    rng = np.random.default_rng(0)
    points = rng.standard_normal((5, len(found.states)))
    matrix = found.jacobian(np.zeros(len(found.states)))
    linear = np.allclose(found.field(points), points @ matrix.T, rtol=1e-9, atol=1e-12)
    return matrix if linear else None


def _read(text: str) -> Teacher:
    return read_teacher(text) if text.endswith(".toml") else teacher_from_string(text)


def _check(table: str, key: str, value: Any) -> None:
    kinds = _KINDS[table]
    if key not in kinds:
        raise ValueError(unknown("key", key, list(kinds), f"[{table}]"))
    kind = kinds[key]
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: is_number(value) and bool(np.isfinite(value)),
        str: isinstance(value, str),
        list: isinstance(value, list) and all(is_number(v) and 0 < v < np.inf for v in value),
        Quantity: isinstance(value, str),
    }[kind]
    if not fits:
        wanted = {
            bool: "true or false",
            int: "a whole number",
            float: "a finite number",
            str: "text",
            list: "a list of positive numbers",
            Quantity: "a number with a unit, e.g. '0.1 ms' or '20 Hz'",
        }[kind]
        raise ValueError(f"{table}.{key} = {value!r} must be {wanted}")
