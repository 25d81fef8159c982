"""State of a TFLite model, as inputs and outputs of its graph.

A network in Relax is a pure function. A variable that the graph reads becomes an input, and the
tensor that it assigns to it an output, which is the input of the next inference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import InputError, first_line
from harness.files.atomic import write_atomically
from harness.models.tflite.graph import dtype_name
from harness.models.tflite.objects import operator_name, packed
from harness.models.tflite.shapes import DAMAGED, PREPARED, tensor_name
from harness.records.artifact import StateTensor

_VARIABLES = frozenset({"ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE"})

Key = tuple[str, str]
"""A variable's container and name."""


def explicit_state(path: Path, work: Path) -> tuple[Path, tuple[StateTensor, ...]]:
    """A TFLite file without variables, and its state: the file itself where it has none, else a
    copy below `work`. Variables begin with the values that the file gives them, or zeros.

    Raises InputError for a damaged file, for variables that a graph other than the first one uses,
    and for first values that LiteRT cannot compute.
    """
    import tflite

    content = path.read_bytes()
    try:
        graph = tflite.Model.GetRootAsModel(content, 0).Subgraphs(0)
        if not any(_is_resource(graph.Tensors(at)) for at in range(graph.TensorsLength())):
            return path, ()
        rewriting = _Rewriting(content, path)
        rewritten = rewriting.packed()
    except DAMAGED:
        raise InputError(f"{path}: a damaged or truncated TFLite model") from None
    write_atomically(work / PREPARED, rewritten)
    return work / PREPARED, rewriting.state


def variables_of(model: Any) -> tuple[str, ...]:
    """The names of all that a model, TFLite's object, keeps between inferences."""
    return _named(model, lambda tensor: _is_resource(tensor) or tensor.IsVariable())


def unkept_tensors(model: Any) -> tuple[str, ...]:
    """The names of tensors that operators of a model keep, which are no variables of its graph."""
    return _named(model, lambda tensor: tensor.IsVariable())


def _named(model: Any, wanted: Callable[[Any], bool]) -> tuple[str, ...]:
    graph = model.Subgraphs(0)
    tensors = [(at, graph.Tensors(at)) for at in range(graph.TensorsLength())]
    return tuple(dict.fromkeys(tensor_name(tensor, at) for at, tensor in tensors if wanted(tensor)))


def _is_resource(tensor: Any) -> bool:
    import tflite

    return bool(tensor.Type() == tflite.TensorType.RESOURCE)


