"""Runs the compiled model of this folder, which needs NumPy alone, and TVM's runtime if
requirements.txt says so.

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
import threading
import timeit
import weakref
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
_HERE = Path(__file__).resolve().parent


class Model:
    """The network of an exported folder, loaded once; `inputs` and `outputs` have the shape and
    dtype of each. Inputs that are state begin with their initial values and are kept from call to
    call; `reset` puts them back.

    It runs in as many threads as it was measured with, one inference at a time. Raises ValueError
    where arrays do not fit, and OSError where the folder is none, or cannot be loaded.
    """

    def __init__(self, folder: str | Path = _HERE, warm_up: int = 3) -> None:
        # A library without a folder in its path would be looked for elsewhere.
        self.folder = Path(folder).resolve()
        self.about = _about(self.folder)
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
        self._network = (_InTvm if self.about["requires"] else _alone)(self.folder, self.about)
        self._sole = threading.Lock()
        self._ran = False
        self.reset()
        for _ in range(warm_up):
            self.infer(self.ones())
        self.reset()

    def reset(self) -> None:
        """Put the state back to its initial values."""
        self._state = dict(self._initial)

    def ones(self) -> Arrays:
        """Inputs of one inference, by name, all ones."""
        return {name: np.ones(each["shape"], each["dtype"]) for name, each in self.inputs.items()}

    def __call__(
        self, /, *arrays: np.ndarray | Mapping[str, np.ndarray], **named: np.ndarray
    ) -> np.ndarray | Arrays:
        """The output for inputs in their order, by name, or in a dict; a dict where there are
        several outputs. With one more axis in front, they are several samples, which are run in
        their order."""
        if len(arrays) == 1 and isinstance(arrays[0], Mapping):
            return self(**arrays[0], **named)
        if len(arrays) > len(self.inputs):
            raise ValueError(f"expected at most {len(self.inputs)} inputs, found {len(arrays)}")
        placed = dict(zip(self.inputs, map(np.asarray, arrays), strict=False))
        if twice := placed.keys() & named.keys():
            raise ValueError(
                f"expected each input once; found '{min(twice)}' in its place and by name"
            )
        found = self.run({**placed, **named})
        return found if len(found) > 1 else next(iter(found.values()))

    def run(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """The outputs by name, for inputs by name; of several samples, stacked."""
        arrays, samples = self._checked(inputs)
        if samples is None:
            return self.infer(arrays)
        rows = [
            self.infer({name: np.asarray(array[at]) for name, array in arrays.items()})
            for at in range(samples)
        ]
        return {name: np.stack([row[name] for row in rows]) for name in self.outputs}

    def infer(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """The outputs of one inference. Some are the state of the next."""
        with self._sole:
            values = {**self._state, **inputs}
            found = self._network.infer([values[name] for name in self._order])
            outputs = dict(zip(self.outputs, found, strict=True))
            # Copies: the outputs are the caller's to change.
            self._state = {
                name: outputs[each["output"]].copy() for name, each in self._kept.items()
            }
            self._ran = True
        return outputs

    def median_ms(self, runs: int = 50) -> float:
        """The median latency of an inference of the last inputs, in milliseconds; of ones where
        there were none."""
        if not self._ran:
            self.infer(self.ones())
            self.reset()
        again = timeit.repeat(self._network.again, number=1, repeat=runs)
        return float(1e3 * np.median(again))

    def _checked(self, given: Mapping[str, np.ndarray]) -> tuple[Arrays, int | None]:
        """The inputs by name, and how many samples they are; None for one without that axis."""
        counts = set()
        arrays = {}
        for name, spec in self.inputs.items():
            expected = f"{spec['dtype']} {spec['shape']}, or one more axis in front, for '{name}'"
            if name not in given:
                raise ValueError(f"expected {expected}; found {', '.join(given) or 'nothing'}")
            array = arrays[name] = np.asarray(given[name], order="C")
            axes = array.ndim - len(spec["shape"])
            fits = axes in (0, 1) and [*array.shape[axes:]] == spec["shape"]
            if not fits or array.dtype != spec["dtype"] or not array.size:
                found = f"found {array.dtype} {[*array.shape]}"
                if not fits and array.ndim and [1, *array.shape[1:]] == spec["shape"]:
                    samples = [len(array), *spec["shape"]]
                    found += f"; {len(array)} samples are {samples}, as by array[:, None]"
                raise ValueError(f"expected {expected}; {found}")
            counts.add(array.shape[0] if axes else None)
        if unknown := [name for name in given if name not in self.inputs]:
            name, inputs = unknown[0], ", ".join(f"'{each}'" for each in self.inputs)
            why = "is state, which the model keeps" if name in self._kept else "is no input"
            raise ValueError(f"'{name}' {why}; expected {inputs or 'nothing'}")
        if len(counts) > 1:
            raise ValueError(f"expected as many samples of each input, found {counts}")
        return arrays, counts.pop() if counts else None


class Library:
    """A compiled network by its library's own functions, which `layeredge.h` declares. `outputs`
    has the shape and dtype of each; `threads` is the library of the threads for its loops, None for
    the calling thread alone. Raises OSError where the library cannot be loaded."""

    def __init__(
        self, library: Path, outputs: Sequence[Mapping[str, Any]], threads: ctypes.CDLL | None
    ) -> None:
        self._functions = _loaded(library)
        self._outputs = outputs
        if threads is not None:
            try:
                loops = ctypes.c_void_p.in_dll(self._functions, "__TVMBackendParallelLaunch")
            except ValueError:
                pass  # none of its kernels has a loop for several threads
            else:
                loops.value = ctypes.cast(threads.layeredge_fork_join, ctypes.c_void_p).value
        self._functions.layeredge_new.restype = ctypes.c_void_p
        self._functions.layeredge_error.restype = ctypes.c_char_p
        self._memory = ctypes.c_void_p(self._functions.layeredge_new())
        if not self._memory:
            raise MemoryError(self._functions.layeredge_error().decode())
        weakref.finalize(self, _release, self._functions, self._memory)

    def infer(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs, for C-contiguous inputs in their order."""
        found = [aligned(each["shape"], each["dtype"]) for each in self._outputs]
        self._last = arrays, found  # they stay where they are
        self._places = _pointers(arrays), _pointers(found)
        self.again()
        return found

    def again(self) -> None:
        """Run once more, on the last inputs and into the last outputs."""
        if self._functions.layeredge_run(self._memory, *self._places):
            raise RuntimeError(self._functions.layeredge_error().decode())

    @contextmanager
    def watched(self, times: np.ndarray) -> Iterator[None]:
        """Inside, an inference writes the time before its first kernel and after each, in
        nanoseconds: int64 [kernels + 1]."""
        self._functions.layeredge_watch(ctypes.c_void_p(times.ctypes.data))
        try:
            yield
        finally:
            self._functions.layeredge_watch(None)


