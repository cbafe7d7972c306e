"""Code objects of the ``cuda`` device: Brian2CUDA's, with this package's templates.

Imported where such a program is made: Brian2CUDA need not be there.
"""

from __future__ import annotations

from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.utils.stringtools import word_substitute
from brian2cuda import cuda_generator
from brian2cuda.codeobject import CUDAStandaloneCodeObject
from brian2cuda.cuda_generator import CUDACodeGenerator

from eprop_brian.devices.codeobjects import (
    DERIVATIVES,
    PACKAGE,
    CRenderer,
    add_draws,
    read_in_one_type,
)
from eprop_brian.devices.translation import BlockwiseTranslation
from eprop_brian.steps.cuda_kernels import CudaPrinter
from eprop_brian.symbolic.functions import WHERE

__all__ = ["CudaStepCodeObject"]

#: Brian2CUDA's functions for every program, less those for atomic operations: nothing needs them,
#: and they ask for a toolkit before there is anything to compile.
_COMMON_FUNCTIONS = "".join(
    getattr(cuda_generator, f"_{name}_support_code")
    for name in ("hightype", "mod", "floordiv", "pow")
)


class _CudaGenerator(BlockwiseTranslation, CUDACodeGenerator):
    """CUDA code of many blocks, in one float type throughout."""

    #: Brian2CUDA decides by all blocks of a program which functions it has.
    remembers = False

    def determine_keywords(self):
        before = CUDACodeGenerator.universal_support_code
        CUDACodeGenerator.universal_support_code = _COMMON_FUNCTIONS
        try:
            return super().determine_keywords()
        finally:
            CUDACodeGenerator.universal_support_code = before

    def translate_to_read_arrays(self, read, write, indices):
        return read_in_one_type(super().translate_to_read_arrays(read, write, indices))

    def translate_expression(self, expr):
        expr = word_substitute(expr, self.func_name_replacements)
        return CRenderer(auto_vectorise=self.auto_vectorise).render_expr(expr).strip()


class CudaStepCodeObject(CUDAStandaloneCodeObject):
    """CUDA code; its template is a whole program but for its ``main``."""

    generator_class = _CudaGenerator
    printer = CudaPrinter
    templater = CUDAStandaloneCodeObject.templater.derive(PACKAGE)


DEFAULT_FUNCTIONS[WHERE].implementations.add_implementation(CudaStepCodeObject, code="")
for _name, _code in DERIVATIVES.items():
    DEFAULT_FUNCTIONS[_name].implementations.add_implementation(
        CudaStepCodeObject, name=_name, code=_code.format(qualifiers="__host__ __device__")
    )
add_draws(CudaStepCodeObject)
