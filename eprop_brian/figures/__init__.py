"""Figures: what is learned, a trial, weights, whole runs, and balanced networks.

Every function returns a Matplotlib `Figure` and leaves Matplotlib's settings as they are. Scripts
find them by short names in `eprop_brian.plot`.
"""
