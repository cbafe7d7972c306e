"""What a balanced network is: its teacher, decoder, weights and options, checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import sympy
from brian2.units import Hz, ms
from brian2.units.fundamentalunits import Quantity, get_dimensions

from eprop_brian.base.checks import is_number
from eprop_brian.base.converted import Converted
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.balanced import BASES, FEEDBACKS, Basis
from eprop_brian.equations.teachers import Teacher, linear_teacher
from eprop_brian.symbolic.derivatives import vanishes
from eprop_brian.symbolic.expressions import parse_expression, require_known
from eprop_brian.symbolic.parameters import displayed_unit, parse_quantity
from eprop_brian.symbolic.teacher import TeacherMap, teacher_map

__all__ = [
    "LEARNS",
    "BalancedNetwork",
    "check_noise",
    "closed_form",
    "learned",
    "noise_strength",
    "random_basis",
    "random_decoder",
]

#: Weights that can learn.
LEARNS = ("slow", "fast")
#: Voltage noise as a multiple of the median threshold.
_OF_THRESHOLD = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*threshold\s*")
#: Options that are expressions, and what they may name.
_EXPRESSIONS = {
    "feedback": ("k", "projected_error", "v"),
    "gain": ("k_0", "t", "duration"),
    "rate": ("eta_0", "t", "duration"),
    "fast_rate": ("eta_fast_0", "t", "duration"),
}
#: Dimensions that a program can represent: each has a loop index of its own in the teacher's step.
_MOST_DIMENSIONS = 8


def _as_array(value: Any, _: BalancedNetwork) -> np.ndarray:
    array = np.array(value, dtype=float)
    array.setflags(write=False)
    return array


def _as_optional_array(value: Any, network: BalancedNetwork) -> np.ndarray | None:
    return None if value is None else _as_array(value, network)


def _in(unit: Quantity, name: str) -> Callable[[Any, BalancedNetwork], Quantity]:
    """A conversion to a quantity in a unit."""
    return lambda value, _: _quantity(value, unit, name)


@dataclass(frozen=True)
class BalancedNetwork:
    """A network of N neurons that represents K dimensions.

    Parameters
    ----------
    teacher : Teacher
        The signal; its K states are the dimensions.
    decoder : array of shape (K, N)
        D: the estimate of the signal is D r.
    slow_weights : array of shape (N, n_basis)
        Ws at the start.
    fast_weights : array of shape (N, N)
        Wf at the start; entry [i, j] is what a spike of neuron j takes from the potential of i.
    threshold : array of shape (N,)
    basis : str
        ``"linear"`` (slow synapses see r) or ``"tanh"`` (they see tanh(M r + theta)).
    basis_weights : array of shape (n_basis, N), optional
        M; of the tanh basis only.
    basis_offset : array of shape (n_basis,), optional
        theta; of the tanh basis only.
    learns : sequence of str
        Which weights a program can train: ``"slow"``, ``"fast"``, both or none.
    lambda_r, lambda_v : Quantity
        Decay rates of the filtered spikes and of the membrane.
    sigma : float
        Voltage noise: the standard deviation that it alone would give a potential.
    t_ref : Quantity
        Refractory period.
    delay : Quantity
        Of the fast synapses onto other neurons. A neuron's own reset has none.
    one_spike : bool
        At most one spike a step in the whole network: the neuron furthest above its threshold.
        Without it all that are above spike.
    feedback : str
        The error feedback of the membrane: ``"corrected"``, ``"published"`` (see
        `eprop_brian.equations.balanced.FEEDBACKS`) or an expression of ``k``,
        ``projected_error`` and ``v``.
    gain, rate, fast_rate : str
        Error gain ``k`` and learning rates ``eta`` and ``eta_fast`` as expressions of ``k_0``,
        ``eta_0`` and ``eta_fast_0``, of ``t`` (the time since training began) and ``duration``.
    dt : Quantity

    Raises
    ------
    ValueError, EquationError
        If a shape, unit or name does not fit; the message says which and what would be right.
    """

    teacher: Teacher
    decoder: Converted[np.ndarray] = field(repr=False, default=Converted(_as_array))
    slow_weights: Converted[np.ndarray] = field(repr=False, default=Converted(_as_array))
    fast_weights: Converted[np.ndarray] = field(repr=False, default=Converted(_as_array))
    threshold: Converted[np.ndarray] = field(repr=False, default=Converted(_as_array))
    basis: str = "linear"
    basis_weights: Converted[np.ndarray | None] = field(
        repr=False, default=Converted(_as_optional_array, None)
    )
    basis_offset: Converted[np.ndarray | None] = field(
        repr=False, default=Converted(_as_optional_array, None)
    )
    learns: Sequence[str] = ()
    lambda_r: Converted[Quantity] = Converted(_in(Hz, "lambda_r"), "20 Hz")
    lambda_v: Converted[Quantity] = Converted(_in(Hz, "lambda_v"), "20 Hz")
    sigma: float = 0.0
    t_ref: Converted[Quantity] = Converted(_in(ms, "t_ref"), "0 ms")
    delay: Converted[Quantity] = Converted(_in(ms, "delay"), "0 ms")
    one_spike: bool = True
    feedback: str = "corrected"
    gain: str = "k_0"
    rate: str = "eta_0"
    fast_rate: str = "eta_fast_0"
    dt: Converted[Quantity] = Converted(_in(ms, "dt"), "0.1 ms")

    def __post_init__(self) -> None:
        for name in ("lambda_r", "dt"):
            if not float(getattr(self, name)) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if float(self.dt) * max(float(self.lambda_r), float(self.lambda_v)) >= 1:
            raise ValueError(
                f"dt = {self.dt} must be much shorter than 1/lambda_r = {1 / self.lambda_r} and "
                f"1/lambda_v: take at most a tenth of them"
            )
        check_noise(self.sigma, self.lambda_v)
        for name in ("t_ref", "delay"):
            duration, dt = float(getattr(self, name)), float(self.dt)
            if abs(duration / dt - round(duration / dt)) > 1e-6:
                raise ValueError(
                    f"{name} = {getattr(self, name)} must be a multiple of dt, {self.dt}"
                )
        if self.basis not in BASES:
            raise ValueError(unknown("basis", self.basis, BASES))
        for name, known in _EXPRESSIONS.items():
            text = self.feedback_equation if name == "feedback" else getattr(self, name)
            used = parse_expression(text, name).free_symbols
            require_known(sorted(symbol.name for symbol in used), known, name, text)
            # The first of the names switches it off, as a test does.
            off = parse_expression(text, name).subs(sympy.Symbol(known[0], real=True), 0)
            if not vanishes(off):
                raise ValueError(
                    f"{name} = '{text}' must vanish for {known[0]} = 0, so that {known[0]} = 0 "
                    "switches it off"
                )
        for name in self.learns:
            if name not in LEARNS:
                raise ValueError(unknown("weights that learn", name, LEARNS))
        size = self.teacher_map.initial.size
        if size > _MOST_DIMENSIONS:
            raise ValueError(
                f"teacher '{self.teacher.name}' has {size} states, at most {_MOST_DIMENSIONS} can "
                "be represented"
            )
        decoder = self.decoder
        if decoder.ndim != 2 or decoder.shape[0] != size or not decoder.shape[1]:
            raise ValueError(
                f"the decoder must have shape ({size}, N), one row per state of teacher "
                f"'{self.teacher.name}', not {decoder.shape}"
            )
        n = decoder.shape[1]
        arrays = {"fast_weights": (n, n), "threshold": (n,)}
        has_basis = bool(BASES[self.basis].model)
        if has_basis:
            m = np.asarray(self.basis_weights)
            if m.ndim != 2 or m.shape[1] != n or not m.shape[0]:
                raise ValueError(
                    f"basis_weights must have shape (n_basis, {n}) with basis '{self.basis}', "
                    f"not {m.shape}"
                )
            arrays |= {"basis_weights": m.shape, "basis_offset": (m.shape[0],)}
            arrays["slow_weights"] = (n, m.shape[0])
        else:
            arrays["slow_weights"] = (n, n)
            if self.basis_weights is not None or self.basis_offset is not None:
                raise ValueError(f"basis '{self.basis}' has neither basis_weights nor basis_offset")
        for name, shape in {"decoder": decoder.shape, **arrays}.items():
            value = np.asarray(getattr(self, name), dtype=float)
            if value.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, not {value.shape}")
            if not np.all(np.isfinite(value)):
                raise ValueError(f"{name} must be finite")
        if np.any(self.threshold <= 0):
            raise ValueError("threshold must be positive")

    @cached_property
    def teacher_map(self) -> TeacherMap:
        """The teacher's step and vector field."""
        return teacher_map(self.teacher)

    @property
    def n(self) -> int:
        """Number of neurons."""
        return self.decoder.shape[1]

    @property
    def n_dimensions(self) -> int:
        """Number of dimensions, K."""
        return self.decoder.shape[0]

    @property
    def n_basis(self) -> int:
        """Number of presynaptic terms of the slow synapses."""
        return self.slow_weights.shape[1]

    @property
    def basis_equations(self) -> Basis:
        """Equations of the presynaptic terms."""
        return BASES[self.basis]

    @property
    def feedback_equation(self) -> str:
        """The error feedback as an expression."""
        return FEEDBACKS.get(self.feedback, self.feedback)

    def steps(self, name: str) -> int:
        """A duration among the options in time steps."""
        return round(float(getattr(self, name)) / float(self.dt))


