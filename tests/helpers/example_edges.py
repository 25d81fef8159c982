"""A results folder of a sweep that drops edges, as `example_results` has one of a sweep that does
not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from example_results import HARDWARE, ROUNDS, example_record

from harness.records.record import (
    Accuracy,
    CellKey,
    Compression,
    KernelTime,
    LayerCompression,
    Record,
    fingerprint,
)
from harness.records.store import FILE_NAME, SECONDS, Store

SPARSITIES = (0.3, 0.5, 0.8)
DENSE_MS, DENSE_ACCURACY, SAMPLES = 0.4, 0.935, 2000


@dataclass(frozen=True)
class Choice:
    """A configuration with edges: what it asks for, and what comes of it at each sparsity."""

    name: str
    edges: dict[str, object]
    accuracies: tuple[float, ...]
    times_as_fast: tuple[float, ...]


CHOICES = (
    Choice("magnitude", {"score": "magnitude"}, (0.924, 0.894, 0.61), (0.82, 1.14, 1.9)),
    Choice("activation", {"score": "activation"}, (0.929, 0.903, 0.66), (0.85, 1.15, 1.95)),
    Choice(
        "reconstructed",
        {"score": "activation", "reconstruct": True},
        (0.934, 0.931, 0.902),
        (0.85, 1.0, 1.88),
    ),
    Choice(
        "shuffled",
        {"score": "activation", "shuffle": True},
        (0.905, 0.61, 0.14),
        (0.83, 1.16, 1.93),
    ),
    Choice("random", {"score": "random"}, (0.9, 0.58, 0.12), (0.84, 1.12, 1.97)),
)


def example_edges(
    folder: Path,
    *,
    layers: int = 9,
    choices: tuple[Choice, ...] = CHOICES,
    noise: float = 0.04,
) -> Path:
    """Write a results folder and return it: one network of so many layers, dense, and compressed by
    each choice to each of `SPARSITIES`, all taking turns."""
    folder.mkdir(parents=True, exist_ok=True)
    records = [dense_record(layers)]
    levels = [DENSE_MS]
    for choice in choices:
        for at, sparsity in enumerate(SPARSITIES):
            records.append(sparse_record(choice, at, sparsity, layers))
            levels.append(DENSE_MS / choice.times_as_fast[at])
    generator = np.random.default_rng(3)
    samples = {
        record.fingerprint: level / 1e3 * generator.lognormal(0, noise, ROUNDS)
        for record, level in zip(records, levels, strict=True)
    }
    with Store(folder / FILE_NAME, create=True) as store:
        store.plan((record.fingerprint, record.key) for record in records)
        for record in records:
            store.write(record, {SECONDS: samples})
    return folder


def dense_record(layers: int) -> Record:
    kernels = tuple(
        KernelTime(
            name=f"fused_conv2d{at}_add{at}",
            calls=1,
            median_us=30,
            flops=4e6,
            bytes=9e4,
            layers=(f"conv{at}",),
        )
        for at in range(layers)
    )
    return _record("dense", None, DENSE_MS, DENSE_ACCURACY, kernels)


def sparse_record(choice: Choice, at: int, sparsity: float, layers: int) -> Record:
    """The kernel of the first layer is slower than the dense one, all others faster."""
    found = tuple(_layer(layer, sparsity) for layer in range(layers))
    compression = Compression(
        score=choice.edges["score"],
        pattern="block",
        sparsity=sparsity,
        parameters=sum(layer.parameters for layer in found),
        parameters_kept=sum(layer.parameters_kept for layer in found),
        layers=found,
    )
    kernels = tuple(
        KernelTime(
            name=f"fused_sparse_conv2d{layer}_add{layer}",
            calls=1,
            median_us=30 / choice.times_as_fast[at] if layer else 36,
            flops=4e6 * (1 - sparsity),
            bytes=9e4,
            layers=(f"conv{layer}",),
        )
        for layer in range(layers)
    )
    edges = {
        "pattern": "block",
        "sparsity": [sparsity],
        "shuffle": False,
        "reconstruct": False,
        "calibration": 64,
        "exclude": [],
        **choice.edges,
    }
    median = DENSE_MS / choice.times_as_fast[at]
    record = _record(f"{choice.name}@{sparsity:g}", edges, median, choice.accuracies[at], kernels)
    return record.model_copy(update={"edges": compression})


def _layer(at: int, sparsity: float) -> LayerCompression:
    """Later layers are wider, every fourth computes less; the last fits no block."""
    width = 16 * 2 ** min(at // 3, 4)
    parameters = 9 * width * width
    share = min(1.0, (1 - sparsity) * (1.3 - 0.1 * (at % 7)))
    return LayerCompression(
        name=f"conv2d{at}",
        shape=(width, width, 3, 3),
        flops=3.6e6 / (4 if at % 4 == 3 else 1),
        parameters=parameters,
        parameters_kept=parameters if at % 9 == 8 else max(1, round(parameters * share)),
    )


def _record(
    configuration: str,
    edges: dict[str, object] | None,
    median_ms: float,
    accuracy: float,
    kernels: tuple[KernelTime, ...],
) -> Record:
    key = CellKey(model="net", target="x86-host", configuration=configuration, engine="tvm")
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / SAMPLES)
    return example_record(
        key,
        median_ms,
        fingerprint=fingerprint(str(key)),
        session="edges",
        kernels=kernels,
        accuracy=Accuracy(
            value=accuracy,
            ci_low=accuracy - half,
            ci_high=accuracy + half,
            metric="top-1 accuracy",
            samples=SAMPLES,
        ),
        spec={
            "model": {"name": "net"},
            "target": {"name": "x86-host", "hardware": HARDWARE},
            "configuration": {"name": configuration, "fusion": "full", "edges": edges},
        },
    )


def with_outcomes(record: Record, hits: np.ndarray) -> Record:
    """A record that says which samples were right, with an interval as wide as for 2,000."""
    share = float(hits.mean())
    accuracy = Accuracy(
        value=share, ci_low=share - 0.014, ci_high=share + 0.014, metric="top-1 accuracy",
        samples=len(hits), outcomes=np.packbits(hits).tobytes().hex(),
    )  # fmt: skip
    return record.model_copy(update={"accuracy": accuracy})
