"""Quantized operators of ONNX Runtime's own domain beside it, integer for integer."""

from __future__ import annotations

from pathlib import Path

import pytest
from quantized_nodes import assert_equal, levels_of
from quantized_runtime_cases import CASES


@pytest.mark.parametrize("name", CASES)
def test_operators_give_what_the_runtime_gives(tmp_path: Path, name: str) -> None:
    assert_equal(CASES[name], tmp_path, levels_of(name, CASES))
