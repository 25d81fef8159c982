"""TVM's converter of TFLite graphs with our converters of operators, and its refusals in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.compiler.api import relax, shape_of
from harness.compiler.tflite_frontend import OperatorConverter, TensorWrapper
from harness.errors import InputError
from harness.models.imported import Node, OperatorsRefused
from harness.models.tflite.graph import Graph, Tensor
from harness.models.tflite.operation import Operation, Unsupported
from harness.models.tflite.operators.table import CONVERTERS
from harness.models.tflite.presentation import Presented, present, returned

_SHOWN = 5
"""Outputs of operators of one kind that are named."""


def converter(
    path: Path, computed: Mapping[int, np.ndarray], converted: dict[str, Node]
) -> type[LiteRtConverter]:
    """The converter of a file. `computed` has values of tensors of its first graph that no input
    changes; `converted` gets the nodes of variables."""

    class Bound(LiteRtConverter):
        pass

    Bound.path, Bound.computed, Bound.converted = path, computed, converted
    return Bound


class LiteRtConverter(OperatorConverter):  # type: ignore[misc]
    """Converts one graph. Converters see no quantization: their inputs come as `VIEWS` says."""

    path: Path
    computed: Mapping[int, np.ndarray]
    converted: dict[str, Node]

    def __init__(
        self, model: Any, subgraph: Any, exp_tab: Any, ctx: Any, conversion_state: Any = None
    ) -> None:
        super().__init__(model, subgraph, exp_tab, ctx, conversion_state)
        # The graphs that the first one calls have tensors of their own.
        self._computed = self.computed if conversion_state is None else {}
        self._graph = Graph(model, subgraph, self._computed)
        self._values: dict[int, relax.Expr] = {}
        self._presented = Presented({}, {})
        inputs = subgraph.InputsAsNumpy() if subgraph.InputsLength() else []
        for index, value in zip(inputs, exp_tab.exprs.values(), strict=True):
            self._values[int(index)] = value

    def convert_op_to_relax(self) -> None:
        for at in range(self.subgraph.OperatorsLength()):
            operator = self.subgraph.Operators(at)
            outputs = self._tensors(operator, "Outputs")
            known = [each is not None and each.index in self._computed for each in outputs]
            if not known or not all(known):
                self._convert(operator)

    def _convert(self, operator: Any) -> None:
        name = self.get_op_code_str(operator)
        inputs = self._tensors(operator, "Inputs")
        outputs = [each for each in self._tensors(operator, "Outputs") if each is not None]
        try:
            found = self._converted(name, operator, inputs, outputs)
        except InputError:
            raise
        except Exception as error:
            types = ", ".join("none" if each is None else str(each) for each in inputs)
            why = (
                str(error)
                if isinstance(error, Unsupported)
                else f"TVM's converter fails for ({types})"
            )
            text = (
                f"{self.path}: operator {name} of '{_first(outputs)}' is not supported in this "
                f"form: {why}"
            )
            raise OperatorsRefused(text, {name: [_first(outputs)]}, why) from error
        for tensor, value in zip(outputs, found, strict=False):
            self._values[tensor.index] = value
        if found and hasattr(found[0], "name"):
            node = Node(name, _first(outputs), _first(outputs).partition(";")[0])
            self.converted.setdefault(str(found[0].name), node)

    def _converted(
        self,
        name: str,
        operator: Any,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
    ) -> list[relax.Expr]:
        """The results of an operator in their order, none of one that has no results."""
        self._presented = present(
            name, operator, inputs, outputs, self._values.get, self._graph, self.bb
        )
        values, arrays = self._presented
        operation = Operation(name, operator, inputs, outputs, values, arrays, self.bb)
        if name in CONVERTERS:
            result = CONVERTERS[name](operation)
        else:
            result = self.convert_map[name](op=operator)
        self._presented = Presented({}, {})
        if result is None:
            return []
        result = self.bb.normalize(result)
        if len(outputs) == 1:
            if isinstance(result, relax.Tuple):
                result = result.fields[0]
            each = [result]
        else:
            each = [self.bb.normalize(result[at]) for at in range(len(outputs))]
        return [
            returned(name, value, tensor, self.bb)
            for value, tensor in zip(each, outputs, strict=True)
        ]

    def _tensors(self, operator: Any, kind: str) -> list[Tensor | None]:
        if not getattr(operator, f"{kind}Length")():
            return []
        indices = map(int, getattr(operator, f"{kind}AsNumpy")())
        return [self._graph.tensor(index) if index >= 0 else None for index in indices]

    # What TVM's own converters ask for: tensors as they are presented to the operator.

    def get_tensors(self, tensors_idx_list: Any) -> list[Any]:
        return [
            TensorWrapper(int(index), 0, 0)
            if index < 0
            else TensorWrapper(int(index), _Shown(self, int(index)), _Content(self, int(index)))
            for index in self._indices_or_empty(tensors_idx_list)
        ]

    def array_of(self, index: int) -> np.ndarray | None:
        found = self._presented.arrays.get(index)
        return self._graph.constant(index) if found is None else found

    def has_expr(self, input_tensor_idx: int) -> bool:
        if input_tensor_idx in self._presented.arrays:
            return False
        return input_tensor_idx in self._presented.values or input_tensor_idx in self._values

    def get_expr(self, input_tensor_idx: int) -> relax.Expr:
        for known in (self._presented.values, self._values):
            if input_tensor_idx in known:
                return known[input_tensor_idx]
        found = self.array_of(input_tensor_idx)
        if found is None:
            name = self._graph.tensor(input_tensor_idx).name
            raise Unsupported(f"'{name}' is neither computed nor a constant")
        return relax.const(found, str(found.dtype))

    def get_tensor_expr(self, tensor: Any, is_sparse: bool = False) -> relax.Expr:
        return self.get_expr(tensor.tensor_idx)

    def get_tensor_value(self, tensor_wrapper: Any, is_sparse: bool = False) -> np.ndarray:
        found = self.array_of(tensor_wrapper.tensor_idx)
        if found is None:
            name = self._graph.tensor(tensor_wrapper.tensor_idx).name
            raise Unsupported(f"'{name}' is not a constant")
        return found

    def get_tensor_shape(self, tensor_wrapper: Any) -> np.ndarray:
        index = tensor_wrapper.tensor_idx
        if self.has_expr(index):
            return np.array(shape_of(self.get_expr(index)), np.int32)
        found = self.array_of(index)
        shape = self._graph.tensor(index).shape if found is None else found.shape
        return np.array(shape, np.int32)

    def check_unsupported_ops(self) -> None:
        operators = map(self.subgraph.Operators, range(self.subgraph.OperatorsLength()))
        refused: dict[str, list[str]] = {}
        for operator in operators:
            name = self.get_op_code_str(operator)
            if name not in self.convert_map and name not in CONVERTERS:
                outputs = [each for each in self._tensors(operator, "Outputs") if each is not None]
                if not outputs or outputs[0].index not in self._computed:
                    refused.setdefault(name, []).append(f"'{_first(outputs)}'")
        if refused:
            raise InputError(f"{self.path}: operators that TVM cannot import: {_listed(refused)}")

    def get_op_code_str(self, operator: Any) -> str:
        """The name of an operator. TVM's own raises for those that TFLite does not define."""
        import tflite

        code = self.model.OperatorCodes(operator.OpcodeIndex())
        custom = code.CustomCode() or b""
        if code.BuiltinCode() != tflite.BuiltinOperator.CUSTOM or custom == _POSTPROCESS:
            return str(super().get_op_code_str(operator))
        return f"{custom.decode(errors='replace')} (custom)"


_POSTPROCESS = b"TFLite_Detection_PostProcess"


class _Shown:
    """TFLite's object of a tensor, with the type that its values are presented in."""

    def __init__(self, converter: LiteRtConverter, index: int) -> None:
        self._raw = converter._graph.raw(index)
        self._type = converter._presented.types.get(index, self._raw.Type())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def Type(self) -> int:
        return int(self._type)

    def Quantization(self) -> None:
        return None


class _Content:
    """TFLite's object of a tensor's content."""

    def __init__(self, converter: LiteRtConverter, index: int) -> None:
        self._array = converter.array_of(index)

    def DataLength(self) -> int:
        return 0 if self._array is None else self._array.nbytes

    def DataAsNumpy(self) -> Any:
        if self._array is None:
            return 0
        return np.frombuffer(np.ascontiguousarray(self._array).tobytes(), np.uint8)


def _first(outputs: Sequence[Tensor]) -> str:
    return outputs[0].name if outputs else "?"


def _listed(refused: Mapping[str, Sequence[str]]) -> str:
    """Operators, and the outputs of some of each."""
    return "; ".join(
        f"{name} → {', '.join(found[:_SHOWN])}"
        + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
        + " (not supported)"
        for name, found in refused.items()
    )
