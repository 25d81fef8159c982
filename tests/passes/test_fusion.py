from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from compiling import assert_agrees, compiled, imported, kernel_names
from onnx import helper
from small_models import FLOAT, convolutional, onnx_model, weights

from harness.errors import CellFailure
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels, summarise
from harness.passes.layout import to_channels_last
from harness.passes.legalise import LEGALISATIONS
from harness.passes.movement import is_stray
from harness.specs.sweep import FusionLevel


def _attention() -> onnx.ModelProto:
    """One head-splitting attention layer: three dense layers, softmax, and the way back."""
    names = ["q", "k", "v"]
    nodes = []
    for name in names:
        order = [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]
        nodes += [
            helper.make_node("MatMul", ["x", f"w{name}"], [f"m{name}"]),
            helper.make_node("Add", [f"m{name}", "b"], [f"a{name}"]),
            helper.make_node("Reshape", [f"a{name}", "split"], [f"r{name}"]),
            helper.make_node("Transpose", [f"r{name}"], [name], perm=order),
        ]
    nodes += [
        helper.make_node("Mul", ["q", "scale"], ["s"]),
        helper.make_node("MatMul", ["s", "k"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["o"]),
        helper.make_node("Transpose", ["o"], ["t"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["t", "join"], ["y"]),
    ]
    return onnx_model(
        nodes,
        [("x", FLOAT, [1, 6, 8])],
        ["y"],
        {
            **{f"w{name}": weights(8, 8, seed=at) for at, name in enumerate(names)},
            "b": weights(8, seed=9),
            "split": np.array([1, 6, 2, 4]),
            "join": np.array([1, 6, 8]),
            "scale": np.array(0.5, np.float32),
        },
    )


@pytest.mark.slow
@pytest.mark.parametrize("level", ["none", "elementwise", "full"])
@pytest.mark.parametrize("model", [convolutional(), _attention()], ids=["convolution", "attention"])
def test_network_keeps_its_numbers_at_every_level(
    model: onnx.ModelProto, level: FusionLevel, tmp_path: Path
) -> None:
    network = imported(model, tmp_path)
    assert_agrees(model, network, compiled(network, level))


@pytest.mark.parametrize("model", [convolutional(), _attention()], ids=["convolution", "attention"])
def test_each_level_has_fewer_kernels_than_the_one_before(
    model: onnx.ModelProto, tmp_path: Path
) -> None:
    network = imported(model, tmp_path)
    none, elementwise, full = (
        len(kernel_names(compiled(network, level))) for level in ("none", "elementwise", "full")
    )
    assert full < elementwise < none


def test_attention_keeps_no_transpose_of_its_own_when_fused(tmp_path: Path) -> None:
    fused = compiled(imported(_attention(), tmp_path))
    assert not [kernel.name for kernel in kernels(fused) if is_stray(kernel.function)]
    assert len(kernel_names(fused)) == 6  # five matrix products, one softmax


def test_convolutions_stay_alone_when_only_elementwise_chains_fuse(tmp_path: Path) -> None:
    found = kernel_names(compiled(imported(convolutional(), tmp_path), "elementwise"))
    assert "conv2d" in found
    assert any("add" in name and "maximum" in name for name in found)


def test_summary_counts_kernels_before_and_after(tmp_path: Path) -> None:
    canonical = to_channels_last(canonicalise(imported(convolutional(), tmp_path).module))
    unfused, fused = fuse(canonical, "none"), fuse(canonical, "full")
    summary = summarise(canonical, fused)
    assert summary.kernels_before == len(kernel_names(unfused))
    assert summary.kernels_after == len(kernel_names(fused))
    assert summary.stray == ()
    assert summarise(canonical, unfused).stray != ()


def test_kernel_is_counted_each_time_when_called_twice(tmp_path: Path) -> None:
    model = onnx_model(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("MatMul", ["a", "w"], ["y"]),
        ],
        [("x", FLOAT, [2, 4])],
        ["y"],
        {"w": weights(4, 4)},
    )
    (kernel,) = kernels(compiled(imported(model, tmp_path)))
    assert kernel.calls == 2


def test_operator_without_a_kernel_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(LEGALISATIONS, "relax.topk")
    nodes = [helper.make_node("TopK", ["x", "count"], ["values", "places"])]
    constants = {"count": np.array([2], np.int64)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 5])], ["values"], constants)
    with pytest.raises(CellFailure, match="TVM has no kernel for topk"):
        fuse(canonicalise(imported(model, tmp_path).module), "full")
