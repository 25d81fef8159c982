"""A second function of a network's library, which calls all kernels from C++.

TVM's virtual machine takes 0.15 µs for each kernel: it makes an object of each intermediate result.
Where a network is a sequence of kernels on tensors of known shapes, as those of this package are, a
table of the calls and a plan of the memory take its place.

The machine also keeps a network's constants twice, and needs them a third time to load them. Here
the linker lays them into the library, from where they are copied once.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

from harness.compiler.api import Constant, operator_name, relax, tvm, values_of
from harness.passes.rewriter import MAIN, with_arguments

AT_ONCE = "at_once"
"""The function of the virtual machine. It takes and gives what `main` does."""
_FUNCTION = "layeredge_at_once"
_PREFIX = "__tvm_ffi_"
"""TVM's, of the functions that it calls in a library."""
_PARAMETERS = "(void*, const TVMFFIAny*, int32_t, TVMFFIAny*)"
_ALIGNED = 64
"""Bytes, as TVM aligns its own memory."""
_CONSTANTS = -1
"""Stands for the constants where a tensor is within one of the arguments."""
_VIEW = "vm.builtin.reshape"
_LEFT_OUT = (
    *("relax.null_value", "relax.vm.kill_object"),
    *("vm.builtin.check_tensor_info", "vm.builtin.match_shape"),
)
_LAID = (
    ".pushsection .rodata.layeredge\n.balign 4096\nlayeredge_constants:\n"
    ".incbin {file}\n.byte 0\n.popsection\n"
)
"""How the assembler lays a file of constants into a library."""
_CODES = {"int": 0, "uint": 1, "float": 2, "bfloat": 4, "bool": 6}
"""DLPack's, by the names of types."""


@dataclass(frozen=True)
class AtOnce:
    """A network that is a sequence of kernels: its module, whose one function is `AT_ONCE`, the C++
    source to link with it, and the names of the kernels in their order."""

    module: tvm.IRModule
    source: str
    sequence: tuple[str, ...]
    constants: tuple[Any, ...]

    def write(self, folder: Path) -> Path:
        """Write the source, and the constants for the linker, to a folder."""
        values = folder / "constants"
        with values.open("wb") as file:
            for each in self.constants:
                file.write(values_of(each).tobytes())
                file.write(bytes(-file.tell() % _ALIGNED))
        # The name of a file within a string of the assembler within one of C++.
        laid = _quoted(_LAID.format(file=_quoted(str(values))))
        source = folder / "calls.cpp"
        source.write_text(f"__asm__({laid});\n{self.source}", encoding="utf-8")
        return source


class _Otherwise(Exception):
    """A network does something that is no call of a kernel on static tensors."""


def all_at_once(finished: tvm.IRModule) -> AtOnce | None:
    """A network, lowered to calls of the virtual machine, with a function `AT_ONCE` in place of
    `main`. None where `main` does anything but call kernels on tensors of static shapes."""
    try:
        calls = _Calls(finished[MAIN])
        source = calls.source()
    except _Otherwise:
        return None
    module = finished.clone()
    del module[MAIN]
    module[AT_ONCE] = calls.function().with_attr("global_symbol", AT_ONCE)
    return AtOnce(module, source, calls.sequence(), tuple(calls.constants))


