"""Code object classes that add this package's templates to Brian2's."""

from __future__ import annotations

from brian2.codegen.generators.cpp_generator import CPPCodeGenerator
from brian2.codegen.generators.numpy_generator import NumpyCodeGenerator
from brian2.codegen.runtime.numpy_rt import NumpyCodeObject
from brian2.codegen.translation import make_statements
from brian2.devices.cpp_standalone.codeobject import CPPStandaloneCodeObject
from brian2.utils.stringtools import get_identifiers

__all__ = ["CppStepCodeObject", "NumpyStepCodeObject"]

_PACKAGE = "eprop_brian.devices"


class _BlockwiseTranslation:
    """Translates each block with the variables it uses, and those alone.

    Brian2 looks up earlier translations by hashing all variables, for every block again. In a step
    with many blocks that takes longer than everything else.
    """

    def translate(self, code, dtype):
        scalar, vector = {}, {}
        for name, block in code.items():
            known = get_identifiers(block) & set(self.variables)
            used = {identifier: self.variables[identifier] for identifier in sorted(known)}
            scalar[name], vector[name] = make_statements(
                block, used, dtype, optimise=True, blockname=name
            )
        return self.translate_statement_sequence(scalar, vector)


class _CppGenerator(_BlockwiseTranslation, CPPCodeGenerator):
    """C++ code of many blocks."""


class _NumpyGenerator(_BlockwiseTranslation, NumpyCodeGenerator):
    """NumPy code of many blocks, in which what a block writes is read as a copy.

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

    generator_class = _NumpyGenerator
    templater = NumpyCodeObject.templater.derive(_PACKAGE)


class CppStepCodeObject(CPPStandaloneCodeObject):
    """Standalone C++ code with the ``step`` template."""

    generator_class = _CppGenerator
    templater = CPPStandaloneCodeObject.templater.derive(_PACKAGE)