class _Rewriting:
    """A model in LiteRT's objects, which can be changed."""

    def __init__(self, content: bytes, path: Path) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema: Any = schema
        self._path = path
        self._content = content
        self._model = schema.ModelT.InitFromPackedBuf(content)
        self._graph = self._model.subgraphs[0]
        self._handles = _Handles(self._graph, self._operators(0))
        self.state = self._rewrite()

    def packed(self) -> bytes:
        return packed(self._model)

    def _operators(self, graph: int) -> list[tuple[str, Any]]:
        """The operators of a graph, with their names."""
        operators = self._model.subgraphs[graph].operators
        return [(operator_name(self._model, each), each) for each in operators]

    def _rewrite(self) -> tuple[StateTensor, ...]:
        graph, operators = self._graph, self._operators(0)
        beginning = [each.builtinOptions for name, each in operators if name == "CALL_ONCE"]
        once = {int(options.initSubgraphIndex) for options in beginning}
        self._require_alone(once)
        first = self._first_values(once)
        read: dict[Key, int] = {}
        """The tensors that are inputs from now on."""
        now: dict[Key, int] = {}
        """The tensors that have the variables' values, at a place in the graph."""
        instead: dict[int, int] = {}
        kept = []
        for name, operator in operators:
            if name not in _VARIABLES:
                operator.inputs = [instead.get(int(at), int(at)) for at in _listed(operator.inputs)]
                kept.append(operator)
            elif name == "READ_VARIABLE":
                key, result = self._handles.of(operator, self._path), int(operator.outputs[0])
                if key not in now:
                    now[key] = read[key] = result
                instead[result] = now[key]
            elif name == "ASSIGN_VARIABLE":
                source = int(operator.inputs[1])
                now[self._handles.of(operator, self._path)] = instead.get(source, source)
        graph.operators = kept
        for key in [each for each, at in read.items() if now[each] == at]:
            self._make_constant(read.pop(key), first.get(key))
        outputs = [instead.get(int(at), int(at)) for at in _listed(graph.outputs)]
        graph.inputs = [*map(int, _listed(graph.inputs)), *read.values()]
        following = dict.fromkeys(now[key] for key in read)
        graph.outputs = [*outputs, *(at for at in following if at not in outputs)]
        self._model.signatureDefs = []
        return tuple(self._state(at, now[key], first.get(key)) for key, at in read.items())

    def _require_alone(self, once: Iterable[int]) -> None:
        """Raise InputError where a graph uses variables, other than the first and those of `once`,
        which give them their first values."""
        for at in set(range(1, len(self._model.subgraphs))).difference(once):
            for name, operator in self._operators(at):
                if name == "VAR_HANDLE":
                    tensors = self._model.subgraphs[at].tensors
                    handle = _text(tensors[int(operator.outputs[0])].name)
                    raise InputError(
                        f"{self._path}: the variable '{handle}' is used in a graph that another "
                        "one calls, which is not supported"
                    )

    def _make_constant(self, at: int, value: np.ndarray | None) -> None:
        """Give a variable that is never assigned its first value."""
        tensor = self._graph.tensors[at]
        if value is None:
            dtype = dtype_name(int(tensor.type))
            value = np.zeros([int(extent) for extent in _listed(tensor.shape)], dtype)
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        tensor.buffer, tensor.shape = len(self._model.buffers) - 1, list(value.shape)

    def _state(self, at: int, following: int, first: np.ndarray | None) -> StateTensor:
        tensor = self._graph.tensors[at]
        if first is not None:
            tensor.shape = list(first.shape)
        tensor.shapeSignature = None
        for each in (at, following):
            # A name of its own: inputs and outputs are known by it.
            name = self._name(each) if self._graph.tensors[each].name else "tensor"
            known = Counter(self._name(other) for other in range(len(self._graph.tensors)))
            if known[name] > 1 or not self._graph.tensors[each].name:
                name = f"{name}_{each}"
            self._graph.tensors[each].name = name
        values = () if first is None or not first.any() else tuple(first.ravel().tolist())
        return StateTensor(input=self._name(at), output=self._name(following), initial=values)

    def _name(self, at: int) -> str:
        name = self._graph.tensors[at].name
        return name.decode() if isinstance(name, bytes) else str(name)

    def _first_values(self, graphs: Iterable[int]) -> dict[Key, np.ndarray]:
        """The values that graphs which run once give to variables."""
        found: dict[Key, np.ndarray] = {}
        for at in graphs:
            graph, operators = self._model.subgraphs[at], self._operators(at)
            handles = _Handles(graph, operators)
            assigned = [each for name, each in operators if name == "ASSIGN_VARIABLE"]
            sources = [int(each.inputs[1]) for each in assigned]
            for operator, value in zip(assigned, self._computed(at, sources), strict=True):
                found[handles.of(operator, self._path)] = value
        return found

    def _computed(self, at: int, wanted: list[int]) -> list[np.ndarray]:
        """The values of tensors of a graph that has no inputs."""
        from ai_edge_litert.interpreter import Interpreter

        model = self._schema.ModelT.InitFromPackedBuf(self._content)
        graph = model.subgraphs[at]
        names = [name for name, _ in self._operators(at)]
        graph.operators = [
            each
            for each, name in zip(graph.operators, names, strict=True)
            if name not in _VARIABLES
        ]
        graph.inputs, graph.outputs = [], wanted
        model.subgraphs, model.signatureDefs = [graph], []
        try:
            interpreter = Interpreter(model_content=packed(model), num_threads=1)
            interpreter.allocate_tensors()
            interpreter.invoke()
            details = interpreter.get_output_details()
            return [interpreter.get_tensor(detail["index"]) for detail in details]
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{self._path}: LiteRT cannot compute the first values of its variables: "
                f"{first_line(error)}"
            ) from None


class _Handles:
    """The variables that the tensors of a graph stand for."""

    def __init__(self, graph: Any, operators: Iterable[tuple[str, Any]]) -> None:
        self._tensors = graph.tensors
        self._keys: dict[int, Key] = {}
        for name, operator in operators:
            if name == "VAR_HANDLE":
                handle, options = int(operator.outputs[0]), operator.builtinOptions
                key = _text(options.container), _text(options.sharedName)
                self._keys[handle] = key if any(key) else ("", _text(self._tensors[handle].name))

    def of(self, operator: Any, path: Path) -> Key:
        """The variable that an operator reads or assigns."""
        handle = int(operator.inputs[0])
        if handle not in self._keys:
            name = _text(self._tensors[handle].name)
            raise InputError(f"{path}: '{name}' is a variable of another graph, not supported")
        return self._keys[handle]


def _listed(tensors: Any) -> Iterable[Any]:
    return [] if tensors is None else tensors


def _text(value: Any) -> str:
    return "" if value is None else value.decode() if isinstance(value, bytes) else str(value)
