"""What the shell completes besides commands, options and files: names of models, of hardware
descriptions, and those in a results folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from harness.errors import HarnessError

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _completing(names: Callable[[click.Context], Iterable[str]]) -> Complete:
    def complete(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
        try:
            return sorted({name for name in names(context) if name.startswith(begun)})
        except (HarnessError, OSError):
            return []  # there is nowhere to say why

    return complete


def _models(_: click.Context) -> Iterable[str]:
    from harness.models.catalog.entries import entries

    return (entry.name for entry in entries())


def _targets(_: click.Context) -> Iterable[str]:
    from harness.hardware import known_targets

    return known_targets()


def in_results(part: str) -> Complete:
    """The names of a part of the cells, such as `model`, in the results folder that is given."""

    def names(context: click.Context) -> Iterable[str]:
        from harness.records.store import FILE_NAME, Store

        # Before the option has its value, click has not read the arguments.
        given = [context.params.get("folder"), *context.args]
        folder = next((each for each in given if each), ".")
        with Store(Path(folder) / FILE_NAME) as store:
            return [getattr(key, part) for key in store.planned().values()]

    return _completing(names)


MODELS, TARGETS = _completing(_models), _completing(_targets)


def model_or_file(
    context: click.Context, parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Names of models, and files."""
    names = MODELS(context, parameter, begun)
    return [*map(CompletionItem, names), CompletionItem(begun, type="file")]
