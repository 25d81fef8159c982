from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_results import example_record, example_results
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.records.record import CellKey, fingerprint
from harness.records.store import FILE_NAME, Store
from harness.report.data import Cell, load, pareto_front

POINTS = st.lists(
    st.tuples(st.floats(0.1, 10).map(lambda x: round(x, 1)), st.sampled_from([0.1, 0.5, 0.9])),
    max_size=12,
)


def test_load_groups_what_may_be_ranked_when_all_is_measured(tmp_path: Path) -> None:
    results = load(example_results(tmp_path))
    assert [group.title for group in results.groups] == ["fashion-resnet8", "fashion-dscnn"]
    resnet, dscnn = results.groups
    assert [cell.label for cell in resnet.timed] == [
        "unfused",
        "fused",
        "tuned",
        "ONNX Runtime",
        "OpenVINO",
    ]
    assert resnet.fastest is not None and resnet.fastest.label == "tuned"
    assert [cell.label for cell in dscnn.own] == ["unfused", "tuned"]
    assert results.counts == {"ok": 8, "failed": 1, "skipped": 1}


def test_load_keeps_kinds_and_targets_apart_when_a_model_has_several(tmp_path: Path) -> None:
    key = CellKey(model="m", target="a", configuration="fused", engine="tvm")
    keys = [key, key.model_copy(update={"target": "b"})]
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan((fingerprint(str(k)), k) for k in keys)
        store.write(example_record(keys[0]))
        store.write(example_record(keys[1], kind="static"))
    results = load(tmp_path)
    assert [group.title for group in results.groups] == ["m on a", "m on b (static)"]
    assert results.groups[1].fastest is None, "what was not measured is not ranked"


def test_load_says_what_to_do_when_there_are_no_results(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="layeredge run"):
        load(tmp_path)


def test_against_reference_tells_faster_from_slower_when_cells_took_turns(tmp_path: Path) -> None:
    resnet, dscnn = load(example_results(tmp_path)).groups
    slower, faster = resnet.own[-1], dscnn.own[-1]
    lost, won = resnet.against_reference(slower), dscnn.against_reference(faster)
    assert lost is not None and lost.verdict == "slower" and lost.ratio > 1
    assert won is not None and won.verdict == "faster" and won.ratio < 1
    assert resnet.reference is not None
    assert resnet.against_reference(resnet.reference) is None


def test_against_is_none_when_cells_did_not_take_turns() -> None:
    key = CellKey(model="m", target="t", configuration="a", engine="tvm")
    one, other = example_record(key), example_record(key, fingerprint="other")
    samples = np.full(20, 1.0)
    alone = Cell(one, {one.fingerprint: samples})
    assert alone.against(Cell(other, {"other": samples})) is None
    together = Cell(one, {one.fingerprint: samples, "other": samples * 2})
    found = together.against(Cell(other, {"other": samples}))
    assert found is not None and found.ratio == pytest.approx(0.5)


@given(POINTS)
def test_pareto_front_holds_exactly_what_nothing_beats(points: list[tuple[float, float]]) -> None:
    def beaten(one: tuple[float, float]) -> bool:
        return any(other != one and other[0] <= one[0] and other[1] >= one[1] for other in points)

    front = pareto_front(points)
    assert sorted(front) == [at for at, point in enumerate(points) if not beaten(point)]
    costs = [points[at][0] for at in front]
    assert costs == sorted(costs)


def test_pareto_front_leaves_out_what_is_no_number() -> None:
    nan = float("nan")
    assert pareto_front([(1.0, nan), (2.0, 0.5), (nan, 0.9), (3.0, 0.4)]) == [1]
    assert pareto_front([(1.0, nan)]) == []


@pytest.mark.parametrize(("format", "engine"), [("tflite", "litert"), ("torch", "torch")])
def test_reference_is_that_of_the_models_format(tmp_path: Path, format: str, engine: str) -> None:
    names = {"fused": "tvm", "baseline": engine}
    keys = [
        CellKey(model="m", target="a", configuration=name, engine=of) for name, of in names.items()
    ]
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan((fingerprint(str(key)), key) for key in keys)
        for key in keys:
            store.write(example_record(key, spec={"model": {"format": format}}))
    results = load(tmp_path)
    group = results.groups[0]
    assert group.reference is not None and group.reference.key.engine == engine
    assert results.reference_names == (group.reference.label,)
