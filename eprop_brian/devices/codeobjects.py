"""Code object classes that add this package's templates to Brian2's."""

from __future__ import annotations

import ast

import numpy as np
from brian2.codegen.generators.cpp_generator import CPPCodeGenerator
from brian2.codegen.generators.numpy_generator import NumpyCodeGenerator
from brian2.codegen.runtime.numpy_rt import NumpyCodeObject
from brian2.core.base import BrianObjectException
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.core.preferences import prefs
from brian2.devices.cpp_standalone.codeobject import CPPStandaloneCodeObject
from brian2.parsing.rendering import CPPNodeRenderer
from brian2.utils.stringtools import word_substitute

from eprop_brian.devices.translation import BlockwiseTranslation
from eprop_brian.steps.cpp_gradients import CppPrinter
from eprop_brian.steps.numpy_spiking import NumpyPrinter
from eprop_brian.symbolic.exogenous import DRAW_FUNCTIONS
from eprop_brian.symbolic.functions import IN_NUMPY, SLOPE_SERIES, SLOPE_SERIES_BELOW, WHERE

__all__ = [
    "DERIVATIVES",
    "PACKAGE",
    "CRenderer",
    "CppStepCodeObject",
    "NumpyStepCodeObject",
    "add_draws",
    "read_in_one_type",
]

#: Whose templates come before Brian2's.
PACKAGE = "eprop_brian.devices"
#: What Brian2's generators call the function ``int``.
_INT = ("int_", "_brian_int")


def _is_condition(node: ast.AST) -> bool:
    """Whether a node is a comparison made a number: ``int(a > b)``."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _INT
        and isinstance(node.args[0], ast.Compare | ast.BoolOp)
    )


def _is_single() -> bool:
    # By its full name: a preference by attributes looks up the texts that document it.
    return prefs["core.default_float_dtype"] == np.float32


def read_in_one_type(lines: list[str]) -> list[str]:
    """Declarations that read arrays, in the network's type: the clock's dt is always a double."""
    return [line.replace("double ", "float ", 1) for line in lines] if _is_single() else lines


class CRenderer(CPPNodeRenderer):
    """Expressions of C++ and CUDA whose literals are of the network's own float type."""

    def render_Constant(self, node):
        text = super().render_Constant(node)
        return f"{text}f" if _is_single() and isinstance(node.value, float) else text

    def render_BinOp(self, node):
        if _is_single() and isinstance(node.op, ast.Pow):
            return f"powf({self.render_node(node.left)}, {self.render_node(node.right)})"
        return super().render_BinOp(node)

    def render_Call(self, node):
        if _is_condition(node):
            # A choice between two numbers is one vector instruction, an integer made a float two.
            one, zero = ("1.0f", "0.0f") if _is_single() else ("1.0", "0.0")
            return f"({self.render_node(node.args[0])} ? {one} : {zero})"
        if node.func.id in _INT:
            # The function is declared in a header of Brian2's that our programs do without.
            return f"((int)({self.render_node(node.args[0])}))"
        if node.func.id == WHERE:
            condition, *values = node.args
            tested = self.render_node(condition.args[0] if _is_condition(condition) else condition)
            chosen, other = map(self.render_node, values)
            return f"({tested} ? {chosen} : {other})"
        return super().render_Call(node)


class _CppGenerator(BlockwiseTranslation, CPPCodeGenerator):
    """C++ code of many blocks, in one float type throughout.

    A single double in an expression of floats, a literal or the clock's dt, makes the compiler
    convert forth and back and halves the width of its vectors.
    """

    keeps = True

    def translate_to_read_arrays(self, read, write, indices):
        return read_in_one_type(super().translate_to_read_arrays(read, write, indices))

    def translate_expression(self, expr):
        expr = word_substitute(expr, self.func_name_replacements)
        return CRenderer(auto_vectorise=self.auto_vectorise).render_expr(expr).strip()


class _NumpyGenerator(BlockwiseTranslation, NumpyCodeGenerator):
    """NumPy code of many blocks, in which what a block writes is read as a copy.

    The template indexes with slices, so an array that is read is a view. In ``old = v`` followed by
    a statement for ``v``, the view would show the new value when ``old`` is written back. Brian2
    copies for the same reason where a whole array is read.
    """

    def read_arrays(self, read, write, indices, variables, variable_indices):
        lines = super().read_arrays(read, write, indices, variables, variable_indices)
        written = tuple(f"{name} = " for name in write)
        return [f"{line}.copy()" if line.startswith(written) else line for line in lines]


class NumpyStepCodeObject(NumpyCodeObject):
    """NumPy code with this package's templates."""

    generator_class = _NumpyGenerator
    printer = NumpyPrinter
    templater = NumpyCodeObject.templater.derive(PACKAGE)

    def run_block(self, block):
        """As Brian2's, but the code may end early, by StopIteration."""
        try:
            return super().run_block(block)
        except BrianObjectException as error:
            if isinstance(error.__cause__, StopIteration):
                return None
            raise


