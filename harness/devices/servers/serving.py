"""Runs a server of TVM's RPC, whose sessions may crash, hang or be left alone.

In TVM's own server a crash in a session ends the thread that waits for the next one, a session
whose client has gone goes on for as long as its kernel runs, and a connection that says nothing
keeps all others waiting. Here a session is a process that is ended when its client goes, and
however it ends the server takes the next client. Handshakes have a time limit, and go on beside
sessions.

Anybody who can connect to a server or its tracker can run any code on it.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import platform
import secrets
import select
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from harness.compiler.patches import register_function
from harness.compiler.rpc import server, tempdir
from harness.devices.servers import handshake
from harness.devices.servers.accepting import HANDSHAKE_SECONDS, Acceptor, Client
from harness.devices.servers.listening import keep_alive, listening_socket, require_reachable
from harness.devices.servers.tracker import DESCRIPTION, Address, Tracker
from harness.devices.servers.tracker_link import LinkLost, TrackerLink
from harness.devices.servers.tracker_protocol import require_key
from harness.devices.threads.fork_join import use_fork_join
from harness.errors import CellFailure, last_line
from harness.hardware import this_processor
from harness.processes.parent import die_with_parent

FIRST_PORT = 9091
_MOST_PORTS = 100
_LOOK_SECONDS = 2.0
_PEEK_SECONDS = 0.02
_UNCLAIMED_SECONDS = 6.0
"""A client that the tracker sent, and that has not come by then, is not expected any more."""

Tell = Callable[[str], None]


def run_server(key: str, tracker: Address, host: str, threads: int, tell: Tell) -> None:
    """Serve a key until this process ends; kernels run with `threads` threads.

    Raises TrackerLost where the tracker does not answer, HarnessError when it has not for a minute,
    and InputError where nothing can listen, or clients of the tracker could not reach it, or the
    key is none.
    """
    require_key(key)
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
    asyncio.run(_Server(key, listening, TrackerLink(tracker, key, port), tell).run())


class _Server:
    """Takes one client after the other, as the tracker sends them."""

    def __init__(self, key: str, listening: socket.socket, link: TrackerLink, tell: Tell) -> None:
        self._key = key
        self._acceptor = Acceptor(listening, key)
        self._link = link
        self._tell = tell

    async def run(self) -> None:
        """Raises HarnessError where the tracker has not answered for a minute."""
        self._acceptor.start()
        try:
            while True:
                await self._link.connect()
                with suppress(LinkLost):
                    client = await self._next_client()
                    if client is not None:
                        await self._take(client)
        finally:
            self._acceptor.stop()

    async def _next_client(self) -> Client | None:
        """The next client, or None where one was sent and did not come. Raises LinkLost."""
        word = f"{self._key}:{secrets.token_hex(16)}"
        client = self._acceptor.expect(word)
        try:
            await self._link.put(word)
            await self._claimed(word, client)
        except LinkLost:
            if not client.done():
                raise
        return client.result() if client.done() else None

    async def _claimed(self, word: str, client: asyncio.Future[Client]) -> None:
        """Wait for a client for as long as the tracker may send one, and some seconds more. Raises
        LinkLost."""
        loop = asyncio.get_running_loop()
        last_free = loop.time()
        while not client.done() and loop.time() - last_free <= _UNCLAIMED_SECONDS:
            await asyncio.wait({client}, timeout=_LOOK_SECONDS)
            if not client.done() and word in await self._link.pending():
                last_free = loop.time()

    async def _take(self, client: Client) -> None:
        """Let a client in and run its session to its end, unless it goes or says nothing."""
        connection = client.connection
        try:
            try:
                keep_alive(connection)
                await asyncio.wait_for(self._opened(connection), HANDSHAKE_SECONDS)
            except handshake.FAILURES:
                self._tell(f"the client at {client.host} begins no session")
                return
            self._tell(f"a client at {client.host}")
            await self._run(connection, client.timeout)
            self._tell(f"the client at {client.host} has gone")
        finally:
            connection.close()

    async def _opened(self, connection: socket.socket) -> None:
        """Tell a client that it is let in, and wait for its first message, which is the session's.
        Raises OSError or ValueError where it is none."""
        await handshake.admit(connection, self._key)
        await _readable(connection.fileno())
        while not handshake.has_message(connection):
            await asyncio.sleep(_PEEK_SECONDS)

    async def _run(self, connection: socket.socket, timeout: float | None) -> None:
        """Run one session, in a process of its own, and leave nothing behind."""
        connection.setblocking(True)
        folder = tempdir()
        session = multiprocessing.get_context("fork").Process(
            target=_run_session,
            args=(connection, folder, os.getpid(), self._acceptor.sockets),
        )
        session.start()
        try:
            await _ended(session, connection, timeout)
            if session.exitcode:
                self._tell(f"its session crashed (exit code {session.exitcode})")
        finally:
            session.kill()
            session.join()
            with suppress(OSError):  # a killed process may leave files that cannot be removed yet
                folder.remove()


async def _ended(
    session: multiprocessing.process.BaseProcess, connection: socket.socket, seconds: float | None
) -> None:
    """Wait until a session ends, its client goes, or the seconds that it may take are over."""
    with select.epoll() as watched:
        # Not for the client's messages, which are for the session.
        watched.register(connection, select.EPOLLRDHUP)
        watched.register(session.sentinel, select.EPOLLIN)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_readable(watched.fileno()), seconds)


async def _readable(descriptor: int) -> None:
    """Wait until a file descriptor can be read."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def _run_session(
    connection: socket.socket, folder: Any, parent: int, others: Sequence[socket.socket]
) -> None:
    """The process of a session. `others` are the server's sockets, which it closes: their
    peers see the server close them."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it
    for other in others:
        other.close()
    os.chdir(folder.path)
    register_function(DESCRIPTION, _description)
    try:
        server._serve_loop(connection, None, folder)
    except Exception as error:
        raise SystemExit(f"the session failed: {last_line(error)}") from None


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
