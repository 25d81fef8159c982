from __future__ import annotations

import itertools

import numpy as np
import pytest
from compiling import run_fused
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm_runs import operators_of

from harness.compiler.api import operator_name, relax, shape_of, structural_equal, tvm
from harness.passes.fusion import fuse
from harness.passes.rewriter import Rewriter


class _Permute(Rewriter):
    """Turns each `permute_dims` into what the rewriter makes of it."""

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        if operator_name(call) != "relax.permute_dims":
            return None
        return self.permuted(call.args[0], tuple(int(axis) for axis in call.attrs.axes))


def _permutes(shape: tuple[int, ...], *orders: tuple[int, ...]) -> tvm.IRModule:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            value: relax.Expr = builder.emit(relax.op.negative(x))
            for order in orders:
                value = builder.emit(relax.op.permute_dims(value, list(order)))
            value = builder.emit_output(value)
        builder.emit_func_output(value)
    return builder.get()


@pytest.mark.parametrize(
    ("shape", "orders", "expected"),
    [
        ((2, 3, 4), [(0, 1, 2)], []),
        ((2, 3, 4), [(1, 2, 0), (2, 0, 1)], []),
        ((1, 3, 1, 4), [(0, 2, 1, 3)], ["relax.reshape"]),
        ((2, 3, 4), [(0, 2, 1)], ["relax.permute_dims"]),
        ((2, 3, 4), [(0, 2, 1), (1, 0, 2)], ["relax.permute_dims"]),
    ],
)
def test_permutations_become_the_least_that_does_it(
    shape: tuple[int, ...], orders: list[tuple[int, ...]], expected: list[str]
) -> None:
    rewritten = _Permute.apply(_permutes(shape, *orders))
    assert operators_of(rewritten) == ["relax.negative", *expected]


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.tuples(*[st.integers(1, 3)] * 3),
    st.lists(st.sampled_from(list(itertools.permutations(range(3)))), min_size=1, max_size=3),
)
def test_permutations_keep_the_numbers(
    shape: tuple[int, ...], orders: list[tuple[int, ...]]
) -> None:
    module = _Permute.apply(_permutes(shape, *orders))
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = -x
    for order in orders:
        expected = expected.transpose(order)
    assert shape_of(module["main"].body.body) == expected.shape
    (found,) = run_fused(fuse(module, "none"), [x])
    np.testing.assert_array_equal(found, expected)


def test_rewriter_keeps_a_network_that_no_rule_concerns() -> None:
    class Nothing(Rewriter):
        def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
            return None

    module = _permutes((2, 3), (1, 0))
    assert structural_equal(Nothing.apply(module)["main"], module["main"])


def test_uses_count_every_reader() -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((2,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            twice = builder.emit(relax.op.exp(x))
            total = builder.emit(relax.op.add(twice, twice))
            result = builder.emit_output(relax.Tuple([total, twice]))
        builder.emit_func_output(result)
    rewriter = Rewriter(builder.get())
    # `x` once, the dataflow block's result once, `total` once, `twice` three times.
    assert sorted(rewriter.uses.values()) == [1, 1, 1, 3]
