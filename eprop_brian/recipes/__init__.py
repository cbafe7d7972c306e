"""Recipes: the settings with which each task was published or works, one TOML file a task.

`eprop_brian.runs.recipes` reads them, and a user's copies of them.
"""

from pathlib import Path

__all__ = ["recipe_names"]


def recipe_names() -> list[str]:
    """Names of all recipes, by which tasks are named too. Nothing is imported for them."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))
