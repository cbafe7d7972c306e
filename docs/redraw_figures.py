"""``python docs/redraw_figures.py [NAME ...]``: draw stored figures of the pages again.

Names are those of the figures' files, without folder and suffix; without names it draws all, which
takes hours. Each drawing runs its commands in an empty folder; only when all of them have ended
well, the figures replace the stored ones, with the tables that were measured with them. Numbers of
the pages stay as they are: what a run prints is to be compared with them.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eprop_brian.base.files import beside

DOCS = Path(__file__).resolve().parent
REPOSITORY = DOCS.parent


@dataclass(frozen=True)
class Drawing:
    """Commands, and where the files that they write are stored.

    Attributes
    ----------
    commands : tuple of str
        Run one after the other in one folder. ``{repository}`` is this one's path, and ``{data}``
        the folder with the spoken digits' recordings.
    files : mapping of str to str
        What the commands write, by its place in the folder of the pages.
    """

    commands: tuple[str, ...]
    files: Mapping[str, str]

    @property
    def needs_data(self) -> bool:
        """Whether it takes recordings that are not of this repository."""
        return any("{data}" in command for command in self.commands)


def _command(command: str, **figures: str) -> Drawing:
    """Figures of one command, by their names; what it writes is in its folder ``out``."""
    files = {f"figures/{name}.png": f"out/{written}.png" for name, written in figures.items()}
    return Drawing((f"eprop-brian {command} --out out",), files)


def _example(name: str) -> Drawing:
    """The figure of an example, which writes it where it runs."""
    script = f"python {{repository}}/examples/{name}.py"
    return Drawing((script,), {f"gallery/{name}.png": f"{name}.png"})


def _measured(command: str, *names: str) -> Drawing:
    """What a benchmark writes into the folder ``out``: figures, and the tables beside them."""
    files = {f"performance/{name}": f"out/{name}" for name in names}
    return Drawing((f"python -m {command}",), files)


#: The levels of the sweeps over the oscillator's test.
_KILLED = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,0.95"
_NOISE = ",".join(f"{level} threshold" for level in (0, 0.01, 0.02, 0.05, 0.1))
_COPY_REPEAT = (
    "eprop-brian compare copy-repeat-lstm --methods e-prop,off,linear --seeds 1,2,3"
    " --iterations 4000 --dtype float32 --set task.n_bits=3 --set size.lstm=32"
    " --set optimizer.eta=0.005 --out out"
)

DRAWINGS: tuple[Drawing, ...] = (
    # Pages
    _command("train pattern-generation --feedback adaptive", adaptive="learning_curve"),
    _command("compare pattern-generation --seeds 5", comparison="comparison"),
    _command(
        "compare evidence-accumulation --seeds 5 --iterations 500", comparison_evidence="comparison"
    ),
    _command(
        "gradcheck evidence-accumulation --feedback symmetric --iterations 200 --every 20"
        " --seeds 5",
        gradients="gradients",
    ),
    Drawing(
        ("python {repository}/docs/slow_trace.py slow_trace.png",),
        {"figures/slow_trace.png": "slow_trace.png"},
    ),
    Drawing(
        ("eprop-brian train cartpole --out out", "eprop-brian plot out --animate gif"),
        {
            "figures/cartpole.gif": "out/episode.gif",
            "figures/cartpole_episode.png": "out/episode_after.png",
            "figures/cartpole_learning.png": "out/learning_curve.png",
        },
    ),
    Drawing(
        (_COPY_REPEAT, "eprop-brian plot out/linear-seed2"),
        {
            "figures/copy_repeat_solved_length.png": "out/solved_length.png",
            "figures/copy_repeat_trial.png": "out/linear-seed2/trial_after.png",
        },
    ),
    _command("train few-shot-digits", few_shot_digits_adaptation="adaptation"),
    _command(
        "train one-shot-arm",
        one_shot_arm="arm",
        one_shot_arm_adaptation="adaptation",
        one_shot_arm_signals="learning_signals",
        one_shot_arm_training="training",
    ),
    # Tasks
    _command("train delayed-match", delayed_match_learning="learning_curve"),
    *(
        _command(
            f"train digits --set task.coding={coding}",
            **{f"digits_{coding}_learning": "learning_curve"},
        )
        for coding in ("poisson", "latency", "analog")
    ),
    _command("train handwriting", handwriting="trajectory", handwriting_learning="learning_curve"),
    _command("train lemniscate", lemniscate="trajectory", lemniscate_learning="learning_curve"),
    _command("train store-recall", store_recall="trial_after"),
    # Speech
    _command(
        "train japanese-vowels",
        vowels_confusion="confusion_utterances",
        vowels_utterance="utterance",
    ),
    _command(
        "train spoken-digits --set task.path={data}",
        spoken_digits_confusion="confusion_utterances",
        spoken_digits_utterance="utterance",
    ),
    _command("train spoken-digits-strings --set task.path={data}", spoken_digits_labels="labels"),
    # Balanced networks
    _command(
        "train balanced-oscillator",
        balanced_balance="balance",
        balanced_decoding="decoding",
        balanced_tuning="tuning",
    ),
    _command("sweep balanced-oscillator --set network.n=10,20,50,100,200", balanced_n="sweep"),
    _command(f"sweep balanced-oscillator --set test.kill={_KILLED}", balanced_kill="sweep"),
    _command(f"sweep balanced-oscillator --set 'test.noise={_NOISE}'", balanced_noise="sweep"),
    _command("train balanced-bistable", balanced_bistable="phase"),
    _command("train balanced-lorenz", balanced_lorenz="phase"),
    _command(
        "train balanced-van-der-pol",
        balanced_training="training",
        balanced_van_der_pol="phase",
    ),
    # The gallery
    *map(
        _example,
        (
            "Bellec_2018_deep_r",
            "Bellec_2020_atari_pong",
            "Bellec_2020_evidence_accumulation",
            "Bellec_2020_pattern_generation",
            "Bellec_2020_reward_t_maze",
            "Boerlin_2013_balanced_oscillator",
            "Brendel_2020_fast_weights",
            "Brette_2007_hodgkin_huxley",
            "Brette_Gerstner_2005_adex",
            "Izhikevich_2003_quadratic",
            "Traub_2020_stdp",
            "Tsodyks_Markram_1997_depression",
        ),
    ),
    # Performance: figures, and the tables that are measured with them
    _measured("benchmarks --out out", "measurements.csv", "tables.md", "cost.png", "balanced.png"),
    _measured(
        "benchmarks.large --learn 100000 --out out",
        *("large.csv", "large.md", "large_learning.csv", "large.png"),
    ),
    Drawing(
        ("python -m benchmarks.reward --out reward.md",),
        {f"performance/reward.{suffix}": f"reward.{suffix}" for suffix in ("csv", "md", "png")},
    ),
)


def words(command: str, data: str = "DATA") -> list[str]:
    """The words of a command, which is run with this Python."""
    program, *rest = shlex.split(command.format(repository=REPOSITORY, data=data))
    start = {"python": [sys.executable], "eprop-brian": [sys.executable, "-m", "eprop_brian"]}
    return [*start[program], *rest]


def draw(drawing: Drawing, data: str = "DATA") -> None:
    """Run the commands of a drawing, and store what they have written."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with tempfile.TemporaryDirectory() as folder:
        for command in drawing.commands:
            subprocess.run(words(command, data), cwd=folder, env=environment, check=True)
        for stored, written in drawing.files.items():
            with beside(DOCS / stored) as temporary:
                shutil.copyfile(Path(folder) / written, temporary)


