"""The command that records a trial of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from eprop_brian.cli.errors import conclude, plain_errors
from eprop_brian.cli.models import check_supported, model_of_run
from eprop_brian.cli.options import FOLDER
from eprop_brian.cli.output import say, say_result
from eprop_brian.devices.choices import DEVICES

__all__ = ["record_command"]

#: How a recording is written, by the ending of the file.
_WRITERS: dict[str, Callable[[Any, Path], None]] = {
    ".npz": lambda recording, path: recording.write(path),
    ".csv": lambda recording, path: recording.write_csv(path),
    ".nwb": lambda recording, path: recording.write_nwb(path),
}


def _neurons(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> Any:
    """``alif`` is all neurons of a population, ``alif:0,3-5`` some of them."""
    chosen: dict[str, list[int] | None] = {}
    for text in texts:
        name, colon, indices = text.partition(":")
        numbers: list[int] = []
        try:
            for part in indices.split(",") if colon else ():
                first, dash, last = part.partition("-")
                numbers += range(int(first), int(last if dash else first) + 1)
        except ValueError:
            numbers = []
        if colon and not numbers:
            raise click.BadParameter(f"'{text}' is not like alif or alif:0,3-5")
        chosen[name] = numbers if colon else None
    return chosen or None


def _synapses(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> Any:
    """``4`` is a number of synapses, ``lif:4:alif:0`` one of them."""
    from eprop_brian.training.traces import TracedSynapse

    if len(texts) == 1 and texts[0].isdecimal():
        return int(texts[0])
    synapses = []
    for text in texts:
        ends = text.split(":")
        if len(ends) not in (4, 5) or not (ends[1].isdecimal() and ends[3].isdecimal()):
            raise click.BadParameter(
                f"'{text}' is neither a number of synapses nor one of them, like lif:4:alif:0"
            )
        synapses.append(TracedSynapse(ends[0], int(ends[1]), ends[2], int(ends[3]), *ends[4:]))
    return synapses


@click.command("record")
@click.argument("folder", type=FOLDER)
@click.option(
    "--quantities",
    metavar="NAME,...",
    help="What to record: v,a,eps_a or lif.v (default: what the figures show; --list lists all).",
)
@click.option(
    "--neurons",
    multiple=True,
    callback=_neurons,
    metavar="POPULATION[:INDEX,...]",
    help="Neurons, e.g. alif or alif:0,3-5 (default: all). May be given several times.",
)
@click.option(
    "--synapses",
    multiple=True,
    default=("4",),
    show_default="4",
    callback=_synapses,
    metavar="NUMBER|SOURCE:PRE:TARGET:POST",
    help="How many synapses, those with the largest traces, or which, e.g. lif:4:alif:0, of a "
    "receptor lif:4:alif:0:gaba. May be given several times.",
)
@click.option("--index", type=click.IntRange(min=0), default=0, help="Number of the fresh trial.")
@click.option("--initial", is_flag=True, help="Take the weights of before training.")
@click.option("--learning", is_flag=True, help="Let the weights learn (continuous operation).")
@click.option("--device", type=click.Choice(DEVICES), default="runtime", show_default=True)
@click.option(
    "--list", "listed", is_flag=True, help="List what can be recorded, and record nothing."
)
@click.option(
    "--out",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"The file to write: {', '.join(_WRITERS)}.",
)
@plain_errors
def record_command(
    folder: Path,
    quantities: str | None,
    neurons: Any,
    synapses: Any,
    index: int,
    initial: bool,
    learning: bool,
    device: str,
    listed: bool,
    out: Path | None,
) -> None:
    """Record a fresh trial of the network in FOLDER: states, traces, signals over time."""
    check_supported("record", model_of_run(folder), folder)
    from eprop_brian.runs.config import RunConfig
    from eprop_brian.runs.run import CHECKPOINT, INITIAL, read_weights
    from eprop_brian.training.quantities import recordable
    from eprop_brian.training.recording import record

    if not listed and (out is None or out.suffix not in _WRITERS):
        raise click.UsageError(f"--out names a file that ends in {', '.join(_WRITERS)}")
    config = RunConfig.read(folder)
    task = config.make_task()
    network = config.make_network(task)
    if listed:
        say_result(recordable(network.resolved))
        return
    assert out is not None
    weights, _ = read_weights(folder / (INITIAL if initial else CHECKPOINT), network)
    recording = record(
        network,
        task,
        weights,
        quantities=None if quantities is None else quantities.split(","),
        neurons=neurons,
        synapses=synapses,
        seed=config.run["seed"],
        index=index,
        learning=learning,
        device=device,
    )
    _WRITERS[out.suffix](recording, out)
    for quantity in recording.values():
        units = ", ".join(dict.fromkeys(quantity.units))
        say(f"{quantity.name} ({units}): {len(quantity.members)} {quantity.kind}")
    conclude(f"wrote {out}")
