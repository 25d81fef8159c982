from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from catalog_fetching import fetched_or_skip, reference_run
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.models.catalog import magika
from harness.models.catalog.magika import LabelledFile, balanced, features, labelled_file
from harness.models.data.task import Feeds


def _ignore(_done: int, _total: int) -> None:
    """A progress that is not shown."""


def _bytes(row: np.ndarray) -> bytes:
    """The bytes among the numbers a model sees."""
    return bytes(row[row < magika.PADDING].astype(np.uint8))


def test_features_pad_towards_the_middle_when_file_is_short() -> None:
    found = features(b"\n  key: value \n\t")
    assert (found.shape, found.dtype.name) == (magika.INPUT.shape, magika.INPUT.dtype)
    first, last = found[0, :1024], found[0, 1024:]
    assert _bytes(first) == b"key: value \n\t"
    assert _bytes(last) == b"\n  key: value"
    assert (first[13:] == magika.PADDING).all()
    assert (last[:-13] == magika.PADDING).all()


def test_features_hold_both_ends_when_file_is_long() -> None:
    content = bytes(range(256)) * 40
    found = features(content)
    assert _bytes(found[0, :1024]) == content.lstrip()[:1024]
    assert _bytes(found[0, 1024:]) == content[-1024:]


def test_features_are_padding_when_a_whole_block_is_blank() -> None:
    found = features(b" " * magika.BLOCK_BYTES + b"text")
    assert (found[0, :1024] == magika.PADDING).all()
    assert _bytes(found[0, 1024:]) == (b" " * 1024 + b"text")[-1024:]


@given(st.binary(max_size=6000))
def test_features_are_ends_of_the_file_whatever_it_holds(content: bytes) -> None:
    found = features(content)
    assert 0 <= found.min() <= found.max() <= magika.PADDING
    first, last = _bytes(found[0, :1024]), _bytes(found[0, 1024:])
    assert content[: magika.BLOCK_BYTES].lstrip().startswith(first)
    assert content[-magika.BLOCK_BYTES :].rstrip().endswith(last)
    if len(content.strip()) == len(content) <= 1024:
        assert first == last == content


@pytest.mark.parametrize(
    ("name", "content", "label"),
    [
        ("a/b.YML", b"key: value", "yaml"),
        ("b.psm1", b"Get-Item x", "powershell"),
        ("c.txt", b"says too little", None),
        ("README", b"no suffix at all", None),
        ("d.py", b"  x = 1  \n", None),
    ],
)
def test_labelled_file_is_kept_when_suffix_tells_and_content_suffices(
    name: str, content: bytes, label: str | None
) -> None:
    found = labelled_file(name, content)
    assert (found.label if found else None) == label


@given(st.permutations([(label, number) for label in "abc" for number in range(8)]))
def test_balanced_gives_the_same_files_whatever_order_they_come_in(
    found: list[tuple[str, int]],
) -> None:
    def file(label: str, number: int) -> LabelledFile:
        made = labelled_file(f"{label}.css", f"{label} {{ width: {number}px }}".encode())
        assert made is not None
        return LabelledFile(made.content, label, made.digest)

    files = [file(label, number) for label, number in found]
    chosen = balanced(files + files[:5], most=3)
    assert chosen == balanced(sorted(files, key=lambda it: it.content), most=3)
    assert sorted(file.label for file in chosen) == list("aaabbbccc")
    assert len({file.digest for file in chosen}) == 9


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache folder with the labels of an imagined model."""
    folder = tmp_path / "cache"
    folder.mkdir()
    described = {"target_labels_space": ["css", "python", "yaml"]}
    (folder / Path(magika.LABELS_FILE).name).write_text(json.dumps(described))
    return folder


def test_task_labels_files_by_suffix_when_given_a_folder(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "own" / "deep").mkdir(parents=True)
    (tmp_path / "own" / "deep" / "main.py").write_text("print('hello')\n")
    (tmp_path / "own" / "main.yaml").write_text("hello: world\n")
    (tmp_path / "own" / "notes.txt").write_text("left out of it")
    task = magika.task(cache, tmp_path / "own")

    def run(feeds: Feeds) -> list[np.ndarray]:
        says_python = b"print" in _bytes(feeds["bytes"][0])
        return [np.array([[0.0, says_python, 0.5]])]

    found = task.evaluate(run, _ignore)
    assert (found.value, found.samples, found.metric) == (1.0, 2, "top-1 accuracy")
    assert len(task.inputs(10)) == 2


def test_task_says_what_is_expected_when_data_is_no_folder_of_known_files(
    cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected a folder of files"):
        magika.task(cache, tmp_path / "none")
    with pytest.raises(InputError, match=r"no file of a known type in it; expected suffixes \.bat"):
        magika.task(cache, tmp_path / "empty")


@pytest.mark.slow
@pytest.mark.network
def test_score_is_the_known_one_when_reference_runs_the_model() -> None:
    model = fetched_or_skip("magika")
    assert model.task is not None
    found = model.task.evaluate(reference_run(model), _ignore, limit=200)
    assert found.samples == 200
    assert found.value == pytest.approx(0.965, abs=0.01)
    assert [feeds["bytes"].shape for feeds in model.task.inputs(3)] == [magika.INPUT.shape] * 3
