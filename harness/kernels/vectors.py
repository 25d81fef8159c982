"""The vector registers of a target."""

from __future__ import annotations

import numpy as np

from harness.compiler.api import code_kind, features_of, tvm
from harness.hardware.llvm import register_bits


def vector_registers(target: tvm.target.Target) -> tuple[int, int]:
    """How many bytes a vector register of a target has, and how many of them may hold values that
    are multiplied and summed up.

    64-bit ARM has 32, and so has AVX-512, which multiplies by a number that it broadcasts from
    memory. AVX and before have 16, of which one is for the broadcast number.
    """
    features = features_of(target)
    vector_bytes = register_bits(features) // 8
    return vector_bytes, 15 if _is_x86(target) and "avx512f" not in features else 32


def vector_lanes(target: tvm.target.Target, dtype: str = "float32") -> int:
    """How many values of a type a vector register of a target holds: one on a graphics processor,
    where threads take the place of vectors."""
    if not code_kind(target).vectors:
        return 1
    return vector_registers(target)[0] // np.dtype(dtype).itemsize


def widened_types(target: tvm.target.Target) -> tuple[str, ...]:
    """The types narrower than float32 of which a target widens a vector in an instruction or two,
    the narrowest first; none on a graphics processor. Of x86 processors those with F16C convert
    half precision, of 64-bit ARM all."""
    if not code_kind(target).vectors:
        return ()
    halves = not _is_x86(target) or "f16c" in features_of(target)
    return ("int8", "float16") if halves else ("int8",)


def _is_x86(target: tvm.target.Target) -> bool:
    return "x86" in str(target.attrs.get("mtriple", "x86"))
