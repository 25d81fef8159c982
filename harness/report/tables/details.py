"""The smaller tables: kernels, verification, and cells without a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.records.accuracy import score
from harness.records.export import PENDING
from harness.records.record import Verification
from harness.report.data import Cell, Results, engine_name
from harness.report.kernel_figures import KernelFigures
from harness.report.plots.kernels import MOST_KERNELS, shown
from harness.report.tables.model import (
    Entry,
    Table,
    count,
    make_table,
    place_entries,
    quantity,
    why_missing,
)
from harness.report.wording import MISSING, share

_NAMED_LAYERS = 2
_STRAY_SHOWN = 6


def unfinished_table(results: Results) -> Table:
    """Failed, skipped and pending cells, with the reason of each."""
    rows: list[dict[str, Entry]] = []
    texts: Any = results.table.select_dtypes("string").fillna("")
    for cell in texts[texts["status"] != "ok"].to_dict(orient="records"):
        status = str(cell["status"])
        reason = "not run yet" if status == PENDING else str(cell["reason"]) or MISSING
        rows.append(
            {
                "Model": Entry(cell["model"]),
                "Target": Entry(cell["target"]),
                "Configuration": Entry(cell["configuration"]),
                "Engine": Entry(engine_name(cell["engine"])),
                "Status": Entry(status, tone="bad" if status == "failed" else "quiet"),
                "Stage": Entry(cell["stage"] or MISSING),
                "Reason": Entry(reason),
            }
        )
    return make_table(
        "unfinished",
        "Cells without a result",
        rows,
        reading="A failed cell did not finish, or is wrong. A skipped one does not apply here.",
        without=results.without,
    )


def accuracy_table(results: Results) -> Table:
    """The score of each good cell, with the metric and the number of samples."""
    rows = []
    for cell in results.cells:
        if cell.record.status != "ok":
            continue
        found = cell.record.accuracy
        rows.append(
            {
                **_names(cell),
                "Metric": Entry(found.metric if found else MISSING),
                "Accuracy": quantity(
                    found.value if found else None,
                    digits=4,
                    why_missing=why_missing(cell, "not scored"),
                )
                if cell.accuracy or not found
                else Entry(score(found.value), tone="bad"),
                "Lowest, 95 %": quantity(found.ci_low if found else None, digits=4),
                "Highest, 95 %": quantity(found.ci_high if found else None, digits=4),
                "Samples": count(found.samples) if found else Entry(MISSING),
            }
        )
    return make_table(
        "accuracy",
        "Accuracy",
        rows,
        reading="The model's own metric on labelled data, or where there is none, its agreement "
        "with the reference, under that name.",
        without=results.without,
    )


def fusion_table(results: Results) -> Table:
    """Kernels before and after fusing, and those that ought not to be there."""
    rows = []
    for cell in results.cells:
        fusion = cell.record.fusion
        if fusion is None:
            continue
        stray = ", ".join(fusion.stray[:_STRAY_SHOWN])
        if len(fusion.stray) > _STRAY_SHOWN:
            stray += f" and {len(fusion.stray) - _STRAY_SHOWN} more"
        rows.append(
            {
                **_names(cell),
                "Kernels before": count(fusion.kernels_before),
                "Kernels after": count(fusion.kernels_after),
                "Stray": Entry(
                    str(len(fusion.stray)),
                    detail=stray,
                    sort=len(fusion.stray),
                    tone="bad" if fusion.stray else "",
                ),
            }
        )
    return make_table(
        "fusion",
        "Kernels before and after fusing",
        rows,
        reading="Stray: transposes, clips, paddings and the like; fusing should leave none.",
        without=results.without,
    )


def verification_table(results: Results) -> Table:
    """Outputs of each cell against the reference runtime."""
    rows = []
    for cell in results.cells:
        found = cell.record.verification
        if found is None:
            continue
        rows.append(
            {
                **_names(cell),
                "Reference": Entry(engine_name(found.reference)),
                "Inputs": Entry(
                    str(found.inputs),
                    detail="real" if found.real_inputs else "random",
                    sort=found.inputs,
                ),
                "Largest error": quantity(found.max_abs_error),
                "Of the values around": quantity(found.max_error_of_scale),
                "Allowed": quantity(found.tolerance_of_scale),
                "Outcome": _outcome(found),
            }
        )
    return make_table(
        "verification",
        "Verification",
        rows,
        reading="The largest difference from the reference's outputs, as it is, and as a part of "
        "the size of the values around it. Where that is more than is allowed, a judge "
        "said that the network's values are not more certain: a float64 evaluation, from which the "
        "reference is as far off; or, of a compressed network that rounds to integers, runs with "
        "its values moved before they are rounded.",
        without=results.without,
    )


def _outcome(found: Verification) -> Entry:
    if not found.right:
        return Entry("wrong", tone="bad")
    if found.blame:
        return Entry("right, the reference is off", detail=found.blame, tone="good")
    return Entry("right", detail=f"says {found.judge}" if found.judge else "", tone="good")


def kernel_table(results: Results) -> Table:
    """The kernels that take longest in each model's fastest configuration."""
    rows = []
    for group in results.groups:
        cell = shown(group)
        if cell is None:
            continue
        for rank, kernel in enumerate(cell.kernels[:MOST_KERNELS], start=1):
            rows.append({**_names(cell), "#": count(rank), **_kernel(kernel)})
    return make_table(
        "slowest-kernels",
        "Kernels that take longest",
        rows,
        reading="In the fastest configuration of each model. Time is of one inference, all calls "
        "together; operations and bytes are counted from shapes, each tensor read or written once.",
        without=results.without,
    )


def _kernel(kernel: KernelFigures) -> dict[str, Entry]:
    part = kernel.part_of_roof
    return {
        "Kernel": Entry(kernel.name, detail=_layers(kernel.layers)),
        "Calls": count(kernel.calls),
        "Time, µs": quantity(kernel.total_us),
        "Share": Entry(share(kernel.share), sort=kernel.share),
        "FLOP/byte": quantity(kernel.intensity),
        "GFLOP/s": quantity(kernel.gflops),
        "GB/s": quantity(kernel.gbs),
        "Of roofline": Entry(share(part), sort=part)
        if part is not None
        else Entry(MISSING, detail="roofline not known", tone="quiet"),
    }


def _layers(names: Sequence[str]) -> str:
    """The first layers that a kernel computes, and how many more."""
    first, rest = ", ".join(names[:_NAMED_LAYERS]), len(names) - _NAMED_LAYERS
    return f"{first} and {rest} more" if rest > 0 else first


def _names(cell: Cell) -> dict[str, Entry]:
    return {
        **place_entries(cell.key.place),
        "Configuration": Entry(cell.label),
    }
