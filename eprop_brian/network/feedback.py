"""Feedback: a learning-signal connection, checked against its network, and its weights drawn."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np
from brian2.units import Quantity
from brian2.units.fundamentalunits import have_same_dimensions
from brian2.utils.stringtools import get_identifiers
from scipy.sparse import issparse

from eprop_brian.base.checks import is_number
from eprop_brian.base.printable import warn
from eprop_brian.base.random import normals
from eprop_brian.base.sparse import Matrix, dense
from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.learning_signals import FEEDBACKS, RANDOM, Feedback
from eprop_brian.equations.losses import Loss
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import parse_expression, require_known, symbol

__all__ = [
    "as_feedback",
    "check_feedback",
    "check_loss",
    "initial_feedback",
    "unused_scale",
]

_WHERE = "learning signal"
_WEIGHTS = ("symmetric", "random", "broadcast", "given")
#: Weights that come from elsewhere.
_WITHOUT_SCALE = ("symmetric", "given")
_UPDATED = ("B", "w")
_EXAMPLES = {"signal": "tanh(error)", "update": "B = 0.999*B + increment"}


def as_feedback(given: Any) -> Feedback:
    """A kind's name, an equation such as ``B*tanh(error)``, a matrix, or the object itself.

    Raises
    ------
    ValueError, EquationError
        If it is none of these.
    """
    if isinstance(given, Feedback):
        return given
    if isinstance(given, str):
        if given in FEEDBACKS:
            return FEEDBACKS[given]
        if re.search(r"\bB\b", given):
            return RANDOM.with_options(signal=_sent(given))
        raise ValueError(
            f"{unknown('feedback', given, FEEDBACKS)}. Or give an equation with B, for example "
            "'B*tanh(error)', or a matrix (n_recurrent, n_outputs): with the command, a file B.npy"
        )
    if given is None or np.ndim(given) != 2:
        raise ValueError(
            f"feedback must be a kind ({', '.join(FEEDBACKS)}), an equation, a matrix "
            f"(n_recurrent, n_outputs) or a Feedback, not {given!r}"
        )
    return Feedback(weights="given", matrix=dense(given) if issparse(given) else given)


def _sent(equation: str) -> str:
    """What a readout sends if ``L`` gets `equation` of it, which must be B times something."""
    text = re.sub(r"^\s*L\s*(\+=|=\s*L\s*\+)", "", equation).strip()
    expression = parse_expression(text, _WHERE)
    weight = symbol("B")
    sent = expression.diff(weight)
    if sent.has(weight) or (expression - weight * sent).expand() != 0:
        raise EquationError(
            _WHERE, equation, "must be proportional to B, for example `B*tanh(error)`"
        )
    # B*f is written so in nearly all cases: keep the user's own text of f.
    own = re.fullmatch(r"B\s*\*\s*(.+)", text)
    if own is not None and parse_expression(own.group(1), _WHERE) == sent:
        return own.group(1)
    return str(sent)


def check_feedback(
    feedback: Feedback,
    loss: Loss,
    readout: Collection[str],
    optimizer: Collection[str],
    shape: tuple[int, int],
) -> Feedback:
    """Check a learning signal; returns it with its matrix as an array.

    Parameters
    ----------
    feedback : Feedback
    loss : Loss
    readout, optimizer : collection of str
        Names of the readout's parameters and constants, and of the optimizer's.
    shape : (int, int)
        Of B: (n_recurrent, n_outputs).

    Raises
    ------
    ValueError, EquationError
        If a number, the matrix or an equation is not what the kind needs.
    """
    if feedback.weights not in _WEIGHTS:
        raise ValueError(unknown("weights of a learning signal", feedback.weights, _WEIGHTS))
    for name in ("signal", "update"):
        if not isinstance(getattr(feedback, name), str):
            raise ValueError(
                f"{name} of the learning signal must be an equation, for example "
                f"{_EXAMPLES[name]!r}; got {getattr(feedback, name)!r}"
            )
    numbers = {"scale": feedback.scale, **feedback.parameters}
    for name, value in numbers.items():
        if not is_number(value) or not np.isfinite(value):
            raise ValueError(f"{name} of the learning signal must be a finite number: {value!r}")
    decay = feedback.parameters.get("decay", 0.0)
    if not 0 <= decay < 1:
        raise ValueError(f"decay of the learning signal must be from 0 to below 1, not {decay}")
    if feedback.weights in _WITHOUT_SCALE and feedback.scale != Feedback.scale:
        raise ValueError(unused_scale(feedback))
    plain = feedback.signal.strip() == "error" and feedback.delay is None
    if feedback.weights == "broadcast" and loss.softmax and plain:
        warn(
            "broadcast feedback sums the readouts' errors, and those of a softmax sum to 0: no "
            "learning signal reaches the recurrent neurons. Use 'random', 'adaptive' or "
            "'symmetric' feedback, or a signal of your own such as 'B*tanh(error)'",
            stacklevel=2,
        )
    _require_names(f"{_WHERE}, signal", feedback.signal, [*_sent_from(loss), *readout])
    _check_update(feedback, optimizer)
    if feedback.weights == "symmetric" and feedback.update.strip():
        raise ValueError("symmetric feedback follows the readout weights: it has no update rule")
    if (feedback.matrix is None) == (feedback.weights == "given"):
        raise ValueError("a learning signal has a matrix if, and only if, its weights are given")
    if feedback.matrix is None:
        return feedback
    if isinstance(feedback.matrix, Quantity) and not have_same_dimensions(feedback.matrix, 1):
        raise ValueError("feedback must be a matrix of numbers without unit")
    matrix = np.asarray(feedback.matrix)
    if matrix.dtype.kind not in "biuf":
        raise ValueError(f"feedback must be a matrix of numbers, real ones, not {matrix.dtype}")
    matrix = matrix.astype(float)
    if matrix.shape != shape:
        raise ValueError(
            f"feedback weights B have shape {matrix.shape}; this network needs "
            f"(n_recurrent, n_outputs) = {shape}"
        )
    if not np.all(np.isfinite(matrix)):
        raise ValueError("feedback weights B must be finite")
    return feedback.with_options(matrix=matrix)


def unused_scale(feedback: Feedback) -> str:
    """What is wrong with a scale of these weights; ``""`` if they have one."""
    if feedback.weights not in _WITHOUT_SCALE:
        return ""
    follows = "follow the readout weights" if feedback.weights == "symmetric" else "are given"
    return (
        f"a feedback scale changes nothing here: the feedback weights {follows}. Leave it away, "
        "or choose random, adaptive or broadcast feedback"
    )


def _check_update(feedback: Feedback, optimizer: Collection[str]) -> None:
    where = f"{_WHERE}, update"
    own = {*_UPDATED, "w_before", "increment"}
    taken = own & {*feedback.parameters}
    if taken:
        raise EquationError(
            where, min(taken), "is a name of the update itself; call the parameter something else"
        )
    known = {*own, *feedback.parameters}
    clash = known & {*optimizer}
    if clash - {"w"}:
        raise EquationError(where, min(clash - {"w"}), "is also a name of the optimizer; rename it")
    if unread := sorted({*feedback.parameters} - get_identifiers(feedback.update)):
        raise ValueError(
            f"{unread[0]} of the learning signal changes nothing: its update does not read it"
        )
    for line in feedback.update.split("\n"):
        if not line.strip():
            continue
        name, equals, expression = (part.strip() for part in line.partition("="))
        if not equals or name not in _UPDATED:
            raise EquationError(where, line, "must be a statement for B or w: `B = ...`")
        _require_names(where, expression, known)


def check_loss(loss: Loss, readout: Collection[str], n_outputs: int) -> None:
    """Check that a loss reads what the readouts have.

    Raises
    ------
    ValueError, EquationError
        If it reads something else, or a softmax has one readout.
    """
    if loss.softmax and n_outputs < 2:
        raise ValueError(f"loss '{loss.name}' needs at least 2 outputs, not 1")
    signals = ["y", "y_target", *(["p"] if loss.softmax else [])]
    known = [*signals, "advantage", *readout]
    parts = {"loss": known, "error": known}
    if loss.of_labels:
        parts = {"loss": ["log_likelihood", *readout], "error": known}
    elif loss.coupling:
        parts = {"loss": known, "coupling": known, "error": [*known, "coupled"]}
    for part, names in parts.items():
        _require_names(f"loss '{loss.name}', {part}", getattr(loss, part), names)
    if loss.signal not in signals:
        raise EquationError(
            f"loss '{loss.name}', signal", loss.signal, f"must be one of {', '.join(signals)}"
        )


def _sent_from(loss: Loss) -> list[str]:
    return ["error", "y", "y_target", *(["p"] if loss.softmax else [])]


def _require_names(where: str, expression: str, known: Collection[str]) -> None:
    parsed = parse_expression(expression, where)
    require_known(sorted(s.name for s in parsed.free_symbols), known, where, expression)


def initial_feedback(
    feedback: Feedback, shape: tuple[int, int], w_out: Matrix | None, rng: np.random.Generator
) -> np.ndarray:
    """Draw the weights of a learning signal.

    Parameters
    ----------
    feedback : Feedback
    shape : (int, int)
        Of the weights: (n_post, n_outputs).
    w_out : array or csc_array, shape (n_outputs, n_post), optional
        The readout weights that they follow; weights that are symmetric or change need them.
    rng : numpy.random.Generator
    """
    if feedback.weights == "symmetric" and w_out is not None:
        return dense(w_out.T)
    if feedback.weights == "broadcast":
        return np.full(shape, float(feedback.scale))
    if feedback.weights == "given":
        return np.array(feedback.matrix)
    drawn = normals(rng, shape) * feedback.scale
    # What changes with the readout weights is there only where they are.
    if feedback.update.strip() and w_out is not None and issparse(w_out):
        drawn = drawn * dense(w_out.T != 0)
    return drawn
