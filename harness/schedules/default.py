"""A default schedule for the CPU kernels that no tuning reached.

TVM compiles a kernel without a schedule to scalar loops on one thread, one loop nest an operator.
The schedule here is the one that a person would write first, without a search:

- operators that work element by element are computed where they are read;
- a reduction with a contiguous output axis (convolution, matrix product, pooling) is computed in
  register tiles, rows × vectors of channels, inside the loops of whatever reads it;
- a reduction along the contiguous axis (softmax, layer norm) is computed row by row, with one
  partial result a vector lane;
- everything else runs in parallel over its outer loops and is vectorised over the innermost one.

Every step is tried on a copy of the schedule: steps that TVM refuses are left out, and a kernel of
which nothing can be scheduled stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compiler.api import SBlock, Schedule, structural_map, tirx
from harness.kernels.blocks import (
    calls_functions,
    divisors,
    is_copy,
    loop_extent,
    multiplied_per_load,
    reads,
    sharing,
    variables,
    vector_width,
)
from harness.kernels.summation import is_part
from harness.passes.padding import is_masked_padding

_PARALLEL_OPERATIONS = 20_000
"""Waking threads costs microseconds: below this many (vector) operations one is quicker."""
_INLINED_READS = 64
"""Computing operators where they are read repeats them for each reader; this bounds the code."""
_SQUARE = 16
"""Rows of a square that is transposed, all of which are unrolled."""
_UNROLLED_TAPS = 5
"""Unrolling the taps of a filter's row lets neighbouring outputs share their inputs."""


@dataclass(frozen=True)
class _Tile:
    rows: int
    channels: int
    lanes: int


@dataclass(frozen=True)
class Tiling:
    """How a reduction is tiled: its rows, channels and vectors of those, those of a tile, and how
    many neighbouring vectors share the inputs that they load."""

    rows: int
    channels: int
    vectors: int
    tile_rows: int
    tile_vectors: int
    shared: int


def _depends(index: Any, variable: Any) -> bool:
    return any(variable.same_as(each) for each in variables(index))


def _varies_in_vectors(index: Any, channel: Any) -> bool:
    """Whether an index is another for channels of the same vector. It is not where it is of the
    vector alone, as those of packed weights and of gathered inputs are."""

    def of_the_first(vector: Any) -> Any:
        return tirx.const(0, str(vector.ty)) if channel.same_as(vector.a) else vector

    return _depends(structural_map(index, (tirx.FloorDiv, of_the_first)), channel)


NO_TILE = "the reader's tile is no tile of the reduction"
"""As where the reader moves channels: a tile of it would need results from all over the reduction,
and each would be computed again and again."""


