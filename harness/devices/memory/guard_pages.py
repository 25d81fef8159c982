"""Memory that begins or ends where nobody may read or write."""

from __future__ import annotations

import ctypes
import mmap
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

Side = Literal["before", "behind"]

SIDES: tuple[Side, ...] = ("before", "behind")
_ALIGNMENT = 64
"""Compiled code assumes that arguments begin at multiples of so many bytes. So up to 63 bytes
behind one are accessible: `is_intact` finds a write to those; a read of them is not found, and
harms nobody."""
_REGION = 1 << 28
"""Bytes of address space without access: far more than an index is off by, as a rule. They take no
memory."""
_CANARY = 0xA5
_NO_ACCESS, _NO_RESERVE = 0, 0x4000  # PROT_NONE and MAP_NORESERVE of mmap(2)
_MAP_FAILED = ctypes.c_void_p(-1).value


@dataclass(frozen=True)
class GuardedMemory:
    """Some bytes from `address` on, with an inaccessible region directly before or behind them, or
    far from any such region."""

    address: int
    size: int
    first: int
    """Where the accessible pages begin that they are in."""
    room: int
    """The size of these pages."""

    @classmethod
    def of(cls, size: int, side: Side | None) -> GuardedMemory:
        """Raises OSError where none can be had."""
        rounded = -(-size // _ALIGNMENT) * _ALIGNMENT
        room = -(-max(rounded, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        library = _library()
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
        access = mmap.PROT_READ | mmap.PROT_WRITE
        length = ctypes.c_size_t(2 * _REGION + room)
        start = library.mmap(None, length, access, flags, -1, ctypes.c_long(0))
        if start == _MAP_FAILED:
            raise OSError(ctypes.get_errno(), "no address space for guard pages")
        first = start + _REGION
        if side is not None:
            forbidden = start if side == "before" else first + room
            region = ctypes.c_void_p(forbidden), ctypes.c_size_t(_REGION)
            if library.mprotect(*region, _NO_ACCESS):
                raise OSError(ctypes.get_errno(), "memory cannot be made inaccessible")
        found = cls(first + room - rounded if side == "behind" else first, size, first, room)
        found._pages()[:] = _CANARY
        return found

    def _pages(self) -> np.ndarray:
        return np.ctypeslib.as_array((ctypes.c_uint8 * self.room).from_address(self.first))

    def holding(self, array: np.ndarray) -> np.ndarray:
        """A copy of an array of this size, here. It is valid until `release`."""
        offset = self.address - self.first
        copy = self._pages()[offset : offset + self.size].view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy

    def is_intact(self) -> bool:
        """Whether nothing was written beside these bytes in their pages."""
        pages, offset = self._pages(), self.address - self.first
        beside = (pages[:offset], pages[offset + self.size :])
        return all(bool(np.all(part == _CANARY)) for part in beside)

    def release(self) -> None:
        """Give it back to the system."""
        length = ctypes.c_size_t(2 * _REGION + self.room)
        _library().munmap(ctypes.c_void_p(self.first - _REGION), length)


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    return library
