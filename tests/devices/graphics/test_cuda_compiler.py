from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from machine_needs import needs_nvcc

from harness.compiler.api import Schedule, te, tvm
from harness.devices.graphics.cuda_compiler import CudaCompiler, reported
from harness.errors import CellFailure
from harness.records.compiled_code import Launch

PRINTED = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first_kernel' for 'sm_80'
ptxas info    : Function properties for first_kernel
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 6912 bytes smem, 376 bytes cmem[0]
ptxas info    : Compiling entry function 'second_kernel' for 'sm_80'
ptxas info    : Function properties for second_kernel
    16 bytes stack frame, 24 bytes spill stores, 40 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers, 376 bytes cmem[0]
"""
WHOLE = 'extern "C" __global__ void __launch_bounds__(64) k(float* a) { a[threadIdx.x] *= 2.0f; }'


def test_reported_is_what_the_assembler_says_of_each_function() -> None:
    assert reported(PRINTED) == [
        Launch(name="first_kernel", registers=64, shared_memory_bytes=6912, spill_bytes=0),
        Launch(name="second_kernel", registers=255, shared_memory_bytes=0, spill_bytes=64),
    ]


def test_reported_is_nothing_where_nothing_was_compiled() -> None:
    assert reported("nvcc warning : something") == []


@needs_nvcc
def test_compiler_gives_code_for_the_device() -> None:
    assert CudaCompiler("sm_80").code(WHOLE).startswith(b"\x7fELF")


@needs_nvcc
def test_launches_have_the_instructions_that_their_function_was_compiled_to() -> None:
    source = te.placeholder((64,), name="source")
    result = te.compute((64,), lambda at: source[at] * 2.0 + 1.0, name="result")
    schedule = Schedule(tvm.IRModule({"main": te.create_prim_func([source, result])}))
    schedule.bind(schedule.get_loops("result")[0], "threadIdx.x")
    target = tvm.target.Target({"kind": "cuda", "arch": "sm_80"})
    compiled = tvm.compile(schedule.mod, target=target)
    (launch,) = CudaCompiler("sm_80").launches(compiled.mod, None)
    found = launch.instructions
    assert found is not None and found.form == "ptx"
    assert (found.floating_point, found.global_loads, found.global_stores) == (1, 1, 1)


def test_compiler_looks_code_up_where_it_is_kept(tmp_path: Path) -> None:
    name = hashlib.sha256(WHOLE.encode()).hexdigest()[:16]
    (tmp_path / f"{name}.cubin").write_bytes(b"code")
    assert CudaCompiler("sm_80", kept=tmp_path).code(WHOLE) == b"code"


@needs_nvcc
def test_compiler_says_what_is_wrong_with_the_source() -> None:
    with pytest.raises(CellFailure, match=r"nvcc failed for sm_80: .*expected"):
        CudaCompiler("sm_80").code(WHOLE.replace(";", ""))


@needs_nvcc
def test_compiler_refuses_an_architecture_that_there_is_not() -> None:
    with pytest.raises(CellFailure, match="nvcc failed for sm_1"):
        CudaCompiler("sm_1").code(WHOLE)
