"""Figures: learning curves, trials, weights, balanced networks, whole runs, and sweeps.

Every function that draws one figure returns a Matplotlib `Figure` and leaves Matplotlib's settings
as they are. Scripts import them by short names from `eprop_brian.plot`.
"""
