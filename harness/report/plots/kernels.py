"""Time per kernel, and each kernel against its roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.data import Cell, Group
from harness.report.kernel_figures import KernelFigures, Roof
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Point, by_ratio, linear
from harness.report.plots.frame import PANEL_WIDTH, TOP, bottom_axis, left_axis, panel
from harness.report.plots.labels import Box, place
from harness.report.wording import number, share

MOST_KERNELS = 8
_ROW = 15.0
_LEFT, _RIGHT = 178.0, 300.0
_ROOF_HEIGHT = 120.0


def shown(group: Group) -> Cell | None:
    """The cell whose kernels are shown: the fastest configuration that has kernel times."""
    instrumented = [cell for cell in group.own if cell.record.kernels]
    return min(instrumented, key=lambda cell: cell.median_ms, default=None)


def draw(group: Group, colors: Mapping[str, str]) -> Canvas | None:
    """One panel, or None when no configuration of the group has kernel times."""
    cell = shown(group)
    if cell is None:
        return None
    color = colors[cell.label]
    kernels, roof = cell.kernels, cell.roof
    rows = _rows(kernels, cell)
    bottom = TOP + _ROW * len(rows) - _ROW / 2
    under_roof = [kernel for kernel in kernels[:MOST_KERNELS] if kernel.intensity and kernel.gflops]
    plotted = roof is not None and bool(under_roof)
    canvas = panel(f"{group.title}: {cell.label}", bottom + (68 + _ROOF_HEIGHT if plotted else 42))
    _draw_bars(canvas, rows, bottom, color)
    if roof is not None and plotted:
        _draw_roof(canvas, roof, under_roof, kernels, bottom + 40, color)
    else:
        note = "no roofline: the target gives no peak_gflops and memory_bandwidth_gbs"
        if roof is not None:
            note = "no roofline: no kernel has a count of its operations"
        canvas.text((8, bottom + 33), note, size=style.SMALL_SIZE, color=style.SOFT)
    return canvas


def _rows(
    kernels: Sequence[KernelFigures], cell: Cell
) -> list[tuple[str, float, KernelFigures | None]]:
    """Name, microseconds an inference, and figures, of each row."""
    rows: list[tuple[str, float, KernelFigures | None]] = [
        (f"{at}  {kernel.name}", kernel.total_us, kernel)
        for at, kernel in enumerate(kernels[:MOST_KERNELS], start=1)
    ]
    rest = kernels[MOST_KERNELS:]
    if rest:
        rows.append((f"{len(rest)} more kernels", sum(k.total_us for k in rest), None))
    if cell.record.outside_kernels_us is not None:
        rows.append(("outside kernels", cell.record.outside_kernels_us, None))
    return rows


def _draw_bars(
    canvas: Canvas,
    rows: Sequence[tuple[str, float, KernelFigures | None]],
    bottom: float,
    color: str,
) -> None:
    roofs = [kernel.roof_us for _, _, kernel in rows if kernel and kernel.roof_us is not None]
    scale = linear([time for _, time, _ in rows] + roofs, _LEFT, _RIGHT)
    bottom_axis(canvas, scale, TOP - _ROW / 2, bottom, "µs per inference", about=3)
    bars: list[tuple[float, float, float, float]] = []
    marks: list[list[Point]] = []
    for row, (name, time, kernel) in enumerate(rows):
        y = TOP + _ROW * row
        canvas.text((8, y), name, size=style.SMALL_SIZE, room=_LEFT - 16)
        bars.append((_LEFT, y - 4, scale(time), y + 4))
        said = f"{number(time)} µs"
        if kernel and kernel.calls > 1:
            said += f", {kernel.calls}×"
        canvas.text((_RIGHT + 8, y), said, size=style.SMALL_SIZE)
        if kernel and kernel.roof_us is not None and kernel.part_of_roof is not None:
            at = scale(kernel.roof_us)
            marks.append([(at, y - 6), (at, y + 6)])
            canvas.text(
                (PANEL_WIDTH - 6, y),
                share(kernel.part_of_roof),
                size=style.SMALL_SIZE,
                color=style.SOFT,
                align="right",
            )
    canvas.boxes(bars, [color if kernel else style.FAINT for _, _, kernel in rows])
    if marks:
        canvas.lines(marks, style.INK, width=1.6, layer=3)


def _draw_roof(
    canvas: Canvas,
    roof: Roof,
    kernels: Sequence[KernelFigures],
    ranked: Sequence[KernelFigures],
    top: float,
    color: str,
) -> None:
    left, right, bottom = 50.0, PANEL_WIDTH - 10, top + _ROOF_HEIGHT
    reached = [(kernel.intensity or 0.0, kernel.gflops or 0.0) for kernel in kernels]
    across = by_ratio([x for x, _ in reached] + [roof.ridge * 2], left, right)
    up = by_ratio([y for _, y in reached] + [roof.peak_gflops * 1.3], bottom, top)
    bottom_axis(canvas, across, top, bottom, "arithmetic intensity, FLOP per byte")
    left_axis(canvas, up, left, right, about=3)
    canvas.text((left - 42, top - 10), "GFLOP/s", size=style.SMALL_SIZE, color=style.SOFT)
    # The slope enters the picture at its lower edge or at its left one, whichever comes first.
    start = max(across.low, up.low / roof.bandwidth_gbs)
    knee = max(roof.ridge, start)
    slope = [(across(start), up(roof.reachable_gflops(start)))]
    level = [(across(knee), up(roof.peak_gflops)), (right, up(roof.peak_gflops))]
    canvas.lines([slope + level], style.INK, width=1.2)
    canvas.text(
        (right, top - 10),
        f"roofline: {number(roof.peak_gflops)} GFLOP/s, {number(roof.bandwidth_gbs)} GB/s",
        size=style.SMALL_SIZE,
        align="right",
    )
    points = [(across(x), up(y)) for x, y in reached]
    canvas.dots(points, color, size=6, edges=style.PAPER)
    names = [str(ranked.index(kernel) + 1) for kernel in kernels]
    bounds = Box(left, top, right, bottom)
    for name, box in zip(
        names, place(points, [(9.0, 9.0)] * len(points), bounds, clearance=4.0), strict=True
    ):
        middle = ((box.left + box.right) / 2, (box.top + box.bottom) / 2)
        canvas.text(middle, name, size=style.SMALL_SIZE, align="center")
