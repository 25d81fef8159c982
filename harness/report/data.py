"""The data of a report: the cells of a results folder, in groups that may be compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from harness.baselines.registry import ENGINES, reference_engine
from harness.errors import InputError
from harness.files.yaml import read_yaml
from harness.records import export
from harness.records.record import (
    BASELINE_CONFIGURATION,
    OWN_ENGINE,
    Accuracy,
    CellKey,
    Record,
    is_timed,
)
from harness.records.store import FILE_NAME, INTERVALS, SECONDS, SWEEP_COPY, Store
from harness.report.kernel_figures import KernelFigures, Roof, kernel_figures, roof_of
from harness.specs.settings import AXES, Settings
from harness.specs.sweep import Kind
from harness.statistics.verdicts import Verdict, compare_paired


def engine_name(engine: str) -> str:
    """How an engine is written in a sentence."""
    if engine in ENGINES:
        return ENGINES[engine].title
    return "TVM" if engine == OWN_ENGINE else engine


@dataclass(frozen=True)
class Cell:
    """One finished cell, and its raw samples.

    `interleaved` holds milliseconds per inference of every cell interleaved with this one, itself
    included, by fingerprint; entry i of each is round i. `intervals` holds those between two
    inferences of all copies of a network, where several run side by side. `roof` bounds its
    kernels, where that is known. `folder` is that of the results, and `named` the cell's names in
    it, which a page over several folders changes.
    """

    record: Record
    interleaved: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    roof: Roof | None = None
    intervals: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    folder: str = ""
    named: CellKey | None = None

    @property
    def key(self) -> CellKey:
        return self.record.key

    @property
    def own(self) -> bool:
        """Whether the cell is a configuration of ours, not an engine it is compared with."""
        return self.key.engine == OWN_ENGINE

    @property
    def label(self) -> str:
        """The configuration's name, or the engine's for a baseline."""
        if self.own:
            return self.key.configuration
        name = engine_name(self.key.engine)
        plain = self.key.configuration == BASELINE_CONFIGURATION
        return name if plain else f"{name} {self.key.configuration}"

    @property
    def timed(self) -> bool:
        """Whether the cell is good and has a latency that was measured."""
        record = self.record
        return record.status == "ok" and is_timed(record.kind) and record.latency is not None

    @property
    def median_ms(self) -> float:
        """The median latency of a timed cell."""
        assert self.record.latency is not None
        return self.record.latency.median_ms

    @property
    def accuracy(self) -> Accuracy | None:
        """The score where it is a number: for plots and comparisons of scores."""
        found = self.record.accuracy
        return found if found is not None and found.defined else None

    @property
    def samples_ms(self) -> np.ndarray:
        return self.interleaved.get(self.record.fingerprint, np.empty(0))

    @property
    def kernels(self) -> list[KernelFigures]:
        """Its kernels with their shares of the roofline, those that take longest first."""
        return kernel_figures(self.record, self.roof)

    def against(self, other: Cell) -> Verdict | None:
        """How this cell's latency stands to `other`'s, or None if they were not interleaved.

        The ratio is this cell's time over `other`'s: below 1, this one is faster.
        """
        return self._against(other, self.interleaved)

    def throughput_against(self, other: Cell) -> Verdict | None:
        """The same of the time between two inferences of all copies."""
        return self._against(other, self.intervals)

    def _against(self, other: Cell, samples: Mapping[str, np.ndarray]) -> Verdict | None:
        ours, theirs = (samples.get(cell.record.fingerprint, np.empty(0)) for cell in (self, other))
        if not (self.timed and other.timed) or len(ours) != len(theirs) or not len(ours):
            return None
        return compare_paired(theirs, ours)


@dataclass(frozen=True)
class Group:
    """The finished cells of one model on one target, with the same settings and of one kind: they
    may be ranked."""

    model: str
    target: str
    kind: Kind
    title: str
    cells: tuple[Cell, ...]
    settings: Settings = field(default_factory=Settings)
    along: Mapping[str, tuple[Group, ...]] = field(default_factory=dict, repr=False)
    """The groups that differ from this one in a single setting, by its axis, this one first."""
    run: str = ""
    """The folder, on a page over several."""
    runs: tuple[Group, ...] = field(default=(), repr=False)
    """The groups of the same cells in all folders, in order of time, this one first."""

    @property
    def place(self) -> tuple[str, str, Settings]:
        return self.model, self.target, self.settings

    @property
    def same_title(self) -> str:
        """What the cells of all `runs` are of."""
        model, target, settings = (self.cells[0].named or self.cells[0].key).place
        return _title(f"{model} on {target}", settings)

    @cached_property
    def timed(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if cell.timed)

    @cached_property
    def own(self) -> tuple[Cell, ...]:
        """The timed configurations, in the plan's order."""
        return tuple(cell for cell in self.timed if cell.own)

    @cached_property
    def latest_session(self) -> str | None:
        """The session in which cells were measured last."""
        last = max(self.timed, key=lambda cell: cell.record.finished_at or "", default=None)
        return last.record.session if last else None

    @cached_property
    def fastest(self) -> Cell | None:
        """The configuration with the lowest median latency."""
        return min(self.own, key=lambda cell: cell.median_ms, default=None)

    @cached_property
    def reference_engine(self) -> str:
        """The engine that cells are compared with: the reference of the model's format, which is
        unknown for a file that could not be read."""
        models = (cell.record.spec.get("model", {}) for cell in self.cells)
        formats = [model["format"] for model in models if model.get("format")]
        return reference_engine(formats[0] if formats else "onnx")

    @property
    def reference_name(self) -> str:
        return engine_name(self.reference_engine)

    @cached_property
    def reference(self) -> Cell | None:
        """The timed cell of the reference engine."""
        wanted = BASELINE_CONFIGURATION, self.reference_engine
        found = (cell for cell in self.timed if (cell.key.configuration, cell.key.engine) == wanted)
        return next(found, None)

    def cell(self, fingerprint: str) -> Cell:
        """The cell whose record has this fingerprint."""
        return next(cell for cell in self.cells if cell.record.fingerprint == fingerprint)

    def against_reference(self, cell: Cell) -> Verdict | None:
        """How a cell stands to the reference; None for itself and where it cannot be said."""
        if self.reference is None or cell is self.reference:
            return None
        return cell.against(self.reference)


