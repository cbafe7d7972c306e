"""Networks whose projections drive receptors."""

from collections.abc import Iterable, Mapping
from typing import Any

from eprop_brian import (
    Inputs,
    LearningSignal,
    Network,
    Neuron,
    Population,
    Projection,
    Readout,
    ReadoutFilter,
)


def with_receptors(
    neuron: Neuron,
    size: int,
    inputs: Mapping[str, int],
    projections: Mapping[str, tuple[str, str, dict[str, Any]]],
    readout: ReadoutFilter,
    *,
    learned: Iterable[str] = (),
    n_outputs: int = 2,
    **options: Any,
) -> Network:
    """A network of one population, with named inputs and projections onto its receptors.

    Parameters
    ----------
    neuron : Neuron
    size : int
    inputs : mapping of str to int
        Sizes of the input groups.
    projections : mapping of str to (str, str, dict)
        By name, the source (an input, or the neuron's name), the receptor, and further fields of
        `Projection`.
    readout : ReadoutFilter
    learned : iterable of str
        Parameters that learn.
    n_outputs : int
    **options
        Of `Network`.
    """
    name = neuron.name
    return Network(
        [
            *(Inputs(n, group) for group, n in inputs.items()),
            Population(neuron, size, name, {parameter: {} for parameter in learned}),
            Readout(n_outputs, filter=readout),
            *(
                Projection(source, name, key, receptor, **fields)
                for key, (source, receptor, fields) in projections.items()
            ),
            Projection(name, "readout", "w_out"),
            LearningSignal("readout", name, name="B"),
        ],
        **options,
    )
