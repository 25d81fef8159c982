"""Packed kernels of 8-bit data against integer arithmetic, over shapes, padding and zero points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_kernels import drawn, run
from plain_convolution import plain_conv2d

from harness.compiler.api import te, tirx
from harness.kernels import packed_integers
from harness.kernels.packed_integers import lanes_for, pack_integers

LANES = 8
DTYPES = st.sampled_from(["uint8", "int8"])
PADDING = st.lists(st.integers(0, 2), min_size=4, max_size=4)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    dtype=DTYPES,
    kernel=st.sampled_from([1, 2, 3]),
    stride=st.integers(1, 2),
    padding=PADDING,
    dilation=st.integers(1, 2),
    inputs=st.integers(1, 9),
    channels=st.integers(1, 19),
    point=st.integers(-128, 255),
)
def test_convolution_is_that_of_integers(
    dtype: str,
    kernel: int,
    stride: int,
    padding: list[int],
    dilation: int,
    inputs: int,
    channels: int,
    point: int,
) -> None:
    limits = np.iinfo(dtype)
    point = min(max(point, limits.min), limits.max)
    data = drawn(0, dtype, 1, 6, 7, inputs)
    weights = drawn(1, "int8", kernel, kernel, inputs, channels)
    found = run(
        packed_integers.conv2d,
        data,
        pack_integers(weights, lanes_for(channels, LANES)),
        channels=channels,
        zero_point=point,
        strides=(stride, stride),
        padding=padding,
        dilation=(dilation, dilation),
    )
    centred = plain_conv2d(data.astype(float) - point, weights, stride, padding, dilation)
    np.testing.assert_array_equal(found, centred + point * weights.sum((0, 1, 2), dtype=int))


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(
    dtype=DTYPES,
    rows=st.integers(1, 3),
    inputs=st.integers(1, 21),
    channels=st.integers(1, 19),
    point=st.integers(0, 127),
)
def test_product_is_that_of_integers(
    dtype: str, rows: int, inputs: int, channels: int, point: int
) -> None:
    data, weights = drawn(0, dtype, 2, rows, inputs), drawn(1, "int8", inputs, channels)
    words = pack_integers(weights, lanes_for(channels, LANES))
    found = run(packed_integers.matmul, data, words, channels=channels, zero_point=point)
    np.testing.assert_array_equal(found, data.astype(int) @ weights.astype(int))


@pytest.mark.parametrize(
    ("channels", "lanes"), [(1, 4), (4, 4), (5, 8), (8, 8), (9, 16), (16, 16), (100, 16)]
)
def test_few_channels_have_narrow_vectors(channels: int, lanes: int) -> None:
    assert lanes_for(channels, 16) == lanes


def test_words_have_four_inputs_of_a_channel() -> None:
    weights = np.arange(6 * 5, dtype=np.int8).reshape(6, 5)
    words = pack_integers(weights, 4)
    assert words.shape == (2, 2, 4)
    held = words.view(np.int8).reshape(2, 2, 4, 4)
    np.testing.assert_array_equal(held[0, 0, 1], weights[:4, 1])
    np.testing.assert_array_equal(held[1, 1, 0], [*weights[4:, 4], 0, 0])
    assert not held[1, :, 1:].any()


@pytest.mark.parametrize(("dtype", "value"), [("uint8", 200), ("int8", -100)])
def test_data_may_be_known_where_they_are_read(dtype: str, value: int) -> None:
    """As in padding: the highest bit of a byte becomes the sign of a word."""

    def filled(data: te.Tensor, weights: te.Tensor) -> te.Tensor:
        known = te.compute(data.shape, lambda *at: tirx.const(value, dtype), name="known")
        return packed_integers.matmul(known, weights, channels=4, zero_point=0)

    data, weights = np.full((2, 8), value, dtype), drawn(1, "int8", 8, 4)
    found = run(filled, data, pack_integers(weights, 4), inline="known")
    np.testing.assert_array_equal(found, data.astype(int) @ weights.astype(int))
