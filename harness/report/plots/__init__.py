"""The plots of a report: a family for each question, a panel for each model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.report.data import Group, Results
from harness.report.plots import (
    controls,
    edge_map,
    history,
    kernels,
    latency,
    memory,
    pareto,
    scaling,
    sparsity,
    style,
    tuning,
    waterfall,
)
from harness.report.plots.canvas import Canvas
from harness.report.plots.frame import PANEL_WIDTH
from harness.report.wording import WITHIN


@dataclass(frozen=True)
class Family:
    """One kind of plot: the question it answers, how to read it, and how its panels are drawn;
    `over_runs` where one is of several folders, and so of several targets."""

    name: str
    title: str
    reading: str
    draw: Callable[[Group, Mapping[str, str]], Canvas | None]
    over_runs: bool = False


@dataclass(frozen=True)
class Picture:
    """One drawn panel, of one `model` on one `target` (empty: on several), as a file and as an
    element of a page; `width` and `height` are in points. `alt` has its words and figures."""

    model: str
    target: str
    file: str
    alt: str
    png: bytes
    svg: str
    width: float
    height: float

    @property
    def wide(self) -> bool:
        """Whether it needs more than a column of the page."""
        return self.width > PANEL_WIDTH


FAMILIES = (
    Family(
        "latency",
        "Latency",
        "Dot: median, with its 95 % interval as a bar and its figures at the right, in ms. Upright "
        "mark: 90th percentile. Faint dots: raw samples. Dashed: the reference engine.",
        latency.draw,
    ),
    Family(
        "accuracy-latency",
        "Accuracy against latency",
        "Better is up and to the left. Bars are 95 % intervals. The grey stair is the Pareto "
        "front; a hollow mark is beaten on both counts by another. Diamonds: other engines. ▼: an "
        "accuracy below the axis. Of "
        f"more than {pareto.MOST_NAMED} points the front, other engines and the most accurate have "
        "names.",
        pareto.draw,
    ),
    Family(
        "sparsity",
        "What dropping edges costs and gains",
        "Above: accuracy. Below: how many times as fast as the same configuration with all its "
        "edges, measured interleaved. Bars and bands are 95 % intervals. Break-even is the share "
        "of edges from which the line stays above 1; in brackets, the same for the ends of the "
        "interval. <: below the smallest share measured. >: above the largest.",
        sparsity.draw,
    ),
    Family(
        "controls",
        "Scores against chance",
        "Diamonds: controls, whose edges were chosen at random, or are as many of each layer but "
        "others (shuffled). Grey: the span of their intervals. ▲ a score is more accurate than "
        "each of them, ▼ less than each, ≈ neither, by the 95 % interval of the difference: of "
        "samples drawn again in pairs where the metric is a share of samples that hit, and "
        "elsewhere by whether the two intervals are apart. A score stands beside controls that had "
        "the same steps, such as reconstruction.",
        controls.draw,
    ),
    Family(
        "edge-map",
        "Where edges were dropped",
        "A row a configuration, a column a layer in the network's order: the share of its edges "
        "that is left, and at the right that of all layers together. Bars: the layer's share of "
        "the FLOPs of all layers, with all edges.",
        edge_map.draw,
    ),
    Family(
        "waterfall",
        "What each step gained or lost",
        "Each configuration against the one that it extends by a step. Empty: time saved. "
        f"Hatched: time lost. ≈: no difference, shown to within {WITHIN}. ?: undecided. "
        "†: not measured interleaved.",
        waterfall.draw,
    ),
    Family(
        "scaling",
        "Scaling",
        "Medians with their 95 % intervals, and below them the rates that follow: batch over "
        "latency, or what the streams give together.",
        scaling.draw,
    ),
    Family(
        "history",
        "History",
        "The same cells in each folder, by the time at which they were measured: medians with "
        "their 95 % intervals. They were not interleaved: a step that all lines take together is "
        "the machine's.",
        history.draw,
        over_runs=True,
    ),
    Family(
        "memory",
        "Memory",
        "In MB of 10⁶ bytes; each column has its own scale. Peak resident is of a process that "
        "only runs the model.",
        memory.draw,
    ),
    Family(
        "kernels",
        "Time per kernel and its roofline",
        "The fastest configuration of each model. Upright mark: the least time that the "
        "hardware's roofline allows; at the right, that time divided by the measured time: above "
        "100 % data come from caches, or are bytes, of which more are multiplied than floats. "
        "Kernels are timed one by one, which makes their sum exceed the network's time.",
        kernels.draw,
    ),
    Family(
        "tuning",
        "Tuning",
        "Sum of the best times found so far for the model's kernels, from when each has one.",
        tuning.draw,
    ),
)


def draw_all(results: Results) -> dict[str, tuple[Picture, ...]]:
    """The panels of every family, by the family's name."""
    colors = style.colors(
        (cell.label for cell in results.cells if cell.own),
        (cell.label for cell in results.cells if not cell.own),
    )
    return {family.name: _panels(family, results, colors) for family in FAMILIES}


def _panels(family: Family, results: Results, colors: Mapping[str, str]) -> tuple[Picture, ...]:
    pictures = []
    for at, group in enumerate(results.groups, start=1):
        canvas = family.draw(group, colors)
        if canvas is not None:
            name = re.sub(r"[^A-Za-z0-9.]+", "-", group.title).strip("-.")[:60]
            # The number tells apart names that differ only in characters that a file cannot have.
            stem = f"{family.name}-{at:02d}-{name}"
            pictures.append(
                Picture(
                    model=group.model,
                    target="" if family.over_runs else group.target,
                    file=f"{stem}.png",
                    alt=f"{family.title}: {canvas.described()}",
                    png=canvas.png(),
                    svg=canvas.svg(stem),
                    width=canvas.width,
                    height=canvas.height,
                )
            )
    return tuple(pictures)
