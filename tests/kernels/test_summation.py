"""Long sums of floats are cut in parts: as exact as they can be, and the same sums otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.building.network import compile_scheduled, machine_of
from harness.compiler.api import PrimFunc, SBlock, relax, structural_walk, target_of, tvm
from harness.devices.linker import linker
from harness.kernels.summation import is_part
from harness.measure.memory_safety import unsafe_kernels
from harness.passes.fusion import fuse, kernels
from harness.schedules.untuned import schedule_untuned

OP = relax.op
TARGET = target_of({"kind": "llvm", "mcpu": "x86-64-v3", "num-cores": 2})
GRAPHICS = {"kind": "cuda", "arch": "sm_80", "max_threads_per_block": 1024}
MOST = 128

Build = Callable[..., relax.Expr]


def _network(build: Build, *shapes: Sequence[int], dtype: str = "float32") -> tvm.IRModule:
    parameters = [
        relax.Var(f"x{at}", relax.TensorType(tuple(shape), dtype))
        for at, shape in enumerate(shapes)
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", parameters):
        with builder.dataflow():
            result = builder.emit_output(builder.normalize(build(*parameters)))
        builder.emit_func_output(result)
    return builder.get()


def _run(module: tvm.IRModule, *arrays: np.ndarray) -> np.ndarray:
    """The output of a fused network in its default schedule."""
    machine = machine_of(module, TARGET, 2)
    found: np.ndarray = machine["main"](*map(tvm.runtime.tensor, arrays)).numpy()
    return found


def _blocks(module: tvm.IRModule) -> Iterator[SBlock]:
    for function in module.functions.values():
        if isinstance(function, PrimFunc):
            found: list[SBlock] = []
            structural_walk(function.body, (SBlock, found.append))
            yield from (block for block in found if block.name_hint != "root")


def _terms(module: tvm.IRModule) -> list[int]:
    """How many terms each sum, or other reduction, of a network has."""
    return [
        math.prod(int(axis.dom.extent) for axis in block.iter_vars if axis.iter_type == 2)
        for block in _blocks(module)
        if block.init is not None
    ]


def _off(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


MEANS = {
    "a vocabulary": ((2, 18_710), (1,)),
    "a prime": ((3, 4_999), (1,)),
    "an image, channels last": ((1, 120, 160, 12), (1, 2)),
    "an image, channels first": ((1, 12, 120, 160), (2, 3)),
    "an image of odd size, channels first": ((2, 131, 197), (1, 2)),
    "tokens": ((1, 3_137, 24), (1,)),
    "an axis and what it is within": ((3, 20_011, 5), (0, 1)),
    "everything": ((7, 50, 70), (0, 1, 2)),
}


@pytest.mark.parametrize("case", MEANS)
def test_mean_is_exact_to_a_few_roundings_over(case: str) -> None:
    shape, axes = MEANS[case]
    data = np.random.default_rng(1).uniform(1, 2, shape).astype(np.float32)
    fused = fuse(_network(lambda x: OP.mean(x, list(axes)), shape), "full")
    exact = data.astype(np.float64).mean(axes)
    assert max(_terms(fused)) <= MOST
    # Added one after the other these are off by 1e-6 to 4e-6.
    assert _off(_run(fused, data), exact) < 2.5e-7


@pytest.mark.parametrize(
    ("build", "reference"),
    [
        (OP.nn.softmax, _softmax),
        (OP.nn.log_softmax, lambda x: np.log(_softmax(x))),
        (lambda x: OP.sum(OP.multiply(x, x), [1]), lambda x: (x * x).sum(1)),
    ],
    ids=["softmax", "log-softmax", "sum-of-squares"],
)
def test_what_sums_inside_is_exact_too(build: Build, reference: Callable[..., np.ndarray]) -> None:
    data = np.random.default_rng(2).normal(size=(4, 18_710)).astype(np.float32)
    fused = fuse(_network(build, data.shape), "full")
    assert any(map(is_part, _blocks(fused)))
    assert _off(_run(fused, data), reference(data.astype(np.float64))) < 4e-7


@pytest.mark.parametrize(
    ("build", "shape"),
    [(OP.nn.softmax, (3, 18_713)), (lambda x: OP.mean(x, [1]), (1, 4_999, 3))],
    ids=["neighbours", "parts"],
)
def test_parts_of_unequal_length_read_nothing_outside(
    build: Build, shape: tuple[int, ...], tmp_path: Path
) -> None:
    fused = fuse(_network(build, shape), "full")
    executable = compile_scheduled(schedule_untuned(fused, TARGET, 2), TARGET).executable
    executable.export_library(str(tmp_path / "library.so"), cc=linker(None))
    names = [kernel.name for kernel in kernels(fused)]
    data = np.random.default_rng(6).normal(size=shape).astype(np.float32)
    assert names and not unsafe_kernels(tmp_path / "library.so", names, [data])


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    shape=st.lists(st.integers(1, 40), min_size=0, max_size=2),
    long=st.integers(1, 3000),
    at=st.integers(0, 2),
    data=st.data(),
)
def test_any_sum_keeps_its_value(shape: list[int], long: int, at: int, data: st.DataObject) -> None:
    shape.insert(min(at, len(shape)), long)
    axes = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1).map(sorted))
    keep = data.draw(st.booleans())
    array = np.random.default_rng(3).uniform(-1, 2, shape).astype(np.float32)
    fused = fuse(_network(lambda x: OP.sum(x, axes, keep), shape), "none")
    assert max(_terms(fused), default=1) <= MOST
    exact = array.astype(np.float64).sum(tuple(axes), keepdims=keep)
    np.testing.assert_allclose(_run(fused, array), exact, rtol=1e-5, atol=1e-4)


NORMS: dict[str, tuple[Build, tuple[tuple[int, ...], ...], tuple[int, ...]]] = {
    "layer": (
        lambda x, scale, offset: OP.nn.layer_norm(x, scale, offset, axes=[-1]),
        ((3, 10, 384), (384,), (384,)),
        (2,),
    ),
    "instance": (
        lambda x, scale, offset: OP.nn.instance_norm(x, scale, offset, 1, [2, 3]),
        ((2, 6, 24, 25), (6, 1, 1), (6, 1, 1)),
        (2, 3),
    ),
    "instance, channels last": (
        lambda x, scale, offset: OP.nn.instance_norm(x, scale, offset, 3, [1, 2]),
        ((2, 24, 25, 6), (6,), (6,)),
        (1, 2),
    ),
    "group": (
        lambda x, scale, offset: OP.nn.group_norm(x, scale, offset, 4, 1, [2, 3]),
        ((2, 16, 12, 13), (16, 1, 1), (16, 1, 1)),
        (2, 3, 4),
    ),
}


@pytest.mark.parametrize("case", NORMS)
def test_normalisation_is_exact_where_the_mean_is_large(case: str) -> None:
    build, shapes, axes = NORMS[case]
    random = np.random.default_rng(4)
    data, scale, offset = (random.normal(size=shape).astype(np.float32) for shape in shapes)
    data += np.float32(1000)
    fused = fuse(_network(build, shapes[0], (scale.size,), (offset.size,)), "full")
    found = _run(fused, data, scale.ravel(), offset.ravel())

    # The deviations lose what rounding the mean does: 2^-24 of a thousand.
    groups = (2, 4, 4, 12, 13) if case == "group" else shapes[0]
    wide = data.astype(np.float64).reshape(groups)
    normal = wide - wide.mean(axes, keepdims=True)
    normal /= np.sqrt(np.square(normal).mean(axes, keepdims=True) + 1e-5)
    assert _off(found, normal.reshape(shapes[0]) * scale + offset) < 1e-4


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("case", ["instance", "group"])
def test_normalisation_of_other_floats(case: str, dtype: str) -> None:
    build, shapes, axes = NORMS[case]
    random = np.random.default_rng(5)
    data, scale, offset = (random.normal(size=shape).astype(dtype) for shape in shapes)
    network = _network(build, shapes[0], (scale.size,), (offset.size,), dtype=dtype)
    found = _run(fuse(network, "full"), data, scale.ravel(), offset.ravel())
    groups = (2, 4, 4, 12, 13) if case == "group" else shapes[0]
    wide = data.astype(np.float64).reshape(groups)
    normal = wide - wide.mean(axes, keepdims=True)
    normal /= np.sqrt(np.square(normal).mean(axes, keepdims=True) + 1e-5)
    exact = normal.reshape(shapes[0]) * scale + offset
    assert found.dtype == dtype
    off = 1e-3 if dtype == "float16" else 1e-12
    np.testing.assert_allclose(found, exact, rtol=off, atol=off)


def test_products_and_other_reductions_stay_whole() -> None:
    network = _network(lambda a, b: OP.max(OP.matmul(a, b), [1]), (4, 300), (300, 200))
    fused = fuse(network, "full")
    assert sorted(_terms(fused)) == [200, 300]
    assert not any(map(is_part, _blocks(fused)))


def test_short_sums_and_integers_stay_as_they_are() -> None:
    short = fuse(_network(lambda x: OP.sum(x, [1]), (4, MOST)), "full")
    whole = fuse(_network(lambda x: OP.sum(x, [1]), (4, 1000), dtype="int32"), "full")
    assert _terms(short) == [MOST]
    assert _terms(whole) == [1000]


def test_sums_stay_whole_for_a_graphics_processor() -> None:
    network = _network(lambda x: OP.sum(x, [1]), (4, 1000))
    assert _terms(fuse(network, "full", target_of(GRAPHICS, host="llvm"))) == [1000]
