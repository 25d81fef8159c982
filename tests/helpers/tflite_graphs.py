"""TFLite models of single operators, and of many beside each other, in LiteRT's own schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Input:
    """An input of a model: random values from `low` to `high`. With scales its integers are real
    numbers in steps."""

    shape: Sequence[int]
    dtype: str = "float32"
    scale: Sequence[float] = ()
    zero: Sequence[int] = (0,)
    low: float | None = None
    high: float | None = None
    variable: bool = False
    """Whether it is no input but what the operator keeps."""

    def drawn(self, generator: np.random.Generator) -> np.ndarray:
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            low, high = (-3.0 if self.low is None else self.low), self.high or 3.0
            return generator.uniform(low, high, self.shape).astype(dtype)
        limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        least, largest = limits if dtype.itemsize == 1 else (-9, 9)
        low = least if self.low is None else int(self.low)
        high = largest if self.high is None else int(self.high)
        return generator.integers(low, high + 1, self.shape).astype(dtype)


@dataclass(frozen=True)
class Constant:
    """A constant, with scales as an `Input` has; `axis` is the one of its scales."""

    values: np.ndarray
    scale: Sequence[float] = ()
    zero: Sequence[int] = (0,)
    axis: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def dtype(self) -> str:
        return self.values.dtype.name


@dataclass(frozen=True)
class Output:
    """A result; LiteRT says of what shape."""

    dtype: str = "float32"
    scale: Sequence[float] = ()
    zero: Sequence[int] = (0,)


@dataclass(frozen=True)
class Case:
    """One operator. `options` are fields of the table that `table` names."""

    operator: str
    inputs: Sequence[Input | Constant | None]
    outputs: Sequence[Output] = (Output(),)
    table: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    intermediates: Sequence[Output] = ()
    """Steps of values within the operator."""

    @property
    def quantized(self) -> bool:
        return any(output.scale for output in self.outputs)

    def __str__(self) -> str:
        return f"{self.operator} {self.note}".strip()


_VERSIONS = {"FULLY_CONNECTED": 4, "BROADCAST_TO": 2}


class _Graph:
    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.buffers = [schema.BufferT()]
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[Any] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def tensor(self, name: str, found: Input | Constant | Output) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.type = (
            name.encode(),
            getattr(self.schema.TensorType, found.dtype.upper()),
        )
        tensor.shape = [] if isinstance(found, Output) else list(found.shape)
        if found.scale:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale = list(found.scale)
            tensor.quantization.zeroPoint = list(found.zero) * (len(found.scale) // len(found.zero))
            tensor.quantization.quantizedDimension = getattr(found, "axis", 0)
        tensor.isVariable = isinstance(found, Input) and found.variable
        if isinstance(found, Constant):
            tensor.buffer = len(self.buffers)
            self.buffers.append(self.schema.BufferT())
            self.buffers[-1].data = np.frombuffer(found.values.tobytes(), np.uint8)
        self.tensors.append(tensor)
        at = len(self.tensors) - 1
        if isinstance(found, Input) and not found.variable:
            self.inputs.append(at)
        return at

    def add(self, case: Case, at: int) -> None:
        inputs = [
            -1 if each is None else self.tensor(f"x{at}_{place}", each)
            for place, each in enumerate(case.inputs)
        ]
        outputs = [self.tensor(f"y{at}_{p}", each) for p, each in enumerate(case.outputs)]
        self.outputs += outputs
        within = [self.tensor(f"z{at}_{p}", each) for p, each in enumerate(case.intermediates)]
        code = self.schema.OperatorCodeT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, case.operator)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = _VERSIONS.get(case.operator, 1)
        operator = self.schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.codes), inputs, outputs
        operator.intermediates = within or None
        if case.table:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, case.table)
            operator.builtinOptions = getattr(self.schema, f"{case.table}T")()
            for key, value in case.options.items():
                assert hasattr(operator.builtinOptions, key), key
                setattr(operator.builtinOptions, key, value)
        self.codes.append(code)
        self.operators.append(operator)

    def packed(self) -> bytes:
        import flatbuffers

        graph = self.schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = self.inputs, self.outputs
        model = self.schema.ModelT()
        model.version, model.subgraphs = 3, [graph]
        model.operatorCodes, model.buffers = self.codes, self.buffers
        flat = flatbuffers.Builder(1024)
        flat.Finish(model.Pack(flat), b"TFL3")
        return bytes(flat.Output())


def save(cases: Sequence[Case], path: Path, run: bool = True) -> Path:
    """A model with an output for each output of each case, in their order. Its shapes are those
    that LiteRT computes, if it is to run it."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    graph = _Graph()
    for at, case in enumerate(cases):
        graph.add(case, at)
    if not run:
        path.write_bytes(graph.packed())
        return path
    interpreter = Interpreter(
        model_content=graph.packed(),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    for at, detail in zip(graph.outputs, interpreter.get_output_details(), strict=True):
        graph.tensors[at].shape = [int(extent) for extent in detail["shape"]]
    path.write_bytes(graph.packed())
    return path


def feeds(cases: Sequence[Case], seed: int = 0) -> dict[str, np.ndarray]:
    """Values for the inputs of a model of cases."""
    generator = np.random.default_rng(seed)
    return {
        f"x{at}_{place}": each.drawn(generator)
        for at, case in enumerate(cases)
        for place, each in enumerate(case.inputs)
        if isinstance(each, Input) and not each.variable
    }