def random_decoder(
    n_dimensions: int, n: int, norm: float | None = None, seed: int = 1
) -> np.ndarray:
    """Decoding vectors of random directions and equal length.

    Parameters
    ----------
    n_dimensions, n : int
        K and N.
    norm : float, optional
        Length of each. Default: 2.5/N, which keeps the rate of a neuron and the share of a spike
        in step as N grows.
    seed : int

    Returns
    -------
    ndarray of shape (K, N)
    """
    directions = np.random.default_rng([seed, 0]).standard_normal((n_dimensions, n))
    directions /= np.linalg.norm(directions, axis=0)
    return directions * (2.5 / n if norm is None else norm)


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
    least, most = gain
    scaled = rng.uniform(least, most, (n_basis, 1)) * directions
    midpoints = rng.uniform(-1.0, 1.0, directions.shape)
    return (scaled / np.asarray(region)) @ decoder, -np.sum(scaled * midpoints, axis=1)


def closed_form(
    matrix: Any,
    decoder: np.ndarray,
    *,
    initial: Sequence[float] | None = None,
    mu: float = 0.0,
    nu: float = 0.0,
    name: str = "linear",
    **options: Any,
) -> BalancedNetwork:
    """A network whose weights are those of Boerlin, Machens, Denève 2013 (eqs. 8-10).

    Wf = D^T D + mu lambda^2 I, Ws = D^T (A + lambda I) D and
    ``T = (nu lambda + mu lambda^2 + |D_i|^2)/2``, with lambda = `lambda_r` in 1/s.

    Parameters
    ----------
    matrix : array of shape (K, K)
        A of dx/dt = A x + c, in 1/s.
    decoder : array of shape (K, N)
    initial : sequence of float, optional
        x at the start, shape (K,).
    mu, nu : float
        Quadratic and linear cost of spikes, in s^2 and s.
    name : str
        Of the teacher.
    **options
        Of `BalancedNetwork`.
    """
    teacher = linear_teacher(np.asarray(matrix).tolist(), initial, name)
    decoder = np.asarray(decoder, dtype=float)
    rate = float(_quantity(options.get("lambda_r", "20 Hz"), Hz, "lambda_r"))
    _check_costs(mu, nu)
    a = np.asarray(matrix, dtype=float) + rate * np.eye(len(matrix))
    if decoder.ndim != 2 or decoder.shape[0] != len(a):
        raise ValueError(f"the decoder must have shape ({len(a)}, N), not {decoder.shape}")
    cost = mu * rate**2
    return BalancedNetwork(
        teacher=teacher,
        decoder=decoder,
        slow_weights=decoder.T @ a @ decoder,
        fast_weights=decoder.T @ decoder + cost * np.eye(decoder.shape[1]),
        threshold=(nu * rate + cost + np.sum(decoder**2, axis=0)) / 2,
        **options,
    )


