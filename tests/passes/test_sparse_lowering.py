"""A sparse kernel computes what the dense one does on the masked weights, whatever is left."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from compiling import imported, reference, run_fused
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from small_models import FLOAT, feeds, onnx_model

from harness.compiler.api import tvm
from harness.kernels.block_sparse import WIDE, block_sparse
from harness.kernels.vectors import vector_lanes
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels
from harness.specs.target import Passes

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
LANES = vector_lanes(TARGET)


def masked(inputs: int, vectors: int, kept: float, seed: int, width: int = LANES) -> np.ndarray:
    """Weights [inputs, outputs] with about this share of their blocks, not balanced."""
    generator = np.random.default_rng(seed)
    blocks = generator.random((inputs, vectors)) < kept
    values = generator.standard_normal((inputs, vectors * width)).astype(np.float32)
    return values * np.repeat(blocks, width, axis=1)


def convolution(matrix: np.ndarray, taps: int, stride: int) -> onnx.ModelProto:
    """A convolution of `taps` × `taps` with the weights `[taps * taps * inputs, outputs]`."""
    inputs = len(matrix) // taps**2
    filters = matrix.reshape(taps, taps, inputs, -1).transpose(3, 2, 0, 1)
    filters = np.ascontiguousarray(filters)
    bias = np.arange(len(filters), dtype=np.float32)
    around = [taps // 2] * 4
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], strides=[stride, stride], pads=around),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    shape = [1, inputs, 7, 5]
    return onnx_model(nodes, [("x", FLOAT, shape)], ["y"], {"w": filters, "b": bias})


def dense(matrix: np.ndarray, rows: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["y"]),
    ]
    constants = {"w": matrix, "b": np.arange(matrix.shape[1], dtype=np.float32)}
    return onnx_model(nodes, [("x", FLOAT, [1, rows, len(matrix)])], ["y"], constants)


def lowered(model: onnx.ModelProto, folder: Path) -> tuple[tvm.IRModule, list[np.ndarray]]:
    """The kernels of a model, and by how much its outputs differ from ONNX Runtime's."""
    network = imported(model, folder)
    fused = fuse(adapt(canonicalise(network.module), Passes(), TARGET), "full")
    values = feeds(network.inputs)
    found = run_fused(fused, [values[spec.name] for spec in network.inputs])
    expected = reference(model, values)
    return fused, [one - other for one, other in zip(found, expected, strict=True)]


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    inputs=st.integers(2, 24),
    vectors=st.integers(1, 3),
    kept=st.floats(0, 0.5),
    size=st.integers(1, 9),
    taps=st.sampled_from([0, 1, 3]),
    width=st.sampled_from([LANES, WIDE * LANES]),
    seed=st.integers(0, 1000),
)
def test_sparse_network_computes_the_same(
    inputs: int, vectors: int, kept: float, size: int, taps: int, width: int, seed: int
) -> None:
    matrix = masked(inputs * max(1, taps**2), vectors, kept, seed, width)
    model = convolution(matrix, taps, 1 + size % 2) if taps else dense(matrix, size)
    with tempfile.TemporaryDirectory() as folder:
        _, differences = lowered(model, Path(folder))
    assert max(np.abs(each).max() for each in differences) < 1e-4


@pytest.mark.parametrize("taps", [0, 1, 3])
def test_bias_and_activation_are_part_of_the_sparse_kernel(tmp_path: Path, taps: int) -> None:
    matrix = masked(36, 2, 0.3, 1)
    model = convolution(matrix, taps, 1) if taps else dense(matrix, 8)
    fused, _ = lowered(model, tmp_path)
    names = [kernel.name for kernel in kernels(fused)]
    assert len(names) == 1 and "sparse" in names[0]


def test_what_is_nearly_dense_stays_dense(tmp_path: Path) -> None:
    fused, _ = lowered(dense(masked(32, 2, 0.9, 1), 8), tmp_path)
    assert not any("sparse" in kernel.name for kernel in kernels(fused))


@pytest.mark.parametrize(
    ("vectors", "kept", "is_sparse"),
    [(3, 20, True), (3, 21, False), (2, 27, True), (2, 28, False)],
)
def test_what_has_part_of_a_block_too_many_is_sparse(
    tmp_path: Path, vectors: int, kept: int, is_sparse: bool
) -> None:
    """65 % of 30 blocks are 19.5, of which a mask keeps 20; wide ones, as two vectors have, pay
    with 90 %."""
    matrix = np.ones((30, vectors * LANES), np.float32)
    matrix[kept:] = 0
    fused, _ = lowered(dense(matrix, 8), tmp_path)
    assert any("sparse" in kernel.name for kernel in kernels(fused)) == is_sparse


@pytest.mark.parametrize("vectors", [1, 2])
def test_what_keeps_all_of_few_blocks_stays_dense(tmp_path: Path, vectors: int) -> None:
    """90 % of two blocks, and 65 % as well, are rounded up to both."""
    fused, _ = lowered(dense(np.ones((2, vectors * LANES), np.float32), 8), tmp_path)
    assert not any("sparse" in kernel.name for kernel in kernels(fused))


@given(
    inputs=st.integers(1, 20),
    vectors=st.integers(1, 4),
    kept=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_stored_blocks_are_the_matrix(inputs: int, vectors: int, kept: float, seed: int) -> None:
    matrix = masked(inputs, vectors, kept, seed)
    stored = block_sparse(matrix, LANES)
    assert stored is not None
    assert (np.diff(stored.indices, axis=1) > 0).all()
    rebuilt = np.zeros_like(matrix)
    for vector, (rows, blocks) in enumerate(zip(stored.indices, stored.weights, strict=True)):
        rebuilt[rows, vector * LANES : (vector + 1) * LANES] = blocks
    np.testing.assert_array_equal(rebuilt, matrix)


def test_outputs_that_are_no_whole_vectors_have_no_blocks() -> None:
    assert block_sparse(np.zeros((4, LANES + 1), np.float32), LANES) is None
