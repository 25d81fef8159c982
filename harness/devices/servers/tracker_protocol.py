"""The protocol of TVM's RPC tracker.

Each side first sends `GREETING`. Every message after it is its length in bytes, as a little-endian
signed 32-bit integer, and JSON in UTF-8. A request is a list that begins with its code.
"""

from __future__ import annotations

import json
import re
import struct
from enum import IntEnum
from typing import Any

from harness.errors import InputError

MAGIC = 0x2F271
GREETING = struct.pack("<i", MAGIC)
SERVER = "server:"
"""The prefix of a server's key in its description of itself."""
MOST_BYTES = 1 << 20
"""The length of the longest message, those of a tracker included."""
SIZE_BYTES = 4
KEY = r"^[!-~]{1,128}$"
"""The form of a servers' key: the handshake with a server ends it at a space."""


class Code(IntEnum):
    """The codes of requests and answers, as in `tvm.rpc.base.TrackerCode`."""

    FAIL = -1
    SUCCESS = 0
    PING = 1
    STOP = 2
    PUT = 3
    REQUEST = 4
    UPDATE_INFO = 5
    SUMMARY = 6
    GET_PENDING_MATCHKEYS = 7


def packed(message: Any) -> bytes:
    """A message as it is sent."""
    data = json.dumps(message, ensure_ascii=False).encode()
    return struct.pack("<i", len(data)) + data


def size_of(head: bytes | bytearray, most: int = MOST_BYTES) -> int:
    """The length in bytes of the message that follows `head`. Raises ValueError where no message is
    as long."""
    (size,) = struct.unpack("<i", head)
    if not 0 < size <= most:
        raise ValueError(f"a message of {size} bytes")
    return int(size)


def require_key(key: str) -> None:
    """Raise InputError for an invalid key of servers."""
    if re.fullmatch(KEY, key) is None:
        raise InputError(
            f"'{key[:40]}' is no key of servers: expected 1 to 128 letters, digits and punctuation "
            "of ASCII without spaces, such as rpi4"
        )
