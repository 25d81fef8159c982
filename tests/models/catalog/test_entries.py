from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from small_models import convolutional, save

from harness.cli.models import command
from harness.errors import CellSkipped, InputError
from harness.models.catalog import entries as catalog
from harness.models.catalog.entries import CatalogEntry
from harness.models.fetch import Wheel
from harness.models.tensors import TensorSpec
from harness.specs.sweep import ModelSpec


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("LAYEREDGE_CACHE", str(folder))
    return folder


class Builder:
    """A `build` that writes a model and an image, and counts how often it does."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, home: Path) -> Path:
        self.times += 1
        (home / "images").mkdir(exist_ok=True)
        (home / "images" / "1.png").write_bytes(b"image")
        (home / "model.onnx").write_bytes(b"model")
        return home / "model.onnx"


def make_entry(build: Builder, revision: int = 1) -> CatalogEntry:
    return CatalogEntry(
        name="probe",
        summary="a probe",
        task_text="none",
        licence="MIT",
        inputs=(TensorSpec("x", (1, 3), "float32"),),
        preprocessing="none",
        data="none",
        metric=None,
        metric_missing_reason="there is no labelled data",
        build=build,
        task=lambda home, data: None,
        wheels=(Wheel("probe", "1.0", "probe-1.0-py3-none-any.whl", "0" * 64),),
        revision=revision,
    )


def test_entry_error_names_nearest_when_unknown() -> None:
    with pytest.raises(InputError, match="no model 'ppocr-dt'; did you mean 'ppocr-det'"):
        catalog.entry("ppocr-dt")


@pytest.mark.parametrize("name", catalog.names())
def test_entry_is_complete(name: str) -> None:
    entry = catalog.entry(name)
    assert entry.name == name
    assert entry.inputs
    for tensor in entry.inputs:
        assert all(size >= 1 for size in tensor.shape)
        assert np.dtype(tensor.dtype).name == tensor.dtype
    assert entry.metric or entry.metric_missing_reason
    assert all(len(bytes.fromhex(wheel.sha256)) == 32 for wheel in entry.wheels)
    assert entry.licence and entry.summary and entry.preprocessing and entry.data


WITHOUT_OPTIONAL = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"tokenizers", "torch", "tflite", "openvino", "PIL", "scipy",
                                      "onnx", "onnxruntime", "matplotlib", "tvm"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from harness.models.catalog import entries as catalog
print(len(catalog.entries()))
"""


def test_catalog_lists_when_only_the_light_packages_can_be_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_OPTIONAL], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (str(len(catalog.names())), "")


def test_fetch_builds_once_when_called_again(cache: Path) -> None:
    build = Builder()
    entry = make_entry(build)
    assert catalog.fetched(entry) is None
    path = catalog.fetch(entry)
    assert path == cache / "models" / "probe" / "model.onnx"
    assert catalog.fetched(entry) == catalog.fetch(entry) == path
    assert build.times == 1


def test_fetch_builds_once_when_several_want_it_at_once() -> None:
    build = Builder()
    entry = make_entry(build)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: catalog.fetch(entry), range(4)))
    assert len(set(paths)) == 1
    assert build.times == 1


@pytest.mark.parametrize("name", ["model.onnx", "images/1.png"])
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_fetch_repairs_when_a_file_is_damaged(cache: Path, name: str, damage: str) -> None:
    build = Builder()
    entry = make_entry(build)
    catalog.fetch(entry)
    path = cache / "models" / "probe" / name
    content = path.read_bytes()
    if damage == "changed":
        path.write_bytes(b"other")
    else:
        path.unlink()
        assert catalog.fetched(entry) is None
    catalog.fetch(entry)
    assert path.read_bytes() == content
    assert build.times == 2


def test_fetch_starts_afresh_when_revision_is_newer(cache: Path) -> None:
    catalog.fetch(make_entry(Builder()))
    (cache / "models" / "probe" / "old.bin").write_bytes(b"of the old revision")
    build = Builder()
    entry = make_entry(build, revision=2)
    assert catalog.fetched(entry) is None
    catalog.fetch(entry)
    assert build.times == 1
    assert not (cache / "models" / "probe" / "old.bin").exists()


def test_files_that_were_changed_since_are_fetched_again_when_used(cache: Path) -> None:
    entry = make_entry(Builder())
    path = catalog.fetch(entry)
    assert catalog.fetched(entry) == path
    path.write_bytes(path.read_bytes() + b"changed")
    assert catalog.fetched(entry) is None
    assert catalog.fetch(entry) == path and catalog.fetched(entry) == path


