"""What a group runs its networks on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from small_models import FLOAT, INT64, convolutional, onnx_model, save, weights

from harness.errors import CellFailure
from harness.files.arrays import read_arrays
from harness.measure.group import Group, GroupSettings, GroupSubject, kernel_runs
from harness.measure.member import Member, ProcessRunner
from harness.models.tensors import TensorSpec, ValueRange
from harness.records.record import Verification
from harness.specs.sweep import Limits, Measure, ModelSpec

MEASURE = Measure(repeats=6, min_seconds=0, sample_ms=0, processes=1, verify_inputs=3)


def group(
    path: Path, inputs: TensorSpec, ranges: Mapping[str, ValueRange], measure: Measure = MEASURE
) -> Group:
    subject = GroupSubject(
        model=ModelSpec(name="m", path=str(path)),
        inputs=(inputs,),
        task=None,
        reference_engine="onnxruntime",
        reference_path=path,
        ranges=ranges,
    )
    work = path.parent / "work"
    return Group(GroupSettings(subject, measure, Limits(), 1, 0, work, lambda *_: None))


def lookup(path: Path, offset: int) -> Path:
    """A row of a table of 40, `offset` after the one that the input says."""
    return save(
        onnx_model(
            [
                helper.make_node("Add", ["ids", "offset"], ["later"]),
                helper.make_node("Gather", ["table", "later"], ["y"]),
            ],
            [("ids", INT64, [30])],
            ["y"],
            {"offset": np.array(offset), "table": weights(40, 4)},
        ),
        path,
    )


IDS = TensorSpec("ids", (30,), "int64")


@pytest.mark.slow
@pytest.mark.parametrize(("offset", "least", "most"), [(0, 30, 39), (20, 1, 1)])
def test_inputs_that_the_reference_does_not_take_are_replaced(
    tmp_path: Path, offset: int, least: int, most: int
) -> None:
    """Ids of 20 rows before the end are read beyond it: the reference says so."""
    path = lookup(tmp_path / "m.onnx", offset)
    found = group(path, IDS, {"ids": ValueRange(extent=40)}).measure([])
    assert found == {}
    rows = read_arrays(tmp_path / "work" / "inputs.npz")
    largest = max(int(row["ids"].max()) for row in rows)
    assert len(rows) == 3 and least <= largest <= most


@pytest.mark.slow
def test_a_reference_that_takes_no_inputs_fails(tmp_path: Path) -> None:
    path = lookup(tmp_path / "m.onnx", 100)
    with pytest.raises(CellFailure, match="the reference onnxruntime does not run the model"):
        group(path, IDS, {}).measure([])


@pytest.mark.slow
def test_an_engine_is_verified_and_the_judge_asked_where_needed(tmp_path: Path) -> None:
    """A Sigmoid as YuNet ends, in the engine that the reference is: it is right beside itself."""
    model = onnx_model(
        [
            helper.make_node("Mul", ["x", "x"], ["square"]),
            helper.make_node("Sub", ["least", "square"], ["logits"]),
            helper.make_node("Sigmoid", ["logits"], ["y"]),
        ],
        [("x", FLOAT, [1, 64])],
        ["y"],
        {"least": np.float32(-6)},
    )
    path = save(model, tmp_path / "m.onnx")
    member = Member("one", "onnxruntime", "onnxruntime", path)
    (found,) = group(path, TensorSpec("x", (1, 64), "float32"), {}).measure([member]).values()
    assert found.failure is None and isinstance(found.verification, Verification)
    assert found.verification.right and found.verification.inputs == 3


@pytest.mark.slow
def test_a_member_is_measured_in_several_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(convolutional(), tmp_path / "m.onnx")
    processes: list[int] = []
    sample = ProcessRunner.sample

    def noted(runner: ProcessRunner, runs: int) -> float:
        processes.append(runner._child.process_id)
        return sample(runner, runs)

    monkeypatch.setattr(ProcessRunner, "sample", noted)
    member = Member("one", "onnxruntime", "onnxruntime", path)
    measure = MEASURE.model_copy(update={"processes": 3})
    of_images = TensorSpec("x", (1, 3, 8, 8), "float32")
    (found,) = group(path, of_images, {}, measure).measure([member]).values()
    assert found.failure is None and len(found.samples) == 6
    assert [*Counter(processes).values()] == [2, 2, 2]
    assert found.inferences is not None
    assert found.inferences.count == 6 * found.runs_per_sample


@pytest.mark.parametrize(
    ("seconds", "runs"), [(0.0, 20), (1e-4, 20), (0.125, 20), (0.25, 10), (0.6, 4), (30.0, 3)]
)
def test_kernels_of_slow_networks_are_timed_less_often(seconds: float, runs: int) -> None:
    assert kernel_runs(seconds) == runs
