"""``python docs/slow_trace.py FILE.png``: the figure of the page on recording.

The network, the trial and the synapse are those of the page's first block of Python, which is run.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from eprop_brian import plot, record
from eprop_brian.figures.style import COLOURS, stacked, styled
from eprop_brian.training.recorded import Recording

PAGE = Path(__file__).parent / "recording.md"
_PANELS = {
    "inputs": "input\nspikes",
    "v": "membrane\nand threshold",
    "psi": "surrogate\nψ",
    "eps_v": "fast component\nε of v",
    "eps_a": "slow component\nε of a",
    "eligibility_trace": "eligibility\ntrace e",
}


def recorded() -> Recording:
    """The trial that the page records, with its inputs and the threshold."""
    page = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert page is not None
    names: dict[str, Any] = {}
    exec(page[1], names)
    shown = names["recording"]
    return record(
        names["network"],
        names["task"],
        names["weights"],
        quantities=[*_PANELS, "threshold"],
        neurons={"alif": [shown.synapses[0].post]},
        synapses=[shown.synapses[0]],
        seed=1,
    )


@styled()
def draw(recording: Recording) -> Any:
    """Draw the first synapse of a recording."""
    synapse = recording.synapses[0]
    neuron = synapse.target, synapse.post
    figure, panels = stacked(
        dict.fromkeys(_PANELS, 1.0) | {"inputs": 0.5}, "time in the trial (ms)"
    )
    time = recording.time
    spikes = np.flatnonzero(recording["inputs"].values[:, synapse.pre])
    panels["inputs"].eventplot(time[spikes], colors="black", linelengths=0.6)
    panels["inputs"].set_yticks([])
    for k, name in enumerate(("v", "psi")):
        quantity = recording[name]
        panels[name].plot(time, quantity.values[:, quantity.column(*neuron)], color=COLOURS[k])
    threshold = recording["threshold"]
    panels["v"].plot(time, threshold.values[:, threshold.column(*neuron)], color="black")
    for k, name in enumerate(("eps_v", "eps_a", "eligibility_trace"), start=2):
        panels[name].plot(time, recording[name].values[:, 0], color=COLOURS[k])
    for name, label in _PANELS.items():
        panels[name].set_ylabel(label)
    return figure


if __name__ == "__main__":
    path = Path(sys.argv[1])
    plot.save(draw(recorded()), path.with_suffix(""), [path.suffix.removeprefix(".")])
