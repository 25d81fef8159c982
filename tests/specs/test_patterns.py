"""Patterns: the rows of the table, and N of every M."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from harness.specs.patterns import BLOCKS, PATTERNS, Pattern, of_every, traits_of

READ = TypeAdapter(Pattern)


@given(st.integers(1, 40), st.integers(1, 40))
def test_pattern_of_every_is_read_where_it_drops_something(kept: int, every: int) -> None:
    text = f"{kept}:{every}"
    assert of_every(text) == (kept, every)
    if kept < every:
        assert READ.validate_python(text) == text
        traits = traits_of(text)
        assert traits.every == (kept, every) and traits.in_blocks and not traits.budgeted
    else:
        with pytest.raises(ValidationError, match="drops nothing"):
            READ.validate_python(text)


@pytest.mark.parametrize("text", ["", "2:", ":4", "0:4", "2:4:8", "-2:4", "2 : 4", "02:4"])
def test_other_texts_are_no_pattern_of_every(text: str) -> None:
    assert of_every(text) is None
    with pytest.raises(ValidationError, match="is not known"):
        READ.validate_python(text)


def test_number_of_yaml_is_explained() -> None:
    with pytest.raises(ValidationError, match="write a pattern N:M in quotes"):
        READ.validate_python(124)


def test_nearest_name_is_suggested() -> None:
    with pytest.raises(ValidationError, match="did you mean 'wide-block'"):
        READ.validate_python("wideblock")


def test_blocks_are_the_patterns_with_vectors() -> None:
    assert set(BLOCKS) == {name for name in PATTERNS if traits_of(name).vectors}
    assert all(traits_of(name).budgeted for name in BLOCKS)
