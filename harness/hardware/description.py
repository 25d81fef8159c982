"""Hardware descriptions: finds, reads, checks, writes and names them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from harness.errors import InputError, unknown_name
from harness.files.regular import expanded
from harness.files.shipped import shipped_folder
from harness.hardware.detection import HOST, detect_host
from harness.specs.documents import read_document, validate
from harness.specs.sweep import is_path_of_target
from harness.specs.target import TargetSpec


def known_targets() -> list[str]:
    """The names `load_target` takes: the detected host first, then the shipped descriptions."""
    return [HOST, *sorted(path.stem for path in shipped_folder("targets").glob("*.yaml"))]


def load_target(name_or_path: str) -> TargetSpec:
    """The description called `name_or_path`, detected for `x86-host`, else read from YAML.

    A text with a slash or the suffix `.yaml` is a path. Raises InputError for an unknown name, with
    the nearest known one, and for a file that is no description, with file and line.
    """
    if name_or_path == HOST:
        return detect_host()
    if is_path_of_target(name_or_path):
        return read_document(expanded(name_or_path), TargetSpec)
    known = known_targets()
    if name_or_path not in known:
        raise unknown_name("target", name_or_path, known)
    return read_document(shipped_folder("targets") / f"{name_or_path}.yaml", TargetSpec)


def check_target_file(path: Path) -> TargetSpec:
    """Read a description and check it against LLVM.

    Raises InputError for violations of the schema; for a processor or feature LLVM does not know,
    which it would only log before it compiled for another; and for figures that contradict it.
    """
    spec = read_document(path, TargetSpec)
    require_known_processor(spec, path)
    _CHECKS[spec.tvm.kind](path, spec)
    return spec


def copied_figures(spec: TargetSpec) -> Mapping[str, str]:
    """The figures of a description that are those of a shipped one of another processor, by key,
    with that one's name: the roofs are hardly the same by chance."""
    found: dict[str, str] = {}
    for name in known_targets()[1:]:
        other = load_target(name)
        code, theirs = (one.tvm.mcpu or one.tvm.arch for one in (spec, other))
        if name == spec.name or code == theirs:
            continue
        for key in ("peak_gflops", "memory_bandwidth_gbs"):
            ours = getattr(spec.hardware, key)
            if ours is not None and ours == getattr(other.hardware, key):
                found.setdefault(key, name)
    # One of the two may well be shared: memory is bought by the piece.
    return found if "peak_gflops" in found else {}


def with_values(spec: TargetSpec, values: Mapping[str, str | None]) -> TargetSpec:
    """A description with other values, by keys such as `hardware.l2_kb`; None leaves one out.
    Raises InputError, which names the key, for a value that is none."""
    data = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    for key, value in values.items():
        part, _, name = key.rpartition(".")
        within = data.setdefault(part, {}) if part else data
        if value is None:
            within.pop(name, None)
        else:
            within[name] = value.split() if isinstance(within.get(name), list) else value
    return validate(data, TargetSpec, spec.name)


def _check_processor(path: Path, spec: TargetSpec) -> None:
    """Raise InputError where figures of a processor contradict its code or each other."""
    from harness.hardware.llvm import target_features, vector_bits

    claimed = sorted(set(spec.hardware.features) - target_features(spec.tvm))
    if claimed:
        raise InputError(
            f"{path}: hardware.features: code for mcpu '{spec.tvm.mcpu}' does not use "
            f"{', '.join(claimed)}; add it to tvm.mattr or leave it out"
        )
    # Arm's scalable vectors are wider on some processors than their features tell.
    x86_bits = spec.hardware.simd_bits if spec.architecture == "x86" else None
    if x86_bits and x86_bits > vector_bits(spec.tvm):
        raise InputError(
            f"{path}: hardware.simd_bits: {x86_bits} is more than the "
            f"{vector_bits(spec.tvm)} bits that mcpu '{spec.tvm.mcpu}' has"
        )
    if spec.tvm.num_cores > spec.hardware.cores:
        raise InputError(
            f"{path}: tvm.num-cores: {spec.tvm.num_cores} is more than "
            f"hardware.cores: {spec.hardware.cores}"
        )


def require_known_processor(spec: TargetSpec, source: object) -> None:
    """Raise InputError, which begins with the `source` of the description, where LLVM does not know
    its processor or a feature: it would only log that, and compile for another."""
    from harness.hardware.llvm import check_target, family_of

    processor = spec.tvm.processor
    if processor is None:  # this machine's drives the device
        return
    own = spec.architecture if processor is spec.tvm else family_of(processor.mtriple)
    try:
        check_target(processor, own)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _check_graphics(path: Path, spec: TargetSpec) -> None:
    """Raise InputError where figures of a graphics processor contradict each other."""
    shape, most = spec.hardware.multiprocessor, spec.tvm.max_threads_per_block
    if spec.architecture != spec.tvm.kind:
        raise InputError(
            f"{path}: architecture: '{spec.architecture}' does not go with tvm.kind 'cuda'; "
            "expected 'cuda'"
        )
    if shape is not None and most is not None and most > shape.threads:
        raise InputError(
            f"{path}: tvm.max_threads_per_block: {most} is more than "
            f"hardware.multiprocessor.threads: {shape.threads}"
        )


_CHECKS = {"llvm": _check_processor, "cuda": _check_graphics}


def as_yaml(spec: TargetSpec) -> str:
    """`spec` as the text of a description file; reading it again gives the same description."""
    data = _plain(spec.model_dump(mode="json", by_alias=True, exclude_none=True))
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=100)


def _plain(value: Any) -> Any:
    """Without empty lists, and with whole numbers written as such: 48, not 48.0."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item != []}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def target_fingerprint(spec: TargetSpec) -> str:
    """A folder name of everything that decides which schedule is best and whether its code runs.

    Two descriptions share it exactly when architecture, kind, processor, features, cores and TVM
    version agree, and the key where servers are reached by one:
    `llvm-znver4-2c-tvm0.27.0.post1-1b2c3d4e`.
    """
    tvm_version = version("apache-tvm")
    decisive: dict[str, object] = {
        "architecture": spec.architecture,
        "kind": spec.tvm.kind,
        "mcpu": spec.tvm.mcpu,
        "mattr": sorted(spec.tvm.mattr),
        "cores": spec.tvm.num_cores,
        "tag": spec.tvm.tag,
        "tvm": tvm_version,
    }
    decisive |= spec.device.decisive | spec.tvm.decisive
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:8]
    named = spec.tvm.mcpu or spec.tvm.arch or spec.tvm.tag or spec.architecture
    processor = re.sub(r"[^A-Za-z0-9._]+", "-", named)
    return f"{spec.tvm.kind}-{processor}-{spec.tvm.num_cores}c-tvm{tvm_version}-{digest}"
