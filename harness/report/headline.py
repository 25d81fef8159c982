"""The findings in words: the fastest configuration, and its comparison with other engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.records.accuracy import is_less_accurate, score, uncompressed
from harness.records.compiled_code import Static
from harness.records.record import is_timed
from harness.report.data import Cell, Group, Results
from harness.report.edge_figures import accuracy_of
from harness.report.wording import WITHIN, number, share, with_interval
from harness.statistics import BUSY_SCATTER, OUTCOMES, Outcome, Verdict

Standing = Outcome | Literal["not known", "not timed"]
_STANDINGS: tuple[Standing, ...] = (*OUTCOMES, "not known")
_BESIDE: Mapping[Outcome, str] = {
    "no difference": f"no difference from {{}} to within {WITHIN}",
    "undecided": "undecided against {}",
    "slower": "slower than {}, interleaved",
}
"""Phrases for configurations that the one with the lowest median is not faster than."""
_MOST_NAMED = 4


@dataclass(frozen=True)
class Finding:
    """One model's finding. `ratio` is a text such as `0.71×`, empty where nothing is known."""

    title: str
    standing: Standing
    ratio: str
    sentence: str


def findings(results: Results) -> list[Finding]:
    """A finding for each model on each target, in the plan's order."""
    return [_finding(group) for group in results.groups]


def summary(results: Results, found: Sequence[Finding]) -> list[str]:
    """The cells run, the number of cases in which our fastest is faster or slower than the
    reference, and whether the machine had other work."""
    counts = results.counts
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    planned = sum(counts.values())
    lines = [f"{planned} {'cell' if planned == 1 else 'cells'} planned: {said or 'none'}."]
    timed = [finding for finding in found if finding.standing != "not timed"]
    standings = Counter(finding.standing for finding in timed)
    parts = [
        f"{standing} in {standings[standing]}" for standing in _STANDINGS if standings[standing]
    ]
    if parts:
        whole, listed = sum(standings.values()), " or ".join(results.reference_names)
        lines.append(
            f"The fastest configuration of each model against {listed}, {whole} "
            f"{'case' if whole == 1 else 'cases'}: {', '.join(parts)}."
        )
    return [*lines, *_busy(results.groups)]


def _busy(groups: Sequence[Group]) -> list[str]:
    """A line on the machine where it had other work while some of the models were measured."""
    scatters = {group.title: _scatter(group) for group in groups}
    busy = {title: scatter for title, scatter in scatters.items() if scatter > BUSY_SCATTER}
    if not busy:
        return []
    names = [*busy] if len(busy) <= _MOST_NAMED else [f"{len(busy)} of {len(groups)} models"]
    return [
        f"The machine had other work while {_listed(names)} ran: single rounds scatter by "
        f"up to {share(max(busy.values()))}, so that small differences stay undecided; "
        "layeredge run … --measure-again measures anew."
    ]


def _scatter(group: Group) -> float:
    """The largest scatter of single rounds of any timed cell beside the reference, or beside the
    first where there is none."""
    beside = group.reference or next(iter(group.timed), None)
    found = [cell.against(beside) for cell in group.timed if beside and cell is not beside]
    return max((verdict.scatter for verdict in found if verdict), default=0.0)


def _finding(group: Group) -> Finding:
    if not is_timed(group.kind):
        return Finding(group.title, "not timed", "", _untimed(group))
    quickest = group.fastest
    if quickest is None:
        return Finding(group.title, "not known", "", _why_nothing(group))
    # If no configuration keeps the accuracy, all are ranked, and that is said.
    ranked = _as_accurate(group) or group.own
    fastest = min(ranked, key=lambda cell: cell.median_ms)
    standing, ratio, against = _against_reference(group, fastest)
    said = (
        _fastest_sentence(group, ranked, fastest),
        against,
        _against_others(group, fastest),
        _at_what_accuracy(group, quickest, fastest),
    )
    return Finding(group.title, standing, ratio, " ".join(filter(None, said)))


def _as_accurate(group: Group) -> tuple[Cell, ...]:
    """The timed configurations that the records do not show to be less accurate than the
    uncompressed network."""
    whole = uncompressed(cell.record for cell in group.cells)
    return tuple(cell for cell in group.own if not is_less_accurate(cell.record, whole))


def _uncompressed(group: Group) -> Cell | None:
    found = uncompressed(cell.record for cell in group.cells)
    return next((cell for cell in group.cells if cell.record is found), None)


def _fastest_sentence(group: Group, ranked: Sequence[Cell], fastest: Cell) -> str:
    latency = fastest.record.latency
    assert latency is not None
    median, interval = with_interval(latency.median_ms, latency.ci_low_ms, latency.ci_high_ms)
    figures = f"{median} ms (95 % interval {interval})"
    some = len(ranked) < len(group.own)
    whole = _uncompressed(group)
    among = f"Of those not clearly less accurate than {whole.label}, " if some and whole else ""
    others = [cell for cell in ranked if cell is not fastest]
    if len(group.own) == 1:
        return f"{fastest.label}, the only configuration with a latency, takes {figures}."
    verdicts = [(cell.label, fastest.against(cell)) for cell in others]
    apart = [label for label, found in verdicts if found is None]
    notes = []
    for outcome, said in _BESIDE.items():
        if names := [label for label, found in verdicts if found and found.verdict == outcome]:
            notes.append(said.format(_listed(names)))
    if not notes and not apart:
        return f"{among}{fastest.label} is the fastest configuration: {figures}."
    if apart:
        notes.append(f"{_listed(apart)} not interleaved with it")
    return f"{among}{fastest.label} has the lowest median, {figures}; {'; '.join(notes)}."


