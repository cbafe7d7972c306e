"""Losses from an equation: the error is derived.

For a loss ``E = sum_k f(y_k, y_target_k)`` the error is ``df/dy``. Where f reads the softmax
probabilities ``p`` instead, every one of them depends on every readout, and

    dE/dy_k = p_k (f'(p_k) - sum_l p_l f'(p_l))
"""

from __future__ import annotations

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

__all__ = ["derive_loss"]

_WHERE = "loss"
#: What is left of an expression that sympy cannot differentiate.
_LEFTOVERS = (sympy.Derivative, sympy.Subs, sympy.DiracDelta, sympy.nan)


def derive_loss(equation: str, known: tuple[str, ...] = ()) -> Loss:
    """Derive a loss and its error from an equation.

    Parameters
    ----------
    equation : str
        What a readout adds to the loss in a step: an expression of ``y_target`` and either ``y``
        (``"log(cosh(y - y_target))"``) or ``p`` (``"(p - y_target)**2"``).
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
    require_known(sorted(names), ["y", "p", "y_target", *known], _WHERE, equation)
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
