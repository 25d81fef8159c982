"""The content of a report, in order; the page and the Markdown file differ only in form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.answers import Answer, answers
from harness.report.data import Results
from harness.report.headline import other_work, summary
from harness.report.plots import FAMILIES, Family, Picture, draw_all
from harness.report.tables import (
    PLACES,
    Table,
    accuracy_table,
    budget_table,
    discarded_table,
    environment_table,
    fusion_table,
    inferences_table,
    kernel_table,
    launch_table,
    layer_table,
    loop_table,
    loss_table,
    quantized_layer_table,
    result_tables,
    score_table,
    startup_table,
    target_tables,
    throughput_table,
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

    @property
    def filled(self) -> bool:
        return bool(self.pictures)


Section = Table | Gallery


@dataclass(frozen=True)
class Content:
    """Everything in a report. `cautions` are the lines of the summary to beware of, `choices` the
    models and targets to filter by, where there are several."""

    name: str
    summary: list[str]
    cautions: list[str]
    answers: list[Answer]
    sections: list[Section]
    choices: Mapping[str, Sequence[str]]

    @property
    def pictures(self) -> list[Picture]:
        return [
            picture
            for section in self.sections
            if isinstance(section, Gallery)
            for picture in section.pictures
        ]


def compose(results: Results) -> Content:
    """Draw the plots, make the tables, and put them in the order they are read in; those without
    content are left out."""
    pictures = draw_all(results)
    galleries = {family.name: Gallery(family, pictures[family.name]) for family in FAMILIES}
    sections: list[Section] = [
        galleries["latency"],
        *result_tables(results),
        *target_tables(results),
        unfinished_table(results),
        galleries["accuracy-latency"],
        accuracy_table(results),
        galleries["sparsity"],
        loss_table(results),
        budget_table(results),
        galleries["controls"],
        score_table(results),
        galleries["edge-map"],
        layer_table(results),
        quantized_layer_table(results),
        galleries["waterfall"],
        galleries["scaling"],
        galleries["history"],
        galleries["memory"],
        throughput_table(results),
        startup_table(results),
        inferences_table(results),
        galleries["kernels"],
        kernel_table(results),
        loop_table(results),
        launch_table(results),
        fusion_table(results),
        galleries["tuning"],
        verification_table(results),
        discarded_table(results),
        environment_table(results),
    ]
    found = answers(results)
    return Content(
        name=results.name,
        summary=summary(results, found),
        cautions=other_work(results.groups),
        answers=found,
        sections=[section for section in sections if section.filled],
        choices={name: values for name in PLACES if len(values := _values(results, name)) > 1},
    )


def _values(results: Results, name: str) -> list[str]:
    """The models or targets of a report, in the plan's order."""
    return list(dict.fromkeys(getattr(group, name) for group in results.groups))
