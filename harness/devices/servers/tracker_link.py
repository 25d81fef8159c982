"""A server's connection to the tracker, which tells clients of the server.

TVM's servers wait for ever where a tracker does not answer; here every answer has a time limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from pydantic import TypeAdapter

from harness.devices.servers.handshake import FAILURES
from harness.devices.servers.tracker import Address
from harness.devices.servers.tracker_protocol import (
    GREETING,
    SERVER,
    SIZE_BYTES,
    Code,
    packed,
    size_of,
)
from harness.errors import HarnessError

_ANSWER_SECONDS = 5.0
_RETRY_SECONDS = 2.0
_PATIENCE_SECONDS = 60.0
_WORDS = TypeAdapter(list[str])
_Answer = TypeVar("_Answer")


class LinkLost(Exception):
    """The tracker does not answer any more."""


class TrackerLink:
    """Makes the server of a key and port known to a tracker."""

    def __init__(self, tracker: Address, key: str, port: int) -> None:
        self._tracker = tracker
        self._key = key
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connect(self) -> None:
        """Connect, unless this is connected. Raises HarnessError where the tracker has not answered
        for a minute."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE_SECONDS
        while self._streams is None:
            try:
                await asyncio.wait_for(self._connect(), _ANSWER_SECONDS)
            except FAILURES:
                self.close()
                if loop.time() > end:
                    raise HarnessError(
                        f"the tracker at {self._tracker} has not answered for a minute"
                    ) from None
                await asyncio.sleep(_RETRY_SECONDS)

    async def _connect(self) -> None:
        self._streams = await asyncio.open_connection(self._tracker.host, self._tracker.port)
        reader, writer = self._streams
        writer.write(GREETING)
        if await reader.readexactly(len(GREETING)) != GREETING:
            raise ValueError("no tracker's greeting")
        description = {"key": SERVER + self._key, "addr": [None, self._port]}
        await self._require_success([Code.UPDATE_INFO, description])

    async def put(self, word: str) -> None:
        """Have the tracker send a client, which is to say `word`. Raises LinkLost."""
        await self._told(self._require_success([Code.PUT, self._key, [self._port, word], None]))

    async def pending(self) -> list[str]:
        """The words of this server that no client was told yet. Raises LinkLost."""
        return await self._told(self._words())

    async def _words(self) -> list[str]:
        return _WORDS.validate_json(await self._ask([Code.GET_PENDING_MATCHKEYS]))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _told(self, exchange: Awaitable[_Answer]) -> _Answer:
        try:
            return await asyncio.wait_for(exchange, _ANSWER_SECONDS)
        except FAILURES as error:
            self.close()
            raise LinkLost(str(error)) from None

    async def _require_success(self, message: list[Any]) -> None:
        if int(await self._ask(message)) != Code.SUCCESS:
            raise ValueError("the tracker refuses")

    async def _ask(self, message: list[Any]) -> bytes:
        """The JSON that the tracker answers."""
        if self._streams is None:
            raise OSError("not connected")
        reader, writer = self._streams
        writer.write(packed(message))
        return await reader.readexactly(size_of(await reader.readexactly(SIZE_BYTES)))
