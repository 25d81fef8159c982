"""TVM's importer of ONNX graphs, checked against the graph.

TVM's converters look operators up by name, take known attributes and inputs, and leave
the rest unread. Here a node is refused whose meaning they cannot have had: one with an attribute or
an input that its converter did not look at, or whose outputs have other shapes or types than ONNX
says. Whatever fails is told by its operator, node and reason, never in the words of TVM.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

import onnx

from harness.compiler.api import relax, tvm
from harness.compiler.onnx_frontend import ONNXGraphImporter, convert_map, onnx_input
from harness.models.imported import Node
from harness.models.onnx.file import (
    RUNTIME_DOMAIN,
    STANDARD_DOMAINS,
    label,
    operator,
    opset_of,
    schema_of,
    walk_nodes,
)
from harness.models.onnx.operators.table import CONVERTERS
from harness.models.onnx.refusal import Unsupported
from harness.models.tensors import TensorSpec

_CONVERTED_BY_IMPORTER = frozenset({"If", "Constant"})
"""Not in the map of converters, yet converted."""
_ANOTHER_MEANING = frozenset({"Attention", "RotaryEmbedding"})
"""The converter of this name is for an operator of ONNX Runtime's own; ONNX's is another."""
_WITHOUT_EFFECT = frozenset(
    {
        "kernel_shape",  # the weights have it
        "storage_order",  # of the indices that MaxPool may give, which are refused
        "saturate",  # of casts to floats of 8 bits, which are refused
        "consumed_inputs",  # of the first opsets, for memory
        "is_test",  # an inference always is
        "spatial",  # of batch normalisation; 0 was never implemented
    }
)
_WINDOWED = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"})
"""Operators that fail where no window fits into their input."""
_MISJUDGED = {
    "AveragePool": "ceil_mode", "LpPool": "ceil_mode", "MaxPool": "ceil_mode", "STFT": "",
}  # fmt: skip
"""Operators whose shapes ONNX infers otherwise than its specification and ONNX Runtime have them,
with the attribute that they have then: pools with `ceil_mode` count windows that begin in the
padding, and STFT without a window is taken for two-sided."""
_LONGEST_VALUE = 60


class ConversionError(Exception):
    """A node that cannot be imported, and the reason."""

    def __init__(self, node: Node, reason: str) -> None:
        super().__init__(reason)
        self.node = node


class EmptyGraph(Exception):
    """A graph without nodes computes nothing."""


class Importer(ONNXGraphImporter):  # type: ignore[misc]
    """Converts one graph. `converted` has the node of each variable of the result."""

    def __init__(self, model: onnx.ModelProto, types: Mapping[str, onnx.TypeProto]) -> None:
        """`types` has the known types of the model's values."""
        super().__init__({}, "float32", keep_params_in_input=False, sanitize=False)
        self.converted: dict[str, Node] = {}
        self._model = model
        self._types = types
        self._opset_version = opset_of(model)
        self._numbered: dict[str, onnx.NodeProto] = {}
        self._at: onnx.NodeProto | None = None
        self._labels: dict[str, str] = {}
        self._layers: dict[str, str] = {}
        self._misjudged: set[str] = set()

    def module(self) -> tvm.IRModule:
        """The graph in Relax. Raises ConversionError, and EmptyGraph for one without nodes."""
        # The importer prints the arguments of a node that fails.
        with self._numbered_nodes(), contextlib.redirect_stdout(io.StringIO()):
            try:
                return self.from_onnx(self._model.graph, self._opset_version)
            except ConversionError:
                raise
            except Exception as error:
                if self._at is None:
                    raise EmptyGraph from error
                raise ConversionError(self._node(self._at), self._form(self._at)) from error

    @contextlib.contextmanager
    def _numbered_nodes(self) -> Iterator[None]:
        """Give nodes numbers for names, as their own may be missing or equal."""
        names = [node.name for node in walk_nodes(self._model.graph)]
        for number, node in enumerate(walk_nodes(self._model.graph)):
            self._labels[str(number)] = label(node)
            self._layers[str(number)] = node.name or next(iter(node.output), node.op_type)
            self._numbered[str(number)] = node
            node.name = str(number)
        try:
            yield
        finally:
            for node, name in zip(walk_nodes(self._model.graph), names, strict=True):
                node.name = name

    def _parse_value_proto(self, value_proto: Any) -> Any:
        if isinstance(value_proto, onnx.NodeProto):
            self._at = value_proto  # the importer begins a node with this
        return super()._parse_value_proto(value_proto)

    def _check_for_unsupported_ops(self, graph: onnx.GraphProto) -> None:
        """Unsupported operators are refused before, all of them at once."""

    def _convert_operator(
        self, op_name: str, inputs: list[Any], attrs: dict[str, Any], opset: int
    ) -> Any:
        node = self._numbered[attrs["tvm_custom"]["name"]]
        read_inputs, read_attributes = _Inputs(inputs), _Attributes(attrs)
        try:
            self._require_room(node)
            result = self._converted(op_name, read_inputs, read_attributes, opset)
            self._require_all_read(node, read_inputs, read_attributes)
            self._require_outputs(node, result)
            result = self._traced(node, result)
        except ConversionError:
            raise
        except Unsupported as error:
            raise ConversionError(self._node(node), str(error)) from error
        except Exception as error:
            raise ConversionError(self._node(node), self._form(node)) from error
        return result

    def _converted(
        self, op_name: str, inputs: _Inputs, attributes: _Attributes, opset: int
    ) -> relax.Expr:
        own = CONVERTERS.get(op_name)
        if own is None:
            return super()._convert_operator(op_name, inputs, attributes, opset)
        return self.bb.normalize(own(self.bb, inputs, attributes, opset))

    def _traced(self, node: onnx.NodeProto, result: relax.Expr) -> relax.Expr:
        """A node's result in variables of known origin. Other values
        computed for it stand before them."""
        if isinstance(result, relax.Tuple):
            return relax.Tuple([self._traced(node, field) for field in result.fields])
        if isinstance(result, (relax.Call, relax.TupleGetItem)):
            result = self.bb.emit(result, f"node{node.name}")
        if isinstance(result, relax.Var):  # of an earlier node, where this one gives its input
            self.converted.setdefault(str(result.name), self._node(node))
        return result

    def _require_all_read(
        self, node: onnx.NodeProto, inputs: _Inputs, attributes: _Attributes
    ) -> None:
        schema = schema_of(node, self._opset_version)
        for attribute in node.attribute:
            name = attribute.name
            if name in attributes.read or name in _WITHOUT_EFFECT:
                continue
            value = onnx.helper.get_attribute_value(attribute)
            default = schema.attributes[name].default_value if schema else None
            if (
                default is None
                or not default.name
                or value != (onnx.helper.get_attribute_value(default))
            ):
                raise Unsupported(
                    f"TVM's converter does not know its attribute {name}={_short(value)}"
                )
        for at, name in enumerate(node.input):
            if not name or at in inputs.read:
                continue
            parameters = schema.inputs if schema else ()
            if (
                at >= len(parameters)
                or parameters[at].option == type(parameters[at].option).Variadic
            ):
                continue
            raise Unsupported(f"TVM's converter does not know its input '{parameters[at].name}'")

    def _require_room(self, node: onnx.NodeProto) -> None:
        """Raises Unsupported for an output that this machine cannot hold: constants are computed
        with the conversion."""
        for name in node.output:
            found = self._types.get(name)
            if found is not None and found.tensor_type.HasField("shape"):
                shape = tuple(each.dim_value for each in found.tensor_type.shape.dim)
                dtype = _dtype(found.tensor_type.elem_type)
                if excess := TensorSpec(name, shape, dtype).excess:
                    raise Unsupported(f"its output '{name}' takes {excess}")

    def _require_outputs(self, node: onnx.NodeProto, result: relax.Expr) -> None:
        """Raises Unsupported if outputs differ from ONNX's types. Those of a sequence's elements
        are its own."""
        if any(_is_sequence(self._types.get(name)) for name in node.output):
            return
        found = _types_of(result)
        wanted = [name for name in node.output if name]
        if len(node.output) > len(found):
            missing = ", ".join(f"'{name}'" for name in list(node.output)[len(found) :])
            raise Unsupported(f"TVM's converter does not give its output {missing}")
        if len(found) == 1 and len(wanted) > 1:
            return
        for name, given in zip(node.output, found, strict=False):
            if not name or not isinstance(given, relax.TensorType):
                continue
            shape = _static(given)
            if shape is None:
                raise Unsupported(f"the shape of its output '{name}' depends on the inputs' values")
            if node.op_type in _WINDOWED and min(shape, default=1) < 1:
                raise Unsupported(f"its output '{name}' is {list(shape)}: its window does not fit")
            if min(shape, default=0) < 0:
                raise Unsupported(f"its output '{name}' has no elements")
            if str(given.dtype).startswith(("float8_", "float6_", "float4_")):
                # TVM computes these in wider types, without rounding to them.
                raise Unsupported(f"its output '{name}' is {given.dtype}")
            if excess := TensorSpec(name, shape, str(given.dtype)).excess:
                raise Unsupported(f"its output '{name}' takes {excess}")
            right = self._types.get(name)
            if right is None or _agrees(right.tensor_type, shape, str(given.dtype)):
                continue
            if not self._is_misjudged(node) or _dtype(right.tensor_type.elem_type) != given.dtype:
                raise Unsupported(
                    f"TVM's converter makes its output '{name}' {given.dtype}{list(shape)}, "
                    f"expected {_text(right)}"
                )

    def _is_misjudged(self, node: onnx.NodeProto) -> bool:
        """Whether ONNX may infer other shapes of a node's outputs: also of one that reads those of
        such a node."""
        found = _MISJUDGED.get(node.op_type) in {"", *(a.name for a in node.attribute)}
        if found or not self._misjudged.isdisjoint(node.input):
            self._misjudged.update(node.output)
            return True
        return False

    def _node(self, node: onnx.NodeProto) -> Node:
        return Node(operator(node), self._labels[node.name], self._layers[node.name])

    def _form(self, node: onnx.NodeProto) -> str:
        """The arguments of TVM's converter, if nothing more is known."""
        values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        attributes = ", ".join(f"{name}={_short(value)}" for name, value in values.items())
        inputs = ", ".join(_text(self._types.get(name)) for name in node.input if name)
        return (
            f"TVM's converter fails at opset {self._opset_version}"
            f"{f' with {attributes}' if attributes else ''}"
            f"{f' for {inputs}' if inputs else ''}"
        )


