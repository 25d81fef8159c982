"""Where dropping edges lost: no faster, less accurate, or with kernels slower than dense ones."""

from __future__ import annotations

from collections.abc import Iterator

from harness.records.accuracy import gain, score
from harness.report.data import Cell, Group, Results
from harness.report.edge_figures import (
    accuracy_of,
    compressed,
    dense_of,
    dropped,
    is_control,
)
from harness.report.kernel_figures import thinned_kernels
from harness.report.tables.model import Entry, Table, Tone, make_table, place_entries, verdict_entry
from harness.report.wording import number, with_interval
from harness.statistics.verdicts import MINIMUM_EFFECT

_NAMED = 4
"""How many slower kernels of a configuration are named."""


def loss_table(results: Results) -> Table:
    """A row for each thing that a compressed configuration lost against its dense one."""
    rows = [
        {
            **place_entries(group.place),
            "Configuration": Entry(cell.label, detail=_said_of(cell)),
            **loss,
        }
        for group in results.groups
        for cell in compressed(group)
        for loss in _losses(cell, group)
    ]
    return make_table(
        "losses",
        "Where sparsity lost",
        rows,
        reading="Against the same configuration with all its edges. Latency: slower, or no "
        "different, by the test. Accuracy: less than the dense one's by an interval that is all "
        "below 0, sample by sample where records tell. Kernels: a call takes longer by more than "
        "2 % in the median, which has no interval; the figures are of the kernel that lost most. "
        "They are compared where both networks have the same operators from first to last.",
        without=results.without,
    )


def _said_of(cell: Cell) -> str:
    return f"{dropped(cell):.3g} % dropped" + (" by chance" if is_control(cell) else "")


def _losses(cell: Cell, group: Group) -> Iterator[dict[str, Entry]]:
    dense = dense_of(cell, group)
    if dense is None:
        return
    yield from _latency(cell, dense)
    yield from _accuracy(cell, dense)
    yield from _kernels(cell, dense)


def _latency(cell: Cell, dense: Cell) -> Iterator[dict[str, Entry]]:
    found = cell.against(dense)
    if found is None or found.verdict not in ("slower", "no difference"):
        return
    ratio, interval = with_interval(found.ratio, found.ci_low, found.ci_high)
    yield _row(
        f"latency: {found.verdict}",
        Entry(f"{number(cell.median_ms)} ms"),
        Entry(f"{number(dense.median_ms)} ms", detail=dense.label),
        Entry(f"{ratio}×", detail=interval, sort=found.ratio),
        verdict_entry(found).tone,
    )


def _accuracy(cell: Cell, dense: Cell) -> Iterator[dict[str, Entry]]:
    if cell.record.accuracy is None or dense.record.accuracy is None:
        return
    ours, theirs = accuracy_of(cell), accuracy_of(dense)
    if ours.metric != theirs.metric or gain(ours, theirs)[1] >= 0:
        return
    text, interval = with_interval(ours.value, ours.ci_low, ours.ci_high)
    other, its_interval = with_interval(theirs.value, theirs.ci_low, theirs.ci_high)
    comparable = ours.defined and bool(theirs.value)
    yield _row(
        f"accuracy: {ours.metric}",
        Entry(text if ours.defined else score(ours.value), detail=interval),
        Entry(other, detail=f"{dense.label}, {its_interval}"),
        Entry(
            f"{number(ours.value / theirs.value)}×" if comparable else "–",
            sort=ours.value / theirs.value if comparable else None,
        ),
        "bad",
    )


def _kernels(cell: Cell, dense: Cell) -> Iterator[dict[str, Entry]]:
    """One row, of the kernel that lost most, which names the others."""
    pairs = thinned_kernels(cell.record, dense.record)
    ratios = [
        (ours.median_us / max(theirs.median_us, 1e-3), ours, theirs) for ours, theirs in pairs
    ]
    slower = sorted(
        (found for found in ratios if found[0] > 1 + MINIMUM_EFFECT), key=lambda found: -found[0]
    )
    if not slower:
        return
    ratio, ours, theirs = slower[0]
    others = [f"{kernel.name} {number(part)}×" for part, kernel, _ in slower[1:_NAMED]]
    rest = len(slower) - _NAMED
    yield _row(
        f"kernels: {len(slower)} of {len(pairs)} with fewer operations",
        Entry(f"{number(ours.median_us)} µs", detail=ours.name),
        Entry(f"{number(theirs.median_us)} µs", detail=theirs.name),
        Entry(f"{number(ratio)}×", sort=ratio),
        "bad",
        ", ".join(others) + (f" and {rest} more" if rest > 0 else ""),
    )


def _row(
    lost: str, now: Entry, before: Entry, ratio: Entry, tone: Tone, detail: str = ""
) -> dict[str, Entry]:
    ratio = Entry(ratio.text, ratio.detail, ratio.sort, tone)
    return {"Lost in": Entry(lost, detail=detail), "Is": now, "Dense": before, "Is / dense": ratio}
