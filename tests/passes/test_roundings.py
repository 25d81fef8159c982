"""Values that a network rounds, moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_models import convolutional, feeds, save, save_int8_tflite

from harness.building.network import machine_of, outputs_of
from harness.compiler.api import tvm
from harness.models.frontends import import_model
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.passes.roundings import RoundingsAsArgument, roundings

HERE = tvm.target.Target({"kind": "llvm", "num-cores": 2})


def test_factors_of_one_change_nothing_and_others_move_rounded_values(tmp_path: Path) -> None:
    imported = import_model(save_int8_tflite(tmp_path / "net.tflite"), {}, tmp_path)
    module = canonicalise(imported.module)
    count = roundings(module)
    assert count > 0
    moved = RoundingsAsArgument.apply(module)
    values = list(feeds(imported.inputs).values())
    plain, other = (machine_of(fuse(each, "none"), HERE, 1) for each in (module, moved))
    before = outputs_of(plain, values)
    same = outputs_of(other, [*values, np.ones(count, np.float32)])
    np.testing.assert_array_equal(same, before)
    far = outputs_of(other, [*values, np.full(count, 1.2, np.float32)])
    assert not np.array_equal(far, before)


def test_network_that_rounds_nothing_has_no_places(tmp_path: Path) -> None:
    imported = import_model(save(convolutional(), tmp_path / "net.onnx"), {}, tmp_path)
    assert roundings(canonicalise(imported.module)) == 0
