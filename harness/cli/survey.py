"""The answer of `layeredge inspect` for files and folders: what can be used, and what it takes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.terminal import output
from harness.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from harness.inspection.survey import Surveyed

_SHOWN = 4
"""Nodes and files of a kind that are named."""


def show(paths: tuple[Path, ...], shapes: dict[str, tuple[int, ...]], *, as_json: bool) -> bool:
    """Survey files and folders, and print the answer. Whether all of them can be used."""
    from harness.inspection.process import surveyed
    from harness.inspection.survey import model_files

    files = list(dict.fromkeys(model_files(paths)))
    found = with_progress(files, surveyed(files, shapes))
    if as_json:
        click.echo(json.dumps([each.model_dump(mode="json") for each in found], indent=2))
    else:
        _print(found, output())
    return all(each.refusal is None for each in found)


def with_progress(files: Sequence[Path], found: Iterable[Surveyed]) -> list[Surveyed]:
    """The answers for files, with a bar of how many there are."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("importing", total=len(files))
        results: list[Surveyed] = []
        for each in found:
            results.append(each)
            progress.advance(task)
    return results


def _print(found: Sequence[Surveyed], console: Console) -> None:
    home = _home([each.path for each in found])
    usable = [each for each in found if each.refusal is None]
    unshaped = [each for each in usable if each.assumed]
    waiting = f", {len(unshaped)} of them with shapes that you give" if unshaped else ""
    refused = len(found) - len(usable)
    tail = f"; {refused} cannot" if refused else ""
    plural = "s" if len(found) > 1 else ""
    console.print(
        f"{len(found)} file{plural}: {len(usable)} can be used{waiting}{tail}", style="bold"
    )
    for each in found:
        console.print(_line(each, home), soft_wrap=True)
    _print_refusals(found, home, console)
    if unshaped:
        console.print(
            "\nShapes to give, with --shape or a sweep's `shapes`; these were tried:", style="bold"
        )
        for each in unshaped:
            console.print(f"  {_short(each.path, home)}  {_flags(each.assumed)}", soft_wrap=True)


def _line(found: Surveyed, home: Path) -> Text:
    """The answer for a file, and below it what the file says of itself: as lines, which are as wide
    as they need to be."""
    from rich.text import Text

    answer = Text(f"{_answer(found):<12}", style="red" if found.refusal else "green")
    line = answer + Text(_short(found.path, home), style="bold")
    about = found.description
    if about is not None:
        facts = (
            f"{found.format}, {about.version}",
            f"{about.nodes:,} node{'' if about.nodes == 1 else 's'}",
            f"quantized: {about.quantization}" if about.quantization else "",
            ", ".join(f"{name} {kind}" for name, kind in about.inputs.items()) or "no inputs",
            "a free batch is 1" if found.single else "",
            f"keeps state in {', '.join(about.state)}" if about.state else "",
        )
        said = printable(" · ".join(filter(None, facts)))
        line += Text(f"\n{'':12}{said}", style="dim")
    return line


def _answer(found: Surveyed) -> str:
    if found.refusal is not None:
        return "shapes?" if found.refusal.assumed else "no"
    return "with shapes" if found.assumed else "yes"


def _print_refusals(found: Sequence[Surveyed], home: Path, console: Console) -> None:
    """Refusals by operator, those of most files first; then the others."""
    by_operator: dict[tuple[str, str], list[str]] = {}
    others = []
    unknown = []
    for each in found:
        if each.refusal is None:
            continue
        if each.refusal.assumed:
            tried = _flags(each.refusal.assumed)
            said = printable(each.refusal.sentence)
            line = f"  {_short(each.path, home)}: with {tried}, {said}"
            unknown.append(line)
            continue
        for operator, nodes in each.refusal.nodes.items():
            place = f"{_short(each.path, home)}: {_listed(nodes)}"
            by_operator.setdefault((operator, each.refusal.reason), []).append(place)
        if not each.refusal.nodes:
            others.append(f"  {_short(each.path, home)}: {printable(each.refusal.sentence)}")
    if by_operator:
        console.print("\nOperators that are not supported:", style="bold")
    for (operator, reason), places in sorted(by_operator.items(), key=lambda each: -len(each[1])):
        console.print(f"  {operator}{f': {reason}' if reason else ''}", soft_wrap=True)
        for place in places:
            console.print(f"    {place}", style="dim", soft_wrap=True)
    if unknown:
        console.print("\nNot known without your shapes (--shape):", style="bold")
    for line in unknown:
        console.print(line, soft_wrap=True)
    if others:
        console.print("\nOther refusals:", style="bold")
        for line in others:
            console.print(line, soft_wrap=True)


def _listed(nodes: Sequence[str]) -> str:
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    return printable(", ".join(nodes[:_SHOWN])) + more


def _home(paths: Sequence[Path]) -> Path:
    """The folder that all files are in."""
    return Path(os.path.commonpath([each.absolute().parent for each in paths]))


def _short(path: Path, home: Path) -> str:
    return printable(str(path.absolute().relative_to(home)))


def _flags(shapes: Mapping[str, Sequence[int]]) -> str:
    """Shapes as --shape takes them."""
    return printable(
        " ".join(f"{name}={','.join(map(str, shape))}" for name, shape in shapes.items())
    )
