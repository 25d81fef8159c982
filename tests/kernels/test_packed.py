"""Packed kernels against a plain computation, over strides, paddings and dilations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_convolution import plain_conv2d

from harness.compiler.api import te, tvm
from harness.kernels import packed

LANES = 4


def run(output: te.Tensor, inputs: list[te.Tensor], arrays: list[np.ndarray]) -> np.ndarray:
    module = tvm.IRModule({"main": te.create_prim_func([*inputs, output])})
    shape = [int(extent) for extent in output.shape]
    found = tvm.runtime.tensor(np.zeros(shape, np.float32))
    library = tvm.compile(module, target=tvm.target.Target("llvm")).jit()
    library["main"](*(tvm.runtime.tensor(array) for array in arrays), found)
    return found.numpy()


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2),
    padding=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    dilation=st.integers(1, 2),
    inputs=st.integers(1, 3),
    vectors=st.integers(1, 2),
)
def test_packed_convolution_is_the_plain_one(
    kernel: int, stride: int, padding: list[int], dilation: int, inputs: int, vectors: int
) -> None:
    random = np.random.default_rng(0)
    data = random.normal(size=(1, 6, 7, inputs)).astype(np.float32)
    weights = random.normal(size=(kernel, kernel, inputs, vectors * LANES)).astype(np.float32)
    folded = packed.pack(weights, LANES)
    source = te.placeholder(data.shape, name="data")
    constant = te.placeholder(folded.shape, name="weights")
    output = packed.convolution(source, constant, [stride] * 2, padding, [dilation] * 2)
    found = run(output, [source, constant], [data, folded])
    expected = plain_conv2d(data, weights, stride, padding, dilation)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 5),
    padding=st.lists(st.integers(0, 2), min_size=2, max_size=2),
    dilation=st.integers(1, 2),
    inputs=st.integers(1, 3),
    stored=st.sampled_from(["float32", "float16", "int8"]),
)
def test_convolution_of_a_row_is_that_of_an_image_of_one_row(
    kernel: int, stride: int, padding: list[int], dilation: int, inputs: int, stored: str
) -> None:
    random = np.random.default_rng(0)
    data = random.normal(size=(1, 9, inputs)).astype(np.float32)
    weights = random.integers(-100, 100, size=(kernel, inputs, 2 * LANES)).astype(np.float32)
    folded = packed.pack(weights, LANES).astype(stored)
    source = te.placeholder(data.shape, name="data")
    constant = te.placeholder(folded.shape, stored, name="weights")
    output = packed.convolution(source, constant, [stride], padding, [dilation])
    found = run(output, [source, constant], [data, folded])
    around = np.pad(data, [(0, 0), tuple(padding), (0, 0)])[:, None]
    whole = plain_conv2d(around, weights[None], 1, [0] * 4, dilation)[:, 0]
    np.testing.assert_allclose(found, whole[:, ::stride], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6)])
def test_packed_matrix_product_is_the_plain_one(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    data = random.normal(size=shape).astype(np.float32)
    weights = random.normal(size=(6, 3 * LANES)).astype(np.float32)
    folded = packed.pack(weights, LANES)
    source = te.placeholder(data.shape, name="data")
    constant = te.placeholder(folded.shape, name="weights")
    found = run(packed.matmul(source, constant), [source, constant], [data, folded])
    np.testing.assert_allclose(found, data @ weights, rtol=1e-4, atol=1e-5)


def test_zeros_fill_the_last_vector() -> None:
    found = packed.pack(np.arange(18, dtype=np.float32).reshape(3, 6), 4)
    assert found.shape == (2, 3, 4)
    np.testing.assert_array_equal(found[1], [[4, 5, 0, 0], [10, 11, 0, 0], [16, 17, 0, 0]])


@pytest.mark.parametrize(
    ("channels", "lanes", "worth"),
    [
        (197, 16, True),
        (1001, 8, True),
        (1000, 16, False),
        (24, 16, False),
        (10, 16, False),
        (20, 8, False),
    ],
)  # fmt: skip
def test_channels_are_filled_up_where_vectors_would_be_narrow(
    channels: int, lanes: int, worth: bool
) -> None:
    assert packed.is_worth_filling(channels, lanes) == worth
