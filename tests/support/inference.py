"""Exported programs that only run, built and run as a user would."""

import os
import subprocess

from support.programs import sharing


def build(project):
    """Build a program that only runs."""
    with sharing(project, ("access.o", "threads.o"), ("program.cpp", "trial.h")):
        done = subprocess.run(
            ["make", "-j2", "CXXFLAGS=-O3 -march=native"],
            cwd=project,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def infer(project, *arguments, status=0):
    """Run it; return its errors and output."""
    done = subprocess.run(
        [project / "infer", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stderr + done.stdout
