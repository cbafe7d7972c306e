"""Losses from an equation: the error is derived.

For a loss ``E = sum_k f(y_k, y_target_k)`` the error is ``df/dy``. Where f reads the softmax
probabilities ``p`` instead, every one of them depends on every readout, and

    dE/dy_k = p_k (f'(p_k) - sum_l p_l f'(p_l))

An error that is known before the advantage is split, ``advantage*rewarded + direct``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy

from eprop_brian.equations.losses import Loss
from eprop_brian.symbolic.derivatives import derivative
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.expressions import (
    UNDIFFERENTIABLE,
    expression_text,
    parse_expression,
    require_known,
    symbol,
)

__all__ = ["ErrorPart", "derive_loss", "split_error"]

_WHERE = "loss"
#: What is left of an expression that sympy cannot differentiate.
_LEFTOVERS = (sympy.Derivative, sympy.Subs, sympy.DiracDelta, sympy.nan)


def derive_loss(equation: str, known: tuple[str, ...] = ()) -> Loss:
    """Derive a loss and its error from an equation.

    Parameters
    ----------
    equation : str
        What a readout adds to the loss in a step: an expression of ``y_target`` and either ``y``
        (``"log(cosh(y - y_target))"``) or ``p`` (``"(p - y_target)**2"``). It may read
        ``advantage``, a constant: ``"-advantage*y_target*log(p)"`` is the loss of a policy.
    known : tuple of str
        Other names that it may read: the readout's parameters and constants.

    Returns
    -------
    Loss
        Called ``"equation"``. Its value is reported as those of the library are: of ``y`` the mean
        over the readouts, of ``p`` the mean over the steps of the learning window.

    Raises
    ------
    EquationError
        If the equation reads anything else, or has no derivative that can be computed.
    """
    loss = parse_expression(equation, _WHERE)
    names = {s.name for s in loss.free_symbols}
    require_known(sorted(names), ["y", "p", "y_target", "advantage", *known], _WHERE, equation)
    softmax = "p" in names
    if softmax == ("y" in names):
        raise EquationError(
            _WHERE,
            equation,
            "must read either the readout y or the softmax probability p, for example "
            "`log(cosh(y - y_target))` or `(p - y_target)**2`",
        )
    signal = "p" if softmax else "y"
    try:
        slope = derivative(loss, symbol(signal))
    except AttributeError:  # of a comparison
        slope = sympy.nan
    functions = {str(f.func) for f in loss.atoms(sympy.Function)}
    if slope.has(*_LEFTOVERS) or functions & UNDIFFERENTIABLE.keys():
        raise EquationError(_WHERE, equation, "has no derivative that can be evaluated")
    error, coupling, open_at_one = expression_text(slope), "", False
    if softmax:
        # As that of log(1 - p): 0 times an infinite slope is not a number, whatever the target.
        at_one = slope.subs(symbol("p"), 1)
        open_at_one = at_one.has(sympy.zoo, sympy.oo, sympy.nan)
        # 1/p of a cross-entropy cancels here, and never divides by a probability of 0.
        coupling = expression_text(sympy.expand(symbol("p") * slope))
        error = f"{coupling} - p*coupled"
    return Loss(
        name="equation",
        loss=equation,
        error=error,
        signal=signal,
        softmax=softmax,
        mean_over_readouts=not softmax,
        mean_over_window=softmax,
        coupling=coupling,
        open_at_one=open_at_one,
    )


@dataclass(frozen=True)
class ErrorPart:
    """A part of an error.

    Attributes
    ----------
    error, coupling : str
        As of a `Loss`.
    """

    error: str
    coupling: str

    @property
    def is_zero(self) -> bool:
        """Whether there is no such part."""
        return self.error == "0"


def split_error(
    loss: Loss, known: Sequence[str] = (), target: str = ""
) -> tuple[ErrorPart, ErrorPart]:
    """Split an error into what the advantage multiplies and what it does not.

    Parameters
    ----------
    loss : Loss
    known : sequence of str
        Names of the readout's parameters and constants.
    target : str
        What ``y_target`` is, an expression of ``y`` and ``advantage``; default: itself.

    Returns
    -------
    rewarded, direct : ErrorPart
        ``error = advantage*rewarded + direct``. What is identically 0 is ``"0"``.

    Raises
    ------
    EquationError
        If the error is not linear in the advantage.
    """
    advantage, coupled = symbol("advantage"), symbol("coupled")
    replaced = {symbol("y_target"): parse_expression(target, _WHERE)} if target else {}
    names = ["y", "p", "y_target", "advantage", "coupled", *known]

    def parts(text: str) -> tuple[sympy.Expr, sympy.Expr]:
        expression = parse_expression(text, _WHERE)
        require_known(sorted(s.name for s in expression.free_symbols), names, _WHERE, text)
        expression = sympy.expand(expression.xreplace(replaced))
        slope = sympy.simplify(derivative(expression, advantage))
        # What outputs share is a sum, so that either part of it takes the place of the whole.
        shared = derivative(expression, coupled)
        if slope.has(advantage, coupled, *_LEFTOVERS) or shared.has(advantage, coupled):
            raise EquationError(
                _WHERE,
                loss.loss,
                "its error must be linear in the advantage, which becomes known reward by reward "
                "with gradient = 'online': choose another loss, or gradient = 'factored'",
            )
        return slope, sympy.simplify(expression.xreplace({advantage: sympy.S.Zero}))

    slope, rest = parts(loss.error)
    shared = derivative(rest, coupled)
    errors = slope, rest.xreplace({coupled: sympy.S.Zero})
    couplings = parts(loss.coupling) if loss.coupling else (sympy.S.Zero, sympy.S.Zero)
    rewarded, direct = (
        ErrorPart(expression_text(error), "")
        if coupling.is_zero or shared.is_zero
        else ErrorPart(expression_text(error + shared * coupled), expression_text(coupling))
        for error, coupling in zip(errors, couplings, strict=True)
    )
    return rewarded, direct
