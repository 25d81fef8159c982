"""`layeredge report`: writes the report of a results folder."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument(
    "folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where to write a report of several folders.",
    default=Path("report"),
    show_default=True,
)
@click.option("--open", "open_page", is_flag=True, help="Show the page in the browser.")
def command(folders: tuple[Path, ...], out: Path, open_page: bool) -> None:
    """Write the report of a sweep, as a page, Markdown and tables.

    DIR is a folder that `layeredge run` wrote. The page DIR/report/index.html holds its plots and
    tables and needs nothing beside it; DIR/report/report.md says the same in Markdown.
    DIR/results.csv and results.json are written again, and results.parquet where pyarrow is
    installed. TVM is not needed.

    Several folders, as of several machines or days, get one page, in the folder `--out`.

    \b
    Example:
      layeredge report results/quickstart --open
      layeredge report results/monday results/friday --out results/week
    """
    from harness.report import write_report, write_report_of
    from harness.report.answers import in_lines

    files = write_report(folders[0]) if len(folders) == 1 else write_report_of(folders, out)
    for answer in files.answers:
        click.echo("\n".join(in_lines(answer)))
    for caution in files.cautions:
        click.echo(f"beware: {caution}")
    for path in (files.page, files.markdown, *files.exports):
        click.echo(path)
    if files.plots:
        click.echo(f"{files.plots[0].parent} ({len(files.plots)} plots)")
    if open_page:
        click.launch(files.page.resolve().as_uri())
