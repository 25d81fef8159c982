"""The metrics of results: one row a column.

The exports write every row. Rows with an `option` are what `select` limits and optimises, and its
command-line options and their help are made from them.

Prices and energies follow from the median latency and from the target's description of the whole of
its hardware, one inference after another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import unknown_name
from harness.records.record import PERCENTILES, Record
from harness.specs.sweep import Kind

Type = Literal["number", "count", "text"]


def _no_reason(_record: Record) -> None:
    return None


@dataclass(frozen=True)
class Metric:
    """One figure of a cell. `of` reads it from a record, None where it is not known; `unknown` may
    say why it is not.

    `option` is its name in the options of `select`, `title` its name in sentences, `help` is the
    option's help. Less is better unless `most`. `unit` is a text, or read from a record where
    it is not the same for all. A `variant` of another metric is shown only where it is asked for.
    `ranks` is the kind of cells that are ranked by it unless another objective is given.
    """

    column: str
    of: Callable[[Record], Any]
    type: Type = "number"
    option: str | None = None
    title: str = ""
    help: str = ""
    unit: str | Callable[[Record], str | None] = ""
    most: bool = False
    variant: bool = False
    ranks: Kind | None = None
    unknown: Callable[[Record], str | None] = _no_reason

    @property
    def limit_option(self) -> str:
        """The option of `select` that limits it, as `--max-latency-ms`."""
        unit = f"-{self.unit.lower()}" if isinstance(self.unit, str) and self.unit else ""
        return f"--{'min' if self.most else 'max'}-{self.option}{unit}"

    def unit_of(self, record: Record) -> str:
        return self.unit if isinstance(self.unit, str) else self.unit(record) or ""

    def written(self, value: float | None, unit: str) -> str:
        """A value in a sentence."""
        if value is None:
            return "not known"
        figure = f"{value:,.0f}" if self.type == "count" else f"{value:.4g}"
        return f"{figure} {unit}".rstrip()


def _of(part: Any, field: str) -> Any:
    return getattr(part, field) if part is not None else None


def _part(name: str, field: str) -> Callable[[Record], Any]:
    """A figure of a part of the record, None where it has no such part."""
    return lambda record: _of(getattr(record, name), field)


def _latency(field: str) -> Callable[[Record], Any]:
    """A count, emulated or static, is never shown as a latency."""
    return lambda record: _of(record.latency, field) if record.kind == "measured" else None


def _too_few_for_p99(record: Record) -> str | None:
    from harness.statistics.samples import P99_MINIMUM  # SciPy takes a second to import

    if record.latency is None:
        return None
    return (
        f"not known from {record.latency.samples} samples, it takes {P99_MINIMUM}: write 'repeats: "
        f"{P99_MINIMUM}' or more under 'measure' in the sweep and run it again"
    )


def _hardware(record: Record) -> Mapping[str, Any]:
    """The hardware section of the target's description when the cell was run."""
    target = record.spec.get("target")
    found = target.get("hardware") if isinstance(target, dict) else None
    return found if isinstance(found, dict) else {}


def _per_inference(field: str, factor: float) -> Callable[[Record], float | None]:
    """A figure of the hardware by the median latency in milliseconds, times a factor."""

    def value(record: Record) -> float | None:
        latency_ms, figure = _latency("median_ms")(record), _hardware(record).get(field)
        return None if latency_ms is None or figure is None else latency_ms * figure * factor

    return value


