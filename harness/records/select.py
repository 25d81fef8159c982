"""Chooses a cell to deploy: the best one within the constraints, the reasons, and the runners-up.

Cells of different kinds are never ranked against each other, and accuracy that is only agreement
with the reference runtime does not stand in for accuracy on labelled data unless that is asked for.
Unless a limit of accuracy is given, cells that are clearly less accurate than the uncompressed
network are left out, and named.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import InputError
from harness.records.accuracy import is_less_accurate, score
from harness.records.accuracy_guard import inaccuracy, left_out, reference_of, short
from harness.records.candidates import (
    Candidate,
    Constraints,
    candidate_of,
    considered,
    units_of,
)
from harness.records.flips import flips_of
from harness.records.metrics import ACCURACY, CHOOSABLE, LATENCY, MEMORY, choosable, objective_of
from harness.records.record import AGREEMENT, CellKey, Record
from harness.specs.documents import Frozen
from harness.specs.settings import Settings
from harness.specs.sweep import Kind
from harness.statistics.verdicts import compare_paired

Samples = Callable[[str], Mapping[str, np.ndarray]]
"""Raw samples of a session by fingerprint, as `Store.samples`."""


class RunnerUp(Frozen):
    """A cell that keeps to every constraint too; `behind` is its distance in the objective, `tied`
    whether that is not told from none, and `dominated_by` one that is no worse in latency, memory
    and accuracy, and better in one."""

    candidate: Candidate
    behind: str
    tied: bool
    dominated_by: CellKey | None


class Broken(Frozen):
    """A constraint not kept to; `by` is the excess as a share of the limit, None if not known."""

    text: str
    by: float | None


class Rejected(Frozen):
    """A cell that breaks a constraint. `distance` is the sum of the excesses, None if unknown."""

    candidate: Candidate
    broken: tuple[Broken, ...]
    distance: float | None


class Selection(Frozen):
    """The choice, in words and figures. `flips` says under which limits another cell would be
    chosen; `runners_up` are best first, `rejected` nearest first."""

    objective: str
    constraints: Constraints
    choice: Candidate | None
    why: tuple[str, ...]
    flips: tuple[str, ...]
    runners_up: tuple[RunnerUp, ...]
    rejected: tuple[Rejected, ...]
    left_out: tuple[str, ...]


def select(
    records: Sequence[Record],
    constraints: Constraints,
    objective: str | None = None,
    *,
    kind: Kind = "measured",
    samples: Samples | None = None,
    beside: Sequence[Record] = (),
) -> Selection:
    """Choose among the good cells of one kind, by the metric with the option `objective`.

    Cells whose median latency cannot be told from the lowest one are a tie, which the smaller
    memory breaks: by a paired test where `samples` holds both in one session, else where their
    intervals overlap. Equals in another objective are told apart by latency. A tie never goes to a
    cell that is clearly less accurate than another of it. Without an objective cells are ranked by
    their kind's metric. The uncompressed network for comparisons of accuracy is looked for among
    `records` and `beside`. Raises InputError for an unknown objective, and for figures in several
    units, such as prices in several currencies.
    """
    objective = choosable(objective or objective_of(kind)).option or ""

    read_once = functools.cache(samples) if samples else None

    def under(constraints: Constraints) -> Selection:
        return _select(records, constraints, objective, kind, read_once, beside)

    found = under(constraints)
    if found.choice is None:
        return found
    others = [one.candidate for one in found.runners_up]
    flips = flips_of(found.choice, others, constraints, objective, lambda one: under(one).choice)
    return found.model_copy(update={"flips": tuple(flips)})


def _select(
    records: Sequence[Record],
    constraints: Constraints,
    objective: str,
    kind: Kind,
    samples: Samples | None,
    beside: Sequence[Record],
) -> Selection:
    """As `select`, without what would flip the choice."""
    eligible = {
        record.fingerprint: record
        for record in records
        if record.status == "ok" and record.kind == kind
    }
    keys = {record.key.place: record.key for record in eligible.values()}
    references = {
        place: reference_of(key, kind, [*records, *beside]) for place, key in keys.items()
    }
    sifted = _sift(eligible, references, constraints, objective)
    fitting = sifted.fitting
    tied = _tied(fitting, eligible, objective, samples)
    sound = [one for one in tied if not _loses(one, tied, eligible)]
    # Those that fit are sorted by latency, and min keeps the first of equals.
    by_memory = objective == LATENCY
    choice = min(sound, key=lambda one: one.cost(MEMORY) if by_memory else 0.0, default=None)
    runners_up: tuple[RunnerUp, ...] = ()
    if choice is None:
        why = _nothing(eligible, records, kind)
    else:
        reference = references[choice.key.place]
        why = (
            *_reasons(choice, fitting, tied, sound, objective),
            *_remarks(eligible[choice.fingerprint], reference, choice, constraints),
        )
        runners_up = _behind(choice, fitting, tied, constraints, objective)
    return Selection(
        objective=objective,
        constraints=constraints,
        choice=choice,
        why=why,
        flips=(),
        runners_up=runners_up,
        rejected=tuple(sifted.rejected),
        left_out=(*_left_out(records, kind), *left_out(sifted.inaccurate)),
    )


@dataclass(frozen=True)
class _Sifted:
    """Candidates that keep to every constraint, best first; those that do not, nearest first; and
    the records that are clearly less accurate than the uncompressed network."""

    fitting: list[Candidate]
    rejected: list[Rejected]
    inaccurate: list[Record]


def _sift(
    eligible: Mapping[str, Record],
    references: Mapping[tuple[str, str, Settings], Record | None],
    constraints: Constraints,
    objective: str,
) -> _Sifted:
    candidates = [candidate_of(record, constraints) for record in eligible.values()]
    for option in (objective, *constraints.limits):
        _require_one_unit(option, candidates)
    found = _Sifted([], [], [])
    for candidate in candidates:
        broken = _broken(candidate, constraints, objective)
        record = eligible[candidate.fingerprint]
        reference = references[record.key.place]
        if constraints.guards_accuracy and is_less_accurate(record, reference):
            found.inaccurate.append(record)
            if candidate.figures[ACCURACY] is not None or objective != ACCURACY:
                # Else it was said already.
                broken = (*broken, Broken(text=inaccuracy(record, reference), by=None))
        if broken:
            excess = [one.by for one in broken if one.by is not None]
            distance = sum(excess) if len(excess) == len(broken) else None
            found.rejected.append(Rejected(candidate=candidate, broken=broken, distance=distance))
        else:
            found.fitting.append(candidate)
    found.rejected.sort(key=lambda one: math.inf if one.distance is None else one.distance)
    found.fitting.sort(key=lambda one: (one.cost(objective), one.cost(LATENCY)))
    return found


def _tied(
    fitting: Sequence[Candidate],
    records: Mapping[str, Record],
    objective: str,
    samples: Samples | None,
) -> list[Candidate]:
    """The best candidate, and those that are not told from it in the objective."""
    return [
        one
        for one in fitting
        if one is fitting[0]
        or one.cost(objective) == fitting[0].cost(objective)
        or (
            objective == LATENCY
            and _tie(records[fitting[0].fingerprint], records[one.fingerprint], samples)
        )
    ]


def _nothing(
    eligible: Mapping[str, Record], records: Sequence[Record], kind: Kind
) -> tuple[str, ...]:
    """Why there is no choice."""
    if eligible:
        return (f"none of {len(eligible)} {kind} cells keeps to every constraint",)
    others = sorted({one.kind for one in records if one.status == "ok"})
    return (f"there are no {kind} cells", *(f"--kind {each} has some" for each in others))


def _behind(
    choice: Candidate,
    fitting: Sequence[Candidate],
    tied: Sequence[Candidate],
    constraints: Constraints,
    objective: str,
) -> tuple[RunnerUp, ...]:
    options = considered(constraints, objective)
    return tuple(
        RunnerUp(
            candidate=one,
            behind=one.behind(choice, objective),
            tied=one in tied,
            dominated_by=next((by.key for by in fitting if _dominates(by, one, options)), None),
        )
        for one in fitting
        if one is not choice
    )


def _loses(one: Candidate, tied: Sequence[Candidate], records: Mapping[str, Record]) -> bool:
    """Whether a cell of a tie is clearly less accurate than another of it."""
    record = records[one.fingerprint]
    others = (records[other.fingerprint] for other in tied)
    return any(
        other.accuracy is not None and other.accuracy.defined and is_less_accurate(record, other)
        for other in others
    )


def _require_one_unit(option: str, candidates: Sequence[Candidate]) -> None:
    found = units_of(option, candidates)
    if len(found) > 1:
        raise InputError(
            f"the {CHOOSABLE[option].title} is in {' and '.join(found)}, which do not compare; "
            "describe the targets' hardware in one unit, or choose one with --target"
        )


def _broken(candidate: Candidate, constraints: Constraints, objective: str) -> tuple[Broken, ...]:
    """The limits that a candidate breaks; an unknown figure that is needed breaks its limit."""
    found = []
    for option, metric in considered(constraints, objective).items():
        value, limit = candidate.figures[option], constraints.limits.get(option)
        if value is None and (limit is not None or option == objective):
            reason = candidate.unknown.get(option, "not known")
            found.append(Broken(text=f"{metric.title}: {reason}", by=None))
        elif value is not None and limit is not None:
            by = limit - value if metric.most else value - limit
            by /= abs(limit) or 1.0
            side = "below" if metric.most else "above"
            much = f"{by:.{0 if by >= 1 else 1}%}" if by >= 5e-4 else "less than 0.1%"
            excess = f"{much} {side} {candidate.written(option, limit)}"
            text = f"{metric.title} {candidate.written(option, value)} is {excess}"
            if by > 0:
                found.append(Broken(text=text, by=by))
    return tuple(found)


def _tie(best: Record, other: Record, samples: Samples | None) -> bool:
    """Whether the median latencies of two records cannot be told apart."""
    assert best.latency is not None and other.latency is not None
    if samples and best.session and best.session == other.session:
        interleaved = samples(best.session)
        ours, theirs = (interleaved.get(one.fingerprint, np.empty(0)) for one in (best, other))
        if len(ours) == len(theirs) > 0:
            found = compare_paired(ours, theirs)
            if found.verdict != "undecided":
                return found.verdict == "no difference"
            if found.enough:
                return found.ci_low <= 1 <= found.ci_high
    return (
        best.latency.ci_low_ms <= other.latency.ci_high_ms
        and other.latency.ci_low_ms <= best.latency.ci_high_ms
    )


def _dominates(one: Candidate, other: Candidate, options: Iterable[str]) -> bool:
    costs = [(one.cost(option), other.cost(option)) for option in options]
    return all(ours <= theirs for ours, theirs in costs) and any(
        ours < theirs for ours, theirs in costs if math.isfinite(theirs)
    )


def _reasons(
    choice: Candidate,
    fitting: Sequence[Candidate],
    tied: Sequence[Candidate],
    sound: Sequence[Candidate],
    objective: str,
) -> Iterator[str]:
    metric = CHOOSABLE[objective]
    extreme, name = "highest" if metric.most else "lowest", metric.title
    value = choice.written(objective, choice.figures[objective])
    if len(tied) == 1:
        yield f"{extreme} {name}, {value}, of {len(fitting)} that keep to every constraint"
    else:
        names = " and ".join(short(one.key) for one in tied)
        yield (
            f"{names} tie for the {extreme} {name} of {len(fitting)} that keep to every constraint"
        )
        if ruined := [short(one.key) for one in tied if one not in sound]:
            yield f"clearly less accurate than another of these, and left out: {', '.join(ruined)}"
        if objective == LATENCY and choice.figures[MEMORY] is not None:
            memory = choice.written(MEMORY, choice.figures[MEMORY])
            yield f"of these none takes less {CHOOSABLE[MEMORY].title} than its {memory}"


def _remarks(
    record: Record, reference: Record | None, choice: Candidate, constraints: Constraints
) -> Iterator[str]:
    """Remarks on the accuracy of the choice."""
    accuracy, least = record.accuracy, constraints.limits.get(ACCURACY)
    if accuracy and choice.accuracy_is == AGREEMENT:
        yield f"its accuracy is {AGREEMENT}, not accuracy on labelled data"
    if accuracy is None and record.is_compressed:
        yield "its network is compressed, and its accuracy is not known"
    elif accuracy and not accuracy.defined:
        yield f"its {accuracy.metric} is {score(accuracy.value)}"
    elif record.is_compressed and reference is None:
        yield "there is no cell of the uncompressed network to hold its accuracy against"
    elif constraints.any_accuracy and is_less_accurate(record, reference):
        yield inaccuracy(record, reference)
    if accuracy and least is not None and accuracy.ci_low < least:
        yield f"the 95 % interval of its accuracy reaches down to {accuracy.ci_low:.4g}"


def _left_out(records: Sequence[Record], kind: Kind) -> tuple[str, ...]:
    reasons = Counter(
        record.status if record.status != "ok" else f"{record.kind}, never ranked with {kind}"
        for record in records
        if record.status != "ok" or record.kind != kind
    )
    return tuple(f"{count} left out: {reason}" for reason, count in sorted(reasons.items()))
