"""Scores that were computed before are not computed again."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np

from harness.edges.blocks import Block
from harness.edges.scores.table import score_module, scores_of
from harness.errors import InputError
from harness.files.atomic import write_atomically
from harness.files.npz import read_npz
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer
from harness.specs.scores import SCORES, Score


def cached_scores(
    folder: Path,
    layers: Sequence[Layer],
    method: Score,
    block: Block,
    seed: int,
    calibration: Calibration | None,
) -> dict[str, np.ndarray]:
    """The scores of `scores_of`, kept in `folder` by the weights, the samples and the method. A
    file that is damaged is as good as none."""
    if not SCORES[method].needs_data or calibration is None:
        return scores_of(layers, method, block, seed, calibration)
    path = folder / f"{_key(layers, method, block, seed, calibration)}.npz"
    with suppress(InputError):
        return read_npz(path)
    scores = scores_of(layers, method, block, seed, calibration)
    packed = io.BytesIO()
    np.savez_compressed(packed, **scores)  # type: ignore[arg-type]
    write_atomically(path, packed.getvalue())
    return scores


def _key(
    layers: Sequence[Layer], method: Score, block: Block, seed: int, calibration: Calibration
) -> str:
    """A hash of everything that decides scores: the weights and inputs of every layer, and the
    method.

    The layers' inputs on the samples represent the operators between them, and the network's
    outputs those after the last one.
    """
    said = f"{score_module(method).REVISION} {version('apache-tvm')} {method} {block} {seed}"
    digest = hashlib.sha256(said.encode())
    for layer in calibration.layers:
        digest.update(layer.name.encode())
        digest.update(layer.weights.tobytes())
        digest.update(calibration.dense[layer.name].tobytes())
    for layer in layers:
        digest.update(layer.name.encode())
    for sample in calibration.samples:
        for tensor in sample:
            digest.update(tensor.numpy().tobytes())
    if SCORES[method].of_outputs:
        for output in calibration.observed(calibration.samples[0])[1]:
            digest.update(output.tobytes())
    return digest.hexdigest()[:32]
