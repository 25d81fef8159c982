from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from small_models import FLOAT, convolutional, onnx_model, save

from harness.cli.inspect import command
from harness.errors import InputError
from harness.inspection.kernels import Inspection, inspect
from harness.specs.sweep import FusionLevel
from harness.specs.target import Hardware, Passes, TargetSpec, TvmTarget

WIDTH = 100
TARGET = TargetSpec(
    schema=1, name="any", architecture="x86", tvm=TvmTarget(), hardware=Hardware(cores=1)
)


@pytest.fixture(scope="module")
def resnet() -> dict[FusionLevel, Inspection]:
    return {
        "none": inspect("fashion-resnet8", "none", TARGET, {}),
        "elementwise": inspect("fashion-resnet8", "elementwise", TARGET, {}),
        "full": inspect("fashion-resnet8", "full", TARGET, {}),
    }


def operators(found: Inspection) -> Counter[str]:
    """How often an inference computes each operator, reshapes apart: those may become views."""
    counts = Counter[str]()
    for kernel in found.kernels:
        for name in kernel.operators:
            counts[name] += kernel.calls
    del counts["reshape"]
    return counts


def long_chain(length: int) -> onnx.ModelProto:
    """A convolution followed by `length` elementwise operators: `x` (1×3×8×8) to `y`."""
    names = ["Exp", "Sigmoid", "Tanh", "Neg"]
    chain = [
        helper.make_node(names[at % len(names)], [f"t{at}"], [f"t{at + 1}"]) for at in range(length)
    ]
    chain[-1].output[0] = "y"
    weights = np.ones((4, 3, 1, 1), np.float32)
    return onnx_model(
        [helper.make_node("Conv", ["x", "w"], ["t0"]), *chain],
        [("x", FLOAT, [1, 3, 8, 8])],
        ["y"],
        {"w": weights},
    )


@pytest.mark.slow
def test_group_is_a_convolution_and_what_follows_it_when_fusion_is_full(
    resnet: dict[FusionLevel, Inspection],
) -> None:
    first = resnet["full"].kernels[0]
    assert first.operators == ("conv2d", "add", "relu")
    assert first.output_shapes == ((1, 28, 28, 16),)
    # 28×28 positions × 16 filters of 3×3×1, a multiplication and an addition each; bias and ReLU.
    # The comparison of ReLU counts as an operation.
    assert first.flops == pytest.approx(28 * 28 * 16 * (2 * 9 + 2), rel=0.01)
    assert first.bytes == 4 * (28 * 28 + 9 * 16 + 16 + 28 * 28 * 16)
    assert first.intensity == first.flops / first.bytes


def test_every_operator_is_in_some_group_whatever_the_level(
    resnet: dict[FusionLevel, Inspection],
) -> None:
    assert operators(resnet["none"])["conv2d"] == 9
    assert operators(resnet["full"]) == operators(resnet["none"])
    assert operators(resnet["elementwise"]) == operators(resnet["none"])


def test_fusing_moves_less_and_computes_the_same(
    resnet: dict[FusionLevel, Inspection],
) -> None:
    none, elementwise, full = resnet["none"], resnet["elementwise"], resnet["full"]
    assert full.total_bytes < elementwise.total_bytes < none.total_bytes
    assert full.total_flops == pytest.approx(none.total_flops, rel=1e-3)


def test_totals_and_counts_are_those_of_one_inference(
    resnet: dict[FusionLevel, Inspection],
) -> None:
    for found in resnet.values():
        assert found.fusion.kernels_after == sum(kernel.calls for kernel in found.kernels)
        assert found.fusion.kernels_before == resnet["none"].fusion.kernels_after
        assert found.total_bytes == math.fsum(k.calls * k.bytes for k in found.kernels)
        assert found.fusion.stray == tuple(k.name for k in found.kernels if k.stray)
    assert any(kernel.calls > 1 for kernel in resnet["none"].kernels)
    assert any(kernel.stray for kernel in resnet["none"].kernels)
    assert not any(kernel.stray for kernel in resnet["full"].kernels)


