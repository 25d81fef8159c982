"""`layeredge compare`: two results folders, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.terminal import output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from harness.records.compare import CellComparison, Comparison


@click.command("compare")
@click.argument("dir_a", type=click.Path(path_type=Path))
@click.argument("dir_b", type=click.Path(path_type=Path))
@click.option(
    "--threshold",
    type=click.FloatRange(min=0),
    default=0.05,
    show_default=True,
    help="How much slower a cell may get, as a share: 0.05 is 5 %.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="End with 1 also where a latency is undecided or could not be compared.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML to this file too.")
@click.pass_context
def command(
    context: click.Context,
    dir_a: Path,
    dir_b: Path,
    threshold: float,
    strict: bool,
    as_json: bool,
    junit: Path | None,
) -> None:
    """Say which cells of DIR_B are faster or slower than in DIR_A, and by how much.

    Cells are matched by model, target, configuration and engine. "Faster" and "slower" are said
    where a rank test, a 95 % interval and a minimum effect of 2 % agree, "no difference" where the
    whole interval is within 2 % of 1. All else is "undecided", and listed as such: take more
    samples, on a quieter machine. A threshold below 2 % takes the place of the 2 %.

    \b
    Exit code: 0 no regression
               1 a cell got slower by more than the threshold, failed, or lost accuracy;
                 with --strict also where a latency is undecided or could not be compared
               2 bad input

    \b
    Example, as a gate before merging:
      layeredge run sweep.yaml --out results/before
      layeredge run sweep.yaml --out results/after
      layeredge compare results/before results/after --threshold 0.03
    """
    from harness.files.atomic import write_atomically
    from harness.records.compare import compare_results
    from harness.records.formats import junit_of
    from harness.records.store import FILE_NAME, Store

    with Store(dir_a / FILE_NAME) as store_a, Store(dir_b / FILE_NAME) as store_b:
        comparison = compare_results(store_a, store_b, threshold)
    if junit is not None:
        write_atomically(junit, junit_of(comparison, strict=strict))
    if as_json:
        click.echo(comparison.model_dump_json(indent=2))
    else:
        _print(comparison)
    context.exit(1 if comparison.regressed or (strict and comparison.undecided) else 0)


def _print(comparison: Comparison) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("cell", overflow="fold")
    for name in ("A, ms", "B, ms", "B / A", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("verdict", "remarks"):
        table.add_column(name, overflow="fold")
    for cell in comparison.cells:
        remarks = Text("\n").join(
            Text(line, style=style)
            for lines, style in (
                (cell.regressions, "red"),
                (cell.undecided, "yellow"),
                (cell.notes, ""),
            )
            for line in lines
        )
        table.add_row(str(cell.key), *_figures(cell), remarks)
    console = output()
    _print_lists(console, {"beware": comparison.cautions})
    console.print(table)
    _print_lists(
        console,
        {
            "only in A": comparison.only_in_a,
            "only in B": comparison.only_in_b,
            "not the same environment": comparison.environment,
            "undecided": [cell.key for cell in comparison.undecided],
        },
    )
    tests = sorted({cell.latency.test for cell in comparison.cells if cell.latency})
    console.print("; ".join([*tests, "95 % intervals"]), style="dim")
    regressed, undecided = len(comparison.regressed), len(comparison.undecided)
    said = f"{regressed or 'no'} regression{'' if regressed == 1 else 's'}"
    console.print(said + (f", {undecided} undecided" if undecided else ""), style="bold")


def _print_lists(console: Console, lists: Mapping[str, Sequence[object]]) -> None:
    for title, lines in lists.items():
        if lines:
            console.print("\n".join([f"{title}:", *(f"  {one}" for one in lines)]), markup=False)


def _figures(cell: CellComparison) -> tuple[str | Text, ...]:
    from rich.text import Text

    a, b = ("–" if ms is None else f"{ms:.4g}" for ms in (cell.median_ms_a, cell.median_ms_b))
    if (found := cell.latency) is None:
        return a, b, "–", "–", "–"
    effect = f"{found.ratio:.3f}\n{found.ci_low:.3f}–{found.ci_high:.3f}"
    colour = {"faster": "green", "slower": "red", "undecided": "yellow"}.get(found.verdict, "")
    return a, b, effect, f"{found.p_value:.1g}", Text(found.verdict, style=colour)
