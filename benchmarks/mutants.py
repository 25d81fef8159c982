"""Networks with one error each, of the kinds that compiler bugs cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

Change = Callable[[onnx.GraphProto, np.random.Generator], str | None]
"""Changes a graph in place, and says what and where; None where there is nothing to change."""


@dataclass(frozen=True)
class Mutant:
    """A network that is wrong, what was done to it, and where."""

    kind: str
    what: str
    model: onnx.ModelProto


def mutant(model: onnx.ModelProto, kind: str, generator: np.random.Generator) -> Mutant | None:
    """A copy of a model with a change of a kind; None where the kind does not apply to it."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    what = KINDS[kind](changed.graph, generator)
    if what is None:
        return None
    del changed.graph.value_info[:]
    return Mutant(kind, what, changed)


def _nodes(graph: onnx.GraphProto, *types: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type in types]


def _pick(generator: np.random.Generator, items: list) -> object | None:  # type: ignore[type-arg]
    return items[generator.integers(len(items))] if items else None


def _initialiser(graph: onnx.GraphProto, name: str) -> onnx.TensorProto | None:
    return next((tensor for tensor in graph.initializer if tensor.name == name), None)


def _floats(graph: onnx.GraphProto, least: int = 1) -> list[onnx.TensorProto]:
    return [
        tensor
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= least
    ]


def _rewrite(tensor: onnx.TensorProto, values: np.ndarray) -> None:
    old = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(values.astype(old.dtype), tensor.name))


def _constant(graph: onnx.GraphProto, generator: np.random.Generator) -> str | None:
    """One weight of another sign, or twice as large, or off by a tenth of the tensor's scale."""
    tensor = _pick(generator, _floats(graph))
    if tensor is None:
        return None
    values = numpy_helper.to_array(tensor).copy()
    place = int(generator.integers(values.size))
    old = values.flat[place]
    step = 0.1 * float(np.abs(values).max())
    with np.errstate(over="ignore"):
        values.flat[place] = (-old, 2 * old, old + step)[generator.integers(3)]
    _rewrite(tensor, values)
    return f"{tensor.name}[{place}]: {old:.4g} → {values.flat[place]:.4g}"


def _scale(graph: onnx.GraphProto, generator: np.random.Generator) -> str | None:
    """All weights of a tensor larger by a thousandth."""
    tensor = _pick(generator, _floats(graph, 8))
    if tensor is None:
        return None
    _rewrite(tensor, numpy_helper.to_array(tensor) * np.float32(1.001))
    return f"{tensor.name} × 1.001"


def _bias(graph: onnx.GraphProto, generator: np.random.Generator) -> str | None:
    """A bias that is not added."""
    found = [node.input[2] for node in _nodes(graph, "Conv", "Gemm") if len(node.input) > 2]
    for node in _nodes(graph, "Add"):
        found += [name for name in node.input if _initialiser(graph, name) is not None]
    tensor = _initialiser(graph, str(_pick(generator, found)))
    if tensor is None:
        return None
    _rewrite(tensor, np.zeros(tuple(tensor.dims)))
    return f"{tensor.name} dropped"


def _swap(graph: onnx.GraphProto, generator: np.random.Generator) -> str | None:
    """Two channels of a weight in each other's place."""
    tensor = _pick(generator, [each for each in _floats(graph, 4) if max(each.dims) > 1])
    if tensor is None:
        return None
    values = numpy_helper.to_array(tensor).copy()
    axis = int(generator.choice([at for at, extent in enumerate(values.shape) if extent > 1]))
    one, other = generator.choice(values.shape[axis], 2, replace=False)
    moved = np.moveaxis(values, axis, 0)
    moved[[one, other]] = moved[[other, one]]
    _rewrite(tensor, values)
    return f"{tensor.name}: {one} and {other} of axis {axis} swapped"


def _pad(graph: onnx.GraphProto, generator: np.random.Generator) -> str | None:
    """Padding that is one place off, along one axis."""
    found = []
    for node in _nodes(graph, "Conv", "MaxPool", "AveragePool"):
        found += [
            (node, attribute)
            for attribute in node.attribute
            if attribute.name == "pads" and any(attribute.ints)
        ]
    picked = _pick(generator, found)
    if picked is None:
        return None
    node, attribute = picked  # type: ignore[misc]
    pads = list(attribute.ints)
    half = len(pads) // 2
    axis = int(generator.choice([at for at in range(half) if pads[at] + pads[at + half]]))
    step = 1 if pads[axis + half] else -1
    pads[axis], pads[axis + half] = pads[axis] + step, pads[axis + half] - step
    attribute.CopyFrom(helper.make_attribute("pads", pads))
    return f"{node.name or node.op_type}: pads {pads}"


def _narrow(graph: onnx.GraphProto, generator: np.random.Generator) -> str | None:
    """An intermediate result in 16-bit floats, or an output of another dtype."""
    outputs = {value.name for value in graph.output}
    named = [
        (node, at)
        for node in _nodes(graph, "Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Softmax")
        for at, name in enumerate(node.output)
    ]
    picked = _pick(generator, named)
    if picked is None:
        return None
    node, at = picked  # type: ignore[misc]
    name = node.output[at]
    node.output[at] = f"{name}.wide"
    place = list(graph.node).index(node) + 1
    if name in outputs:
        value = next(value for value in graph.output if value.name == name)
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
        graph.node.insert(
            place, helper.make_node("Cast", [f"{name}.wide"], [name], to=onnx.TensorProto.DOUBLE)
        )
        return f"{name} in float64"
    half, whole = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    graph.node.insert(place, helper.make_node("Cast", [f"{name}.half"], [name], to=whole))
    graph.node.insert(place, helper.make_node("Cast", [f"{name}.wide"], [f"{name}.half"], to=half))
    return f"{name} through float16"


