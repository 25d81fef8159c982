"""What to deploy: for each model on each target one cell, its gain, its cost, and the command.

The cell is the one that `layeredge select` chooses without limits, of all engines.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from harness.records.accuracy import of_few, score, uncompressed
from harness.records.candidates import Constraints
from harness.records.metrics import CHOOSABLE, LATENCY
from harness.records.record import AGREEMENT, is_timed
from harness.records.select import Selection, select
from harness.report.data import Cell, Group, Results
from harness.report.wording import in_words, listed, number, times_as_fast
from harness.specs.settings import AXES
from harness.statistics.verdicts import Outcome, Verdict

Standing = Outcome | Literal["not known", "not timed"]
_MOST_NAMED = 3


@dataclass(frozen=True)
class Answer:
    """The answer for one `model` on one `target`.

    `deploy` names the cell, empty where none can be deployed. `standing` is the verdict on its
    latency beside the reference engine's, `speed` how many times as fast it is, `sure` the interval
    and the reason of an undecided verdict. `accuracy` and `memory` are its figures beside those of
    the cell compared with. `note` holds what else decides: ties, and faster cells that are clearly
    less accurate. `command` exports the cell, empty where there is nothing to export.
    """

    title: str
    model: str
    target: str
    deploy: str
    standing: Standing
    speed: str
    sure: str = ""
    accuracy: str = ""
    memory: str = ""
    note: str = ""
    command: str = ""

    @property
    def figures(self) -> tuple[str, ...]:
        """Speed, accuracy, memory and what else decides, those that there are."""
        sure = f" ({self.sure})" if self.sure else ""
        return tuple(filter(None, (self.speed + sure, self.accuracy, self.memory, self.note)))


def in_lines(answer: Answer) -> list[str]:
    """The answer for a terminal: the choice and its speed, its cost, and the command."""
    deploy = f"deploy {answer.deploy}" if answer.deploy else "nothing to deploy"
    speed, *rest = answer.figures or ("",)
    more = ["; ".join(rest), answer.command]
    return [": ".join(filter(None, (answer.title, deploy, speed)))] + [
        f"  {line}" for line in more if line
    ]


def answers(results: Results) -> list[Answer]:
    """An answer for each model on each target, in the plan's order."""
    return [_answer(group, results) for group in results.groups]


def _answer(group: Group, results: Results) -> Answer:
    found = select(
        [cell.record for cell in group.cells],
        Constraints(),
        kind=group.kind,
        samples=results.samples_of,
        beside=[cell.record for cell in results.cells],
    )
    answer = partial(Answer, group.title, group.model, group.target)
    if found.choice is None:
        return answer("", "not known", "", note=_why_nothing(group, found))
    chosen = group.cell(found.choice.fingerprint)
    passed_over, best_own = _passed_over(group, found, chosen), _best_own(group, found, chosen)
    note = "; ".join([*_ties(group, found), *passed_over, *best_own])
    command = _command(chosen, results) if chosen.own else ""
    if not is_timed(group.kind):
        figure = found.choice.written(found.objective, found.choice.figures[found.objective])
        least = f"least {CHOOSABLE[found.objective].title}: {figure}"
        return answer(
            chosen.label,
            "not timed",
            least,
            accuracy=_accuracy(chosen, None),
            note=note,
            command=command,
        )
    beside = _beside(group, chosen)
    verdict = chosen.against(beside) if beside else None
    standing, speed, sure = _speed(group, chosen, beside, verdict)
    return answer(
        chosen.label,
        standing,
        speed,
        sure,
        accuracy=_accuracy(chosen, _scored(group, beside)),
        memory=_memory(chosen, beside),
        note=note,
        command=command,
    )


def _beside(group: Group, chosen: Cell) -> Cell | None:
    """The timed cell that the chosen one is compared with: the reference engine's, or else the
    first one of the uncompressed network; for the reference engine itself the fastest
    configuration."""
    if chosen is group.reference:
        return group.fastest
    whole = (cell for cell in group.timed if cell is not chosen and not cell.record.is_compressed)
    return group.reference or next(whole, None)


def _speed(
    group: Group, chosen: Cell, beside: Cell | None, verdict: Verdict | None
) -> tuple[Standing, str, str]:
    taken = f"{number(chosen.median_ms)} ms"
    if beside is None:
        alone = chosen is group.reference
        why = "nothing to compare with" if alone else f"{group.reference_name} has no latency here"
        return "not known", taken, why
    # Of the rounds that the verdict is of: a record keeps its latency when a later run measures it
    # beside others.
    theirs = chosen.interleaved.get(beside.record.fingerprint)
    known = beside.median_ms if theirs is None or not len(theirs) else float(np.median(theirs))
    instead = f"{number(chosen.median_ms)} instead of {number(known)} ms"
    missing = "" if group.reference else f"{group.reference_name} has no latency here"
    if verdict is None:
        return "not known", f"{instead} ({beside.label})", missing or "not measured together"
    standing: Standing = verdict.verdict if group.reference else "not known"
    sure = f"95 %: {times_as_fast(verdict)[1]}×"
    return (
        standing,
        f"{in_words(verdict, beside.label)}, {instead}",
        "; ".join(filter(None, (sure, verdict.reason, missing))),
    )


