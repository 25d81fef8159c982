"""Runs the compiled model of this folder: python run.py [INPUTS.npz [OUTPUTS.npz]]"""

import ctypes
import json
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

given = (
    np.load(sys.argv[1])
    if sys.argv[1:]
    else {spec["name"]: np.ones(spec["shape"], spec["dtype"]) for spec in about["inputs"]}
)
for spec in about["inputs"]:
    array = given.get(spec["name"], np.empty(0))
    if [list(array.shape), array.dtype] != [spec["shape"], spec["dtype"]]:
        sys.exit(f"{sys.argv[1]}: expected {spec}, found {array.dtype} {list(array.shape)}")
machine = VirtualMachine(tvm.runtime.load_module(str(folder / "model.so")), tvm.cpu())
machine.set_input("main", *(tvm.runtime.tensor(given[i["name"]]) for i in about["inputs"]))
seconds = timeit.repeat(lambda: machine.invoke_stateful("main"), number=1, repeat=50)
result = machine.get_outputs("main")
arrays = [t.numpy() for t in (result if isinstance(result, tuple) else (result,))]
outputs = dict(zip((i["name"] for i in about["outputs"]), arrays, strict=True))
np.savez(sys.argv[2] if sys.argv[2:] else "outputs.npz", **outputs)
print(*(f"{name}: {array.dtype} {array.shape}" for name, array in outputs.items()), sep="\n")
print(f"median latency: {1e3 * np.median(seconds):.4g} ms")