def lowest(cells: Iterable[Cell], figure: Callable[[Cell], float | None]) -> Cell | None:
    """The cell with the lowest figure, those without one last; None of no cells."""

    def order(cell: Cell) -> float:
        found = figure(cell)
        return float("inf") if found is None else found

    return min(cells, key=order, default=None)


@dataclass(frozen=True)
class Results:
    """All there is to report. `name` is the sweep's, `folder` the results folder as given."""

    name: str
    folder: str
    table: pd.DataFrame
    cells: tuple[Cell, ...]
    groups: tuple[Group, ...]

    @property
    def without(self) -> tuple[str, ...]:
        """The columns of targets and settings that have the same value in all cells."""
        titles = {"target": "Target"} | {name: axis.title for name, axis in AXES.items()}
        same = (name for name in titles if self.table[name].nunique(dropna=False) <= 1)
        return tuple(titles[name] for name in same)

    @property
    def reference_names(self) -> tuple[str, ...]:
        """The engines that measured cells are compared with, by their models' formats."""
        names = (group.reference_name for group in self.groups if is_timed(group.kind))
        return tuple(dict.fromkeys(names))

    def samples_of(self, session: str) -> Mapping[str, np.ndarray]:
        """Raw samples of a session by fingerprint, in milliseconds."""
        found = (cell.interleaved for cell in self.cells if cell.record.session == session)
        return next(found, {})

    @property
    def counts(self) -> dict[str, int]:
        """Number of planned cells by status, those that occur."""
        found = self.table["status"].value_counts()
        order = ("ok", "failed", "skipped", export.PENDING)
        return {status: int(found[status]) for status in order if status in found}


