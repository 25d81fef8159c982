"""The record of one finished cell: measurements, verification, environment, or the reason of a
failure.

Units are in the field names: `_ms` milliseconds, `_us` microseconds, `_mb` megabytes of 10^6 bytes.
A field that is `None` was not measured; the record's `reason` or the report says why.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Literal

from pydantic import Field

from harness.specs.documents import Frozen
from harness.specs.patterns import Pattern
from harness.specs.scores import Score
from harness.specs.settings import Settings
from harness.specs.sweep import Kind

RECORD_SCHEMA = 1
Status = Literal["ok", "failed", "skipped"]
StoppedBy = Literal["trials", "minutes", "exhausted", "nothing to tune"]
TuningCost = Literal["seconds", "instructions", "static estimate"]
"""The cost by which tuning ranks a kernel's schedules: the measured seconds of a call, the
instructions that it executes on an emulated board, or the seconds estimated from its compiled
code."""
BASELINE_CONFIGURATION = "baseline"
AGREEMENT = "agreement with reference"
"""The metric of a network without labelled data."""
OWN_ENGINE = "tvm"
"""The engine of the cells that are compiled here; any other is a baseline."""


def is_timed(kind: Kind) -> bool:
    """Whether records of a kind have latencies: those of other kinds are never ranked with them."""
    return kind == "measured"


class CellKey(Frozen):
    """The names and settings that tell a cell from the others of its sweep. For a baseline engine
    the configuration is `baseline`."""

    model: str
    target: str
    configuration: str
    engine: str
    settings: Settings = Settings()

    def __str__(self) -> str:
        parts = (self.model, self.target, str(self.settings), self.configuration, self.engine)
        return " · ".join(filter(None, parts))

    @property
    def place(self) -> tuple[str, str, Settings]:
        """Model, target and settings: cells that differ in none of these compare directly."""
        return self.model, self.target, self.settings


class Latency(Frozen):
    """Latency of one inference. `median_ms`, percentiles and the 95 % interval of the median are
    over `samples` interleaved samples, kept raw in the store."""

    median_ms: float = Field(ge=0)
    p90_ms: float = Field(ge=0)
    p99_ms: float | None = Field(ge=0)  # None with fewer than 100: it would be the maximum
    ci_low_ms: float = Field(ge=0)
    ci_high_ms: float = Field(ge=0)
    samples: int = Field(ge=1)
    runs_per_sample: int = Field(ge=1)


class Memory(Frozen):
    """The four figures: constants of the compiled model, planned activation memory, the artifact on
    disk, and the peak resident memory of a process that only runs it (`base_rss_mb` of which were
    there before the model was loaded)."""

    weights_mb: float | None = None
    activation_mb: float | None = None
    artifact_mb: float | None = None
    peak_rss_mb: float | None = None
    base_rss_mb: float | None = None


class Accuracy(Frozen):
    """The model's metric on labelled data with its 95 % interval, or the agreement with the
    reference where there is no labelled data (`metric` then says so). Where the metric is a share
    of samples, `outcomes` has those that hit, a bit each in their order, as hexadecimal digits."""

    value: float
    ci_low: float
    ci_high: float
    metric: str
    samples: int
    outcomes: str | None = None

    @property
    def defined(self) -> bool:
        """Whether the score is a number. A metric of outputs that are not finite may be NaN or
        infinite: such a cell is never chosen, and stands below every other."""
        return math.isfinite(self.value)


class Verification(Frozen):
    """Outputs against the reference runtime. `max_error_of_scale` is the largest difference as a
    share of the size of the values around it, see `harness.measure.comparison`.

    If that is beyond the tolerance, `judge` names the more exact evaluation that allowed it, such
    as a float64 evaluation of the network; `blame` is set if the reference is off.
    """

    reference: str
    inputs: int
    real_inputs: bool
    max_abs_error: float
    max_error_of_scale: float
    tolerance_of_scale: float
    judge: str | None = None
    blame: str | None = None

    @property
    def right(self) -> bool:
        return self.judge is not None or self.max_error_of_scale <= self.tolerance_of_scale


class KernelTime(Frozen):
    """One kernel of a compiled model. `median_us` is per call, over the instrumented runs; `flops`
    and `bytes` (read and written once each) are per call; `layers` are those whose weights its
    calls read, in their order."""

    name: str
    calls: int
    median_us: float
    flops: float
    bytes: float
    layers: tuple[str, ...] = ()


class InstructionMix(Frozen):
    """How many instructions of each kind a function's code has, each counted once, however often it
    runs: `floating_point` arithmetic, of which a fused multiply-add is one; `integer` arithmetic,
    of addresses too; loads and stores of the device's memory and of that which a block shares;
    `barriers` among the threads of a block; `branches`, returns among them; and `other`, such as
    moves between registers. `form` is the language of the code, see
    `harness.devices.graphics.instruction_mix`."""

    form: Literal["ptx"]
    floating_point: int = 0
    integer: int = 0
    global_loads: int = 0
    global_stores: int = 0
    shared_loads: int = 0
    shared_stores: int = 0
    barriers: int = 0
    branches: int = 0
    other: int = 0


class Launch(Frozen):
    """The resources of one function of a graphics processor's kernel: `registers` of a thread,
    `shared_memory_bytes` of a block of `threads`, and the bytes that it spills for want of
    registers. `occupancy` is the share of a multiprocessor's threads that run at a time. All its
    `blocks` together do `flops` operations and load or store `bytes` of the device's memory,
    counted for each block; 0 where that is not known. `instructions` are those of its code."""

    name: str
    registers: int
    shared_memory_bytes: int
    spill_bytes: int
    threads: int = 0
    occupancy: float | None = None
    blocks: int = 0
    flops: float = 0.0
    bytes: float = 0.0
    instructions: InstructionMix | None = None


class InstructionCount(Frozen):
    """The instructions that one inference executes within the compiled network, on one thread;
    `load_store` are those that access memory, of vectors too, `simd` those that compute with
    vectors or floats, and `branch` branches and calls."""

    total: int
    load_store: int
    simd: int
    branch: int


class LoopThroughput(Frozen):
    """One iteration of the hottest loop of a kernel on a processor's core, simulated by llvm-mca:
    `cycles` on average, and `reciprocal_throughput`, the cycles that would do if no instruction
    waited for another's result. `busiest` is the resource that is in use longest, for
    `busiest_cycles`; `dispatch` is the rate at which instructions are given to the resources.

    `loop` is its label in the assembly. Its `instructions` perform `multiply_accumulates`, each
    lane of a vector counted. Loops inside it and `calls` are left out. `flops` are those of all of
    the kernel in an inference.
    """

    kernel: str
    loop: str
    flops: float
    instructions: int
    multiply_accumulates: int
    cycles: float
    reciprocal_throughput: float
    busiest: str
    busiest_cycles: float
    calls: int = 0

    @property
    def instructions_a_cycle(self) -> float:
        return self.instructions / self.cycles

    @property
    def multiply_accumulates_a_cycle(self) -> float:
        return self.multiply_accumulates / self.cycles


class LoopThroughputs(Frozen):
    """A static estimate of the hottest loop of each kernel, see
    `harness.devices.emulated.loop_throughput`. `by` is the program that estimated, name and
    version, and `scheduling_model` LLVM's model of the processor. `peak` is the most
    multiply-accumulates a cycle that the model allows a core. `unestimated` has the reason for each
    kernel without an estimate, by its name, and `reason` why there is none at all."""

    by: str | None = None
    scheduling_model: str | None = None
    peak: float | None = None
    loops: tuple[LoopThroughput, ...] = ()
    unestimated: dict[str, str] = Field(default_factory=dict)
    reason: str | None = None

    def share_of_peak(self, loop: LoopThroughput) -> float | None:
        """None where a loop does not multiply and accumulate."""
        if not self.peak or not loop.multiply_accumulates:
            return None
        return loop.multiply_accumulates_a_cycle / self.peak

    @property
    def peak_share(self) -> float | None:
        """Of all loops that have a share of the peak: the harmonic mean, weighted by their kernels'
        operations, as if those took place in the loops."""
        known = [(loop.flops, self.share_of_peak(loop)) for loop in self.loops]
        shares = [(flops, share) for flops, share in known if flops and share]
        if not shares:
            return None
        return sum(flops for flops, _ in shares) / sum(flops / share for flops, share in shares)


class KernelVerification(Frozen):
    """A run of a network's `kernels` on a processor in their schedules' OpenCL form, `by` a program
    of this name and version. All gave the unscheduled kernel's results, except for those that it
    could not run: `unverified` has the reason for each, by its name."""

    by: str
    kernels: int
    unverified: dict[str, str]


class MemorySafety(Frozen):
    """A run of each of a network's `kernels` with its arguments between guard pages: `rejected` has
    the schedules that were replaced by the default ones, by the kernel's name, with the access
    outside its arguments."""

    kernels: int
    rejected: dict[str, str]


class Static(Frozen):
    """A network that was compiled and not run: the launches of its kernels, and the lower bound
    `bound_ms` of an inference: for each kernel its operations at the described peak or its bytes at
    the described bandwidth, whichever is longer. `estimate_ms` goes
    by how the kernels are scheduled, see `harness.devices.graphics.static_estimate`; it is no
    latency. `schedules` is None where nothing verified them."""

    launches: tuple[Launch, ...]
    bound_ms: float | None = None
    estimate_ms: float | None = None
    schedules: KernelVerification | None = None

    @property
    def kernels_unverified(self) -> int | None:
        """Of the network's kernels, where any could be verified."""
        return None if self.schedules is None else len(self.schedules.unverified)

    @property
    def kernels_verified(self) -> int | None:
        if self.schedules is None:
            return None
        return self.schedules.kernels - len(self.schedules.unverified)

    @property
    def registers_max(self) -> int | None:
        return max((launch.registers for launch in self.launches), default=None)

    @property
    def spill_bytes(self) -> int:
        """Of all launches together."""
        return sum(launch.spill_bytes for launch in self.launches)

    @property
    def shared_memory_bytes(self) -> int | None:
        """Of the block that takes most."""
        return max((launch.shared_memory_bytes for launch in self.launches), default=None)

    @property
    def occupancy_min(self) -> float | None:
        known = [launch.occupancy for launch in self.launches if launch.occupancy is not None]
        return min(known, default=None)


