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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from harness.compiler.api import Schedule, code_kind, tvm
from harness.kernels.blocks import (
    calls_functions,
    divisors,
    gathered,
    loop_extent,
    multiplied_per_load,
    parts_for,
    sharing,
    vector_width,
)
from harness.kernels.vectors import vector_registers
from harness.schedules.default import NO_TILE, KernelSchedule
from harness.schedules.uneven import (
    MOST_ROWS,
    UnevenKernel,
    UnevenTile,
    multiplied_by,
    uneven_tiles,
)

_MOST_VECTORS = 8
_MOST_UNROLLED = 4
_SUMS_UNDER_WAY = 8
"""How many sums keep a processor busy: two at a time, each of which takes four cycles."""
_TILES = 4
"""How many of the most promising tiles the first candidates have."""
_UNROLLED_TILES = 2
"""How many of those are tried with as many steps unrolled as there may be, too. Of tiles that
gather all are."""
_LEVELS = 3
_UNEVEN_TILES = 3
_MOST_PARTS = 8
"""Sums go to memory and back between the parts of a reduction: more than a few gain nothing."""
_GATHERED_BYTES = 20 * 1024
"""How much of the gathered inputs may stay in the nearest cache, of 32 KiB or more, while weights
pass through it."""
_WORTH = 1.1
"""How many more products per load an uneven tile must have than one that divides the rows."""


@dataclass(frozen=True)
class _Plan:
    """How to cut the loops: for each row loop and then for the vectors of channels, how many
    blocks there are for threads, how many tiles a block has, and the tile."""

    rows: tuple[tuple[int, int, int], ...]
    vectors: tuple[int, int, int]
    unrolled: int = 1
    """How many steps of the reduction follow one another without a branch."""
    parts: int = 1
    """In how many parts the reduction is, between which a row tile's sums are in memory."""


