"""Which outputs of a network are real numbers in steps, as quantized networks give them."""

from __future__ import annotations

from pathlib import Path

from harness.models.formats import format_of

_QUANTIZING = frozenset(
    {
        *("QuantizeLinear", "QLinearConv", "QLinearMatMul", "DynamicQuantizeLinear"),
        *("QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearConcat"),
        *("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSoftmax", "QGemm"),
        "QLinearWhere",
    }
)
_PASSING_ON = frozenset(
    {
        *("Reshape", "Transpose", "Concat", "Slice", "Gather", "Squeeze", "Unsqueeze", "Flatten"),
        *("Split", "Identity", "MaxPool", "Relu", "Clip", "Max", "Min", "Resize", "Pad"),
    }
)


def quantized_outputs(path: Path) -> frozenset[str]:
    """The names of the outputs in a model's file whose integers stand for real numbers."""
    return {"onnx": _of_onnx, "tflite": _of_tflite, "torch": _of_torch}[format_of(path)](path)


def _of_onnx(path: Path) -> frozenset[str]:
    from harness.models.onnx.file import load_onnx

    graph = load_onnx(path).graph
    steps: set[str] = set()
    for node in graph.node:  # which are in the order of computation
        passed = node.op_type in _PASSING_ON and not steps.isdisjoint(node.input)
        if passed or node.op_type in _QUANTIZING:
            steps.update(node.output)
    return frozenset(value.name for value in graph.output) & steps


def _of_tflite(path: Path) -> frozenset[str]:
    import tflite

    from harness.models.tflite.shapes import tensor_name

    graph = tflite.Model.GetRootAsModel(path.read_bytes(), 0).Subgraphs(0)
    outputs = [(index, graph.Tensors(index)) for index in graph.OutputsAsNumpy()]
    return frozenset(
        tensor_name(tensor, index)
        for index, tensor in outputs
        if (found := tensor.Quantization()) is not None and found.ScaleLength()
    )


def _of_torch(_: Path) -> frozenset[str]:
    return frozenset()
