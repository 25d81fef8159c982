"""Results in the formats of other tools."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.records.compare import CellComparison, Comparison
from harness.records.record import Record

_SUITE = "layeredge"


def junit(records: Sequence[Record]) -> str:
    """JUnit XML: a test case a cell, failed or skipped where the cell is."""
    cases = []
    for record in records:
        case = _case(str(record.key), record.seconds)
        if record.status != "ok":
            tag = "failure" if record.status == "failed" else "skipped"
            ElementTree.SubElement(case, tag, message=_printable(record.reason or record.status))
        cases.append(case)
    return _suite(cases)


def junit_of(comparison: Comparison, *, strict: bool) -> str:
    """JUnit XML of a comparison: a test case a cell in both folders, failed where it regressed, and
    skipped, or failed where `strict`, where it is undecided."""
    return _suite([_compared(cell, strict) for cell in comparison.cells])


def benchmark(records: Sequence[Record]) -> str:
    """JSON of github-action-benchmark, as `customSmallerIsBetter`: the median latency of each
    measured cell in milliseconds, with half the width of its 95 % interval."""
    rows = [
        {
            "name": str(record.key),
            "unit": "ms",
            "value": latency.median_ms,
            "range": f"± {(latency.ci_high_ms - latency.ci_low_ms) / 2:.3g}",
            "extra": f"{latency.samples} samples; 95 % interval {latency.ci_low_ms:.4g} to "
            f"{latency.ci_high_ms:.4g} ms",
        }
        for record in records
        if (latency := record.latency) is not None and record.status == "ok"
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def trace(records: Sequence[Record]) -> str:
    """Trace events of Chrome, which Perfetto reads: a process a cell, in which the kernels of an
    inference follow each other, each as long as the median of its calls. Times are microseconds."""
    events: list[dict[str, object]] = []
    for number, record in enumerate((one for one in records if one.kernels), start=1):
        events.append(
            {"ph": "M", "name": "process_name", "pid": number, "args": {"name": str(record.key)}}
        )
        start = 0.0
        for kernel in record.kernels:
            took = kernel.median_us * kernel.calls
            events.append(
                {
                    "ph": "X",
                    "name": kernel.name,
                    "cat": "kernel",
                    "pid": number,
                    "tid": 1,
                    "ts": start,
                    "dur": took,
                    "args": {"calls": kernel.calls, "flops": kernel.flops, "bytes": kernel.bytes},
                }
            )
            start += took
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Record]], str]] = {
    "junit": junit,
    "benchmark": benchmark,
    "trace": trace,
}


def _compared(cell: CellComparison, strict: bool) -> ElementTree.Element:
    case = _case(str(cell.key), None)
    if cell.regressions:
        message = "; ".join(cell.regressions)
        ElementTree.SubElement(case, "failure", message=_printable(message))
    elif cell.undecided:
        tag = "failure" if strict else "skipped"
        message = f"undecided: {'; '.join(cell.undecided)}"
        ElementTree.SubElement(case, tag, message=_printable(message))
    return case


def _case(name: str, seconds: float | None) -> ElementTree.Element:
    case = ElementTree.Element("testcase", {"classname": _SUITE, "name": _printable(name)})
    if seconds is not None:
        case.set("time", f"{seconds:.3f}")
    return case


def _suite(cases: Iterable[ElementTree.Element]) -> str:
    found = list(cases)
    counts = {
        tag: str(sum(case.find(child) is not None for case in found))
        for tag, child in (("failures", "failure"), ("skipped", "skipped"))
    }
    about = {"name": _SUITE, "tests": str(len(found)), "errors": "0", **counts}
    suite = ElementTree.Element("testsuite", about)
    suite.extend(found)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """A text without the characters that XML cannot hold."""
    lost = "\N{REPLACEMENT CHARACTER}"
    return "".join(one if one.isprintable() or one in "\n\t" else lost for one in text)
