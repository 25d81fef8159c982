"""Reads an ONNX file without letting it reach for anything outside its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import load_external_data_for_model

from harness.errors import InputError

MAX_MODEL_BYTES = 2 * 1024**3 - 1
"""A protocol buffer cannot be larger, and the prepared model is one, weights inside."""


def load_onnx(path: Path) -> onnx.ModelProto:
    """The model in an ONNX file, external data loaded, checked against the ONNX specification.

    Raises InputError when the file is not an ONNX model, breaks the specification, keeps data
    outside its own folder, or is larger than 2 GiB with its data.
    """
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise _too_large(path, path.stat().st_size)
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except DecodeError:
        raise InputError(
            f"{path}: expected an ONNX model, found other content or a truncated file"
        ) from None
    if not model.opset_import or not model.graph.node:
        raise InputError(f"{path}: expected an ONNX model, found a file without a graph")
    _check_external_data(model, path)
    try:
        load_external_data_for_model(model, str(path.parent))

        onnx.checker.check_model(model)
    except Exception as error:
        # The checker's errors are several unrelated C++ types without a common base.
        raise InputError(f"{path}: not a valid ONNX model: {first_line(error)}") from None
    return model


def walk_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of a graph, those inside the bodies of If, Loop and Scan included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from walk_nodes(body)


def first_line(error: Exception) -> str:
    """What an error of another library says, without the lines that only its authors can read."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _check_external_data(model: onnx.ModelProto, path: Path) -> None:
    folder = path.parent.resolve()
    total = path.stat().st_size
    counted: set[Path] = set()
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        where = f"{path}: tensor '{tensor.name}' keeps its data in '{location}'"
        file = (folder / location).resolve()
        absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive
        if not location or absolute or not file.is_relative_to(folder):
            raise InputError(f"{where}, expected a file inside the model's folder {folder}")
        if not file.is_file():
            raise InputError(f"{where}, which is not there; copy it beside the model")
        if file not in counted:
            counted.add(file)
            total += file.stat().st_size
    if total > MAX_MODEL_BYTES:
        raise _too_large(path, total)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model, wherever it may be written."""

    def in_nodes(nodes: Iterator[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
        for node in nodes:
            for attribute in node.attribute:
                yield attribute.t
                yield from attribute.tensors
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
                for body in (attribute.g, *attribute.graphs):
                    yield from in_graph(body)

    def in_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        yield from in_nodes(iter(graph.node))

    yield from in_graph(model.graph)
    for function in model.functions:
        yield from in_nodes(iter(function.node))


def _too_large(path: Path, size_bytes: int) -> InputError:
    return InputError(
        f"{path}: {size_bytes / 1e9:.1f} GB with its data, expected at most "
        f"{MAX_MODEL_BYTES / 1e9:.1f} GB"
    )
