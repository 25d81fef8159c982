"""A compressed network as the reference of its cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.errors import CellFailure
from harness.files.arrays import read_arrays, write_arrays
from harness.measure.plain_reference import PlainReference, directions
from harness.measure.verification import no_judge, verify
from harness.records.artifact import DESCRIPTION, ROUNDINGS, Artifact, TensorDescription
from harness.records.record import Fusion

STEP = 1 / 64
SIZE = 4000


def described(folder: Path, roundings: int) -> None:
    """The description of a network of one input, beside what it rounds."""
    inputs = [TensorDescription(name="x", shape=(SIZE,), dtype="float32")]
    if roundings:
        inputs.append(TensorDescription(name=ROUNDINGS, shape=(roundings,), dtype="float32"))
    artifact = Artifact(
        inputs=tuple(inputs),
        outputs=(TensorDescription(name="y", shape=(SIZE,), dtype="float32"),),
        kernels=(),
        fusion=Fusion(kernels_before=0, kernels_after=0),
        tuning=None,
        weights_mb=0,
        activation_mb=0,
        artifact_mb=0,
        target={},
    )
    (folder / DESCRIPTION).write_text(artifact.model_dump_json())


def rounding(x: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """A network that rounds its input to steps."""
    return np.rint(x * factors[0] / np.float32(STEP)) * np.float32(STEP)


@pytest.fixture
def x() -> np.ndarray:
    values = np.random.default_rng(0).uniform(1, 3, SIZE)
    halves = (np.floor(values[:200] / STEP) + 0.5) * STEP  # which next to nothing decides
    return np.append(halves, values[200:]).astype(np.float32)


@pytest.fixture
def reference(tmp_path: Path, x: np.ndarray) -> Callable[[int], PlainReference]:
    def made(roundings: int) -> PlainReference:
        described(tmp_path, roundings)
        write_arrays(tmp_path / "inputs.npz", [[("x", x)], [("x", x + 1)]])

        def run(path: Path) -> list[list[np.ndarray]]:
            found = []
            for row in read_arrays(path):
                factors = row.get(ROUNDINGS, np.ones(1, np.float32))
                found.append([rounding(row["x"], factors)])
            return found

        return PlainReference(tmp_path, tmp_path / "inputs.npz", tmp_path, 0, run, no_judge)

    return made


def test_outputs_are_those_of_the_network_itself(
    reference: Callable[[int], PlainReference], x: np.ndarray
) -> None:
    plain = reference(1)
    ones = np.ones(1, np.float32)
    np.testing.assert_array_equal(plain.outputs[0][0], rounding(x, ones))
    np.testing.assert_array_equal(plain.outputs[1][0], rounding(x + 1, ones))


def test_values_that_rounding_decides_may_be_a_step_apart(
    reference: Callable[[int], PlainReference], x: np.ndarray
) -> None:
    plain = reference(1)
    moved = [[rounding(x, np.float32([1 + 1e-6]))], [rounding(x + 1, np.float32([1 - 1e-6]))]]
    assert not np.array_equal(moved[0][0], plain.outputs[0][0])
    found = verify("it", plain.outputs, moved, True, (), plain)
    assert found.right
    assert found.judge is not None
    assert found.blame is None


@pytest.mark.parametrize("off", [3 * STEP, -5 * STEP, np.nan])
def test_values_that_are_further_apart_are_wrong(
    reference: Callable[[int], PlainReference], off: float
) -> None:
    plain = reference(1)
    wrong = [[each.copy() for each in row] for row in plain.outputs]
    wrong[1][0][7] += off
    with pytest.raises(CellFailure, match=r"wrong result: output '0' on input 2"):
        verify("it", plain.outputs, wrong, True, (), plain)


def test_values_that_are_a_little_off_all_together_are_wrong(
    reference: Callable[[int], PlainReference],
) -> None:
    """Each is within what rounding moves single values by."""
    plain = reference(1)
    wrong = [[each + np.float32(STEP / 2) for each in row] for row in plain.outputs]
    with pytest.raises(CellFailure, match=r"wrong result: output '0' on input 1"):
        verify("it", plain.outputs, wrong, True, (), plain)


def test_network_that_rounds_nothing_is_judged_by_another(
    reference: Callable[[int], PlainReference],
) -> None:
    assert reference(0)(0, 2) == no_judge(0, 2)


@pytest.mark.parametrize("places", [1, 2, 3, 4, 5, 20, 100])
def test_each_place_is_moved_both_ways_and_where_others_stay(places: int) -> None:
    for seed in range(20):
        moves = directions(places, np.random.default_rng(seed))
        found = np.array(moves)
        assert {-1, 1} <= set(found.ravel()) <= {-1, 0, 1}
        for place in range(places):
            assert {-1, 1} <= set(found[:, place])
            alone = [list(np.flatnonzero(row)) for row in found]
            assert [place] in alone if places <= 4 else np.count_nonzero(found[8:, place]) == 4


def test_value_that_another_moves_away_from_between_two_steps_is_in_doubt(tmp_path: Path) -> None:
    """The second place rounds what the first has rounded: both moved alike, it never lies between
    two steps."""
    described(tmp_path, 2)
    x = np.full(SIZE, 1.5 * STEP, np.float32)  # the first place decides between 1 and 2 steps
    write_arrays(tmp_path / "inputs.npz", [[("x", x)]])

    def network(x: np.ndarray, factors: np.ndarray) -> np.ndarray:
        first = np.rint(x * factors[0] / np.float32(STEP))
        return np.rint((2.5 - 0.5 * (first - 2)) * factors[1]) * np.float32(STEP)

    def run(path: Path) -> list[list[np.ndarray]]:
        return [
            [network(row["x"], row.get(ROUNDINGS, np.ones(2, np.float32)))]
            for row in read_arrays(path)
        ]

    for seed in range(10):
        plain = PlainReference(tmp_path, tmp_path / "inputs.npz", tmp_path, seed, run, no_judge)
        other = [[network(x, np.float32([1, 1 + 1e-6]))]]
        assert not np.array_equal(other[0][0], plain.outputs[0][0])
        assert verify("it", plain.outputs, other, True, (), plain).right
