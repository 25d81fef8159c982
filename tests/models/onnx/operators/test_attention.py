"""Attention of ONNX Runtime's own domain gives what ONNX Runtime computes, in every form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiling import reference
from onnx import helper
from onnx_nodes import assert_same, computed, network

from harness.errors import InputError

BATCH, STEPS, WIDTH, HEADS = 2, 6, 32, 4
OWN = "com.microsoft"


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(0, 0.3, shape).astype(np.float32)


def whole(low: int, high: int, *shape: int, dtype: str = "int32") -> np.ndarray:
    return np.random.default_rng(shape).integers(low, high, shape).astype(dtype)


X = drawn(BATCH, STEPS, WIDTH)
KEYS, VALUES = drawn(BATCH, STEPS, WIDTH, seed=1), drawn(BATCH, STEPS, WIDTH, seed=2)
PROJECTION, BIAS = drawn(WIDTH, 3 * WIDTH), drawn(3 * WIDTH)
MASK = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]], np.int32)
PAST = drawn(2, BATCH, HEADS, 3, WIDTH // HEADS)

Form = tuple[list[str], dict[str, Any], int]
"""Inputs by name, attributes, and how many outputs."""
FORMS: dict[str, Form] = {
    "plain": (["x", "w", "b"], {}, 1),
    "masked": (["x", "w", "b", "mask"], {}, 1),
    "masked by step": (["x", "w", "b", "steps"], {"mask_filter_value": -50.0, "scale": 0.2}, 1),
    "of some keys": (["x", "w", "b", "lengths"], {}, 1),
    "causal": (["x", "w", "b"], {"unidirectional": 1}, 1),
    "masked and causal": (["x", "w", "b", "mask"], {"unidirectional": 1}, 1),
    "after a past": (["x", "w", "b", "", "past"], {"unidirectional": 1}, 2),
    "with a bias of scores": (["x", "w", "b", "", "", "scores"], {}, 1),
    "of other sizes": (["x", "w64", "b64"], {"qkv_hidden_sizes": [16, 16, 32]}, 1),
}
FEEDS = {
    "x": X,
    "mask": MASK,
    "lengths": np.array([3, 6], np.int32),
    "steps": whole(0, 2, BATCH, STEPS, STEPS),
    "past": PAST,
    "scores": drawn(1, HEADS, STEPS, STEPS),
}
WEIGHTS = {"w": PROJECTION, "b": BIAS, "w64": drawn(WIDTH, 64), "b64": drawn(64)}


def holds(
    operator: str,
    form: Form,
    feeds: dict[str, np.ndarray],
    weights: dict[str, np.ndarray],
    folder: Path,
) -> None:
    names, attributes, count = form
    outputs = ["y", "keys", "values"][:count]
    step = helper.make_node(operator, names, outputs, domain=OWN, **attributes)
    fed = {name: value for name, value in feeds.items() if name in names}
    held = {name: value for name, value in weights.items() if name in names}
    model = network([step], outputs, fed, held)
    assert_same(computed(model, fed, folder), reference(model, fed))


@pytest.mark.parametrize("form", FORMS)
def test_attention(tmp_path: Path, form: str) -> None:
    names, attributes, count = FORMS[form]
    given = (names, {"num_heads": HEADS, **attributes}, count)
    holds("Attention", given, FEEDS, WEIGHTS, tmp_path)


MULTI_HEAD: dict[str, Form] = {
    "plain": (["q", "k", "v"], {}, 1),
    "biased": (["q", "k", "v", "b"], {"scale": 0.3}, 1),
    "masked": (["q", "k", "v", "", "mask", "scores"], {}, 1),
    "of keys by heads": (["q", "kh", "vh"], {}, 1),
    "causal": (["q", "k", "v"], {"unidirectional": 1}, 1),
    "after a past": (["q", "k", "v", "", "", "", "pk", "pv"], {}, 3),
}
MULTI_HEAD_FEEDS = {
    "q": X,
    "k": KEYS,
    "v": VALUES,
    "kh": drawn(BATCH, HEADS, 5, WIDTH // HEADS),
    "vh": drawn(BATCH, HEADS, 5, WIDTH // HEADS, seed=1),
    "pk": PAST[0],
    "pv": PAST[1],
    "mask": MASK,
    "scores": FEEDS["scores"],
}


@pytest.mark.parametrize("form", MULTI_HEAD)
def test_multi_head_attention(tmp_path: Path, form: str) -> None:
    names, attributes, count = MULTI_HEAD[form]
    given = (names, {"num_heads": HEADS, **attributes}, count)
    holds("MultiHeadAttention", given, MULTI_HEAD_FEEDS, {"b": BIAS}, tmp_path)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_with_projections_of_integers(tmp_path: Path, masked: bool) -> None:
    names = ["x", "w", "b", "scale", "weight_scale", "mask" if masked else "", "zero", "w_zero"]
    feeds = {"x": whole(0, 255, BATCH, STEPS, WIDTH, dtype="uint8"), "mask": MASK}
    weights = {
        "w": whole(-100, 100, WIDTH, 3 * WIDTH, dtype="int8"),
        "b": BIAS,
        "scale": np.float32(0.01),
        "weight_scale": np.float32(0.002),
        "zero": np.uint8(120),
        "w_zero": np.int8(0),
    }
    arrays = {name: np.asarray(value) for name, value in weights.items()}
    holds("QAttention", (names, {"num_heads": HEADS}, 1), feeds, arrays, tmp_path)


ROTATED = {
    "by heads": ((BATCH, HEADS, STEPS, 8), "every", {}),
    "in one": ((BATCH, STEPS, WIDTH), "first", {}),
    "in part": (
        (BATCH, STEPS, WIDTH), "first", {"rotary_embedding_dim": 8, "num_heads": 2}
    ),
}  # fmt: skip


@pytest.mark.parametrize("neighbours", [0, 1])
@pytest.mark.parametrize("form", ROTATED)
def test_rotary_embedding(tmp_path: Path, form: str, neighbours: int) -> None:
    shape, positions, attributes = ROTATED[form]
    feeds = {
        "x": drawn(*shape),
        "every": np.stack([np.arange(STEPS), np.arange(STEPS)[::-1] + 2]),
        "first": np.array([2]),
    }
    given = (["x", positions, "c", "s"], {**attributes, "interleaved": neighbours}, 1)
    holds("RotaryEmbedding", given, feeds, {"c": drawn(10, 4), "s": drawn(10, 4)}, tmp_path)


def test_packed_projections_are_refused_in_words(tmp_path: Path) -> None:
    feeds = {"q": drawn(BATCH, STEPS, HEADS, 3, WIDTH // HEADS)}
    given = (["q"], {"num_heads": HEADS}, 1)
    with pytest.raises(InputError, match="queries, keys and values in one tensor"):
        holds("MultiHeadAttention", given, feeds, {}, tmp_path)
