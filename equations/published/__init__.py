"""Published neurons as Brian2 users write them.

Model text, spike condition, reset, refractoriness and method are those of the script that `source`
names, most of them examples of Brian2's documentation. The effect of a spike is that of its
synapses times the weight ``w`` that learns. What a script does not say, since it only injects a
current or only records a voltage, is added and named in ``source``.

A neuron is called after its paper, as the script is.
"""

from eprop_brian.equations.neuron import Neuron
from eprop_brian.equations.published import adaptive, channels, driven, integrators, receptors

__all__ = ["PUBLISHED"]

#: By name.
PUBLISHED: dict[str, Neuron] = {
    neuron.name: neuron
    for module in (integrators, receptors, adaptive, channels, driven)
    for neuron in vars(module).values()
    if isinstance(neuron, Neuron)
}