class TuningPoint(Frozen):
    """One point of a tuning curve: after `seconds` and `trials`, the sum over the kernels of the
    best found so far (None while some kernel has none): in milliseconds, or in instructions where
    tuning ranked by those."""

    seconds: float
    trials: int
    estimate_ms: float | None = None
    estimate_instructions: float | None = None

    @property
    def estimate(self) -> float | None:
        """Whichever of both there is."""
        return self.estimate_instructions if self.estimate_ms is None else self.estimate_ms


class Tuning(Frozen):
    """The result of tuning: `trials` were measured, `failed_trials` of them gave no time,
    `tasks_reused` kernels were already in the target's database, which cost `earlier_trials` and
    `earlier_seconds` in other runs. `wrong_kernels` finalists computed something else than the
    unscheduled kernel, `unsafe_kernels` accessed memory outside their arguments, and both were
    thrown away. `by` is the cost that schedules were ranked by."""

    by: TuningCost = "seconds"
    trials: int
    failed_trials: int
    seconds: float
    earlier_trials: int = 0
    earlier_seconds: float = 0.0
    wrong_kernels: int = 0
    unsafe_kernels: int = 0
    tasks: int
    tasks_reused: int
    stopped_by: StoppedBy
    curve: tuple[TuningPoint, ...] = ()