class _TiledKernel(KernelSchedule):
    """A kernel's schedule with sampled tiles, or those of a plan."""

    def __init__(
        self,
        schedule: Schedule,
        vector_bytes: int,
        registers: int,
        threads: int,
        *,
        channels_outside: bool,
        padded_within: bool,
        in_parts: bool,
    ) -> None:
        super().__init__(schedule, vector_bytes, registers, threads)
        self._channels_outside = channels_outside
        self._in_parts = in_parts
        self._padded_within = padded_within
        self.pads = False
        """Whether there is anything to pad within the tiles' blocks."""
        self.gathering = False
        """Whether the tiles' inputs are read by an index."""
        self.sharing = 1
        """How many neighbouring vectors of channels multiply the same inputs."""
        self.row_bytes = 0
        """How much a row of the tiles may gather from."""
        self.length = 1
        """How many steps the reduction has, or its innermost loop."""
        self.plan: _Plan | None = None
        self.shape: tuple[list[int], int] | None = None
        """The extents of the row loops and the number of vectors, once a reduction was tiled."""

    def _tile(self, name: str, reader: str) -> None:
        if self.shape is not None:  # one anchor has the sampled tiles
            super()._tile(name, reader)
            return
        schedule, lanes = self.schedule, self._lanes(name)
        load = gathered(self._block(name))
        loops, extents = schedule.get_loops(reader), self._extents(reader)
        width = vector_width(extents[-1], lanes)
        shared = sharing(self._block(name), extents[-1] // width)
        vector, lane = schedule.split(loops[-1], [None, width])
        wide = [at for at, extent in enumerate(extents[:-1]) if extent > 1]
        decided = self.plan.rows if self.plan else (None,) * len(wide)
        cut = [
            self._cut(loops[at], MOST_ROWS, decision)
            for at, decision in zip(wide, decided, strict=True)
        ]
        factors = self._factors(vector, _MOST_VECTORS, self.plan.vectors if self.plan else None)
        channels = list(schedule.split(vector, factors))
        units = [loop for at, loop in enumerate(loops[:-1]) if at not in wide]
        blocks = [*units, *(each[0] for each in cut), channels[0]]
        rows = [each[1] for each in cut]
        middle = [channels[1], *rows] if self._channels_outside else [*rows, channels[1]]
        inner = [each[2] for each in cut]
        schedule.reorder(*blocks, *middle, *inner, channels[2], lane)
        place = schedule.fuse(*blocks)
        schedule.parallel(place)

        # Where the reduction is in parts, sums of all of a block's channels are kept beside.
        outside = [place, *middle[:-1]] if self._in_parts else [place, *middle]
        schedule.compute_at(name, outside[-1], preserve_unit_loops=True)
        schedule.set_scope(name, 0, "local")
        axes = schedule.get_loops(name)[len(outside) :]
        spatial = len(self._extents(name, 0))
        *tile_rows, tile_channels = axes[:spatial]
        kept = channels[1:] if self._in_parts else channels[2:]
        if loop_extent(schedule, tile_channels) != width * math.prod(
            loop_extent(schedule, each) for each in kept
        ):
            raise ValueError(NO_TILE)
        *taps, last = axes[spatial:]
        self.length = loop_extent(schedule, last)
        steps, step = self._steps(last)
        if self._in_parts:
            part, steps = self._parts(steps)
            tiles, tile_vectors, tile_lane = schedule.split(
                tile_channels, [None, factors[-1], width]
            )
            around = [*taps, part, tiles, steps]
        else:
            tile_vectors, tile_lane = schedule.split(tile_channels, [None, width])
            around = [*taps, steps]
        schedule.reorder(*around, step, *tile_rows, tile_vectors, tile_lane)
        for loop in (step, *tile_rows, tile_vectors, *inner, channels[2]):
            schedule.unroll(loop)
        schedule.vectorize(tile_lane)
        schedule.vectorize(lane)
        padding = self._padding(name)
        self._unroll_taps([*taps, steps])
        self._decompose(name, around[0])
        self.done.add(reader)
        self.pads = bool(padding)
        if load is not None:
            source, self.gathering = load.source, True
            self.row_bytes = int(source.shape[-1]) * np.dtype(str(source.dtype)).itemsize
        if self._padded_within:
            for each in padding:
                self._attempt(self._pad_within, each, place)
        self.sharing = shared
        self.shape = [extents[at] for at in wide], extents[-1] // width

    def _steps(self, loop: Any) -> list[Any]:
        """Cut a reduction's innermost loop into steps that follow one another without a branch.

        Where it is not said how many, LLVM unrolls as it likes, and keeps more in registers than
        there are: a tile of eight accumulators on AVX2 took 1.0 or 1.7 times as long, depending on
        divisors of the number of steps.
        """
        decision = None
        if self.plan:
            extent = loop_extent(self.schedule, loop)
            unrolled = math.gcd(extent // self.plan.parts, self.plan.unrolled)
            decision = [extent // unrolled, unrolled]
        factors = self.schedule.sample_perfect_tile(
            loop, 2, max_innermost_factor=_MOST_UNROLLED, decision=decision
        )
        return list(self.schedule.split(loop, factors))

    def _parts(self, loop: Any) -> list[Any]:
        """Cut a reduction in parts, each of which all vectors of channels go through before any has
        the next: the inputs of a few rows stay in the nearest cache meanwhile."""
        extent = loop_extent(self.schedule, loop)
        decision = [self.plan.parts, extent // self.plan.parts] if self.plan else None
        factors = self.schedule.sample_perfect_tile(
            loop, 2, max_innermost_factor=extent, decision=decision
        )
        return list(self.schedule.split(loop, factors))

    def _pad_within(self, name: str, place: Any) -> None:
        """Let each block of a thread pad its own inputs, instead of all threads the whole
        input before any of them begins: that wakes and awaits the threads twice."""
        self.schedule.compute_at(name, place, preserve_unit_loops=True)
        self._vectors_or_parts(self.schedule.get_loops(name)[-1], self._lanes(name))
        self.done.add(name)

    def _padding(self, name: str) -> list[str]:
        """The padding, or another block that was not inlined, with a reduction as its only
        reader."""
        block = self.schedule.get_sblock(name)
        producers = [
            self.schedule.get(each).name_hint for each in self.schedule.get_producers(block)
        ]
        return [
            producer
            for producer in producers
            if not self._is_reduction(producer)
            and not calls_functions(self._block(producer))
            and self._readers(producer) == [name]
        ]

    def _cut(self, loop: Any, most: int, decision: tuple[int, ...] | None) -> list[Any]:
        return list(self.schedule.split(loop, self._factors(loop, most, decision)))

    def _factors(self, loop: Any, most: int, decision: tuple[int, ...] | None) -> list[Any]:
        return list(
            self.schedule.sample_perfect_tile(
                loop,
                _LEVELS,
                max_innermost_factor=most,
                decision=list(decision) if decision else None,
            )
        )


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
        plan: _Plan | None,
        *,
        in_parts: bool = False,
    ) -> _TiledKernel:
        kernel = _TiledKernel(
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
                    unrolled = replace(plan, unrolled=_MOST_UNROLLED)
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
            if wide <= _MOST_VECTORS and (math.prod(tile) + 1) * wide <= self._registers
        ]
        return sorted(fitting, key=score, reverse=True)

    def _plans(
        self, rows: list[int], vectors: int, tile: tuple[tuple[int, ...], int]
    ) -> Iterator[_Plan]:
        """Blocks for the threads along the channels, and along the outermost rows."""
        tiles = [extent // part for extent, part in zip(rows, tile[0], strict=True)]
        wide = vectors // tile[1]
        by_channels = parts_for(wide, self._threads)
        whole = tuple((1, count, part) for count, part in zip(tiles, tile[0], strict=True))
        yield _Plan(whole, (by_channels, wide // by_channels, tile[1]))
        for at, count in enumerate(tiles):
            if count > 1:
                by_rows = parts_for(count, self._threads)
                cut = [*whole]
                cut[at] = (by_rows, count // by_rows, tile[0][at])
                yield _Plan(tuple(cut), (1, wide, tile[1]))
                return


def accumulators(cuts: Iterable[Sequence[int]]) -> int:
    """How many vectors a schedule of this space accumulates in, from how it cuts its loops; 1 for
    a schedule of another space."""
    return math.prod(int(cut[-1]) for cut in cuts if len(cut) == _LEVELS)
