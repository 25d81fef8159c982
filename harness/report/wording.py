"""How numbers are written for people."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from harness.statistics.verdicts import MINIMUM_EFFECT, Outcome, Verdict

_MOST = 0.6
"""Parts of paths that as many of them have say nothing."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

MISSING = "–"
WITHIN = f"{MINIMUM_EFFECT:.0%}".replace("%", " %")
"""The least difference that counts as one."""
VERDICTS = (
    "Faster and slower: the test confirms it. No difference: the whole interval is within "
    f"{WITHIN} of 1. Undecided: none of these, or less than other work on the machine may make."
)
_MOST_DIGITS = 4


def printable(text: str) -> str:
    """A text without control characters, which names in a model's file may have: a terminal obeys
    them. Tabs and line breaks stay."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def short_names(names: Sequence[str]) -> list[str]:
    """Paths such as `/blocks.0/conv/Conv` without the parts that most of them have; as they are
    where two would be the same."""
    parts = [name.strip("/").split("/") for name in names]
    counts = Counter(part for each in parts for part in set(each))
    telling = [[part for part in each if counts[part] < _MOST * len(names)] for each in parts]
    short = ["/".join(kept if kept else each) for kept, each in zip(telling, parts, strict=True)]
    return short if len(set(short)) == len(set(names)) else list(names)


def number(value: float | None, digits: int = 3) -> str:
    """A number with `digits` significant digits and no exponent where it can be read without.

    >>> number(0.041237), number(1234.5), number(3.1e-7), number(None)
    ('0.0412', '1,234', '3.1e-07', '–')
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        return f"{value:.{digits - 1}g}"
    return f"{value:,.{_decimals(value, digits)}f}"


def with_interval(value: float, low: float, high: float) -> tuple[str, str]:
    """A value and its interval, with as many digits as the interval's width can bear.

    >>> with_interval(0.41237, 0.4051, 0.4199)
    ('0.412', '0.405–0.420')
    >>> with_interval(12.3456, 12.341, 12.352)
    ('12.35', '12.34–12.35')
    """
    digits = 3
    if value and math.isfinite(value) and 0 < high - low < math.inf:
        digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(high - low)) + 1
    decimals = _decimals(value, min(max(digits, 3), _MOST_DIGITS))
    text, lower, upper = (
        f"{part:,.{decimals}f}" if math.isfinite(part) else number(part)
        for part in (value, low, high)
    )
    return text, f"{lower}–{upper}"


def times_as_fast(found: Verdict) -> tuple[str, str]:
    """How many times as fast, and the interval."""
    return with_interval(*found.times_as_fast)


def in_words(found: Verdict, other: str) -> str:
    """A verdict as a phrase; the factor is above 1 either way, as in `1.26× faster`."""
    said: Mapping[Outcome, str] = {
        "faster": f"{times_as_fast(found)[0]}× faster than {other}",
        "slower": f"{with_interval(found.ratio, found.ci_low, found.ci_high)[0]}× slower than "
        f"{other}",
        "no difference": f"as fast as {other} to within {WITHIN}",
        "undecided": f"undecided against {other}",
    }
    return said[found.verdict]


def share(part: float) -> str:
    """A part of a whole, in per cent.

    >>> share(0.256), share(0.002), share(0)
    ('26 %', '<1 %', '0 %')
    """
    return "<1 %" if 0 < part < 0.005 else f"{part:.0%}".replace("%", " %")


def listed(names: Sequence[str], most: int | None = None) -> str:
    """Names in a sentence, of which at most so many are written.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], most=1)
    ('a, b and c', 'a and 2 more')
    """
    shown = list(names[:most])
    if len(shown) < len(names):
        shown.append(f"{len(names) - len(shown)} more")
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def duration(seconds: float) -> str:
    """Seconds in the unit people would use.

    >>> duration(12.3), duration(412), duration(9000)
    ('12.3 s', '6.9 min', '2.5 h')
    """
    if seconds < 120:
        return f"{number(seconds)} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def _decimals(value: float, digits: int) -> int:
    magnitude = math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
    return max(0, digits - 1 - magnitude)
