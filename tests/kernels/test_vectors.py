"""The registers that a processor has, whatever TVM says of their width."""

from __future__ import annotations

import pytest

from harness.compiler.api import target_of, tvm
from harness.kernels.vectors import vector_lanes, vector_registers, widened_types


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ("nehalem", (16, 15)),
        ("haswell", (32, 15)),
        ("znver3", (32, 15)),
        ("skylake-avx512", (64, 32)),
        ("znver4", (64, 32)),
    ],
)
def test_registers_of_x86(processor: str, expected: tuple[int, int]) -> None:
    target = tvm.target.Target(
        {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": processor, "num-cores": 2}
    )
    assert vector_registers(target) == expected
    assert vector_lanes(target) == expected[0] // 4
    assert [vector_lanes(target, dtype) for dtype in ("int8", "float16", "float64")] == [
        expected[0], expected[0] // 2, expected[0] // 8,
    ]  # fmt: skip


def test_registers_of_arm() -> None:
    target = tvm.target.Target(
        {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a72", "num-cores": 4}
    )
    assert vector_registers(target) == (16, 32)


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "nehalem"}, ("int8",)),
        ({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "haswell"}, ("int8", "float16")),
        (
            {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a53"},
            ("int8", "float16"),
        ),
        ({"kind": "cuda", "arch": "sm_80"}, ()),
    ],
)
def test_types_that_are_widened(description: dict[str, str], expected: tuple[str, ...]) -> None:
    assert widened_types(target_of(description)) == expected