class _Calls:
    """The calls of a network's `main`, and the places of their operands."""

    def __init__(self, main: relax.Function) -> None:
        self._main = main
        self._storages: dict[relax.Var, Any] = {}
        self._tensors: dict[relax.Var, Any] = {}
        self._views: dict[relax.Var, Any] = {}
        """Tensors that are another with another shape."""
        self._tuples: dict[relax.Var, relax.Tuple] = {}
        self._same: dict[relax.Var, Any] = {}
        """Other names of tensors, as those of a tuple's fields."""
        self._steps: list[tuple[str, list[Any]]] = []
        for block in main.body.blocks:
            for binding in block.bindings:
                self._read(binding)
        if not self._steps or not self._tensors:
            raise _Otherwise
        self._results = self._returned()
        self._outputs = self._written()
        self._given = [*main.params, *self._outputs]
        self.constants = self._read_constants()
        sizes = [_aligned(values_of(each).nbytes) for each in self.constants]
        firsts = [*accumulate(sizes, initial=0)]
        self._laid = {each.__hash__(): at for each, at in zip(self.constants, firsts, strict=False)}
        """Places of constants within those of the library."""
        self._constant_bytes = firsts[-1]
        owned = set(map(self._storage_of, self._outputs))
        shared = [each for each in self._storages if each not in owned]
        ends = [*accumulate(map(self._bytes, shared), initial=0)]
        self._offsets, self._size = dict(zip(shared, ends, strict=False)), ends[-1]
        """Places of storages in the memory, and its size in bytes."""
        self._planned = [
            *self.constants,
            *(each for each in self._tensors if self._storage_of(each) not in owned),
            *self._views,
        ]

    def _read(self, binding: Any) -> None:
        value, variable = binding.value, binding.var
        name = operator_name(value) or _external(value)
        if name == "relax.vm.alloc_storage":
            self._storages[variable] = binding
        elif name == "relax.vm.alloc_tensor":
            self._tensors[variable] = binding
        elif name == _VIEW:
            self._views[variable] = binding
        elif isinstance(value, relax.Tuple):
            self._tuples[variable] = value
        elif isinstance(value, relax.TupleGetItem) and value.tuple_value in self._tuples:
            fields = self._tuples[value.tuple_value].fields
            self._same[variable] = self._named(fields[value.index])
        elif isinstance(value, relax.Var):
            self._same[variable] = self._named(value)
        elif isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.GlobalVar):
            self._steps.append((value.op.name_hint, [*map(self._named, value.args)]))
        elif name not in _LEFT_OUT:
            raise _Otherwise

    def _named(self, tensor: Any) -> Any:
        """A tensor by its first name."""
        return self._same.get(tensor, tensor) if isinstance(tensor, relax.Var) else tensor

    def _returned(self) -> list[Any]:
        """What the network gives: tensors, or one."""
        result = self._main.body.body
        fields = [*self._tuples[result].fields] if result in self._tuples else [result]
        fields = [*map(self._named, fields)]
        if not all(isinstance(each, relax.Var | Constant) for each in fields):
            raise _Otherwise
        return fields

    def _written(self) -> list[relax.Var]:
        """The results that kernels write. They have storages of their own."""
        found = dict.fromkeys(map(self._base, self._results))
        outputs = [each for each in found if each in self._tensors]
        tensors = Counter(map(self._storage_of, self._tensors))
        if any(tensors[self._storage_of(each)] > 1 for each in outputs):
            raise _Otherwise
        return outputs

    def _base(self, tensor: Any) -> Any:
        """The tensor that another is a view of; itself where it is none."""
        while tensor in self._views:
            tensor = self._seen(tensor)
        return tensor

    def _seen(self, view: relax.Var) -> Any:
        """The tensor that a view shows in another shape."""
        return self._named(self._views[view].value.args[0])

    def _storage_of(self, tensor: relax.Var) -> relax.Var:
        return self._tensors[tensor].value.args[0]

    def _bytes(self, storage: relax.Var) -> int:
        size = int(self._storages[storage].value.args[0].values[0])
        return _aligned(size)

    def sequence(self) -> tuple[str, ...]:
        """The names of the kernels, in the order of their calls."""
        return tuple(name for name, _ in self._steps)

    def _read_constants(self) -> list[Any]:
        """Those that kernels read or the network gives, each once."""
        operands = [self._base(each) for _, row in self._steps for each in row]
        operands += map(self._base, self._results)
        found = {each.__hash__(): each for each in operands if isinstance(each, Constant)}
        return [*found.values()]

    def function(self) -> relax.Function:
        """`AT_ONCE` in Relax: it allocates the outputs and the memory, and calls the C++ function,
        which checks the inputs."""
        allocated = []
        for each in self._outputs:
            allocated += [self._storages[self._storage_of(each)], self._tensors[each]]
        storage, memory = self._memory()
        call = relax.Call(relax.ExternFunc(_FUNCTION), [*self._given, memory.var])
        called = relax.VarBinding(relax.Var("_", None), call)
        bindings = [*allocated, storage, memory, called, *self._returned_views()]
        result = self._main.body.body
        if len(self._results) != 1 or not self._results[0].same_as(result):
            bindings.append(relax.VarBinding(result, relax.Tuple(self._results)))
        body = relax.SeqExpr([relax.BindingBlock(bindings)], result)
        main = self._main
        return relax.Function(main.params, body, main.ret_ty, main.is_pure, main.attrs)

    def _memory(self) -> tuple[Any, Any]:
        """Bindings that allocate the memory, as TVM allocates its own."""
        storage, tensor = (next(iter(each.values())) for each in (self._storages, self._tensors))
        size = relax.ShapeExpr([max(self._size, _ALIGNED)])
        _, *rest = storage.value.args
        allocated = relax.VarBinding(
            relax.Var("memory_storage", storage.var.ty),
            relax.Call(storage.value.op, [size, *rest], None, storage.value.ty_args),
        )
        _, offset, _, _, device = tensor.value.args
        byte = rest[1]
        operands = [allocated.var, offset, size, byte, device]
        return allocated, relax.VarBinding(
            relax.Var("memory", relax.TensorType(size, "uint8")),
            relax.Call(tensor.value.op, operands, None, tensor.value.ty_args),
        )

    def _returned_views(self) -> list[Any]:
        """Bindings of the results that are views, and of views that these are views of."""
        found = set()
        for each in self._results:
            while each in self._views:
                found.add(each)
                each = self._seen(each)
        return [
            relax.VarBinding(
                view,
                with_arguments(binding.value, [self._seen(view), *binding.value.args[1:]]),
            )
            for view, binding in self._views.items()
            if view in found
        ]

    def source(self) -> str:
        """The C++ function with its tables: `at_once.cpp` says what they are."""
        places = {each.__hash__(): at for at, each in enumerate([*self._given, *self._planned])}
        operands = [[places.get(each.__hash__(), -1) for each in row] for _, row in self._steps]
        if any(-1 in row for row in operands):
            raise _Otherwise
        inputs = self._main.params
        tensors = [*self._given, *self._planned]
        shapes = [[int(extent) for extent in each.ty.shape] for each in tensors]
        described = [
            f"{len(shape)}, {first}, {_dtype(str(each.ty.dtype))}"
            for each, shape, first in _with_firsts(tensors, shapes)
        ]
        results = [places.get(self._base(each).__hash__(), -1) for each in self._results]
        if -1 in results:
            raise _Otherwise
        kernels = dict.fromkeys(name for name, _ in self._steps)
        tables = [
            *(f'extern "C" int {_PREFIX}{name}{_PARAMETERS};' for name in kernels),
            f"constexpr int kInputs = {len(inputs)}, kGiven = {len(self._given)};",
            f"constexpr int kPlanned = {len(self._planned)}, kConstants = {_CONSTANTS};",
            f"constexpr int kResults = {len(results)};",
            f"constexpr size_t kConstantBytes = {self._constant_bytes};",
            f"constexpr int64_t kMemoryBytes = {max(self._size, _ALIGNED)};",
            f"constexpr int kMostOperands = {max(map(len, operands))};",
            _table("static int64_t extents", chain(*shapes)),
            _table("static int64_t strides", chain(*map(_strides, shapes))),
            _table(
                "const Given given",
                [
                    f"{{{about}, {_size(each)}}}"
                    for each, about in zip(self._given, described, strict=False)
                ],
            ),
            _table(
                "const char* const expected",
                [json.dumps(f"input {at}: expected {each.ty}") for at, each in enumerate(inputs)],
            ),
            _table(
                "const Planned planned",
                [
                    f"{{{self._place(each, places)}, {about}}}"
                    for each, about in zip(
                        self._planned, described[len(self._given) :], strict=True
                    )
                ],
            ),
            _table("const int32_t operands", chain(*operands)),
            _table(
                "const Result results",
                [
                    f"{{{place}, {_size(each)}}}"
                    for place, each in zip(results, self._results, strict=True)
                ],
            ),
            _table(
                "const Step steps",
                [
                    f"{{{_PREFIX}{name}, {json.dumps(name)}, {first}, {len(row)}}}"
                    for (name, row), _, first in _with_firsts(self._steps, operands)
                ],
            ),
        ]
        text = files("harness.building").joinpath("at_once.cpp").read_text(encoding="utf-8")
        text = text.replace("// TABLES", "\n".join(tables))
        return text.replace("FUNCTION", _PREFIX + _FUNCTION)

    def _place(self, tensor: relax.Var, places: Mapping[int, int]) -> str:
        """What a tensor is within, and its offset there in bytes."""
        base = self._base(tensor)
        if (laid := self._laid.get(base.__hash__())) is not None:
            return f"{_CONSTANTS}, {laid}"
        found = places.get(base.__hash__(), -1)
        if 0 <= found < len(self._given):
            return f"{found}, 0"
        if base not in self._tensors:
            raise _Otherwise
        within = int(self._tensors[base].value.args[1].value)
        return f"kGiven, {self._offsets[self._storage_of(base)] + within}"


