from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from catalog_fetching import fetched_or_skip, reference_run
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import CellSkipped, InputError
from harness.models.catalog import minilm
from harness.models.catalog.minilm import (
    INPUTS,
    TOKENS,
    Pair,
    TextPairs,
    embedding,
    encoder,
    read_pairs,
)
from harness.models.data.task import Feeds
from harness.models.fetch import wheel_members
from harness.models.resolved import ResolvedModel

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "##s", "sat", "dog"]


@pytest.fixture
def encode() -> minilm.Encode:
    """Encodes with a vocabulary of nine words, put together as BERT's is."""
    tokenizers = pytest.importorskip("tokenizers", reason="needs the extra 'text'")
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return encoder(tokenizer)


def test_encoder_pads_and_masks_when_text_is_short(encode: minilm.Encode) -> None:
    feeds = encode("A cats SAT")
    assert [(name, array.shape, array.dtype.name) for name, array in feeds.items()] == [
        (tensor.name, tensor.shape, tensor.dtype) for tensor in INPUTS
    ]
    assert feeds["input_ids"][0].tolist() == [2, 4, 5, 6, 7, 3] + [0] * 26
    assert feeds["attention_mask"][0].tolist() == [1] * 6 + [0] * 26
    assert not feeds["token_type_ids"].any()


def test_encoder_cuts_and_keeps_the_last_mark_when_text_is_long(encode: minilm.Encode) -> None:
    feeds = encode("cat " * 100)
    assert feeds["input_ids"][0].tolist() == [2] + [5] * 30 + [3]
    assert feeds["attention_mask"].sum() == TOKENS


def test_embedding_is_normalised_mean_when_padding_is_masked() -> None:
    states = np.array([[[3.0, 0.0], [0.0, 3.0], [3.0, 5.0], [99.0, 99.0]]], np.float32)
    found = embedding(states, np.array([[1, 1, 1, 0]]))
    np.testing.assert_allclose(found, np.array([6.0, 8.0]) / 10)


@given(st.integers(1, 7), st.floats(-1e3, 1e3), st.integers(0, 2**32 - 1))
def test_embedding_ignores_padding_whatever_it_holds(kept: int, junk: float, seed: int) -> None:
    states = np.random.default_rng(seed).normal(size=(1, 8, 5)).astype(np.float32)
    mask = (np.arange(8) < kept).astype(np.int64)[np.newaxis]
    expected = embedding(states, mask)
    states[:, kept:] = junk
    np.testing.assert_array_equal(embedding(states, mask), expected)
    assert np.linalg.norm(expected) == pytest.approx(1)


def test_read_pairs_gives_texts_and_scores_when_there_are_comments(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("# first\tsecond\tscore\na cat\ta dog\t7.5\n\ntea\tcoffee\t3\n")
    assert read_pairs(path) == (Pair("a cat", "a dog", 7.5), Pair("tea", "coffee", 3.0))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a\tb\t1\na\tb\n", "pairs.tsv:2: 2 tab-separated fields; expected text, text, score"),
        ("# none\na\tb\thigh\n", "pairs.tsv:2: score 'high'; expected a number"),
        ("a\tb\t1\n", "pairs.tsv: 1 pairs of texts; a correlation needs two or more"),
    ],
)
def test_read_pairs_names_file_and_line_when_one_is_wrong(
    tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "pairs.tsv").write_text(text)
    with pytest.raises(InputError, match=problem):
        read_pairs(tmp_path / "pairs.tsv")


def test_read_pairs_says_so_when_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_pairs(tmp_path / "none.tsv")


def _ignore(_done: int, _total: int) -> None:
    """A progress that is not shown."""


def _angles(feeds: Feeds) -> list[np.ndarray]:
    """A model whose vector of a text is at an angle of as many degrees as the first word's id."""
    degrees = np.deg2rad(feeds["input_ids"][0, 1])
    return [np.tile(np.array([np.cos(degrees), np.sin(degrees)]), (1, TOKENS, 1))]


def _by_number(text: str) -> Feeds:
    ids = np.zeros((1, TOKENS), np.int64)
    ids[0, 1] = int(text)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": ids * 0}


def test_evaluate_gives_perfect_score_when_cosines_rank_as_people_do() -> None:
    pairs = [Pair("0", str(angle), 90.0 - angle) for angle in range(5, 90, 5)]
    ran: list[int] = []

    def run(feeds: Feeds) -> list[np.ndarray]:
        ran.append(int(feeds["input_ids"][0, 1]))
        return _angles(feeds)

    found = TextPairs(pairs, [], _by_number).evaluate(run, _ignore)
    assert (found.value, found.samples) == (pytest.approx(1), 17)
    assert found.metric == "Spearman correlation"
    assert sorted(ran) == list(range(0, 90, 5))  # "0" is in every pair and is encoded once


def test_evaluate_takes_first_pairs_when_limited() -> None:
    pairs = [Pair("0", "10", 9), Pair("0", "20", 5), Pair("0", "30", 2), Pair("0", "40", 100)]
    told: list[tuple[int, int]] = []
    task = TextPairs(pairs, ["10", "20"], _by_number)
    limited = task.evaluate(_angles, lambda done, total: told.append((done, total)), limit=3)
    assert (limited.value, limited.samples) == (pytest.approx(1), 3)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert task.evaluate(_angles, _ignore).value < 0.5
    assert [feeds["input_ids"][0, 1] for feeds in task.inputs(9)] == [10, 20]


def test_task_is_skipped_with_what_to_install_when_tokenizers_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(CellSkipped, match=r"pip install 'layeredge\[text\]'"):
        minilm.task(tmp_path, None)


@pytest.fixture
def fetched_model() -> ResolvedModel:
    model = fetched_or_skip("minilm-l6")
    if model.task is None:
        pytest.skip(str(model.task_missing_reason))
    return model


@pytest.mark.slow
@pytest.mark.network
def test_fp32_model_gives_what_published_one_gives_when_fed_real_text(
    fetched_model: ResolvedModel, tmp_path: Path
) -> None:
    kinds = {tensor.data_type for tensor in onnx.load(fetched_model.path).graph.initializer}
    assert onnx.TensorProto.INT8 not in kinds
    (quantized,) = wheel_members(minilm.MODEL, [minilm.MODEL_FILE], tmp_path)
    ours = reference_run(fetched_model)
    published = reference_run(replace(fetched_model, path=quantized))
    assert fetched_model.task is not None
    for feeds in fetched_model.task.inputs(3):
        assert feeds["attention_mask"].all()
        np.testing.assert_allclose(ours(feeds)[0], published(feeds)[0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.network
def test_score_is_the_known_one_when_reference_runs_the_model(
    fetched_model: ResolvedModel,
) -> None:
    assert fetched_model.task is not None
    found = fetched_model.task.evaluate(reference_run(fetched_model), _ignore)
    assert found.value == pytest.approx(0.729, abs=0.003)
    assert found.samples == 353
    assert 0.6 < found.ci_low < found.value < found.ci_high < 0.85
