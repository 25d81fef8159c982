"""Whether models can be used, and what it takes: files are imported, nothing is compiled."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.building.blame import blaming
from harness.errors import CellFailure, InputError
from harness.hardware import HOST, load_target
from harness.models.batch import free_dimensions, with_single_sample
from harness.models.description import Description, described
from harness.models.formats import SUFFIXES, Format, format_of
from harness.models.frontends import import_model
from harness.models.imported import Imported, OperatorsRefused
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.records.store import FILE_NAME
from harness.specs.documents import Frozen

Shapes = Mapping[str, tuple[int, ...]]

ASSUMED = ((32, 1), (160, 1), (512, 1), (1, 1), (160, 160))
"""Extents of free dimensions that are tried one after the other, with that of a free first one: it
is a batch, and in the end may be something else. Those that weights ask for are not free."""


class Refusal(Frozen):
    """Why a file cannot be used. `nodes` has the operators at fault and the names of their nodes,
    `reason` which form of an operator is not supported. With `assumed` shapes it may be these that
    are wrong: those of the first attempt."""

    sentence: str
    assumed: Mapping[str, tuple[int, ...]] = {}
    nodes: Mapping[str, tuple[str, ...]] = {}
    reason: str = ""


class Surveyed(Frozen):
    """A model file. `assumed` has shapes of inputs that the file leaves free, with which it can be
    imported: they are the user's to give. `single` says whether a batch that it leaves free is 1,
    without being asked for. `refusal` is None for one that can be used."""

    path: Path
    format: Format | None = None
    description: Description | None = None
    assumed: Mapping[str, tuple[int, ...]] = {}
    single: bool = False
    refusal: Refusal | None = None


def model_files(paths: tuple[Path, ...]) -> Iterator[Path]:
    """The files that are named, and those below the folders that are: models by their suffix, but
    for what sweeps keep in folders of their results.

    Raises InputError for a path that is not there, and a folder without models."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(
            each
            for each in path.rglob("*")
            if each.suffix.lower() in SUFFIXES and each.is_file() and not _is_of_results(each)
        )
        if not found:
            raise InputError(f"{path}: expected a folder with models ({', '.join(SUFFIXES)})")
        yield from found


def _is_of_results(file: Path) -> bool:
    return any((folder / FILE_NAME).is_file() for folder in file.absolute().parent.parents)


def survey(path: Path, shapes: Shapes, first: int = 0) -> Surveyed:
    """Import a file. `shapes` gives some of its inputs static shapes; of those that are assumed for
    others the `first` are left out."""
    try:
        kind = format_of(path)
        description = described(path)
    except InputError as error:
        return Surveyed(path=path, refusal=_refusal(path, error))
    found = Surveyed(path=path, format=kind, description=description)
    given = with_single_sample(path, kind, shapes)
    assumed, refusal = _imported(path, kind, given, description.trailing, first)
    single = given.keys() != shapes.keys()
    return found.model_copy(update={"assumed": assumed, "single": single, "refusal": refusal})


def _imported(
    path: Path, kind: Format, given: Shapes, trailing: Shapes, begin: int
) -> tuple[Shapes, Refusal | None]:
    """Shapes with which a file can be imported beyond those given, or why it cannot be."""
    first: Refusal | None = None
    for extents in ASSUMED[begin:]:
        assumed = _assumed(path, kind, given, trailing, *extents)
        try:
            with tempfile.TemporaryDirectory() as work:
                imported = import_model(path, {**assumed, **given}, Path(work))
            _require_kernels(imported)
        except CellFailure as error:
            return assumed, Refusal(sentence=str(error))
        except InputError as error:
            if isinstance(error, OperatorsRefused) and not error.reason:
                return {}, _refusal(path, error)
            first = first or _refusal(path, error).model_copy(update={"assumed": assumed})
            if not assumed:
                break
        else:
            return assumed, None
    return {}, first


def _require_kernels(imported: Imported) -> None:
    """Raise CellFailure, with the operator and its node, where there is no kernel for one."""
    with blaming(imported, load_target(HOST).tvm):
        fuse(canonicalise(imported.module), "none")


def _assumed(
    path: Path, kind: Format, shapes: Shapes, trailing: Shapes, extent: int, first: int
) -> dict[str, tuple[int, ...]]:
    """Shapes of the inputs that have free dimensions, and are not given."""
    free = free_dimensions(path, kind)
    batches = {extents[0] for extents in free.values() if extents[0]}

    def shape(name: str, extents: tuple[int | str, ...]) -> Iterator[int]:
        known = trailing.get(name, ())
        for at, each in enumerate(extents):
            if isinstance(each, int):
                yield each
            elif at >= len(extents) - len(known):
                yield known[at - len(extents)]
            elif at == 0 or each in batches or _is_inner(extents, at):
                yield first
            else:
                yield extent

    return {
        name: tuple(shape(name, extents)) for name, extents in free.items() if name not in shapes
    }


def _is_inner(extents: tuple[int | str, ...], at: int) -> bool:
    """Whether a free dimension is the only one, between others: the batch of a state's layers."""
    return 0 < at < len(extents) - 1 and sum(isinstance(each, str) for each in extents) == 1


def _refusal(path: Path, error: InputError) -> Refusal:
    sentence = str(error).removeprefix(f"{path}: ")
    if isinstance(error, OperatorsRefused):
        nodes = {name: tuple(found) for name, found in error.nodes.items()}
        return Refusal(sentence=sentence, nodes=nodes, reason=error.reason)
    return Refusal(sentence=sentence)
