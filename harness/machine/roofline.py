"""The two roofs of this machine: floating-point operations a second, and bytes a second.

See Williams, Waterman, Patterson, "Roofline: an insightful visual performance model" (2009), for
their use, and `harness.hardware.roof_kernels` for how they are measured.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from pydantic import ValidationError

from harness.errors import CellFailure
from harness.files.atomic import write_atomically
from harness.files.cache import cache_folder
from harness.hardware import this_processor
from harness.hardware.description import target_fingerprint
from harness.machine.environment import disturbances
from harness.processes.python import ChildFailure, run_python
from harness.specs.documents import Frozen
from harness.specs.target import TargetSpec

_TIME_LIMIT_SECONDS = 120
_RECENT_SECONDS = 300
"""For how long kept roofs are used as they are."""


class Roofs(Frozen):
    """The bounds of a kernel's speed on this machine, in fp32, with `threads` threads.

    The bandwidth is that of arrays of `triad_mb` megabytes together; `beyond_cache` is false where
    memory was too short to make them larger than the last-level cache.
    """

    peak_gflops: float
    memory_bandwidth_gbs: float
    threads: int
    triad_mb: float
    beyond_cache: bool


def measured_roofs(spec: TargetSpec, *, fresh: bool = False) -> Roofs:
    """The roofs of this machine for code compiled for `spec`, on its `tvm.num-cores` threads.

    Measured in about three seconds, in a process of its own, and kept in the cache folder for this
    processor, target and TVM version; measured again when that was five minutes ago, or `fresh`.
    The higher figure of each is kept: a machine shared with others reaches its bandwidth at some
    moments only, and a rate reached once bounds kernels. A first measurement
    beside other work is not kept. Raises CellFailure when the measurement crashes or hangs.
    """
    stored = cache_folder() / "roofs" / f"{_fingerprint(spec)}.json"
    known = _read(stored)
    if known and not fresh and time.time() - stored.stat().st_mtime < _RECENT_SECONDS:
        return known
    disturbed = disturbances()
    roofs = _measure(spec)
    if known:
        roofs = roofs.model_copy(
            update={
                "peak_gflops": max(known.peak_gflops, roofs.peak_gflops),
                "memory_bandwidth_gbs": max(known.memory_bandwidth_gbs, roofs.memory_bandwidth_gbs),
            }
        )
    if known or not disturbed:
        write_atomically(stored, roofs.model_dump_json())
    return roofs


def known_roofs(spec: TargetSpec) -> Roofs | None:
    """The roofs that were measured here at some time, or None; nothing is measured."""
    return _read(cache_folder() / "roofs" / f"{_fingerprint(spec)}.json")


def with_measured_roofs(spec: TargetSpec, *, fresh: bool = False) -> TargetSpec:
    """`spec` with this machine's measured peak and bandwidth."""
    roofs = measured_roofs(spec, fresh=fresh)
    figures = {
        "peak_gflops": round(roofs.peak_gflops, 1),
        "memory_bandwidth_gbs": round(roofs.memory_bandwidth_gbs, 1),
    }
    return spec.model_copy(update={"hardware": spec.hardware.model_copy(update=figures)})


def _measure(spec: TargetSpec) -> Roofs:
    try:
        printed = run_python(
            ["-m", "harness.hardware.roof_kernels"],
            seconds=_TIME_LIMIT_SECONDS,
            standard_input=spec.model_dump_json(by_alias=True),
            # Read once, when the runtime starts; without it TVM uses half of the logical CPUs.
            environment={"TVM_NUM_THREADS": str(spec.tvm.num_cores)},
        )
    except ChildFailure as error:
        raise CellFailure(f"measuring the roofs of '{spec.name}' failed: {error}") from None
    return Roofs.model_validate_json(printed)


def _fingerprint(spec: TargetSpec) -> str:
    """A name of everything that the rooflines depend on: the target's code, and the processor under
    it."""
    processor = json.dumps([str(item) for item in vars(this_processor()).values()])
    return f"{target_fingerprint(spec)}-{hashlib.sha256(processor.encode()).hexdigest()[:8]}"


def _read(path: Path) -> Roofs | None:
    try:
        return Roofs.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
