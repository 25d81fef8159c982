"""How fast the hottest loop of each kernel could run on a processor that is not here: a static
estimate by LLVM's machine code analyser, llvm-mca.

It runs the instructions of a loop through LLVM's model of how a processor schedules them, a hundred
times over. It assumes that every load hits the first-level cache, that branches are foreseen, and
that each instruction runs each time; it is no latency. LLVM has no model of its own for many
processors and takes another's, which the estimate names.

Which loop is hottest is told from the code, too: the innermost loop that multiplies and accumulates
most; of a kernel whose innermost loops do not, any other loop that does; of a kernel without
products, the innermost loop with most floating-point instructions. Executed instructions are only
counted for a network as a whole.

Sources
-------
[llvm-mca]  LLVM, "llvm-mca - LLVM Machine Code Analyzer".
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, ValidationError

from harness.devices.emulated.assembly import Loop, functions, loops, operation, reached
from harness.records.artifact import KernelDescription
from harness.records.compiled_code import LoopThroughput, LoopThroughputs
from harness.specs.target import TargetSpec

if TYPE_CHECKING:
    from harness.compiler.api import tvm

INSTALL = "on Debian or Ubuntu: apt install --no-install-recommends llvm"
_PROGRAM = "llvm-mca"
_SECONDS = 60.0
_ENTRY = "__tvm_ffi_"
"""TVM's prefix of the name of a kernel's function."""
_MULTIPLY_ACCUMULATE = re.compile(
    r"fn?m(?:la|ls|add|sub|ad|sb) (?:v\d+\.(?P<lanes>\d+)[hsd]|z\d+\.(?P<element>[hsd])|[hsd]\d+)"
)
_BITS = {"h": 16, "s": 32, "d": 64}
_FULL_VECTORS = ("fmla v0.4s, v1.4s, v2.4s", "fmla v0.4s, v1.4s, v2.s[0]")
_FULL_SCALABLE_VECTOR = "fmla z0.s, p0/m, z1.s, z2.s"
_SCALABLE = 128
"""Wider vectors than this, in bits, are scalable ones."""
_MODELS = {"A57": "Cortex-A57", "Cy": "Apple Cyclone"}
"""Whose a model is, by how LLVM begins the names of its resources, where that needs saying."""


class _Summary(BaseModel):
    """Of all times through a loop together, but for `reciprocal_throughput` and the width."""

    iterations: int = Field(alias="Iterations")
    cycles: int = Field(alias="TotalCycles")
    micro_operations: int = Field(alias="TotaluOps")
    dispatch_width: int = Field(alias="DispatchWidth")
    reciprocal_throughput: float = Field(alias="BlockRThroughput")


class _Use(BaseModel):
    """The cycles for which an instruction has a resource, once through the loop."""

    instruction: int = Field(alias="InstructionIndex")
    resource: int = Field(alias="ResourceIndex")
    cycles: float = Field(alias="ResourceUsage")


class _Pressure(BaseModel):
    uses: list[_Use] = Field(alias="ResourcePressureInfo")


class _Region(BaseModel):
    instructions: list[str] = Field(alias="Instructions")
    summary: _Summary = Field(alias="SummaryView")
    pressure: _Pressure = Field(alias="ResourcePressureView")


class _Target(BaseModel):
    resources: list[str] = Field(alias="Resources")


class _Analysis(BaseModel):
    """llvm-mca's JSON output, as far as it is used here."""

    regions: list[_Region] = Field(alias="CodeRegions", min_length=1, max_length=1)
    target: _Target = Field(alias="TargetInfo")


def loop_throughputs(
    spec: TargetSpec, module: tvm.runtime.Module, kernels: Sequence[KernelDescription]
) -> LoopThroughputs:
    """The estimates for the kernels of a compiled network, or why there are none."""
    by = analyser_version()
    if by is None:
        return LoopThroughputs(reason=f"{_PROGRAM} is not installed; {INSTALL}")
    bits = spec.hardware.simd_bits or _SCALABLE
    try:
        model = _analysed(spec, _FULL_VECTORS)
    except ValueError as error:
        return LoopThroughputs(by=by, reason=str(error))
    code = functions("\n".join(_assembly(module)))
    found, unestimated = [], {}
    for kernel in kernels:
        try:
            found.append(_estimated(spec, kernel, hottest_loop(code, kernel.name, bits), bits))
        except ValueError as error:
            unestimated[kernel.name] = str(error)
    return LoopThroughputs(
        by=by,
        scheduling_model=_model_name(model.target.resources),
        peak=_peak(spec, bits),
        loops=tuple(found),
        unestimated=unestimated,
    )