def learned(
    teacher: Teacher,
    decoder: np.ndarray,
    *,
    mu: float = 0.0,
    nu: float = 0.0,
    learns: Sequence[str] = ("slow",),
    **options: Any,
) -> BalancedNetwork:
    """A network that learns its slow weights from nothing, Alemi et al. 2018.

    ``Wf = D^T D + mu I`` and ``T = (|D_i|^2 + mu + nu)/2``; Ws = 0 if not given.

    Parameters
    ----------
    teacher : Teacher
    decoder : array of shape (K, N)
    mu, nu : float
        Quadratic and linear cost of spikes.
    learns : sequence of str
    **options
        Of `BalancedNetwork`.
    """
    decoder = np.asarray(decoder, dtype=float)
    if decoder.ndim != 2:
        raise ValueError(f"the decoder must have shape (K, N), not {decoder.shape}")
    _check_costs(mu, nu)
    n = decoder.shape[1]
    weights = options.get("basis_weights")
    given = {
        "slow_weights": np.zeros((n, n if weights is None else len(weights))),
        "fast_weights": decoder.T @ decoder + mu * np.eye(n),
        "threshold": (np.sum(decoder**2, axis=0) + mu + nu) / 2,
    }
    return BalancedNetwork(
        teacher=teacher, decoder=decoder, learns=tuple(learns), **{**given, **options}
    )


