"""Says which cells do not apply here, before anything is built for them."""

from __future__ import annotations

import os
from importlib.util import find_spec

from harness.baselines.registry import ENGINES, EXPORTED, applicable
from harness.devices.servers.tracker import Servers
from harness.errors import CellFailure, CellSkipped
from harness.executors.table import executor_of
from harness.run.plan import PlannedCell, PlannedGroup
from harness.specs.target import TargetSpec


def require_applicable(cell: PlannedCell, group: PlannedGroup) -> None:
    """Raise CellSkipped, with the reason, where a cell's engine is not installed or does not run
    its model or on its target, or where its target does not allow the kernels of a step or several
    streams to be measured."""
    target = group.target
    executor = executor_of(target)
    if streams := group.settings.streams:
        _require_streams(streams, target)
    if cell.configuration is not None:
        for key, options in cell.configuration.steps.items():
            if options.times_kernels and not executor.times_kernels:
                raise CellSkipped(
                    f"'{key}' measures kernels, which '{target.name}' does not allow: its device "
                    f"is {target.device.kind}; {options.times_kernels}"
                )
        return
    engine = cell.key.engine
    format = EXPORTED if cell.network_of else group.model.format
    if not executor.runs_engines:
        raise CellSkipped(
            f"{engine} runs on this machine's processor here, not on the target '{target.name}'"
        )
    if format is not None and not applicable(engine, format):
        formats = ", ".join(sorted(ENGINES[engine].formats))
        raise CellSkipped(f"{engine} does not run {format} models, only {formats}")
    if find_spec(ENGINES[engine].package) is None:
        raise CellSkipped(f"{engine} is not installed: {ENGINES[engine].install}")


def _require_streams(streams: int, target: TargetSpec) -> None:
    if not executor_of(target).runs_engines:
        raise CellSkipped(
            f"'streams' run on this machine's processor alone, not on the target '{target.name}'"
        )
    threads, cores = target.tvm.num_cores, len(os.sched_getaffinity(0))
    if streams * threads > cores:
        raise CellSkipped(
            f"{streams} streams of {threads} thread{'s' * (threads > 1)} each need "
            f"{streams * threads} cores; there are {cores} here"
        )


def still_skipped(cell: PlannedCell, group: PlannedGroup, servers: Servers | None) -> bool:
    """Whether a cell that was skipped once would be skipped again."""
    try:
        require_applicable(cell, group)
        executor_of(group.target, servers).require()
    except CellSkipped:
        return True
    except CellFailure:
        return False  # it is for the run to record that
    return False
