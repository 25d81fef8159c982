"""The first elements of each row in their order, which TVM has no kernel for.

A row's best elements so far are kept sorted, and a better one is inserted: rows of random order
take few insertions. Of equal elements the first comes first. NaN is greater than all numbers.
"""

from __future__ import annotations

from typing import Any

from harness.compiler.api import OPAQUE, PrimFunc, tirx
from harness.compiler.script import IRBuilder, T
from harness.kernels.arithmetic import is_nan
from harness.kernels.blocks import SCHEDULED


def top_elements(
    rows: int, length: int, count: int, dtype: str, place_dtype: str, greatest: bool
) -> PrimFunc:
    """The kernel: data [rows, length]; results values and places, both [rows, count]."""

    def better(one: Any, other: Any) -> Any:
        first, second = (one, other) if greatest else (other, one)
        if not dtype.startswith("float"):
            return first > second
        return tirx.any(
            first > second, tirx.all(is_nan(first, dtype), tirx.Not(is_nan(second, dtype)))
        )

    with IRBuilder() as builder:
        with T.prim_func():
            T.func_name("top_elements")
            T.func_attr({"tirx.noalias": True, SCHEDULED: True, "op_pattern": OPAQUE})
            data = T.arg("data", T.buffer((rows, length), dtype))
            values = T.arg("values", T.buffer((rows, count), dtype))
            places = T.arg("places", T.buffer((rows, count), place_dtype))
            # TVM looks for reshapes among kernels of one input, and wants a block in those.
            with T.sblock("root"), T.parallel(rows) as row:
                at = T.alloc_buffer((1,), "int32", scope="local")
                with T.serial(length) as element:
                    value = T.bind(data[row, element])
                    last = values[row, count - 1]
                    # The row is not full yet where it is read: `values` has been written then.
                    enters = T.if_then_else(element < count, T.bool(True), better(value, last))
                    with T.If(enters), T.Then():
                        T.buffer_store(at, T.min(element, count - 1), [0])
                        moves = T.if_then_else(
                            at[0] > 0,
                            better(value, values[row, T.max(at[0] - 1, 0)]),
                            T.bool(False),
                        )
                        with T.While(moves):
                            before = T.max(at[0] - 1, 0)
                            T.buffer_store(values, values[row, before], [row, at[0]])
                            T.buffer_store(places, places[row, before], [row, at[0]])
                            T.buffer_store(at, before, [0])
                        T.buffer_store(values, value, [row, at[0]])
                        T.buffer_store(places, T.cast(element, place_dtype), [row, at[0]])
        return builder.get()
