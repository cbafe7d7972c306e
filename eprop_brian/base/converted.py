"""Fields of frozen dataclasses that hold what is given in the form in which it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["Converted"]

T = TypeVar("T")
_REQUIRED: Any = object()


class Converted(Generic[T]):
    """A field of a dataclass whose value is converted when an object is made.

    A list becomes an array, ``"20 ms"`` a quantity. A frozen class stays frozen: nothing is
    assigned after construction.

    Parameters
    ----------
    convert : callable
        ``convert(value, instance)`` gives what the field holds, or raises. The instance has the
        fields that stand before this one.
    default : optional
        The value where none is given.

    Examples
    --------
    >>> import dataclasses
    >>> @dataclasses.dataclass(frozen=True)
    ... class Box:
    ...     size: Converted[tuple[float, ...]] = Converted(lambda value, _: tuple(value), [1.0])
    >>> Box([2, 3]).size, Box().size
    ((2, 3), (1.0,))
    """

    def __init__(self, convert: Callable[[Any, Any], T], default: Any = _REQUIRED) -> None:
        self._convert, self._default = convert, default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Any: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is not None:
            return vars(instance)[self._name]
        # Dataclasses ask the class for the default.
        if self._default is _REQUIRED:
            raise AttributeError(self._name)
        return self._default

    def __set__(self, instance: object, value: Any) -> None:
        # `field(default=Converted(...))` hands this over where nothing is given.
        value = self._default if value is self else value
        if value is _REQUIRED:
            raise TypeError(f"{type(instance).__name__} needs {self._name}")
        vars(instance)[self._name] = self._convert(value, instance)
