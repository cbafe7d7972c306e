"""Sphinx configuration. The build needs no network: ``sphinx-build -W docs docs/_build/html``."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "eprop_brian"
author = copyright = "eprop_brian contributors"
version = release = installed_version("eprop_brian")

# myst_nb reads the pages (Markdown) and notebooks; the last four stand in _ext.
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "numpydoc",
    "drawn",
    "mathml",
    "printed",
    "signatures",
]
exclude_patterns = ["_build", "_ext", "models", "neurons", "performance", "robustness"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"eprop_brian {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_math_renderer = "mathml"
# Contrasts of 4.5 and more, which "friendly" and others do not have.
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

# Notebooks are stored with their outputs; tests/test_docs.py runs them.
nb_execution_mode = "off"
nb_merge_streams = True
# Nothing here uses widgets, whose JavaScript would come from another server.
nb_ipywidgets_js = {}

default_role = "py:obj"
# Options and strings are quoted as they are written.
smartquotes = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
