"""What models share whose training is a number of iterations, which a recipe sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from eprop_brian.training.callbacks import Callback

if TYPE_CHECKING:
    from eprop_brian.runs.config import RunConfig

__all__ = ["IteratedModel", "refuse_callbacks"]


def refuse_callbacks(callbacks: Sequence[Callback]) -> None:
    """Raise ValueError for callbacks where a training has none."""
    if callbacks:
        raise ValueError(
            f"{type(callbacks[0]).__name__}: callbacks are for networks that learn by e-prop or "
            "backpropagation through time, trained by a Trainer"
        )


class IteratedModel:
    """A model that is trained for ``run.iterations``, and compared by results as they are."""

    def length(self, config: RunConfig) -> int:
        """Give the iterations of the training."""
        return int(config.run["iterations"])

    def with_length(self, config: RunConfig, iterations: int) -> RunConfig:
        """Return a copy of another length."""
        return config.with_values("run", iterations=iterations)

    def completed(self, config: RunConfig) -> RunConfig:
        """Return the configuration: nothing follows from defaults of a task."""
        return config

    def beside(
        self, results: Mapping[str, float], reference: Mapping[str, float]
    ) -> Mapping[str, float]:
        """Return the results: none is relative to another run."""
        return results
