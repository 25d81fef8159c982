"""Compares outputs with the reference runtime's, before anything else counts.

Values that are not clearly the same are put to a judge, which is more exact than the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import CellFailure
from harness.measure.comparison import (
    TOLERANCES,
    at_place,
    errors,
    is_float,
    shares,
    shown,
    tolerance_of,
    unlike,
)
from harness.measure.judgement import STEPS, Judge, Opinion, Opinions, Places, Ruling, rule
from harness.records.record import Verification


@dataclass(frozen=True)
class OutputKind:
    """The name of an output, and whether its integers are quantized real numbers, which may be a
    step apart, and not indices, which may not."""

    name: str
    quantized: bool = False


_OTHERS = (0, 2, 8)
"""How many other possible values are asked for, as long as outputs are not right by fewer: each
costs an evaluation. Few say little of a network that rounds to integers: its outputs have a few
values, and the engines may have one each."""


def no_judge(_at: int, _others: int) -> Opinions | str:
    return "none was asked"


def verify(
    reference_name: str,
    reference: Sequence[Sequence[np.ndarray]],
    outputs: Sequence[Sequence[np.ndarray]],
    real_inputs: bool,
    kinds: Sequence[OutputKind] = (),
    judge: Judge = no_judge,
) -> Verification:
    """Compare outputs, [inputs][outputs], with the reference's.

    Raises CellFailure for another number, shape or dtype of outputs; for differences that neither
    the tolerance nor the judge allows; and for outputs that are NaN everywhere in the reference,
    which verify nothing.
    """
    for expected_row, found_row in zip(reference, outputs, strict=True):
        if len(expected_row) != len(found_row):
            raise CellFailure(
                f"wrong result: {len(found_row)} outputs, the reference has {len(expected_row)}"
            )
    verifier = _Verifier(reference_name, len(reference), judge)
    for index, column in enumerate(zip(*reference, strict=True)):
        kind = kinds[index] if index < len(kinds) else OutputKind(str(index))
        if all(map(_nothing_but_nan, column)):
            raise CellFailure(
                f"nothing is verified: all values of output '{kind.name}' are NaN in "
                f"{reference_name}'s result for each of {len(column)} inputs"
            )
        for at, expected in enumerate(column):
            verifier.check(at, index, kind, expected, outputs[at][index])
    return Verification(
        reference=reference_name,
        inputs=len(reference),
        real_inputs=real_inputs,
        max_abs_error=verifier.absolute,
        max_error_of_scale=verifier.share,
        tolerance_of_scale=verifier.tolerance,
        judge=verifier.judged_by,
        blame=verifier.blame,
    )


def _nothing_but_nan(array: np.ndarray) -> bool:
    return is_float(array.dtype) and array.size > 0 and bool(np.isnan(array).all())


@dataclass(frozen=True)
class _Compared:
    """One output on one input, `where` in words, beside the reference's."""

    where: str
    expected: np.ndarray
    found: np.ndarray

    def at(self, place: int, reference: str, judge: str, opinion: Opinion | None) -> str:
        """One value of it, in words, and the others' values there."""
        says = "" if opinion is None else f", {judge} {shown(opinion.value, place)}"
        return (
            f"{shown(self.found, place)} at {at_place(place, self.expected.shape)}, where "
            f"{reference} has {shown(self.expected, place)}{says}"
        )


class _Verifier:
    """Checks one output on one input after another; the results so far."""

    def __init__(self, reference: str, inputs: int, judge: Judge) -> None:
        self.absolute = self.share = 0.0
        self.tolerance = TOLERANCES["float32"].stated
        self.judged_by: str | None = None
        self.blame: str | None = None
        self._reference = reference
        self._inputs = inputs
        self._judge = judge

    def check(
        self, at: int, index: int, kind: OutputKind, expected: np.ndarray, found: np.ndarray
    ) -> None:
        """Raises CellFailure where an output is wrong."""
        where = f"output '{kind.name}' on input {at + 1} of {self._inputs}"
        if why := unlike(expected, found):
            raise CellFailure(f"wrong result: {where} {why}")
        if expected.size == 0:
            return
        compared = _Compared(where, expected, found)
        tolerance = tolerance_of(expected.dtype)
        apart, share = errors(expected, found), shares(expected, found)
        allowed, certain = share <= tolerance.stated, share <= tolerance.certain
        if kind.quantized and not is_float(expected.dtype):
            allowed = certain = apart <= STEPS
            share = np.where(allowed, 0.0, share)
        self.absolute = max(self.absolute, float(apart.max()))
        self.share = max(self.share, float(share.max()))
        self.tolerance = max(self.tolerance, tolerance.stated)
        if certain.all():
            return
        opinion: Opinion | None = None
        for others in _OTHERS:
            said, name = self._opinion(at, index, expected, others)
            if opinion is None:
                judge = name
            if said is None or (opinion is not None and len(said.others) == len(opinion.others)):
                break
            opinion = said
            ruling = rule(opinion, expected, found, allowed, kind.quantized)
            if ruling.right.all():
                if not allowed.all():
                    self._allowed_by(judge, compared, opinion, ruling)
                return
        wrong = ~allowed if opinion is None else ~ruling.right
        if wrong.any():
            self._refuse(compared, wrong, share, judge, opinion)

    def _opinion(
        self, at: int, index: int, expected: np.ndarray, others: int
    ) -> tuple[Opinion | None, str]:
        """The judge's opinion on an output and its name, or why there is none."""
        opinions = self._judge(at, others)
        if isinstance(opinions, str):
            return None, opinions
        opinion = opinions.of[index]
        if any(each.shape != expected.shape for each in (opinion.value, *opinion.others)):
            return None, f"{opinions.judge} gives another shape"
        return opinion, opinions.judge

    def _allowed_by(
        self, judge: str, compared: _Compared, opinion: Opinion, ruling: Ruling
    ) -> None:
        self.judged_by = judge
        off = np.flatnonzero(ruling.reference_off)
        if off.size and self.blame is None:
            apart = errors(compared.expected, compared.found).reshape(-1)
            worst = int(off[np.argmax(apart[off])])
            self.blame = (
                f"{self._reference} is off in {off.size} of {compared.expected.size} values of "
                f"{compared.where}: {compared.at(worst, self._reference, judge, opinion)}"
            )

    def _refuse(
        self,
        compared: _Compared,
        wrong: Places,
        share: np.ndarray,
        judge: str,
        opinion: Opinion | None,
    ) -> None:
        places = np.flatnonzero(wrong)
        ranked = share.reshape(-1)[places]
        if np.isinf(ranked).any():  # values that are not equal and have to be
            ranked = errors(compared.expected, compared.found).reshape(-1)[places]
        worst = int(places[np.argmax(ranked)])
        dtype, shape = compared.expected.dtype.name, list(compared.expected.shape)
        absent = "" if opinion is not None else f" (no judge: {judge})"
        raise CellFailure(
            f"wrong result: {compared.where} ({dtype} {shape}): {len(places)} of {wrong.size} "
            f"values differ from {self._reference}'s; the worst is "
            f"{compared.at(worst, self._reference, judge, opinion)}{absent}"
        )
