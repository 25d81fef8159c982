"""What does not apply on a target is skipped with the reason, before anything is built."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from small_models import convolutional, save

from harness.errors import CellSkipped
from harness.run.applicability import require_applicable
from harness.run.model_process import ModelProcess
from harness.run.plan import PlannedGroup, plan
from harness.specs.settings import Settings
from harness.specs.sweep import Limits, Sweep

EDGES = {"sparsity": 0.5, "pattern": "block", "budget": "latency"}


@pytest.fixture
def group(tmp_path: Path) -> PlannedGroup:
    keys = {
        "schema": 1,
        "models": [{"name": "net", "path": save(convolutional(), tmp_path / "net.onnx")}],
        "targets": ["raspberry-pi-4"],
        "configurations": [{"name": "dense"}, {"name": "sparse", "edges": EDGES}],
        "baselines": ["onnxruntime"],
    }
    with ModelProcess(Limits()) as models:
        (found,) = plan(Sweep.model_validate(keys), models)
    return found


def test_latency_is_no_budget_where_nothing_is_timed_here(group: PlannedGroup) -> None:
    dense, sparse, _ = group.cells
    require_applicable(dense, group)
    said = "'raspberry-pi-4' does not allow: its device is emulated; .* use the budget 'edges'"
    with pytest.raises(CellSkipped, match=said):
        require_applicable(sparse, group)


def test_streams_need_cores_of_this_machine(group: PlannedGroup, tmp_path: Path) -> None:
    there = replace(group, settings=Settings(streams=2))
    with pytest.raises(CellSkipped, match="'streams' run on this machine's processor alone"):
        require_applicable(there.cells[0], there)
    cores = len(os.sched_getaffinity(0))
    keys = {
        "schema": 1,
        "models": [{"name": "net", "path": save(convolutional(), tmp_path / "net.onnx")}],
        "configurations": [{"name": "dense"}],
        "streams": [cores, cores + 1],
    }
    with ModelProcess(Limits()) as models:
        fits, beyond = plan(Sweep.model_validate(keys), models)
    require_applicable(fits.cells[0], fits)
    said = rf"{cores + 1} streams of 1 thread each need {cores + 1} cores; there are {cores} here"
    with pytest.raises(CellSkipped, match=said):
        require_applicable(beyond.cells[0], beyond)


def test_engines_do_not_run_on_other_machines(group: PlannedGroup) -> None:
    with pytest.raises(CellSkipped, match="onnxruntime runs on this machine's processor"):
        require_applicable(group.cells[2], group)
