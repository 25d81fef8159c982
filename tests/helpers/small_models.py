"""Small real networks for the tests, built in memory with fixed weights: ONNX, PyTorch, TFLite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
INT64 = TensorProto.INT64

Value = tuple[str, int, Sequence[int | str | None]]
"""An input or output: name, ONNX element type, dimensions (None for one that is not known)."""


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Reproducible weights of a size that keeps activations near one."""
    fan_in = int(np.prod(shape[1:])) or 1
    values = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(fan_in)
    return values.astype(np.float32)


def onnx_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[str | Value],
    initialisers: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
    domains: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """An ONNX model; an output given by its name alone is of floats, its shape inferred."""
    values = [(output, FLOAT, None) if isinstance(output, str) else output for output in outputs]
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in values],
        [numpy_helper.from_array(value, name) for name, value in (initialisers or {}).items()],
    )
    opsets = {"": opset, **(domains or {})}
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        ir_version=8,
    )
    return onnx.shape_inference.infer_shapes(model)


def convolutional(batch: int | str | None = 1, side: int | str | None = 8) -> onnx.ModelProto:
    """Convolution, ReLU6, average over the image, a dense layer and softmax: `x` to `y` (N×4)."""
    return onnx_model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("Clip", ["c", "zero", "six"], ["r"], name="relu6"),
            helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
            helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
            helper.make_node("Gemm", ["f", "v", "d"], ["g"], name="dense"),
            helper.make_node("Softmax", ["g"], ["y"], name="softmax"),
        ],
        [("x", FLOAT, [batch, 3, side, side])],
        ["y"],
        {
            "w": weights(16, 3, 3, 3),
            "b": weights(16, seed=1),
            "zero": np.array(0, np.float32),
            "six": np.array(6, np.float32),
            "v": weights(16, 4, seed=2),
            "d": weights(4, seed=3),
        },
    )


def shape_arithmetic() -> onnx.ModelProto:
    """Reshapes `x` (batch × rows × columns) to what it computes from its own shape, as exporters
    write `x.view(x.size(0), -1)`; then a dense layer with its bias added."""
    return onnx_model(
        [
            helper.make_node("Shape", ["x"], ["s"], name="shape"),
            helper.make_node("Gather", ["s", "zero"], ["n"], name="batch"),
            helper.make_node("Unsqueeze", ["n", "axis"], ["u"], name="unsqueeze"),
            helper.make_node("Concat", ["u", "rest"], ["t"], name="target", axis=0),
            helper.make_node("Reshape", ["x", "t"], ["r"], name="view"),
            helper.make_node("MatMul", ["r", "w"], ["m"], name="dense"),
            helper.make_node("Add", ["m", "b"], ["y"], name="bias"),
        ],
        [("x", FLOAT, ["batch", "rows", "columns"])],
        ["y"],
        {
            "zero": np.array(0),
            "axis": np.array([0]),
            "rest": np.array([-1]),
            "w": weights(12, 5),
            "b": weights(5, seed=1),
        },
    )


