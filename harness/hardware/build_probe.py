"""Builds, links, loads and runs one small kernel for this machine; a program `doctor` runs.

`python -m harness.hardware.build_probe FOLDER` leaves the library in FOLDER. It fails where there
is no working C compiler, and crashes where LLVM uses instructions the processor lacks.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from harness.compiler.api import te, tvm
from harness.hardware import detect_host

LENGTH = 1000


def main(folder: Path) -> None:
    """Compile `y = 2 x + 1`, and check the results of the library loaded from `folder` for 0, 1,
    2…"""
    x = te.placeholder((LENGTH,), name="x", dtype="float32")
    y = te.compute((LENGTH,), lambda i: x[i] * 2.0 + 1.0, name="y")
    module = tvm.IRModule({"main": te.create_prim_func([x, y])})
    target = tvm.target.Target(detect_host().tvm.as_tvm())
    path = str(folder / "probe.so")
    tvm.compile(module, target=target).export_library(path)
    numbers = np.arange(LENGTH, dtype="float32")
    result = tvm.runtime.empty((LENGTH,), "float32")
    tvm.runtime.load_module(path)["main"](tvm.runtime.tensor(numbers), result)
    if not np.array_equal(result.numpy(), numbers * 2 + 1):
        raise ArithmeticError("the compiled kernel computed a wrong result")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
