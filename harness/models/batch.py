"""Sets the batch of models whose files leave it free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.errors import InputError
from harness.models.formats import Format

Shapes = Mapping[str, tuple[int, ...]]
Dimensions = Mapping[str, tuple[int | str, ...]]
"""Input name to its dimensions in the file: a number, or the name of a free one, which is empty
where the file gives none."""


def with_batch(path: Path, kind: Format, shapes: Shapes, batch: int) -> dict[str, tuple[int, ...]]:
    """`shapes`, and those of all inputs that `batch` settles: it is the first dimension of each
    input of which the file leaves that free, also where `shapes` has another there.

    Inputs with other free dimensions keep them, for the import to ask for. Raises InputError for a
    file with another, fixed batch.
    """
    described = _READERS[kind](path)
    free = {name for name, extents in described.items() if extents and _free(extents[0])}
    if not free:
        if any(extents and extents[0] == batch for extents in described.values()):
            return dict(shapes)
        fixed = next((name for name, extents in described.items() if extents), None)
        raise InputError(
            f"{path}: batch {batch} is asked for, and "
            + (f"input '{fixed}' is {_text(described[fixed])}" if fixed else "no input has one")
            + ": expected a model with a free first dimension; export it with one, or leave "
            "'batch' out"
        )
    settled: dict[str, int] = {str(described[name][0]): batch for name in free}
    for name, shape in shapes.items():
        for extent, given in zip(described.get(name, ())[1:], shape[1:], strict=False):
            if isinstance(extent, str):
                settled.setdefault(extent, given)
    settled.pop("", None)  # free dimensions without a name differ
    found = dict(shapes)
    for name in free:
        rest = shapes[name][1:] if name in shapes else described[name][1:]
        extents = [settled.get(each, each) if isinstance(each, str) else each for each in rest]
        if not any(map(_free, extents)):
            found[name] = (batch, *map(int, extents))
    return found


def with_single_sample(path: Path, kind: Format, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """`shapes`, and a batch of 1 for each input of which the file leaves the first of several
    dimensions free, and no other. A dimension that also stands elsewhere is no batch, and one that
    `shapes` settles is left to the import."""
    described = _READERS[kind](path)
    elsewhere = {extent for extents in described.values() for extent in extents[1:]}
    settled = {extent for name in shapes for extent in described.get(name, ())}
    found = dict(shapes)
    for name, extents in described.items():
        alone = len(extents) > 1 and _free(extents[0]) and not any(map(_free, extents[1:]))
        known = extents[0] and extents[0] in elsewhere | settled if extents else True
        if alone and not known and name not in shapes:
            found[name] = (1, *map(int, extents[1:]))
    return found


def free_dimensions(path: Path, kind: Format) -> Dimensions:
    """The dimensions of the inputs of a file that have free ones."""
    return {
        name: extents for name, extents in _READERS[kind](path).items() if any(map(_free, extents))
    }


def _free(extent: int | str) -> bool:
    return isinstance(extent, str)


def _text(extents: tuple[int | str, ...]) -> str:
    return f"[{', '.join(str(extent) or '?' for extent in extents)}]"


def _of_onnx(path: Path) -> Dimensions:
    from harness.models.onnx.shapes import dimensions

    return dimensions(path)


def _of_tflite(path: Path) -> Dimensions:
    from harness.models.tflite.shapes import dimensions

    return dimensions(path)


def _of_torch(path: Path) -> Dimensions:
    """Those of an exported program, which are all fixed."""
    from harness.models.torch.frontend import require_torch

    require_torch(path)
    from harness.models.torch.archive import load_exported_program, user_inputs

    return {each.name: each.shape for each in user_inputs(load_exported_program(path))}


_READERS: Mapping[Format, Callable[[Path], Dimensions]] = {
    "onnx": _of_onnx,
    "tflite": _of_tflite,
    "torch": _of_torch,
}