def recurrent_step() -> onnx.ModelProto:
    """A step of a recurrent network: `h` becomes `following`, half of it and `x` (1×6); `y` (1×4)
    are probabilities computed from that."""
    return onnx_model(
        [
            helper.make_node("Mul", ["h", "half"], ["m"], name="decay"),
            helper.make_node("Add", ["m", "x"], ["following"], name="update"),
            helper.make_node("Gemm", ["following", "w"], ["g"], name="dense"),
            helper.make_node("Softmax", ["g"], ["y"], name="softmax"),
        ],
        [("x", FLOAT, [1, 6]), ("h", FLOAT, [1, 6])],
        ["y", "following"],
        {"half": np.array(0.5, np.float32), "w": weights(6, 4)},
    )


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model and give its path back."""
    onnx.save(model, path)
    return path


def save_with_external_data(model: onnx.ModelProto, path: Path, location: str) -> Path:
    """Write a model whose largest weights are said to lie in `location`, whatever is there."""
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 256:
            entries = {"location": location, "offset": "0", "length": str(len(tensor.raw_data))}
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def feeds(inputs: Sequence[Any], seed: int = 7) -> dict[str, np.ndarray]:
    """Reproducible inputs for anything with `name`, `shape` and `dtype`."""
    generator = np.random.default_rng(seed)
    return {
        spec.name: (
            generator.standard_normal(spec.shape).astype(spec.dtype)
            if np.dtype(spec.dtype).kind == "f"
            else generator.integers(0, 3, spec.shape).astype(spec.dtype)
        )
        for spec in inputs
    }


def save_torch(path: Path, **export_options: Any) -> Path:
    """A PyTorch exported program: `x` (1×3×8×8) and, nested, `gain` to a dictionary of two."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = torch.nn.Conv2d(3, 8, 3, padding=1)
            self.normalise = torch.nn.BatchNorm2d(8)
            self.dense = torch.nn.Linear(8, 4)
            self.register_buffer("offset", torch.ones(4))

        def forward(self, x: torch.Tensor, more: dict[str, torch.Tensor]) -> Any:
            hidden = torch.nn.functional.hardswish(self.normalise(self.convolution(x)))
            scores = self.dense(hidden.mean((2, 3))) + self.offset
            return {"scores": scores, "scaled": torch.nn.functional.gelu(scores) * more["gain"]}

    torch.manual_seed(0)
    example = (torch.randn(1, 3, 8, 8), {"gain": torch.randn(4)})
    program = torch.export.export(Network().eval(), example, **export_options)
    torch.export.save(program, path)
    return path


def save_tflite(
    path: Path, weight_type: str = "float32", operator: str = "RELU6", free: Sequence[int] = ()
) -> Path:
    """A TFLite model: convolution with ReLU6, reshape, dense layer; `x` (1×4×4×2) to `y` (1×3).

    With `weight_type` int8 the dense layer's weights are integers while its input is not, which is
    dynamic range quantization. `operator` replaces the activation by one of its own when it is not
    a fused one. `free` are dimensions of `x` that its signature leaves open.
    """
    from ai_edge_litert import schema_py_generated as schema

    builder = _TfliteBuilder(schema)
    x = builder.tensor("x", [1, 4, 4, 2], free=free)
    kernel = builder.tensor("kernel", [3, 3, 3, 2], weights(3, 3, 3, 2))
    bias = builder.tensor("bias", [3], weights(3, seed=1))
    convolved = builder.tensor("convolved", [1, 4, 4, 3])
    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.SAME, 1, 1
    if operator == "RELU6":
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU6
    builder.operator("CONV_2D", [x, kernel, bias], [convolved], "Conv2DOptions", options)
    if operator != "RELU6":
        activated = builder.tensor("activated", [1, 4, 4, 3])
        builder.operator(operator, [convolved], [activated])
        convolved = activated
    target = builder.tensor("target", [2], np.array([1, 48], np.int32))
    flat = builder.tensor("flat", [1, 48])
    builder.operator("RESHAPE", [convolved, target], [flat])
    dense = weights(3, 48, seed=2)
    if weight_type == "int8":
        dense = np.round(dense * 127 / np.abs(dense).max()).astype(np.int8)
    matrix = builder.tensor("dense", [3, 48], dense, scale=0.01)
    y = builder.tensor("y", [1, 3])
    builder.operator(
        "FULLY_CONNECTED", [flat, matrix], [y], "FullyConnectedOptions",
        schema.FullyConnectedOptionsT(),
    )  # fmt: skip
    path.write_bytes(builder.finish([x], [y]))
    return path


