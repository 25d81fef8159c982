"""Malformed inputs end in a line that names them; `malformed_inputs.py` makes hundreds of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from malformed import arrays
from malformed.tuning import damaged_database
from malformed_inputs import command_problems, run_here, sweep_of_models, sweep_problems
from small_models import convolutional, save

from harness.errors import InputError
from harness.run.model_process import ModelProcess
from harness.specs.sweep import Limits, ModelSpec


@pytest.mark.parametrize("seed", range(1000, 1024))
def test_malformed_document_or_database_is_named_in_a_line(tmp_path: Path, seed: int) -> None:
    case, found = command_problems(seed, tmp_path / "case", run_here)
    assert not found, f"{case.kind}: {case.name}: {found}"


@pytest.mark.parametrize("seed", range(1000, 1006))
def test_damaged_tuning_database_loses_what_is_damaged_alone(tmp_path: Path, seed: int) -> None:
    damaged_database(random.Random(seed), tmp_path)


@pytest.mark.slow
def test_malformed_data_is_refused_with_the_name_of_its_file(tmp_path: Path) -> None:
    model = save(convolutional(), tmp_path / "good.onnx")
    with ModelProcess(Limits(memory_mb=3000)) as models:
        for seed in range(1000, 1010):
            data = tmp_path / f"{seed}.npz"
            kind = arrays.write(data, random.Random(seed))
            spec = ModelSpec(name="good", path=model, data=data, metric="top1")
            try:
                assert models.find(spec, 1).task is not None, kind
            except InputError as error:
                assert str(data) in str(error) and "\n" not in str(error), kind


@pytest.mark.slow
def test_sweep_of_malformed_models_finishes_the_good_one(tmp_path: Path) -> None:
    path = sweep_of_models(tmp_path / "sweep", range(1000, 1004), of_data=False)
    out = tmp_path / "out"
    ended = run_here(("run", str(path), "--out", str(out), "--tuning-db", str(tmp_path / "tuning")))
    assert ended.code == 1
    assert not sweep_problems(path, out, ended)
