"""The command `doctor`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eprop_brian.cli.errors import conclude, plain_errors
from eprop_brian.cli.models import check_supported, model_of_run
from eprop_brian.cli.options import FOLDER, RunChoices, run_options
from eprop_brian.cli.output import say_result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eprop_brian.runs.doctor import Examination

__all__ = ["doctor_command"]


@click.command("doctor")
@click.argument("folder", type=FOLDER)
@run_options(("device",))
@plain_errors
def doctor_command(folder: Path, choices: RunChoices) -> None:
    """Say why the network in FOLDER does not learn, and what to change.

    The history is judged, the next batches are tried, and nothing in FOLDER changes.
    """
    check_supported("doctor", model_of_run(folder), folder)
    from eprop_brian.runs.doctor import examine

    found = examine(folder, device=choices.device)
    say_result(*_measured(found))
    for number, symptom in enumerate(found.symptoms, 1):
        say_result(f"{number}. {symptom}")
    n = len(found.symptoms)
    conclude(f"{n} symptom{'s' * (n > 1)}" if n else "no symptom found")


def _measured(found: Examination) -> Iterator[str]:
    """What was measured, a line each."""
    yield f"iteration {found.iteration} of {found.iterations}"
    for name in found.moved or found.updated:
        moved, update = found.moved.get(name), found.updated.get(name)
        if moved is None:
            yield f"{name} changes by {update:.2g} of its length in the next update"
            continue
        by_update = "" if update is None else f", by {update:.2g} in the next update"
        yield f"{name} has changed by {moved:.2g} of its length{by_update}"
    if not math.isnan(found.regularised):
        yield f"gradient of regularisers: {found.regularised:.2g} of that of the loss"
    if not math.isnan(found.alignment):
        yield f"cosine of feedback and readout weights: {found.alignment:.3f}"
    for name, (then, now) in found.versions.items():
        yield f"made with {name} {then}, now {now}"
