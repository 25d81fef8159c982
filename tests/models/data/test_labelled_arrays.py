from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.models.data.labelled_arrays import labelled_arrays, unlabelled_arrays
from harness.models.data.task import Feeds, Task
from harness.models.tensors import TensorSpec
from harness.records.record import Accuracy

IMAGE = TensorSpec("image", (1, 3), "float32")
SCORES = TensorSpec("y", (1, 3), "float32")
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
    task = labelled_arrays(path, "top1")
    assert task.inputs(1)[0]["x"].shape == (3,)
    fitted = task.fitted([TensorSpec("x", (1, 3), "float32")], [SCORES])
    assert fitted.inputs(1)[0]["x"].shape == (1, 3)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"inputs": INPUTS, "lables": LABELS}, "no array 'labels'; did you mean 'lables'"),
        ({"imge": INPUTS, "labels": LABELS}, "no array 'image'; did you mean 'imge'"),
        ({"inputs": INPUTS.astype("f8"), "labels": LABELS}, "is float64; the model takes float32"),
        (
            {"inputs": INPUTS[:, :2], "labels": LABELS},
            r"shape \[3, 2\]; expected \[samples, 1, 3\] or \[samples, 3\]",
        ),
        ({"inputs": INPUTS, "labels": LABELS[:2]}, "have 3 samples, 'labels' has 2"),
        ({"inputs": INPUTS[:0], "labels": LABELS[:0]}, "'labels' has no samples"),
        (
            {"inputs": INPUTS, "labels": np.asarray(["a", "b", "c"])},
            "row 0 of 'labels' is 'a', text: expected a class",
        ),
        ({"inputs": np.float32(1), "labels": LABELS}, r"shape \[\]"),
    ],
)
def test_error_says_what_is_wrong_when_arrays_do_not_fit(
    tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        labelled_arrays(written(tmp_path, **arrays), "top1", [IMAGE])


def test_error_asks_for_inputs_when_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="named as the input, found labels"):
        labelled_arrays(written(tmp_path, labels=LABELS), "top1")


def identity(feeds: Feeds) -> list[np.ndarray]:
    return [next(iter(feeds.values()))]


def scored(task: Task, **options: int) -> Accuracy:
    return task.evaluate(identity, lambda done, total: None, **options)


BATCH = TensorSpec("image", (2, 3), "float32")
FIVE = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
TRUE = np.asarray([0, 1, 2, 0, 2])
PAIRS = np.stack([FIVE[:2], FIVE[2:4]])


def test_rows_are_put_together_into_batches_and_scored_one_by_one(tmp_path: Path) -> None:
    path = written(tmp_path, inputs=FIVE, labels=TRUE)
    task = labelled_arrays(path, "top1", [BATCH]).fitted([BATCH], [replace(BATCH, name="y")])
    feeds = [each["image"] for each in task.inputs(9)]
    assert [each.shape for each in feeds] == [(2, 3)] * 3
    np.testing.assert_array_equal(feeds[2], FIVE[[4, 4]])  # filled up with the last row
    assert (scored(task).value, scored(task).samples) == (0.8, 5)
    assert scored(task, limit=3).samples == 3
    skipped = scored(task, skip=2)  # of inferences, as `inputs` counts
    assert (skipped.value, skipped.samples) == (0.0, 1)


@given(st.data(), st.integers(2, 5), st.integers(1, 12), st.integers(0, 2))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batches_of_any_size_score_as_single_samples_do(
    tmp_path: Path, data: st.DataObject, size: int, samples: int, skip: int
) -> None:
    numbers = data.draw(st.lists(st.integers(0, 2), min_size=samples, max_size=samples))
    labels = data.draw(st.lists(st.integers(0, 2), min_size=samples, max_size=samples))
    path = written(tmp_path, inputs=np.eye(3, dtype=np.float32)[numbers], labels=labels)
    batch = TensorSpec("image", (size, 3), "float32")
    together = labelled_arrays(path, "top1", [batch]).fitted([batch], [batch])
    single = labelled_arrays(path, "top1", [IMAGE]).fitted([IMAGE], [IMAGE])
    if skip * size < samples:
        assert scored(together, skip=skip) == scored(single, skip=skip * size)
    else:
        with pytest.raises(InputError, match="no samples to score"):
            scored(together, skip=skip)


