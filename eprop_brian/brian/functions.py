"""Functions of a script that Brian2 has not: in Python, in Cython and in C++.

A script shows the source of those that it calls, so they read nothing but NumPy.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
from brian2 import Function

from eprop_brian.symbolic.functions import WHERE

__all__ = ["NAMES", "PYTHON", "make_function", "source_of"]


def choose(condition, a, b):
    """a where the condition is 1, b where it is 0."""
    return np.where(condition, a, b)


def exprel_slope(x):
    """exprel'(x)/exprel(x), which is 1/(1 - exp(-x)) - 1/x, and 1/2 at 0."""
    x = np.asarray(x, dtype=float)
    small = np.abs(x) < 1e-2
    near = np.where(small, x, 0.0)
    far = np.where(small, 1.0, x)
    with np.errstate(over="ignore"):
        closed = -1 / np.expm1(-far) - 1 / far
    return np.where(small, 0.5 + near / 12 - near**3 / 720 + near**5 / 30240, closed)


def power_log(x, a):
    """x**a*log(x), and 0 where x is 0 and a is positive."""
    x, a = np.asarray(x, dtype=float), np.asarray(a, dtype=float)
    safe = np.where((x == 0) & (a > 0), 1.0, x)
    return safe**a * np.log(safe)


#: The functions by their names in a script.
PYTHON: dict[str, Callable] = {f.__name__: f for f in (choose, exprel_slope, power_log)}
#: Their names by those in the statements, which Brian2 takes in no namespace, or which this package
#: has given to functions that a script cannot read.
NAMES = {WHERE: "choose", "_exprel_slope": "exprel_slope", "_power_log": "power_log"}
#: The same in C++.
_CPP = {
    "choose": """
inline double choose(double condition, double a, double b)
{
    return condition != 0 ? a : b;
}
""",
    "exprel_slope": """
inline double exprel_slope(double x)
{
    if (fabs(x) < 1e-2)
        return 0.5 + x/12 - x*x*x/720 + x*x*x*x*x/30240;
    return -1/expm1(-x) - 1/x;
}
""",
    "power_log": """
inline double power_log(double x, double a)
{
    return x == 0 && a > 0 ? 0 : pow(x, a)*log(x);
}
""",
}
#: And in Cython.
_CYTHON = {
    "choose": """
cdef double choose(double condition, double a, double b):
    return a if condition != 0 else b
""",
    "exprel_slope": """
from libc.math cimport expm1, fabs
cdef double exprel_slope(double x):
    if fabs(x) < 1e-2:
        return 0.5 + x/12 - x*x*x/720 + x*x*x*x*x/30240
    return -1/expm1(-x) - 1/x
""",
    "power_log": """
from libc.math cimport log, pow
cdef double power_log(double x, double a):
    return 0 if x == 0 and a > 0 else pow(x, a)*log(x)
""",
}
#: What a function of C++ must be called for CUDA.
_CUDA = "__host__ __device__ "


def make_function(name: str) -> Function:
    """The function for Brian2."""
    python = PYTHON[name]
    function = Function(python, arg_units=[None] * python.__code__.co_argcount, return_unit=1)
    implementations = {
        "cpp": _CPP[name],
        "cuda": _CUDA + _CPP[name].strip(),
        "cython": _CYTHON[name],
    }
    for target, code in implementations.items():
        function.implementations.add_implementation(target, code)
    return function


def source_of(name: str) -> str:
    """Python that defines the function and makes it one of Brian2."""
    python = PYTHON[name]
    n = python.__code__.co_argcount
    return f'''{inspect.getsource(python)}

{name} = Function({name}, arg_units=[None]*{n}, return_unit=1)
cpp = """{_CPP[name]}"""
cython = """{_CYTHON[name]}"""
{name}.implementations.add_implementation("cpp", cpp)
{name}.implementations.add_implementation("cuda", "{_CUDA}" + cpp.strip())
{name}.implementations.add_implementation("cython", cython)
'''
