"""Names of the devices and float types. Nothing is imported for them."""

__all__ = ["COMPILED", "DEVICES", "DTYPES"]

#: Devices whose programs are compiled, which takes a few seconds.
COMPILED = ("cpp", "cuda")
DEVICES = (*COMPILED, "runtime")
DTYPES = ("float64", "float32")
