"""Runs the compiled model of this folder: python run.py [INPUTS.npz [OUTPUTS.npz]]

An input with one more axis in front is several, which are run in their order; so are the outputs.
State, which metadata.json names, is kept from one to the next.
"""

import ctypes
import json
import math
import os
import sys
import timeit
from pathlib import Path

import numpy as np

folder = Path(__file__).resolve().parent
about = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
# Both are read when TVM is imported: the runtime without the compiler, and its threads.
os.environ.update(TVM_USE_RUNTIME_LIB="1", TVM_NUM_THREADS=str(about["threads"]))
# PyTorch, which TVM imports wherever it is installed and which nothing here needs, takes seconds.
sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
import tvm  # noqa: E402
import tvm_ffi  # noqa: E402
from tvm.runtime.vm import VirtualMachine  # noqa: E402

# Threads that take less than TVM's own to start a kernel and to end it. The model runs in either.
threads = ctypes.CDLL(str(folder / "threads.so")).layeredge_fork_join
interface = ctypes.CDLL(tvm_ffi.libinfo.find_libtvm_ffi())
interface.TVMFFIEnvModRegisterContextSymbol(
    b"__TVMBackendParallelLaunch", ctypes.cast(threads, ctypes.c_void_p)
)

specs = {spec["name"]: spec for spec in about["inputs"]}
state = {}
for each in about["state"]:
    spec = specs[each["input"]]
    values = each["initial"] or [0] * math.prod(spec["shape"])
    state[spec["name"]] = np.array(values).astype(spec["dtype"]).reshape(spec["shape"])
own = {name: spec for name, spec in specs.items() if name not in state}
given = (
    np.load(sys.argv[1])
    if sys.argv[1:]
    else {name: np.ones(spec["shape"], spec["dtype"]) for name, spec in own.items()}
)
arrays = {name: given[name] if name in given else np.empty(0) for name in own}
counts = set()
for name, array in arrays.items():
    axes = max(0, array.ndim - len(own[name]["shape"]))
    found = [list(array.shape[axes:]), array.dtype]
    if axes > 1 or found != [own[name]["shape"], own[name]["dtype"]] or 0 in array.shape[:axes]:
        sys.exit(f"{sys.argv[1]}: expected {own[name]}, found {array.dtype} {list(array.shape)}")
    counts.add(array.shape[:axes])
if len(counts) > 1:
    sys.exit(f"{sys.argv[1]}: expected as many of each input, found {sorted(counts)}")
count = counts.pop() if counts else ()
function = about["function"]
machine = VirtualMachine(tvm.runtime.load_module(str(folder / "model.so")), tvm.cpu())


def infer(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of one inference. Some are the state of the next."""
    machine.set_input(function, *(tvm.runtime.tensor({**state, **inputs}[name]) for name in specs))
    machine.invoke_stateful(function)
    result = machine.get_outputs(function)
    tensors = result if isinstance(result, tuple) else (result,)
    names = (spec["name"] for spec in about["outputs"])
    outputs = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
    state.update({each["input"]: outputs[each["output"]] for each in about["state"]})
    return outputs


if count:
    rows = [infer({name: arrays[name][at] for name in own}) for at in range(*count)]
    outputs = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
else:
    outputs = infer(arrays)
seconds = timeit.repeat(lambda: machine.invoke_stateful(function), number=1, repeat=50)
np.savez(sys.argv[2] if sys.argv[2:] else "outputs.npz", **outputs)  # type: ignore[arg-type]
print(*(f"{name}: {array.dtype} {array.shape}" for name, array in outputs.items()), sep="\n")
print(f"median latency: {1e3 * np.median(seconds):.4g} ms")