def _is_sequence(found: onnx.TypeProto | None) -> bool:
    return found is not None and found.HasField("sequence_type")


class _Attributes(dict[str, Any]):
    """Attributes that remember which of them were looked at."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.read.add(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self.read.add(name)
        return super().pop(name, *default)


class _Inputs(onnx_input):  # type: ignore[misc]
    """Inputs that remember which of them were looked at; None beyond the last."""

    def __init__(self, values: list[Any]) -> None:
        super().__init__(values)
        self.read: set[int] = set()

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            stop = len(self) if item.stop is None else item.stop
            return [self[at] for at in range(stop)[item]]
        at = item if item >= 0 else len(self) + item
        self.read.add(at)
        return list.__getitem__(self, at) if at < len(self) else None

    def __add__(self, more: list[Any]) -> _Inputs:
        result = _Inputs([*list.__iter__(self), *more])
        result.read = self.read  # the same places
        return result

    def __iter__(self) -> Iterator[Any]:
        self.read |= set(range(len(self)))
        return list.__iter__(self)


def is_converted(node: onnx.NodeProto) -> bool:
    """Whether there is a converter for an operator, in one form at least."""
    if node.op_type in _ANOTHER_MEANING and node.domain in STANDARD_DOMAINS:
        return False
    if node.domain not in STANDARD_DOMAINS | {RUNTIME_DOMAIN}:
        return False
    return (
        node.op_type in convert_map()
        or node.op_type in CONVERTERS
        or node.op_type in _CONVERTED_BY_IMPORTER
    )


def _types_of(result: relax.Expr) -> list[Any]:
    if isinstance(result, relax.Tuple):
        return [field.ty for field in result.fields]
    return list(result.ty.fields) if isinstance(result.ty, relax.TupleType) else [result.ty]


def _static(given: Any) -> tuple[int, ...] | None:
    try:
        return tuple(int(extent) for extent in given.shape)
    except (AttributeError, TypeError):
        return None


def _agrees(right: onnx.TypeProto.Tensor, shape: tuple[int, ...], dtype: str) -> bool:
    if right.elem_type and dtype != _dtype(right.elem_type):
        return False
    if not right.HasField("shape"):
        return True
    dims = [d.dim_value if d.HasField("dim_value") else None for d in right.shape.dim]
    return len(dims) == len(shape) and all(
        known in (None, extent) for known, extent in zip(dims, shape, strict=True)
    )


def _dtype(element: int) -> str:
    return str(onnx.helper.tensor_dtype_to_np_dtype(element))


def _text(value: onnx.TypeProto | None) -> str:
    """A type as messages have it: `float32[1, 3, 8, 8]`."""
    if value is None or not value.HasField("tensor_type"):
        return "of unknown type"
    tensor = value.tensor_type
    dims = ", ".join(str(d.dim_value) if d.HasField("dim_value") else "?" for d in tensor.shape.dim)
    return f"{_dtype(tensor.elem_type)}[{dims}]"


def _short(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, onnx.TensorProto):
        value = f"a tensor of {list(value.dims)}"
    if isinstance(value, (onnx.GraphProto, onnx.SparseTensorProto, onnx.TypeProto)):
        value = f"a {type(value).__name__}"
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
