"""No file makes the package run code, act on the terminal or end in a traceback.

Files are written with one mistake or two, drawn at random, the same way each time. They must be
read, or refused in words. A long run: ``pytest tests/robustness --damaged-files 10000``.
"""

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from eprop_brian.base.files import read_arrays, write_arrays
from eprop_brian.equations import NEURONS, Synapse
from eprop_brian.equations.published import PUBLISHED, synapses
from eprop_brian.equations.teachers import TEACHERS
from eprop_brian.network.parts import Inputs, LearningSignal, Population, Projection, Readout
from eprop_brian.network.spec import Network
from eprop_brian.runs.config import CONFIG, RunConfig
from eprop_brian.runs.recipes import RECIPES, get_recipe
from eprop_brian.runs.run import HISTORY
from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron
from eprop_brian.symbolic.synapse_file import read_synapse, write_synapse
from eprop_brian.symbolic.teacher import read_teacher, write_teacher
from eprop_brian.training.history import History
from eprop_brian.training.reference import load_case
from support.fuzzing import canary, mutated
from support.robustness import COUNTS, outcome

#: Published neurons that are derived in no time, with conductances, receptors, noise.
_QUICK = ("brunel_hakim_1999", "sturzl_2000", "vogels_2011", "touboul_brette_2008")
#: Recipes of tasks whose data are in files.
_NEED_DATA = ("digits", "feature-file", "handwriting", "n-mnist", "shd")
_OF_RUN = (CONFIG, "neuron-lif.toml", "neuron-alif.toml", HISTORY)
CASE = Path(__file__).parents[1] / "reference" / "unit_1_1_1_gd.npz"


def check_neuron(path):
    """Read, write and read again, derive, and resolve a network of it."""
    neuron = read_neuron(path)
    text = write_neuron(neuron)
    path.write_text(text)
    assert write_neuron(read_neuron(path)) == text
    # What is read must do; but for its name, which may be that of another group.
    values = [*neuron.parameters.values(), *neuron.initial.values()]
    size = next((len(value) for value in values if isinstance(value, list)), 4)
    network = Network(
        [
            *(Inputs(3), Population(neuron, size, "neurons"), Readout(2)),
            *(
                Projection("inputs", "neurons", f"w_{receptor}", receptor=receptor)
                for receptor in neuron.receptor_names
            ),
            Projection("neurons", "readout", "w_out"),
            LearningSignal("readout", "neurons", "random"),
        ]
    )
    try:
        assert network.resolved
    except ValueError as error:
        raise AssertionError(f"read, and refused later: {error}") from error


def check_synapse(path):
    """Read and write."""
    path.write_text(write_synapse(read_synapse(path)))
    read_synapse(path)


def check_teacher(path):
    """Read and write."""
    path.write_text(write_teacher(read_teacher(path)))
    read_teacher(path)


def check_recipe(path):
    """Configure a run, write and read it, and resolve its network."""
    config = RunConfig.from_recipe(path)
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    config.write(folder)
    check_run(folder / CONFIG)


def check_run(path):
    """Read a run's settings and history, and resolve its network."""
    config = RunConfig.read(path.parent)
    network = config.make_network()
    if isinstance(network, Network):
        assert network.resolved
    if (path.parent / HISTORY).exists():
        History.read(path.parent / HISTORY)


def check_case(path):
    """Put the text in the place of a case's settings, and read the case."""
    arrays = {**read_arrays(CASE), "meta": np.array(path.read_text(encoding="utf-8"))}
    write_arrays(path.with_suffix(".npz"), arrays)
    load_case(path.with_suffix(".npz"))


def neuron_texts(_):
    return [write_neuron(n) for n in (*NEURONS.values(), *(PUBLISHED[name] for name in _QUICK))]


def synapse_texts(_):
    return [write_synapse(x) for x in vars(synapses).values() if isinstance(x, Synapse)]


def teacher_texts(_):
    return [write_teacher(teacher) for teacher in TEACHERS.values()]


def recipe_texts(_):
    return [str(get_recipe(name)) for name in RECIPES if name not in _NEED_DATA]


def run_texts(folder):
    """Of the files of a run in this folder."""
    config = RunConfig.from_recipe("store-recall", settings=["size.lif=3", "size.alif=2"])
    config.write(folder)
    history = History()
    for row in range(3):
        history.append(1.5 - row, 0.5, 10.0, 0.01, 0.3)
    history.write(folder / HISTORY)
    return [(folder / name).read_text() for name in _OF_RUN]


def case_texts(_):
    return [str(read_arrays(CASE)["meta"])]


#: Texts and what reads one of them.
KINDS = {
    "neuron files": (neuron_texts, check_neuron),
    "synapse files": (synapse_texts, check_synapse),
    "teacher files": (teacher_texts, check_teacher),
    "recipes": (recipe_texts, check_recipe),
    "runs": (run_texts, check_run),
    "recorded cases": (case_texts, check_case),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_files(kind, tmp_path, request):
    texts, check = KINDS[kind]
    texts, counts, problems = texts(tmp_path), Counter(), []
    run_by_a_file = tmp_path / "executed"
    COUNTS[kind] = counts  # also of a run that is interrupted
    for seed in range([*KINDS].index(kind), request.config.getoption("damaged_files"), len(KINDS)):
        rng = np.random.default_rng(seed)
        number = rng.integers(len(texts))
        path = tmp_path / (_OF_RUN[number] if kind == "runs" else "file.toml")
        text = mutated(texts[number], rng, canary(run_by_a_file))
        path.write_text(text, encoding="utf-8")
        came_of_it, why = outcome(partial(check, path))
        if run_by_a_file.exists():
            came_of_it, why = "executed", "code in the file ran"
            run_by_a_file.unlink()
        counts[came_of_it] += 1
        if came_of_it in ("executed", "tracebacks"):
            problems.append(f"seed {seed}: {why}")
        path.write_text(texts[number], encoding="utf-8")
    assert not problems, "\n".join(problems)
    assert counts["clean"] and counts["recovered"]