def _release(library: ctypes.CDLL, memory: ctypes.c_void_p) -> None:
    """Give memory back, and close the library, which ctypes leaves open."""
    library.layeredge_delete(memory)
    close = ctypes.CDLL(None).dlclose
    close.argtypes = [ctypes.c_void_p]
    close(library._handle)


def _about(folder: Path) -> dict[str, Any]:
    """The metadata of an exported folder. Raises OSError where it is none, or not as it was
    written: a library that was cut off would end the process when it is used."""
    path = folder / "metadata.json"
    if not path.is_file():
        raise OSError(f"{folder}: expected an exported folder, with metadata.json in it")
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sizes = about.get("sizes", {})
        damaged = not {"inputs", "outputs", "state", "threads", "requires"} <= about.keys()
    except (ValueError, AttributeError):
        damaged = True
    if damaged:
        raise OSError(f"{path}: is damaged; expected a folder of `layeredge select --export`")
    for name, size in sizes.items():
        library = folder / name
        found = library.stat().st_size if library.is_file() else 0
        if found != size:
            raise OSError(f"{library}: expected {size} bytes, found {found}; copy the folder anew")
    return about


def _pointers(arrays: Sequence[np.ndarray]) -> Any:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def aligned(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """A new array whose memory need not be copied: it begins at a multiple of 64 bytes."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    first = -memory.ctypes.data % 64
    found: np.ndarray = memory[first : first + size].view(dtype).reshape(shape)
    return found


def _alone(folder: Path, about: Mapping[str, Any]) -> Library:
    threads = _loaded(folder / "threads.so")
    threads.layeredge_set_threads(about["threads"])
    return Library(folder / "model.so", about["outputs"], threads)


class _InTvm:
    """The network in TVM's runtime, for those that are more than a sequence of kernels."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self._function = about["function"]
        self._tvm = _tvm(folder, about["threads"])
        library = self._tvm.runtime.load_module(str(folder / "model.so"))
        self._machine = self._tvm.runtime.vm.VirtualMachine(library, self._tvm.cpu())

    def infer(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        self._machine.set_input(self._function, *map(self._tvm.runtime.tensor, arrays))
        self.again()
        found = self._machine.get_outputs(self._function)
        return [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]

    def again(self) -> None:
        self._machine.invoke_stateful(self._function)


def _tvm(folder: Path, threads: int) -> Any:
    """TVM's runtime, with our threads for the loops of kernels: they take less than TVM's own to
    start one and to end it. A process has the threads of the model that was loaded first."""
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
    loops = _loaded(folder / "threads.so").layeredge_fork_join
    ctypes.CDLL(tvm_ffi.libinfo.find_libtvm_ffi()).TVMFFIEnvModRegisterContextSymbol(
        b"__TVMBackendParallelLaunch", ctypes.cast(loops, ctypes.c_void_p)
    )
    return tvm


def _loaded(library: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:  # which says that there is no such file
        raise OSError(
            f"{library.parent}: cannot be loaded; this machine is {platform.machine()}, "
            f"metadata.json says which processor it was compiled for: {error}"
        ) from None


def _read(path: str) -> Any:
    """The array in a file, or its arrays by name. Raises OSError and ValueError."""
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise ValueError("expected arrays as np.savez or np.save write them") from None


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
    except OSError as error:
        sys.exit(str(error))
    try:
        arrays = model.ones()
        if given.inputs:
            found = _read(given.inputs)
            alone = isinstance(found, np.ndarray)
            arrays = {next(iter(model.inputs)): found} if alone else dict(found)
        outputs = model.run(arrays)
    except (OSError, ValueError) as error:
        sys.exit(f"{given.inputs}: {error}" if given.inputs else str(error))
    try:
        with zipfile.ZipFile(given.outputs, "w") as file:  # `np.savez` has names of its own
            for name, array in outputs.items():
                with file.open(f"{name}.npy", "w", force_zip64=True) as part:
                    np.lib.format.write_array(part, array, allow_pickle=False)
    except OSError as error:
        sys.exit(f"{given.outputs}: cannot be written: {error.strerror or error}")
    print(*(f"{name}: {array.dtype} {array.shape}" for name, array in outputs.items()), sep="\n")
    print(f"median latency: {model.median_ms():.4g} ms")


if __name__ == "__main__":
    main()