def save_expanded_tflite(path: Path, named: bool = True) -> Path:
    """A TFLite model that adds a dimension: `x` (2×3) to `y` (2×1×3); with names or without."""
    from ai_edge_litert import schema_py_generated as schema

    builder = _TfliteBuilder(schema)
    x = builder.tensor("x", [2, 3])
    axis = builder.tensor("axis", [], np.array(1, np.int32))
    y = builder.tensor("y", [2, 1, 3])
    if not named:
        for tensor in builder.tensors:
            tensor.name = None
    builder.operator("EXPAND_DIMS", [x, axis], [y])
    path.write_bytes(builder.finish([x], [y]))
    return path


def save_free_tflite(path: Path) -> Path:
    """A TFLite model whose batch and length are free: `x` (?×?×3), by a matrix (3×2), to `y`
    (?×?×2), and the `sum` of that over the length."""
    from ai_edge_litert import schema_py_generated as schema

    builder = _TfliteBuilder(schema)
    x = builder.tensor("x", [1, 1, 3], free=[0, 1])
    matrix = builder.tensor("matrix", [3, 2], weights(3, 2))
    axis = builder.tensor("axis", [1], np.array([1], np.int32))
    y = builder.tensor("y", [1, 1, 2], free=[0, 1])
    total = builder.tensor("sum", [1, 2], free=[0])
    product, summed = schema.BatchMatMulOptionsT(), schema.ReducerOptionsT()
    builder.operator("BATCH_MATMUL", [x, matrix], [y], "BatchMatMulOptions", product)
    builder.operator("SUM", [y, axis], [total], "ReducerOptions", summed)
    path.write_bytes(builder.finish([x], [y, total]))
    return path


def save_sharing_tflite(path: Path) -> Path:
    """A TFLite model that adds a constant (1×3) to `x` (?×3), in whose file both have one shape."""
    import tflite
    from ai_edge_litert import schema_py_generated as schema

    builder = _TfliteBuilder(schema)
    x = builder.tensor("x", [1, 3], free=[0])
    bias = builder.tensor("bias", [1, 3], weights(1, 3))
    y = builder.tensor("y", [1, 3], free=[0])
    builder.operator("ADD", [x, bias], [y], "AddOptions", schema.AddOptionsT())
    content = bytearray(builder.finish([x], [y]))
    graph = tflite.Model.GetRootAsModel(content, 0).Subgraphs(0)
    # The first field of a tensor's table says how far behind it its shape is.
    tables = [graph.Tensors(at)._tab for at in (x, bias)]
    first, last = sorted(table.Pos + table.Offset(4) for table in tables)
    shape = last + int.from_bytes(content[last : last + 4], "little")
    content[first : first + 4] = (shape - first).to_bytes(4, "little")
    path.write_bytes(content)
    return path


def save_counting_tflite(path: Path) -> Path:
    """A TFLite model that keeps a sum: `y` is `x` (1×3) added to a variable, which begins with 10,
    20 and 30; `before` is the variable as it was."""
    from ai_edge_litert import schema_py_generated as schema

    builder = _TfliteBuilder(schema)
    x, y, before = (builder.tensor(name, [1, 3]) for name in ("x", "y", "before"))
    init = _with_variables(builder, {"handle": [[10, 20, 30]]})
    handle = builder.named["handle"]
    builder.operator("READ_VARIABLE", [handle], [before])
    builder.operator("ADD", [x, before], [y], "AddOptions", schema.AddOptionsT())
    builder.operator("ASSIGN_VARIABLE", [handle, y], [])
    path.write_bytes(builder.finish([x], [y, before], [init]))
    return path


