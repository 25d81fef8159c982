"""Quantized LSTMs beside ONNX Runtime, value for value."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine_needs import needs_fused_products
from quantized_lstms import LSTMS
from quantized_nodes import assert_equal, levels_of


@needs_fused_products
@pytest.mark.parametrize("name", LSTMS)
def test_lstm_is_that_of_the_reference(tmp_path: Path, name: str) -> None:
    assert_equal(LSTMS[name], tmp_path, levels_of(name, LSTMS), here=True)