def _at_what_accuracy(group: Group, quickest: Cell, fastest: Cell) -> str:
    """The score of the fastest if that is below the reference's, by chance or not, and the one that
    is faster at an accuracy that nobody should miss."""
    said = []
    if _loses(group, fastest):
        said.append(f"{fastest.label} has {_scores(group, fastest)}.")
    if quickest is not fastest:
        taken = number(quickest.median_ms)
        said.append(f"{quickest.label} takes {taken} ms, but has {_scores(group, quickest)}.")
    return " ".join(said)


def _loses(group: Group, cell: Cell) -> bool:
    whole = _uncompressed(group)
    wanted, found = whole.record.accuracy if whole else None, cell.record.accuracy
    if wanted is None or found is None or found.metric != wanted.metric:
        return False
    return not (found.defined and found.value >= wanted.value)


def _scores(group: Group, cell: Cell) -> str:
    whole = _uncompressed(group)
    assert whole is not None
    found, wanted = accuracy_of(cell), accuracy_of(whole)
    return (
        f"a {found.metric} of {score(found.value)}, where {whole.label} has {score(wanted.value)}"
    )


def _against_reference(group: Group, fastest: Cell) -> tuple[Standing, str, str]:
    reference = group.reference
    if reference is None:
        return (
            "not known",
            "",
            f"How it stands to {group.reference_name} is not known: {_why_no(group)}.",
        )
    found = fastest.against(reference)
    if found is None:
        return "not known", "", _apart(reference)
    return (
        found.verdict,
        f"{with_interval(found.ratio, found.ci_low, found.ci_high)[0]}×",
        _compared(found, reference),
    )


def _against_others(group: Group, fastest: Cell) -> str:
    """How the fastest stands to the other engines, which are named as plainly as the reference."""
    others = [cell for cell in group.timed if not cell.own and cell is not group.reference]
    verdicts = [(cell, fastest.against(cell)) for cell in others]
    return " ".join(_compared(found, cell) if found else _apart(cell) for cell, found in verdicts)


def _compared(found: Verdict, engine: Cell) -> str:
    ratio, interval = with_interval(found.ratio, found.ci_low, found.ci_high)
    times = f"it takes {ratio} times as long ({interval})"
    said: Mapping[Outcome, str] = {
        "faster": f"Faster than {engine.label}: {times}",
        "slower": f"Slower than {engine.label}: {times}",
        "no difference": f"No difference from {engine.label} to within {WITHIN}: {times}",
        "undecided": f"Undecided against {engine.label}: {times}; {found.reason}",
    }
    return f"{said[found.verdict]}."


def _apart(engine: Cell) -> str:
    return f"{engine.label}'s {number(engine.median_ms)} ms was not measured together with it."


def _untimed(group: Group) -> str:
    """Findings on configurations that were counted or analysed; the least of each is named,
    and never beside another kind's."""
    own = [cell for cell in group.cells if cell.own and cell.record.status == "ok"]
    counted = {cell.label: cell.record.instructions for cell in own if cell.record.instructions}
    analysed = {cell.label: cell.record.static for cell in own if cell.record.static}
    if counted:
        least = min(counted, key=lambda label: counted[label].total)
        return f"{least} executes fewest instructions, {counted[least].total:,} an inference."
    if analysed:
        least = min(analysed, key=lambda label: len(analysed[label].launches))
        found = analysed[least]
        return (
            f"{least} launches fewest functions, {len(found.launches)}, with "
            f"{found.registers_max} registers at most and {found.spill_bytes:,} bytes spilled."
            + _least_estimate(analysed)
        )
    return f"Nothing was timed here: these records are {group.kind}."


def _least_estimate(analysed: Mapping[str, Static]) -> str:
    known = {
        label: static.estimate_ms
        for label, static in analysed.items()
        if static.estimate_ms is not None
    }
    if not known:
        return ""
    least = min(known, key=lambda label: known[label])
    return f" {least} has the lowest static estimate, {number(known[least])} ms: not a latency."


def _why_nothing(group: Group) -> str:
    own = [cell for cell in group.cells if cell.own]
    if not own:
        return "No configuration has finished yet."
    said = Counter(cell.record.status for cell in own)
    if set(said) == {"ok"}:
        return "No configuration has a latency."
    listed = ", ".join(f"{count} {status}" for status, count in said.items())
    return f"No configuration has a latency: {listed}; the reasons are below."


def _why_no(group: Group) -> str:
    for cell in group.cells:
        if cell.key.engine == group.reference_engine and cell.record.status != "ok":
            return f"it {'failed' if cell.record.status == 'failed' else 'was skipped'} here"
    return "it was not measured here"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
