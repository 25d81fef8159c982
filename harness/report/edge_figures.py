"""Effects of dropping edges: compressed configurations beside their dense one and beside controls.

Scores, patterns and whatever else was done to the edges are names here, as the records have them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.records.record import Accuracy, LayerCompression
from harness.report.data import Cell, Group
from harness.specs.scores import SCORES
from harness.statistics.verdicts import Verdict, compare_paired

_ABOUT_THE_CHOICE = {"score", "shuffle", "sparsity"}
"""Fields that decide which edges go, and how many; cells that differ in others do not compare."""


@dataclass(frozen=True)
class Speed:
    """How many times as fast as its dense configuration a cell is, with its 95 % interval, and the
    share of weights it dropped, in percent."""

    dropped: float
    times: float
    low: float
    high: float


@dataclass(frozen=True)
class BreakEven:
    """The percentage of weights dropped from which on a line of speeds stays above 1, read off
    between the measured ones, and where its interval does. Minus infinity: it always was; plus
    infinity: it is not at the end."""

    at: float
    low: float
    high: float


def compressed(group: Group) -> list[Cell]:
    """The good configurations with compressed edges, timed or not, in the plan's order."""
    return [
        cell
        for cell in group.cells
        if cell.own and cell.record.status == "ok" and cell.record.edges is not None
    ]


def series_name(cell: Cell) -> str:
    """The configuration as the sweep has it, without its sparsity."""
    edges = cell.record.edges
    suffix = "" if edges is None else f"@{edges.sparsity:g}"
    return cell.key.configuration.removesuffix(suffix)


def series(group: Group) -> dict[str, list[Cell]]:
    """The timed cells with compressed edges by configuration, least sparse first."""
    found: dict[str, list[Cell]] = defaultdict(list)
    for cell in group.own:
        if cell.record.edges is not None:
            found[series_name(cell)].append(cell)
    for cells in found.values():
        cells.sort(key=dropped)
    return dict(found)


def dropped(cell: Cell) -> float:
    """The share of weights that is gone, in percent."""
    assert cell.record.edges is not None
    return 100 * cell.record.edges.sparsity_measured


def dense_of(cell: Cell, group: Group) -> Cell | None:
    """The cell that differs from this one in its edges only, which it has all."""
    wanted = _without_edges(cell)
    found = (other for other in group.own if other.record.edges is None)
    return next((other for other in found if _without_edges(other) == wanted), None)


def speed(cell: Cell, group: Group) -> Speed | None:
    """How a cell stands to its dense one, or None where they were not interleaved."""
    dense = dense_of(cell, group)
    found = cell.against(dense) if dense else None
    if found is None or found.ci_low <= 0:
        return None
    return Speed(dropped(cell), *found.times_as_fast)


def break_even(speeds: Sequence[Speed]) -> BreakEven | None:
    """Where a configuration's speeds, least sparse first, cross 1 for good; None without any."""
    if not speeds:
        return None
    across = [speed.dropped for speed in speeds]
    return BreakEven(
        _last_crossing(across, [speed.times for speed in speeds]),
        _last_crossing(across, [speed.high for speed in speeds]),
        _last_crossing(across, [speed.low for speed in speeds]),
    )


def _last_crossing(across: Sequence[float], up: Sequence[float]) -> float:
    below = [at for at, value in enumerate(up) if value < 1]
    if not below:
        return -math.inf
    before = below[-1]
    if before == len(up) - 1:
        return math.inf
    part = (1 - up[before]) / (up[before + 1] - up[before])
    return across[before] + part * (across[before + 1] - across[before])


def is_control(cell: Cell) -> bool:
    """Whether the edges were chosen by chance: at random, or shuffled within each layer."""
    assert cell.record.edges is not None
    return SCORES[cell.record.edges.score].control or bool(_edges_asked(cell).get("shuffle"))


def treatment(cell: Cell) -> dict[str, object]:
    """The treatment of the edges beside their choice: cells that differ in it cannot tell whether
    a choice was a good one."""
    asked = {"reconstruct": False, "finetune": None, **_edges_asked(cell)}
    about = _ABOUT_THE_CHOICE
    if not asked["reconstruct"] and not asked["finetune"]:
        # Scores look at some inputs, or at none; nothing else does.
        about = about | {"calibration"}
    return {key: value for key, value in asked.items() if key not in about}


def accuracy_of(cell: Cell) -> Accuracy:
    """The accuracy of a cell that was scored."""
    assert cell.record.accuracy is not None
    return cell.record.accuracy


def spending(cell: Cell) -> str:
    """The budget of a cell's layers: `uniform` if all are equally sparse."""
    return str(_but_how_sparse(cell)["budget"])


def uniform_line(cell: Cell, group: Group) -> list[Cell]:
    """The timed and scored cells whose layers are all as sparse and that do all else as this one,
    and the dense one."""
    wanted = {**_but_how_sparse(cell), "budget": "uniform"}
    found = [
        other
        for other in group.own
        if other.record.edges is not None
        and _but_how_sparse(other) == wanted
        and _without_edges(other) == _without_edges(cell)
    ]
    dense = dense_of(cell, group)
    return [each for each in (*found, dense) if each is not None and each.accuracy]


def at_equal_accuracy(cell: Cell, line: Sequence[Cell]) -> tuple[Cell, Cell, Verdict] | None:
    """A cell's latency over that of a line of others at the same accuracy: the two
    cells of the line that are nearest in accuracy, the lower one first, and the verdict. None where
    the line does not reach as far, and where they were not all interleaved.

    Between two cells the logarithm of the latency changes evenly with the accuracy, round by round.
    """
    wanted = accuracy_of(cell).value
    ordered = sorted(line, key=lambda each: accuracy_of(each).value)
    below = next((each for each in reversed(ordered) if accuracy_of(each).value <= wanted), None)
    above = next((each for each in ordered if accuracy_of(each).value >= wanted), None)
    if below is None or above is None or not cell.timed:
        return None
    low, high = accuracy_of(below).value, accuracy_of(above).value
    part = (wanted - low) / (high - low) if high > low else 0.5
    ours = cell.samples_ms
    one, two = (
        cell.interleaved.get(each.record.fingerprint, np.empty(0)) for each in (below, above)
    )
    if not len(ours) == len(one) == len(two) or not len(ours):
        return None
    there = np.exp((1 - part) * np.log(one) + part * np.log(two))
    return below, above, compare_paired(there, ours)


def layers_of(cells: Iterable[Cell]) -> list[LayerCompression]:
    """The layers that any of the cells has, in the network's order, as the first of them has it."""
    found: dict[str, LayerCompression] = {}
    for cell in cells:
        for layer in cell.record.edges.layers if cell.record.edges else ():
            found.setdefault(layer.name, layer)
    return list(found.values())


def kept_shares(cell: Cell) -> dict[str, float]:
    """Layer to the share of its edges that is left."""
    edges = cell.record.edges
    layers = edges.layers if edges else ()
    return {layer.name: layer.parameters_kept / layer.parameters for layer in layers}


def _edges_asked(cell: Cell) -> dict[str, object]:
    return dict((cell.record.spec.get("configuration") or {}).get("edges") or {})


def _but_how_sparse(cell: Cell) -> dict[str, object]:
    asked = {"budget": "uniform", **_edges_asked(cell)}
    return {key: value for key, value in asked.items() if key != "sparsity"}


def _without_edges(cell: Cell) -> dict[str, object]:
    configuration = cell.record.spec.get("configuration") or {}
    return {key: value for key, value in configuration.items() if key not in {"name", "edges"}}
