"""The schedules of kernels that are not tuned."""

from __future__ import annotations

from harness.compiler.api import PrimFunc, Schedule, code_kind, tvm
from harness.kernels.blocks import SCHEDULED, is_opaque, parts_for
from harness.kernels.vectors import vector_registers
from harness.schedules.default import KernelSchedule, Tiling
from harness.schedules.graphics import schedule_for_graphics
from harness.schedules.uneven import UnevenKernel, UnevenTile, multiplied_by, uneven_tiles

_WORTH_UNEVEN = 1.5
"""How many more products per load an uneven tile must have, without a measurement, than one that
divides the rows."""

_MOST_REGISTERS = 31
"""Registers that the sums and the weights of an uneven tile may fill. One is for the input that the
vectors of a tile share: without it LLVM keeps the sums on the stack."""


def schedule_untuned(module: tvm.IRModule, target: tvm.target.Target, threads: int) -> tvm.IRModule:
    """Give every kernel of a fused module that is not scheduled yet a simple schedule.

    The results differ from the unscheduled kernels' only by the order of summation. A kernel with
    dynamic shapes or of which TVM refuses every step is left untouched. `threads` is how many the
    kernels will run on. Those of a graphics processor get TVM's own.
    """
    if not code_kind(target).vectors:
        return schedule_for_graphics(module, target)
    vector_bytes, registers = vector_registers(target)
    result = module.clone()
    for variable, function in module.functions_items():
        if isinstance(function, PrimFunc) and not (function.attrs or {}).get(SCHEDULED, False):
            result.update_func(variable, _scheduled(function, vector_bytes, registers, threads))
    return result


def _scheduled(function: PrimFunc, vector_bytes: int, registers: int, threads: int) -> PrimFunc:
    if is_opaque(function):
        return function
    kernel = KernelSchedule(Schedule(function), vector_bytes, registers, threads)
    try:
        if not kernel.run():
            return function
        tile = _uneven_tile(kernel.tiling, registers, threads)
        if kernel.tiling is not None and tile is not None:
            uneven = UnevenKernel(
                Schedule(function),
                vector_bytes,
                registers,
                threads,
                tile=tile,
                channels_outside=kernel.tiling.channels > kernel.tiling.rows,
                blocks=parts_for(kernel.tiling.vectors // tile.vectors, threads),
            )
            uneven.run()
            kernel = uneven if uneven.tiled else kernel
    except (TypeError, ValueError, RuntimeError):
        # A dynamic extent, or something that has no loops to schedule.
        return function
    return kernel.schedule.mod["main"].with_attr(SCHEDULED, True)


def _uneven_tile(tiling: Tiling | None, registers: int, threads: int) -> UnevenTile | None:
    """A tile that does not divide the rows, where those that do are much worse."""
    if tiling is None:
        return None
    even = UnevenTile(tiling.tile_rows, tiling.tile_vectors)
    least = _WORTH_UNEVEN * multiplied_by(even, tiling.rows, tiling.shared)
    found = uneven_tiles(
        tiling.rows, tiling.vectors, min(registers, _MOST_REGISTERS), tiling.shared
    )
    return next(
        (
            tile
            for tile in found
            if multiplied_by(tile, tiling.rows, tiling.shared) >= least
            and tiling.vectors // tile.vectors >= threads
        ),
        None,
    )
