"""`layeredge init`: a sweep for your models."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init")
@click.argument(
    "models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("sweep.yaml"),
    show_default=True,
    help="The sweep to write; one that is there is kept.",
)
def command(models: tuple[Path, ...], out: Path) -> int:
    """Write a sweep for MODEL files, or for all models in folders.

    Each file is imported, as `layeredge inspect` does; those that cannot be used are named and left
    out. Ends with 1 where some were left out, and with 2 where none is left.

    \b
    Example:
      layeredge init my-network.onnx
      layeredge run sweep.yaml --out results/mine
    """
    from harness.cli.survey import with_progress
    from harness.errors import InputError, printable
    from harness.files.atomic import write_atomically
    from harness.inspection.draft import draft, run_command
    from harness.inspection.process import surveyed
    from harness.inspection.survey import model_files

    if out.exists():
        raise InputError(f"{out}: is there already; name another file with --out")
    files = list(dict.fromkeys(model_files(models)))
    found = with_progress(files, surveyed(files, {}))
    refused = [each for each in found if each.refusal is not None]
    for each in refused:
        assert each.refusal is not None
        click.echo(f"left out: {each.path}: {printable(each.refusal.sentence)}", err=True)
    if len(refused) == len(found):
        raise InputError("none of the files can be used; layeredge inspect says what they lack")
    write_atomically(out, draft(found, out))
    count = len(found) - len(refused)
    click.echo(f"{out}: {count} model{'s' * (count > 1)}; next:")
    click.echo(f"  {run_command(out)}")
    return 1 if refused else 0
