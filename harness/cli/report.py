"""`layeredge report`: writes the report of a results folder."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--open", "open_page", is_flag=True, help="Show the page in the browser.")
def command(folder: Path, open_page: bool) -> None:
    """Write the report of a sweep, as a page, Markdown and tables.

       DIR is a folder that `layeredge run` wrote.
    The page DIR/report/index.html holds its plots and tables and needs nothing beside it;
       DIR/report/report.md says the same in Markdown. DIR/results.csv and results.json are written
       again, and results.parquet where pyarrow is installed. TVM is not needed.

       \b
       Example:
         layeredge report results/quickstart --open
    """
    from harness.report import write_report
    from harness.report.answers import in_lines

    files = write_report(folder)
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