def load(results_dir: Path) -> Results:
    """Read a results folder. Raises InputError when it holds no results."""
    with Store(results_dir / FILE_NAME) as store:
        records = store.records()
        table = export.table(store)
        sessions = {record.session for record in records if record.session}
        interleaved, intervals = (
            {
                session: {mark: 1e3 * each for mark, each in store.samples(session, of).items()}
                for session in sessions
            }
            for of in (SECONDS, INTERVALS)
        )
    here: dict[tuple[str, int | None], list[Record]] = {}
    for record in records:
        here.setdefault(_machine(record.key), []).append(record)
    roofs = {machine: roof_of(found) for machine, found in here.items()}
    cells = tuple(
        Cell(
            record,
            interleaved.get(record.session or "", {}),
            roofs[_machine(record.key)],
            intervals.get(record.session or "", {}),
            str(results_dir),
            record.key,
        )
        for record in records
    )
    return Results(
        name=_sweep_name(results_dir) or results_dir.resolve().name,
        folder=str(results_dir),
        table=table,
        cells=cells,
        groups=grouped(cells),
    )


def _sweep_name(results_dir: Path) -> str | None:
    """The name in the copy of the sweep that `layeredge run` leaves in the folder."""
    try:
        sweep, _ = read_yaml(results_dir / SWEEP_COPY)
    except InputError:
        return None
    name = sweep.get("name") if isinstance(sweep, dict) else None
    return name if isinstance(name, str) else None


def _machine(key: CellKey) -> tuple[str, int | None]:
    """Target and number of threads, which bound a kernel's speed."""
    return key.target, key.settings.threads


def grouped(cells: Sequence[Cell]) -> tuple[Group, ...]:
    """The cells in groups that may be ranked, in the order of their first cells."""
    several_targets = len({cell.key.target for cell in cells}) > 1
    members: dict[tuple[tuple[str, str, Settings], Kind], list[Cell]] = {}
    for cell in cells:
        members.setdefault((cell.key.place, cell.record.kind), []).append(cell)
    groups = [
        Group(
            model=model,
            target=target,
            settings=settings,
            kind=kind,
            title=_title(f"{model} on {target}" if several_targets else model, settings)
            + ("" if is_timed(kind) else f" ({kind})"),
            cells=tuple(found),
        )
        for ((model, target, settings), kind), found in members.items()
    ]
    return tuple(replace(group, along=_along(group, groups)) for group in groups)


def _title(what: str, settings: Settings) -> str:
    return f"{what} ({settings})" if settings.given else what


def _along(group: Group, groups: Sequence[Group]) -> dict[str, tuple[Group, ...]]:
    """Where a group has the lowest value on an axis, those with others and all else the same."""
    found = {}
    for axis in AXES:
        same = [
            each
            for each in groups
            if (each.model, each.target, each.kind) == (group.model, group.target, group.kind)
            and each.settings.model_copy(update={axis: None})
            == group.settings.model_copy(update={axis: None})
            and getattr(each.settings, axis) is not None
        ]
        same.sort(key=lambda each: int(getattr(each.settings, axis)))
        if len(same) > 1 and same[0] is group:
            found[axis] = tuple(same)
    return found


def pareto_front(points: Iterable[tuple[float, float]]) -> list[int]:
    """Indices of the (cost, worth) points that no other point beats, cheapest first.

    A point is beaten by one that costs no more and is worth no less, and is better in one of both.
    One with a NaN is not on the front.
    """
    known = [(at, point) for at, point in enumerate(points) if not any(map(math.isnan, point))]
    ordered = sorted(known, key=lambda item: (item[1][0], -item[1][1], item[0]))
    front: list[int] = []
    best: tuple[float, float] | None = None
    for index, (cost, worth) in ordered:
        if best is None or worth > best[1] or (cost, worth) == best:
            front.append(index)
            best = (cost, worth)
    return front
