"""`layeredge schema`: the keys of the files, for editors and for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.specs.schema import Schema


def _sweep() -> Schema:
    from harness.specs.schema import schema_of
    from harness.specs.sweep import Sweep

    return schema_of(Sweep)


def _target() -> Schema:
    from harness.specs.schema import schema_of
    from harness.specs.target import TargetSpec

    return schema_of(TargetSpec)


def _results() -> Schema:
    from harness.records.export import export_schema

    return export_schema()


FILES: Mapping[str, Callable[[], Schema]] = {
    "sweep": _sweep,
    "target": _target,
    "results": _results,
}


@click.command("schema")
@click.argument("file", type=click.Choice([*FILES, "reference"]))
def command(file: str) -> None:
    """Print the JSON Schema of a FILE: a sweep, a hardware description (target), or results.json.

    An editor with a YAML language server completes and checks the keys of a file that begins with
    the line below. `reference` prints all keys, their defaults and units as Markdown, as
    docs/reference.md has them.

    \b
    Example:
      layeredge schema sweep > sweep.json
      # yaml-language-server: $schema=sweep.json
    """
    if file == "reference":
        click.echo(_reference(), nl=False)
    else:
        click.echo(json.dumps(FILES[file](), indent=1, ensure_ascii=False))


def _reference() -> str:
    from harness.records.metrics import reference as columns
    from harness.specs.schema import reference
    from harness.specs.sweep import Sweep
    from harness.specs.target import TargetSpec

    return f"""\
# Reference

Every key of the files, made by `layeredge schema reference`. `layeredge schema sweep`, `target` and
`results` print JSON Schema.

## Sweeps
{reference(Sweep)}

## Hardware descriptions
{reference(TargetSpec)}

## Results
{columns()}
"""
