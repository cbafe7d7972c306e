"""Styles: both ways of writing a neuron, each brought to statements of a step in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from brian2.equations.equations import (
    PARAMETER,
    SUBEXPRESSION,
    Equations,
    SingleEquation,
    extract_constant_subexpressions,
)
from brian2.stateupdaters.base import StateUpdateMethod, UnsupportedEquationsException
from brian2.stateupdaters.exact import get_linear_system
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension
from brian2.utils.stringtools import get_identifiers

from eprop_brian.base.suggestions import unknown
from eprop_brian.equations.neuron import Neuron
from eprop_brian.symbolic.bounds import (
    EXACT,
    check_solvable,
    check_terms,
)
from eprop_brian.symbolic.derivatives import tidied
from eprop_brian.symbolic.errors import EquationError
from eprop_brian.symbolic.exact import exact_update
from eprop_brian.symbolic.exogenous_reader import Reader, check_noise, noise_kind
from eprop_brian.symbolic.expressions import (
    attached,
    expression_text,
    parse_expression,
    require_dimensions,
    require_known,
    scaled,
    split_statements,
    symbol,
    total,
)
from eprop_brian.symbolic.functions import WHERE
from eprop_brian.symbolic.model_text import (
    set_by_spikes,
    written_out_of,
)
from eprop_brian.symbolic.names import BEFORE, Signals, input_name, substituted
from eprop_brian.symbolic.refractory import last_spike_statements, refractory_statements
from eprop_brian.symbolic.weights import Effects, WeightFunction, check_order

__all__ = [
    "Statement",
    "check_method",
    "model_statements",
    "update_statements",
    "updater_statements",
]

#: A name and the expression that is assigned to it.
Statement = tuple[str, str]
#: Results of `_state_update`, by method and equations.
_state_updates: dict[tuple[str, str], str] = {}


def update_statements(
    neuron: Neuron, dimensions: Mapping[str, Dimension], where: str
) -> tuple[list[Statement], dict[str, Dimension]]:
    """Statements of a step of the update style, and the dimensions of its states: none.

    Raises
    ------
    EquationError
        If a line is not a statement, a state has two, or units do not fit.
    """
    where = f"{where}, update"
    inputs = [input_name(receptor) for receptor in neuron.receptor_names]
    if not isinstance(neuron.on_pre, str):
        raise EquationError(
            where,
            "; ".join(neuron.on_pre.values()),
            "`on_pre` belongs to `model`; in `update` name the `receptors` and write "
            f"{' and '.join(inputs)} instead",
        )
    if check_order(neuron, where):
        raise EquationError(
            where,
            f"on_pre_order = {neuron.on_pre_order}",
            "belongs to `model`; the statements of `update` read the sum of a step's inputs",
        )
    for option, code in {"reset": neuron.reset, "on_pre": neuron.on_pre}.items():
        if code.strip():
            raise EquationError(
                where, code, f"`{option}` belongs to `model`; in `update` write z and I instead"
            )
    statements = split_statements(neuron.update, where)
    states = [name for name, _ in statements]
    for state in states:
        if states.count(state) > 1:
            raise EquationError(where, neuron.update, f"'{state}' has more than one statement")
    # States of the update style carry no units, so neither do the parameters in their statements.
    units = dict.fromkeys(states, DIMENSIONLESS)
    read = dict.fromkeys((*inputs, "z", "not_refractory"), DIMENSIONLESS)
    known = {**dimensions, **units, **read, "dt": second.dim}
    for name, expression in statements:
        check_terms(parse_expression(expression, where, detached=True), expression, where)
        line = f"{name} = {expression}"
        require_dimensions(attached(expression), DIMENSIONLESS, known, where, line, detached=True)
    return statements, units


def _state_update(method: str, equations: Equations, reader: Reader | None) -> str:
    """Brian2's statements for a step, kept: solving the same equations again takes seconds."""
    exact = method in EXACT
    if reader is not None and exact:
        reader.refuse_changing(equations.identifiers)
    elif reader is not None:
        equations = reader.restored(equations)
    key = method, str(equations)
    if key not in _state_updates:
        updater = exact_update if exact else StateUpdateMethod.stateupdaters[method]
        _state_updates[key] = str(updater(equations))
    update = _state_updates[key]
    if reader is None:
        return update
    if exact:
        reader.hold_constant(equations.identifiers)
    return reader.read(update)


