from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from example_results import example_record, example_results
from junitparser import JUnitXml

from harness.cli.compare import command as compare_command
from harness.cli.convert import FORMATS as CONVERTED
from harness.cli.convert import command
from harness.records.formats import FORMATS, junit
from harness.records.record import CellKey
from harness.records.store import FILE_NAME, Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_results(tmp_path_factory.mktemp("results"))


def converted(folder: Path, name: str) -> str:
    done = CliRunner().invoke(command, [str(folder), name])
    assert done.exit_code == 0, done.output
    return done.output


def test_command_has_every_format() -> None:
    assert tuple(FORMATS) == CONVERTED


def test_junit_has_a_case_a_cell(folder: Path) -> None:
    (suite,) = JUnitXml.fromstring(converted(folder, "junit").encode())
    assert (suite.tests, suite.failures, suite.skipped) == (10, 1, 1)
    (reason,) = (case.result[0].message for case in suite if "fused" in case.name and case.result)
    assert "differs from ONNX Runtime" in reason


def test_junit_holds_any_name() -> None:
    key = CellKey(model='<m>&\x00"', target="t", configuration="c", engine="tvm")
    (suite,) = JUnitXml.fromstring(junit([example_record(key)]).encode())
    (case,) = suite
    assert case.name.startswith('<m>&\N{REPLACEMENT CHARACTER}"')


def test_benchmark_has_the_medians_of_good_cells(folder: Path) -> None:
    rows = json.loads(converted(folder, "benchmark"))
    with Store(folder / FILE_NAME) as store:
        good = [record for record in store.records() if record.status == "ok"]
    assert [row["name"] for row in rows] == [str(record.key) for record in good]
    assert [row["value"] for row in rows] == [
        record.latency.median_ms for record in good if record.latency
    ]
    assert {row["unit"] for row in rows} == {"ms"}


def test_kernels_of_a_trace_follow_each_other(folder: Path) -> None:
    events = json.loads(converted(folder, "trace"))["traceEvents"]
    named = {event["pid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert "fashion-dscnn · x86-host · tuned · tvm" in named.values()
    for process in named:
        kernels = [event for event in events if event["pid"] == process and event["ph"] == "X"]
        assert kernels
        for before, after in pairwise(kernels):
            assert before["ts"] + before["dur"] == pytest.approx(after["ts"])


def test_comparison_is_written_as_junit_too(folder: Path, tmp_path: Path) -> None:
    """A folder with itself: the same measurement, in which nothing regressed."""
    out = tmp_path / "compared.xml"
    done = CliRunner().invoke(compare_command, [str(folder), str(folder), "--junit", str(out)])
    assert done.exit_code == 0, done.output
    (suite,) = JUnitXml.fromfile(str(out))
    assert (suite.tests, suite.failures) == (10, 0)
