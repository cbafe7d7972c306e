"""Figures: learning curves, trials, weights, balanced networks, whole runs, and sweeps.

Every function that draws one figure returns a Matplotlib `Figure` and leaves Matplotlib's settings
as they are. Scripts import them by short names from `eprop_brian.plot`.
"""

#: File types of figures that the command writes.
FORMATS = ("png", "pdf", "svg")
