"""The results of a sweep as one flat table, for spreadsheets, notebooks and scripts."""

from __future__ import annotations

import importlib.util
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from harness.files.atomic import write_atomically
from harness.records.metrics import METRICS, Type
from harness.records.record import CellKey, Status
from harness.records.store import Store
from harness.specs.settings import AXES

EXPORT_SCHEMA = 1
PENDING = "pending"

_DTYPES: Mapping[Type, Any] = {"text": "string", "number": "Float64", "count": "Int64"}


def table(store: Store) -> pd.DataFrame:
    """One row a planned cell, in the plan's order, indexed by the cell's fingerprint.

    A cell without a record has the status `pending`. Figures that were not measured are missing
    (`<NA>`); units are in the column names. Only a record of the kind `measured` has a latency.
    """
    planned = store.planned()
    found = {record.fingerprint: record for record in store.records()}
    records = [found.get(mark) for mark in planned]
    columns: dict[str, Any] = {
        name: pd.array([getattr(key, name) for key in planned.values()], dtype=_DTYPES["text"])
        for name in CellKey.model_fields
        if name != "settings"
    }
    columns["status"] = pd.array(
        [record.status if record else PENDING for record in records], dtype=_DTYPES["text"]
    )
    for metric in METRICS:
        columns[metric.column] = pd.array(
            [metric.of(record) if record else None for record in records],
            dtype=_DTYPES[metric.type],
        )
    for name in AXES:
        columns[name] = pd.array(
            [getattr(key.settings, name) for key in planned.values()], dtype=_DTYPES["count"]
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


def export_schema() -> dict[str, Any]:
    """The JSON Schema of results.json."""
    types = {"text": "string", "number": "number", "count": "integer"}
    columns: dict[str, Any] = {
        name: {"type": "string"}
        for name in ("fingerprint", *CellKey.model_fields)
        if name != "settings"
    }
    columns["status"] = {"enum": [*get_args(Status), PENDING]}
    for metric in METRICS:
        columns[metric.column] = {"type": [types[metric.type], "null"]}
        if metric.title:
            columns[metric.column]["description"] = metric.title
    columns |= {name: {"type": ["integer", "null"]} for name in AXES}
    cell = {"type": "object", "properties": columns, "additionalProperties": False}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "results.json",
        "type": "object",
        "properties": {
            "schema": {"const": EXPORT_SCHEMA},
            "cells": {"type": "array", "items": cell},
        },
        "required": ["schema", "cells"],
    }


def _plain(value: Any) -> Any:
    """A value JSON has: missing and infinite values become null."""
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
