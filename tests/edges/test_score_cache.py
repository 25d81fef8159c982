"""Scores are computed once for a network, its samples and a method, and again for others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from calibrated_networks import calibrated, products
from onnx import helper

from harness.edges.blocks import Block
from harness.edges.score_cache import cached_scores
from harness.networks.calibration import Calibration

BLOCK = Block(1, 4)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    return calibrated(products(), tmp_path_factory.mktemp("model"))


def test_scores_are_read_again(calibration: Calibration, tmp_path: Path) -> None:
    layers = calibration.layers
    first = cached_scores(tmp_path, layers, "activation", BLOCK, 0, calibration)
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    again = cached_scores(tmp_path, layers, "activation", BLOCK, 0, calibration)
    assert path.stat().st_mtime_ns == written
    assert first.keys() == again.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])


def test_others_are_computed_anew(calibration: Calibration, tmp_path: Path) -> None:
    layers = calibration.layers
    for method, block, seed in (
        ("activation", BLOCK, 0),
        ("second-order", BLOCK, 0),
        ("activation", Block(1, 8), 0),
        ("activation", Block(4, 4), 0),
        ("activation", BLOCK, 1),
    ):
        cached_scores(tmp_path, layers, method, block, seed, calibration)
    cached_scores(tmp_path, layers[1:], "activation", BLOCK, 0, calibration)
    assert len(list(tmp_path.iterdir())) == 6


def test_damaged_file_is_as_good_as_none(calibration: Calibration, tmp_path: Path) -> None:
    first = cached_scores(tmp_path, calibration.layers, "activation", BLOCK, 0, calibration)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    again = cached_scores(tmp_path, calibration.layers, "activation", BLOCK, 0, calibration)
    assert first.keys() == again.keys()


def test_what_takes_no_time_is_not_kept(calibration: Calibration, tmp_path: Path) -> None:
    cached_scores(tmp_path, calibration.layers, "magnitude", BLOCK, 0, calibration)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_comes_after_the_last_layer_decides_gradients(tmp_path: Path) -> None:
    """The same layers, given the same; but the outputs are other ones."""
    models = [products(), products()]
    (output,) = models[1].graph.output
    last = models[1].graph.node[-1]
    last.output[0] = "before"
    models[1].graph.node.append(helper.make_node("Sigmoid", ["before"], [output.name]))
    for at, model in enumerate(models):
        (folder := tmp_path / str(at)).mkdir()
        found = calibrated(model, folder)
        cached_scores(tmp_path / "scores", found.layers, "gradient", BLOCK, 0, found)
    assert len(list((tmp_path / "scores").iterdir())) == 2
