from __future__ import annotations

import pytest
from example_edges import CHOICES, dense_record, sparse_record
from example_results import example_record

from harness.records.record import CellKey, KernelTime
from harness.report.kernel_figures import Roof, kernel_figures, roof_of, thinned_kernels

KEY = CellKey(model="m", target="t", configuration="tuned", engine="tvm")
KERNELS = (
    KernelTime(name="copy", calls=1, median_us=4.0, flops=0.0, bytes=4e4),
    KernelTime(name="conv", calls=2, median_us=10.0, flops=1e6, bytes=1e4),
)
HARDWARE = {"peak_gflops": 200.0, "memory_bandwidth_gbs": 20.0}


def test_kernel_figures_are_what_the_roofline_model_says() -> None:
    record = example_record(KEY, kernels=KERNELS, spec={"target": {"hardware": HARDWARE}})
    conv, copy = kernel_figures(record, roof_of([record]))
    assert (conv.name, conv.total_us, conv.share) == ("conv", 20.0, pytest.approx(20 / 24))
    assert conv.intensity == pytest.approx(100)
    assert conv.gflops == pytest.approx(100), "1e6 operations in 10 µs"
    assert conv.part_of_roof == pytest.approx(0.5), "compute-bound: 100 of 200 GFLOP/s"
    assert copy.gbs == pytest.approx(10), "4e4 bytes in 4 µs"
    assert copy.part_of_roof == pytest.approx(0.5), "memory-bound: 10 of 20 GB/s"
    assert copy.roof_us == pytest.approx(2.0)


@pytest.mark.parametrize(
    "spec", [{}, {"target": "x86"}, {"target": {}}, {"target": {"hardware": {"peak_gflops": 1.0}}}]
)
def test_there_is_no_roof_when_the_hardware_is_not_described(spec: dict[str, object]) -> None:
    record = example_record(KEY, kernels=KERNELS, spec=spec)
    assert roof_of([record]) is None
    assert all(kernel.part_of_roof is None for kernel in kernel_figures(record, None))
    assert kernel_figures(record, None)[0].gflops == pytest.approx(100)


def test_kernel_figures_are_unknown_when_nothing_can_be_divided_by() -> None:
    empty = KernelTime(name="reshape", calls=1, median_us=0.0, flops=0.0, bytes=0.0)
    (found,) = kernel_figures(example_record(KEY, kernels=(empty,)), None)
    assert (found.share, found.intensity, found.gflops, found.gbs) == (0.0, None, None, None)


def test_roof_is_the_highest_that_any_record_of_the_target_saw() -> None:
    later = {"peak_gflops": 190.0, "memory_bandwidth_gbs": 40.0}
    records = [
        example_record(KEY, spec={"target": {"hardware": hardware}})
        for hardware in (HARDWARE, later, {})
    ]
    assert roof_of(records) == Roof(200.0, 40.0)


def test_roof_bends_at_the_ridge() -> None:
    roof = Roof(peak_gflops=200, bandwidth_gbs=20)
    assert roof.ridge == 10
    assert roof.reachable_gflops(1) == 20
    assert roof.reachable_gflops(10) == roof.reachable_gflops(1000) == 200


def test_kernels_of_the_same_layers_are_compared_where_one_computes_less() -> None:
    dense, sparse = dense_record(3), sparse_record(CHOICES[0], 1, 0.5, 3)
    pairs = thinned_kernels(sparse, dense)
    assert [(one.name, other.name) for one, other in pairs] == [
        (f"fused_sparse_conv2d{at}_add{at}", f"fused_conv2d{at}_add{at}") for at in range(3)
    ]
    kept = sparse.kernels[0].model_copy(update={"flops": dense.kernels[0].flops})
    mixed = sparse.model_copy(update={"kernels": (kept, *sparse.kernels[1:])})
    assert len(thinned_kernels(mixed, dense)) == 2, "a layer that stayed dense"
    assert thinned_kernels(sparse, example_record(KEY)) == []


def test_kernels_without_layers_are_compared_with_none() -> None:
    dense, sparse = dense_record(1), sparse_record(CHOICES[0], 1, 0.5, 1)
    unnamed = [each.model_copy(update={"layers": ()}) for each in (*sparse.kernels, *dense.kernels)]
    one, other = (
        record.model_copy(update={"kernels": (kernel,)})
        for record, kernel in zip((sparse, dense), unnamed, strict=True)
    )
    assert thinned_kernels(one, other) == []
