from __future__ import annotations

import doctest
import math

from hypothesis import given
from hypothesis import strategies as st

from harness.report import wording
from harness.report.wording import number, printable, short_names, with_interval


def test_examples_in_the_documentation_hold() -> None:
    found = doctest.testmod(wording)
    assert found.attempted >= 5
    assert not found.failed


@given(st.floats(1e-3, 1e6))
def test_number_is_within_half_of_its_last_digit(value: float) -> None:
    assert math.isclose(float(number(value).replace(",", "")), value, rel_tol=5.1e-3)


@given(st.floats(1e-2, 1e4), st.floats(1e-3, 0.5))
def test_with_interval_writes_ends_apart_when_they_are(value: float, part: float) -> None:
    _, interval = with_interval(value, value * (1 - part), value * (1 + part))
    low, high = interval.split("–")
    assert low != high


def test_with_interval_is_readable_when_the_samples_cannot_bound_it() -> None:
    assert with_interval(1.25, 0.0, math.inf) == ("1.25", "0.00–∞")


def test_control_characters_are_replaced() -> None:
    assert (
        printable("a\x1b[2Jb\tc\n80\N{NO-BREAK SPACE}%\x00") == "a�[2Jb\tc\n80\N{NO-BREAK SPACE}%�"
    )


def test_short_names_leave_out_the_parts_that_most_have_and_stay_different() -> None:
    blocks = [f"/blocks/blocks.{at}/{which}/conv/Conv" for at in (0, 1) for which in ("a", "b")]
    found = short_names(["/stem/conv/Conv", *blocks, "/dense/Gemm"])
    assert found == ["stem", "blocks.0/a", "blocks.0/b", "blocks.1/a", "blocks.1/b", "dense/Gemm"]
    assert short_names(["/a/Conv", "/b/Conv", "Conv"]) == ["a", "b", "Conv"]
    assert short_names(["x/a/y", "a", "x/y"]) == ["x/a/y", "a", "x/y"]
    assert short_names([]) == []
