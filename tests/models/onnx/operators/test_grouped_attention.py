"""GroupQueryAttention gives what ONNX Runtime computes: prompts, single steps, every form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiling import reference
from onnx import helper
from onnx_nodes import assert_same, computed, network

from harness.errors import InputError

HEADS, GROUPS, SIZE = 4, 2, 16
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "turned": {"do_rotary": 1},
    "turned by neighbours": {"do_rotary": 1, "rotary_interleaved": 1},
    "scaled and capped": {"scale": 0.7, "softcap": 0.5},
    "near keys alone": {"local_window_size": 3},
    "smooth": {"smooth_softmax": 1},
}


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(0, 0.5, shape).astype(np.float32)


def holds(
    folder: Path,
    steps: int,
    lengths: list[int],
    past: int | None,
    attributes: dict[str, Any],
    more: dict[int, np.ndarray] | None = None,
    packed: bool = False,
) -> None:
    """Whether a node is right where its samples have so many keys with the new ones, and room for
    `past` ones; `more` are other inputs by their places."""
    batch, total = len(lengths), max(lengths)
    width, narrow = HEADS * SIZE, GROUPS * SIZE
    names = [""] * 17
    feeds: dict[str, np.ndarray] = {}
    constants = {"total": np.array(total, np.int32)}

    def give(at: int, name: str, value: np.ndarray) -> None:
        names[at] = name
        feeds[name] = value

    if packed:
        give(0, "q", drawn(batch, steps, width + 2 * narrow))
    else:
        give(0, "q", drawn(batch, steps, width))
        give(1, "k", drawn(batch, steps, narrow, seed=1))
        give(2, "v", drawn(batch, steps, narrow, seed=2))
    if past is not None:
        give(3, "past_k", drawn(batch, GROUPS, past, SIZE, seed=3))
        give(4, "past_v", drawn(batch, GROUPS, past, SIZE, seed=4))
    give(5, "lengths", np.array(lengths, np.int32) - 1)
    names[6] = "total"
    if attributes.get("do_rotary"):
        names[7:9] = ["c", "s"]
        constants |= {"c": drawn(40, SIZE // 2, seed=5), "s": drawn(40, SIZE // 2, seed=6)}
    for at, value in (more or {}).items():
        give(at, f"more{at}", value)
    while not names[-1]:
        names.pop()
    outputs = ["y", "keys", "values"]
    given = {"num_heads": HEADS, "kv_num_heads": GROUPS, **attributes}
    node = helper.make_node("GroupQueryAttention", names, outputs, domain="com.microsoft", **given)
    model = network([node], outputs, feeds, constants)
    assert_same(computed(model, feeds, folder), reference(model, feeds))


@pytest.mark.parametrize("form", FORMS)
def test_prompt(tmp_path: Path, form: str) -> None:
    holds(tmp_path, 5, [5, 5], None, FORMS[form])


def test_prompt_in_one_tensor(tmp_path: Path) -> None:
    holds(tmp_path, 5, [5, 5], None, FORMS["turned"], packed=True)


@pytest.mark.parametrize("form", ["turned", "near keys alone"])
def test_prompts_of_unequal_lengths(tmp_path: Path, form: str) -> None:
    holds(tmp_path, 5, [5, 2], None, FORMS[form])


def test_step_after_a_past(tmp_path: Path) -> None:
    holds(tmp_path, 1, [7, 7], 6, FORMS["turned"])


@pytest.mark.parametrize("form", FORMS)
def test_samples_that_have_filled_some_of_their_cache(tmp_path: Path, form: str) -> None:
    holds(tmp_path, 1, [3, 7], 6, FORMS[form])


def test_several_steps_after_a_past(tmp_path: Path) -> None:
    holds(tmp_path, 3, [9], 6, FORMS["turned"])


def test_cache_with_room_for_more(tmp_path: Path) -> None:
    holds(tmp_path, 1, [5, 5], 12, FORMS["turned"])


def test_bias_of_scores_positions_and_a_sink(tmp_path: Path) -> None:
    more = {
        9: np.array([[6], [4]], np.int64),
        10: drawn(2, HEADS, 1, 7, seed=7),
        11: drawn(HEADS, seed=8),
    }
    holds(tmp_path, 1, [7, 7], 6, FORMS["turned"], more)


def test_both_directions(tmp_path: Path) -> None:
    holds(tmp_path, 4, [4, 4], None, {"causal": 0})


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"k_quant_type": "PER_TENSOR"}, "k_quant_type=PER_TENSOR"),
        ({"qk_output": 1}, "qk_output=1"),
    ],
)
def test_other_forms_are_refused_in_words(
    tmp_path: Path, attributes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        holds(tmp_path, 5, [5, 5], None, attributes)
