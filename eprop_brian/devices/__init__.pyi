from eprop_brian.devices.choices import COMPILED, DEVICES, DTYPES
from eprop_brian.devices.cpp import CppProgram
from eprop_brian.devices.cuda import CudaProgram
from eprop_brian.devices.make import make_program
from eprop_brian.devices.process import ProcessProgram
from eprop_brian.devices.program import Build, Program, ProgramKilledError, SimulationError
from eprop_brian.devices.project import CompilerMissingError
from eprop_brian.devices.runtime import RuntimeProgram

__all__ = [
    "COMPILED",
    "DEVICES",
    "DTYPES",
    "Build",
    "CompilerMissingError",
    "CppProgram",
    "CudaProgram",
    "ProcessProgram",
    "Program",
    "ProgramKilledError",
    "RuntimeProgram",
    "SimulationError",
    "make_program",
]
