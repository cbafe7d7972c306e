"""Files of networks: a network as a TOML file, and its arrays beside it.

::

    [[inputs]]
    size = 40

    [[population]]
    name = "excitatory"
    neuron = "lif"                # a name, a neuron file, or its content as [population.neuron]
    size = 80
    parameters = {tau_m = "30 ms"}

    [[projection]]
    source = "inputs"             # or a list
    target = "excitatory"
    connectivity = "who.npy"      # an array in a file beside this one

    [[readout]]
    size = 2
    loss = "softmax_cross_entropy"

    [[learning_signal]]
    source = "readout"
    target = "excitatory"
    feedback = "random"           # and scale, signal, delay, diffusion, update, parameters

    [network]                     # options of `Network`
    [optimizer]

A recipe that describes a network part by part is such a file with the tables ``[run]`` and
``[task]``.
"""

from __future__ import annotations

from pathlib import Path

from eprop_brian.base.files import write_arrays, write_text
from eprop_brian.base.sparse import Matrix
from eprop_brian.base.toml import toml_array, toml_table
from eprop_brian.network.spec import Network
from eprop_brian.runs.graph_reading import network_of, normalised
from eprop_brian.runs.graph_settings import GRAPH_SCHEMA, PARTS
from eprop_brian.runs.graph_writing import tables_of, without_arrays
from eprop_brian.runs.settings import check_tables, read_tables
from eprop_brian.tasks import Task

__all__ = ["read_network", "write_network"]


def read_network(path: str | Path, task: Task | None = None) -> Network:
    """Read the file of a network, or the network of a recipe that describes its parts.

    Parameters
    ----------
    path : str or Path
        Files that it names stand beside it. Nothing in them is ever run.
    task : Task, optional
        Says sizes, loss and time step that the file leaves out.

    Raises
    ------
    ValueError, EquationError
        For an unknown table or key, a value that does not fit, a file that is missing, and a
        network that cannot work; the message names the file and the table.
    """
    path = Path(path)
    tables = read_tables(path)
    check_tables(GRAPH_SCHEMA, tables, str(path))
    try:
        return network_of(normalised(tables, path.parent), task)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_network(path: str | Path, network: Network) -> None:
    """Write a network as a file, which `read_network` reads back.

    Neurons are written with their equations, so that the network stays what it is when the library
    changes.

    Parameters
    ----------
    path : str or Path
        ``name.toml``; arrays, if there are any, go into ``name.npz`` beside it.
    network : Network
    """
    path = Path(path)
    tables = tables_of(network)
    arrays: dict[str, Matrix] = {}
    beside = path.with_suffix(".npz")
    texts = [toml_array(t, without_arrays(tables[t], beside.name, arrays)) for t in PARTS]
    texts += [toml_table(name, tables[name]) for name in ("network", "optimizer")]
    if arrays:
        write_arrays(beside, arrays)
    write_text(path, "\n".join(filter(None, texts)))
