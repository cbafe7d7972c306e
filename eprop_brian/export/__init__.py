"""Exports programs that build with a compiler and nothing else, and imports their runs."""

from eprop_brian.export.inference import export_inference
from eprop_brian.export.project import FLAVOURS, export_project
from eprop_brian.export.runs import find_run, import_run

__all__ = ["FLAVOURS", "export_inference", "export_project", "find_run", "import_run"]