class LayerCompression(Frozen):
    """A layer's edges. `shape` and `flops` (of an inference) are those of the dense layer."""

    name: str
    shape: tuple[int, ...]
    flops: float
    parameters: int
    parameters_kept: int


class Compression(Frozen):
    """The compression of a network's edges. `sparsity` is the requested one; `parameters` are those
    of all layers with edges, and `parameters_kept` of them were left; these were fitted to the
    dense network in `finetuned_epochs` times through `finetuned_samples` inputs. Those that are
    gone include `parameters_bypassed`, of whole branches. Merging then left out `parameters_merged`
    that were not zero; negative where the network that computes less has more weights.
    """

    score: Score
    pattern: Pattern
    sparsity: float
    parameters: int
    parameters_kept: int
    finetuned_epochs: int = 0
    finetuned_samples: int = 0
    parameters_merged: int = 0
    parameters_bypassed: int = 0
    layers: tuple[LayerCompression, ...] = ()

    @property
    def sparsity_measured(self) -> float:
        """The share of weights that is gone."""
        return 1 - self.parameters_kept / self.parameters


class StepEntries(Frozen):
    """What the steps of a configuration did, in fields by the keys of steps; None where a step is
    not asked for, or left the network as it was."""

    edges: Compression | None = None

    @property
    def is_compressed(self) -> bool:
        """Whether the network is another than the model's."""
        return any(getattr(self, key) is not None for key in StepEntries.model_fields)


class Fusion(Frozen):
    """Kernels of the graph before and after fusing, and those that ought not to be there."""

    kernels_before: int
    kernels_after: int
    stray: tuple[str, ...] = ()


class Record(StepEntries):
    """One cell of a sweep, done."""

    schema_version: Literal[1] = 1
    fingerprint: str = Field(description="hash of everything that decides the cell's result")
    key: CellKey
    status: Status
    kind: Kind
    reason: str | None = None
    stage: str | None = Field(default=None, description="the stage a failed cell failed in")
    session: str | None = Field(
        default=None, description="cells that were measured interleaved share this"
    )
    latency: Latency | None = None
    memory: Memory | None = None
    accuracy: Accuracy | None = None
    verification: Verification | None = None
    fusion: Fusion | None = None
    kernels: tuple[KernelTime, ...] = ()
    outside_kernels_us: float | None = Field(
        default=None, description="median, per inference, of the time outside kernels"
    )
    tuning: Tuning | None = None
    static: Static | None = None
    instructions: InstructionCount | None = None
    loops: LoopThroughputs | None = None
    memory_safety: MemorySafety | None = None
    artifact: str | None = Field(default=None, description="folder, relative to the results folder")
    spec: dict[str, Any] = Field(description="model, target, configuration, measure, limits, seed")
    environment: dict[str, Any]
    finished_at: str = Field(description="ISO 8601, UTC")
    seconds: float = Field(default=0.0, description="wall time the cell took, tuning included")


def fingerprint(parts: Any) -> str:
    """A short stable hash (16 hex digits of SHA-256) of plain data, whatever its key order."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