@pytest.mark.parametrize("layout", [(2, 2), (4,), (2, 2, 1)])
def test_batches_have_a_label_for_each_of_their_samples(
    tmp_path: Path, layout: tuple[int, ...]
) -> None:
    labels = np.asarray([0, 1, 2, 1]).reshape(layout)
    path = written(tmp_path, inputs=PAIRS, labels=labels)
    task = labelled_arrays(path, "top1", [BATCH]).fitted([BATCH], [replace(BATCH, name="y")])
    assert (scored(task).value, scored(task).samples) == (0.75, 4)


def test_a_label_for_each_batch_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, inputs=PAIRS, labels=np.asarray([0, 2]))
    said = r"'labels' has the shape \[2\]; expected \[2, 2\], or \[4\]: an inference is of 2"
    with pytest.raises(InputError, match=said):
        labelled_arrays(path, "top1", [BATCH]).fitted([BATCH], [BATCH])


def test_a_label_beyond_the_classes_is_refused_with_its_row_and_sample(tmp_path: Path) -> None:
    labels = np.asarray([[0, 1], [2, 3]])
    task = labelled_arrays(written(tmp_path, inputs=PAIRS, labels=labels), "top1", [BATCH])
    with pytest.raises(InputError, match="sample 1 of row 1 of 'labels' is 3: the model has 3"):
        task.fitted([BATCH], [BATCH])


def test_a_first_axis_that_outputs_lack_is_no_batch(tmp_path: Path) -> None:
    """As of an image of three colours without a batch axis."""
    image, scores = TensorSpec("image", (3, 2), "float32"), TensorSpec("y", (4,), "float32")
    inputs = np.zeros((5, 3, 2), np.float32)
    path = written(tmp_path, inputs=inputs, labels=np.arange(5) % 4)
    task = labelled_arrays(path, "top1", [image]).fitted([image], [scores])
    found = task.evaluate(lambda feeds: [np.asarray([1.0, 0, 0, 0])], lambda done, total: None)
    assert (found.value, found.samples) == (0.4, 5)
    ungrouped = written(tmp_path, inputs=inputs.reshape(15, 2), labels=np.arange(15) % 4)
    with pytest.raises(InputError, match=r"batches of 3, and the model's first output, y: float32"):
        labelled_arrays(ungrouped, "top1", [image]).fitted([image], [scores])


def test_an_output_of_one_axis_is_a_batch_s_where_a_sample_has_one_value(tmp_path: Path) -> None:
    inputs, output = TensorSpec("image", (2, 3), "float32"), TensorSpec("y", (2,), "float32")
    path = written(tmp_path, inputs=PAIRS, labels=np.asarray([[1.0, 2], [3, 4]]))
    task = labelled_arrays(path, "spearman", [inputs]).fitted([inputs], [output])
    found = task.evaluate(lambda feeds: [feeds["image"].argmax(1)], lambda done, total: None)
    assert found.samples == 4


def test_scalar_inputs_stay_scalars(tmp_path: Path) -> None:
    specs = [IMAGE, TensorSpec("scale", (), "float32")]
    for scales in (np.arange(3, dtype=np.float32), np.arange(3, dtype=np.float32)[:, None]):
        path = written(tmp_path, image=INPUTS, scale=scales, labels=LABELS)
        feeds = labelled_arrays(path, "top1", specs).inputs(3)
        assert [each["scale"].shape for each in feeds] == [()] * 3
        assert [float(each["scale"]) for each in feeds] == [0, 1, 2]


def test_inputs_of_which_only_some_are_batches_are_refused(tmp_path: Path) -> None:
    specs = [BATCH, TensorSpec("scale", (), "float32")]
    path = written(tmp_path, image=FIVE, scale=np.ones(5, np.float32), labels=TRUE)
    with pytest.raises(InputError, match="rows of some inputs are to be put together"):
        labelled_arrays(path, "top1", specs)


