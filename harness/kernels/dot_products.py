"""Sums of four products of 8-bit integers, for which processors have instructions.

Schedules, vectors and cost models see a function of two 32-bit integers, `layeredge.dot4`: one
holds four neighbouring bytes of the data, the other the four weights that they meet. As its last
step, lowering makes of its addition to a sum what the target's instruction set has. `_SETS` has a
row for each. All of them are exact.

Where the products of the first two bytes, and of the others, have sums of 16 bits, processors
without `VPDPBUSD` are faster: `layeredge.dot4_pairs` says so. It takes two words of data and of
weights where the sums of both have 16 bits: one instruction then widens them for both.

Sources: Intel's and Arm's manuals of the instructions (`VPDPBUSD`, `VPMADDUBSW`, `VPMADDWD`,
`SDOT`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import chain, starmap
from typing import Any

import numpy as np

from harness.compiler.api import (
    PrimFunc,
    features_of,
    is_processor,
    operator_name,
    structural_map,
    structural_mutate,
    te,
    tirx,
    tvm,
)
from harness.compiler.patches import register_operator
from harness.kernels.arithmetic import Value, constant, like

BYTES = 4
"""How many products one sum has."""
_UNSIGNED, _PAIRS, _SIGNED = (f"layeredge.dot4_{form}" for form in ("unsigned", "pairs", "signed"))
_DATA = {_UNSIGNED: "uint8", _PAIRS: "uint8", _SIGNED: "int8"}
"""The type of the data, by the function. Weights are signed."""
FUNCTIONS = frozenset(_DATA)
PAIR = 128
"""Weights with absolute values of this sum, times unsigned bytes, have a sum of 16 bits."""
MOST_WORDS = 2
"""How many neighbouring words are summed in 16 bits where their weights are so small."""


@cache  # TVM takes one registration of a name
def register_dot_products() -> None:
    """Make the functions known to TVM."""
    for name in FUNCTIONS:
        register_operator(name)


def packed_words(weights: np.ndarray) -> np.ndarray:
    """Weights int8 `[..., 4]` as words int32 `[...]`, the first in the lowest byte."""
    return np.ascontiguousarray(weights, "<i1").view("<i4")[..., 0]


def words_in_16_bits(words: np.ndarray) -> int:
    """How many neighbouring words of weights, int32 `[..., words, outputs]`, have sums of pairs of
    products in 16 bits: 0, 1, or `MOST_WORDS` where that divides the words."""
    *outer, count, outputs = words.shape
    weights = np.abs(np.ascontiguousarray(words, "<i4").view("<i1").astype(np.int32))
    pairs = weights.reshape(*outer, count, outputs, 2, BYTES // 2).sum(axis=-1)
    for together in range(MOST_WORDS, 0, -1):
        if count % together == 0:
            sums = pairs.reshape(*outer, count // together, together, outputs, 2).sum(axis=-3)
            if (sums <= PAIR).all():
                return together
    return 0


def dot4(data: te.Tensor, *at: Any, weights: Sequence[Any], pairs: bool = False) -> Any:
    """The products of neighbours of 8-bit data, the first of which is `at` the indices, and of
    words of weights, summed in 32 bits; with `pairs` the sums of pairs of products, those of all
    words together, have 16 bits (see `words_in_16_bits`), else there is one word."""
    register_dot_products()
    *outer, first = at
    words = [_word(data, *outer, first + BYTES * place) for place in range(len(weights))]
    name = _SIGNED if str(data.dtype) == "int8" else _PAIRS if pairs else _UNSIGNED
    return tirx.call_intrin("int32", name, *chain.from_iterable(zip(words, weights, strict=True)))


def _word(data: te.Tensor, *at: Any) -> Any:
    """Four neighbours of 8-bit data as a number of 32 bits."""
    *outer, first = at
    parts = []
    for byte in range(BYTES):
        value = tirx.Cast("int32", data[(*outer, first + byte)])
        if str(data.dtype) == "int8":
            value = tirx.bitwise_and(value, tirx.const(255, "int32"))
        value = tirx.Cast("uint32", value)  # which a padding of 128, shifted by 24, fits into
        parts.append(tirx.shift_left(value, tirx.const(8 * byte, "uint32")) if byte else value)
    return tirx.reinterpret("int32", reduce(tirx.bitwise_or, parts))  # LLVM makes one load of it


def lower_dot_products(function: PrimFunc, module: Any, context: Any) -> PrimFunc:
    """A lowered kernel whose dot products are instructions of its target."""
    target = (function.attrs or {}).get("target")
    if target is None or not is_processor(target):
        return function
    sets = _sets_of(target)

    def added(addition: Value, mutator: Any) -> Value:
        for total, product in ((addition.a, addition.b), (addition.b, addition.a)):
            if (name := operator_name(product)) in FUNCTIONS:
                found = _instruction(name, product, sets)
                if found is not None:
                    return found(mutator.mutate(total), *map(mutator.mutate, product.args))
        return mutator.default_mutate(addition)

    def alone(call: Value, mutator: Any) -> Value:
        mutated = mutator.default_mutate(call)
        name = operator_name(mutated)
        return arithmetic(name, *mutated.args) if name in FUNCTIONS else mutated

    rules: list[Any] = [(tirx.Add, added), (tvm.ir.Call, alone)]
    return function.with_body(structural_mutate(function.body, rules))


def in_products(kernel: PrimFunc) -> PrimFunc:
    """A kernel whose dot products are written as the multiplications and additions that they are,
    to count them."""

    def written(call: Value) -> Value:
        if operator_name(call) not in FUNCTIONS:
            return call
        products = [one * other for one, other in _in_twos(call.args) for _ in range(BYTES)]
        return reduce(lambda total, product: total + product, products)

    return kernel.with_body(structural_map(kernel.body, (tvm.ir.Call, written)))


def arithmetic(name: str, *words: Value) -> Value:
    """Dot products of words of data and of weights, in turn, in arithmetic that every target
    has."""

    def signed(value: Value, byte: int) -> Value:
        raised = tirx.shift_left(value, constant(24 - 8 * byte, value))
        return tirx.shift_right(raised, constant(24, value))

    def unsigned(value: Value, byte: int) -> Value:
        lowered = tirx.shift_right(value, constant(8 * byte, value))
        return tirx.bitwise_and(lowered, constant(255, value))

    of_data = signed if name == _SIGNED else unsigned
    products = [
        of_data(data, byte) * signed(weights, byte)
        for data, weights in _in_twos(words)
        for byte in range(BYTES)
    ]
    return reduce(lambda one, other: one + other, products)


def _in_twos(words: Sequence[Value]) -> Iterator[tuple[Value, Value]]:
    return zip(words[::2], words[1::2], strict=True)


Instruction = Callable[..., Value]
"""A sum of 32-bit integers plus the dot products of words of data and of weights, in turn."""


@dataclass(frozen=True)
class _Set:
    """Instructions of processors that have all `features`: by the function, and by how many sums a
    vector has."""

    features: frozenset[str]
    function: str
    by_lanes: dict[int, Instruction]


def _intrinsic(name: str, data: str) -> Instruction:
    """An intrinsic of LLVM that adds to sums: their type, that of the data, and int8 weights."""

    def add(total: Value, given: Value, weights: Value) -> Value:
        count = BYTES * _lanes(total)
        given, weights = (
            tirx.reinterpret(f"{dtype}x{count}", each)
            for dtype, each in ((data, given), ("int8", weights))
        )
        return tirx.call_llvm_pure_intrin(str(total.ty), name, total, given, weights)

    return add


def _in_two_steps(multiply: str, add_pairs: str) -> Instruction:
    """`VPMADDUBSW` multiplies bytes and adds neighbours, in 16 bits; `VPMADDWD` by ones adds
    those, of all words at once."""

    def add(total: Value, *words: Value) -> Value:
        lanes = _lanes(total)
        halves = f"int16x{2 * lanes}"

        def multiplied(data: Value, weights: Value) -> Value:
            of_data = tirx.reinterpret(f"uint8x{BYTES * lanes}", data)
            of_weights = tirx.reinterpret(f"int8x{BYTES * lanes}", weights)
            return tirx.call_llvm_pure_intrin(halves, multiply, of_data, of_weights)

        sums = reduce(lambda one, other: one + other, starmap(multiplied, _in_twos(words)))
        ones = tirx.const(1, halves)
        return total + tirx.call_llvm_pure_intrin(str(total.ty), add_pairs, sums, ones)

    return add


def _of_pairs(name: str) -> Instruction:
    """`VPMADDWD` multiplies 16-bit integers and adds neighbours: the even bytes, then the odd."""

    def add(total: Value, given: Value, weights: Value) -> Value:
        halves = f"int16x{2 * _lanes(total)}"
        eight = tirx.const(8, halves)
        given = tirx.reinterpret(halves, given)
        weights = tirx.reinterpret(halves, weights)
        low = tirx.bitwise_and(given, tirx.const(255, halves))
        high = tirx.bitwise_and(tirx.shift_right(given, eight), tirx.const(255, halves))
        even = tirx.shift_right(tirx.shift_left(weights, eight), eight)
        odd = tirx.shift_right(weights, eight)
        for one, other in ((low, even), (high, odd)):
            total = total + tirx.call_llvm_pure_intrin(str(total.ty), name, one, other)
        return total

    return add


_SETS = (
    _Set(
        frozenset({"avx512vnni", "avx512vl"}),
        _UNSIGNED,
        {
            lanes: _intrinsic(f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", "uint8")
            for lanes in (4, 8, 16)
        },
    ),
    _Set(
        frozenset({"avxvnni"}),
        _UNSIGNED,
        {lanes: _intrinsic(f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", "uint8") for lanes in (4, 8)},
    ),
    _Set(
        frozenset({"avx512bw"}),
        _PAIRS,
        {16: _in_two_steps("llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512")},
    ),
    _Set(
        frozenset({"avx2"}),
        _PAIRS,
        {
            4: _in_two_steps("llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.sse2.pmadd.wd"),
            8: _in_two_steps("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
        },
    ),
    _Set(frozenset({"avx512bw"}), _UNSIGNED, {16: _of_pairs("llvm.x86.avx512.pmaddw.d.512")}),
    _Set(
        frozenset({"avx2"}),
        _UNSIGNED,
        {4: _of_pairs("llvm.x86.sse2.pmadd.wd"), 8: _of_pairs("llvm.x86.avx2.pmadd.wd")},
    ),
    _Set(
        frozenset({"dotprod"}),
        _SIGNED,
        {4: _intrinsic("llvm.aarch64.neon.sdot.v4i32.v16i8", "int8")},
    ),
)
"""The best come first."""


def _sets_of(target: tvm.target.Target) -> list[_Set]:
    features = features_of(target)
    return [each for each in _SETS if each.features <= features]


@dataclass(frozen=True)
class Products:
    """How a target multiplies 8-bit integers: with data of type `dtype`, and signed weights. Where
    it is faster to add pairs of products in 16 bits, `pairs` is set."""

    dtype: str
    pairs: bool = False


def products_of(target: tvm.target.Target) -> Products | None:
    """How a target multiplies 8-bit integers; None where it has no instruction for that: floats are
    faster there."""
    sets = _sets_of(target)
    return Products(_DATA[sets[0].function], sets[0].function == _PAIRS) if sets else None


def _instruction(name: str, product: Value, sets: Collection[_Set]) -> Instruction | None:
    lanes = _lanes(product)
    fitting = (each.by_lanes.get(lanes) for each in sets if each.function == name)
    return next((each for each in fitting if each is not None), None)


def _lanes(value: Value) -> int:
    return int(like(value, "").removeprefix("x") or 1)
