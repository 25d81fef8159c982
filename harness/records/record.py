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

from harness.records.compiled_code import (
    InstructionCount,
    LoopThroughputs,
    MemorySafety,
    Static,
)
from harness.specs.documents import Frozen
from harness.specs.patterns import Pattern
from harness.specs.quantization import (
    ActivationType,
    RangeMethod,
    Ranges,
    Rounding,
    Roundings,
    WeightType,
)
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
    the configuration is `baseline`, or the one whose compressed network it runs."""

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


class Startup(Frozen):
    """The time that a process which has imported its engine takes to load the model, and then for
    its first inference. One measurement each, the model's file in the page cache."""

    load_ms: float
    first_ms: float


PERCENTILES = {"p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "p999_ms": 99.9}


class Inferences(Frozen):
    """Latency of single inferences, back to back: percentiles of the `count` that all samples
    together timed. One is None where fewer were timed than one lies beyond it. `Latency` has
    percentiles of samples, which are medians of several inferences."""

    count: int
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None


class Throughput(Frozen):
    """Inferences a second of all copies of a network that run side by side: the median of the
    samples, with its 95 % interval."""

    per_second: float = Field(gt=0)
    ci_low: float = Field(gt=0)
    ci_high: float = Field(gt=0)


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


class LayerQuantization(Frozen):
    """A layer of a quantized network: the bits of its weights and why they are as they were, if
    they are. Otherwise, where its data are rounded as well, their range, the method that chose it,
    whether channels were `balanced` (divided by a factor each) before, and the share of the data
    that calibration saw beyond it; how weights were rounded; and the change of the network's
    outputs when this layer alone is quantized, relative to their size."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    bits: int
    floats_because: str | None = None
    low: float | None = None
    high: float | None = None
    ranges: RangeMethod | None = None
    balanced: bool = False
    saturated: float | None = None
    rounding: Rounding | None = None
    output_change: float | None = None


class Quantization(Frozen):
    """What quantization did: the types of weights and data, the requested methods, how many inputs
    it was calibrated on, the change of the network's outputs on some of these, or on others if
    there are none, relative to their size, the largest step of weights, the change that was asked
    for, and each layer. Nothing was requested of data that stay float32."""

    weights: WeightType = "int8"
    activations: ActivationType = "int8"
    ranges: Ranges | None = None
    rounding: Roundings | None = None
    balance: bool = False
    bias: bool = False
    calibration: int = 0
    output_change: float | None
    weight_steps: int = 127
    max_change: float | None = None
    layers: tuple[LayerQuantization, ...] = ()

    @property
    def layers_quantized(self) -> int:
        """How many layers have fewer bits than before."""
        return sum(layer.floats_because is None for layer in self.layers)

    @property
    def bits(self) -> float:
        """The bits of a weight, in the mean over the layers' weights."""
        total = sum(layer.parameters for layer in self.layers)
        return sum(layer.parameters * layer.bits for layer in self.layers) / max(total, 1)


class StepEntries(Frozen):
    """What the steps of a configuration did, in fields by the keys of steps; None where a step is
    not asked for, or left the network as it was."""

    edges: Compression | None = None
    quantize: Quantization | None = None

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
    startup: Startup | None = None
    inferences: Inferences | None = None
    throughput: Throughput | None = None
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
