"""Code object classes that add this package's templates to Brian2's."""

from __future__ import annotations

from brian2.codegen.generators.numpy_generator import NumpyCodeGenerator
from brian2.codegen.runtime.numpy_rt import NumpyCodeObject
from brian2.devices.cpp_standalone.codeobject import CPPStandaloneCodeObject

__all__ = ["CppStepCodeObject", "NumpyStepCodeObject"]

_PACKAGE = "eprop_brian.devices"


class _CopyingGenerator(NumpyCodeGenerator):
    """NumPy code in which what a block writes is read as a copy.

    The template indexes with slices, so an array that is read is a view. In ``old = v`` followed by
    a statement for ``v``, the view would show the new value when ``old`` is written back. Brian2
    copies for the same reason where a whole array is read.
    """

    def read_arrays(self, read, write, indices, variables, variable_indices):
        lines = super().read_arrays(read, write, indices, variables, variable_indices)
        written = tuple(f"{name} = " for name in write)
        return [f"{line}.copy()" if line.startswith(written) else line for line in lines]


class NumpyStepCodeObject(NumpyCodeObject):
    """NumPy code with the ``step`` template."""

    generator_class = _CopyingGenerator
    templater = NumpyCodeObject.templater.derive(_PACKAGE)


class CppStepCodeObject(CPPStandaloneCodeObject):
    """Standalone C++ code with the ``step`` template."""

    templater = CPPStandaloneCodeObject.templater.derive(_PACKAGE)
