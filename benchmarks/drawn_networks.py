"""Random ONNX networks of a few operators each, with inputs and ONNX Runtime's outputs for them.

A network grows by an operator at a time. Each is a row of `DRAWS`, which picks among the values
that there are already, and is kept where ONNX Runtime computes it and its results are finite. So
every value of a network is known while it is drawn, and domains, ranks and extents are those of
real values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

OPSET = 20
_MOST_ELEMENTS = 4096
_LARGEST = 1e4
FLOATS, WHOLE = ("float32", "float64"), ("int32", "int64", "int8", "uint8")


@dataclass
class Drawn:
    """A network: `feeds` has its inputs, `expected` its outputs by ONNX Runtime."""

    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    expected: list[np.ndarray]

    @property
    def operators(self) -> list[str]:
        return [node.op_type for node in self.model.graph.node]


@dataclass
class Draft:
    """A network that is being drawn: its values, of which `weights` are constants."""

    random: np.random.Generator
    values: dict[str, np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    _count: int = 0

    def number(self, low: int, high: int) -> int:
        """From `low` to `high`, both included."""
        return int(self.random.integers(low, high + 1))

    def one_of(self, choices: Sequence[Any]) -> Any:
        return choices[self.number(0, len(choices) - 1)]

    def new(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def value(self, dtypes: Sequence[str], ranks: Sequence[int] = (1, 2, 3, 4)) -> str | None:
        """The name of a value of such a type, a late one more often; None without any."""
        fitting = [
            name
            for name, array in self.values.items()
            if str(array.dtype) in dtypes and array.ndim in ranks
        ]
        if not fitting:
            return None
        return fitting[max(self.number(0, len(fitting) - 1), self.number(0, len(fitting) - 1))]

    def weight(self, array: np.ndarray) -> str:
        """The name of a new constant."""
        name = self.new()
        self.weights[name] = array
        return name

    def normal(self, *shape: int, like: str = "float32") -> str:
        return self.weight(self.random.standard_normal(shape).astype(like))

    def places(self, *numbers: int) -> str:
        return self.weight(np.array(numbers, np.int64))

    def dtype(self, name: str) -> str:
        return str(self.values[name].dtype)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.values[name].shape


Draw = Callable[[Draft], "tuple[str, list[str], dict[str, Any], int] | None"]
"""Operator, inputs, attributes and the number of outputs; None where nothing fits."""


def _unary(operator: str, dtypes: Sequence[str] = FLOATS, **attributes: float) -> Draw:
    def draw(draft: Draft) -> Any:
        x = draft.value(dtypes)
        return None if x is None else (operator, [x], attributes, 1)

    return draw


def _beside(draft: Draft, x: str) -> str:
    """An operand for `x`: a value of its shape, or a constant that is broadcast."""
    same = [
        name
        for name, array in draft.values.items()
        if array.shape == draft.shape(x) and array.dtype == draft.values[x].dtype and name != x
    ]
    if same and draft.number(0, 1):
        return str(draft.one_of(same))
    shape = [extent if draft.number(0, 1) else 1 for extent in draft.shape(x)]
    shape = shape[draft.number(0, len(shape)) :]
    dtype = draft.values[x].dtype
    if dtype.kind == "f":
        return draft.normal(*shape, like=str(dtype))
    if dtype.kind == "b":
        return draft.weight(draft.random.random(shape) > 0.5)
    return draft.weight(draft.random.integers(1, 7, shape).astype(dtype))


def _binary(operator: str, dtypes: Sequence[str], **attributes: Any) -> Draw:
    def draw(draft: Draft) -> Any:
        x = draft.value(dtypes)
        if x is None:
            return None
        pair = [x, _beside(draft, x)]
        if draft.number(0, 1) and operator != "PRelu":
            pair.reverse()
        return operator, pair, attributes, 1

    return draw


def _choice(draft: Draft) -> Any:
    condition = draft.value(["bool"])
    if condition is None:
        return None
    shape, dtype = draft.shape(condition), str(draft.one_of(FLOATS))
    return "Where", [condition, draft.normal(*shape, like=dtype), draft.normal(like=dtype)], {}, 1


def _cast(draft: Draft) -> Any:
    x = draft.value([*FLOATS, *WHOLE, "bool"])
    if x is None:
        return None
    to = draft.one_of(["float32", "float64", "int32", "int64", "bool"])
    return "Cast", [x], {"to": helper.np_dtype_to_tensor_dtype(np.dtype(to))}, 1


def _any(draft: Draft, ranks: Sequence[int] = (1, 2, 3, 4)) -> str | None:
    return draft.value([*FLOATS, "int32", "int64", "bool"], ranks)


def _reshape(draft: Draft) -> Any:
    x = _any(draft)
    if x is None:
        return None
    shape = list(draft.shape(x))
    at = draft.number(0, len(shape) - 1)
    if draft.number(0, 1) and len(shape) < 4:
        factors = [each for each in range(1, shape[at] + 1) if shape[at] % each == 0]
        part = draft.one_of(factors)
        shape[at : at + 1] = [part, shape[at] // part]
    elif len(shape) > 1 and at:
        shape[at - 1 : at + 1] = [shape[at - 1] * shape[at]]
    shape[draft.number(0, len(shape) - 1)] = -1
    return "Reshape", [x, draft.places(*shape)], {}, 1


def _transpose(draft: Draft) -> Any:
    x = _any(draft, (2, 3, 4))
    if x is None:
        return None
    order = [int(each) for each in draft.random.permutation(len(draft.shape(x)))]
    return "Transpose", [x], {"perm": order}, 1


def _unsqueeze(draft: Draft) -> Any:
    x = _any(draft, (1, 2, 3))
    if x is None:
        return None
    return "Unsqueeze", [x, draft.places(draft.number(-1, len(draft.shape(x))))], {}, 1


def _concat(draft: Draft) -> Any:
    x = _any(draft)
    if x is None:
        return None
    axis = draft.number(0, len(draft.shape(x)) - 1)
    shape = list(draft.shape(x))
    shape[axis] = draft.number(1, 3)
    other = draft.weight((draft.random.random(shape) * 3).astype(draft.values[x].dtype))
    return "Concat", draft.one_of([[x, other], [other, x], [x, x]]), {"axis": axis}, 1


def _split(draft: Draft) -> Any:
    x = _any(draft)
    if x is None:
        return None
    axis = draft.number(0, len(draft.shape(x)) - 1)
    extent = draft.shape(x)[axis]
    if extent < 2:
        return None
    first = draft.number(1, extent - 1)
    return "Split", [x, draft.places(first, extent - first)], {"axis": axis}, 2


def _slice(draft: Draft) -> Any:
    x = _any(draft)
    if x is None:
        return None
    axis = draft.number(0, len(draft.shape(x)) - 1)
    extent = draft.shape(x)[axis]
    step = draft.one_of([1, 1, 2, -1, -2])
    bounds = sorted((draft.number(0, extent - 1), draft.number(1, extent)))
    begin, end = (bounds[0], bounds[1]) if step > 0 else (bounds[1], bounds[0] - extent - 1)
    inputs = [x, *(draft.places(each) for each in (begin, end, axis, step))]
    return "Slice", inputs, {}, 1


def _pad(draft: Draft) -> Any:
    x = draft.value(FLOATS)
    if x is None:
        return None
    shape = draft.shape(x)
    mode = draft.one_of(["constant", "reflect", "edge", "wrap"])
    most = [2 if mode == "constant" else max(0, min(2, extent - 1)) for extent in shape]
    pads = [draft.number(0, each) for each in (*most, *most)]
    given = [x, draft.places(*pads)]
    if mode == "constant" and draft.number(0, 1):
        given.append(draft.weight(np.asarray(0.5, draft.values[x].dtype)))
    return "Pad", given, {"mode": mode}, 1


def _expand(draft: Draft) -> Any:
    x = _any(draft, (1, 2, 3))
    if x is None:
        return None
    shape = [draft.number(2, 3) if extent == 1 else extent for extent in draft.shape(x)]
    return "Expand", [x, draft.places(*([draft.number(1, 2)] * draft.number(0, 1)), *shape)], {}, 1


def _tile(draft: Draft) -> Any:
    x = _any(draft, (1, 2, 3))
    if x is None:
        return None
    return "Tile", [x, draft.places(*(draft.number(1, 2) for _ in draft.shape(x)))], {}, 1


def _gather(draft: Draft) -> Any:
    x = _any(draft)
    if x is None:
        return None
    axis = draft.number(0, len(draft.shape(x)) - 1)
    extent = draft.shape(x)[axis]
    shape = draft.one_of([(), (3,), (2, 2)])
    places = draft.random.integers(-extent, extent, shape).astype(np.int64)
    return "Gather", [x, draft.weight(np.asarray(places))], {"axis": axis}, 1


def _gather_elements(draft: Draft) -> Any:
    x = _any(draft, (2, 3))
    if x is None:
        return None
    axis = draft.number(0, len(draft.shape(x)) - 1)
    extent, shape = draft.shape(x)[axis], list(draft.shape(x))
    shape[axis] = draft.number(1, 4)
    places = draft.random.integers(-extent, extent, shape).astype(np.int64)
    return "GatherElements", [x, draft.weight(places)], {"axis": axis}, 1


def _scatter_elements(draft: Draft) -> Any:
    x = draft.value(FLOATS, (2, 3))
    if x is None:
        return None
    axis = draft.number(0, len(draft.shape(x)) - 1)
    shape = list(draft.shape(x))
    extent, shape[axis] = shape[axis], draft.number(1, shape[axis])
    order = draft.random.random(draft.shape(x)).argsort(axis=axis)
    places = np.take(order, range(shape[axis]), axis=axis).astype(np.int64)
    updates = draft.normal(*shape, like=draft.dtype(x))
    reduction = draft.one_of(["none", "add", "max"])
    assert extent >= shape[axis]
    return "ScatterElements", [x, draft.weight(places), updates], {
        "axis": axis, "reduction": reduction,
    }, 1  # fmt: skip


def _scatter_nd(draft: Draft) -> Any:
    x = draft.value(FLOATS, (2, 3))
    if x is None:
        return None
    rows, *rest = draft.shape(x)
    count = draft.number(1, rows)
    places = draft.random.permutation(rows)[:count].reshape(count, 1).astype(np.int64)
    updates = draft.normal(count, *rest, like=draft.dtype(x))
    return "ScatterND", [x, draft.weight(places), updates], {}, 1


def _reduction(operator: str) -> Draw:
    def draw(draft: Draft) -> Any:
        x = draft.value(FLOATS)
        if x is None:
            return None
        rank = len(draft.shape(x))
        axes = draft.random.permutation(rank)[: draft.number(1, rank)]
        axes = [int(axis) - rank * draft.number(0, 1) for axis in axes]
        keep = {"keepdims": draft.number(0, 1)}
        return operator, [x, draft.places(*axes)], keep, 1

    return draw


def _along(operator: str, dtypes: Sequence[str] = FLOATS, **attributes: Any) -> Draw:
    def draw(draft: Draft) -> Any:
        x = draft.value(dtypes)
        if x is None:
            return None
        rank = len(draft.shape(x))
        return operator, [x], {"axis": draft.number(-rank, rank - 1), **attributes}, 1

    return draw


def _cumulative(draft: Draft) -> Any:
    x = draft.value([*FLOATS, "int32", "int64"])
    if x is None:
        return None
    axis = draft.weight(np.asarray(draft.number(0, len(draft.shape(x)) - 1), np.int64))
    return "CumSum", [x, axis], {"exclusive": draft.number(0, 1), "reverse": draft.number(0, 1)}, 1


def _top(draft: Draft) -> Any:
    x = draft.value(FLOATS)
    if x is None:
        return None
    axis = draft.number(0, len(draft.shape(x)) - 1)
    count = draft.places(draft.number(1, draft.shape(x)[axis]))
    return "TopK", [x, count], {"axis": axis, "largest": draft.number(0, 1)}, 2


def _window(draft: Draft, x: str) -> dict[str, Any]:
    """A window that fits into an image's rows and columns, and its steps and padding."""
    image = draft.shape(x)[2:]
    taps = [draft.number(1, min(3, extent)) for extent in image]
    pads = [draft.number(0, tap // 2) for tap in (*taps, *taps)]
    return {
        "kernel_shape": taps,
        "strides": [draft.number(1, 2) for _ in image],
        "pads": pads,
    }


def _convolution(draft: Draft) -> Any:
    x = draft.value(["float32"], (3, 4))
    if x is None:
        return None
    channels = draft.shape(x)[1]
    group = draft.one_of([each for each in range(1, channels + 1) if channels % each == 0])
    outputs = group * draft.number(1, 4)
    window = _window(draft, x)
    weights = draft.normal(outputs, channels // group, *window["kernel_shape"])
    inputs = [x, weights, *([draft.normal(outputs)] * draft.number(0, 1))]
    return "Conv", inputs, {**window, "group": group}, 1


def _transposed(draft: Draft) -> Any:
    x = draft.value(["float32"], (4,))
    if x is None:
        return None
    window = _window(draft, x)
    weights = draft.normal(draft.shape(x)[1], draft.number(1, 4), *window["kernel_shape"])
    return "ConvTranspose", [x, weights], window, 1


def _pool(operator: str, **attributes: Any) -> Draw:
    def draw(draft: Draft) -> Any:
        x = draft.value(["float32"], (3, 4))
        return None if x is None else (operator, [x], {**_window(draft, x), **attributes}, 1)

    return draw


def _whole_image(operator: str) -> Draw:
    def draw(draft: Draft) -> Any:
        x = draft.value(["float32"], (3, 4))
        return None if x is None else (operator, [x], {}, 1)

    return draw


def _normalised(operator: str) -> Draw:
    """By channel: with a scale and a shift for each, and with statistics where they are given."""

    def draw(draft: Draft) -> Any:
        x = draft.value(["float32"], (3, 4))
        if x is None:
            return None
        channels = draft.shape(x)[1]
        inputs = [x, draft.normal(channels), draft.normal(channels)]
        if operator == "BatchNormalization":
            spread = draft.weight(draft.random.uniform(0.5, 2, channels).astype(np.float32))
            inputs += [draft.normal(channels), spread]
        return operator, inputs, {}, 1

    return draw


def _layer_normalised(draft: Draft) -> Any:
    x = draft.value(["float32"], (2, 3))
    if x is None:
        return None
    extent = draft.shape(x)[-1]
    return "LayerNormalization", [x, draft.normal(extent), draft.normal(extent)], {"axis": -1}, 1


def _product(draft: Draft) -> Any:
    x = draft.value(FLOATS, (2, 3, 4))
    if x is None:
        return None
    weights = draft.normal(draft.shape(x)[-1], draft.number(1, 9), like=draft.dtype(x))
    return "MatMul", [x, weights], {}, 1


def _gemm(draft: Draft) -> Any:
    x = draft.value(["float32"], (2,))
    if x is None:
        return None
    across, outputs = draft.number(0, 1), draft.number(1, 9)
    inner = draft.shape(x)[1]
    weights = draft.normal(*((outputs, inner) if across else (inner, outputs)))
    attributes = {"transB": across, "alpha": 0.5}
    return "Gemm", [x, weights, draft.normal(outputs)], attributes, 1


def _einsum(draft: Draft) -> Any:
    x = draft.value(["float32"], (3,))
    if x is None:
        return None
    weights = draft.normal(draft.shape(x)[2], 4)
    return "Einsum", [x, weights], {"equation": draft.one_of(["bsd,de->bse", "bsd,de->bes"])}, 1


def _recurrent(operator: str, gates: int) -> Draw:
    def draw(draft: Draft) -> Any:
        x = draft.value(["float32"], (3,))
        if x is None:
            return None
        width, hidden = draft.shape(x)[2], draft.number(1, 6)
        direction = draft.one_of(["forward", "reverse", "bidirectional"])
        ways = 2 if direction == "bidirectional" else 1
        inputs = [
            x,
            draft.normal(ways, gates * hidden, width),
            draft.normal(ways, gates * hidden, hidden),
            *([draft.normal(ways, 2 * gates * hidden)] * draft.number(0, 1)),
        ]
        return operator, inputs, {"hidden_size": hidden, "direction": direction}, 2

    return draw


def _quantized(draft: Draft) -> Any:
    x = draft.value(["float32"])
    if x is None:
        return None
    kind = draft.one_of(["uint8", "int8"])
    scale = draft.weight(np.asarray(draft.random.uniform(0.02, 0.2), np.float32))
    return "QuantizeLinear", [x, scale, draft.weight(np.asarray(3, kind))], {}, 1


def _dequantized(draft: Draft) -> Any:
    x = draft.value(["uint8", "int8"])
    if x is None:
        return None
    scale = draft.weight(np.asarray(draft.random.uniform(0.02, 0.2), np.float32))
    return "DequantizeLinear", [x, scale, draft.weight(np.asarray(5, draft.dtype(x)))], {}, 1


def _resized(draft: Draft) -> Any:
    x = draft.value(["float32"], (4,))
    if x is None:
        return None
    batch, channels, height, width = draft.shape(x)
    sizes = draft.places(batch, channels, draft.number(1, 2 * height), draft.number(1, 2 * width))
    mode = draft.one_of(["nearest", "linear", "cubic"])
    way = draft.one_of(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
    attributes = {"mode": mode, "coordinate_transformation_mode": way}
    if mode == "nearest":
        attributes["nearest_mode"] = draft.one_of(["floor", "round_prefer_floor"])
    return "Resize", [x, "", "", sizes], attributes, 1


def _depth(draft: Draft) -> Any:
    x = draft.value(["float32"], (4,))
    if x is None:
        return None
    if draft.number(0, 1):
        mode = draft.one_of(["DCR", "CRD"])
        return "DepthToSpace", [x], {"blocksize": 2, "mode": mode}, 1
    return "SpaceToDepth", [x], {"blocksize": 2}, 1


def _triangle(draft: Draft) -> Any:
    x = draft.value(FLOATS, (2, 3, 4))
    if x is None:
        return None
    offset = draft.weight(np.asarray(draft.number(-2, 2), np.int64))
    return "Trilu", [x, offset], {"upper": draft.number(0, 1)}, 1


_UNARY = (
    "Abs", "Atan", "Ceil", "Cos", "Erf", "Exp", "Floor", "Identity", "Log", "Neg", "Reciprocal",
    "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tanh",
)  # fmt: skip
_ACTIVATIONS: dict[str, dict[str, float]] = {
    "Celu": {"alpha": 0.7}, "Elu": {"alpha": 0.6}, "Gelu": {}, "HardSigmoid": {"alpha": 0.3},
    "HardSwish": {}, "LeakyRelu": {"alpha": 0.1}, "Mish": {}, "Relu": {}, "Selu": {},
    "Shrink": {"lambd": 0.4, "bias": 0.1}, "ThresholdedRelu": {"alpha": 0.5},
}  # fmt: skip
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
_INTEGERS = ("int32", "int64")

DRAWS: tuple[Draw, ...] = (
    *(_unary(name) for name in _UNARY),
    *(_unary(name, ["float32"], **given) for name, given in _ACTIVATIONS.items()),
    *(_binary(name, [*FLOATS, *_INTEGERS]) for name in ("Add", "Sub", "Mul", "Min", "Max")),
    _binary("Div", FLOATS), _binary("Pow", FLOATS), _binary("PRelu", ["float32"]),
    _binary("Mod", _INTEGERS), _binary("Mod", FLOATS, fmod=1),
    *(_binary(name, [*FLOATS, *_INTEGERS]) for name in ("Less", "Greater", "LessOrEqual")),
    _binary("Equal", [*_INTEGERS, "bool"]),
    *(_binary(name, ["bool"]) for name in ("And", "Or", "Xor")), _unary("Not", ["bool"]),
    *(_binary(name, _INTEGERS) for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")),
    _choice, _cast, _reshape, _transpose, _unsqueeze, _concat, _split, _slice, _pad, _expand, _tile,
    _gather, _gather_elements, _scatter_elements, _scatter_nd,
    *map(_reduction, _REDUCTIONS), _along("ArgMax"), _along("ArgMin", keepdims=0),
    _along("Softmax"), _along("LogSoftmax"), _along("LpNormalization", p=2), _along("Flatten"),
    _cumulative, _top,
    _convolution, _convolution, _transposed,
    _pool("MaxPool"), _pool("AveragePool"), _pool("AveragePool", count_include_pad=1),
    _pool("LpPool"), _whole_image("GlobalAveragePool"), _whole_image("GlobalMaxPool"),
    _normalised("BatchNormalization"), _normalised("InstanceNormalization"), _layer_normalised,
    _product, _product, _gemm, _einsum,
    _recurrent("LSTM", 4), _recurrent("GRU", 3), _recurrent("RNN", 1),
    _quantized, _dequantized, _dequantized, _resized, _resized, _depth, _triangle,
)  # fmt: skip


def drawn(seed: int) -> Drawn:
    """The network of a seed: 4 to 12 operators on one to three inputs, with a batch of 1 to 4."""
    draft = Draft(np.random.default_rng(seed))
    batch = draft.number(1, 4)
    for _ in range(draft.number(1, 3)):
        rest = [draft.number(1, 8) for _ in range(draft.one_of([1, 2, 3, 3]))]
        dtype = draft.one_of(["float32", "float32", "float32", "float64", *WHOLE, "bool"])
        values = 2 * draft.random.standard_normal((batch, *rest))
        array = values > 0 if dtype == "bool" else np.round(values) if dtype in WHOLE else values
        draft.values[draft.new()] = np.asarray(array).astype(dtype)
    feeds = dict(draft.values)
    wanted = draft.number(4, 12)
    for _ in range(40 * wanted):
        if len(draft.nodes) == wanted:
            break
        _grow(draft)
    read = {name for node in draft.nodes for name in node.input}
    fed = {name: array for name, array in feeds.items() if name in read}
    outputs = [name for name in draft.values if name not in read and name not in feeds]
    model = _model(draft.nodes, fed, {name: draft.values[name] for name in outputs}, draft.weights)
    return Drawn(model, fed, _run(model, fed))


def _grow(draft: Draft) -> None:
    """Add an operator, unless ONNX Runtime refuses it or it gives what cannot be compared."""
    before = dict(draft.weights)
    found = draft.one_of(DRAWS)(draft)
    if found is None:
        return
    operator, inputs, attributes, outputs = found
    names = [draft.new() for _ in range(outputs)]
    node = helper.make_node(operator, inputs, names, **attributes)
    known = {name: (draft.values | draft.weights)[name] for name in inputs if name}
    try:
        results = _run(_model([node], known, dict.fromkeys(names), {}), known)
    except Exception:
        results = []  # ONNX Runtime's errors have no common base
    if not results or not all(map(_is_comparable, results)):
        draft.weights = before
        return
    draft.nodes.append(node)
    draft.values |= dict(zip(names, results, strict=True))


def _is_comparable(array: np.ndarray) -> bool:
    if not 0 < array.size <= _MOST_ELEMENTS or array.ndim > 4:
        return False
    return array.dtype.kind != "f" or bool((np.abs(array) < _LARGEST).all())


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, np.ndarray],
    outputs: dict[str, np.ndarray | None],
    weights: dict[str, np.ndarray],
) -> onnx.ModelProto:
    def typed(name: str, array: np.ndarray | None) -> onnx.ValueInfoProto:
        if array is None:
            return onnx.ValueInfoProto(name=name)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        return helper.make_tensor_value_info(name, kind, array.shape)

    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "drawn",
        [typed(name, array) for name, array in inputs.items()],
        [typed(name, array) for name, array in outputs.items()],
        [numpy_helper.from_array(each, name) for name, each in weights.items() if name in used],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=9)


def _run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return [np.asarray(each) for each in session.run(None, feeds)]


def difference(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> str:
    """How outputs differ from the expected ones; empty where they do not. Integers and booleans are
    compared exactly, floats within 1e-4 of the output's largest value."""
    if len(expected) != len(found):
        return f"{len(found)} outputs, expected {len(expected)}"
    for at, (right, ours) in enumerate(zip(expected, found, strict=True)):
        if (right.shape, right.dtype) != (ours.shape, ours.dtype):
            found_type = f"{ours.dtype}{list(ours.shape)}"
            return f"output {at}: {found_type}, expected {right.dtype}{list(right.shape)}"
        if right.dtype.kind == "f":
            size = max(1e-3, float(np.abs(right).max()))
            if not np.allclose(ours, right, rtol=0, atol=1e-4 * size):
                off = float(np.abs(ours - right).max()) / size
                return f"output {at}: off by {off:.1e} of its scale"
        elif not np.array_equal(right, ours):
            return f"output {at}: {int((right != ours).sum())} of {right.size} values differ"
    return ""
