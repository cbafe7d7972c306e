"""Spiking neurons written as equations, trained with e-prop.

A neuron is equation strings. The toolkit differentiates them, derives the eligibility traces of
e-prop for that neuron, builds the network that learns as Brian2 objects, and compiles it to C++.
"""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("eprop_brian")
