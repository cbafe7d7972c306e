"""Code object classes that add this package's templates to Brian2's."""

from __future__ import annotations

from brian2.codegen.runtime.numpy_rt import NumpyCodeObject
from brian2.devices.cpp_standalone.codeobject import CPPStandaloneCodeObject

__all__ = ["CppStepCodeObject", "NumpyStepCodeObject"]

_PACKAGE = "eprop_brian.devices"


class NumpyStepCodeObject(NumpyCodeObject):
    """NumPy code with the ``step`` template."""

    templater = NumpyCodeObject.templater.derive(_PACKAGE)


class CppStepCodeObject(CPPStandaloneCodeObject):
    """Standalone C++ code with the ``step`` template."""

    templater = CPPStandaloneCodeObject.templater.derive(_PACKAGE)