def test_layouts_of_one_label_score_the_same(tmp_path: Path) -> None:
    values = set()
    for labels in (TRUE, TRUE[:, None], np.eye(3)[TRUE], TRUE.astype(np.float32)):
        path = written(tmp_path, inputs=FIVE, labels=labels)
        task = labelled_arrays(path, "top1", [IMAGE]).fitted([IMAGE], [SCORES])
        values.add(scored(task).value)
    assert values == {0.8}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (TRUE + 0.7, "data.npz: row 0 of 'labels' is 0.7: expected a class index"),
        (np.where(np.arange(5) == 3, np.nan, TRUE), "row 3 of 'labels' is nan"),
        (np.where(np.arange(5) == 3, -1, TRUE), "row 3 of 'labels' is -1"),
        (np.where(np.arange(5) == 3, 3, TRUE), "row 3 of 'labels' is 3: the model has 3 classes"),
    ],
)
def test_labels_are_checked_before_anything_runs(
    tmp_path: Path, labels: np.ndarray, said: str
) -> None:
    path = written(tmp_path, inputs=FIVE, labels=labels)
    with pytest.raises(InputError, match=said):
        labelled_arrays(path, "top1", [IMAGE]).fitted([IMAGE], [SCORES])
    with pytest.raises(InputError, match=said):  # where it is not known what the model gives
        scored(labelled_arrays(path, "top1", [IMAGE]))


def test_inputs_that_are_not_finite_are_said_with_their_row(tmp_path: Path) -> None:
    inputs = FIVE.copy()
    inputs[2:4, 1] = np.nan, np.inf
    task = labelled_arrays(written(tmp_path, inputs=inputs, labels=TRUE), "top1", [IMAGE])
    (remark,) = task.remarks()
    assert (
        "input 'image' is not finite (NaN or infinite) in 2 of 5 rows, the first is row 2" in remark
    )
    assert not labelled_arrays(written(tmp_path, inputs=FIVE, labels=TRUE), "top1").remarks()


def test_training_inputs_are_fitted_once_the_model_is_known(tmp_path: Path) -> None:
    training = unlabelled_arrays(written(tmp_path, inputs=FIVE))
    fitted = training.fitted([BATCH])
    assert (training.count, fitted.count) == (5, 3)
    assert [each["image"].shape for each in fitted.inputs()] == [(2, 3)] * 3
    assert fitted.fingerprint == training.fingerprint


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


def test_examples_are_from_all_over_the_data(tmp_path: Path) -> None:
    path = written(tmp_path, image=np.arange(30, dtype=np.float32).reshape(10, 3), labels=[0] * 10)
    task = labelled_arrays(path, "top1", [TensorSpec("image", (1, 3), "float32")])
    assert [int(feeds["image"][0, 0]) // 3 for feeds in task.examples(3)] == [0, 4, 9]
    assert len(task.examples(99)) == 10


def test_arrays_of_state_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, image=INPUTS, h=np.zeros((3, 2)), labels=LABELS)
    for read in (
        lambda: labelled_arrays(path, "top1", [IMAGE], {"h": "hn"}),
        lambda: unlabelled_arrays(path, [IMAGE], {"h": "hn"}),
    ):
        with pytest.raises(InputError, match="has an array 'h', an input that `state` gives"):
            read()


def test_bfloat16_is_stored_as_float32(tmp_path: Path) -> None:
    image = TensorSpec("image", (1, 3), "bfloat16")
    task = labelled_arrays(written(tmp_path, inputs=INPUTS, labels=LABELS), "top1", [image])
    assert str(task.inputs(1)[0]["image"].dtype) == "bfloat16"
    found = task.evaluate(lambda feeds: [feeds["image"]], lambda *at: None)
    assert found.value == 1
    said = "is float64; the model takes bfloat16, stored as float32"
    with pytest.raises(InputError, match=said):
        labelled_arrays(
            written(tmp_path, inputs=INPUTS.astype("f8"), labels=LABELS), "top1", [image]
        )
