"""The handshake of TVM's RPC servers, from both sides, without waiting for more than a time limit.

A client sends a number, the length of its key, and the key: `client:WORD`, and options after
spaces. The tracker gave it the word. The server answers with a code, and where the word is
the expected one with the length of its own key, and the key. All numbers are little-endian signed
32-bit integers.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from math import isfinite

_MAGIC = 0xFF271
_SUCCESS, _MISMATCH = _MAGIC, _MAGIC + 2
_CLIENT, _SERVER, _TIMEOUT = "client:", "server:", "-timeout="
_MOST_KEY_BYTES = 1024
_MOST_MESSAGE_BYTES = 1 << 16
_LENGTH = struct.Struct("<Q")
_NO_WORD = "layeredge-are-you-there"
"""No server expects it: one that answers says so, and goes on waiting for its client."""
_PROBE_SECONDS = 3.0
FAILURES = (OSError, ValueError, EOFError, asyncio.TimeoutError)
"""Errors that end an exchange with a peer that is gone, too slow, or sends something else."""


@dataclass(frozen=True)
class Greeting:
    """A client's first message: its word, and the number of seconds after which its session ends at
    the latest."""

    word: str
    timeout: float | None


async def received_greeting(connection: socket.socket) -> Greeting:
    """The greeting of a client. Raises OSError or ValueError where there is none."""
    if await _received_number(connection) != _MAGIC:
        raise ValueError("no client of an RPC server")
    size = await _received_number(connection)
    if not 0 < size <= _MOST_KEY_BYTES:
        raise ValueError(f"a key of {size} bytes")
    name, *options = (await _received(connection, size)).decode().split() or [""]
    if not name.startswith(_CLIENT):
        raise ValueError("no key of a client")
    found = [float(text[len(_TIMEOUT) :]) for text in options if text.startswith(_TIMEOUT)]
    if any(not isfinite(seconds) or seconds <= 0 for seconds in found):
        raise ValueError("no time limit of a session")
    return Greeting(name[len(_CLIENT) :], found[-1] if found else None)


async def admit(connection: socket.socket, key: str) -> None:
    """Tell a client that its word is right. Raises OSError."""
    name = (_SERVER + key).encode()
    answer = struct.pack("<ii", _SUCCESS, len(name)) + name
    await asyncio.get_running_loop().sock_sendall(connection, answer)


async def refuse(connection: socket.socket) -> None:
    """Tell a client that its word is not the expected one. Raises OSError."""
    await asyncio.get_running_loop().sock_sendall(connection, struct.pack("<i", _MISMATCH))


def has_message(connection: socket.socket) -> bool:
    """Whether all of a session's first message is there; it stays there. A message is its length in
    bytes, as an unsigned 64-bit integer, and so many bytes.

    Raises OSError where the client is gone, and ValueError where that is no first message.
    """
    head = connection.recv(_LENGTH.size, socket.MSG_PEEK)
    if not head:
        raise OSError("the client closed the connection")
    if len(head) < _LENGTH.size:
        return False
    (size,) = _LENGTH.unpack(head)
    if not 0 < size <= _MOST_MESSAGE_BYTES:
        raise ValueError(f"a message of {size} bytes")
    whole = _LENGTH.size + int(size)
    return len(connection.recv(whole, socket.MSG_PEEK)) == whole


async def answers(host: str, port: int) -> bool:
    """Whether an RPC server answers at an address, within some seconds. It goes on waiting for its
    client."""
    try:
        return await asyncio.wait_for(_probed(host, port), _PROBE_SECONDS)
    except FAILURES:
        return False


async def _probed(host: str, port: int) -> bool:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        key = (_CLIENT + _NO_WORD).encode()
        writer.write(struct.pack("<ii", _MAGIC, len(key)) + key)
        (code,) = struct.unpack("<i", await reader.readexactly(4))
        return bool(code == _MISMATCH)
    finally:
        writer.close()


async def _received_number(connection: socket.socket) -> int:
    (number,) = struct.unpack("<i", await _received(connection, 4))
    return int(number)


async def _received(connection: socket.socket, size: int) -> bytes:
    """Exactly so many bytes: later ones are for the session."""
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < size:
        part = await loop.sock_recv(connection, size - len(data))
        if not part:
            raise OSError("the client closed the connection")
        data += part
    return data
