"""Runs kernels that are scheduled for a graphics processor on this machine's processor: compiled to
OpenCL instead of CUDA, by PoCL. Loops, bindings to threads, shared memory and barriers are those of
the schedule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from harness.compiler.api import (
    ArgInfo,
    PrimFunc,
    SBlock,
    opencl_modules,
    structural_walk,
    target_of,
    tirx,
    tvm,
)
from harness.devices.graphics.pocl import INSTALL, opencl_processor
from harness.errors import complaint, last_line

_LAUNCH = "tirx.call_ffi_kernel"
_BLOCKS = ("blockIdx.x", "blockIdx.y", "blockIdx.z")
_THREADS = ("threadIdx.x", "threadIdx.y", "threadIdx.z")
_MEMORIES = ("global", "shared", "local")
"""OpenCL's storage scopes. TVM compiles registers of a warp for it too, wrongly and silently."""
_LIMITS = ("max_num_threads", "max_threads_per_block", "max_shared_memory_per_block")
_PLACE = re.compile(r"\S+\.cl:\d+:\d+: ")
"""Where in its own temporary file PoCL's compiler complains."""


class NotOpenCL(Exception):
    """A kernel cannot be run in OpenCL here; the text says why. That does not make it wrong."""


class OpenCLKernel:
    """A kernel, compiled for this machine's processor from its schedule for a graphics processor,
    `target`. Raises NotOpenCL if OpenCL lacks a feature of the schedule."""

    def __init__(self, kernel: PrimFunc, target: tvm.target.Target) -> None:
        processor = opencl_processor()
        if processor is None:
            raise NotOpenCL(f"PoCL is not installed; {INSTALL}")
        import pyopencl

        if missing := _memories(kernel) - {*_MEMORIES}:
            raise NotOpenCL(f"it uses memory that OpenCL lacks: {', '.join(sorted(missing))}")
        self._arguments = [
            (tuple(map(int, info.shape)), np.dtype(str(info.dtype)))
            for info in ArgInfo.from_prim_func(kernel)
        ]
        try:
            self._host, parts = opencl_modules(kernel, _opencl(target))
        except Exception as error:  # TVM raises many kinds for missing features of a target
            raise NotOpenCL(f"TVM cannot compile it to OpenCL: {last_line(error)}") from None
        self._most_threads = int(processor.max_work_group_size)
        self._context = pyopencl.Context([processor])
        program = pyopencl.Program(self._context, str(parts.inspect_source()))
        try:
            self._program = program.build()
        except pyopencl.RuntimeError as error:
            raise NotOpenCL(f"PoCL cannot compile it: {_PLACE.sub('', complaint(error))}") from None

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The kernel's outputs, which are the arguments after its `inputs`. Elements that it does
        not write is not a number, or -1, in intermediate results too.

        Raises NotOpenCL where PoCL does not take one of its launches.
        """
        import pyopencl

        outputs = [_unwritten(*each) for each in self._arguments[len(inputs) :]]
        parameters = list(self._host.params)
        buffers: dict[Any, Any] = {
            parameter: self._buffer(array)
            for parameter, array in zip(parameters, [*inputs, *outputs], strict=True)
        }
        try:
            with pyopencl.CommandQueue(self._context) as queue:
                for step in _steps(self._host.body):
                    self._take(step, buffers, queue)
                for parameter, array in zip(parameters[len(inputs) :], outputs, strict=True):
                    pyopencl.enqueue_copy(queue, array, buffers[parameter])
        except pyopencl.Error as error:
            raise NotOpenCL(f"PoCL cannot run it: {_PLACE.sub('', complaint(error))}") from None
        return outputs

    def _buffer(self, array: np.ndarray) -> Any:
        import pyopencl

        flags = pyopencl.mem_flags.READ_WRITE | pyopencl.mem_flags.COPY_HOST_PTR
        return pyopencl.Buffer(self._context, flags, hostbuf=np.ascontiguousarray(array))

    def _take(self, step: Any, buffers: dict[Any, Any], queue: Any) -> None:
        """One step of the host's function; `buffers` has the memory of each of its variables."""
        if isinstance(step, tirx.AllocBuffer):
            shape = tuple(int(extent) for extent in step.buffer.shape)
            array = _unwritten(shape, np.dtype(str(step.buffer.dtype)))
            buffers[step.buffer] = self._buffer(array)
        elif isinstance(step, tirx.DeclBuffer):  # the same memory in another shape
            buffers[step.buffer] = buffers[step.data.args[0]]
        else:
            self._launch(step.value, buffers, queue)

    def _launch(self, call: Any, buffers: dict[Any, Any], queue: Any) -> None:
        """Start one part of the kernel: of each outermost loop nest TVM makes one."""
        import pyopencl

        name, *given = call.args
        tags = [str(tag) for tag in call.attrs.launch_params]
        arguments, counts = given[: -len(tags)], map(int, given[-len(tags) :])
        extents = dict(zip(tags, counts, strict=True))
        threads = [extents.get(tag, 1) for tag in _THREADS]
        blocks = [extents.get(tag, 1) for tag in _BLOCKS]
        if math.prod(threads) > self._most_threads:
            raise NotOpenCL(
                f"it has {math.prod(threads)} threads a block, and PoCL takes {self._most_threads}"
            )
        part = pyopencl.Kernel(self._program, str(name.value))
        part.set_args(*(buffers[each.args[0]] for each in arguments))
        whole = [count * each for count, each in zip(blocks, threads, strict=True)]
        pyopencl.enqueue_nd_range_kernel(queue, part, whole, threads)


def _opencl(target: tvm.target.Target) -> tvm.target.Target:
    """A target of OpenCL with the limits of a graphics processor. Its warps are single threads, as
    PoCL's are: no others run in step, and barriers replace CUDA's reliance on that."""
    limits = {name: int(target.attrs[name]) for name in _LIMITS if name in target.attrs}
    return target_of({"kind": "opencl", "thread_warp_size": 1, **limits}, host="llvm")


def _memories(kernel: PrimFunc) -> set[str]:
    """The kinds of memory that a kernel keeps intermediate results in."""
    found: set[str] = set()

    def add(block: SBlock) -> None:
        found.update(str(buffer.scope()) for buffer in block.alloc_buffers)

    structural_walk(kernel.body, (SBlock, add))
    return found


def _steps(statement: Any) -> Iterator[Any]:
    """The steps of the host's function, in order: memory, and calls that launch."""
    if isinstance(statement, tirx.SeqStmt):
        for each in statement.seq:
            yield from _steps(each)
    elif isinstance(statement, (tirx.AllocBuffer, tirx.DeclBuffer)) or _launches(statement):
        yield statement
    else:
        raise NotOpenCL(f"its host does not only launch, but has a {type(statement).__name__}")


def _launches(statement: Any) -> bool:
    call = getattr(statement, "value", None)
    return isinstance(call, tvm.ir.Call) and str(getattr(call.op, "name", "")) == _LAUNCH


def _unwritten(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array all bits of which are set."""
    return np.full(math.prod(shape) * dtype.itemsize, 0xFF, np.uint8).view(dtype).reshape(shape)
