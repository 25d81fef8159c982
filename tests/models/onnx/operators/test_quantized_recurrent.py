"""Quantized LSTMs beside ONNX Runtime, value for value."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine_needs import needs_fused_products
from quantized_lstms import LSTMS
from quantized_nodes import LEVELS, assert_equal


@needs_fused_products
@pytest.mark.parametrize("name", LSTMS)
def test_lstm_is_that_of_the_reference(tmp_path: Path, name: str) -> None:
    # One kernel at either level: building it takes seconds.
    levels = LEVELS if name == "forward" else LEVELS[-1:]
    assert_equal(LSTMS[name], tmp_path, here=True, levels=levels)