def save_delaying_tflite(path: Path, called: bool = False) -> Path:
    """A TFLite model that gives `x` (1×3) of two inferences before, and adds a variable that begins
    with 1, 2 and 3, and to which nothing is assigned; `newer` and `older` are `x` of one and two
    inferences before. With `called` the graph that gives the first values is not said to run once
    at the beginning."""
    from ai_edge_litert import schema_py_generated as schema

    builder = _TfliteBuilder(schema)
    names = ("x", "y", "newer", "older", "bias value")
    x, y, newer, older, bias = (builder.tensor(name, [1, 3]) for name in names)
    firsts = {"newer handle": [[0, 0, 0]], "older handle": [[0, 0, 0]], "bias": [[1, 2, 3]]}
    init = _with_variables(builder, firsts, once=not called)
    handles = [builder.named[name] for name in firsts]
    for handle, value in ((handles[1], older), (handles[2], bias), (handles[0], newer)):
        builder.operator("READ_VARIABLE", [handle], [value])
    builder.operator("ASSIGN_VARIABLE", [handles[1], newer], [])
    builder.operator("ASSIGN_VARIABLE", [handles[0], x], [])
    builder.operator("ADD", [older, bias], [y], "AddOptions", schema.AddOptionsT())
    path.write_bytes(builder.finish([x], [y], [init]))
    return path


def _with_variables(
    builder: _TfliteBuilder, firsts: Mapping[str, list[list[float]]], once: bool = True
) -> Any:
    """Give a model variables, by the names of their handles, and a graph with their first values,
    which runs `once`."""
    schema = builder.schema
    init = _TfliteBuilder(schema)
    init.buffers, init.codes = builder.buffers, builder.codes
    if once:
        begins = schema.CallOnceOptionsT()
        begins.initSubgraphIndex = 1
        builder.operator("CALL_ONCE", [], [], "CallOnceOptions", begins)
    for name, values in firsts.items():
        named = schema.VarHandleOptionsT()
        named.container, named.sharedName = "", f"variable of {name}"
        for each in (builder, init):
            each.named[name] = each.resource(name)
            each.operator("VAR_HANDLE", [], [each.named[name]], "VarHandleOptions", named)
        first = init.tensor(f"first of {name}", [1, 3], np.array(values, np.float32))
        init.operator("ASSIGN_VARIABLE", [init.named[name], first], [])
    return init.graph([], [])


def save_computed_tflite(path: Path) -> Path:
    """A TFLite model that computes from constants and shapes: `x` (2×3×4), reshaped to what its
    SHAPE gives, multiplied with 16-bit weights that are stored without their zeros (4×5)."""
    from ai_edge_litert import schema_py_generated as schema

    builder = _TfliteBuilder(schema)
    x, shape = builder.tensor("x", [2, 3, 4]), builder.tensor("shape", [3], dtype=np.int32)
    begin, end, one = (
        builder.tensor(name, [1], np.array([value], np.int32))
        for name, value in (("begin", 2), ("end", 3), ("one", 1))
    )
    last, rows = builder.tensor("last", [], dtype=np.int32), np.array(6, np.int32)
    count = builder.tensor("count", [], rows)
    target = builder.tensor("target", [2], dtype=np.int32)
    flat, y = builder.tensor("flat", [6, 4]), builder.tensor("y", [6, 5])
    sparse = builder.tensor("sparse", [4, 5], np.array([1.5, -2, 0.25], np.float16))
    half = builder.tensor("half", [4, 5], dtype=np.float16)
    whole = builder.tensor("whole", [4, 5])
    found = schema.SparsityParametersT()
    found.traversalOrder, dense, stored = [0, 1], schema.DimensionMetadataT(), None
    dense.denseSize = 4
    stored = schema.DimensionMetadataT()
    stored.format = schema.DimensionType.SPARSE_CSR
    for name, values in (("arraySegments", [0, 1, 1, 3, 3]), ("arrayIndices", [2, 0, 4])):
        vector = schema.Int32VectorT()
        vector.values = values
        setattr(stored, name, vector)
        setattr(stored, f"{name}Type", schema.SparseIndexVector.Int32Vector)
    found.dimMetadata = [dense, stored]
    builder.tensors[sparse].sparsity = found
    sliced, packed = schema.StridedSliceOptionsT(), schema.PackOptionsT()
    sliced.shrinkAxisMask, packed.valuesCount = 1, 2
    of_shape = schema.ShapeOptionsT()
    of_shape.outType = schema.TensorType.INT32
    builder.operator("SHAPE", [x], [shape], "ShapeOptions", of_shape)
    builder.operator(
        "STRIDED_SLICE", [shape, begin, end, one], [last], "StridedSliceOptions", sliced
    )
    builder.operator("PACK", [count, last], [target], "PackOptions", packed)
    builder.operator("RESHAPE", [x, target], [flat])
    builder.operator("DENSIFY", [sparse], [half])
    builder.operator("DEQUANTIZE", [half], [whole])
    product = schema.BatchMatMulOptionsT()
    builder.operator("BATCH_MATMUL", [flat, whole], [y], "BatchMatMulOptions", product)
    path.write_bytes(builder.finish([x], [y]))
    return path