def _external(value: Any) -> str:
    is_call = isinstance(value, relax.Call) and isinstance(value.op, relax.ExternFunc)
    return str(value.op.global_symbol) if is_call else ""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[at + 1 :]) for at in range(len(shape))]


def _with_firsts(
    items: Iterable[Any], rows: Sequence[Sequence[int]]
) -> Iterable[tuple[Any, Sequence[int], int]]:
    """Each item with its row, and the place of the row's first element where they are one list."""
    return zip(items, rows, accumulate(map(len, rows), initial=0), strict=False)


def _size(tensor: Any) -> int:
    """The size of a tensor of a static shape."""
    bits = re.sub(r"\D", "", str(tensor.ty.dtype)) or "8"
    return math.prod(int(extent) for extent in tensor.ty.shape) * -(-int(bits) // 8)


def _dtype(name: str) -> str:
    found = re.fullmatch(r"([a-z]+)(\d*)", name)
    if found is None or found[1] not in _CODES:
        raise _Otherwise
    return f"{{{_CODES[found[1]]}, {found[2] or 8}, 1}}"


def _table(declaration: str, entries: Iterable[Any]) -> str:
    """An array in C++, which has one element at least."""
    return f"{declaration}[] = {{{', '.join(map(str, entries)) or '{}'}}};"