METRICS: tuple[Metric, ...] = (
    Metric("kind", lambda record: record.kind, "text"),
    Metric(
        "latency_ms_median",
        _latency("median_ms"),
        option="latency",
        title="median latency",
        unit="ms",
        ranks="measured",
    ),
    Metric(
        "latency_ms_p90",
        _latency("p90_ms"),
        option="latency-p90",
        title="p90 latency",
        unit="ms",
        variant=True,
    ),
    Metric("latency_ms_ci_low", _latency("ci_low_ms")),
    Metric("latency_ms_ci_high", _latency("ci_high_ms")),
    Metric(
        "weights_mb",
        _part("memory", "weights_mb"),
        option="memory-weights",
        title="weights",
        unit="MB",
        variant=True,
    ),
    Metric(
        "activation_mb",
        _part("memory", "activation_mb"),
        option="memory-activation",
        title="activation memory",
        unit="MB",
        variant=True,
    ),
    Metric(
        "peak_rss_mb",
        _part("memory", "peak_rss_mb"),
        option="memory",
        title="peak resident memory",
        help="All that a process which only runs the model ever holds.",
        unit="MB",
    ),
    Metric(
        "artifact_mb",
        _part("memory", "artifact_mb"),
        option="memory-artifact",
        title="artifact size",
        unit="MB",
        variant=True,
    ),
    Metric(
        "accuracy",
        _part("accuracy", "value"),
        option="accuracy",
        title="accuracy",
        help="Of the model's metric; instead of the default.",
        most=True,
    ),
    Metric("accuracy_metric", _part("accuracy", "metric"), "text"),
    Metric("accuracy_samples", _part("accuracy", "samples"), "count"),
    Metric("max_abs_error", _part("verification", "max_abs_error")),
    Metric("tuning_trials", lambda record: _of(record.tuning, "trials"), "count"),
    Metric("tuning_seconds", lambda record: _of(record.tuning, "seconds")),
    Metric("reason", lambda record: record.reason, "text"),
    Metric("stage", lambda record: record.stage, "text"),
    Metric(
        "latency_ms_p99",
        _latency("p99_ms"),
        option="latency-p99",
        title="p99 latency",
        unit="ms",
        variant=True,
        unknown=_too_few_for_p99,
    ),
    Metric("latency_samples", _latency("samples"), "count"),
    Metric("accuracy_ci_low", _part("accuracy", "ci_low")),
    Metric("accuracy_ci_high", _part("accuracy", "ci_high")),
    Metric("error_of_scale", _part("verification", "max_error_of_scale")),
    Metric("tolerance_of_scale", _part("verification", "tolerance_of_scale")),
    Metric("base_rss_mb", _part("memory", "base_rss_mb")),
    Metric("kernels_before", lambda record: _of(record.fusion, "kernels_before"), "count"),
    Metric("kernels_after", lambda record: _of(record.fusion, "kernels_after"), "count"),
    Metric("score", _part("edges", "score"), "text"),
    Metric("pattern", _part("edges", "pattern"), "text"),
    Metric("sparsity", _part("edges", "sparsity")),
    Metric("sparsity_measured", _part("edges", "sparsity_measured")),
    Metric("parameters_kept", _part("edges", "parameters_kept"), "count"),
    Metric("weight_bits", _part("quantize", "bits")),
    Metric("quantization_change", _part("quantize", "output_change")),
    Metric("layers_quantized", _part("quantize", "layers_quantized"), "count"),
    Metric(
        "instructions",
        _part("instructions", "total"),
        "count",
        option="instructions",
        title="instructions of an inference",
        help="On an emulated board.",
        ranks="emulated-count",
    ),
    Metric("registers_max", _part("static", "registers_max"), "count"),
    Metric("spill_bytes", _part("static", "spill_bytes"), "count"),
    Metric("shared_memory_bytes", _part("static", "shared_memory_bytes"), "count"),
    Metric("occupancy_min", _part("static", "occupancy_min")),
    Metric("bound_ms", _part("static", "bound_ms")),
    Metric(
        "static_estimate_ms",
        _part("static", "estimate_ms"),
        option="static-estimate",
        title="static estimate",
        help="For cells that were only compiled.",
        unit="ms",
        ranks="static",
    ),
    Metric("load_store_instructions", _part("instructions", "load_store"), "count"),
    Metric("simd_instructions", _part("instructions", "simd"), "count"),
    Metric("branch_instructions", _part("instructions", "branch"), "count"),
    Metric("kernels_verified", _part("static", "kernels_verified"), "count"),
    Metric("kernels_unverified", _part("static", "kernels_unverified"), "count"),
    Metric("loop_peak_share", lambda record: _of(record.loops, "peak_share")),
    Metric("tuning_by", lambda record: _of(record.tuning, "by"), "text"),
    Metric("session", lambda record: record.session, "text"),
    Metric("finished_at", lambda record: record.finished_at, "text"),
    Metric("seconds", lambda record: record.seconds),
    Metric("judge", _part("verification", "judge"), "text"),
    Metric("blame", _part("verification", "blame"), "text"),
    Metric(
        "price_per_million",
        # A million inferences take latency_ms * 1000 seconds.
        _per_inference("price_per_hour", 1 / 3.6),
        option="price-per-million",
        title="price of a million inferences",
        unit=lambda record: _hardware(record).get("currency"),
    ),
    Metric("currency", lambda record: _hardware(record).get("currency"), "text"),
    Metric(
        "energy_mj",
        _per_inference("power_watts", 1.0),
        option="energy",
        title="energy of an inference at full power",
        help="The hardware's full power times the median latency.",
        unit="mJ",
    ),
    Metric(
        "load_ms",
        _part("startup", "load_ms"),
        option="load",
        title="time to load",
        help="Of a process that has imported its engine; one measurement.",
        unit="ms",
        variant=True,
    ),
    Metric(
        "first_inference_ms",
        _part("startup", "first_ms"),
        option="first-inference",
        title="first inference",
        help="After loading; one measurement.",
        unit="ms",
        variant=True,
    ),
    Metric(
        "throughput",
        _part("throughput", "per_second"),
        option="throughput",
        title="inferences a second",
        help="Of all copies side by side, in cells with 'streams'.",
        most=True,
        variant=True,
    ),
    Metric("throughput_ci_low", _part("throughput", "ci_low")),
    Metric("throughput_ci_high", _part("throughput", "ci_high")),
    Metric("inferences", _part("inferences", "count"), "count"),
    *(
        Metric(
            f"inference_ms_{name.removesuffix('_ms')}",
            _part("inferences", name),
            option=f"inference-{name.removesuffix('_ms')}",
            title=f"{share:g}th percentile of single inferences",
            help="Back to back, without waiting for input.",
            unit="ms",
            variant=True,
        )
        for name, share in PERCENTILES.items()
    ),
)


def reference() -> str:
    """The columns of results as Markdown, one row each."""
    rows = [
        f"| `{metric.column}` | {metric.type} | {metric.title} | "
        f"{f'`{metric.limit_option}`' if metric.option else ''} |"
        for metric in METRICS
    ]
    head = ("", "| column | type | | limit of `select` |", "|---|---|---|---|")
    return "\n".join([*head, *rows])


CHOOSABLE: Mapping[str, Metric] = {
    metric.option: metric for metric in METRICS if metric.option is not None
}
"""The metrics that cells are chosen by, by their options."""
LATENCY, MEMORY, ACCURACY = "latency", "memory", "accuracy"
"""Options with rules of their own: ties in latency go by memory, and accuracy is guarded."""


def objective_of(kind: Kind) -> str:
    """The option of the metric that cells of a kind are ranked by."""
    return next(option for option, metric in CHOOSABLE.items() if metric.ranks == kind)


def choosable(option: str) -> Metric:
    """The metric with this option. Raises InputError naming the nearest one."""
    if option not in CHOOSABLE:
        raise unknown_name("metric", option, CHOOSABLE)
    return CHOOSABLE[option]
