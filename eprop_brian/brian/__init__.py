"""Between this package and Brian2's own objects: networks written as such, and read from such."""

from eprop_brian.brian.export import export_script, to_brian2
from eprop_brian.brian.objects import Brian2Objects
from eprop_brian.brian.reading.inputs import inputs_from_brian2

__all__ = ["Brian2Objects", "export_script", "inputs_from_brian2", "to_brian2"]
