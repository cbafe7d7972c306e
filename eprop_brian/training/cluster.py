"""The workers of a Dask cluster: reached, compared, and waited for, none of it for ever.

What a worker computes follows from the sources of the packages there. So workers are compared with
this process when they join: others would give other numbers.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, TimeoutError
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eprop_brian.devices import SimulationError

__all__ = ["Cluster", "fingerprint"]

#: Seconds in which a scheduler must answer, and be joined by a worker where there is none.
_PATIENCE = 20.0
#: Seconds in which a worker must have imported this package, perhaps over a network.
_FOR_IMPORTS = 120.0
#: Seconds between looks at whether anybody is left who computes.
_EVERY = 2.0
#: Libraries that decide what a program computes.
_LIBRARIES = ("brian2", "numpy", "sympy")
#: Files of a package that do.
_SOURCES = {".py", ".py_", ".cpp", ".cu", ".h"}


def fingerprint() -> dict[str, str]:
    """What decides the numbers of a worker: versions, and a hash of this package's sources."""
    digest = hashlib.sha256()
    for name in ("eprop_brian", "eprop_brian.equations"):
        spec = find_spec(name)
        assert spec is not None and spec.submodule_search_locations  # packages, that are imported
        for folder in map(Path, spec.submodule_search_locations):
            for path in sorted(p for p in folder.rglob("*") if p.suffix in _SOURCES):
                digest.update(str(path.relative_to(folder)).encode())
                digest.update(path.read_bytes())
    own = f"{version('eprop_brian')} ({digest.hexdigest()[:12]})"
    return {"eprop_brian": own, **{name: version(name) for name in _LIBRARIES}}


class Cluster:
    """The workers of a running Dask scheduler.

    Parameters
    ----------
    scheduler : str
        Its address, e.g. ``"tcp://10.0.0.1:8786"``.

    Raises
    ------
    ValueError
        If Dask is missing, the scheduler does not answer or has no workers, or a worker is not
        like this process.
    """

    def __init__(self, scheduler: str) -> None:
        self.scheduler = scheduler
        # Imported here because it takes half a second and most runs do not need it.
        try:
            import dask
            import distributed  # noqa: F401
        except ImportError:
            raise ValueError(
                "a scheduler needs Dask: pip install distributed (local workers do not)"
            ) from None
        # The weights of a large network are sent with every batch on purpose.
        dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"})
        # Everything that it would say of a lost connection is said here, in one sentence.
        # Dask sets the levels of its parts one by one.
        for name in ("tornado", "asyncio", *logging.root.manager.loggerDict):
            if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        self.client = self._connected()
        self._compared: set[str] = set()
        try:
            self._wait_for_workers()
            self.compare()
        except BaseException:
            self.close()
            raise

    def _connected(self) -> Any:
        """A client. Dask itself would wait for ever for a server that accepts and says nothing."""
        from distributed import Client

        outcome: Future = Future()

        def connect() -> None:
            try:
                outcome.set_result(Client(self.scheduler, set_as_default=False, timeout=_PATIENCE))
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=connect, daemon=True).start()
        try:
            return outcome.result(_PATIENCE + _EVERY)
        except TimeoutError:
            reason = f"it has not answered for {_PATIENCE:g} s; is it a Dask scheduler?"
        except (OSError, ValueError) as error:
            reason = str(error)
        raise ValueError(f"cannot reach the Dask scheduler at {self.scheduler}: {reason}")

    def _wait_for_workers(self) -> None:
        try:
            self.client.wait_for_workers(1, timeout=_PATIENCE)
        except TimeoutError:
            raise ValueError(f"the Dask scheduler at {self.scheduler} has no workers") from None

    def workers(self) -> dict[str, int]:
        """Threads of the workers that there are now, by their addresses.

        Raises
        ------
        SimulationError
            If the scheduler does not answer.
        """
        client = self.client
        try:
            return dict(client.sync(client.scheduler.ncores, callback_timeout=_PATIENCE))
        except (OSError, TimeoutError) as error:
            raise SimulationError(self._lost()) from error

    def compare(self) -> dict[str, int]:
        """Compare workers that have joined with this process; return what `workers` does.

        Raises
        ------
        ValueError
            If one has other versions, or lacks the package; it names all differences.
        """
        present = self.workers()
        joined = [address for address in present if address not in self._compared]
        if not joined:
            return present
        try:
            # Beside the tasks of a worker: it may be busy for hours.
            answers = self.client.run(
                _by_value(), workers=joined, on_error="return", callback_timeout=_FOR_IMPORTS
            )
        except (OSError, TimeoutError):
            raise SimulationError(
                f"not all workers of the Dask scheduler at {self.scheduler} have said their "
                f"versions within {_FOR_IMPORTS:g} s: {', '.join(joined)}"
            ) from None
        expected, present = fingerprint(), self.workers()
        for address in joined:
            found = answers.get(address, {})
            if address not in present:
                continue
            if isinstance(found, BaseException):
                found = {"eprop_brian": f"fails ({type(found).__name__}: {found})"}
            differing = [
                f"{name} {found.get(name) or 'is not installed'} there, {here} here"
                for name, here in expected.items()
                if found.get(name) != here
            ]
            if differing:
                raise ValueError(
                    f"the worker at {address} would compute other numbers: "
                    f"{'; '.join(differing)}. Install the same there, or end that worker"
                )
            self._compared.add(address)
        return present

    def submit(self, compute: Callable[[], Any], address: str | None = None) -> Future:
        """Have something computed by a worker, or by another if that one dies."""
        where = {} if address is None else {"workers": [address], "allow_other_workers": True}
        executor: Executor = self.client.get_executor(pure=False, **where)
        return executor.submit(_packed(), pickle.dumps(compute))

    def result(self, future: Future) -> Any:
        """Wait for a result as long as there is a worker that may compute it.

        Raises
        ------
        SimulationError
            If the scheduler does not answer, or no worker is left and none joins.
        """
        without = 0.0
        while True:
            try:
                return future.result(timeout=_EVERY)
            except TimeoutError:
                if future.done():
                    raise
            except CancelledError:
                # Nobody here has cancelled it: Dask does so when it loses the scheduler.
                raise SimulationError(self._lost()) from None
            if self.client.status != "running":
                raise SimulationError(self._lost())
            without = 0.0 if self.workers() else without + _EVERY
            if without > _PATIENCE:
                raise SimulationError(
                    f"the Dask scheduler at {self.scheduler} has had no worker for "
                    f"{without:g} s: start workers, and go on from the last checkpoint"
                )

    def _lost(self) -> str:
        return (
            f"the Dask scheduler at {self.scheduler} does not answer any more: start it again, and "
            "go on from the last checkpoint"
        )

    def close(self) -> None:
        """Leave the cluster; what does not answer is not waited for."""
        with contextlib.suppress(Exception):
            self.client.close(timeout=_EVERY)


def _packed() -> Callable[[bytes], Any]:
    """What unpacks and calls a function. The scheduler reads it, but not what is packed."""

    def called(packed: bytes) -> Any:
        return pickle.loads(packed)()

    return called


def _by_value() -> Callable[[], dict[str, str]]:
    """A function that is sent as it stands: a worker may lack this package."""

    def found() -> dict[str, str]:
        try:
            from eprop_brian.training.cluster import fingerprint
        except ImportError:
            from importlib.metadata import PackageNotFoundError, version

            try:
                return {"eprop_brian": version("eprop_brian")}
            except PackageNotFoundError:
                return {}
        return fingerprint()

    return found
