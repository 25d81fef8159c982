"""Verification catches networks that are wrong in one place, and knows those that are not wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from mutants import KINDS, Mutant, mutant
from mutation_check import Subject, check, outputs_of, subjects
from mutation_networks import NETWORKS


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    return subjects(tmp_path_factory.mktemp("mutants"), tuple(NETWORKS))


@pytest.mark.slow
def test_nearly_all_wrong_networks_are_caught(small: list[Subject]) -> None:
    tally = check(small, 40, seed=3)
    assert tally.caught.total() >= 39, tally.missed
    assert len(tally.caught) >= 10


def test_the_network_itself_passes(small: list[Subject]) -> None:
    for subject in small:
        same = outputs_of(subject.model, subject.feeds)
        assert same is not None and not subject.is_caught(same)


@pytest.mark.slow
def test_a_change_without_effect_is_equivalent(small: list[Subject], tmp_path: Path) -> None:
    """A float32 does not tell an epsilon of 1e-5 from one that is larger by a ten-millionth."""
    subject = next(each for each in small if each.name == "attention")
    model = onnx.ModelProto()
    model.CopyFrom(subject.model)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "epsilon":
                attribute.f *= 1 + 1e-6
    assert subject.is_equivalent(Mutant("attribute", "", model))
    wrong = mutant(subject.model, "bias", np.random.default_rng(0))
    assert wrong is not None and not subject.is_equivalent(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_a_network_somewhere(kind: str) -> None:
    for make in NETWORKS.values():
        model = make()
        before = model.SerializeToString()
        found = mutant(model, kind, np.random.default_rng(0))
        assert model.SerializeToString() == before
        if found is not None:
            assert found.what and found.model.graph != model.graph
            return
    raise AssertionError(f"{kind} applies to no network")
