"""Makes a TFLite model static: a number for every dimension that its converter left free."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import InputError, first_line, unknown_name
from harness.files.atomic import write_atomically

PREPARED = "prepared.tflite"

DAMAGED = (AttributeError, IndexError, TypeError, ValueError, struct.error)
"""Errors of reading beyond the end of a damaged flat buffer."""
_FREE = -1

Shapes = Mapping[str, tuple[int, ...]]


def static_file(path: Path, shapes: Shapes, work: Path) -> Path:
    """A TFLite file itself where its inputs are static, else a copy below `work` with the shapes
    of all its tensors for inputs of `shapes`.

    Beside each tensor's shape, in which a free dimension is 1, a file has a signature, in which it
    is -1. A first dimension that is free alone is a batch, and 1 unless `shapes` has another.
    Raises InputError for a damaged file, when the packages `tflite` and `ai_edge_litert` are
    not installed, for a name that is no input, another shape than the file's where it is fixed, a
    dimension that is left free, and shapes that LiteRT refuses.
    """
    content = bytearray(path.read_bytes())
    tensors, inputs, described = _read(content, path)
    if all(_FREE not in extents for extents in described.values()):
        return path
    _require_settled(described, shapes, path)
    alone = {name: (1, *extents[1:]) for name, extents in described.items() if _is_batch(extents)}
    shapes = {**alone, **shapes}
    if all(shapes[name] == tuple(inputs[name].ShapeAsNumpy()) for name in inputs if name in shapes):
        return path
    resized = _resized(path, shapes, len(tensors))
    for tensor, shape in zip(tensors, resized, strict=True):
        if len(shape) == tensor.ShapeLength():
            for extents in _written(tensor):
                extents[:] = shape
    for at, (tensor, shape) in enumerate(zip(tensors, resized, strict=True)):
        if any(tuple(extents) != shape for extents in _written(tensor)):
            raise InputError(
                f"{path}: tensor '{tensor_name(tensor, at)}' is {list(shape)} with these shapes, "
                "which cannot be written into the file; convert the model again, with them"
            )
    write_atomically(work / PREPARED, bytes(content))
    return work / PREPARED


def dimensions(path: Path) -> dict[str, tuple[int | str, ...]]:
    """Each input's dimensions in a file, "" for a free one. Raises InputError as `static_file`."""
    _, _, described = _read(bytearray(path.read_bytes()), path)
    return {
        name: tuple("" if extent == _FREE else extent for extent in extents)
        for name, extents in described.items()
    }


def tensor_name(tensor: Any, index: int) -> str:
    """A tensor's name, or one that says its place where the file has none."""
    name = tensor.Name()
    return f"tensor_{index}" if name is None else str(name.decode())


def detail_name(detail: Mapping[str, Any]) -> str:
    """The same, of a tensor as LiteRT describes it."""
    return str(detail["name"]) or f"tensor_{detail['index']}"


def _read(content: bytearray, path: Path) -> tuple[list[Any], dict[str, Any], dict[str, list[int]]]:
    """A file's tensors, those of its inputs by name, and the dimensions of these."""
    for package, name in {"tflite": "tflite", "ai_edge_litert": "ai-edge-litert"}.items():
        if find_spec(package) is None:
            raise InputError(f"{path}: {name} is not installed: pip install 'layeredge[tflite]'")
    import tflite

    try:
        graph = tflite.Model.GetRootAsModel(content, 0).Subgraphs(0)
        tensors = [graph.Tensors(at) for at in range(graph.TensorsLength())]
        inputs = {tensor_name(tensors[at], at): tensors[at] for at in graph.InputsAsNumpy()}
        described = {name: list(_extents(tensor)) for name, tensor in inputs.items()}
    except DAMAGED:
        raise InputError(f"{path}: a damaged or truncated TFLite model") from None
    return tensors, inputs, described


def _extents(tensor: Any) -> Iterator[int]:
    """A tensor's dimensions, -1 for one that is free."""
    signature = tensor.ShapeSignatureLength() == tensor.ShapeLength()
    for axis in range(tensor.ShapeLength()):
        yield int(tensor.ShapeSignature(axis) if signature else tensor.Shape(axis))


def _require_settled(described: Mapping[str, list[int]], shapes: Shapes, path: Path) -> None:
    for name, shape in shapes.items():
        if name not in described:
            raise unknown_name("input", name, described)
        extents = described[name]
        fits = len(shape) == len(extents) and all(
            asked == extent or (extent == _FREE and asked > 0)
            for asked, extent in zip(shape, extents, strict=True)
        )
        if not fits:
            raise InputError(
                f"{path}: input '{name}' is [{', '.join(_shown(extents))}] in the file, --shape "
                f"asks for {list(shape)}"
            )
    free = {
        name: extents
        for name, extents in described.items()
        if _FREE in extents and name not in shapes and not _is_batch(extents)
    }
    if free:
        found = "; ".join(
            f"input '{name}' is [{', '.join(_shown(extents))}]" for name, extents in free.items()
        )
        flags = " ".join(
            f"--shape {name}={','.join(_shown(extents, '<?>'))}" for name, extents in free.items()
        )
        raise InputError(f"{path}: {found}; every dimension must be a number: {flags}")


def _is_batch(extents: list[int]) -> bool:
    """Whether the first dimension of an input is the only free one."""
    return extents[:1] == [_FREE] and _FREE not in extents[1:]


def _shown(extents: list[int], free: str = "?") -> list[str]:
    return [free if extent == _FREE else str(extent) for extent in extents]


def _resized(path: Path, shapes: Shapes, count: int) -> list[tuple[int, ...]]:
    """The shapes of a file's first tensors as LiteRT computes them from its inputs'. Some of them
    are known only when an inference computed them, which must not depend on the values."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        interpreter = Interpreter(
            model_path=str(path),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        for detail in interpreter.get_input_details():
            if detail_name(detail) in shapes:
                shape = list(shapes[detail_name(detail)])
                interpreter.resize_tensor_input(detail["index"], shape)
        interpreter.allocate_tensors()
        found = []
        for value in (0, 1):
            for detail in interpreter.get_input_details():
                full = np.full(detail["shape"], value, detail["dtype"])
                interpreter.set_tensor(detail["index"], full)
            interpreter.invoke()
            details = interpreter.get_tensor_details()[:count]
            found.append([tuple(map(int, detail["shape"])) for detail in details])
    except Exception as error:
        # LiteRT raises ValueError or RuntimeError, whatever the reason.
        raise InputError(
            f"{path}: LiteRT refuses it with these shapes: {first_line(error)}"
        ) from None
    if found[0] != found[1]:
        raise InputError(f"{path}: shapes within it depend on the values of its inputs")
    return found[0]


def _written(tensor: Any) -> list[np.ndarray]:
    """A tensor's shape, and its signature if it has one, where they are in the buffer that it was
    read from. Tensors may share them."""
    both = [tensor.ShapeAsNumpy(), tensor.ShapeSignatureAsNumpy()]
    return [extents for extents in both if isinstance(extents, np.ndarray)]
