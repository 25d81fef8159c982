"""The plots of a report: a family for each question, a panel for each model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.report.data import Group, Results
from harness.report.plots import (
    kernels,
    latency,
    memory,
    pareto,
    sparsity,
    style,
    tuning,
    waterfall,
)
from harness.report.plots.canvas import Canvas


@dataclass(frozen=True)
class Family:
    """One kind of plot: the question it answers, how to read it, and how its panels are drawn."""

    name: str
    title: str
    reading: str
    absent: str
    draw: Callable[[Group, Mapping[str, str]], Canvas | None]


@dataclass(frozen=True)
class Picture:
    """One drawn panel; `width` and `height` are in points."""

    file: str
    alt: str
    png: bytes
    width: float
    height: float


FAMILIES = (
    Family(
        "latency",
        "Latency",
        "Dot: median, with its 95 % interval as a bar and its figures at the right, in ms. Upright "
        "mark: 90th percentile. Faint dots: raw samples. Dashed: ONNX Runtime.",
        "No cell has a measured latency.",
        latency.draw,
    ),
    Family(
        "accuracy-latency",
        "Accuracy against latency",
        "Better is up and to the left. Bars are 95 % intervals. The grey stair is the Pareto "
        "front; a hollow mark is beaten on both counts by another. Diamonds: other engines.",
        "No cell has both a measured latency and an accuracy.",
        pareto.draw,
    ),
    Family(
        "sparsity",
        "What dropping edges costs and gains",
        "Above: accuracy. Below: how many times as fast as the same configuration with all its "
        "edges, measured in turns. Bars are 95 % intervals.",
        "No configuration drops edges.",
        sparsity.draw,
    ),
    Family(
        "waterfall",
        "What each step gained or lost",
        "Each configuration against the one above it, in the plan's order. Empty: time saved. "
        "Hatched: time lost. ≈: no difference by the test. †: not measured in turns.",
        "No model has two configurations with a measured latency.",
        waterfall.draw,
    ),
    Family(
        "memory",
        "Memory",
        "In MB of 10⁶ bytes; each column has its own scale. Peak resident is of a process that "
        "only runs the model.",
        "No cell has memory figures.",
        memory.draw,
    ),
    Family(
        "kernels",
        "Time per kernel and its roofline",
        "The fastest configuration of each model. Upright mark: the least time the hardware's "
        "roof allows; at the right, that as a part of the time taken. Numbers name the same "
        "kernels below, where the line is the roof.",
        "No configuration has kernel times.",
        kernels.draw,
    ),
    Family(
        "tuning",
        "Tuning",
        "Sum of the best times found so far for the model's kernels, from when each has one.",
        "No configuration was tuned.",
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
            pictures.append(
                Picture(
                    # The number keeps apart names that differ only in what a file name cannot hold.
                    file=f"{family.name}-{at:02d}-{name}.png",
                    alt=f"{family.title}: {group.title}",
                    png=canvas.png(),
                    width=canvas.width,
                    height=canvas.height,
                )
            )
    return tuple(pictures)
