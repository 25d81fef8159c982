"""Reads an ONNX file without letting it reach for anything outside its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import onnx
from onnx.external_data_helper import load_external_data_for_model
from onnx.inliner import inline_local_functions

from harness.errors import InputError, first_line
from harness.files.regular import open_regular

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
"""The two names of the domain of the operators that ONNX itself defines."""

RUNTIME_DOMAIN = "com.microsoft"
"""TVM looks operators up by name alone. Of ONNX Runtime's own operators some are converted; in any
other domain a name may mean anything."""
_RUNTIME_IN_STANDARD = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})
"""Operators of ONNX Runtime's own in ONNX's domain: one in every opset, one that ONNX lacks."""

_MOST_NODES = 2**17
_DEEPEST = 200

MAX_MODEL_BYTES = 2 * 1024**3 - 1
"""A protocol buffer cannot be larger, and the prepared model is one, weights inside."""


def load_onnx(path: Path) -> onnx.ModelProto:
    """The model in an ONNX file, external data loaded, its own functions inlined, and the largest
    elements sorted where any order would do.

    Raises InputError when the file is not an ONNX model, keeps data outside its own folder, is
    larger than 2 GiB with its data, or has functions of more nodes than anybody can use.
    """
    model = _parsed(path)
    if not model.graph.output:
        raise InputError(f"{path}: expected an ONNX model, found a file without outputs")
    if not model.opset_import:
        raise InputError(f"{path}: expected an ONNX model, found one that names no opset")
    newest = onnx.defs.onnx_opset_version()
    versions = [each.version for each in model.opset_import if each.domain in STANDARD_DOMAINS]
    if max(versions, default=0) > newest:
        raise InputError(
            f"{path}: is of opset {max(versions)}, expected at most {newest}, the newest one that "
            f"onnx {onnx.__version__} knows; export the model with an older one"
        )
    counted = Counter(value.name for value in model.graph.output)
    if twice := [name for name, count in counted.items() if count > 1]:
        raise InputError(f"{path}: output '{twice[0]}' is listed twice; expected different names")
    _check_external_data(model, path)
    _check_functions(model, path)
    _sort_selections(model)
    try:
        load_external_data_for_model(model, str(path.parent))
        return _without_functions(model) if model.functions else model
    except Exception as error:
        # ONNX reports by several unrelated types, some of them from C++, without a common base.
        raise InputError(f"{path}: not a valid ONNX model: {first_line(error)}") from None


def _check_functions(model: onnx.ModelProto, path: Path) -> None:
    """Functions that call functions twice, forty deep, are 2^40 nodes."""
    functions = {(each.domain, each.name): each for each in model.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Iterable[onnx.NodeProto], within: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = node.domain, node.op_type
            if key not in functions:
                total += 1
                continue
            if key in within or len(within) > _DEEPEST:
                how = "calls itself" if key in within else f"is called {_DEEPEST} functions deep"
                raise InputError(f"{path}: function '{node.op_type}' {how}")
            if key not in counts:
                counts[key] = count(functions[key].node, (*within, key))
            total += counts[key]
        return total

    found = count(walk_nodes(model.graph), ())
    if found > _MOST_NODES:
        largest = max(counts, key=lambda key: counts[key])[1]
        raise InputError(
            f"{path}: {found:,} nodes with its functions written out, expected at most "
            f"{_MOST_NODES:,}; the largest one is '{largest}'"
        )


def _without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same nodes with the functions that they call written out. `onnx.inliner` drops the
    attributes of functions that have a default, so that calls are given them first."""
    defaults = {(each.domain, each.name): each.attribute_proto for each in model.functions}
    for body in (model.graph, *model.functions):
        for node in walk_nodes(body):
            given = {attribute.name for attribute in node.attribute}
            node.attribute.extend(
                default
                for default in defaults.get((node.domain, node.op_type), ())
                if default.name not in given
            )
    _align_opsets(model)
    return inline_local_functions(model)


def _align_opsets(model: onnx.ModelProto) -> None:
    """Gives functions the model's opset, of which alone they are written out, where it has the
    operators that they use in the same form."""
    versions = {_domain(each.domain): each.version for each in model.opset_import}
    for function in model.functions:
        own = {_domain(each.domain): each for each in function.opset_import}
        for domain, entry in own.items():
            if domain in versions and all(
                _since(node, entry.version) == _since(node, versions[domain])
                for node in walk_nodes(function)
                if _domain(node.domain) == domain
            ):
                entry.version = versions[domain]


def _domain(name: str) -> str:
    return "" if name in STANDARD_DOMAINS else name


def _since(node: onnx.NodeProto, opset: int) -> int | None:
    """The opset that an operator has its form from; None where it is not known."""
    try:
        return int(onnx.defs.get_schema(node.op_type, opset, node.domain).since_version)
    except onnx.defs.SchemaError:
        return None


