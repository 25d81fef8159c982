"""A design space for products of rows that nothing divides well: the last tile is a short one.

The tiles of `harness.schedules.even` divide the loops that they cut. Of the 7 × 7 places of a
convolution's last layers that leaves tiles of 1 or 7 rows, and neither has many products for each
vector that it loads where there are 16 registers. Here all rows are one loop: tiles reach from one
row of an image into the next, and the rest is a smaller tile. The loop over the tiles is not cut
further: so TVM takes the last one out of it, and does not ask of the others whether they are whole.
For the same reason steps of the reduction are not unrolled: tiles that are asked took twice as
long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from harness.compiler.api import Schedule, tirx
from harness.kernels.blocks import (
    divisors,
    loop_extent,
    multiplied_per_load,
    variables,
    vector_width,
)
from harness.schedules.default import NO_TILE, KernelSchedule

MOST_ROWS = 16


@dataclass(frozen=True)
class UnevenTile:
    """Rows of a tile and vectors of channels; the rows need not divide those of the kernel."""

    rows: int
    vectors: int


class UnevenKernel(KernelSchedule):
    """A kernel's schedule in tiles of one size; sampled is how many blocks of channels there are
    for threads, unless `blocks` says it."""

    def __init__(
        self,
        schedule: Schedule,
        vector_bytes: int,
        registers: int,
        threads: int,
        *,
        tile: UnevenTile,
        channels_outside: bool,
        blocks: int | None = None,
    ) -> None:
        super().__init__(schedule, vector_bytes, registers, threads)
        self._tile_size = tile
        self._channels_outside = channels_outside
        self._blocks = blocks
        self.tiled = False

    def _tile(self, name: str, reader: str) -> None:
        schedule = self.schedule
        lanes = self._lanes(name)
        row_axes, row, channel = self._one_row_loop(name, reader)
        channels = self._extents(reader)[-1]
        width = vector_width(channels, lanes)
        groups = channels // (width * self._tile_size.vectors)
        # TVM ends the process for a sampled cut that divides nothing.
        if groups * width * self._tile_size.vectors != channels or groups % (self._blocks or 1):
            raise ValueError(NO_TILE)
        vector, lane = schedule.split(channel, [None, width])
        tile, inner = schedule.split(row, [None, self._tile_size.rows])
        group, inner_vector = schedule.split(vector, [None, self._tile_size.vectors])
        decision = self._decided(group)
        block, middle = schedule.split(
            group, schedule.sample_perfect_tile(group, 2, decision=decision)
        )
        between = [middle, tile] if self._channels_outside else [tile, middle]
        schedule.reorder(block, *between, inner, inner_vector, lane)
        schedule.parallel(block)

        schedule.compute_at(name, between[-1], preserve_unit_loops=True)
        schedule.set_scope(name, 0, "local")
        inside = schedule.get_loops(name)[3:]
        tile_row = self._fused(inside[:row_axes])
        tile_channel, *taps = inside[row_axes:]
        if loop_extent(schedule, tile_channel) != self._tile_size.vectors * width:
            raise ValueError(NO_TILE)
        tile_vector, tile_lane = schedule.split(tile_channel, [None, width])
        schedule.reorder(*taps, tile_row, tile_vector, tile_lane)
        for loop in (tile_row, tile_vector, inner, inner_vector):
            schedule.unroll(loop)
        schedule.vectorize(tile_lane)
        schedule.vectorize(lane)
        self._decompose(name, taps[0])
        self.done.add(reader)
        self.tiled = True

    def _decided(self, group: Any) -> list[int] | None:
        if self._blocks is None:
            return None
        return [self._blocks, int(self.schedule.get(group).extent) // self._blocks]

    def _one_row_loop(self, name: str, reader: str) -> tuple[int, Any, Any]:
        """How many axes the reduction has its rows in then, and the loops of the reader over all
        rows, as one, and over the channels. Raises ValueError
        where rows are along several axes and a reduction reads anything for one that does not lie
        in the same place, or where it has its rows in other axes than the reader."""
        rows = self._extents(reader)[:-1]
        if not rows or len(self._extents(name, 0)) != len(rows) + 1:
            raise ValueError("the reader has other axes than the reduction")
        if sum(extent > 1 for extent in rows) <= 1:
            *outer, channel = self.schedule.get_loops(reader)
            return len(rows), self._fused(outer), channel
        self._require_product(name, rows)
        self.schedule.transform_layout(name, ("write", 0), self._flattening(reader, rows))
        for each in (name, reader):
            self.schedule.transform_block_layout(each, self._flattening(each, rows))
        row, channel = self.schedule.get_loops(reader)
        return 1, row, channel

    def _fused(self, loops: list[Any]) -> Any:
        return self.schedule.fuse(*loops) if len(loops) > 1 else loops[0]

    def _flattening(self, name: str, rows: list[int]) -> tirx.IndexMap:
        """An index map that joins the rows, the first axes of a block, into one axis, and keeps the
        others."""

        def flat(*axes: Any) -> tuple[Any, ...]:
            place = axes[0]
            for axis, extent in zip(axes[1:], rows[1:], strict=False):
                place = place * extent + axis
            return place, *axes[len(rows) :]

        axes = self._block(name).iter_vars
        return tirx.IndexMap.from_func(flat, len(axes), index_dtype=str(axes[0].var.ty))

    def _require_product(self, name: str, rows: list[int]) -> None:
        block = self._block(name)
        kept = self._extents(name, 0)[:-1]
        wide = [axis.var for axis, extent in zip(block.iter_vars, kept, strict=False) if extent > 1]
        data = [
            read.source
            for read in block.reads
            if any(
                variable.same_as(axis)
                for element in read.region
                for variable in variables(element.min)
                for axis in wide
            )
        ]
        one_place = math.prod(self._extents(name, 2)[:-1]) == 1
        shapes = [[int(extent) for extent in buffer.shape[:-1]] for buffer in data]
        if kept != rows or shapes != [rows] or not one_place:
            raise ValueError("not a product of rows with an operand that all of them share")


def uneven_tiles(rows: int, vectors: int, registers: int, sharing: int) -> list[UnevenTile]:
    """Tiles that fit the registers, those with the most products per load first; so many
    neighbouring vectors of channels are `sharing` their inputs."""
    fitting = [
        UnevenTile(size, wide)
        for wide in divisors(vectors)
        for size in range(2, min(rows, MOST_ROWS) + 1)
        if (size + 1) * wide <= registers
    ]
    return sorted(fitting, key=lambda tile: -multiplied_by(tile, rows, sharing))


def multiplied_by(tile: UnevenTile, rows: int, sharing: int) -> float:
    """How many multiplications of vectors that are of use a tile makes for each load."""
    used = rows / (tile.rows * math.ceil(rows / tile.rows))
    return used * multiplied_per_load(tile.rows, tile.vectors, sharing)