def _scored(group: Group, beside: Cell | None) -> Cell | None:
    """The cell whose score the chosen one's is shown beside: that of the uncompressed network."""
    record = uncompressed(cell.record for cell in group.cells)
    return beside if record is None else group.cell(record.fingerprint)


def _accuracy(chosen: Cell, beside: Cell | None) -> str:
    found = chosen.record.accuracy
    if found is None:
        return "not scored"
    if found.metric == AGREEMENT:
        return f"agrees with the reference on {100 * found.value:.4g} % of {found.samples:,} inputs"
    other = beside.record.accuracy if beside and beside is not chosen else None
    metric = found.metric + of_few(found)
    said = f"{score(found.value)} {metric}"
    if other is None or other.metric != found.metric:
        return said
    if other.value == found.value:
        return f"{said}, as {beside.label if beside else ''}"
    return f"{score(found.value)} instead of {score(other.value)} {metric}"


def _memory(chosen: Cell, beside: Cell | None) -> str:
    ours, theirs = (
        cell.record.memory.peak_rss_mb if cell and cell.record.memory else None
        for cell in (chosen, beside)
    )
    if ours is None:
        return "not measured"
    return (
        f"{number(ours)} MB" if theirs is None else f"{number(ours)} instead of {number(theirs)} MB"
    ) + " at its peak"


def _ties(group: Group, found: Selection) -> list[str]:
    """The cells whose latency cannot be told from the chosen one's."""
    names = [group.cell(one.candidate.fingerprint).label for one in found.runners_up if one.tied]
    return [f"ties with {listed(names, _MOST_NAMED)}"] if names else []


def _passed_over(group: Group, found: Selection, chosen: Cell) -> list[str]:
    """Faster cells that were left out because they are clearly less accurate."""
    if found.objective != LATENCY:
        return []
    cells = [group.cell(one.candidate.fingerprint) for one in found.rejected]
    faster = [cell for cell in cells if cell.timed and cell.median_ms < chosen.median_ms]
    if not faster:
        return []
    fastest = min(faster, key=lambda cell: cell.median_ms)
    accuracy = fastest.record.accuracy
    scored = f", but scores {score(accuracy.value)}" if accuracy else ""
    more = f"; {len(faster) - 1} more like it" if len(faster) > 1 else ""
    return [f"{fastest.label} takes {number(fastest.median_ms)} ms{scored}{more}"]


def _best_own(group: Group, found: Selection, chosen: Cell) -> list[str]:
    """The best configuration where another engine was chosen."""
    cells = [group.cell(one.candidate.fingerprint) for one in found.runners_up]
    best = next((cell for cell in cells if cell.own and cell.timed), None)
    if chosen.own or best is None:
        return []
    verdict = best.against(chosen)
    beside = f", {in_words(verdict, chosen.label)}" if verdict else ""
    return [f"best configuration: {best.label}, {number(best.median_ms)} ms{beside}"]


def _why_nothing(group: Group, found: Selection) -> str:
    if not any(cell.own for cell in group.cells):
        return "no configuration has finished yet"
    reasons = dict.fromkeys(broken.text for one in found.rejected for broken in one.broken)
    if reasons:
        return "; ".join([*reasons][:_MOST_NAMED])
    return "no cell is ok; the reasons are below"


def _command(chosen: Cell, results: Results) -> str:
    """The command that exports the cell, with the options that tell it from others here."""
    key = chosen.named or chosen.key
    keys = [cell.named or cell.key for cell in results.cells if cell.folder == chosen.folder]
    keys = [each for each in keys if each.model == key.model]
    words = ["layeredge", "select", chosen.folder or results.folder, "--model", key.model]
    folder = [f"deploy/{key.model}"]
    if len({each.target for each in keys}) > 1:
        words += ["--target", key.target]
        folder.append(key.target)
    for name in AXES:
        value = getattr(key.settings, name)
        if value is not None and len({getattr(each.settings, name) for each in keys}) > 1:
            words += [f"--{name}", str(value)]
            folder.append(f"{name}{value}")
    if not is_timed(chosen.record.kind):
        words += ["--kind", chosen.record.kind]
    words += ["--configuration", key.configuration]
    if len({each.engine for each in keys if each.configuration == key.configuration}) > 1:
        words += ["--engine", key.engine]
    words += ["--export", "-".join(folder)]
    return shlex.join(words)
