"""Parameters of equations: what neurons, readouts, teachers, optimizers and signals share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from eprop_brian.base.suggestions import unknown

__all__ = ["Parametrised"]


class Parametrised:
    """Base of frozen dataclasses whose equations have parameters.

    Attributes
    ----------
    kind : str
        What error messages call it.
    parameters : mapping
        Values by name. A class may have `constants` too, expressions of the parameters, and
        `timed_arrays`.
    """

    kind: ClassVar[str]
    parameters: Mapping[str, Any]

    def with_parameters(self, **values: Any) -> Self:
        """Return a copy with some parameters, constants or timed arrays replaced.

        Raises
        ------
        ValueError
            If there is none of that name; the message lists the valid ones.
        """
        return self._replaced("parameter", values)

    def _replaced(self, what: str, values: Mapping[str, Any], fields: Iterable[str] = ()) -> Self:
        """A copy with other parameters, constants and, of those named, fields."""
        name = getattr(self, "name", "")
        constants: Mapping[str, str] = getattr(self, "constants", {})
        arrays: Mapping[str, Any] = getattr(self, "timed_arrays", {})
        valid = [*self.parameters, *constants, *arrays, *fields]
        for key in values:
            if key not in valid:
                where = f"{self.kind} '{name}'" if name else self.kind
                raise ValueError(unknown(what, key, valid, where))
        by_name = {*self.parameters, *constants, *arrays}
        changes = {k: v for k, v in values.items() if k not in by_name}
        changes["parameters"] = {k: values.get(k, v) for k, v in self.parameters.items()}
        if constants:
            changes["constants"] = {k: str(values.get(k, v)) for k, v in constants.items()}
        if arrays:
            changes["timed_arrays"] = {k: values.get(k, v) for k, v in arrays.items()}
        return replace(self, **changes)  # type: ignore[type-var]
