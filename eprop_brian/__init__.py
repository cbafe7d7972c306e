"""Spiking neurons written as equations, trained with e-prop.

A neuron is equation strings. The toolkit differentiates them, derives the eligibility traces of
e-prop for that neuron, builds the network that learns as Brian2 objects, and compiles it to C++.
"""

from typing import Any

from eprop_brian._libraries import guard_imports
from eprop_brian.base.interrupts import answer_as_command
from eprop_brian.base.lazy import lazy_names

# Before anything imports Brian2, which takes a second and has an answer of its own to Ctrl-C.
guard_imports(for_command=answer_as_command())

_get, __dir__, __all__ = lazy_names(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("eprop_brian")
    return _get(name)