def model_statements(
    neuron: Neuron,
    equations: Equations,
    reader: Reader,
    dimensions: Mapping[str, Dimension],
    signals: Signals,
    where: str,
) -> tuple[list[Statement], dict[str, Dimension], dict[str, WeightFunction]]:
    """Statements of a step of the Brian2 style, and the dimensions of its states.

    One of the statements may say whether the neuron may spike (`refractory_statements`).

    And, by receptor, the function of the weight that its input sums, if it is not the weight.

    Parameters
    ----------
    neuron : Neuron
        Without subexpressions outside its model (`without_subexpressions`).
    equations : Equations
        Of its model (`read_model`).
    reader : Reader
        Of the neuron's exogenous quantities.
    dimensions : mapping of str to Dimension
        Of parameters, constants and exogenous quantities.
    signals : Signals
    where : str
        Named in errors.

    Raises
    ------
    EquationError
        If the method cannot integrate the model, or a statement does not fit.
    """
    written_out = written_out_of(equations)
    units = {eq.varname: eq.dim for eq in equations.values() if eq.type != SUBEXPRESSION}
    summed = set_by_spikes(neuron) & equations.parameter_names
    equations, constant = extract_constant_subexpressions(equations)
    clamped = {eq.varname for eq in equations.values() if "unless refractory" in (eq.flags or ())}
    if not neuron.refractory.strip():
        clamped = set()
    kept = {eq.varname: eq.dim for eq in constant.values()}
    known = {**dimensions, **units, **kept, "dt": second.dim}
    moving = _moving_statements(neuron, equations, clamped, reader, where)
    statements: list[Statement] = []
    functions = {}
    sequential = check_order(neuron, where)
    for receptor, on_pre in neuron.on_pre_by_receptor.items():
        at = f"{where}, on_pre, {receptor}" if receptor else f"{where}, on_pre"
        arriving = signals.inputs[receptor]
        entering, function = _entering_statements(
            on_pre, units, known, clamped, summed, arriving, at, sequential
        )
        statements += entering
        if function is not None:
            functions[receptor] = function
    statements += _reset_statements(neuron, units, kept, known, signals, where)
    statements += [(name, written_out[name]) for name in kept]
    varying = {*units, *kept, *reader.quantities}
    active = refractory_statements(neuron, known, dimensions, varying, signals.spike, where)
    codes = [neuron.threshold, neuron.surrogate]
    last = last_spike_statements([*statements, *active, *moving], codes, signals.spike)
    units |= dict.fromkeys((name for name, _ in last), second.dim)
    last = [(name, reader.read(text, 1)) for name, text in last]
    active = [(name, reader.read(text)) for name, text in active]
    return [*last, *statements, *active, *moving], {**units, **kept}, functions


def _entering_statements(
    on_pre: str,
    units: Mapping[str, Dimension],
    known: Mapping[str, Dimension],
    clamped: set[str],
    summed: Collection[str],
    arriving: str,
    where: str,
    sequential: bool,
) -> tuple[list[Statement], WeightFunction | None]:
    """What the weighted input `arriving` does: `on_pre`, applied to the sum of the spikes.

    And the function of the weight that is summed, if it is not the weight.
    """
    entry = split_statements(on_pre, where)
    if not entry:
        place, _, missing = where.rpartition(", ")
        raise EquationError(
            place, missing, "is missing: write the effect of a presynaptic spike, e.g. `v += w`"
        )
    # As at a synapse: w is the weight, and a name with _post the neuron's own.
    meanings = {"w": arriving, **{f"{name}_post": name for name in known}}
    weight = symbol(arriving)
    entered = {symbol(name.removesuffix("_post")) for name, _ in entry}
    statements, effects = [], Effects(weight, known.keys() - units.keys(), entered, sequential)
    for name, expression in entry:
        line = f"{name} = {expression}"
        state = name.removesuffix("_post")
        if name == "w":
            raise EquationError(where, line, "w is the weight here; the neuron's own w is w_post")
        require_known([state], units, where, line)
        # The weight has the unit that makes the statement fit: Brian2 leaves it to the synapse too.
        read = {s.name for s in parse_expression(expression, where).free_symbols}
        others = sorted(meanings.get(s, s) for s in read - {"w"})
        require_known(others, known, where, line)
        parsed = parse_expression(substituted(expression, meanings), where)
        # What spikes set is what they add, without what it was.
        before = symbol(state) if state in summed else 0
        new = effects.summed(parsed + before, symbol(state), where, line)
        entering = expression_text(new - before)
        if state in clamped:
            # Brian2's synapses leave it alone where the neuron spikes or is refractory.
            entering = f"{WHERE}({BEFORE}, {entering}, {state})"
        statements.append((state, entering))
    return statements, effects.function