def _sort_selections(model: onnx.ModelProto) -> None:
    """Results in an order that is left to the engine could not be compared."""
    for node in walk_nodes(model.graph):
        if node.op_type == "TopK" and node.domain in STANDARD_DOMAINS:
            for attribute in node.attribute:
                if attribute.name == "sorted":
                    attribute.i = 1


def external_locations(path: Path) -> set[str]:
    """Where an ONNX file says that it keeps data, wherever in it that stands; none where it is no
    ONNX file, which importing it says."""
    try:
        model = _parsed(path)
    except InputError:
        return set()
    return {
        entry.value
        for tensor in _tensors(model)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _parsed(path: Path) -> onnx.ModelProto:
    with open_regular(path, "an ONNX model") as file:
        content = file.read(MAX_MODEL_BYTES + 1)
    if len(content) > MAX_MODEL_BYTES:
        raise _too_large(path, path.stat().st_size)
    try:
        return onnx.load_model_from_string(content)
    except Exception:
        # A protocol buffer's DecodeError, whose package is no dependency of ours.
        raise InputError(
            f"{path}: expected an ONNX model, found other content or a truncated file"
        ) from None


def check_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Raises InputError when a model breaks the ONNX specification."""
    for value in model.graph.input:
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            raise InputError(f"{path}: input '{value.name}' has no shape, each input needs one")
    try:
        with _runtime_operators_apart(model), _shapes_of_outputs(model):
            onnx.checker.check_model(model)
    except Exception as error:
        # As above.
        raise InputError(f"{path}: not a valid ONNX model: {first_line(error)}") from None


@contextmanager
def _shapes_of_outputs(model: onnx.ModelProto) -> Iterator[None]:
    """Have a shape in outputs without one meanwhile: ONNX asks for it, though it is computed."""
    types = [value.type for value in model.graph.output if value.type.HasField("tensor_type")]
    shapeless = [each.tensor_type for each in types if not each.tensor_type.HasField("shape")]
    for tensor in shapeless:
        tensor.shape.SetInParent()
    try:
        yield
    finally:
        for tensor in shapeless:
            tensor.ClearField("shape")


@contextmanager
def _runtime_operators_apart(model: onnx.ModelProto) -> Iterator[None]:
    """Have ONNX Runtime's own operators in its own domain meanwhile, which ONNX does not check."""
    domains = {each.domain for each in model.opset_import}
    nodes = [
        node
        for node in walk_nodes(model.graph)
        if domains & STANDARD_DOMAINS
        and node.domain in STANDARD_DOMAINS
        and node.op_type in _RUNTIME_IN_STANDARD
        and schema_of(node, opset_of(model)) is None
    ]
    own = [node.domain for node in nodes]
    count = len(model.opset_import)
    if nodes and RUNTIME_DOMAIN not in domains:
        model.opset_import.add(domain=RUNTIME_DOMAIN, version=1)
    for node in nodes:
        node.domain = RUNTIME_DOMAIN
    try:
        yield
    finally:
        for node, domain in zip(nodes, own, strict=True):
            node.domain = domain
        del model.opset_import[count:]


def schema_of(node: onnx.NodeProto, opset: int) -> Any:
    """ONNX's schema of an operator in a version of its main domain; None if there is none."""
    if node.domain not in STANDARD_DOMAINS:
        return None
    try:
        return onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return None


def is_standard(node: onnx.NodeProto) -> bool:
    """Whether ONNX itself defines the operator of a node, in whichever domain."""
    domain = "" if node.domain in STANDARD_DOMAINS else node.domain
    return bool(onnx.defs.has(node.op_type, domain))


def operator(node: onnx.NodeProto) -> str:
    """An operator's name, with its domain unless it is ONNX's own."""
    return f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)


def label(node: onnx.NodeProto) -> str:
    """A node's name, or the names of its outputs if it has none."""
    return node.name or f"{node.op_type} → {next(iter(node.output), '?')}"


def opset_of(model: onnx.ModelProto, domain: str = "") -> int:
    """The version of the operators of a domain in a model; ONNX's main one unless one is given."""
    names = STANDARD_DOMAINS if domain in STANDARD_DOMAINS else {domain}
    return next(int(o.version) for o in model.opset_import if o.domain in names)


def walk_nodes(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    """Every node of a graph or a function, those inside the bodies of If, Loop and Scan too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from walk_nodes(body)


def _check_external_data(model: onnx.ModelProto, path: Path) -> None:
    folder = path.parent.resolve()
    total = path.stat().st_size
    counted: set[Path] = set()
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        where = f"{path}: tensor '{tensor.name}' keeps its data in '{location}'"
        try:
            file = (folder / location).resolve()
            there = file.is_file()
        except (OSError, ValueError, RuntimeError):  # too long, a NUL, links in a circle
            raise InputError(f"{where}, which is not a file name") from None
        absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive
        if not location or absolute or not file.is_relative_to(folder):
            raise InputError(f"{where}, expected a file inside the model's folder {folder}")
        if not there and file.exists():
            raise InputError(f"{where}, expected a regular file")
        if not there:
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
