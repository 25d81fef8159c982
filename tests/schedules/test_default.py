"""The default schedule: the same numbers as without it, and every kernel marked."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from harness.compiler.api import PrimFunc, Schedule, relax, tvm
from harness.kernels.blocks import SCHEDULED, loop_extent
from harness.passes.fusion import fuse
from harness.schedules.untuned import schedule_untuned

TARGETS = {
    "wide": {"kind": "llvm", "num-cores": 2},
    "narrow": {"kind": "llvm", "mcpu": "x86-64-v2", "num-cores": 2},
}
OP = relax.op


def _nhwc_convolution(x, weight, padding=1, strides=1, groups=1):
    return OP.nn.conv2d(
        x, weight, strides, padding, groups=groups, data_layout="NHWC", kernel_layout="HWIO"
    )


def _relu6(x):
    zero, six = (relax.const(np.float32(value)) for value in (0, 6))
    return OP.minimum(OP.maximum(x, zero), six)


def _residual(x, weight, bias, before):
    return _relu6(OP.add(OP.add(_nhwc_convolution(x, weight), bias), before))


def _depthwise(x, weight):
    return _relu6(_nhwc_convolution(x, weight, strides=2, groups=x.ty.shape[3].value))


def _heads(x, weight):
    product = OP.reshape(OP.matmul(x, weight), (1, 8, 4, 16))
    return OP.permute_dims(product, [0, 2, 1, 3])


def _attention(queries, keys):
    return OP.matmul(queries, OP.permute_dims(keys, [0, 1, 3, 2]))


def _norm(x, scale, offset):
    return OP.nn.layer_norm(x, scale, offset, axes=[-1])


def _padded(x, weight):
    padded = OP.nn.pad(x, [0, 0, 1, 1, 1, 1, 0, 0])
    return OP.nn.relu(_nhwc_convolution(padded, weight, padding=0))


def _bigger(x):
    return OP.image.resize2d(x, (12, 12), layout="NHWC", method="nearest_neighbor")


CASES = {
    "residual": (_residual, (1, 9, 8, 16), (3, 3, 16, 32), (32,), (1, 9, 8, 32)),
    "residual-large": (_residual, (1, 28, 28, 24), (3, 3, 24, 40), (40,), (1, 28, 28, 40)),
    **{
        f"convolution-{channels}": (
            lambda x, w: OP.nn.relu(_nhwc_convolution(x, w)),
            (1, 10, 10, 3),
            (3, 3, 3, channels),
        )
        for channels in (3, 10, 17, 68)
    },
    "depthwise": (_depthwise, (1, 14, 14, 32), (3, 3, 1, 32)),
    "depthwise-odd": (_depthwise, (1, 15, 15, 10), (5, 5, 1, 10)),
    "matmul": (OP.matmul, (32, 48), (48, 64)),
    "matmul-vector": (lambda a, b, c: OP.add(OP.matmul(a, b), c), (1, 30), (30, 10), (10,)),
    "matmul-large": (lambda a, b: OP.nn.gelu(OP.matmul(a, b)), (96, 128), (128, 160)),
    "heads": (_heads, (1, 8, 32), (32, 64)),
    "attention": (_attention, (1, 3, 8, 16), (1, 3, 8, 16)),
    "softmax": (OP.nn.softmax, (1, 4, 32, 64)),
    "softmax-odd": (OP.nn.softmax, (3, 17)),
    "softmax-transposed": (
        lambda x: OP.permute_dims(OP.nn.softmax(x), [0, 1, 3, 2]),
        (1, 4, 32, 32),
    ),
    "layer-norm-transposed": (
        lambda *x: OP.permute_dims(_norm(*x), [0, 2, 1]),
        (1, 96, 96),
        (96,),
        (96,),
    ),
    "layer-norm": (_norm, (1, 7, 96), (96,), (96,)),
    "mean-of-channels": (lambda x: OP.mean(x, [1, 2]), (1, 7, 7, 96)),
    "mean-of-last": (lambda x: OP.mean(x, [-1]), (5, 64)),
    "maximum-of-all": (lambda x: OP.max(x), (5, 64)),
    "pooling": (lambda x: OP.nn.max_pool2d(x, 2, 2, layout="NHWC"), (1, 8, 8, 24)),
    "concat": (lambda a, b: OP.concat([OP.nn.relu(a), b], axis=-1), (2, 9, 5), (2, 9, 32)),
    "resize": (_bigger, (1, 6, 6, 20)),
    "pad-convolution": (_padded, (1, 8, 8, 4), (3, 3, 4, 16)),
    "transpose": (lambda x: OP.nn.relu(OP.permute_dims(x, [0, 2, 1])), (4, 40, 96)),
    "scalar": (lambda x: OP.exp(x), ()),
}


def _fused(build, *shapes) -> tvm.IRModule:
    parameters = [
        relax.Var(f"x{index}", relax.TensorType(shape, "float32"))
        for index, shape in enumerate(shapes)
    ]
    builder = relax.BlockBuilder()
    with builder.function("main", parameters):
        with builder.dataflow():
            # Normalised one by one: building functions may ask for the shapes of their arguments.
            result = builder.emit_output(builder.normalize(build(*parameters)))
        builder.emit_func_output(result)
    return fuse(builder.get(), "full")


def _run(module: tvm.IRModule, target: tvm.target.Target, feeds: list[np.ndarray]) -> np.ndarray:
    machine = relax.VirtualMachine(tvm.compile(module, target=target), tvm.cpu())
    return machine["main"](*[tvm.runtime.tensor(feed) for feed in feeds]).numpy()


def _kernels(module: tvm.IRModule) -> list[PrimFunc]:
    return [found for found in module.functions.values() if isinstance(found, PrimFunc)]


@pytest.mark.slow
@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("case", CASES)
def test_schedule_keeps_the_numbers_when_kernel_is(case: str, machine: str) -> None:
    build, *shapes = CASES[case]
    target = tvm.target.Target(TARGETS[machine])
    module = _fused(build, *shapes)
    scheduled = schedule_untuned(module, target, threads=2)
    random = np.random.default_rng(0)
    feeds = [random.standard_normal(shape).astype(np.float32) for shape in shapes]

    found, expected = (_run(candidate, target, feeds) for candidate in (scheduled, module))

    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.isfinite(found).all() and (found.size == 1 or found.std() > 0)
    assert all(kernel.attrs.get(SCHEDULED) for kernel in _kernels(scheduled))


@pytest.mark.parametrize("case", CASES)
def test_schedule_computes_nothing_twice(case: str) -> None:
    """But the input of a padded convolution, which is computed where it is read."""
    module = _fused(*CASES[case])
    for kernel in _kernels(schedule_untuned(module, tvm.target.Target(TARGETS["wide"]), 2)):
        schedule = Schedule(tvm.IRModule({"main": kernel}))
        for name in re.findall(r'T\.sblock\("(\w+)"\)', kernel.script()):
            if name in {"root", "pad_temp"}:
                continue
            block = schedule.get_sblock(name)
            loops = [loop_extent(schedule, loop) for loop in schedule.get_loops(block)]
            once = [int(axis.dom.extent) for axis in schedule.get(block).iter_vars]
            assert math.prod(loops) == math.prod(once), name


def test_schedule_vectorises_and_threads_when_there_is_enough_work() -> None:
    module = _fused(*CASES["residual-large"])
    (kernel,) = _kernels(schedule_untuned(module, tvm.target.Target(TARGETS["wide"]), 2))
    text = kernel.script()
    assert "T.parallel" in text and "T.vectorized" in text and 'scope="local"' in text


@pytest.mark.parametrize(("case", "threads"), [("matmul-vector", 2), ("residual-large", 1)])
def test_schedule_stays_on_one_thread_when_threads_do_not_pay(case: str, threads: int) -> None:
    module = _fused(*CASES[case])
    for kernel in _kernels(schedule_untuned(module, tvm.target.Target(TARGETS["wide"]), threads)):
        assert "T.parallel" not in kernel.script()


def test_schedule_leaves_kernel_alone_when_it_is_scheduled() -> None:
    target = tvm.target.Target(TARGETS["wide"])
    once = schedule_untuned(_fused(*CASES["matmul"]), target, 2)
    twice = schedule_untuned(once, target, 2)
    assert [kernel.script() for kernel in _kernels(twice)] == [
        kernel.script() for kernel in _kernels(once)
    ]


def test_schedule_leaves_kernel_alone_when_its_shape_is_dynamic() -> None:
    rows = tvm.tirx.Var("rows", "int64")
    module = _fused(OP.exp, (rows, 8))
    scheduled = schedule_untuned(module, tvm.target.Target(TARGETS["wide"]), 2)
    assert not any(kernel.attrs.get(SCHEDULED, False) for kernel in _kernels(scheduled))
