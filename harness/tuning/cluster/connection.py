"""A Dask cluster whose workers compile candidates: the connection with it, and whether it is fit.

Dask hands pickles around, which run code where they are read. Only the scheduler at the address
that a person gave is connected to; results come through it, never from a worker.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import harness
from harness.devices.linker import linker
from harness.devices.servers.tracker import Address
from harness.errors import CellFailure, InputError, last_line

if TYPE_CHECKING:
    from distributed import Future

_CONNECT_SECONDS = 5.0
_GREETING_BYTES = 1 << 16
_FETCH_SECONDS = 10.0
_PACKAGES = ("apache-tvm", "apache-tvm-ffi")


class TaskLost(Exception):
    """A task whose workers died, each time that it was run; the text says so."""


class BuildCluster:
    """A connection with the scheduler at an address. Use as a context manager.

    `triples` are those of the targets: each worker must have their linkers. Raises
    InputError without the extra `dask` or for an invalid address; CellFailure where there is no
    cluster, no worker, or one that has other versions than this machine.
    """

    def __init__(self, address: str, triples: Collection[str | None]) -> None:
        require_address(address)
        if find_spec("distributed") is None:
            raise InputError(
                "compiling on a Dask cluster needs the extra 'dask'; run: pip install distributed"
            )
        from distributed import Client

        self._address = address
        self._hears, self._rings = socket.socketpair()
        for end in (self._hears, self._rings):
            end.setblocking(False)
        try:
            _require_greeting(address)
            self._client = Client(
                address,
                timeout=_CONNECT_SECONDS,
                set_as_default=False,
                direct_to_workers=False,
            )
        except Exception as error:  # the client's own, where something else listens there
            self._close_sockets()
            raise CellFailure(
                f"no Dask cluster answers at {address} ({last_line(error)}); start one there: dask "
                "scheduler, or name another with --build-cluster"
            ) from None
        try:
            self._check(triples)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> BuildCluster:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the cluster; its unfinished tasks for us are forgotten."""
        self._client.close()
        self._close_sockets()

    def _close_sockets(self) -> None:
        self._hears.close()
        self._rings.close()

    def _check(self, triples: Collection[str | None]) -> None:
        """Raise CellFailure unless there are workers and all of them are fit."""
        if not self.threads():
            raise self.without_workers()
        try:
            answers = self._client.run(unfit, versions(), list(triples))
        except Exception as error:  # as where this package is not installed there
            raise CellFailure(
                f"the workers of the Dask cluster at {self._address} do not have this package "
                f"({last_line(error)}); install layeredge {harness.__version__} there"
            ) from None
        for worker, why in sorted(answers.items()):
            if why is not None:
                raise CellFailure(f"the worker {worker} of the Dask cluster {why}")

    def without_workers(self) -> CellFailure:
        """An error: no worker can compile, with advice."""
        return CellFailure(
            f"the Dask cluster at {self._address} has no workers; start one where there are "
            f"processors to spare: dask worker {self._address}"
        )

    def _lost(self) -> CellFailure:
        return CellFailure(
            f"the connection with the Dask cluster at {self._address} is lost; see whether its "
            "scheduler runs"
        )

    def threads(self) -> int:
        """How many tasks the workers run at a time; 0 where there is none. Raises CellFailure where
        the scheduler is gone."""
        try:
            return sum(self._client.nthreads().values())
        except Exception:  # a different one at each moment of its going
            raise self._lost() from None

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """Have a function of this package called by a worker. When that is done there is something
        to read from this object, see `fileno`."""
        task = self._client.submit(function, *arguments, pure=False)
        task.add_done_callback(self._ring)
        return task

    def _ring(self, task: Future) -> None:
        with contextlib.suppress(OSError):  # there are rings enough, or nobody hears any more
            self._rings.send(b".")

    def fileno(self) -> int:
        """The file descriptor that `select` waits on until a task is done."""
        return self._hears.fileno()

    def hear(self) -> None:
        """Take note that tasks are done: wait for the next."""
        with contextlib.suppress(BlockingIOError):
            self._hears.recv(4096)

    def result(self, task: Future) -> Any:
        """The result of a finished task; None if it was lost with its worker,
        so that it is done once more. Raises TaskLost, and CellFailure for all else."""
        from distributed import CancelledError, KilledWorker, TimeoutError

        try:
            return task.result(_FETCH_SECONDS)
        except TimeoutError:
            return None
        except KilledWorker as error:
            raise TaskLost(
                f"workers of the Dask cluster died over it, {error.allowed_failures + 1} in a row"
            ) from None
        except CancelledError:
            raise self._lost() from None
        except Exception as error:
            raise CellFailure(
                f"a worker of the Dask cluster at {self._address} cannot compile: "
                f"{last_line(error)}"
            ) from None


def require_address(text: str) -> None:
    """Raise InputError for an invalid address of a Dask scheduler."""
    _parsed(text)


def _parsed(text: str) -> tuple[str, Address]:
    """The protocol of an address, and the address itself. Raises InputError."""
    protocol, _, rest = text.partition("://")
    try:
        if protocol in ("tcp", "tls"):
            return protocol, Address.parse(rest)
    except InputError:
        pass
    raise InputError(
        f"'{text}' is no address of a Dask scheduler: expected tcp://HOST:PORT, such as "
        "tcp://127.0.0.1:8786"
    )


def _require_greeting(text: str) -> None:
    """Raise OSError or ValueError unless the server at an address says something short first, as
    a scheduler does: for that Dask's client waits for ever, or makes as much room as it is told."""
    protocol, address = _parsed(text)
    with socket.create_connection((address.host, address.port), _CONNECT_SECONDS) as tried:
        if protocol == "tcp" and not 0 < int.from_bytes(tried.recv(8), "little") < _GREETING_BYTES:
            raise ValueError("something else listens there")


def require_cluster(address: str, triples: Collection[str | None]) -> None:
    """Raise InputError, in one line, unless candidates can be compiled on the cluster."""
    try:
        BuildCluster(address, triples).stop()
    except CellFailure as error:
        raise InputError(str(error)) from None


def versions() -> dict[str, str]:
    """Versions that must be the same on all machines, for one to compile another's candidates."""
    return {"layeredge": harness.__version__, **{name: version(name) for name in _PACKAGES}}


def unfit(expected: Mapping[str, str], triples: Collection[str | None]) -> str | None:
    """Called by a worker: why it cannot compile for a client with the expected versions and
    wants code for some triples, in words that follow its name, or None."""
    found = versions()
    for name, number in expected.items():
        if found[name] != number:
            return f"has {name} {found[name]}, and this machine has {number}; install that there"
    try:
        for triple in triples:
            linker(triple)
    except CellFailure as error:
        return f"has {error}"
    return None
