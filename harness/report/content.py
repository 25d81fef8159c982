"""The content of a report, in order; the page and the Markdown file differ only in form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.report.data import Results
from harness.report.edge_figures import compressed
from harness.report.headline import Finding, findings, summary
from harness.report.plots import FAMILIES, Family, Picture, draw_all
from harness.report.tables import (
    Table,
    accuracy_table,
    budget_table,
    discarded_table,
    environment_table,
    fusion_table,
    kernel_table,
    launch_table,
    layer_table,
    loop_table,
    loss_table,
    quantized_layer_table,
    result_tables,
    score_table,
    target_tables,
    unfinished_table,
    verification_table,
)


@dataclass(frozen=True)
class Gallery:
    """The panels of one family of plots."""

    family: Family
    pictures: tuple[Picture, ...]

    @property
    def name(self) -> str:
        return self.family.name

    @property
    def title(self) -> str:
        return self.family.title


Section = Table | Gallery


@dataclass(frozen=True)
class Content:
    """Everything in a report."""

    name: str
    summary: list[str]
    findings: list[Finding]
    sections: list[Section]

    @property
    def pictures(self) -> list[Picture]:
        return [
            picture
            for section in self.sections
            if isinstance(section, Gallery)
            for picture in section.pictures
        ]


def compose(results: Results) -> Content:
    """Draw the plots, make the tables, and put them in the order they are read in."""
    pictures = draw_all(results)
    galleries = {family.name: Gallery(family, pictures[family.name]) for family in FAMILIES}
    sections: list[Section] = [
        galleries["latency"],
        *result_tables(results),
        *target_tables(results),
        unfinished_table(results),
        galleries["accuracy-latency"],
        accuracy_table(results),
        *_about_edges(results, galleries),
        *_about_quantization(results),
        galleries["waterfall"],
        galleries["memory"],
        galleries["kernels"],
        kernel_table(results),
        *_about_untimed_kernels(results),
        fusion_table(results),
        galleries["tuning"],
        verification_table(results),
        *_about_discarded_schedules(results),
        environment_table(results),
    ]
    found = findings(results)
    return Content(
        name=results.name,
        summary=summary(results, found),
        findings=found,
        sections=sections,
    )


def _about_untimed_kernels(results: Results) -> list[Section]:
    """Tables of single kernels for results in which none could be timed."""
    return [table for table in (loop_table(results), launch_table(results)) if table.rows]


def _about_discarded_schedules(results: Results) -> list[Section]:
    """Rejected schedules, if there are any."""
    discarded = discarded_table(results)
    return [discarded] if discarded.rows else []


def _about_quantization(results: Results) -> list[Section]:
    """Quantized layers, if there are any."""
    layers = quantized_layer_table(results)
    return [layers] if layers.rows else []


def _about_edges(results: Results, galleries: Mapping[str, Gallery]) -> list[Section]:
    """Plots and tables for results with dropped edges."""
    if not any(compressed(group) for group in results.groups):
        return []
    budgets, scores = budget_table(results), score_table(results)
    return [
        galleries["sparsity"],
        loss_table(results),
        *([budgets] if budgets.rows else []),
        galleries["controls"],
        *([scores] if scores.rows else []),
        galleries["edge-map"],
        layer_table(results),
    ]