def chosen(names: Sequence[str]) -> list[Drawing]:
    """The drawings with these figures, each once; all without names.

    Raises
    ------
    KeyError
        If there is no such figure.
    """
    of_name = {Path(stored).stem: k for k, d in enumerate(DRAWINGS) for stored in d.files}
    numbers = dict.fromkeys(of_name[name] for name in names) if names else range(len(DRAWINGS))
    return [DRAWINGS[k] for k in numbers]


def main() -> int:
    """Draw the figures that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a figure's file, without suffix")
    parser.add_argument("--data", metavar="FOLDER", help="recordings of spoken digits")
    options = parser.parse_args()
    try:
        drawings = chosen(options.names)
    except KeyError as error:
        parser.error(f"no figure is called {error}")
    failed = 0
    for drawing in drawings:
        names = ", ".join(drawing.files)
        if drawing.needs_data and options.data is None:
            print(f"{names}: left out, needs --data", flush=True)
            continue
        print(f"{names}: {'; '.join(drawing.commands)}", flush=True)
        start, used = time.monotonic(), _processor_time()
        try:
            draw(drawing, str(Path(options.data).resolve()) if options.data else "DATA")
        except (subprocess.CalledProcessError, OSError) as error:
            failed += 1
            print(f"{names}: stays as it is: {error}", flush=True)
            continue
        seconds, processor = time.monotonic() - start, _processor_time() - used
        print(f"{names}: {seconds:.0f} s, {processor:.0f} s of processor time", flush=True)
    return 1 if failed else 0


def _processor_time() -> float:
    """Seconds that commands which have ended have computed."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
