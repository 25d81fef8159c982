"""Evaluates an ONNX network in 64-bit floats, node by node.

A node runs in ONNX Runtime where that has the operator for 64-bit floats, and in the reference
implementation of the `onnx` package, which is NumPy, where it has not. Products of integers always
run in NumPy: without VNNI those of ONNX Runtime saturate.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

from harness.baselines.base import Feeds
from harness.errors import first_line
from harness.judges.base import CannotJudge
from harness.judges.onnx_operators import OPERATORS
from harness.judges.onnx_runtime_operators import RUNTIME_OPERATORS
from harness.judges.onnx_widening import WIDE, widened
from harness.judges.recurrent import RECURRENT, in_steps
from harness.judges.rounding import FLOATS, Rounding
from harness.models.onnx.file import load_onnx

_NUMPY_OPERATORS = [*OPERATORS, *RUNTIME_OPERATORS]
_IN_NUMPY = frozenset(
    {
        *("QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger", "DynamicQuantizeLinear"),
        *(operator.__name__ for operator in _NUMPY_OPERATORS),
    }
)
_IN_HALVES = frozenset({"Resize", "Upsample", "AveragePool"})
"""Linear, only there for 32-bit floats, and slow in NumPy: a value is the sum of two such floats,
and each half goes through alone. These operators alone round as the network itself does."""
_MOVES = frozenset(
    {
        *("Reshape", "Transpose", "Concat", "Slice", "Gather", "GatherND", "GatherElements"),
        *("Squeeze", "Unsqueeze", "Flatten", "Split", "Identity", "Expand", "Tile", "Pad", "Where"),
        *("Cast", "Constant", "ConstantOfShape", "Relu", "Clip", "Max", "Min", "MaxPool", "Abs"),
        *("Neg", "DepthToSpace", "SpaceToDepth", "ScatterND", "ScatterElements", "TopK"),
        *("ReduceMax", "ReduceMin", "Floor", "Ceil", "Round", "Sign"),
    }
)
"""Operators that round nothing."""
_SUMS = frozenset(
    {
        *("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "Add", "Sub", "Sum", "Mean"),
        *("ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "CumSum"),
        *("BatchNormalization", "LayerNormalization", "InstanceNormalization", "LSTM", "GRU"),
        *("GroupNormalization", "AveragePool", "GlobalAveragePool", "RNN", "Attention"),
        *("DFT", "STFT", "DeformConv", "Col2Im"),
    }
)
"""Operators in whose sums terms may cancel."""

_LINEAR = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum"})
"""Operators of which the magnitudes of inputs give the sums of the terms' magnitudes."""

_APART = 0.1
_OF_LARGEST = 0.01
_MOST_APART = 0.01
"""Evaluations of one function differ by `_APART` of the values' size, or of a share of the largest,
in so many values at most: some of a long recurrent layer's do, as ONNX Runtime approximates its
functions."""

Values = dict[str, np.ndarray]


