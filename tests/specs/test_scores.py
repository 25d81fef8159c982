"""Each score of the table has a module, and unknown names are refused."""

from __future__ import annotations

from importlib import import_module

import pytest
from pydantic import TypeAdapter, ValidationError

from harness.specs.scores import SCORES, Score


@pytest.mark.parametrize("name", SCORES)
def test_score_has_a_module_of_its_name(name: str) -> None:
    import_module(f"harness.edges.scores.{name.replace('-', '_')}")
    assert TypeAdapter(Score).validate_python(name) == name


def test_nearest_score_is_suggested_when_a_name_is_unknown() -> None:
    with pytest.raises(ValidationError, match="did you mean 'magnitude'"):
        TypeAdapter(Score).validate_python("magnitud")


def test_scores_of_outputs_need_data() -> None:
    assert all(traits.needs_data for traits in SCORES.values() if traits.of_outputs)
