"""A results folder as a sweep would leave it, for tests of what reads results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.records.record import (
    BASELINE_CONFIGURATION,
    Accuracy,
    CellKey,
    Fusion,
    KernelTime,
    Latency,
    Memory,
    Record,
    Tuning,
    TuningPoint,
    Verification,
    fingerprint,
)
from harness.records.store import FILE_NAME, SECONDS, Store
from harness.statistics.samples import summarise

ROUNDS = 40
CONFIGURATIONS = ("unfused", "fused", "tuned")
HARDWARE = {"cores": 2, "simd_bits": 512, "peak_gflops": 140.0, "memory_bandwidth_gbs": 18.0}


@dataclass(frozen=True)
class Network:
    """A model and how fast each of its cells is, in milliseconds."""

    name: str
    median_ms: dict[str, float]
    accuracy: float | None
    weights_mb: float
    kernels: int


NETWORKS = (
    Network(
        "fashion-resnet8",
        {"unfused": 9.4, "fused": 6.1, "tuned": 0.47, "onnxruntime": 0.41, "openvino": 0.32},
        0.9215,
        0.31,
        23,
    ),
    Network(
        "fashion-dscnn",
        {"unfused": 3.9, "fused": 2.2, "tuned": 0.213, "onnxruntime": 0.298, "openvino": 0.21},
        0.903,
        0.19,
        18,
    ),
)


def example_results(folder: Path, *, records: int | None = None) -> Path:
    """Write a results folder and return it.

    Two models, each unfused, fused and tuned, with ONNX Runtime and OpenVINO beside them, all
    taking turns in one session a model; one cell failed (fashion-dscnn, fused) and one was skipped
    (fashion-dscnn on OpenVINO). With `records`, that many good cells instead: as many models as it
    takes, of four cells each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    engines = ("onnxruntime",) if records else ("onnxruntime", "openvino")
    networks = NETWORKS
    if records:
        networks = tuple(
            Network(f"network-{at:02d}", NETWORKS[at % 2].median_ms, 0.9 + at / 1000, 0.3, 20)
            for at in range(-(-records // 4))
        )
    cells = [(network, key) for network in networks for key in _keys(network, engines)]
    cells = cells[:records]
    generator = np.random.default_rng(7)
    with Store(folder / FILE_NAME, create=True) as store:
        store.plan((fingerprint(str(key)), key) for _, key in cells)
        for network in networks:
            drift = 1 + 0.05 * np.cumsum(generator.normal(size=ROUNDS)) / np.sqrt(ROUNDS)
            samples = {}
            records_of = []
            for owner, key in cells:
                if owner is not network:
                    continue
                record = _unmeasured(network, key) if not records else None
                if record is None:
                    seconds = _samples(generator, network, key, drift)
                    samples[fingerprint(str(key))] = seconds
                    record = _measured(network, key, seconds)
                records_of.append(record)
            for record in records_of:
                store.write(record, {SECONDS: samples} if record.status == "ok" else None)
    return folder


def example_record(key: CellKey, median_ms: float = 1.0, **changes: object) -> Record:
    """One good record with the example's other figures, changed as asked."""
    seconds = np.full(ROUNDS, median_ms / 1e3)
    return _measured(NETWORKS[0], key, seconds).model_copy(update=changes)


def _keys(network: Network, engines: tuple[str, ...]) -> list[CellKey]:
    ours = [
        CellKey(model=network.name, target="x86-host", configuration=name, engine="tvm")
        for name in CONFIGURATIONS
    ]
    theirs = [
        CellKey(
            model=network.name,
            target="x86-host",
            configuration=BASELINE_CONFIGURATION,
            engine=engine,
        )
        for engine in engines
    ]
    return ours + theirs


def _samples(
    generator: np.random.Generator, network: Network, key: CellKey, drift: np.ndarray
) -> np.ndarray:
    """Seconds per inference: a level, the machine's drift, noise with a tail to the right."""
    name = key.configuration if key.engine == "tvm" else key.engine
    level = network.median_ms[name] / 1e3
    noise = generator.lognormal(mean=0, sigma=0.015, size=ROUNDS)
    late = np.where(generator.random(ROUNDS) < 0.05, 1.25, 1.0)
    return level * drift * noise * late


def _unmeasured(network: Network, key: CellKey) -> Record | None:
    if network.name != "fashion-dscnn":
        return None
    common = {
        "fingerprint": fingerprint(str(key)),
        "key": key,
        "kind": "measured",
        "spec": _spec(key),
        "environment": _environment(),
        "finished_at": "2026-03-01T10:00:00+00:00",
    }
    if key.configuration == "fused":
        return Record(
            **common,
            status="failed",
            stage="verify",
            reason="output 'logits' differs from ONNX Runtime by 0.021 of its scale; "
            "at most 0.0001 is allowed",
            verification=_verification(0.021),
            fusion=Fusion(kernels_before=network.kernels, kernels_after=11),
        )
    if key.engine == "openvino":
        return Record(
            **common,
            status="skipped",
            reason="openvino is not installed; pip install 'layeredge[openvino]'",
        )
    return None


def _measured(network: Network, key: CellKey, seconds: np.ndarray) -> Record:
    ours = key.engine == "tvm"
    found = summarise(seconds * 1e3)
    median = found.median
    fused = key.configuration != "unfused"
    return Record(
        fingerprint=fingerprint(str(key)),
        key=key,
        status="ok",
        kind="measured",
        session=f"{network.name}-session",
        latency=Latency(
            median_ms=median,
            p90_ms=found.p90,
            p99_ms=found.p99,
            ci_low_ms=found.ci_low,
            ci_high_ms=found.ci_high,
            samples=found.samples,
            runs_per_sample=12,
        ),
        memory=Memory(
            weights_mb=network.weights_mb if ours else None,
            activation_mb=(0.12 if fused else 0.35) if ours else None,
            artifact_mb=network.weights_mb + (0.4 if ours else 0.02),
            peak_rss_mb=92.4 if ours else 61.0,
            base_rss_mb=88.0 if ours else 52.0,
        ),
        accuracy=_accuracy(network.accuracy) if key.engine != "openvino" else None,
        verification=_verification(3e-6) if ours else None,
        fusion=Fusion(
            kernels_before=network.kernels,
            kernels_after=network.kernels // 2 if fused else network.kernels,
            stray=() if fused else ("transpose1", "clip2"),
        )
        if ours
        else None,
        kernels=_kernels(network, median) if ours else (),
        outside_kernels_us=median * 1e3 * 0.06 if ours else None,
        tuning=_tuning(median) if key.configuration == "tuned" else None,
        artifact=f"artifacts/{fingerprint(str(key))}",
        spec=_spec(key),
        environment=_environment(),
        finished_at="2026-03-01T10:00:00+00:00",
        seconds=42.0,
    )


def _accuracy(value: float | None) -> Accuracy | None:
    if value is None:
        return None
    half = 1.96 * np.sqrt(value * (1 - value) / 2000)
    return Accuracy(
        value=value,
        ci_low=value - half,
        ci_high=value + half,
        metric="top-1 accuracy",
        samples=2000,
    )


def _verification(error: float) -> Verification:
    return Verification(
        reference="onnxruntime",
        inputs=4,
        real_inputs=True,
        max_abs_error=error * 12,
        max_error_of_scale=error,
        tolerance_of_scale=1e-4,
    )


def _kernels(network: Network, median_ms: float) -> tuple[KernelTime, ...]:
    """Kernels that share out 94 % of the median; how much they compute goes by the weights."""
    size = network.weights_mb / NETWORKS[0].weights_mb
    shares = {
        "fused_conv2d1_add1_relu1": (2, 0.38, 9.2e6, 0.9e5),
        "fused_conv2d2_add2_add3_relu2": (2, 0.25, 7.4e6, 1.1e5),
        "fused_conv2d_add_relu": (1, 0.14, 0.7e6, 0.8e5),
        "fused_conv2d3_add4": (2, 0.08, 0.4e6, 0.6e5),
        "fused_mean_squeeze": (1, 0.05, 1.2e4, 5.0e4),
        "fused_matmul_add": (1, 0.03, 1.3e3, 3.1e3),
        "reshape": (1, 0.01, 0.0, 6.2e3),
    }
    return tuple(
        KernelTime(
            name=name,
            calls=calls,
            median_us=median_ms * 1e3 * share / calls,
            flops=flops * size**2,
            bytes=moved * size,
        )
        for name, (calls, share, flops, moved) in shares.items()
    )


def _tuning(median_ms: float) -> Tuning:
    """A curve that falls quickly at first and has no estimate until every kernel has a time."""
    trials = range(0, 513, 32)
    return Tuning(
        trials=512,
        failed_trials=9,
        seconds=412.0,
        tasks=9,
        tasks_reused=2,
        stopped_by="trials",
        curve=tuple(
            TuningPoint(
                seconds=count * 0.8,
                trials=count,
                estimate_ms=None if count < 96 else median_ms * (0.97 + 60 / count),
            )
            for count in trials
        ),
    )


def _spec(key: CellKey) -> dict[str, object]:
    return {
        "model": {"name": key.model},
        "target": {"name": key.target, "architecture": "x86", "hardware": HARDWARE},
        "configuration": {"name": key.configuration, "fusion": "full"},
        "measure": {"repeats": ROUNDS, "threads": 2},
        "seed": 0,
    }


def _environment() -> dict[str, object]:
    return {
        "cpu": "AMD EPYC 9B14",
        "cores_usable": 2,
        "governor": "performance",
        "load_average": [0.3, 0.2, 0.1],
        "hypervisor": False,
        "cpu_quota_cores": None,
        "versions": {"apache-tvm": "0.27.0.post1", "onnxruntime": "1.31.0", "numpy": "2.4.6"},
        "git_commit": "3f2a91c",
    }
