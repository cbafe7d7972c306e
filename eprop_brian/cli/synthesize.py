"""The command `synthesize`: synthetic speech in the layout of TIMIT."""

from __future__ import annotations

from pathlib import Path

import click

from eprop_brian.cli.errors import conclude, plain_errors

__all__ = ["synthesize_command"]


@click.command("synthesize")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--train", "train_voices", default="awb,rms", show_default=True, metavar="VOICE,...")
@click.option("--test", "test_voices", default="slt", show_default=True, metavar="VOICE,...")
@click.option(
    "--sentences",
    "n_train",
    type=click.IntRange(min=3),
    default=100,
    show_default=True,
    help="Sentences of each voice to learn from.",
)
@click.option(
    "--test-sentences",
    "n_test",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Other sentences, of each voice that tests.",
)
@click.option(
    "--text",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A sentence a line, in the place of ours; the last ones test.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@plain_errors
def synthesize_command(
    folder: Path,
    train_voices: str,
    test_voices: str,
    n_train: int,
    n_test: int,
    text: Path | None,
    seed: int,
) -> None:
    """Write synthetic speech with the times of its phones into FOLDER, for the task timit.

    Needs flite (apt-get install flite), whose voices awb, rms and slt will do. Voices to learn from
    say the same sentences, those that test say others.
    """
    from eprop_brian.tasks.synthetic_speech import sentences, write_corpus

    n = n_train + n_test
    if text is None:
        said = sentences(n, seed)
    else:
        said = [line.strip() for line in text.read_text(encoding="utf-8").splitlines()]
        said = [line for line in said if line]
        if len(said) < n:
            raise click.UsageError(f"{text} has {len(said)} sentences, but {n} are asked for")
    halves = {"TRAIN": (train_voices, said[:n_train]), "TEST": (test_voices, said[n - n_test : n])}
    corpus = {
        half: dict.fromkeys((voice.strip() for voice in voices.split(",")), texts)
        for half, (voices, texts) in halves.items()
    }
    conclude(f"wrote {write_corpus(folder, corpus)} recordings of synthetic speech to {folder}")
