"""Runs the compiled model of this folder, which needs TVM's runtime and NumPy alone.

From a shell: `python run.py inputs.npz outputs.npz`. From Python:

    from run import Model

    model = Model()
    outputs = model(x)          # an array; a dict of arrays where the model has several outputs
    outputs = model(ids=..., mask=...)
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import platform
import sys
import timeit
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
_HERE = Path(__file__).resolve().parent


class Model:
    """The network of an exported folder, loaded once; `inputs` and `outputs` have the shape and
    dtype of each. Inputs that are state begin with their initial values and are kept from call to
    call; `reset` puts them back.

    It runs in as many threads as it was measured with; a process has the threads of the model that
    was loaded last. Raises ValueError where arrays do not fit.
    """

    def __init__(self, folder: str | Path = _HERE, warm_up: int = 3) -> None:
        self.folder = Path(folder)
        self.about = json.loads((self.folder / "metadata.json").read_text(encoding="utf-8"))
        self._function = self.about["function"]
        specs = {spec["name"]: spec for spec in self.about["inputs"]}
        self._kept = {each["input"]: each for each in self.about["state"]}
        self._order = [*specs]
        self.inputs = {name: spec for name, spec in specs.items() if name not in self._kept}
        self.outputs = {spec["name"]: spec for spec in self.about["outputs"]}
        self._initial = {
            name: np.array(each["initial"] or [0] * math.prod(specs[name]["shape"]))
            .astype(specs[name]["dtype"])
            .reshape(specs[name]["shape"])
            for name, each in self._kept.items()
        }
        self._tvm = _tvm(self.folder, self.about["threads"])
        library = self._tvm.runtime.load_module(str(self.folder / "model.so"))
        self._machine = self._tvm.runtime.vm.VirtualMachine(library, self._tvm.cpu())
        self.reset()
        for _ in range(warm_up):
            self.infer(
                {name: np.ones(each["shape"], each["dtype"]) for name, each in self.inputs.items()}
            )
        self.reset()

    def reset(self) -> None:
        """Put the state back to its initial values."""
        self._state = dict(self._initial)

    def __call__(
        self, *arrays: np.ndarray | Mapping[str, np.ndarray], **named: np.ndarray
    ) -> np.ndarray | Arrays:
        """The output for inputs in their order, by name, or in a dict; a dict where there are
        several outputs. With one more axis in front, they are several samples, which are run in
        their order."""
        if len(arrays) == 1 and isinstance(arrays[0], Mapping):
            return self(**arrays[0], **named)
        if len(arrays) > len(self.inputs):
            raise ValueError(f"expected at most {len(self.inputs)} inputs, found {len(arrays)}")
        placed = dict(zip(self.inputs, map(np.asarray, arrays), strict=False))
        found = self.run({**placed, **named})
        return found if len(found) > 1 else next(iter(found.values()))

    def run(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """The outputs by name, for inputs by name; of several samples, stacked."""
        arrays, samples = self._checked(inputs)
        if samples is None:
            return self.infer(arrays)
        rows = [
            self.infer({name: array[at] for name, array in arrays.items()}) for at in range(samples)
        ]
        return {name: np.stack([row[name] for row in rows]) for name in self.outputs}

    def infer(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """The outputs of one inference. Some are the state of the next."""
        values = {**self._state, **inputs}
        tensors = (self._tvm.runtime.tensor(values[name]) for name in self._order)
        self._machine.set_input(self._function, *tensors)
        self._machine.invoke_stateful(self._function)
        found = self._machine.get_outputs(self._function)
        each = found if isinstance(found, tuple) else (found,)
        outputs = {name: one.numpy() for name, one in zip(self.outputs, each, strict=True)}
        self._state = {name: outputs[each["output"]] for name, each in self._kept.items()}
        return outputs

    def median_ms(self, runs: int = 50) -> float:
        """The median latency of an inference of the last inputs, in milliseconds."""
        again = timeit.repeat(
            lambda: self._machine.invoke_stateful(self._function), number=1, repeat=runs
        )
        return float(1e3 * np.median(again))

    def _checked(self, given: Mapping[str, np.ndarray]) -> tuple[Arrays, int | None]:
        """The inputs by name, and how many samples they are; None for one without that axis."""
        counts = set()
        arrays = {}
        for name, spec in self.inputs.items():
            expected = f"{spec['dtype']} {spec['shape']}, or one more axis in front, for '{name}'"
            if name not in given:
                raise ValueError(f"expected {expected}; found {', '.join(given) or 'nothing'}")
            array = arrays[name] = np.ascontiguousarray(given[name])
            axes = array.ndim - len(spec["shape"])
            fits = axes in (0, 1) and [*array.shape[axes:]] == spec["shape"]
            if not fits or array.dtype != spec["dtype"] or not array.size:
                found = f"found {array.dtype} {[*array.shape]}"
                if not fits and array.ndim and [1, *array.shape[1:]] == spec["shape"]:
                    samples = [len(array), *spec["shape"]]
                    found += f"; {len(array)} samples are {samples}, as by array[:, None]"
                raise ValueError(f"expected {expected}; {found}")
            counts.add(array.shape[0] if axes else None)
        if len(counts) > 1:
            raise ValueError(f"expected as many samples of each input, found {counts}")
        return arrays, counts.pop() if counts else None


def _tvm(folder: Path, threads: int) -> Any:
    """TVM's runtime, with our threads for the loops of kernels: they take less than TVM's own to
    start one and to end it."""
    # Both are read when TVM is imported: the runtime without the compiler, and its threads.
    os.environ.setdefault("TVM_USE_RUNTIME_LIB", "1")
    os.environ["TVM_NUM_THREADS"] = str(threads)
    # TVM imports PyTorch wherever it is installed. Nothing here needs it, and it takes seconds.
    without_torch = "torch" not in sys.modules
    if without_torch:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import tvm
        import tvm.runtime.vm
        import tvm_ffi
    finally:
        if without_torch:
            del sys.modules["torch"]
    try:
        loops = ctypes.CDLL(str(folder / "threads.so")).layeredge_fork_join
    except OSError as error:  # which says that there is no such file
        raise OSError(
            f"{folder}: cannot be loaded; this machine is {platform.machine()}, metadata.json says "
            f"which processor it was compiled for: {error}"
        ) from None
    ctypes.CDLL(tvm_ffi.libinfo.find_libtvm_ffi()).TVMFFIEnvModRegisterContextSymbol(
        b"__TVMBackendParallelLaunch", ctypes.cast(loops, ctypes.c_void_p)
    )
    return tvm


def main() -> None:
    """Run the model on the arrays of a file, or on ones, and write its outputs."""
    parser = argparse.ArgumentParser(
        description="Run the compiled model of this folder.",
        epilog="An input with one more axis in front is several samples, which are run in their "
        "order; so are the outputs. State (see metadata.json) is kept from one to the next.",
    )
    parser.add_argument(
        "inputs", nargs="?", help="an .npz with an array for each input, or an .npy; all ones"
    )
    parser.add_argument("outputs", nargs="?", default="outputs.npz", help="outputs.npz")
    given = parser.parse_args()
    try:
        model = Model()
        arrays = {
            name: np.ones(each["shape"], each["dtype"]) for name, each in model.inputs.items()
        }
        if given.inputs:
            found = np.load(given.inputs)
            alone = isinstance(found, np.ndarray)
            arrays = {next(iter(model.inputs)): found} if alone else dict(found)
        outputs = model.run(arrays)
    except (OSError, ValueError) as error:
        sys.exit(f"{given.inputs}: {error}" if given.inputs else str(error))
    np.savez(given.outputs, **outputs)  # type: ignore[arg-type]
    print(*(f"{name}: {array.dtype} {array.shape}" for name, array in outputs.items()), sep="\n")
    print(f"median latency: {model.median_ms():.4g} ms")


if __name__ == "__main__":
    main()
