"""A reduction in register tiles that divide its loops, inside the loops of the result's reader.

`harness.schedules.uneven` has tiles that need not divide the rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compiler.api import Schedule
from harness.kernels.blocks import (
    calls_functions,
    gathered,
    loop_extent,
    sharing,
    vector_width,
)
from harness.schedules.default import NO_TILE, KernelSchedule
from harness.schedules.uneven import MOST_ROWS

MOST_VECTORS = 8
MOST_UNROLLED = 4
_LEVELS = 3


@dataclass(frozen=True)
class Plan:
    """How to cut the loops: for each row loop and then for the vectors of channels, how many
    blocks there are for threads, how many tiles a block has, and the tile."""

    rows: tuple[tuple[int, int, int], ...]
    vectors: tuple[int, int, int]
    unrolled: int = 1
    """How many steps of the reduction follow one another without a branch."""
    parts: int = 1
    """In how many parts the reduction is, between which a row tile's sums are in memory."""


@dataclass(frozen=True)
class _Cut:
    """The loops of a reader: the blocks of threads, those within a block around a tile, the
    channels' blocks, tiles and vectors, and those of a tile. It has `vectors` of `width` lanes."""

    place: Any
    middle: list[Any]
    channels: list[Any]
    tile: list[Any]
    lane: Any
    vectors: Any
    width: int


class EvenKernel(KernelSchedule):
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
        self.plan: Plan | None = None
        self.shape: tuple[list[int], int] | None = None
        """The extents of the row loops and the number of vectors, once a reduction was tiled."""

    def _tile(self, name: str, reader: str) -> None:
        if self.shape is not None:  # one anchor has the sampled tiles
            super()._tile(name, reader)
            return
        load = gathered(self._block(name))
        extents = self._extents(reader)
        width = vector_width(extents[-1], self._lanes(name))
        shared = sharing(self._block(name), extents[-1] // width)
        padding = self._padding(name)
        cut = self._cut_reader(reader, width)
        self._reduce_within(name, cut)
        self.done.add(reader)
        self.pads = bool(padding)
        if load is not None:
            source, self.gathering = load.source, True
            self.row_bytes = int(source.shape[-1]) * np.dtype(str(source.dtype)).itemsize
        if self._padded_within:
            for each in padding:
                self._attempt(self._pad_within, each, cut.place)
        self.sharing = shared
        rows = [extent for extent in extents[:-1] if extent > 1]
        self.shape = rows, extents[-1] // width

    def _cut_reader(self, reader: str, width: int) -> _Cut:
        """Cut the loops of the result's reader into a thread's blocks, tiles, and a tile."""
        schedule, loops = self.schedule, self.schedule.get_loops(reader)
        extents = self._extents(reader)
        vector, lane = schedule.split(loops[-1], [None, width])
        wide = [at for at, extent in enumerate(extents[:-1]) if extent > 1]
        decided = self.plan.rows if self.plan else (None,) * len(wide)
        cut = [
            schedule.split(loops[at], self._factors(loops[at], MOST_ROWS, decision))
            for at, decision in zip(wide, decided, strict=True)
        ]
        factors = self._factors(vector, MOST_VECTORS, self.plan.vectors if self.plan else None)
        channels = list(schedule.split(vector, factors))
        units = [loop for at, loop in enumerate(loops[:-1]) if at not in wide]
        blocks = [*units, *(each[0] for each in cut), channels[0]]
        rows = [each[1] for each in cut]
        middle = [channels[1], *rows] if self._channels_outside else [*rows, channels[1]]
        inner = [each[2] for each in cut]
        schedule.reorder(*blocks, *middle, *inner, channels[2], lane)
        place = schedule.fuse(*blocks)
        schedule.parallel(place)
        return _Cut(place, middle, channels, [*inner, channels[2]], lane, factors[-1], width)

    def _reduce_within(self, name: str, cut: _Cut) -> None:
        """Compute the sums of a tile where its reader needs them, in registers."""
        schedule = self.schedule
        # Where the reduction is in parts, sums of all of a block's channels are kept beside.
        outside = [cut.place, *(cut.middle[:-1] if self._in_parts else cut.middle)]
        schedule.compute_at(name, outside[-1], preserve_unit_loops=True)
        schedule.set_scope(name, 0, "local")
        axes = schedule.get_loops(name)[len(outside) :]
        spatial = len(self._extents(name, 0))
        *tile_rows, tile_channels = axes[:spatial]
        kept = cut.channels[1:] if self._in_parts else cut.channels[2:]
        if loop_extent(schedule, tile_channels) != cut.width * math.prod(
            loop_extent(schedule, each) for each in kept
        ):
            raise ValueError(NO_TILE)
        *taps, last = axes[spatial:]
        self.length = loop_extent(schedule, last)
        steps, step = self._steps(last)
        if self._in_parts:
            part, steps = self._parts(steps)
            tiles, tile_vectors, tile_lane = schedule.split(
                tile_channels, [None, cut.vectors, cut.width]
            )
            around = [*taps, part, tiles, steps]
        else:
            tile_vectors, tile_lane = schedule.split(tile_channels, [None, cut.width])
            around = [*taps, steps]
        schedule.reorder(*around, step, *tile_rows, tile_vectors, tile_lane)
        for loop in (step, *tile_rows, tile_vectors, *cut.tile):
            schedule.unroll(loop)
        schedule.vectorize(tile_lane)
        schedule.vectorize(cut.lane)
        self._unroll_taps([*taps, steps])
        self._decompose(name, around[0])

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
            loop, 2, max_innermost_factor=MOST_UNROLLED, decision=decision
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

    def _factors(self, loop: Any, most: int, decision: tuple[int, ...] | None) -> list[Any]:
        return list(
            self.schedule.sample_perfect_tile(
                loop,
                _LEVELS,
                max_innermost_factor=most,
                decision=list(decision) if decision else None,
            )
        )


def accumulators(cuts: Iterable[Sequence[int]]) -> int:
    """How many vectors a schedule of this space accumulates in, from how it cuts its loops; 1 for
    a schedule of another space."""
    return math.prod(int(cut[-1]) for cut in cuts if len(cut) == _LEVELS)
