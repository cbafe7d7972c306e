"""Projects that Brian2 generates: compiled once, kept under a hash of all that was compiled."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from eprop_brian.devices.program import SimulationError

__all__ = ["CompilerMissingError", "cache_folder", "digest", "install", "make"]


class CompilerMissingError(RuntimeError):
    """No C++ compiler or no make: says what to install, and that ``runtime`` needs neither."""


def cache_folder() -> Path:
    """Folder of the compiled programs: ``$EPROP_BRIAN_CACHE``, else below the user's cache."""
    given = os.environ.get("EPROP_BRIAN_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "eprop_brian"


def digest(project: Path, compiler: str) -> str:
    """Hash of everything that is compiled or loaded, and of the compiler and its flags."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    found = hashlib.sha256(version)
    found.update(_processor().encode())
    for path in sorted(project.rglob("*")):
        if path.is_file():
            found.update(str(path.relative_to(project)).encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:32]


def _processor() -> str:
    """What -march=native depends on, so that a shared cache is safe."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return os.uname().machine


def make(project: Path, *arguments: str) -> None:
    """Run `make`.

    Raises
    ------
    SimulationError
        If the compiler fails; the message says where the project is kept.
    """
    build = subprocess.run(
        ["make", f"-j{os.cpu_count() or 1}", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    if build.returncode:
        kept = Path(tempfile.mkdtemp(prefix="eprop_brian_failed_"))
        shutil.copytree(project, kept, dirs_exist_ok=True)
        raise SimulationError(
            f"the compiler failed; the project is kept in {kept}\n{build.stderr[-2000:]}"
        )


def install(project: Path, target: Path) -> None:
    """Move a finished build into the cache under its final name, in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".building_"))
    shutil.copytree(project, staging, dirs_exist_ok=True)
    for item in staging.rglob("*.o"):
        item.unlink()
    try:
        staging.rename(target)
    except OSError:
        if (target / "main").exists():  # another process was first; its build is the same
            shutil.rmtree(staging)
        else:  # a build that somebody cleaned up in part
            shutil.rmtree(target)
            staging.rename(target)
