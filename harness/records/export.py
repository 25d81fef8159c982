"""The results of a sweep as one flat table, for spreadsheets, notebooks and scripts."""

from __future__ import annotations

import importlib.util
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from harness.files.atomic import write_atomically
from harness.records.record import CellKey, Record
from harness.records.store import Store

EXPORT_SCHEMA = 1
PENDING = "pending"

_TEXT: Any = "string"
_NUMBER: Any = "Float64"
_COUNT: Any = "Int64"

_COLUMNS: tuple[tuple[str, Any, Callable[[Record], Any]], ...] = (
    ("kind", _TEXT, lambda record: record.kind),
    ("latency_ms_median", _NUMBER, lambda record: _latency(record, "median_ms")),
    ("latency_ms_p90", _NUMBER, lambda record: _latency(record, "p90_ms")),
    ("latency_ms_ci_low", _NUMBER, lambda record: _latency(record, "ci_low_ms")),
    ("latency_ms_ci_high", _NUMBER, lambda record: _latency(record, "ci_high_ms")),
    ("weights_mb", _NUMBER, lambda record: _of(record.memory, "weights_mb")),
    ("activation_mb", _NUMBER, lambda record: _of(record.memory, "activation_mb")),
    ("peak_rss_mb", _NUMBER, lambda record: _of(record.memory, "peak_rss_mb")),
    ("artifact_mb", _NUMBER, lambda record: _of(record.memory, "artifact_mb")),
    ("accuracy", _NUMBER, lambda record: _of(record.accuracy, "value")),
    ("accuracy_metric", _TEXT, lambda record: _of(record.accuracy, "metric")),
    ("accuracy_samples", _COUNT, lambda record: _of(record.accuracy, "samples")),
    ("max_abs_error", _NUMBER, lambda record: _of(record.verification, "max_abs_error")),
    ("tuning_trials", _COUNT, lambda record: _of(record.tuning, "trials")),
    ("tuning_seconds", _NUMBER, lambda record: _of(record.tuning, "seconds")),
    ("reason", _TEXT, lambda record: record.reason),
    ("stage", _TEXT, lambda record: record.stage),
    ("latency_ms_p99", _NUMBER, lambda record: _latency(record, "p99_ms")),
    ("latency_samples", _COUNT, lambda record: _latency(record, "samples")),
    ("accuracy_ci_low", _NUMBER, lambda record: _of(record.accuracy, "ci_low")),
    ("accuracy_ci_high", _NUMBER, lambda record: _of(record.accuracy, "ci_high")),
    ("error_of_scale", _NUMBER, lambda record: _of(record.verification, "max_error_of_scale")),
    ("tolerance_of_scale", _NUMBER, lambda record: _of(record.verification, "tolerance_of_scale")),
    ("base_rss_mb", _NUMBER, lambda record: _of(record.memory, "base_rss_mb")),
    ("kernels_before", _COUNT, lambda record: _of(record.fusion, "kernels_before")),
    ("kernels_after", _COUNT, lambda record: _of(record.fusion, "kernels_after")),
    ("score", _TEXT, lambda record: _of(record.edges, "score")),
    ("pattern", _TEXT, lambda record: _of(record.edges, "pattern")),
    ("sparsity", _NUMBER, lambda record: _of(record.edges, "sparsity")),
    ("sparsity_measured", _NUMBER, lambda record: _of(record.edges, "sparsity_measured")),
    ("parameters_kept", _COUNT, lambda record: _of(record.edges, "parameters_kept")),
    ("instructions", _COUNT, lambda record: _of(record.instructions, "total")),
    ("registers_max", _COUNT, lambda record: _of(record.static, "registers_max")),
    ("spill_bytes", _COUNT, lambda record: _of(record.static, "spill_bytes")),
    ("shared_memory_bytes", _COUNT, lambda record: _of(record.static, "shared_memory_bytes")),
    ("occupancy_min", _NUMBER, lambda record: _of(record.static, "occupancy_min")),
    ("bound_ms", _NUMBER, lambda record: _of(record.static, "bound_ms")),
    ("static_estimate_ms", _NUMBER, lambda record: _of(record.static, "estimate_ms")),
    ("load_store_instructions", _COUNT, lambda record: _of(record.instructions, "load_store")),
    ("simd_instructions", _COUNT, lambda record: _of(record.instructions, "simd")),
    ("branch_instructions", _COUNT, lambda record: _of(record.instructions, "branch")),
    ("kernels_verified", _COUNT, lambda record: _of(record.static, "kernels_verified")),
    ("kernels_unverified", _COUNT, lambda record: _of(record.static, "kernels_unverified")),
    ("loop_peak_share", _NUMBER, lambda record: _of(record.loops, "peak_share")),
    ("tuning_by", _TEXT, lambda record: _of(record.tuning, "by")),
    ("session", _TEXT, lambda record: record.session),
    ("finished_at", _TEXT, lambda record: record.finished_at),
    ("seconds", _NUMBER, lambda record: record.seconds),
    ("judge", _TEXT, lambda record: _of(record.verification, "judge")),
    ("blame", _TEXT, lambda record: _of(record.verification, "blame")),
)


def table(store: Store) -> pd.DataFrame:
    """One row a planned cell, in the plan's order, indexed by the cell's fingerprint.

    A cell without a record has the status `pending`. What was not measured is missing (`<NA>`);
    units are in the column names. Only a record of the kind `measured` has a latency.
    """
    planned = store.planned()
    found = {record.fingerprint: record for record in store.records()}
    records = [found.get(mark) for mark in planned]
    columns: dict[str, Any] = {
        name: pd.array([getattr(key, name) for key in planned.values()], dtype=_TEXT)
        for name in CellKey.model_fields
    }
    columns["status"] = pd.array(
        [record.status if record else PENDING for record in records], dtype=_TEXT
    )
    for name, dtype, value in _COLUMNS:
        columns[name] = pd.array(
            [value(record) if record else None for record in records], dtype=dtype
        )
    return pd.DataFrame(columns, index=pd.Index(list(planned), name="fingerprint", dtype="object"))


def write_exports(store: Store, folder: Path) -> tuple[Path, ...]:
    """Write results.csv and results.json, and results.parquet where pyarrow is installed.

    Returns the paths written. The same store gives the same bytes. Raises InputError when `folder`
    cannot be written.
    """
    cells = table(store)
    written = [folder / "results.csv", folder / "results.json"]
    write_atomically(written[0], cells.to_csv(index=False, lineterminator="\n"))
    rows = [
        {name: _plain(value) for name, value in row.items()}
        for row in cells.reset_index().to_dict(orient="records")
    ]
    document = {"schema": EXPORT_SCHEMA, "cells": rows}
    write_atomically(written[1], (json.dumps(document, indent=1, ensure_ascii=False) + "\n"))
    if importlib.util.find_spec("pyarrow"):
        buffer = io.BytesIO()
        cells.reset_index().to_parquet(buffer, engine="pyarrow", index=False)
        written.append(folder / "results.parquet")
        write_atomically(written[-1], buffer.getvalue())
    return tuple(written)


def _of(part: Any, field: str) -> Any:
    return getattr(part, field) if part is not None else None


def _plain(value: Any) -> Any:
    """A value JSON has: missing and infinite values become null."""
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def _latency(record: Record, field: str) -> Any:
    """A count, emulated or static, is never shown as a latency."""
    return _of(record.latency, field) if record.kind == "measured" else None
