"""The figures that a cell is chosen by, and what they are held against.

Prices and energies follow from a latency that was measured and from what the target's description
says of the whole of its hardware, one inference after another: neither is more than that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import FiniteFloat, PositiveFloat

from harness.records.accuracy import score
from harness.records.record import AGREEMENT, CellKey, Latency, Record
from harness.specs.documents import Frozen
from harness.specs.sweep import Kind
from harness.statistics import P99_MINIMUM

Objective = Literal[
    "latency", "memory", "accuracy", "price", "energy", "instructions", "static-estimate"
]
LatencyFigure = Literal["median", "p90", "p99"]
MemoryFigure = Literal["weights", "activation", "artifact", "peak"]

OBJECTIVES: Mapping[Kind, Objective] = {
    "measured": "latency",
    "emulated-count": "instructions",
    "static": "static-estimate",
}
"""What cells of a kind are ranked by unless something else is asked for."""
_FIGURES: Mapping[Objective, tuple[str, str, str]] = {
    "latency": ("latency_ms", "max_latency_ms", " ms"),
    "memory": ("memory_mb", "max_memory_mb", " MB"),
    "accuracy": ("accuracy", "min_accuracy", ""),
    "price": ("price_per_million", "max_price_per_million", ""),
    "energy": ("energy_mj", "max_energy_mj", " mJ"),
    "instructions": ("instructions", "max_instructions", ""),
    "static-estimate": ("static_estimate_ms", "max_static_estimate_ms", " ms"),
}
"""The field of a candidate, that of its limit, and the unit."""
ASPECTS: tuple[Objective, ...] = tuple(_FIGURES)
_MEMORY: Mapping[MemoryFigure, tuple[str, str]] = {
    "weights": ("weights_mb", "weights"),
    "activation": ("activation_mb", "activation memory"),
    "artifact": ("artifact_mb", "artifact size"),
    "peak": ("peak_rss_mb", "peak resident memory"),
}


class Constraints(Frozen):
    """What a cell must keep to, and which figures are held against the limits.

    Without `min_accuracy` a cell must not be clearly less accurate than the uncompressed network
    (`harness.records.accuracy`), unless `any_accuracy` will do.
    """

    max_latency_ms: PositiveFloat | None = None
    max_memory_mb: PositiveFloat | None = None
    min_accuracy: FiniteFloat | None = None
    max_price_per_million: PositiveFloat | None = None
    max_energy_mj: PositiveFloat | None = None
    max_instructions: PositiveFloat | None = None
    max_static_estimate_ms: PositiveFloat | None = None
    latency_figure: LatencyFigure = "median"
    memory_figure: MemoryFigure = "peak"
    allow_agreement: bool = False
    any_accuracy: bool = False

    def limit(self, aspect: Objective) -> float | None:
        found: float | None = getattr(self, _FIGURES[aspect][1])
        return found

    def name(self, aspect: Objective) -> str:
        names: dict[Objective, str] = {
            "latency": f"{self.latency_figure} latency",
            "memory": _MEMORY[self.memory_figure][1],
            "price": "price of a million inferences",
            "energy": "energy of an inference, at most,",
            "instructions": "instructions of an inference",
            "static-estimate": "static estimate",
        }
        return names.get(aspect, aspect)


class Candidate(Frozen):
    """A cell by the figures it is chosen by, None if not known; nor is `accuracy` where only
    agreement was found and that does not count, or no number. `accuracy_is` says what was found,
    and `no_latency_because` why a latency that was measured lacks the percentile asked for."""

    key: CellKey
    fingerprint: str
    latency_ms: float | None
    memory_mb: float | None
    accuracy: float | None
    accuracy_is: str | None
    no_latency_because: str | None = None
    price_per_million: float | None = None
    currency: str | None = None
    energy_mj: float | None = None
    instructions: float | None = None
    static_estimate_ms: float | None = None

    def figure(self, aspect: Objective) -> float | None:
        found: float | None = getattr(self, _FIGURES[aspect][0])
        return found

    def cost(self, aspect: Objective) -> float:
        """The figure, turned so that less is better; infinite where it is not known."""
        value = self.figure(aspect)
        if value is None:
            return math.inf
        return -value if aspect == "accuracy" else value

    def written(self, aspect: Objective, value: float | None) -> str:
        """A figure of this cell, or its limit, with the unit."""
        if value is None:
            return "not known"
        if aspect == "instructions":
            return f"{value:,.0f}"
        unit = f" {self.currency}" if aspect == "price" else _FIGURES[aspect][2]
        return f"{value:.4g}{unit}"


def candidate_of(record: Record, constraints: Constraints) -> Candidate:
    """A cell by the figures that are asked for."""
    accuracy = record.accuracy
    value, name = (accuracy.value, accuracy.metric) if accuracy else (None, None)
    if accuracy and not accuracy.defined:
        value, name = None, f"{score(accuracy.value)} ({accuracy.metric})"
    elif accuracy and name == AGREEMENT and not constraints.allow_agreement:
        value, name = None, f"only {AGREEMENT} ({value:.4g}), which is not labelled data"
    latency_ms = getattr(record.latency, f"{constraints.latency_figure}_ms", None)
    hardware = _hardware(record)
    price, watts = hardware.get("price_per_hour"), hardware.get("power_watts")
    return Candidate(
        key=record.key,
        fingerprint=record.fingerprint,
        latency_ms=latency_ms,
        memory_mb=getattr(record.memory, _MEMORY[constraints.memory_figure][0], None),
        accuracy=value,
        accuracy_is=name,
        no_latency_because=_too_few(record.latency) if latency_ms is None else None,
        # A million inferences take latency_ms * 1000 seconds.
        price_per_million=_product(latency_ms, price, 1 / 3.6),
        currency=hardware.get("currency"),
        energy_mj=_product(latency_ms, watts, 1.0),
        instructions=getattr(record.instructions, "total", None),
        static_estimate_ms=getattr(record.static, "estimate_ms", None),
    )


def _too_few(latency: Latency | None) -> str | None:
    """Why a latency lacks a percentile: only the 99th may be missing."""
    if latency is None:
        return None
    return (
        f"not known from {latency.samples} samples, it takes {P99_MINIMUM}: write 'repeats: "
        f"{P99_MINIMUM}' or more under 'measure' in the sweep and run it again"
    )


def _product(latency_ms: float | None, figure: float | None, factor: float) -> float | None:
    return None if latency_ms is None or figure is None else latency_ms * figure * factor


def _hardware(record: Record) -> Mapping[str, Any]:
    """What the target's description said of its hardware when the cell was run."""
    target = record.spec.get("target")
    found = target.get("hardware") if isinstance(target, dict) else None
    return found if isinstance(found, dict) else {}
