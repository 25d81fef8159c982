from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_models import convolutional, save

from harness.compiler.api import tvm
from harness.files.cache import CACHE_VARIABLE
from harness.inspection.kernels import import_named
from harness.inspection.layer_times import layer_times
from harness.networks.layers import layers_of
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, kernels
from harness.specs.target import Hardware, TargetSpec, TvmTarget
from harness.tuning.database import CHOSEN, kernel_identity
from harness.tuning.tasks import tasks_of

BARE = TargetSpec(
    schema=1, name="any", architecture="x86", tvm=TvmTarget(), hardware=Hardware(cores=1)
)
ROOFED = BARE.model_copy(
    update={"hardware": Hardware(cores=1, peak_gflops=100.0, memory_bandwidth_gbs=10.0)}
)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def canonical(tmp_path: Path) -> tvm.IRModule:
    path = str(save(convolutional(), tmp_path / "small.onnx"))
    return canonicalise(import_named(path, {}).module)


def names_of(canonical: tvm.IRModule) -> list[str]:
    return [layer.name for layer in layers_of(canonical)]


def write_choices(folder: Path, canonical: tvm.IRModule, count: int | None = None) -> None:
    """A tuning database that knows the first `count` kernels: 1, 2, … microseconds."""
    target = tvm.target.Target(BARE.tvm.as_tvm())
    tasks = tasks_of(fuse(adapt(canonical, BARE.passes, target), "full"), target)
    choices = {
        kernel_identity(task.module): {"record": None, "seconds": [at * 1e-6] * 3}
        for at, task in enumerate(tasks[:count], start=1)
    }
    folder.mkdir()
    (folder / CHOSEN).write_text(json.dumps(choices))


def test_times_are_those_of_tuning_when_it_knows_every_layer(
    canonical: tvm.IRModule, tmp_path: Path
) -> None:
    write_choices(tmp_path / "tuned", canonical)
    found = layer_times(canonical, names_of(canonical), BARE, tmp_path / "tuned")
    assert found is not None and found.source == "tuning" and found.tuned == 2
    target = tvm.target.Target(BARE.tvm.as_tvm())
    count = len(kernels(fuse(adapt(canonical, BARE.passes, target), "full")))
    assert found.whole_us == pytest.approx(sum(range(1, count + 1)))
    assert None not in found.each_us and len(set(found.each_us)) == 2


def test_times_are_the_rooflines_when_tuning_knows_some_layers_only(
    canonical: tvm.IRModule, tmp_path: Path
) -> None:
    write_choices(tmp_path / "tuned", canonical, count=1)
    found = layer_times(canonical, names_of(canonical), ROOFED, tmp_path / "tuned")
    assert found is not None and found.source == "roofline" and found.tuned <= 1
    convolution, dense = found.each_us
    assert convolution is not None and dense is not None and convolution > dense
    # 64 places × 16 filters of 3×3×3, at 100 GFLOP/s at most.
    assert convolution >= 2 * 64 * 16 * 27 / 100 / 1e3


def test_times_are_not_known_when_there_is_no_roof(canonical: tvm.IRModule, tmp_path: Path) -> None:
    assert layer_times(canonical, names_of(canonical), BARE, tmp_path / "none") is None


def test_a_layer_that_is_in_no_kernel_has_no_time(canonical: tvm.IRModule, tmp_path: Path) -> None:
    found = layer_times(canonical, ["unknown", *names_of(canonical)], ROOFED, tmp_path / "none")
    assert found is not None and found.each_us[0] is None and found.each_us[1] is not None
