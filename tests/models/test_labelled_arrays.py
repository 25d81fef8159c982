from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import InputError
from harness.models.labelled_arrays import labelled_arrays
from harness.models.tensors import TensorSpec

IMAGE = TensorSpec("image", (1, 3), "float32")
INPUTS = np.eye(3, dtype=np.float32)
LABELS = np.arange(3)


def written(tmp_path: Path, **arrays: Any) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("name", ["inputs", "image"])
@pytest.mark.parametrize("shape", [(3, 3), (3, 1, 3)])
def test_arrays_are_scored_when_they_fit(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    path = written(tmp_path, **{name: INPUTS.reshape(shape)}, labels=np.asarray([0, 1, 0]))
    task = labelled_arrays(path, "top1", [IMAGE])
    seen: list[tuple[int, int]] = []
    found = task.evaluate(lambda feeds: [feeds["image"]], lambda *at: seen.append(at))
    assert found.value == pytest.approx(2 / 3)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [feeds["image"].tolist() for feeds in task.inputs(2)] == [[[1, 0, 0]], [[0, 1, 0]]]


def test_limit_keeps_the_first_samples_when_given(tmp_path: Path) -> None:
    path = written(tmp_path, inputs=INPUTS, labels=np.asarray([0, 1, 0]))
    task = labelled_arrays(path, "top1", [IMAGE])
    found = task.evaluate(lambda feeds: [feeds["image"]], lambda done, total: None, limit=2)
    assert (found.value, found.samples) == (1.0, 2)


def test_samples_that_others_were_calibrated_on_are_not_scored(tmp_path: Path) -> None:
    path = written(tmp_path, inputs=INPUTS, labels=np.asarray([0, 1, 0]))
    task = labelled_arrays(path, "top1", [IMAGE])
    seen: list[tuple[int, int]] = []
    found = task.evaluate(
        lambda feeds: [feeds["image"]], lambda *at: seen.append(at), limit=1, skip=1
    )
    assert (found.value, found.samples, seen) == (1.0, 1, [(1, 1)])
    with pytest.raises(InputError, match="no samples to score"):
        task.evaluate(lambda feeds: [feeds["image"]], lambda *at: None, skip=3)


def test_several_inputs_are_read_when_named_as_the_model_names_them(tmp_path: Path) -> None:
    specs = [TensorSpec("a", (1, 3), "float32"), TensorSpec("b", (3,), "int64")]
    numbers = np.zeros((3, 3), dtype=np.int64)
    path = written(tmp_path, a=INPUTS, b=numbers, labels=LABELS)
    (first,) = labelled_arrays(path, "top1", specs).inputs(1)
    assert {name: array.shape for name, array in first.items()} == {"a": (1, 3), "b": (3,)}


def test_arrays_are_taken_as_named_when_inputs_are_not_known(tmp_path: Path) -> None:
    path = written(tmp_path, x=INPUTS, labels=LABELS)
    (first,) = labelled_arrays(path, "top1").inputs(1)
    assert first["x"].shape == (1, 3)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"inputs": INPUTS, "lables": LABELS}, "no array 'labels'; did you mean 'lables'"),
        ({"imge": INPUTS, "labels": LABELS}, "no array 'image'; did you mean 'imge'"),
        ({"inputs": INPUTS.astype("f8"), "labels": LABELS}, "is float64; the model takes float32"),
        (
            {"inputs": INPUTS[:, :2], "labels": LABELS},
            r"shape \[3, 2\]; expected \[samples, 1, 3\]",
        ),
        ({"inputs": INPUTS, "labels": LABELS[:2]}, "has 3 samples, 'labels' has 2"),
        ({"inputs": INPUTS[:0], "labels": LABELS[:0]}, "'labels' has no samples"),
        ({"inputs": INPUTS, "labels": np.asarray(["a", "b", "c"])}, "expected numbers: a class"),
        ({"inputs": np.float32(1), "labels": LABELS}, r"shape \[\]"),
    ],
)
def test_error_says_what_is_wrong_when_arrays_do_not_fit(
    tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        labelled_arrays(written(tmp_path, **arrays), "top1", [IMAGE])


def test_error_asks_for_names_when_inputs_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="named as the input, found inputs, labels"):
        labelled_arrays(written(tmp_path, inputs=INPUTS, labels=LABELS), "top1")


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def test_objects_are_refused_and_not_loaded_when_in_the_file(tmp_path: Path) -> None:
    bomb = np.asarray([Bomb(tmp_path / "ran")], dtype=object)
    path = written(tmp_path, inputs=bomb, labels=LABELS)
    with pytest.raises(InputError, match="Python objects, which are not loaded"):
        labelled_arrays(path, "top1", [IMAGE])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut"])
def test_error_names_file_when_it_is_no_npz(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"data\.npz: "):
        labelled_arrays(path, "top1", [IMAGE])


def test_error_says_so_when_file_is_one_bare_array(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, INPUTS)
    with pytest.raises(InputError, match="one bare array"):
        labelled_arrays(path, "top1", [IMAGE])


def test_error_says_so_when_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        labelled_arrays(tmp_path / "none.npz", "top1", [IMAGE])