def _reset_statements(
    neuron: Neuron,
    units: Mapping[str, Dimension],
    kept: Mapping[str, Dimension],
    known: Mapping[str, Dimension],
    signals: Signals,
    where: str,
) -> list[Statement]:
    """What the neuron's own spike of the step before does."""
    moving = {symbol(state) for state in (*units, *kept)}
    statements = []
    for name, expression in split_statements(neuron.reset, f"{where}, reset"):
        line = f"{name} = {expression}"
        require_known([name], units, f"{where}, reset", line)
        require_dimensions(expression, units[name], known, f"{where}, reset", line)
        new = parse_expression(expression, f"{where}, reset")
        change = tidied(new - symbol(name))
        if change.free_symbols & moving:
            # However large the membrane was.
            changed = f"{WHERE}({signals.spike}, {expression_text(new)}, {name})"
        else:
            changed = total(name, scaled(change, signals.spike))
        statements.append((name, changed))
    return statements


def _moving_statements(
    neuron: Neuron, equations: Equations, clamped: set[str], reader: Reader, where: str
) -> list[Statement]:
    """What Brian2's state updater does in a step, with `clamped` states held while refractory."""
    where = f"{where}, model"
    method = neuron.method or _default_method(equations, reader, where)
    updater = updater_statements(method, equations, where, neuron.model, reader)
    statements: list[Statement] = []
    held = {name: name for name in clamped}
    if _drives_others(equations, clamped):
        # Brian2 solves the equations with slopes of 0 while refractory: the others see that too.
        standing = _with_parameters(equations, clamped)
        check_solvable(method, standing, where)
        solution = split_statements(_state_update(method, standing, reader), where)
        names = {name: f"_held_{name.strip('_')}" for name, _ in solution}
        temporary = {name: new for name, new in names.items() if name.startswith("_")}
        statements += [(names[name], substituted(x, temporary)) for name, x in solution]
        held = {name: new for name, new in names.items() if not name.startswith("_")} | held
    for name, expression in updater:
        if name in held:
            expression = f"{WHERE}(not_refractory, {expression}, {held[name]})"
        statements.append((name, expression))
    return statements


def _default_method(equations: Equations, reader: Reader, where: str) -> str:
    """The method that Brian2 takes where none is named: the first that integrates the equations."""
    noise = noise_kind(equations, where)
    if noise is not None:
        return "euler" if noise == "additive" else "heun"
    try:
        get_linear_system(equations, {})
    except UnsupportedEquationsException:
        return "euler"
    check_solvable("exact", equations, where)
    try:
        _state_update("exact", equations, reader)
    except (UnsupportedEquationsException, EquationError):
        return "euler"
    return "exact"


def updater_statements(
    method: str, equations: Equations, where: str, text: str, reader: Reader | None = None
) -> list[Statement]:
    """What a state updater of Brian2's does in a step; `text` is what errors quote.

    Without a `reader`, equations have no exogenous quantities.

    Raises
    ------
    EquationError
        If there is no such method, or it cannot integrate the equations.
    """
    check_method(method, where.removesuffix(", model"))
    check_solvable(method, equations, where)
    check_noise(method, equations, where)
    try:
        return split_statements(_state_update(method, equations, reader), where)
    except EquationError:
        raise
    except Exception as error:  # the updaters raise their own types
        reason = str(error).strip().splitlines()[0]
        raise EquationError(
            where, text, f"method '{method}' cannot integrate it: {reason}"
        ) from None


def check_method(method: str, where: str) -> None:
    """Raise if Brian2 has no such state updater."""
    # Of Brian2's, "independent" is deprecated for "exact", and searches nonlinear ones for hours.
    methods = [
        m for m in StateUpdateMethod.stateupdaters if not m.startswith("gsl") and m != "independent"
    ]
    if method not in methods:
        raise EquationError(where, f"method = {method}", unknown("method", method, methods))


def _drives_others(equations: Equations, clamped: set[str]) -> bool:
    """Whether a state that moves while the neuron is refractory reads one that is held."""
    return any(
        name not in clamped and get_identifiers(str(expression)) & clamped
        for name, expression in equations.get_substituted_expressions()
    )


def _with_parameters(equations: Equations, names: set[str]) -> Equations:
    """The equations with some states as parameters."""
    return Equations(
        [
            SingleEquation(PARAMETER, eq.varname, eq.dim) if eq.varname in names else eq
            for eq in equations.ordered
        ]
    )
