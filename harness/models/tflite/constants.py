"""Computes the tensors of a TFLite graph that depend on no input, with LiteRT's own kernels.

Converters leave arithmetic on shapes, 16-bit and sparse weights that are expanded, and integer
weights that are turned into floats. These operators make a graph of their own, which LiteRT runs
once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.models.tflite.objects import operator_name, packed

_NOT_COMPUTED = frozenset(
    {
        *("CUSTOM", "WHILE", "IF", "RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL"),
        *("CALL", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE"),
        "STABLEHLO_COMPOSITE",
    }
)
"""Operators with other subgraphs, with state, or whose result is another each time."""


def computed_constants(content: bytes) -> dict[int, np.ndarray]:
    """The values of tensors of the first graph, by their index, that operators compute from
    constants and from shapes alone. The graph must be static."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    graph = model.subgraphs[0]
    known = {
        at
        for at, tensor in enumerate(graph.tensors)
        if _filled(model.buffers[tensor.buffer]) and not tensor.isVariable
    }
    found: dict[int, np.ndarray] = {}
    kept = []
    for operator in graph.operators:
        name = operator_name(model, operator)
        inputs, outputs = _indices(operator.inputs), _indices(operator.outputs)
        if name in ("SHAPE", "RANK") and _shape(graph.tensors[inputs[0]]) is not None:
            shape = _shape(graph.tensors[inputs[0]]) or ()
            kind = graph.tensors[outputs[0]].type == schema.TensorType.INT64
            value = np.array(shape if name == "SHAPE" else len(shape))
            found[outputs[0]] = value.astype(np.int64 if kind else np.int32)
            known.add(outputs[0])
        elif inputs and outputs and known.issuperset(inputs) and name not in _NOT_COMPUTED:
            kept.append(operator)
            known.update(outputs)
    if kept:
        found |= _run(schema, model, kept, found)
    return found


def _run(
    schema: Any, model: Any, kept: list[Any], found: dict[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """The outputs of operators that take constants. LiteRT refuses some forms: then none are
    known, and the operators are converted as others are."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    graph = model.subgraphs[0]
    for at, value in found.items():
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        model.buffers.append(buffer)
        graph.tensors[at].buffer = len(model.buffers) - 1
        graph.tensors[at].shape = list(value.shape)
    wanted = [at for operator in kept for at in _indices(operator.outputs)]
    graph.operators, graph.inputs, graph.outputs = kept, [], wanted
    model.subgraphs, model.signatureDefs = [graph], []
    try:
        interpreter = Interpreter(
            model_content=packed(model),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.allocate_tensors()
        interpreter.invoke()
        details = interpreter.get_output_details()
        return {at: interpreter.get_tensor(d["index"]) for at, d in zip(wanted, details)}  # noqa: B905
    except (RuntimeError, ValueError):
        return {}


def _filled(buffer: Any) -> bool:
    return buffer.data is not None and len(buffer.data) > 0


def _indices(tensors: Any) -> list[int]:
    """The tensors that an operator is given; -1 stands for one left out."""
    return [] if tensors is None else [int(at) for at in tensors if at >= 0]


def _shape(tensor: Any) -> tuple[int, ...] | None:
    """A tensor's extents where they are known."""
    shape = () if tensor.shape is None else tuple(map(int, tensor.shape))
    signature = shape if tensor.shapeSignature is None else tuple(tensor.shapeSignature)
    return None if -1 in signature[1:] else shape
