"""Runs TVM's RPC tracker, and a server whose sessions may crash, hang or be left alone.

In TVM's own server a crash in a session ends the thread that waits for the next one, and a session
whose client has gone goes on for as long as its kernel runs. Here a session is a process that is
ended when its client goes, and however it ends the server takes the next client.

Whoever reaches the port of a server can have it run any code.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import select
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from harness.child import die_with_parent
from harness.devices.fork_join import use_fork_join
from harness.devices.listening import listening_socket, require_reachable
from harness.devices.tracker import DESCRIPTION, Address, Tracker
from harness.errors import CellFailure, HarnessError, InputError
from harness.hardware import this_processor
from harness.lean_import import lean_import

# A server runs code and compiles none: a board needs TVM's runtime only.
os.environ["TVM_USE_RUNTIME_LIB"] = "1"
with lean_import():
    import tvm_ffi
    from tvm.rpc import server as tvm_server
    from tvm.support.utils import tempdir

FIRST_PORT = 9091
_MOST_PORTS = 100
_KEEP_ALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A client whose machine is gone is noticed after less than a minute."""

Tell = Callable[[str], None]


def run_tracker(host: str, port: int, tell: Tell) -> None:
    """Run a tracker until this process ends. Raises InputError where it cannot listen, or where
    `tornado` is missing."""
    try:
        from tvm.rpc import tracker as tvm_tracker
    except ImportError:
        raise InputError("TVM's tracker needs tornado: pip install tornado") from None
    listening = listening_socket(Address(host=host, port=port), 1)
    tell(f"the tracker listens at {Address(host=host, port=port)}")
    tvm_tracker._tracker_server(listening, "")


def run_server(key: str, tracker: Address, host: str, threads: int, tell: Tell) -> None:
    """Serve a key until this process ends; kernels run with `threads` threads.

    Raises TrackerLost where the tracker does not answer, HarnessError when it has not for a minute,
    and InputError where nothing can listen or who asks the tracker could not reach it.
    """
    require_reachable(host, tracker)
    with Tracker(tracker):
        pass
    os.environ["TVM_NUM_THREADS"] = str(threads)
    try:
        use_fork_join()
    except CellFailure as error:
        tell(f"kernels run in TVM's own threads, which are slower to start: {error}")
    listening = listening_socket(Address(host=host, port=FIRST_PORT), _MOST_PORTS)
    port = listening.getsockname()[1]
    tell(f"a server of '{key}' listens at {Address(host=host, port=port)}")
    tvm_server._serving = partial(_serve_client, tell)
    try:
        tvm_server._listen_loop(listening, port, key, (tracker.host, tracker.port), None, None)
    except (RuntimeError, AssertionError):
        raise HarnessError(f"the tracker at {tracker} has not answered for a minute") from None


def _serve_client(
    tell: Tell,
    connection: socket.socket,
    client: tuple[Any, ...],
    options: Mapping[str, float],
    library: None,
) -> None:
    """Run one session to its end, in a process of its own, and leave nothing behind."""
    tell(f"a client at {client[0]}")
    _keep_alive(connection)
    folder = tempdir()
    session = multiprocessing.get_context("fork").Process(
        target=_run_session, args=(connection, folder, os.getpid())
    )
    session.start()
    try:
        _wait(session, connection, options.get("timeout"))
        if session.exitcode:
            tell(f"its session crashed (exit code {session.exitcode})")
    finally:
        session.kill()
        session.join()
        connection.close()
        with suppress(OSError):  # what was killed may have left what cannot be removed at once
            folder.remove()
    tell(f"the client at {client[0]} has gone")


def _wait(
    session: multiprocessing.process.BaseProcess, connection: socket.socket, seconds: float | None
) -> None:
    """Wait until a session ends, its client goes, or the seconds that it may take are over."""
    watched = select.poll()
    watched.register(connection, select.POLLRDHUP)  # not what was sent: that is the session's
    watched.register(session.sentinel, select.POLLIN)
    watched.poll(1e3 * seconds if seconds else None)


def _run_session(connection: socket.socket, folder: Any, parent: int) -> None:
    """What the process of a session does."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it
    os.chdir(folder.path)
    tvm_ffi.register_global_func(DESCRIPTION, _description, override=True)
    tvm_server._serve_loop(connection, None, folder)


def _description() -> str:
    processor = this_processor()
    return json.dumps(
        {
            "machine": platform.machine(),
            "cpu": processor.name,
            "cores": processor.cores,
            "threads": int(os.environ["TVM_NUM_THREADS"]),
        }
    )


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