class CppStepCodeObject(CPPStandaloneCodeObject):
    """Standalone C++ code with this package's templates."""

    generator_class = _CppGenerator
    printer = CppPrinter
    templater = CPPStandaloneCodeObject.templater.derive(PACKAGE)


# The renderer writes it: neither side is computed before it is chosen.
DEFAULT_FUNCTIONS[WHERE].implementations.add_implementation(CppStepCodeObject, code="")

# Brian2's own clip has early returns and double bounds. Here both comparisons are of the value
# itself: one of the first result would be known where that is the lower bound, of which a compiler
# makes branches, and of these in a vector several masks.
DEFAULT_FUNCTIONS["clip"].implementations.add_implementation(
    CppStepCodeObject,
    name="_clip",
    code="""
    template <typename T, typename L, typename U>
    static inline T _clip(const T value, const L lower, const U upper)
    {
        const T raised = value < (T)lower ? (T)lower : value;
        return value > (T)upper ? (T)upper : raised;
    }
    """,
)

# The library's tanh is one number at a time, in branches. This one, of expm1 by its series once
# powers of 2 are taken out, is a few vector instructions, and right to the last digits.
DEFAULT_FUNCTIONS["tanh"].implementations.add_implementation(
    CppStepCodeObject,
    name="_tanh",
    code="""
    static inline float _tanh(const float value)
    {
        return std::tanh(value);
    }
    static inline double _tanh(const double value)
    {
        const double size = value < 0 ? -value : value;
        const double x = size > 20.0 ? 40.0 : 2.0*size;
        const int n = (int)(x*1.4426950408889634 + 0.5);
        const double r = (x - n*0.693147180369123816490) - n*1.90821492927058770002e-10;
        const double p = r + r*r*(1.0/2 + r*(1.0/6 + r*(1.0/24 + r*(1.0/120 + r*(1.0/720
            + r*(1.0/5040 + r*(1.0/40320 + r*(1.0/362880 + r*(1.0/3628800 + r*(1.0/39916800
            + r*(1.0/479001600 + r*(1.0/6227020800.0))))))))))));
        const long long bits = ((long long)n + 1023) << 52;
        double power;
        std::memcpy(&power, &bits, sizeof power);
        const double grown = n == 0 ? p : power*p + (power - 1.0);
        const double result = grown/(grown + 2.0);
        return value < 0 ? -result : result;
    }
    """,
)

# Brian2's NumPy target would compute the first three with units, and the next two as integers.
for _name, _function in (
    *((name, IN_NUMPY[name]) for name in ("expm1", "log1p", "exprel")),
    ("floor", np.floor),
    ("ceil", np.ceil),
    (WHERE, np.where),
    ("_exprel_slope", IN_NUMPY["_exprel_slope"]),
    ("_power_log", IN_NUMPY["_power_log"]),
):
    DEFAULT_FUNCTIONS[_name].implementations.add_implementation(NumpyStepCodeObject, code=_function)


def _series() -> str:
    """The polynomial of ``_exprel_slope`` in the square of x, as C++."""
    text = ""
    for coefficient in reversed(SLOPE_SERIES):
        text = f"(R)({coefficient!r})" + (f" + square*({text})" if text else "")
    return text


#: Functions of `eprop_brian.symbolic.functions` in C++, for a compiler's own qualifiers.
DERIVATIVES = {
    "_exprel_slope": f"""
    template <typename T>
    {{qualifiers}} static inline
    typename std::conditional<std::is_same<T, float>::value, float, double>::type
    _exprel_slope(const T argument)
    {{{{
        typedef typename std::conditional<std::is_same<T, float>::value, float, double>::type R;
        const R x = argument, square = x*x;
        if (square < (R){SLOPE_SERIES_BELOW**2!r})
            return (R)0.5 + x*({_series()});
        return (R)-1/expm1(-x) - (R)1/x;
    }}}}
    """,
    "_power_log": """
    template <typename T, typename U>
    {qualifiers} static inline
    typename std::conditional<std::is_same<decltype(T() + U()), float>::value, float, double>::type
    _power_log(const T base, const U exponent)
    {{
        typedef typename std::conditional<
            std::is_same<decltype(T() + U()), float>::value, float, double>::type R;
        const R x = base, a = exponent;
        return x == 0 && a > 0 ? (R)0 : (R)(pow(x, a)*log(x));
    }}
    """,
}
for _name, _code in DERIVATIVES.items():
    DEFAULT_FUNCTIONS[_name].implementations.add_implementation(
        CppStepCodeObject, name=_name, code=_code.format(qualifiers="")
    )


def add_draws(codeobj_class: type) -> None:
    """Give C++ or CUDA the functions of ``native/draws.h``, which the template includes."""
    for name in DRAW_FUNCTIONS:
        native = name.removeprefix("_")
        DEFAULT_FUNCTIONS[name].implementations.add_implementation(
            codeobj_class, name=native, code=f"using eprop_brian::{native};"
        )


add_draws(CppStepCodeObject)
for _name, _function in DRAW_FUNCTIONS.items():
    DEFAULT_FUNCTIONS[_name].implementations.add_implementation(NumpyStepCodeObject, code=_function)
