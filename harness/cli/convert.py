"""`layeredge convert`: results in the formats of other tools."""

from __future__ import annotations

from pathlib import Path

import click

FORMATS = ("junit", "benchmark", "trace")


@click.command("convert")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("format_", metavar="FORMAT", type=click.Choice(FORMATS))
@click.option("--out", type=click.Path(path_type=Path), help="Write here instead of printing.")
def command(folder: Path, format_: str, out: Path | None) -> None:
    """Write the results in DIR in the FORMAT of another tool.

    \b
    junit      JUnit XML: a test case a cell, failed or skipped where the cell is
    benchmark  JSON of github-action-benchmark (customSmallerIsBetter): median latencies
    trace      trace events, which Perfetto and Chrome show: the kernels of each cell

    `layeredge compare --junit FILE` writes a comparison as JUnit XML.

    \b
    Example:
      layeredge convert results/quickstart trace --out kernels.json     # open it in ui.perfetto.dev
    """
    from harness.files.atomic import write_atomically
    from harness.records import formats
    from harness.records.store import FILE_NAME, Store

    with Store(folder / FILE_NAME) as store:
        text = formats.FORMATS[format_](store.records())
    if out is None:
        click.echo(text, nl=False)
    else:
        write_atomically(out, text)
