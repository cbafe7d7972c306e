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
        Values by name. A class may have `constants` too: expressions of the parameters.
    """

    kind: ClassVar[str]
    parameters: Mapping[str, Any]

    def with_parameters(self, **values: Any) -> Self:
        """Return a copy with some parameters or constants replaced.

        Raises
        ------
        ValueError
            If there is no parameter or constant of that name; the message lists the valid ones.
        """
        return self._replaced("parameter", values)

    def _replaced(self, what: str, values: Mapping[str, Any], fields: Iterable[str] = ()) -> Self:
        """A copy with other parameters, constants and, of those named, fields."""
        name = getattr(self, "name", "")
        constants: Mapping[str, str] = getattr(self, "constants", {})
        valid = [*self.parameters, *constants, *fields]
        for key in values:
            if key not in valid:
                where = f"{self.kind} '{name}'" if name else self.kind
                raise ValueError(unknown(what, key, valid, where))
        changes = {k: v for k, v in values.items() if k not in {*self.parameters, *constants}}
        changes["parameters"] = {k: values.get(k, v) for k, v in self.parameters.items()}
        if constants:
            changes["constants"] = {k: str(values.get(k, v)) for k, v in constants.items()}
        return replace(self, **changes)  # type: ignore[type-var]
