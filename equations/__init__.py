"""Equations: strings, symbols, default parameters and sources. No numerics live here."""

from eprop_brian.base.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