class OnnxFloat64:
    """A static ONNX model. Raises CannotJudge for one whose nodes cannot be read."""

    def __init__(self, path: Path) -> None:
        model = load_onnx(path)
        self._dtypes = _float_dtypes(model)
        model = widened(model)
        self._opsets = list(model.opset_import)
        self._ir_version = model.ir_version
        self._constants = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self._outputs = [value.name for value in model.graph.output]
        self._nodes = [(node, list(_reads(node))) for node in model.graph.node]
        self._uses = Counter(name for _, reads in self._nodes for name in reads)
        self._sessions: dict[int, onnxruntime.InferenceSession | None] = {}
        self._confirmed: set[int] = set()

    def outcomes(self, feeds: Feeds) -> Iterator[list[np.ndarray]]:
        yield self.exact(feeds)
        for seed in count(1):
            yield self._once(feeds, Rounding(seed))

    def exact(self, feeds: Feeds) -> list[np.ndarray]:
        """The outputs, with nothing rounded. Raises CannotJudge."""
        return self._once(feeds, None)

    def _once(self, feeds: Feeds, rounding: Rounding | None) -> list[np.ndarray]:
        values: Values = dict(self._constants)
        for name, array in feeds.items():
            values[name] = array.astype(np.float64) if array.dtype.name in FLOATS else array
        left = self._uses.copy()
        left.update(self._outputs)
        for at, (node, reads) in enumerate(self._nodes):
            given = {name: values[name] for name in dict.fromkeys(reads)}
            found = self._in_steps(node, given, rounding) if rounding else None
            found = self._node(at, node, given) if found is None else found
            sizes = self._sizes(at, node, given) if rounding else None
            for name, array in zip(filter(None, node.output), found, strict=True):
                if not isinstance(array, np.ndarray):
                    raise CannotJudge(f"operator {node.op_type} gives no tensor")
                if rounding and node.op_type not in _MOVES and array.dtype == np.float64:
                    dtype = self._dtypes.get(name, "float32")
                    terms = _terms(node, given, array)
                    array = rounding(array, dtype, terms=terms, sizes=sizes)
                values[name] = array
            for name in reads:
                left[name] -= 1
                if not left[name]:
                    values.pop(name, None)
        return [values[name] for name in self._outputs]

    def _sizes(self, at: int, node: onnx.NodeProto, given: Values) -> np.ndarray | None:
        """The sums of the magnitudes of the terms of each value, of an operator that is linear."""
        if node.op_type not in _LINEAR:
            return None
        magnitudes = {name: np.abs(array) for name, array in given.items()}
        sizes: np.ndarray = np.abs(self._node(at, node, magnitudes)[0])
        return sizes

    def _in_steps(
        self, node: onnx.NodeProto, given: Values, rounding: Rounding
    ) -> list[np.ndarray] | None:
        """The outputs of a recurrent node whose states are moved; None of any other node, and of
        one that is evaluated as a whole only."""
        if node.op_type not in RECURRENT:
            return None
        dtype = self._dtypes.get(next(filter(None, node.output)), "float32")
        evaluators: dict[str, ReferenceEvaluator] = {}

        def step(alone: onnx.NodeProto, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            if alone.name not in evaluators:
                evaluators[alone.name] = ReferenceEvaluator(
                    self._alone(alone, values), new_ops=[*_NUMPY_OPERATORS]
                )
            found = evaluators[alone.name].run(None, dict(values))
            return [np.asarray(array) for array in found]

        def moved(state: np.ndarray) -> np.ndarray:
            return rounding(state, dtype, terms=_terms(node, given, state))

        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                found = in_steps(node, given, step, moved)
            except Exception:
                # The evaluator's operators raise whatever NumPy does.
                return None
        return found and [array for name, array in zip(node.output, found, strict=False) if name]

    def _node(self, at: int, node: onnx.NodeProto, given: Values) -> list[np.ndarray]:
        if node.op_type in _IN_HALVES:
            return self._in_halves(at, node, given)
        if node.op_type not in _IN_NUMPY:
            if at not in self._sessions:
                self._sessions[at] = _session(self._alone(node, given))
            if (found := _outputs(self._sessions[at], given)) is not None:
                return found
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                evaluator = ReferenceEvaluator(
                    self._alone(node, given), new_ops=[*_NUMPY_OPERATORS]
                )
                plain = evaluator.run(None, given)
        except Exception as error:
            # Its operators raise whatever NumPy does.
            raise CannotJudge(
                f"operator {node.op_type} of node '{node.name}' is not evaluated in float64: "
                f"{first_line(error)}"
            ) from error
        found = [np.asarray(array) for array in plain]
        if node.op_type not in _IN_NUMPY and at not in self._confirmed:
            self._confirm(node, given, found)
            self._confirmed.add(at)
        return found

    def _confirm(self, node: onnx.NodeProto, given: Values, found: list[np.ndarray]) -> None:
        """Raise CannotJudge if ONNX's reference evaluation is of another function than ONNX
        Runtime's operator, which has it in single precision only."""
        narrow = {
            name: array.astype(np.float32) if array.dtype == np.float64 else array
            for name, array in given.items()
        }
        others = _outputs(_session(self._alone(node, narrow)), narrow)
        for one, other in zip(found, others or (), strict=False):
            if one.shape == other.shape and _of_one_function(one, other):
                continue
            raise CannotJudge(
                f"ONNX's evaluation of operator {node.op_type} of node '{node.name}' differs from "
                "ONNX Runtime's"
            )

    def _in_halves(self, at: int, node: onnx.NodeProto, given: Values) -> list[np.ndarray]:
        data = node.input[0]
        narrow = {
            name: array.astype(np.float32) if array.dtype == np.float64 else array
            for name, array in given.items()
        }
        if at not in self._sessions:
            self._sessions[at] = _session(self._alone(node, narrow))
        session = self._sessions[at]
        rest = (given[data] - narrow[data]).astype(np.float32)
        first = _outputs(session, narrow)
        second = _outputs(session, {**narrow, data: rest})
        if first is None or second is None:
            raise CannotJudge(f"ONNX Runtime has no operator {node.op_type} of this form")
        return [
            one.astype(np.float64) + np.where(np.isfinite(other), other, 0)
            for one, other in zip(first, second, strict=True)
        ]

    def _alone(self, node: onnx.NodeProto, given: Mapping[str, np.ndarray]) -> onnx.ModelProto:
        """A model of one node."""
        graph = onnx.helper.make_graph(
            [node],
            "node",
            [_info(name, array) for name, array in given.items()],
            [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name],
        )
        return onnx.helper.make_model(
            graph, opset_imports=self._opsets, ir_version=self._ir_version
        )


def _of_one_function(one: np.ndarray, other: np.ndarray) -> bool:
    sizes = np.abs(other.astype(np.float64))
    known = np.isfinite(sizes) & np.isfinite(one)
    room = _APART * (sizes + _OF_LARGEST * sizes[known].max(initial=0.0))
    apart = np.abs(one - other.astype(np.float64))[known] > room[known]
    return bool(np.sum(apart) <= _MOST_APART * apart.size)


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession | None:
    """None where ONNX Runtime does not have the operator for these dtypes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:
        # Its errors are several C++ types without a common base.
        return None


def _outputs(
    session: onnxruntime.InferenceSession | None, given: Values
) -> list[np.ndarray] | None:
    """None where ONNX Runtime does not run it."""
    if session is None:
        return None
    try:
        found: list[np.ndarray] = session.run(None, given)
    except Exception:
        # As above.
        return None
    return found


def _info(name: str, array: np.ndarray) -> Any:
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, array.shape)


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """The names that a node reads of those around it, its subgraphs' included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            own = {value.name for value in (*body.input, *body.initializer)}
            for inner in body.node:
                yield from (name for name in _reads(inner) if name not in own)
                own.update(inner.output)
            made = {name for inner in body.node for name in inner.output}
            known = own | made
            yield from (value.name for value in body.output if value.name not in known)


def _float_dtypes(model: onnx.ModelProto) -> dict[str, str]:
    """Which floats each value is of in the model itself, where that can be inferred."""
    names = {getattr(onnx.TensorProto, name.upper().replace("FLOAT32", "FLOAT")): name
             for name in FLOATS}  # fmt: skip
    names[WIDE] = "float64"
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: names[value.type.tensor_type.elem_type]
        for value in (*inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type in names
    }


def _terms(node: onnx.NodeProto, given: Values, result: np.ndarray) -> int:
    """How many terms each value of a node's result is a sum of, about; 1 for an operator without
    sums."""
    if node.op_type not in _SUMS:
        return 1
    first, *rest = (int(given[name].size) for name in node.input if name in given)
    values = max(1, int(result.size))
    if node.op_type == "Conv":
        return rest[0] // max(1, int(given[node.input[1]].shape[0]))
    if node.op_type in ("MatMul", "Gemm"):
        return max(2, round(math.sqrt(first * rest[0] / values)))  # m × k by k × n
    return max(2, first // values)
