"""Recipes: the settings with which each task was published or works, one TOML file a task.

`eprop_brian.runs.recipes` reads them, and a user's copies of them.
"""
