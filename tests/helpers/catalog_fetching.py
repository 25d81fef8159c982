"""Fetching catalog models in tests, for real, where a package index can be reached."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from harness.errors import InputError
from harness.models.catalog import entries as catalog
from harness.models.data.task import Feeds
from harness.models.resolved import ResolvedModel
from harness.specs.sweep import ModelSpec


def fetched_or_skip(name: str) -> ResolvedModel:
    """The model, fetched into the cache; skips the test, with the reason, without a network."""
    try:
        return catalog.resolve(ModelSpec(name=name), fetch_missing=True)
    except InputError as error:
        if "cannot be reached" in str(error):
            pytest.skip(str(error))
        raise


def reference_run(model: ResolvedModel) -> Callable[[Feeds], list[np.ndarray]]:
    """Runs the model with ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        str(model.path), options, providers=["CPUExecutionProvider"]
    )
    return lambda feeds: list(session.run(None, feeds))
