"""Devices: where a network runs.

``cpp`` compiles it to one binary (default), ``cuda`` to one for a GPU, ``runtime`` runs it in this
process with NumPy.
"""

from eprop_brian.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
