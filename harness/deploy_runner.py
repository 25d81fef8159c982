"""Runs the compiled model in this folder; needs what requirements.txt names, and nothing else."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from time import perf_counter

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", nargs="?", help="an .npz with the inputs; random ones without it")
    parser.add_argument("--out", default="outputs.npz", help="where the outputs are written")
    parser.add_argument("--time", action="store_true", help="print the median of 100 more runs")
    asked, folder = parser.parse_args(), Path(__file__).resolve().parent
    about = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    random = np.random.default_rng(0)
    given = np.load(asked.inputs) if asked.inputs else {
        spec["name"]: random.uniform(0, 2, spec["shape"]).astype(spec["dtype"])
        for spec in about["inputs"]
    }  # fmt: skip
    for spec in about["inputs"]:
        array = given.get(spec["name"])
        if array is None or [list(array.shape), array.dtype] != [spec["shape"], spec["dtype"]]:
            found = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
            sys.exit(f"{asked.inputs}: expected {spec}, found {found}")
    # Both are read when TVM is imported: the runtime without the compiler, and its threads.
    os.environ["TVM_USE_RUNTIME_LIB"] = "1"
    os.environ.setdefault("TVM_NUM_THREADS", str(about["threads"]))
    import tvm
    from tvm.runtime.vm import VirtualMachine

    machine = VirtualMachine(tvm.runtime.load_module(str(folder / "model.so")), tvm.cpu())
    machine.set_input("main", *(tvm.runtime.tensor(given[i["name"]]) for i in about["inputs"]))
    machine.invoke_stateful("main")
    result = machine.get_outputs("main")
    tensors = result if isinstance(result, tuple) else (result,)
    outputs = {i["name"]: t.numpy() for i, t in zip(about["outputs"], tensors, strict=True)}
    print(*(f"{name}: {each.dtype} {each.shape}" for name, each in outputs.items()), sep="\n")
    np.savez(asked.out, **outputs)
    if asked.time:
        times = [perf_counter()]
        for _ in range(100):
            machine.invoke_stateful("main")
            times.append(perf_counter())
        print(f"median latency: {1e3 * np.median(np.diff(times)):.4g} ms")


if __name__ == "__main__":
    main()
