"""Runs a compiled network once, and each of its kernels between guard pages too."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harness.building.at_once import AT_ONCE
from harness.building.network import compile_scheduled
from harness.compiler.api import code_kind, relax, tvm
from harness.devices.linker import linker
from harness.devices.memory.access_check import access_outside, on_arrays
from harness.devices.memory.temporaries import guarded_temporaries, loading_for_guards
from harness.devices.threads.fork_join import in_this_thread, use_fork_join
from harness.measure.witness import has_witness, witnessed
from harness.passes.rewriter import MAIN


@dataclass(frozen=True)
class MemoryCheck:
    """Looks at the kernels of a network that is built, by their names: `feeds` are the network's
    inputs in order, `target` is that of the build, and `work` a folder for scratch files. Code
    for another processor than that of `here` is compiled for that too, to be looked at."""

    kernels: Collection[str]
    feeds: Sequence[np.ndarray]
    target: tvm.target.Target
    here: tvm.target.Target
    runs_here: bool
    work: Path

    def __call__(self, scheduled: tvm.IRModule, library: Path) -> dict[str, str] | None:
        """The kernels that access memory outside their arguments and intermediate results, with how
        they do; None for those of a graphics processor, at which nothing looks."""
        if not code_kind(self.target).in_process_memory:
            return None
        with TemporaryDirectory(dir=self.work, prefix="memory-") as folder:
            copy = Path(folder) / library.name
            if self.runs_here:  # a loaded library is loaded anew from another path only
                shutil.copy(library, copy)
            else:
                compiled = compile_scheduled(scheduled, self.here)
                compiled.executable.export_library(str(copy), cc=linker(None))
            return unsafe_kernels(copy, self.kernels, self.feeds)


def unsafe_kernels(
    library: Path, kernels: Collection[str], feeds: Sequence[np.ndarray]
) -> dict[str, str]:
    """The kernels of a network that access memory outside their arguments and intermediate results,
    with how they do.

    `library` is of this machine's processor, and `feeds` are the network's inputs in order. Each
    kernel is looked at in the first call of it, on its inputs in an inference: indices, which say
    where to read, have the values that they have.
    """
    use_fork_join()  # before the library is loaded, which looks up the function that runs its loops
    with loading_for_guards():
        loaded = tvm.runtime.load_module(str(library))
    machine = relax.VirtualMachine(loaded, tvm.cpu())
    checked: set[str] = set()
    unsafe: dict[str, str] = {}

    def look(name: str, arrays: Sequence[np.ndarray]) -> None:
        if name in kernels and name not in checked:
            checked.add(name)
            kernel = on_arrays(loaded.get_function(name, query_imports=True))
            if why := access_outside(kernel, arrays):
                unsafe[name] = why

    def instrument(_: object, name: str, before: bool, __: object, *arguments: object) -> int:
        if before and name in kernels:
            look(name, [argument.numpy() for argument in arguments])  # type: ignore[attr-defined]
        return 0

    inputs = [*map(tvm.runtime.tensor, feeds)]
    with in_this_thread(), guarded_temporaries(None):
        if has_witness(library):
            with witnessed(library, look):
                machine[AT_ONCE](*inputs)
        else:
            machine.set_instrument(instrument)
            machine[MAIN](*inputs)
    return unsafe
