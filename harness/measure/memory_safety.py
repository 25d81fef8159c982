"""Runs a compiled network once, and each of its kernels between guard pages too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from harness.devices.access_check import access_outside
from harness.devices.fork_join import in_this_thread, use_fork_join
from harness.devices.temporaries import loading_for_guards
from harness.passes.rewriter import MAIN
from harness.tvm_api import relax, tvm


def unsafe_kernels(
    library: Path, kernels: Collection[str], feeds: Sequence[np.ndarray]
) -> dict[str, str]:
    """The kernels of a network that access memory outside their arguments and intermediate results,
    with how they do.

    `library` is of this machine's processor, and `feeds` are the network's inputs in order. Each
    kernel is looked at in the first call of it, on what an inference gives it: indices, which say
    where to read, have the values that they have.
    """
    use_fork_join()  # before the library is loaded, which looks up what runs its loops
    with loading_for_guards():
        loaded = tvm.runtime.load_module(str(library))
    machine = relax.VirtualMachine(loaded, tvm.cpu())
    checked: set[str] = set()
    unsafe: dict[str, str] = {}

    def instrument(function: object, name: str, before: bool, _: object, *arguments: object) -> int:
        if before and name in kernels and name not in checked:
            checked.add(name)
            arrays = [argument.numpy() for argument in arguments]  # type: ignore[attr-defined]
            if why := access_outside(on_arrays(function), arrays):  # type: ignore[arg-type]
                unsafe[name] = why
        return 0

    machine.set_instrument(instrument)
    with in_this_thread():
        machine[MAIN](*map(tvm.runtime.tensor, feeds))
    return unsafe


def on_arrays(kernel: Callable[..., object]) -> Callable[[Sequence[np.ndarray]], object]:
    """A compiled kernel as a function of arrays, which it reads and writes where they are."""
    return lambda arrays: kernel(*map(tvm.runtime.from_dlpack, arrays))
