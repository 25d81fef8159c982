"""A server's connection to the tracker waits for no longer than a time limit."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from harness.devices.servers import tracker_link
from harness.devices.servers.tracker import Address
from harness.devices.servers.tracker_link import LinkLost, TrackerLink
from harness.devices.servers.tracker_protocol import GREETING, packed
from harness.errors import HarnessError

Serve = Callable[[socket.socket], None]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_ANSWER_SECONDS", "_RETRY_SECONDS", "_PATIENCE_SECONDS"):
        monkeypatch.setattr(tracker_link, name, 0.1)


@contextmanager
def tracker(serve: Serve) -> Iterator[TrackerLink]:
    """A link to a tracker that does with each connection what `serve` does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        connection.settimeout(1)
                        serve(connection)

        threading.Thread(target=run, daemon=True).start()
        yield TrackerLink(Address(host="127.0.0.1", port=listening.getsockname()[1]), "k", 9)
        listening.shutdown(socket.SHUT_RDWR)


def saying(*answers: bytes) -> Serve:
    """Greets, and answers each message with the next of some answers."""

    def serve(connection: socket.socket) -> None:
        for answer in (GREETING, *answers):
            connection.recv(1000)
            connection.sendall(answer)
        while connection.recv(1000):
            pass

    return serve


def closing(_: socket.socket) -> None:
    """Says nothing, and closes the connection."""


def test_server_is_put_and_its_word_waits() -> None:
    async def play() -> None:
        with tracker(saying(packed(0), packed(0), packed(["word"]))) as link:
            await link.connect()
            await link.put("word")
            assert await link.pending() == ["word"]
            link.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    "serve", [closing, saying(), saying(packed(-1)), saying(b"\xff\xff\xff\x7f"), saying(b"GET ")]
)
def test_tracker_that_does_not_answer_for_long_ends_the_server(serve: Serve) -> None:
    async def play() -> None:
        with (
            tracker(serve) as link,
            pytest.raises(HarnessError, match="has not answered for a minute"),
        ):
            await link.connect()

    asyncio.run(play())


@pytest.mark.parametrize("answer", [b"", packed({}), packed([1]), packed("x")])
def test_tracker_that_answers_no_more_is_lost(answer: bytes) -> None:
    async def play() -> None:
        with tracker(saying(packed(0), answer)) as link:
            await link.connect()
            with pytest.raises(LinkLost):
                await link.pending()
            with pytest.raises(LinkLost):
                await link.put("word")

    asyncio.run(play())