def save_int8_tflite(path: Path) -> Path:
    """A TFLite model in integers throughout: dense layer, `x` int8 1×8 to `y` int8 1×3."""
    from ai_edge_litert import schema_py_generated as schema

    builder = _TfliteBuilder(schema)
    x = builder.tensor("x", [1, 8], dtype=np.int8, scale=0.05)
    values = np.random.default_rng(0).integers(-127, 128, (3, 8))
    matrix = builder.tensor("dense", [3, 8], values.astype(np.int8), scale=0.02)
    bias = builder.tensor("bias", [3], np.array([100, -50, 7], np.int32), scale=0.001)
    y = builder.tensor("y", [1, 3], dtype=np.int8, scale=0.1)
    options = schema.FullyConnectedOptionsT()
    builder.operator("FULLY_CONNECTED", [x, matrix, bias], [y], "FullyConnectedOptions", options)
    path.write_bytes(builder.finish([x], [y]))
    return path


class _TfliteBuilder:
    def __init__(self, schema: Any) -> None:
        self.schema = schema
        self.buffers = [schema.BufferT()]
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[Any] = []
        self.named: dict[str, int] = {}

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        values: np.ndarray | None = None,
        dtype: Any = np.float32,
        scale: float | None = None,
        free: Sequence[int] = (),
    ) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape = name.encode(), list(shape)
        if free:
            tensor.shapeSignature = [-1 if at in free else each for at, each in enumerate(shape)]
        if values is not None:
            dtype = values.dtype
            tensor.buffer = len(self.buffers)
            self.buffers.append(self.schema.BufferT())
            self.buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
        tensor.type = getattr(self.schema.TensorType, np.dtype(dtype).name.upper())
        if scale is not None and np.dtype(dtype).kind == "i":
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options_type: str | None = None,
        options: Any = None,
    ) -> None:
        code = self.schema.OperatorCodeT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        if name == "CUSTOM":
            code.customCode = "Landmarks"
        # Version 4 is the first in which dense layers take integer weights without a bias.
        code.version = 4 if name == "FULLY_CONNECTED" else 1
        operator = self.schema.OperatorT()
        operator.opcodeIndex = len(self.codes)
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        if options_type:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options_type)
            operator.builtinOptions = options
        self.codes.append(code)
        self.operators.append(operator)

    def resource(self, name: str) -> int:
        """A tensor that stands for a variable."""
        at = self.tensor(name, [])
        self.tensors[at].type = self.schema.TensorType.RESOURCE
        return at

    def graph(self, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        graph = self.schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        return graph

    def finish(
        self, inputs: Sequence[int], outputs: Sequence[int], others: Sequence[Any] = ()
    ) -> bytes:
        """The model, with other graphs that it calls."""
        import flatbuffers

        model = self.schema.ModelT()
        model.version, model.subgraphs = 3, [self.graph(inputs, outputs), *others]
        model.operatorCodes, model.buffers = self.codes, self.buffers
        flat = flatbuffers.Builder(1024)
        flat.Finish(model.Pack(flat), b"TFL3")
        return bytes(flat.Output())
