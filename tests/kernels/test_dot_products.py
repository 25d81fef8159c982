"""Sums of four products of bytes are those of integer arithmetic, by every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from harness.building.network import flops
from harness.compiler.api import Schedule, features_of, te, tvm
from harness.hardware import HOST, load_target
from harness.kernels.dot_products import (
    BYTES,
    FUNCTIONS,
    MOST_WORDS,
    PAIR,
    Products,
    dot4,
    packed_words,
    products_of,
    words_in_16_bits,
)
from harness.kernels.lowering import use_our_lowering

ROWS, WORDS = 3, 18
_X86, _ARM = "x86_64-linux-gnu", "aarch64-linux-gnu"
HERE = features_of(tvm.target.Target(load_target(HOST).tvm.as_tvm()))

# The instruction, the target's triple and features, and how many sums a vector of it has.
_SETS = [
    ("vpdpbusd", _X86, "+avx512vnni,+avx512vl,+avx512bw,+avx512f", (4, 8, 16)),
    ("vpdpbusd", _X86, "+avxvnni,+avx2", (4, 8)),
    ("vpmaddubsw", _X86, "+avx512bw,+avx512f", (16,)),
    ("vpmaddubsw", _X86, "+avx2", (4, 8)),
    ("vpmaddwd", _X86, "+avx512bw,+avx512f", (16,)),
    ("vpmaddwd", _X86, "+avx2", (4, 8)),
    ("sdot", _ARM, "+neon,+dotprod", (4,)),
]


def _target(triple: str, features: str) -> tvm.target.Target:
    return tvm.target.Target({"kind": "llvm", "mtriple": triple, "mattr": features.split(",")})


def _compiled(
    target: tvm.target.Target, lanes: int, dtype: str, *, pairs: int = 0
) -> tvm.runtime.Module:
    data = te.placeholder((ROWS, WORDS * BYTES), dtype, "data")
    weights = te.placeholder((WORDS, lanes), "int32", "weights")
    together = max(1, pairs)
    run = te.reduce_axis((0, WORDS // together), "run")

    def products(row: te.Var, lane: te.Var) -> te.PrimExpr:
        words = [weights[run * together + place, lane] for place in range(together)]
        first = run * together * BYTES
        return te.sum(dot4(data, row, first, weights=words, pairs=bool(pairs)), axis=run)

    sums = te.compute((ROWS, lanes), products, name="sums")
    schedule = Schedule(te.create_prim_func([data, weights, sums]))
    row, lane, along = schedule.get_loops("sums")
    schedule.reorder(row, along, lane)
    if lanes > 1:
        schedule.vectorize(lane)
    use_our_lowering()
    return tvm.compile(schedule.mod, target=target)


def _drawn(dtype: str, lanes: int, *, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Data [rows, inputs] and weights [inputs, lanes], extreme ones among them; of pairs that add
    up to no more than they may, those of so many words together."""
    random = np.random.default_rng(0)
    limits = np.iinfo(dtype)
    data = random.integers(limits.min, limits.max + 1, (ROWS, WORDS * BYTES)).astype(dtype)
    weights = random.integers(-128, 128, (WORDS * BYTES, lanes)).astype(np.int8)
    data[0], data[1] = limits.max, limits.min
    weights[:, 0], weights[:, -1] = -128, 127
    if pairs:
        size = np.abs(weights[::2].astype(int))
        weights[1::2] = np.sign(weights[1::2]) * (PAIR - size)
        weights[1::2, 0] = -(PAIR - size[:, 0])
        weights[0::2, 1 % lanes], weights[1::2, 1 % lanes] = -64, -64
        # The sums of a word are spread over all words that are summed with it.
        weights = np.trunc(weights / pairs).astype(np.int8)
    return data, weights


def _check(module: tvm.runtime.Module, dtype: str, lanes: int, *, pairs: int = 0) -> None:
    data, weights = _drawn(dtype, lanes, pairs=pairs)
    words = packed_words(weights.reshape(WORDS, BYTES, lanes).transpose(0, 2, 1))
    assert words_in_16_bits(words) == pairs
    found = tvm.runtime.tensor(np.zeros((ROWS, lanes), np.int32))
    module.jit()["main"](tvm.runtime.tensor(data), tvm.runtime.tensor(words), found)
    np.testing.assert_array_equal(found.numpy(), data.astype(np.int64) @ weights.astype(np.int64))


@pytest.mark.parametrize(
    ("instruction", "triple", "features", "lanes", "pairs"),
    [
        (*each[:3], lanes, together)
        for each in _SETS
        for lanes in each[3]
        for together in ((1, MOST_WORDS) if each[0] == "vpmaddubsw" else (0,))
    ],
)
def test_instructions_give_the_sums_of_integers(
    instruction: str, triple: str, features: str, lanes: int, pairs: int
) -> None:
    target = _target(triple, features)
    products = products_of(target)
    assert products is not None and products.pairs == (bool(pairs) or instruction == "vpmaddwd")
    module = _compiled(target, lanes, products.dtype, pairs=pairs)
    assert instruction in module.mod.inspect_source("asm")
    if not frozenset(features.replace("+", "").split(",")) <= HERE:
        pytest.skip(f"this machine lacks some of {features}: compiled, not run")
    _check(module, products.dtype, lanes, pairs=pairs)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 8])
def test_any_target_has_the_sums(dtype: str, lanes: int) -> None:
    module = _compiled(tvm.target.Target("llvm"), lanes, dtype)
    _check(module, dtype, lanes)


@pytest.mark.parametrize(
    ("triple", "features", "products"),
    [
        (_X86, "+avx2", Products("uint8", pairs=True)),
        (_X86, "+avx2,+avxvnni", Products("uint8")),
        (_X86, "+sse4.2", None),
        (_ARM, "+neon", None),
        (_ARM, "+neon,+dotprod", Products("int8")),
    ],
)
def test_data_have_the_type_that_instructions_take(
    triple: str, features: str, products: Products | None
) -> None:
    assert products_of(_target(triple, features)) == products


def test_no_function_of_ours_is_left_to_link() -> None:
    module = _compiled(tvm.target.Target("llvm"), 4, "uint8")
    assert not any(name in module.mod.inspect_source("asm") for name in FUNCTIONS)


def test_four_products_and_sums_are_counted() -> None:
    lanes = 4
    data = te.placeholder((ROWS, WORDS * BYTES), "uint8")
    weights = te.placeholder((WORDS, lanes), "int32")
    word = te.reduce_axis((0, WORDS))
    sums = te.compute(
        (ROWS, lanes),
        lambda row, lane: te.sum(
            dot4(data, row, word * BYTES, weights=[weights[word, lane]]), axis=word
        ),
    )
    assert flops(te.create_prim_func([data, weights, sums])) == 2 * ROWS * lanes * WORDS * BYTES
