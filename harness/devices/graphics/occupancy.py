"""How many of a multiprocessor's threads a kernel keeps busy.

Sources
-------
[CUDA]  NVIDIA, CUDA C++ Programming Guide, "Hardware Multithreading" and "Compute Capabilities":
        registers are given to whole warps, 256 at a time, and shared memory to whole blocks.
"""

from __future__ import annotations

from harness.records.compiled_code import Launch
from harness.specs.target import Multiprocessor

_WARP = 32
_REGISTERS_AT_A_TIME = 256
_SHARED_AT_A_TIME = 128
_RESERVED_SHARED = 1024
"""The system's share of shared memory for each block, from compute capability 8.0 on; counted
for older ones too, where it makes no difference to blocks of the sizes that TVM launches."""


def occupancy(launch: Launch, threads: int, shape: Multiprocessor | None) -> float | None:
    """The share of a multiprocessor's threads that run side by side, blocks of `threads` each; 0
    where not even one block fits; None where the multiprocessor is not described."""
    if shape is None:
        return None
    warps = -(-threads // _WARP)
    registers = _up_to(launch.registers * _WARP, _REGISTERS_AT_A_TIME) * warps
    shared = _up_to(launch.shared_memory_bytes, _SHARED_AT_A_TIME) + _RESERVED_SHARED
    blocks = min(
        shape.blocks,
        shape.threads // (warps * _WARP),
        shape.registers // max(1, registers),
        1024 * shape.shared_memory_kb // shared,
    )
    return blocks * warps * _WARP / shape.threads


def _up_to(amount: int, step: int) -> int:
    return -(-amount // step) * step
