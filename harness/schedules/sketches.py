"""A design space for reductions with a contiguous output axis: convolutions and dense layers.

MetaSchedule's own space tiles such a kernel in six levels and leaves to the tuner to find out that
its accumulators should be registers. Here that is given: each task of a thread is a block of
register tiles, rows × vectors of channels, that live in registers through the whole reduction,
inside the loops of the result's reader. Sampled are the sizes of the tiles and how
the loops around them are cut; MetaSchedule's evolution and cost model work on it as on its own.

The first to be measured are not random: they are the tiles that get most multiplications out of
each vector loaded, see [GotoGeijn] for why those.

Sources
-------
[GotoGeijn]  K. Goto, R. A. van de Geijn, Anatomy of high-performance matrix multiplication,
             ACM Trans. Math. Softw. 34 (2008).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from harness.compiler.api import Schedule, code_kind, tvm
from harness.kernels.blocks import divisors, multiplied_per_load, parts_for
from harness.kernels.vectors import vector_registers
from harness.schedules.even import MOST_UNROLLED, MOST_VECTORS, EvenKernel, Plan
from harness.schedules.uneven import (
    MOST_ROWS,
    UnevenKernel,
    UnevenTile,
    multiplied_by,
    uneven_tiles,
)

_SUMS_UNDER_WAY = 8
"""How many sums keep a processor busy: two at a time, each of which takes four cycles."""
_TILES = 4
"""How many of the most promising tiles the first candidates have."""
_UNROLLED_TILES = 2
"""How many of those are tried with as many steps unrolled as there may be, too. Of tiles that
gather all are."""
_UNEVEN_TILES = 3
_MOST_PARTS = 8
"""Sums go to memory and back between the parts of a reduction: more than a few gain nothing."""
_GATHERED_BYTES = 20 * 1024
"""How much of the gathered inputs may stay in the nearest cache, of 32 KiB or more, while weights
pass through it."""
_WORTH = 1.1
"""How many more products per load an uneven tile must have than one that divides the rows."""


class Sketches:
    """The tiled design space of one kernel; empty for a kernel that it does not fit."""

    def __init__(self, module: tvm.IRModule, target: tvm.target.Target, threads: int) -> None:
        self._module = module
        self._threads = threads
        self._shape: tuple[list[int], int] | None = None
        self._uneven: list[UnevenTile] = []
        self.spaces: list[Schedule] = []
        if not code_kind(target).vectors:
            return
        self._vector_bytes, self._registers = vector_registers(target)
        built = [self._built(channels_outside, True, None) for channels_outside in (True, False)]
        self._shape = built[0].shape
        self._pads = built[0].pads
        self._gathering, self._row_bytes = built[0].gathering, built[0].row_bytes
        self._sharing = built[0].sharing
        self._length = built[0].length
        if self._pads:
            built += [self._built(outside, False, None) for outside in (True, False)]
        if self._shape:
            self.spaces = [each.schedule for each in built]
            self._uneven = self._uneven_tiles(*self._shape)
            self.spaces += self._unevenly(None)
            tiles = self._tiles(*self._shape)[:_TILES]
            if any(self._fewest_parts(math.prod(rows)) > 1 for rows, _ in tiles):
                self.spaces.append(self._built(False, True, None, in_parts=True).schedule)

    def _built(
        self,
        channels_outside: bool,
        padded_within: bool,
        plan: Plan | None,
        *,
        in_parts: bool = False,
    ) -> EvenKernel:
        kernel = EvenKernel(
            Schedule(self._module),
            self._vector_bytes,
            self._registers,
            self._threads,
            channels_outside=channels_outside,
            padded_within=padded_within,
            in_parts=in_parts,
        )
        kernel.plan = plan
        kernel.run()
        return kernel

    def _uneven_tiles(self, rows: list[int], vectors: int) -> list[UnevenTile]:
        """Tiles that need not divide the rows, where they are worth it and all threads get some.
        Kernels that load an input for every product gained nothing from other tiles."""
        if self._gathering and self._sharing == 1:
            return []
        even, wide = self._tiles(rows, vectors)[0]
        count = math.prod(rows)
        least = _WORTH * multiplied_by(UnevenTile(math.prod(even), wide), count, self._sharing)
        found = [
            tile
            for tile in uneven_tiles(count, vectors, self._registers, self._sharing)
            if multiplied_by(tile, count, self._sharing) >= least
            and vectors // tile.vectors >= self._threads
        ]
        return found[:_UNEVEN_TILES]

    def _unevenly(self, threads: int | None) -> list[Schedule]:
        """Schedules in uneven tiles, of a kernel that can have them: with blocks for so many
        threads, or for None the spaces of all numbers of blocks."""
        found = []
        for tile, channels_outside in product(self._uneven, (True, False)):
            blocks = None
            if threads is not None and self._shape is not None:
                blocks = parts_for(self._shape[1] // tile.vectors, threads)
            kernel = UnevenKernel(
                Schedule(self._module),
                self._vector_bytes,
                self._registers,
                self._threads,
                tile=tile,
                channels_outside=channels_outside,
                blocks=blocks,
            )
            kernel.run()
            if kernel.tiled:
                found.append(kernel.schedule)
        return found

    def promising(self) -> Iterator[Schedule]:
        """The schedules to try first, best guess first."""
        if self._shape is None:
            return
        yield from self._unevenly(self._threads)
        rows, vectors = self._shape
        # Larger inputs are walked once, but gathering kernels walk the inputs for each vector:
        # those of a tile's rows should stay in the nearest cache meanwhile.
        channels_outside = vectors > math.prod(rows) and not self._gathering
        for rank, tile in enumerate(self._tiles(rows, vectors)[:_TILES]):
            for plan in self._plans(rows, vectors, tile):
                for padded_within in (True, False) if self._pads else (True,):
                    yield self._built(channels_outside, padded_within, plan).schedule
                if rank < _UNROLLED_TILES or self._gathering:
                    unrolled = replace(plan, unrolled=MOST_UNROLLED)
                    yield self._built(channels_outside, True, unrolled).schedule
                parts = self._fewest_parts(math.prod(tile[0]))
                if parts > 1:
                    cut = replace(plan, parts=parts)
                    yield self._built(False, True, cut, in_parts=True).schedule

    def _fewest_parts(self, rows: int) -> int:
        """The number of parts of a reduction, such that the inputs that so many rows gather from in
        one of them stays in the nearest cache; 1 where it does so as it is, or nothing helps."""
        least = rows * self._row_bytes / _GATHERED_BYTES
        fitting = (parts for parts in divisors(self._length) if least <= parts <= _MOST_PARTS)
        return next(fitting, 1)

    def _tiles(self, rows: list[int], vectors: int) -> list[tuple[tuple[int, ...], int]]:
        """Tiles that fit the registers, those with the most products per load first."""

        def score(tile: tuple[tuple[int, ...], int]) -> tuple[float, int]:
            size, wide = math.prod(tile[0]), tile[1]
            multiplied = multiplied_per_load(size, wide, self._sharing)
            busy = min(1.0, size * wide / _SUMS_UNDER_WAY)
            return multiplied * busy, tile[0][-1] if tile[0] else 1

        choices = [[part for part in divisors(extent) if part <= MOST_ROWS] for extent in rows]
        fitting = [
            (tile, wide)
            for tile in product(*choices)
            for wide in divisors(vectors)
            # The accumulators, and the weights; the input is broadcast from memory.
            if wide <= MOST_VECTORS and (math.prod(tile) + 1) * wide <= self._registers
        ]
        return sorted(fitting, key=score, reverse=True)

    def _plans(
        self, rows: list[int], vectors: int, tile: tuple[tuple[int, ...], int]
    ) -> Iterator[Plan]:
        """Blocks for the threads along the channels, and along the outermost rows."""
        tiles = [extent // part for extent, part in zip(rows, tile[0], strict=True)]
        wide = vectors // tile[1]
        by_channels = parts_for(wide, self._threads)
        whole = tuple((1, count, part) for count, part in zip(tiles, tile[0], strict=True))
        yield Plan(whole, (by_channels, wide // by_channels, tile[1]))
        for at, count in enumerate(tiles):
            if count > 1:
                by_rows = parts_for(count, self._threads)
                cut = [*whole]
                cut[at] = (by_rows, count // by_rows, tile[0][at])
                yield Plan(tuple(cut), (1, wide, tile[1]))
                return
