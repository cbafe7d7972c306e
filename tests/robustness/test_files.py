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
from eprop_brian.equations.environments import ACROBOT, CARTPOLE, MOUNTAIN_CAR
from eprop_brian.equations.published import PUBLISHED, synapses
from eprop_brian.equations.teachers import TEACHERS
from eprop_brian.network.parts import Inputs, LearningSignal, Population, Projection, Readout
from eprop_brian.network.spec import Network
from eprop_brian.runs.config import CONFIG, RunConfig
from eprop_brian.runs.network_file import read_network, write_network
from eprop_brian.runs.recipes import RECIPES, get_recipe
from eprop_brian.runs.run import CHECKPOINT, HISTORY, Run
from eprop_brian.runs.sweep import read_points
from eprop_brian.symbolic.environment_file import read_environment, write_environment
from eprop_brian.symbolic.neuron_file import read_neuron, write_neuron
from eprop_brian.symbolic.synapse_file import read_synapse, write_synapse
from eprop_brian.symbolic.teacher import read_teacher, write_teacher
from eprop_brian.training.reference import load_case
from support.fuzzing import canary, damaged, mutated
from support.robustness import COUNTS, outcome

#: Published neurons that are derived in no time, with conductances, receptors, noise.
_QUICK = ("brunel_hakim_1999", "sturzl_2000", "vogels_2011", "touboul_brette_2008")
#: Recipes of tasks whose data are in files.
_NEED_DATA = ("digits", "feature-file", "handwriting", "n-mnist", "shd")
#: Small runs of all models.
_RUNS = {
    "store-recall": ("size.lif=3", "size.alif=2"),
    "t-maze": (),
    "balanced-bistable": ("network.n=10",),
    "one-shot-arm": (),
    "copy-repeat": (),
}
#: One whose trainer is made in no time.
_SMALL = ("task.n_steps=20", "task.n_inputs=5", "size.lif=3")
CASE = Path(__file__).parents[1] / "reference" / "unit_1_1_1_gd.npz"
TRACKING = Path(__file__).parents[2] / "docs" / "environments" / "tracking.toml"
_TABLES = (
    "optimizer.eta,size.lif,neuron.lif.tau_m\n1e-3,3,20 ms\n1e-4,4,30 ms\n",
    "task.n_steps,network.feedback\n20,random\n30,symmetric\n",
)


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


def check_environment(path):
    """Read and write."""
    path.write_text(write_environment(read_environment(path)))
    read_environment(path)


def check_network(path):
    """Read and resolve, and the same of what is written."""
    network = read_network(path)
    assert network.resolved
    write_network(path, network)
    assert read_network(path).resolved


def check_points(path):
    """Read the points of a sweep, and configure their runs."""
    points = read_points(path)
    for point in points.values:
        RunConfig.from_recipe("pattern-generation", settings=points.settings(point))


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
        config.model.history.read(path.parent / HISTORY)


def check_state(path):
    """Open a run at its checkpoint."""
    Run.open(path.parent)


def check_case(path):
    """Put the text in the place of a case's settings, and read the case."""
    arrays = {**read_arrays(CASE), "meta": np.array(path.read_text(encoding="utf-8"))}
    write_arrays(path.with_suffix(".npz"), arrays)
    load_case(path.with_suffix(".npz"))


def files(folder, texts):
    """Write texts as files, and return their paths."""
    paths = [folder / f"{number}.toml" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def neuron_files(folder):
    neurons = [*NEURONS.values(), *(PUBLISHED[name] for name in _QUICK)]
    return files(folder, [write_neuron(neuron) for neuron in neurons])


def synapse_files(folder):
    library = [value for value in vars(synapses).values() if isinstance(value, Synapse)]
    return files(folder, [write_synapse(synapse) for synapse in library])


def teacher_files(folder):
    return files(folder, [write_teacher(teacher) for teacher in TEACHERS.values()])


def environment_files(folder):
    texts = [write_environment(e) for e in (CARTPOLE, ACROBOT, MOUNTAIN_CAR)]
    return files(folder, [*texts, TRACKING.read_text(encoding="utf-8")])


def network_files(folder):
    paths = [
        folder / f"{name}.toml" for name in ("store-recall", "t-maze", "evidence-accumulation-ei")
    ]
    for path in paths:
        config = RunConfig.from_recipe(path.stem, settings=_RUNS.get(path.stem, ()))
        write_network(path, config.make_network())
    return paths


def recipe_files(folder):
    return files(folder, [str(get_recipe(name)) for name in RECIPES if name not in _NEED_DATA])


def run_files(folder):
    """Texts of runs, each in a folder."""
    for name, settings in _RUNS.items():
        config = RunConfig.from_recipe(name, settings=settings).completed()
        (folder / name).mkdir()
        config.write(folder / name)
        history = config.model.history()
        for row in range(3):
            history.append(*(1.5 - row for _ in history.columns))
        history.write(folder / name / HISTORY)
    return sorted(path for path in folder.rglob("*") if path.suffix in (".toml", ".csv"))


def tables_of_points(folder):
    return files(folder, _TABLES)


def saved_states(folder):
    """The checkpoint of a run."""
    config = RunConfig.from_recipe("pattern-generation", settings=_SMALL, run={"device": "runtime"})
    Run.start(config, folder / "run").train(2, progress=False)
    return [folder / "run" / CHECKPOINT]


def settings_of_cases(folder):
    return files(folder, [str(read_arrays(CASE)["meta"])])


#: What makes files, and what reads one of them.
KINDS = {
    "neuron files": (neuron_files, check_neuron),
    "synapse files": (synapse_files, check_synapse),
    "teacher files": (teacher_files, check_teacher),
    "environment files": (environment_files, check_environment),
    "network files": (network_files, check_network),
    "recipes": (recipe_files, check_recipe),
    "runs": (run_files, check_run),
    "checkpoints": (saved_states, check_state),
    "tables of points": (tables_of_points, check_points),
    "recorded cases": (settings_of_cases, check_case),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_files(kind, tmp_path, request):
    make, check = KINDS[kind]
    folder, run_by_a_file = tmp_path / "files", tmp_path / "executed"
    folder.mkdir()
    paths, counts, problems = make(folder), Counter(), []
    whole = {path: path.read_bytes() for path in paths}
    COUNTS[kind] = counts  # also of a run that is interrupted
    for seed in range([*KINDS].index(kind), request.config.getoption("damaged_files"), len(KINDS)):
        rng = np.random.default_rng(seed)
        path = paths[rng.integers(len(paths))]
        if path.suffix == ".npz":
            content = damaged(path, rng)
        else:
            content = mutated(whole[path].decode(), rng, canary(run_by_a_file)).encode()
        path.write_bytes(content)
        came_of_it, why = outcome(partial(check, path))
        if run_by_a_file.exists():
            came_of_it, why = "executed", "code in the file ran"
            run_by_a_file.unlink()
        counts[came_of_it] += 1
        if came_of_it in ("executed", "tracebacks"):
            problems.append(f"seed {seed}: {why}")
        path.write_bytes(whole[path])
    assert not problems, "\n".join(problems)
    assert counts["clean"] and counts["recovered"]
