"""Compiles CUDA source as TVM asks for it, and reads the assembler's report of each kernel.

TVM's modules hold source, and ask for the device's code when they are loaded. TVM would call
NVIDIA's compiler itself, but with fast approximations of division and square root, in every process
anew, and without keeping the assembler's output: how many registers and how much shared memory
a kernel takes, which decides how many threads run side by side, and how much of its registers it
spills to memory. The instructions of a kernel are counted in the code that the assembler is given.

TVM's compiler is not needed here: a process that only runs a network has its code looked up.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.compiler.patches import register_function
from harness.devices.graphics.instruction_mix import instruction_mixes
from harness.devices.graphics.occupancy import occupancy
from harness.devices.graphics.processor import nvcc
from harness.errors import CellFailure, complaint
from harness.records.compiled_code import Launch
from harness.specs.target import Multiprocessor

if TYPE_CHECKING:
    from harness.compiler.api import tvm

_CALLBACK = "tvm_callback_cuda_compile"
_SECONDS = 600.0
_MOST_KEPT = 256
"""So many compiled sources are remembered."""
_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_SPILLED = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_BOUNDS = re.compile(r"__launch_bounds__\((\d+)\)\s+(\w+)\(")


@dataclass(frozen=True)
class _Compiled:
    """The code for the device, and the resources of each function in it."""

    code: bytes
    launches: tuple[Launch, ...]


class CudaCompiler:
    """Compiles for one architecture, such as `sm_80`, the same source once. `kept` is a folder in
    which code is looked up first, as `keep` has written it."""

    def __init__(self, architecture: str, kept: Path | None = None) -> None:
        self._architecture = architecture
        self._kept = kept
        self._compiled: dict[str, _Compiled] = {}

    def use(self) -> None:
        """Have TVM ask this one in this process."""
        register_function(_CALLBACK, self.code)

    def code(self, source: str) -> bytes:
        """The code for the device. Raises CellFailure with the compiler's first complaint."""
        if self._kept is not None and (found := self._kept / _file_name(source)).exists():
            return found.read_bytes()
        return self._compile(source).code

    def _compile(self, source: str) -> _Compiled:
        if source not in self._compiled:
            while len(self._compiled) >= _MOST_KEPT:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[source] = _compiled(source, self._architecture)
        return self._compiled[source]

    def prepare(self, module: tvm.runtime.Module) -> None:
        """Compile the code that a module will ask for."""
        for source in _sources(module):
            self._compile(source)

    def keep(self, module: tvm.runtime.Module, folder: Path) -> None:
        """Write the code that a module will ask for into a folder."""
        for source in _sources(module):
            (folder / _file_name(source)).write_bytes(self._compile(source).code)

    def launches(
        self, module: tvm.runtime.Module, shape: Multiprocessor | None
    ) -> Iterator[Launch]:
        """The resources of a multiprocessor that each function launched by a compiled module
        takes."""
        for source in _sources(module):
            threads = {name: int(count) for count, name in _BOUNDS.findall(source)}
            for launch in self._compile(source).launches:
                count = threads[launch.name]
                yield launch.model_copy(
                    update={"threads": count, "occupancy": occupancy(launch, count, shape)}
                )


def _compiled(source: str, architecture: str) -> _Compiled:
    with TemporaryDirectory(prefix="layeredge-cuda-") as folder:
        code, found = Path(folder) / "kernels.cu", Path(folder) / "kernels.cubin"
        code.write_text(source)
        command = [
            *(str(nvcc()), "--cubin", f"-arch={architecture}", "-O3", "-Xptxas", "-v"),
            *("--keep", "--keep-dir", folder),  # the assembler's input, too
        ]
        try:
            done = subprocess.run(
                [*command, "-o", str(found), str(code)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise CellFailure(f"nvcc took more than {_SECONDS:.0f} s") from None
        if done.returncode or not found.exists():
            raise CellFailure(f"nvcc failed for {architecture}: {complaint(done.stderr)}")
        mixes = instruction_mixes(code.with_suffix(".ptx").read_text())
        return _Compiled(
            found.read_bytes(),
            tuple(
                launch.model_copy(update={"instructions": mixes[launch.name]})
                for launch in reported(done.stderr)
            ),
        )


def _file_name(source: str) -> str:
    return f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.cubin"


def reported(printed: str) -> list[Launch]:
    """The output of `ptxas -v` for each function, without figures that it does not know."""
    found = []
    for part in re.split(r"(?=ptxas info\s*: Compiling entry function)", printed):
        entry = _ENTRY.search(part)
        registers = _REGISTERS.search(part)
        if entry is None or registers is None:
            continue
        shared, spilled = _SHARED.search(part), _SPILLED.search(part)
        found.append(
            Launch(
                name=entry[1],
                registers=int(registers[1]),
                shared_memory_bytes=int(shared[1]) if shared else 0,
                spill_bytes=sum(map(int, spilled.groups())) if spilled else 0,
            )
        )
    return found


def _sources(module: tvm.runtime.Module) -> list[str]:
    """The CUDA sources in a compiled module and in its imports."""
    own = [str(module.inspect_source())] if str(module.kind) == "cuda" else []
    return own + [source for each in module.imports for source in _sources(each)]
