"""What elementary functions and extrema cost, beside those of another revision.

    python benchmarks/elementary_cost.py REVISION

The same kernels (one function over a vector that the nearest cache holds) are compiled with the
arithmetic of this checkout and of another revision of it, for the processor of this machine. They
are loaded into one process and measured interleaved; the ratio of each round is a sample, so that
other load cancels out. Above 1, this checkout is slower.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
ELEMENTS = 4096
_CALLS, _TURNS = 200, 200
_BUILD = """
import sys
from harness.hardware import load_target
from harness.kernels.lowering import use_our_lowering
from harness.compiler.api import Schedule, target_of, te, tirx, tvm

use_our_lowering()
zero, six = tirx.const(0, "float32"), tirx.const(6, "float32")
functions = {
    "exp": tirx.exp,
    "tanh": tirx.tanh,
    "erf": tirx.erf,
    "sigmoid": tirx.sigmoid,
    "relu": lambda x: tirx.max(x, zero),
    "clip": lambda x: tirx.max(tirx.min(x, six), zero),
    "maximum": lambda x, y: tirx.max(x, y),
}
target = target_of(load_target("x86-host").tvm.as_tvm())
modules = {}
for name, function in functions.items():
    count = 2 if name == "maximum" else 1
    given = [te.placeholder((ELEMENTS,), name=f"x{at}") for at in range(count)]
    found = te.compute((ELEMENTS,), lambda at: function(*(x[at] for x in given)), name="found")
    schedule = Schedule(tvm.IRModule({"main": te.create_prim_func([*given, found])}))
    _, lanes = schedule.split(schedule.get_loops("found")[0], [None, 8])
    schedule.vectorize(lanes)
    modules[name] = schedule.mod["main"].with_attr("global_symbol", name)
row = te.placeholder((ELEMENTS // 8, 8), name="row")
along = te.reduce_axis((0, ELEMENTS // 8), name="along")
greatest = te.compute((8,), lambda at: te.max(row[along, at], axis=along), name="greatest")
schedule = Schedule(tvm.IRModule({"main": te.create_prim_func([row, greatest])}))
kept, reduced = schedule.get_loops("greatest")
schedule.reorder(reduced, kept)
schedule.vectorize(kept)
schedule.decompose_reduction("greatest", reduced)
modules["greatest"] = schedule.mod["main"].with_attr("global_symbol", "greatest")
tvm.compile(tvm.IRModule(modules), target=target).export_library(sys.argv[1])
"""


def built(source: Path, library: Path) -> Path:
    """The kernels as one version of the package compiles them."""
    script = _BUILD.replace("ELEMENTS", str(ELEMENTS))
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, "-c", script, str(library)]
    subprocess.run(command, check=True, env=environment, cwd=source)
    return library


def extracted(revision: str, folder: Path) -> Path:
    """The package of another revision."""
    archive = subprocess.run(
        ["git", "archive", revision, "harness", "targets"],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def seconds(function: object, arguments: list[object]) -> float:
    begin = time.perf_counter()
    for _ in range(_CALLS):
        function(*arguments)  # type: ignore[operator]
    return (time.perf_counter() - begin) / _CALLS


@click.command(help=__doc__.partition("\n")[0] if __doc__ else "")
@click.argument("revision")
def main(revision: str) -> None:
    from harness.compiler.api import tvm

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        other = extracted(revision, folder / "other")
        libraries = [
            tvm.runtime.load_module(str(built(source, folder / f"{kind}.so")))
            for kind, source in (("now", ROOT), ("before", other))
        ]
        random = np.random.default_rng(0)
        table = Table("kernel", "now, µs", "now / before, median", "quartiles")
        kernels = ("exp", "tanh", "erf", "sigmoid", "relu", "clip", "maximum", "greatest")
        for kernel in kernels:
            shape = (ELEMENTS // 8, 8) if kernel == "greatest" else (ELEMENTS,)
            given = [random.uniform(-5, 5, shape) for _ in range(1 + (kernel == "maximum"))]
            size = 8 if kernel == "greatest" else ELEMENTS
            arguments = [
                tvm.runtime.tensor(array.astype(np.float32)) for array in (*given, np.zeros(size))
            ]
            functions = [library[kernel] for library in libraries]
            turns = np.array(
                [[seconds(each, arguments) for each in functions] for _ in range(_TURNS)]
            )
            ratios = turns[:, 0] / turns[:, 1]
            low, middle, high = np.percentile(ratios, [25, 50, 75])
            table.add_row(
                kernel,
                f"{np.median(turns[:, 0]) * 1e6:.2f}",
                f"{middle:.3f}",
                f"{low:.3f}–{high:.3f}",
            )
        Console().print(table)


if __name__ == "__main__":
    main()