def test_operators_are_told_apart_when_their_names_hold_underscores(tmp_path: Path) -> None:
    network = onnx_model(
        [
            helper.make_node("ConvTranspose", ["x", "w", "b"], ["c"], dilations=[2, 2]),
            helper.make_node("Sigmoid", ["c"], ["y"]),
        ],
        [("x", FLOAT, [1, 3, 8, 8])],
        ["y"],
        {"w": np.ones((3, 4, 3, 3), np.float32), "b": np.ones(4, np.float32)},
    )
    path = save(network, tmp_path / "upsampling.onnx")
    (kernel,) = inspect(str(path), "full", nchw(), {}).kernels
    assert kernel.name.count("_") > 3
    assert kernel.operators == ("conv2d_transpose", "add", "sigmoid")


def nchw() -> TargetSpec:
    return TARGET.model_copy(update={"passes": Passes(layout="NCHW")})


def test_layout_is_the_targets(tmp_path: Path) -> None:
    path = str(save(convolutional(), tmp_path / "small.onnx"))
    shapes = {
        layout: inspect(path, "full", target, {}).kernels[0].output_shapes
        for layout, target in (("NHWC", TARGET), ("NCHW", nchw()))
    }
    assert shapes == {"NHWC": ((1, 8, 8, 16),), "NCHW": ((1, 16, 8, 8),)}


def test_arithmetic_of_a_layer_over_time_is_counted(tmp_path: Path) -> None:
    steps, batch, hidden = 5, 2, 16
    model = onnx_model(
        [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=hidden)],
        [("x", FLOAT, [steps, batch, 4])],
        ["y"],
        {"w": np.ones((1, 64, 4), np.float32), "r": np.ones((1, 64, 16), np.float32)},
    )
    found = inspect(str(save(model, tmp_path / "layer.onnx")), "full", TARGET, {})
    (layer,) = [kernel for kernel in found.kernels if "recurrent" in kernel.name]
    assert layer.flops == 2 * steps * batch * 4 * hidden**2


def test_shape_decides_when_the_models_is_dynamic(tmp_path: Path) -> None:
    path = str(save(convolutional(side=None), tmp_path / "dynamic.onnx"))
    with pytest.raises(InputError, match="x"):
        inspect(path, "full", TARGET, {})
    small = inspect(path, "full", TARGET, {"x": (1, 3, 4, 4)})
    large = inspect(path, "full", TARGET, {"x": (1, 3, 8, 8)})
    assert large.kernels[0].flops == 4 * small.kernels[0].flops


def test_model_is_refused_when_it_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYEREDGE_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="run 'layeredge models fetch magika'"):
        inspect("magika", "full", TARGET, {})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("fashion-resnet9", "did you mean 'fashion-resnet8'"),
        ("missing.onnx", r"missing\.onnx: no such file"),
        ("./missing", "missing: no such file"),
        ("./", "expected a model file, found a folder"),
    ],
)
def test_model_is_refused_when_it_is_neither_known_nor_a_file(model: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        inspect(model, "full", TARGET, {})


@pytest.mark.slow
def test_command_fits_in_a_hundred_columns_when_names_are_long(tmp_path: Path) -> None:
    path = save(long_chain(24), tmp_path / "chain.onnx")
    result = CliRunner(env={"COLUMNS": str(WIDTH)}).invoke(command, [str(path)])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert result.output.count("sigmoid") >= 6
    assert "FLOP/byte" in result.output and "1×4×8×8" in result.output
    assert lines[-1].startswith("one inference")


@pytest.mark.slow
def test_command_marks_stray_kernels_and_counts_them(tmp_path: Path) -> None:
    arguments = [str(save(convolutional(), tmp_path / "small.onnx")), "--fusion"]
    runner = CliRunner(env={"COLUMNS": "200"})
    none = runner.invoke(command, [*arguments, "none"])
    full = runner.invoke(command, [*arguments, "full"])
    marked = [line for line in none.output.splitlines() if " stray " in line]
    assert marked and f", {len(marked)} stray" in " ".join(none.output.split())
    assert ", 0 stray" in " ".join(full.output.split())
    assert not [line for line in full.output.splitlines() if " stray " in line]


@pytest.mark.slow
def test_command_prints_the_same_as_json(tmp_path: Path) -> None:
    path = str(save(convolutional(batch=None), tmp_path / "small.onnx"))
    result = CliRunner().invoke(
        command, [path, "--target", "znver4", "--shape", "x=1,3,8,8", "--json"]
    )
    assert result.exit_code == 0, result.output
    found = Inspection.model_validate_json(result.stdout)
    named = TARGET.model_copy(update={"name": "znver4"})
    assert found == inspect(path, "full", named, {"x": (1, 3, 8, 8)})