class KernelSchedule:
    """One kernel's schedule as it grows. Blocks are known by name, which survives copying."""

    def __init__(self, schedule: Schedule, vector_bytes: int, registers: int, threads: int) -> None:
        self.schedule = schedule
        self.vector_bytes = vector_bytes
        self.registers = registers
        self.threads = threads
        self.done: set[str] = set()
        self.tiling: Tiling | None = None
        """The tiles of the first reduction that has some."""

    def run(self) -> bool:
        """Schedule the kernel; whether any step succeeded."""
        self._inline()
        for name in self._names():
            if self._is_reduction(name) and self._has_vector_output(name):
                self._tile_somewhere(name)
        while rows := [n for n in self._names() if n not in self.done and self._is_reduction(n)]:
            # The last block whose outer loops are the rows: one behind it may move them.
            left = [name for name in self._names() if name not in self.done]
            ends = reversed(left[left.index(rows[-1]) :])
            if not any(self._attempt(self._compute_by_rows, rows, end) for end in ends):
                break
        for name in self._names():
            if name not in self.done:
                plain = self._attempt(self._spread, name, True)
                if not plain and not self._attempt(self._spread, name, False):
                    continue
                self.done.add(name)
        return bool(self.done)

    def _attempt(self, step: Callable[..., None], *arguments: Any) -> bool:
        """Run a step; if TVM refuses a part of it, undo all of it."""
        schedule, done = self.schedule, set(self.done)
        self.schedule = schedule.copy()
        try:
            step(*arguments)
        except (RuntimeError, ValueError):
            self.schedule, self.done = schedule, done
            return False
        return True

    # The parts of a kernel

    def _names(self) -> list[str]:
        root = self.schedule.get_sblock("root")
        return [
            self.schedule.get(block).name_hint for block in self.schedule.get_child_blocks(root)
        ]

    def _block(self, name: str) -> SBlock:
        return self.schedule.get(self.schedule.get_sblock(name))

    def _readers(self, name: str) -> list[str]:
        return [self.schedule.get(reader).name_hint for reader in self.schedule.get_consumers(name)]

    def _is_reduction(self, name: str) -> bool:
        return any(axis.iter_type != 0 for axis in self._block(name).iter_vars)

    def _extents(self, name: str, kind: int | None = None) -> list[int]:
        axes = self._block(name).iter_vars
        return [int(axis.dom.extent) for axis in axes if kind in (None, int(axis.iter_type))]

    def _has_vector_output(self, name: str) -> bool:
        """Whether neighbours in the reduction's output read neighbours, or the same element."""
        block = self._block(name)
        kept = [axis.var for axis in block.iter_vars if axis.iter_type == 0]
        last = kept[-1] if kept else None
        if last is None or not all(read.region for read in block.reads):
            return False
        along = False
        for read in block.reads:
            *outer, inner = [element.min for element in read.region]
            if any(_varies_in_vectors(index, last) for index in outer):
                return False
            along = along or _depends(inner, last)
        return along

    def _lanes(self, name: str) -> int:
        dtype = self._block(name).writes[0].source.dtype
        return max(1, self.vector_bytes // max(1, np.dtype(str(dtype)).itemsize))

    # Elementwise operators

    def _inline(self) -> None:
        for name in self._names():
            if not self._is_reduction(name) and self._worth_inlining(name):
                self._attempt(self._compute_inline, name)

    def _compute_inline(self, name: str) -> None:
        self.schedule.compute_inline(name)

    def _worth_inlining(self, name: str) -> bool:
        block, readers = self._block(name), self._readers(name)
        if is_copy(block) or is_masked_padding(block):
            return True
        if calls_functions(block) and len(readers) > 1:
            return False
        if self._ends_rows(block) and any(self._moves(reader, block) for reader in readers):
            return False
        # A reduction reads an element many times, unless it sums the elements themselves up.
        size = math.prod(self._extents(name))
        if any(self._is_reduction(n) and math.prod(self._extents(n)) != size for n in readers):
            return False
        buffer = block.writes[0].source
        uses = max((reads(self._block(reader).body, buffer) for reader in readers), default=0)
        return uses * reads(block.body) <= _INLINED_READS

    def _ends_rows(self, block: SBlock) -> bool:
        """Whether a block reads results of reductions along the contiguous axis."""
        names = [
            self.schedule.get(each).name_hint
            for each in self.schedule.get_producers(self.schedule.get_sblock(block.name_hint))
        ]
        return any(self._is_reduction(n) and not self._has_vector_output(n) for n in names)

    def _moves(self, reader: str, block: SBlock) -> bool:
        """Whether neighbours in a reader read other elements of a block than neighbours."""
        axes, buffer = self._block(reader).iter_vars, block.writes[0].source
        return bool(axes) and any(
            read.source.same_as(buffer)
            and read.region
            and not _depends(read.region[-1].min, axes[-1].var)
            for read in self._block(reader).reads
        )

    # Reductions with a contiguous output axis

    def _tile_somewhere(self, name: str) -> None:
        """Tile inside the reader's loops if it reads each result once, else inside a copy's."""
        readers = self._readers(name)
        size = math.prod(self._extents(name, 0))
        if len(readers) == 1 and readers[0] not in self.done:
            reader = readers[0]
            fits = not self._is_reduction(reader) and math.prod(self._extents(reader)) == size
            if fits and self._attempt(self._tile, name, reader):
                return

        self._attempt(self._tile_beside, name)

    def _tile_beside(self, name: str) -> None:
        copy = self.schedule.get(self.schedule.cache_write(name, 0, "global")).name_hint
        self._tile(name, copy)

    def _tile(self, name: str, reader: str) -> None:
        schedule, lanes = self.schedule, self._lanes(name)
        costly = calls_functions(self._block(name)) or calls_functions(self._block(reader))
        work = math.prod(self._extents(name)) // (1 if costly else lanes)
        loops = schedule.get_loops(reader)
        extents = self._extents(reader)
        wide = [index for index, extent in enumerate(extents[:-1]) if extent > 1]
        row = wide[-1] if wide else None
        parts = self.threads if work >= _PARALLEL_OPERATIONS else 1
        length = 1 if row is None else extents[row]
        shared = sharing(self._block(name), extents[-1] // vector_width(extents[-1], lanes))
        tile = self._choose(length, extents[-1], lanes, parts, shared)
        width = vector_width(extents[-1], lanes)
        tiling = Tiling(
            rows=math.prod(extents[:-1]),
            channels=extents[-1],
            vectors=extents[-1] // width,
            tile_rows=tile.rows,
            tile_vectors=max(1, tile.channels // width),  # of fewer channels than lanes: a part
            shared=shared,
        )
        column_outer, column = schedule.split(loops[-1], [None, tile.channels])
        outer, inner = loops[:-1], []
        if row is not None:
            outer[row], row_inner = schedule.split(loops[row], [None, tile.rows])
            inner.append(row_inner)
        schedule.reorder(*outer, column_outer, *inner, column)
        # The larger operand should be walked once: weights when there are more channels than rows.
        if extents[-1] > math.prod(extents[:-1]):
            schedule.reorder(column_outer, *outer)
            outer = [column_outer, *outer]
        else:
            outer = [*outer, column_outer]
        place = schedule.fuse(*outer)
        self._parallel(place, work)

        schedule.compute_at(name, place, preserve_unit_loops=True)
        schedule.set_scope(name, 0, "local")
        axes = schedule.get_loops(name)[1:]
        spatial = len(self._extents(name, 0))
        *rows, channels = axes[:spatial]
        taps = axes[spatial:]
        sizes = [loop_extent(schedule, loop) for loop in rows]
        if loop_extent(schedule, channels) != tile.channels or math.prod(sizes) != tile.rows:
            raise ValueError(NO_TILE)
        vectors = self._vectors(channels, tile.lanes)
        schedule.reorder(*taps, *rows, *vectors)
        for loop in (*rows, *vectors[:-1], *inner, *self._vectors(column, tile.lanes)[:-1]):
            schedule.unroll(loop)
        self._unroll_taps(taps)
        self._decompose(name, taps[0])
        self.done.add(reader)
        self.tiling = self.tiling or tiling

    def _decompose(self, name: str, tap: Any) -> None:
        self.schedule.decompose_reduction(name, tap)
        self.done |= {name, f"{name}_init", f"{name}_update"}

    def _unroll_taps(self, taps: list[Any]) -> None:
        extents = [loop_extent(self.schedule, loop) for loop in taps]
        # Depthwise: rows of taps over one channel. With more channels it would only be more code.
        if len(taps) == 3 and extents[1] <= _UNROLLED_TAPS and extents[2] == 1:
            self.schedule.unroll(taps[1])

    def _vectors(self, loop: Any, lanes: int) -> list[Any]:
        """Split a loop into vectors of `lanes`, the last of the returned loops being vectorised."""
        extent = loop_extent(self.schedule, loop)
        width = vector_width(extent, lanes)
        loops = self.schedule.split(loop, [None, width]) if width < extent else [loop]
        if loop_extent(self.schedule, loops[-1]) > 1:
            self.schedule.vectorize(loops[-1])
        return list(loops)

    def _choose(self, rows: int, channels: int, lanes: int, parts: int, shared: int) -> _Tile:
        """The tile that gets most multiplications from each vector loaded, within the registers.

        There should be `parts` tiles at least, for as many threads. So many neighbouring vectors of
        channels read the same inputs as are `shared`.
        """

        def score(tile: tuple[int, int]) -> tuple[int, float]:
            vectors = tile[1] // vector_width(tile[1], lanes)
            pieces = rows * channels // (tile[0] * tile[1])
            multiplied = multiplied_per_load(tile[0], vectors, shared)
            return min(pieces, parts), multiplied * tile[1] / (lanes * vectors)

        budget = self.registers * 3 // 4
        fits = [
            (r, c)
            for r in divisors(rows)
            for c in divisors(channels)
            if r <= 16 and r * c <= budget * vector_width(c, lanes)
        ]
        best = max(fits, key=score)
        return _Tile(*best, lanes)

    # Reductions along the contiguous axis

    def _compute_by_rows(self, reductions: list[str], last: str) -> None:
        """Compute reductions, and all blocks up to the last, row by row of that one."""
        schedule = self.schedule
        count = math.prod(self._extents(reductions[-1], 0))
        partial = [self._split_by_lanes(name) for name in reductions]
        if self._is_reduction(last):
            last = schedule.get(schedule.cache_write(last, 0, "global")).name_hint
        loops, extents = schedule.get_loops(last), self._extents(last)
        depths = [d for d in range(1, len(extents) + 1) if math.prod(extents[:d]) == count]
        if not depths:
            raise ValueError("the result's outer loops are not the rows")
        depth = depths[-1]
        row = schedule.fuse(*loops[:depth])
        work = sum(math.prod(self._extents(name)) for name in self._names())
        self._parallel(row, work)
        names = [name for name in self._names() if name not in self.done]
        names = names[: names.index(last) + 1]
        for name in reversed(names[:-1]):
            schedule.compute_at(name, row, preserve_unit_loops=True)
            steps = math.prod(loop_extent(schedule, loop) for loop in schedule.get_loops(name))
            if steps > math.prod(self._extents(name)):
                raise ValueError("each row would compute results of others again")
        for name in names:
            if not self._is_reduction(name) and len(schedule.get_loops(name)) > 1:
                self._vectors_or_parts(schedule.get_loops(name)[-1], self._lanes(name))
            elif name in partial:
                axes = self._block(name).iter_vars
                inside = list(zip(axes, schedule.get_loops(name)[1:], strict=True))
                taps = [loop for axis, loop in inside if axis.iter_type != 0]
                lane = self._block(name).writes[0].region[-1].min
                (vector,) = (loop for axis, loop in inside if axis.var.same_as(lane))
                schedule.reorder(*taps, vector)
                schedule.vectorize(vector)
                self._decompose(name, taps[0])
        self.done |= set(names)

    def _split_by_lanes(self, name: str) -> str | None:
        """Reduce into one partial result a vector lane; the name of the block that does it."""
        if is_part(self._block(name)):
            return name
        schedule, lanes = self.schedule, self._lanes(name)
        tap = schedule.get_loops(name)[-1]
        extent = loop_extent(schedule, tap)
        if extent % lanes or extent == lanes or len(self._extents(name, 2)) > 1:
            return None
        _, lane = schedule.split(tap, [None, lanes])
        return str(schedule.get(schedule.rfactor(lane, len(self._extents(name, 0)))).name_hint)

    # Everything else

    def _spread(self, name: str, vectorise: bool) -> None:
        """Parallel over the outer loops and vectorised over the innermost spatial one."""
        schedule, extents = self.schedule, self._extents(name, 0)
        loops = schedule.get_loops(name)[: len(extents)]
        if not loops:
            return
        wide = [index for index, extent in enumerate(extents) if extent > 1]
        inner = wide[-1] if wide else 0
        moved = self._moved_axis(self._block(name))
        if vectorise and moved is not None:
            self._transpose(name, moved, inner)
            return
        if vectorise and not self._is_reduction(name) and wide:
            outer, _ = self._vectors_or_parts(loops[inner], self._lanes(name))
            loops[inner] = outer
        # Data movement is bound by memory, so that vectors save less.
        work = math.prod(self._extents(name)) // (1 if calls_functions(self._block(name)) else 4)
        self._parallel(schedule.fuse(*loops[: inner + 1]), work)

    def _moved_axis(self, block: SBlock) -> int | None:
        """The axis of a block along which neighbours are read, where it is not the one along which
        they are written, and both are long."""
        axes, (read, *others) = block.iter_vars, block.reads or [None]
        if read is None or others or not read.region or any(axis.iter_type for axis in axes):
            return None
        last = read.region[-1].min
        found = [at for at, axis in enumerate(axes) if axis.var.same_as(last)]
        wide = [at for at, axis in enumerate(axes) if int(axis.dom.extent) > 1]
        if not found or not wide or found[0] == wide[-1]:
            return None
        lengths = [int(axes[at].dom.extent) for at in (found[0], wide[-1])]
        return found[0] if min(lengths) >= self._lanes(block.name_hint) else None

    def _transpose(self, name: str, moved: int, inner: int) -> None:
        """Move squares, as wide as a vector: a cache line that is read is read once."""
        schedule, lanes = self.schedule, min(_SQUARE, self._lanes(name))
        loops = schedule.get_loops(name)
        line, part = schedule.split(loops[moved], [None, lanes])
        outer = [*loops[:moved], line, *loops[moved + 1 : inner]]
        width = vector_width(loop_extent(schedule, loops[inner]), lanes)
        if width > 1:
            column, vector = schedule.split(loops[inner], [None, width])
            schedule.reorder(*outer, column, part, vector)
            schedule.unroll(part)
            schedule.vectorize(vector)
        else:
            schedule.reorder(*outer, loops[inner], part)
        work = math.prod(self._extents(name)) // (4 if width > 1 else 1)
        self._parallel(schedule.fuse(*outer), work)

    def _vectors_or_parts(self, loop: Any, lanes: int) -> list[Any]:
        """Split a loop in two, the inner one vectorised: of `lanes`, or of a divisor of the
        extent."""
        extent = loop_extent(self.schedule, loop)
        width = max(part for part in divisors(extent) if part <= max(lanes, 1))
        if width * 2 <= lanes and extent <= 4 * lanes:
            width = extent
        outer, inner = self.schedule.split(loop, [None, width])
        if width > 1:
            self.schedule.vectorize(inner)
        return [outer, inner]

    def _parallel(self, loop: Any, operations: int) -> None:
        if self.threads > 1 and operations >= _PARALLEL_OPERATIONS:
            self.schedule.parallel(loop)
