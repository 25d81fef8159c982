from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from compiling import assert_agrees, compiled, imported, kernel_names
from onnx import helper
from small_models import FLOAT, onnx_model, weights

from harness.compiler.api import relax
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels
from harness.passes.movement import is_stray


def _single(call: relax.Expr, *parameters: relax.Var) -> bool:
    """Whether the one kernel that an operator becomes is stray."""
    builder = relax.BlockBuilder()
    with builder.function("main", list(parameters)):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(call))
        builder.emit_func_output(result)
    (kernel,) = kernels(fuse(builder.get(), "none"))
    return is_stray(kernel.function)


_X = relax.Var("x", relax.TensorType((1, 4, 4, 2), "float32"))
_ZERO = relax.const(0.0, "float32")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (relax.op.permute_dims(_X, [0, 3, 1, 2]), True),
        (relax.op.nn.pad(_X, [0, 0, 1, 1, 1, 1, 0, 0]), True),
        (relax.op.strided_slice(_X, [1], [0], [2]), True),
        (relax.op.maximum(_X, _ZERO), True),
        (relax.op.image.resize2d(_X, (8, 8), layout="NHWC", method="nearest_neighbor"), False),
        (relax.op.exp(_X), False),
        (relax.op.sum(_X, [3]), False),
        (relax.op.add(_X, _X), False),
    ],
    ids=["transpose", "pad", "slice", "clip", "resize", "exp", "sum", "add"],
)
def test_kernel_is_stray_when_it_only_moves_or_clips(call: relax.Expr, expected: bool) -> None:
    assert _single(call, _X) is expected


def _convolution_after(
    nodes: list[onnx.NodeProto], more: dict[str, np.ndarray], **attributes: object
) -> onnx.ModelProto:
    return onnx_model(
        [*nodes, helper.make_node("Conv", ["p", "w"], ["c"], **attributes),
         helper.make_node("Relu", ["c"], ["y"])],
        [("x", FLOAT, [1, 3, 7, 7])], ["y"], {"w": weights(4, 3, 3, 3), **more},
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_padding_disappears_into_the_convolution(
    mode: str, channels_last: bool, tmp_path: Path
) -> None:
    widths = {"widths": np.array([0, 0, 1, 2, 0, 0, 2, 1])}
    pad = helper.make_node("Pad", ["x", "widths"], ["p"], mode=mode)
    model = _convolution_after([pad], widths)
    network = imported(model, tmp_path)
    fused = compiled(network, channels_last=channels_last)
    assert len(kernel_names(fused)) == 1
    assert_agrees(model, network, fused)


def test_padding_inside_the_convolution_is_no_kernel(tmp_path: Path) -> None:
    identity = helper.make_node("Identity", ["x"], ["p"])
    model = _convolution_after([identity], {}, auto_pad="SAME_UPPER", strides=[2, 2])
    network = imported(model, tmp_path)
    fused = compiled(network)
    assert len(kernel_names(fused)) == 1
    assert_agrees(model, network, fused)


def test_movement_stays_when_several_kernels_read_and_none_writes_it(tmp_path: Path) -> None:
    model = onnx_model(
        [
            helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
            helper.make_node("MatMul", ["t", "w"], ["y"]),
            helper.make_node("MatMul", ["t", "v"], ["z"]),
        ],
        [("x", FLOAT, [4, 3])],
        ["y", "z"],
        {"w": weights(4, 2), "v": weights(4, 5)},
    )
    network = imported(model, tmp_path)
    fused = compiled(network)
    assert [is_stray(kernel.function) for kernel in kernels(fused)].count(True) == 1
    assert_agrees(model, network, fused)


def test_kernel_of_several_results_takes_in_the_movement_before_it(tmp_path: Path) -> None:
    model = onnx_model(
        [
            helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
            helper.make_node("MatMul", ["t", "w"], ["m"]),
            helper.make_node("Split", ["m"], ["y", "z"], axis=1),
        ],
        [("x", FLOAT, [4, 3])],
        ["y", "z"],
        {"w": weights(4, 6)},
    )
    network = imported(model, tmp_path)
    fused = fuse(canonicalise(network.module), "full")
    assert not any(is_stray(kernel.function) for kernel in kernels(fused))
    assert_agrees(model, network, fused)


def test_layer_over_time_takes_no_movement_in(tmp_path: Path) -> None:
    """Its kernel has no blocks, which fusing needs."""
    model = onnx_model(
        [
            helper.make_node("Gather", ["states", "second"], ["taken"]),
            helper.make_node("Transpose", ["taken"], ["turned"], perm=[1, 0]),
            helper.make_node("Unsqueeze", ["turned", "axis"], ["begun"]),
            helper.make_node(
                "LSTM", ["x", "w", "r", "", "", "zeros", "begun"], ["y"], "layer", hidden_size=16
            ),
        ],
        [("x", FLOAT, [3, 2, 4]), ("states", FLOAT, [2, 16, 2])],
        ["y"],
        {
            "w": weights(1, 64, 4),
            "r": weights(1, 64, 16),
            "zeros": np.zeros((1, 2, 16), np.float32),
            "second": np.asarray(1),
            "axis": np.asarray([0]),
        },
    )
    network = imported(model, tmp_path)
    assert_agrees(model, network, compiled(network))