def check_noise(sigma: float, lambda_v: Quantity) -> None:
    """Raise ValueError unless `sigma` can be a strength of noise; noise needs a leak."""
    if not (is_number(sigma) and np.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma must be a finite number, 0 or more, not {sigma}")
    if sigma and not float(lambda_v):
        raise ValueError("sigma is the deviation of a leaky potential: it needs lambda_v above 0")


def noise_strength(value: float | str, threshold: np.ndarray, name: str = "noise") -> float:
    """Return the standard deviation of voltage noise, which may be relative to the threshold.

    Parameters
    ----------
    value : float or str
        A number, or a multiple of the median threshold such as ``"0.5 threshold"``.
    threshold : array of shape (N,)
    name : str
        What the message calls it.

    Raises
    ------
    ValueError
        If `value` is neither.
    """
    if is_number(value) and np.isfinite(value):
        return float(value)
    match = _OF_THRESHOLD.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"{name} = {value!r} must be a finite number, or a multiple of the threshold such as "
            "'0.5 threshold'"
        )
    return float(match[1]) * float(np.median(threshold))


def _check_costs(mu: float, nu: float) -> None:
    for name, value in (("mu", mu), ("nu", nu)):
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number, 0 or more, not {value}")


def _quantity(value: Any, unit: Quantity, name: str) -> Quantity:
    if isinstance(value, str):
        value = parse_quantity(value, name)
    if get_dimensions(value) is not unit.dim:
        found, wanted = displayed_unit(get_dimensions(value)), displayed_unit(unit.dim)
        raise ValueError(f"{name} = {value} has unit {found}, where {wanted} is needed")
    if np.ndim(value) or not np.isfinite(float(value)) or float(value) < 0:
        raise ValueError(f"{name} must be one finite number, 0 or more, not {value}")
    return Quantity(value)
