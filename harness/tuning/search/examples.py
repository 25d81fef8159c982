"""The cost model's training data: features of measured schedules, kept per target.

A tuning measures thousands of schedules. Of each kernel the fastest are kept, because it is those
that have to be told apart, and the latest, which the search proposes; all of a kernel that
is being tuned, fewer of the ones before.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import InputError
from harness.files.atomic import write_atomically
from harness.files.npz import read_npz

Features = NDArray[np.float32]
"""[stores, features] of one schedule."""

MOST = 3000
"""Schedules over all kernels, so that learning from them takes a fraction of a second."""
MOST_PER_KERNEL = 256
_LEAST_PER_KERNEL = 16


@dataclass
class _Kernel:
    """Schedules of one kernel, in the order in which they were measured; infinite seconds for one
    that failed."""

    features: list[Features]
    seconds: list[float]

    def thin(self, most: int) -> None:
        """Keep so many: the fastest half, and the latest of the others."""
        if len(self.seconds) <= most:
            return
        ranked = sorted(range(len(self.seconds)), key=self.seconds.__getitem__)
        fastest, others = ranked[: most // 2], ranked[most // 2 :]
        kept = sorted(fastest + sorted(others)[len(fastest) - most :])
        self.features = [self.features[at] for at in kept]
        self.seconds = [self.seconds[at] for at in kept]


class Examples:
    """Measured schedules by kernel, the kernel measured last at the end."""

    def __init__(self) -> None:
        self._kernels: dict[str, _Kernel] = {}

    def __len__(self) -> int:
        return sum(len(kernel.seconds) for kernel in self._kernels.values())

    def add(self, kernel: str, features: Sequence[Features], seconds: Sequence[float]) -> None:
        """Add schedules of a kernel, and drop those beyond the limit."""
        found = self._kernels.pop(kernel, _Kernel([], []))
        for rows, value in zip(features, seconds, strict=True):
            if len(rows):
                found.features.append(rows)
                found.seconds.append(value)
        if not found.seconds:
            return
        found.thin(MOST_PER_KERNEL)
        others = max(1, len(self._kernels))
        share = max(_LEAST_PER_KERNEL, (MOST - len(found.seconds)) // others)
        for other in self._kernels.values():
            other.thin(share)
        self._kernels[kernel] = found
        while len(self) > MOST and len(self._kernels) > 1:
            del self._kernels[next(iter(self._kernels))]

    def scored(self) -> Iterator[tuple[Features, float]]:
        """All schedules with their scores: the time of the kernel's fastest over theirs."""
        for kernel in self._kernels.values():
            fastest = min(kernel.seconds)
            for rows, seconds in zip(kernel.features, kernel.seconds, strict=True):
                yield rows, fastest / seconds if np.isfinite(seconds) else 0.0

    def write(self, path: Path) -> None:
        """Write all to an `.npz` file."""
        features = [rows for kernel in self._kernels.values() for rows in kernel.features]
        if not features:
            return
        packed = io.BytesIO()
        np.savez_compressed(
            packed,
            kernels=np.array(list(self._kernels)),
            schedules=np.array([len(kernel.seconds) for kernel in self._kernels.values()]),
            seconds=np.concatenate([kernel.seconds for kernel in self._kernels.values()]),
            stores=np.array([len(rows) for rows in features]),
            features=np.concatenate(features),
        )
        write_atomically(path, packed.getvalue())

    @classmethod
    def read(cls, path: Path) -> Examples:
        """Read the file of `write`; nothing if there is none, or a damaged one:
        examples make tuning faster and decide nothing."""
        try:
            packed = read_npz(path)
            features, stores = packed["features"], packed["stores"]
            if features.ndim != 2 or len(features) != stores.sum() or (stores < 0).any():
                return cls()
            rows = np.split(features, np.cumsum(stores)[:-1])
            seconds = packed["seconds"].tolist()
            counts = packed["schedules"].tolist()
            kernels = packed["kernels"].tolist()
            if not len(rows) == len(seconds) == sum(counts) or len(kernels) != len(counts):
                return cls()
        except (InputError, ValueError, KeyError, TypeError, IndexError):
            return cls()
        found, start = cls(), 0
        for kernel, count in zip(kernels, counts, strict=True):
            part = slice(start, start + count)
            found._kernels[str(kernel)] = _Kernel(list(rows[part]), seconds[part])
            start += count
        return found
