"""The keys of the step `quantize`."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InputError
from harness.specs.quantization import Quantize
from harness.specs.sweep import Sweep


def sweep(text: str, folder: Path) -> Sweep:
    path = folder / "sweep.yaml"
    path.write_text(
        f"schema: 1\nmodels: [fashion-resnet8]\nconfigurations:\n  - {{name: int8, {text}}}\n"
    )
    return Sweep.read(path)


def test_defaults_choose_by_measuring(tmp_path: Path) -> None:
    (cell,) = sweep("quantize: {}", tmp_path).cells
    assert cell.quantize is not None
    assert cell.quantize.choice.ranges == cell.quantize.choice.rounding == "auto"
    assert cell.quantize.samples == 64


def test_several_methods_make_a_cell_each(tmp_path: Path) -> None:
    found = sweep("quantize: {ranges: [mse, minmax], rounding: nearest}", tmp_path).cells
    assert [cell.name for cell in found] == ["int8@mse", "int8@minmax"]
    both = sweep("quantize: {ranges: [mse, auto], rounding: [nearest, auto]}", tmp_path).cells
    assert [cell.name for cell in both] == [
        "int8@mse@nearest", "int8@mse@auto", "int8@auto@nearest", "int8@auto@auto",
    ]  # fmt: skip


def test_several_limits_make_a_cell_each(tmp_path: Path) -> None:
    found = sweep("quantize: {max_change: [0.05, 0.1], rounding: [nearest, auto]}", tmp_path).cells
    assert [cell.name for cell in found] == [
        "int8@nearest@0.05", "int8@nearest@0.1", "int8@auto@0.05", "int8@auto@0.1",
    ]  # fmt: skip
    one = sweep("quantize: {max_change: 0.05}", tmp_path).cells
    assert [cell.name for cell in one] == ["int8"]
    assert one[0].quantize is not None and one[0].quantize.choice.max_change == 0.05


def test_edges_and_quantization_stand_in_one_configuration(tmp_path: Path) -> None:
    (cell,) = sweep("edges: {sparsity: 0.8}, quantize: {}", tmp_path).cells
    assert list(cell.steps) == ["edges", "quantize"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{ranges: []}", "ranges"),
        ("{ranges: [mse, mse]}", "mse"),
        ("{ranges: mode}", "minmax"),
        ("{calibration: 0}", "calibration"),
        ("{round: nearest}", "rounding"),
        ("{max_change: 0}", "max_change"),
        ("{max_change: [0.1, 0.1]}", "@0.1"),
        ("{reduce_range: some}", "reduce_range"),
        ("{weights: float16}", "'activations: float32'"),
        ("{activations: float32, ranges: mse}", "leave out 'ranges'"),
        ("{weights: float8, activations: float32}", "float16"),
    ],
)
def test_mistakes_are_named(options: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        sweep(f"quantize: {options}", tmp_path)


def test_unknown_method_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        sweep("quantize: {ranges: foo}", tmp_path)
    (line,) = str(raised.value).splitlines()
    assert "known: auto, entropy, minmax, mse, percentile" in line


def test_options_decide_the_network() -> None:
    assert Quantize().decisive() != Quantize(bias=False).decisive()


def test_options_of_weights_alone_can_be_written_and_read() -> None:
    options = Quantize(weights="float16", activations="float32")
    assert Quantize.model_validate(options.model_dump()) == options
    assert options.samples == 0
