"""Runs: settings, recipes, models, and the folder in which a run lives."""