_ALIKE = {
    "Relu": ("LeakyRelu", "Abs", "Identity", "Softplus", "Elu"),
    "Sigmoid": ("HardSigmoid", "Tanh"),
    "Tanh": ("Softsign", "Erf"),
    "GlobalAveragePool": ("GlobalMaxPool",),
    "AveragePool": ("MaxPool",),
    "MaxPool": ("AveragePool",),
    "ReduceMean": ("ReduceSum", "ReduceMax"),
    "Softmax": ("LogSoftmax", "Hardmax"),
    "Add": ("Sub", "Max"),
    "Sub": ("Add",),
    "Mul": ("Add",),
    "Max": ("Min",),
    "Floor": ("Ceil", "Round"),
    "ArgMax": ("ArgMin",),
    "Erf": ("Tanh",),
}


def _operator(graph: onnx.GraphProto, generator: np.random.Generator) -> str | None:
    """Another operator of the same form."""
    node = _pick(generator, _nodes(graph, *_ALIKE))
    if node is None:
        return None
    old = node.op_type  # type: ignore[attr-defined]
    node.op_type = str(generator.choice(_ALIKE[old]))  # type: ignore[attr-defined]
    return f"{old} → {node.op_type} of {node.output[0]}"  # type: ignore[attr-defined]


def _transposed(graph: onnx.GraphProto, generator: np.random.Generator) -> str | None:
    """Weights in another order: the last two axes swapped where alike, or the last mirrored."""
    used = {name for node in _nodes(graph, "Conv", "MatMul", "Gemm") for name in node.input[1:2]}
    found = [
        each
        for each in _floats(graph, 4)
        if each.name in used and len(each.dims) > 1 and max(each.dims[-2:]) > 1
    ]
    tensor = _pick(generator, found)
    if tensor is None:
        return None
    values = numpy_helper.to_array(tensor)
    alike = values.shape[-1] == values.shape[-2]
    _rewrite(tensor, np.ascontiguousarray(values.swapaxes(-1, -2) if alike else values[..., ::-1]))
    return f"{tensor.name} {'transposed' if alike else 'mirrored'}"


def _operands(graph: onnx.GraphProto, generator: np.random.Generator) -> str | None:
    """The operands of what is not commutative in each other's place, or of a concatenation."""
    found = [
        node for node in _nodes(graph, "Sub", "Div", "Concat", "MatMul") if len(node.input) > 1
    ]
    node = _pick(generator, found)
    if node is None:
        return None
    node.input[0], node.input[1] = node.input[1], node.input[0]  # type: ignore[attr-defined]
    return f"{node.op_type} of {node.output[0]}: operands swapped"  # type: ignore[attr-defined]


def _missing(graph: onnx.GraphProto, generator: np.random.Generator) -> str | None:
    """A residual or a factor that is left out."""
    node = _pick(generator, _nodes(graph, "Add", "Mul", "Sub"))
    if node is None:
        return None
    keep = int(generator.integers(2))
    what = f"{node.op_type} of {node.output[0]}: only operand {keep}"  # type: ignore[attr-defined]
    kept = node.input[keep]  # type: ignore[attr-defined]
    node.op_type = "Identity"  # type: ignore[attr-defined]
    del node.input[:]  # type: ignore[attr-defined]
    node.input.append(kept)  # type: ignore[attr-defined]
    return what


def _index(graph: onnx.GraphProto, generator: np.random.Generator) -> str | None:
    """A constant index that is one off: of a slice, a gather, an axis."""
    found = [
        tensor
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT64
        and any(tensor.name in node.input[1:] for node in _nodes(graph, "Slice", "Gather", "Tile"))
    ]
    tensor = _pick(generator, found)
    if tensor is None:
        return None
    values = numpy_helper.to_array(tensor).copy()
    place = int(generator.integers(values.size))
    values.flat[place] += int(generator.choice([-1, 1]))
    _rewrite(tensor, values)
    return f"{tensor.name}: {values.tolist()}"


def _attribute(graph: onnx.GraphProto, generator: np.random.Generator) -> str | None:
    """A float attribute of another size, as an epsilon or a slope."""
    found = [
        (node, attribute)
        for node in graph.node
        for attribute in node.attribute
        if attribute.type == onnx.AttributeProto.FLOAT and node.op_type != "Constant"
    ]
    picked = _pick(generator, found)
    if picked is None:
        return None
    node, attribute = picked  # type: ignore[misc]
    attribute.f = attribute.f * 100 if attribute.f else 0.01
    return f"{node.op_type} of {node.output[0]}: {attribute.name} = {attribute.f:g}"


KINDS: dict[str, Change] = {
    "constant": _constant,
    "scale": _scale,
    "bias": _bias,
    "swapped channels": _swap,
    "padding": _pad,
    "dtype": _narrow,
    "operator": _operator,
    "weights' order": _transposed,
    "operands": _operands,
    "missing operand": _missing,
    "index": _index,
    "attribute": _attribute,
}
