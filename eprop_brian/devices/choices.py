"""Names of the devices and float types. Nothing is imported for them."""

from collections.abc import Iterator

from eprop_brian.base import plugins

__all__ = ["AVAILABLE", "COMPILED", "DEVICES", "DTYPES"]

#: Devices whose programs are compiled, which takes a few seconds.
COMPILED = ("cpp", "cuda")
DEVICES = (*COMPILED, "runtime")
DTYPES = ("float64", "float32")


class _Available:
    """Names of the devices of the package, then of those that installed packages offer."""

    def __iter__(self) -> Iterator[str]:
        yield from DEVICES
        yield from plugins.plugins(plugins.DEVICES)


#: `DEVICES`, and those of installed packages, looked up each time.
AVAILABLE = _Available()
