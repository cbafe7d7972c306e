"""Synthetic speech in the layout of TIMIT, with the phones that were synthesised.

The synthesiser is flite (``apt-get install flite``; Black & Lenzo 2001, Flite: a small fast
run-time synthesis engine, ISCA workshop on speech synthesis). It tells when each phone ends, to 2
ms with its voices awb, rms and slt; with kal and kal16 phones end after the recording, and these
are refused. It tells closures and bursts of stops not apart, and silence is ``pau``: its phones are
about 40 of TIMIT's 61.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

from eprop_brian.base.random import integers, rng_for
from eprop_brian.base.temporary import temporary_folder
from eprop_brian.tasks.datasets import DataError

__all__ = ["VOICES", "sentences", "synthesize", "write_corpus"]

#: Voices whose phones have the right times.
VOICES = ("awb", "rms", "slt")
#: Seconds by which the last phone may end before or after the recording.
_MOST_APART = 0.02
_PHONE = re.compile(r"(?P<phone>[a-z-]+):(?P<end>\d+\.\d+)")
#: Seconds for a sentence.
_TIMEOUT = 60.0
_README = """Synthetic speech of the synthesiser flite, in the layout of TIMIT. It is nobody's voice
recorded, and results on it are not results on TIMIT.
"""

_WORDS: Mapping[str, str] = {
    "determiner": "the a my your their every this that",
    "adjective": (
        "old young quiet noisy yellow purple azure heavy cheap thick thin joyful rough smooth wet "
        "foreign modern hungry loyal strange shiny bitter gentle huge weary cold"
    ),
    "noun": (
        "teacher farmer boy girl judge fisher author uncle neighbor engine garage bridge village "
        "kitchen river cheese thumb mouth book cloud treasure box pigeon horse machine violin "
        "shadow garden wolf song theater pillow island measure jacket oyster house"
    ),
    "verb": (
        "watched followed carried found enjoyed pushed needed saw caught chose moved painted "
        "forgot measured touched avoided heard bought shook reached answered threw"
    ),
    "adverb": (
        "today yesterday usually slowly tonight soon beyond near above behind without through "
        "around toward"
    ),
}
_ORDER = ("determiner", "adjective", "noun", "verb", "determiner", "adjective", "noun", "adverb")


def sentences(n: int, seed: int = 0) -> list[str]:
    """Return different sentences of a small grammar of our own.

    Parameters
    ----------
    n : int
    seed : int
        Another seed gives others.
    """
    rng = rng_for(seed, "sentences")
    made: dict[str, None] = {}  # in the order in which they are drawn
    words = {kind: text.split() for kind, text in _WORDS.items()}
    while len(made) < n:
        chosen = [words[kind][int(integers(rng, len(words[kind]), 1)[0])] for kind in _ORDER]
        text = " ".join(chosen)
        made[text[0].upper() + re.sub(r"\ba (?=[aeiou])", "an ", text[1:]) + "."] = None
    return list(made)


def synthesize(voice: str, text: str, path: Path) -> list[tuple[int, int, str]]:
    """Write a recording of a sentence.

    Parameters
    ----------
    voice, text : str
    path : Path
        Gets the WAV.

    Returns
    -------
    list of (int, int, str)
        First sample, sample after the last, and phone, as a file ``.phn`` has them.

    Raises
    ------
    DataError
        If flite is not installed or fails, or its times do not fit the recording.
    """
    if shutil.which("flite") is None:
        raise DataError(
            "synthetic speech needs flite, which is not installed: apt-get install flite"
        )
    command = ["flite", "-voice", voice, "-psdur", "-t", text, "-o", str(path)]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=True
        )
        with wave.open(str(path)) as recording:
            n_samples, rate = recording.getnframes(), recording.getframerate()
    except (OSError, subprocess.SubprocessError, wave.Error, EOFError) as error:
        raise DataError(f"flite could not say {text!r} with the voice {voice}: {error}") from None
    phones = [(match["phone"], float(match["end"])) for match in _PHONE.finditer(result.stdout)]
    if not phones or abs(phones[-1][1] - n_samples / rate) > _MOST_APART:
        raise DataError(
            f"the phones of flite's voice {voice} do not end with its recording: take one of "
            f"{', '.join(VOICES)}"
        )
    ends = [round(end * rate) for _, end in phones]
    ends[-1] = n_samples
    return [
        (start, min(end, n_samples), phone)
        for start, end, (phone, _) in zip([0, *ends], ends, phones, strict=False)
    ]


def write_corpus(folder: Path, said: Mapping[str, Mapping[str, Sequence[str]]]) -> int:
    """Write synthetic speech in the layout of TIMIT: all of it, or nothing.

    Parameters
    ----------
    folder : Path
        New.
    said : mapping
        By ``"TRAIN"`` and ``"TEST"``, then by voice: sentences.

    Returns
    -------
    int
        Recordings written.

    Raises
    ------
    DataError
        As `synthesize` does.
    ValueError
        If the folder exists already.
    """
    folder, n = Path(folder), 0
    if folder.exists():
        raise ValueError(f"{folder} exists already: name a new folder for the synthetic speech")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(".synthetic_speech_", folder.parent) as staging:
        building = staging / folder.name
        for half, voices in said.items():
            for voice, texts in voices.items():
                speaker = building / half / "DR1" / voice.upper()
                speaker.mkdir(parents=True)
                for number, text in enumerate(texts, start=1):
                    path = speaker / f"SX{number}.WAV"
                    phones = synthesize(voice, text, path)
                    lines = (f"{start} {end} {phone}\n" for start, end, phone in phones)
                    path.with_suffix(".PHN").write_text("".join(lines))
                    path.with_suffix(".TXT").write_text(f"0 {phones[-1][1]} {text}\n")
                    n += 1
        (building / "README.txt").write_text(_README)
        building.rename(folder)
    return n