def test_fetch_removes_leftovers_when_an_earlier_one_was_killed(cache: Path) -> None:
    left = cache / "models" / "probe" / "images" / ".fetching-abc"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")
    catalog.fetch(make_entry(Builder()))
    assert not left.exists()


def test_resolve_says_how_to_fetch_when_not_fetched() -> None:
    with pytest.raises(InputError, match=r"run 'layeredge models fetch ppocr-cls'"):
        catalog.resolve(ModelSpec(name="ppocr-cls"))


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> CatalogEntry:
    entry = make_entry(Builder())
    monkeypatch.setattr(catalog, "entry", lambda name: entry)
    return entry


def test_resolve_fetches_when_asked_to(probe: CatalogEntry) -> None:
    found = catalog.resolve(ModelSpec(name="probe"), fetch_missing=True)
    assert found.shapes == {"x": (1, 3)}
    assert (found.format, found.licence, found.task) == ("onnx", "MIT", None)
    assert found.task_missing_reason == "there is no labelled data"


def test_resolve_gives_the_reason_when_the_task_lacks_a_package(
    probe: CatalogEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def task(home: Path, data: Path | None) -> None:
        raise CellSkipped("needs the package 'tokenizers'")

    monkeypatch.setattr(
        catalog, "entry", lambda name: CatalogEntry(**{**vars(probe), "task": task})
    )
    found = catalog.resolve(ModelSpec(name="probe"), fetch_missing=True)
    assert found.task_missing_reason == "needs the package 'tokenizers'"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (ModelSpec(name="probe", metric="top1"), "leave 'metric' out"),
        (ModelSpec(name="probe", shapes={"y": (1, 3)}), "no input of probe 'y'"),
        (ModelSpec(name="probe", shapes={"x": (1, 4)}), r"is \[1, 3\] in the catalog"),
    ],
)
def test_resolve_refuses_what_contradicts_the_catalog(
    probe: CatalogEntry, spec: ModelSpec, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        catalog.resolve(spec, fetch_missing=True)


def own_model(folder: Path, *, external: bool = False) -> Path:
    """y = x · w, with an open batch."""
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "own",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "own.onnx"
    onnx.save(
        model, str(path), save_as_external_data=external, location="own.data", size_threshold=0
    )
    return path


def own_data(folder: Path, classes: tuple[int, ...] = (0, 1, 2)) -> Path:
    path = folder / "data.npz"
    np.savez(path, inputs=np.eye(3, dtype=np.float32), labels=np.asarray(classes))
    return path


def test_resolve_gives_a_task_when_own_model_has_data_and_metric(tmp_path: Path) -> None:
    spec = ModelSpec(
        name="own",
        path=own_model(tmp_path),
        shapes={"x": (1, 3)},
        data=own_data(tmp_path),
        metric="top1",
    )
    found = catalog.resolve(spec)
    assert found.task is not None
    assert found.task.evaluate(lambda feeds: [feeds["x"]], lambda done, total: None).value == 1.0
    assert (found.format, found.licence, found.task_missing_reason) == ("onnx", None, None)


def test_resolve_names_the_open_dimension_when_shapes_are_left_out(tmp_path: Path) -> None:
    path = save(convolutional(batch=1, side="height"), tmp_path / "own.onnx")
    spec = ModelSpec(name="own", path=path, data=own_data(tmp_path), metric="top1")
    with pytest.raises(InputError, match="height"):
        catalog.resolve(spec)


def test_resolve_takes_a_batch_of_one_where_it_alone_is_open(tmp_path: Path) -> None:
    found = catalog.resolve(ModelSpec(name="own", path=own_model(tmp_path)))
    assert found.shapes == {"x": (1, 3)}
    assert "leaves the batch of x free, which is 1 here" in found.remarks[0]


@pytest.mark.parametrize("given", ["data", "metric"])
def test_resolve_refuses_own_model_when_data_or_metric_is_alone(tmp_path: Path, given: str) -> None:
    value = own_data(tmp_path) if given == "data" else "top1"
    spec = ModelSpec.model_validate({"name": "own", "path": own_model(tmp_path), given: value})
    with pytest.raises(InputError, match=f"has '{given}' but no"):
        catalog.resolve(spec)


def test_fingerprint_changes_when_model_or_data_does(tmp_path: Path) -> None:
    def mark(path: Path, classes: tuple[int, ...] | None = None) -> str:
        data = own_data(tmp_path, classes) if classes else None
        metric = "top1" if classes else None
        shapes = {"x": (1, 3)}
        spec = ModelSpec(name="own", path=path, shapes=shapes, data=data, metric=metric)
        return catalog.resolve(spec).fingerprint

    path = own_model(tmp_path)
    marks = [mark(path), mark(path, (0, 1, 2)), mark(path, (0, 1, 1))]
    assert mark(path) == marks[0]
    path = own_model(tmp_path / "beside", external=True)
    marks.append(mark(path))
    (tmp_path / "beside" / "own.data").write_bytes(np.ones((3, 3), dtype=np.float32).tobytes())
    marks.append(mark(path))
    assert len(set(marks)) == 5


def test_fingerprint_changes_with_the_users_own_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "metric_of_a_test.py"
    module.write_text("def f(outputs, labels): return 1.0")
    spec = ModelSpec(
        name="own",
        path=own_model(tmp_path),
        shapes={"x": (1, 3)},
        data=own_data(tmp_path),
        metric="metric_of_a_test:f",
    )
    before = catalog.resolve(spec).fingerprint
    assert catalog.resolve(spec).fingerprint == before
    module.write_text("def f(outputs, labels): return 2.0")
    assert catalog.resolve(spec).fingerprint != before
    assert "metric_of_a_test" not in sys.modules
    with pytest.raises(InputError, match="no module 'metric_of_no_test'"):
        catalog.resolve(spec.model_copy(update={"metric": "metric_of_no_test:f"}))


def test_labels_of_users_own_images_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    images = np.zeros((3, 28, 28), np.uint8)
    spec = ModelSpec(name="fashion-dscnn", data=path)
    np.savez(path, images=images, labels=[[0], [9], [1]])
    assert catalog.resolve(spec).task is not None
    for labels, said in (
        ([0, 10, 1], "row 1 of 'labels' is 10: the model has 10"),
        ([0.5] * 3, "0.5"),
    ):
        np.savez(path, images=images, labels=labels)
        with pytest.raises(InputError, match=said):
            catalog.resolve(spec)


def test_own_model_resolves_when_it_is_no_onnx_so_that_import_says_why(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(b"no protocol buffer")
    found = catalog.resolve(ModelSpec(name="own", path=path))
    assert found.task_missing_reason == (
        "no labelled data given (keys 'data' and 'metric' of the model)"
    )


def test_command_refuses_when_neither_names_nor_all_are_given() -> None:
    done = CliRunner().invoke(command, ["fetch"])
    assert done.exit_code == 2
    assert "give names, or --all" in done.output


def test_command_lists_every_model_and_where_it_is() -> None:
    done = CliRunner().invoke(command, ["list"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    for name in catalog.names():
        assert name in done.output
    assert "embedded" in done.output


def test_command_shows_what_an_entry_says() -> None:
    done = CliRunner().invoke(command, ["show", "ppocr-cls"], env={"COLUMNS": "200"})
    entry = catalog.entry("ppocr-cls")
    assert done.exit_code == 0
    for text in (
        entry.preprocessing,
        entry.data,
        entry.wheels[0].sha256,
        "float32 [1, 3, 48, 192]",
    ):
        assert text in done.output


@pytest.mark.parametrize("name", ["fashion-resnet8", "fashion-dscnn"])
def test_embedded_model_resolves_with_its_test_images(name: str) -> None:
    found = catalog.resolve(ModelSpec(name=name))
    assert found.task is not None
    (feeds,) = found.task.inputs(1)
    assert feeds["image"].shape == (1, 1, 28, 28)
    assert feeds["image"].dtype == np.float32
    assert 0 <= feeds["image"].min() < feeds["image"].max() <= 1
    assert found.training is not None and found.training.count == 4000
    (other,) = found.training.inputs(1)
    assert (other["image"].shape, other["image"].dtype) == ((1, 1, 28, 28), np.float32)
    assert (other["image"] != feeds["image"]).any()


def test_embedded_model_is_compressed_by_other_images_where_they_are_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, images=np.full((3, 28, 28), 51, np.uint8))
    found = catalog.resolve(ModelSpec(name="fashion-dscnn", training=path)).training
    assert found is not None and found.count == 3
    np.testing.assert_allclose(found.inputs(1)[0]["image"], np.full((1, 1, 28, 28), 0.2))
    np.savez(path, images=np.zeros((3, 28, 28)))
    with pytest.raises(InputError, match=r"images float64 \[3, 28, 28\]; expected images uint8"):
        catalog.resolve(ModelSpec(name="fashion-dscnn", training=path))