def hottest_loop(code: dict[str, list[str]], kernel: str, bits: int) -> Loop:
    """The loop of a kernel to estimate, where scalable vectors have so many bits. Raises ValueError
    where it has none."""
    found = [loop for name in reached(code, _ENTRY + kernel) for loop in loops(code[name])]
    if not found:
        raise ValueError("it has no loop")

    def heat(loop: Loop) -> tuple[bool, bool, int, int, int]:
        products = sum(_lanes(each, bits) for each in loop.instructions)
        floats = sum(operation(each).startswith("f") for each in loop.instructions)
        return products > 0, loop.innermost, products, floats, len(loop.instructions)

    return max(found, key=heat)


def analyser_version() -> str | None:
    """Its name and version, such as `llvm-mca 14.0.6`; None where it is not installed."""
    if shutil.which(_PROGRAM) is None:
        return None
    done = subprocess.run([_PROGRAM, "--version"], capture_output=True, text=True, timeout=_SECONDS)
    found = re.search(r"LLVM version (\S+)", done.stdout)
    return f"{_PROGRAM} {found[1]}" if found else _PROGRAM


def _assembly(module: tvm.runtime.Module) -> Iterator[str]:
    """LLVM's code of a module and of its imports."""
    if str(module.kind) == "llvm":
        yield str(module.inspect_source("asm"))
    for each in module.imports:
        yield from _assembly(each)


def _lanes(instruction: str, bits: int) -> int:
    """The multiply-accumulates of an instruction, where scalable vectors have so many bits."""
    found = _MULTIPLY_ACCUMULATE.match(instruction)
    if found is None:
        return 0
    if found["element"]:
        return bits // _BITS[found["element"]]
    return int(found["lanes"] or 1)


def _estimated(
    spec: TargetSpec, kernel: KernelDescription, loop: Loop, bits: int
) -> LoopThroughput:
    analysis = _analysed(spec, loop.instructions)
    (region,) = analysis.regions
    summary = region.summary
    in_use: dict[str, float] = defaultdict(float)
    in_use["dispatch"] = summary.micro_operations / summary.iterations / summary.dispatch_width
    for use in region.pressure.uses:
        if use.instruction < len(region.instructions):  # the row after the last has the sums
            in_use[analysis.target.resources[use.resource]] += use.cycles
    busiest = max(in_use, key=lambda name: in_use[name])
    return LoopThroughput(
        kernel=kernel.name,
        loop=loop.label,
        flops=kernel.calls * kernel.flops,
        instructions=len(loop.instructions),
        multiply_accumulates=sum(_lanes(each, bits) for each in loop.instructions),
        cycles=summary.cycles / summary.iterations,
        reciprocal_throughput=summary.reciprocal_throughput,
        busiest=_resource_name(busiest),
        busiest_cycles=in_use[busiest],
        calls=loop.calls,
    )


def _analysed(spec: TargetSpec, instructions: Sequence[str]) -> _Analysis:
    """llvm-mca's analysis of a loop's instructions. Raises ValueError with its complaint if it
    knows the processor or an instruction not, or where its answer cannot be read."""
    command = [_PROGRAM, "--json", f"--mcpu={spec.tvm.mcpu or 'generic'}"]
    command += [f"--mtriple={spec.tvm.mtriple}"] if spec.tvm.mtriple else []
    command += [f"--mattr={','.join(spec.tvm.mattr)}"] if spec.tvm.mattr else []
    try:
        done = subprocess.run(
            command,
            input="\n".join(instructions) + "\n",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"{_PROGRAM} took more than {_SECONDS:.0f} s") from None
    if done.returncode:
        said = dict.fromkeys(line.strip() for line in done.stderr.splitlines())
        raise ValueError(f"{_PROGRAM}: {' '.join(said)[:300]}")
    try:
        return _Analysis.model_validate_json(done.stdout)
    except ValidationError as error:
        raise ValueError(
            f"{_PROGRAM}'s answer cannot be read: {error.errors()[0]['msg']}"
        ) from None


def _peak(spec: TargetSpec, bits: int) -> float:
    """The most multiply-accumulates a cycle that the model allows, in whichever form: some models
    have one form of a product more often a cycle than another."""
    rates = []
    for form in (*_FULL_VECTORS, *([_FULL_SCALABLE_VECTOR] if bits > _SCALABLE else [])):
        with suppress(ValueError):  # a model of a processor without scalable vectors
            (region,) = _analysed(spec, [form]).regions
            rates.append(_lanes(form, bits) / region.summary.reciprocal_throughput)
    return max(rates)


def _model_name(resources: Sequence[str]) -> str:
    begin = resources[0].partition("Unit")[0]
    return _MODELS.get(begin, begin)


def _resource_name(resource: str) -> str:
    """Without the number of one of several alike: LLVM 14 prints that as a control character."""
    return resource.partition(".")[0]
