"""What of each device is there and what is missing: the command ``eprop-brian devices``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from eprop_brian.devices.cuda import architecture, find_nvcc, gpus
from eprop_brian.devices.project import find_cxx

__all__ = ["report"]


def report() -> list[str]:
    """Lines that say, for each device, whether it can run and on what."""
    lines = [f"runtime: ready. Brian2 {_package('brian2')} with NumPy {_package('numpy')}"]
    compiler = find_cxx()
    missing = [] if compiler else ["a C++ compiler (g++)"]
    if shutil.which("make") is None:
        missing.append("make")
    if compiler is None or missing:
        lines.append(f"cpp: missing {' and '.join(missing)}")
    else:
        lines.append(f"cpp: ready. {compiler} {_version_of(compiler)}, make")
    return lines + _cuda()


def _cuda() -> list[str]:
    nvcc, found, missing = find_nvcc(), [], []
    if nvcc:
        found.append(f"nvcc {_release(nvcc)} ({nvcc})")
    else:
        missing.append("nvcc, of the CUDA toolkit (set CUDA_HOME if it is there)")
    if shutil.which("make"):
        found.append("make")
    else:
        missing.append("make")
    if importlib.util.find_spec("brian2cuda"):
        found.append(f"Brian2CUDA {_package('brian2cuda')}")
    else:
        needed = "" if sys.version_info >= (3, 12) else ", with Python 3.12 or later"
        missing.append(f"Brian2CUDA (pip install 'eprop_brian[cuda]'{needed})")
    cards = gpus()
    if missing:
        state = "missing " + "; ".join(missing)
    elif cards:
        state = "ready"
    else:
        state = "programs compile and do not run: no GPU"
    lines = [f"cuda: {state}"]
    if found:
        lines.append(f"  found: {', '.join(found)}")
    if cards:
        names = [f"{name} (compute capability {capability})" for name, capability in cards]
        lines.append(f"  GPU: {', '.join(names)}")
    elif shutil.which("nvidia-smi"):
        lines.append("  GPU: nvidia-smi reports none")
    else:
        lines.append("  GPU: none, or no driver: there is no nvidia-smi")
    lines.append(f"  compiles for: {architecture()} (EPROP_BRIAN_CUDA_ARCH chooses another)")
    lines.append(f"  curand: not needed ({_curand(nvcc)})")
    return lines


def _package(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(version unknown)"


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _version_of(compiler: str) -> str:
    first = _output(compiler, "--version").partition("\n")[0]
    found = re.search(r"\d+(\.\d+)+", first.rpartition(")")[2] or first)
    return found.group() if found else "(version unknown)"


def _release(nvcc: str) -> str:
    found = re.search(r"release ([\d.]+)", _output(nvcc, "--version"))
    return found.group(1) if found else "(version unknown)"


def _curand(nvcc: str | None) -> str:
    """Where curand is, which other Brian2CUDA programs need: in the toolkit or from PyPI."""
    folders = []
    if nvcc:
        toolkit = Path(nvcc).resolve().parent.parent
        folders += [toolkit / "lib64", *toolkit.glob("targets/*/lib")]
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or [] if spec else []:
        # nvidia-curand of CUDA 13 and of earlier versions.
        folders += [Path(root) / "cu13" / "lib", Path(root) / "curand" / "lib"]
    for folder in folders:
        for library in sorted(folder.glob("libcurand.so*")):
            return f"found: {library}"
    return "not found"
