"""Accepts the connections to a server, and finds the one client that it waits for.

No peer is waited for: every handshake has a time limit, and there are only so many at a time.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass

from harness.devices.servers import handshake

HANDSHAKE_SECONDS = 5.0
_MOST_HANDSHAKES = 32
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Client:
    """A client that said the expected word, and waits to be let in."""

    connection: socket.socket
    host: str
    timeout: float | None
    """After how many seconds its session ends at the latest."""


class Acceptor:
    """Accepts connections to a listening socket.

    All but the client that says the expected word are refused. Where there are too many handshakes
    the oldest is given up: one that is meant takes milliseconds.
    """

    def __init__(self, listening: socket.socket, key: str) -> None:
        listening.setblocking(False)
        self._listening = listening
        self._key = key
        self._word: str | None = None
        self._client: asyncio.Future[Client] | None = None
        self._handshakes: dict[asyncio.Task[None], socket.socket] = {}

    @property
    def sockets(self) -> list[socket.socket]:
        """The sockets that a process forked for one client has to close."""
        return [self._listening, *self._handshakes.values()]

    def expect(self, word: str) -> asyncio.Future[Client]:
        """Wait for the client that says a word, and no longer for any other."""
        self._word, self._client = word, asyncio.get_running_loop().create_future()
        return self._client

    def start(self) -> None:
        """Accept connections from now on, in the event loop that runs."""
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def stop(self) -> None:
        """Accept none any more, and give up all handshakes."""
        asyncio.get_running_loop().remove_reader(self._listening)
        for task in self._handshakes:
            task.cancel()

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, address = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the peer is gone again
            return
        except OSError:  # no file descriptor is left
            loop.remove_reader(self._listening)
            loop.call_later(_PAUSE_SECONDS, self.start)
            return
        connection.setblocking(False)
        if len(self._handshakes) >= _MOST_HANDSHAKES:
            next(iter(self._handshakes)).cancel()
        task = loop.create_task(self._shake_hands(connection, address[0]))
        self._handshakes[task] = connection
        task.add_done_callback(self._handshakes.pop)

    async def _shake_hands(self, connection: socket.socket, host: str) -> None:
        taken = False
        try:
            with suppress(*handshake.FAILURES):
                taken = await asyncio.wait_for(self._taken(connection, host), HANDSHAKE_SECONDS)
        finally:
            if not taken:
                connection.close()

    async def _taken(self, connection: socket.socket, host: str) -> bool:
        """Whether a connection is the expected client's, which then is whose client it is."""
        greeting = await handshake.received_greeting(connection)
        if self._client is None or greeting.word != self._word:
            await handshake.refuse(connection)
            return False
        self._client.set_result(Client(connection, host, greeting.timeout))
        self._word = self._client = None
        return True
