"""One line of another program's error, and suggestions for unknown names."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import (
    CellFailure,
    CellSkipped,
    InputError,
    complaint,
    did_you_mean,
    first_line,
    in_words,
    is_of_full_disk,
    kind_of,
    last_line,
    of_kind,
    printable,
)


def test_first_line_takes_the_next_one_after_a_colon() -> None:
    assert first_line("\n  found:\n  3 axes\nmore") == "found: 3 axes"
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(KeyError()) == "KeyError"


def test_last_line_is_short() -> None:
    assert last_line("trace\n\nerror: it\n\n") == "error: it"
    assert len(last_line("x" * 1000)) == 300


def test_complaint_is_the_line_with_the_error() -> None:
    assert complaint("In file a.c:\na.c:3: error: no x\nnote") == "a.c:3: error: no x"
    assert complaint("") == "it said nothing"


@given(st.text())
def test_lines_are_never_empty(text: str) -> None:
    for line in (first_line(text), last_line(text), complaint(text)):
        assert line and line == line.strip()


@given(st.text(max_size=3000))
def test_printable_text_is_printable_and_short(text: str) -> None:
    found = printable(text)
    assert found.isprintable() and len(found) <= 1003


@pytest.mark.parametrize("kind", [InputError, CellFailure, CellSkipped])
def test_errors_keep_their_kind_between_processes(kind: type[InputError]) -> None:
    again = of_kind(kind_of(kind("why")), "why")
    assert type(again) is kind and str(again) == "why"


def test_long_unknown_names_are_compared_quickly() -> None:
    assert "did you mean 'x86-host'" in did_you_mean("x86-hots", ["x86-host"])
    assert did_you_mean("y" * 10**6, ["x86-host"]) == "; known: x86-host"
    assert did_you_mean("x", []) == "; known: none"


def test_first_line_leaves_out_places_in_the_source_of_a_library() -> None:
    said = (
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running "
        "Reshape node. Name:'r' Status Message: /onnxruntime_src/core/reshape_helper.h:91 "
        "onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape &, bool) "
        "The input tensor cannot be reshaped to the requested shape."
    )
    assert first_line(said) == (
        "Non-zero status code returned while running Reshape node. Name:'r' Status Message: "
        "The input tensor cannot be reshaped to the requested shape."
    )


def test_errors_of_others_are_said_with_their_kind() -> None:
    assert in_words(InputError("no such file")) == "no such file"
    assert in_words(ValueError("odd\nplace")) == "ValueError: odd"
    assert in_words(MemoryError("no 149 GiB")) == "it takes more memory than there is (no 149 GiB)"


def test_of_many_known_names_the_first_are_given() -> None:
    said = did_you_mean("n9x", [f"n{at:03}" for at in range(100)] + ["n9"])
    assert said.startswith("; did you mean 'n9'? known: n000, n001") and said.endswith("61 more")


def test_full_disk_is_found_among_causes() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the callback failed") from error
    except RuntimeError as found:
        assert is_of_full_disk(found)
    assert is_of_full_disk(RuntimeError("ld: final link failed: No space left on device"))
    assert not is_of_full_disk(OSError(errno.EACCES, "Permission denied"))
