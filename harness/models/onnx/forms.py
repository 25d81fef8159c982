"""Writes an ONNX model with the operators that TVM converts, where ONNX defines others by them.

Only TVM's importer sees this form; other engines run the original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import helper, numpy_helper
from onnx.inliner import inline_selected_functions

from harness.errors import InputError, first_line
from harness.models.onnx.branches import chosen_branch
from harness.models.onnx.empties import without_empties
from harness.models.onnx.file import STANDARD_DOMAINS, is_standard, label, operator, opset_of
from harness.models.onnx.importer import is_converted
from harness.models.onnx.inference import inferred, known_shapes, value_types
from harness.models.onnx.narrow import with_whole_bytes
from harness.models.onnx.refusal import Unsupported
from harness.models.onnx.shapes import fold
from harness.models.onnx.surroundings import Surroundings
from harness.models.onnx.unrolling import unrolled_loop, unrolled_scan

Rewrite = Callable[[onnx.NodeProto, Surroundings], list[onnx.NodeProto]]

_CONTROL: Mapping[str, Rewrite] = {
    "If": chosen_branch,
    "Loop": unrolled_loop,
    "Scan": unrolled_scan,
}
_MOST_NODES = 2**17
_DIVISION = "it divides whole numbers in a branch of an If, by 0 perhaps where that is not taken"
_WHOLE = frozenset(
    getattr(onnx.TensorProto, f"{sign}INT{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)
)


def simplest_form(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """An equal model in which operators that TVM lacks are written out as ONNX's schemas define
    them, If, Loop and Scan are their bodies, shapes that are known are constants, integers have
    whole bytes, and nothing without elements is left where it can be left out; the same one where
    there is nothing to write. Raises InputError as `fold` does, and where a node cannot be written
    out."""
    written = True
    while written:
        written = False
        for form in (_with_functions, _with_shapes, _with_bodies):
            if (other := form(model, path)) is not model:
                model, written = fold(other, path), True
    return without_empties(with_whole_bytes(model))


def _with_functions(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Operators that ONNX defines by others, as those."""
    lacking = {_key(node): node for node in model.graph.node if _is_defined(node, model)}
    if not lacking:
        return model
    try:
        written = inline_selected_functions(
            _typed(model), sorted(lacking), inline_schema_functions=True
        )
    except RuntimeError as error:
        names = ", ".join(sorted({operator(node) for node in lacking.values()}))
        raise InputError(
            f"{path}: operators {names} cannot be written out as ONNX's schemas define them: "
            f"{first_line(error)}"
        ) from None
    del written.graph.value_info[:]
    return written


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model as ONNX's inliner reads it: with the attributes that nodes leave out, and with the
    types of all values: of weights too, and of inputs that are left out, whose name is empty."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for node in result.graph.node:
        if _is_defined(node, model):
            given = {attribute.name for attribute in node.attribute}
            node.attribute.extend(
                attribute.default_value
                for name, attribute in _schema(node, model).attributes.items()
                if name not in given and attribute.default_value.name
            )
    del result.graph.value_info[:]
    result.graph.value_info.extend(inferred(model).value_info)
    listed = {value.name for value in model.graph.input}
    result.graph.value_info.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in model.graph.initializer
        if tensor.name not in listed
    )
    result.graph.value_info.append(helper.make_tensor_value_info("", onnx.TensorProto.FLOAT, []))
    return result


def _with_shapes(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Shapes that are known, as constants."""
    known = dict(known_shapes(model))
    if not known:
        return model
    kept = [node for node in model.graph.node if node.output[0] not in known]
    weights = [numpy_helper.from_array(value, name) for name, value in known.items()]
    return _replaced(model, kept, weights)


def _with_bodies(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """If, Loop and Scan, as what they run."""
    if not any(node.op_type in _CONTROL for node in model.graph.node):
        return model
    around, nodes = Surroundings(model), []
    for node in model.graph.node:
        rewrite = _CONTROL.get(node.op_type) if node.domain in STANDARD_DOMAINS else None
        try:
            nodes += [node] if rewrite is None else rewrite(node, around)
            if len(nodes) > _MOST_NODES:
                raise Unsupported(f"with it the network has more than {_MOST_NODES} nodes")
        except Unsupported as error:
            raise _refused(node, path, error) from None
    result = _replaced(model, nodes, around.added)
    if division := _division(result, around):
        raise _refused(division, path, Unsupported(_DIVISION))
    return result


def _division(model: onnx.ModelProto, around: Surroundings) -> onnx.NodeProto | None:
    """A node that may divide whole numbers by 0, which stops a process, though nothing needs it."""
    divisions = [node for node in around.perhaps_useless if node.op_type in {"Div", "Mod"}]
    types = value_types(model) if divisions else {}
    for node in divisions:
        divisor = types.get(node.input[1], onnx.TypeProto()).tensor_type.elem_type
        if divisor in _WHOLE and around.array(node.input[1]) is None:
            return node
    return None


def _refused(node: onnx.NodeProto, path: Path, error: Unsupported) -> InputError:
    return InputError(
        f"{path}: operator {operator(node)} of node '{label(node)}' is not supported in this "
        f"form: {error}"
    )


def _replaced(
    model: onnx.ModelProto,
    nodes: Iterable[onnx.NodeProto],
    weights: Iterable[onnx.TensorProto],
) -> onnx.ModelProto:
    """A model with other nodes, and more weights."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(weights)
    return result


def _key(node: onnx.NodeProto) -> tuple[str, str]:
    """A function's domain and name."""
    return "" if node.domain in STANDARD_DOMAINS else node.domain, node.op_type


def _is_defined(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    """Whether an operator that TVM does not convert is defined by others."""
    if is_converted(node) or not is_standard(node):
        return False
    schema = _schema(node, model)
    return bool(schema.has_function or schema.has_context_dependent_function)


def _schema(node: onnx.NodeProto, model: onnx.ModelProto) -> Any:
    domain, name = _key(node)
    return onnx.defs.get_schema(name, opset_of(model, domain), domain)
