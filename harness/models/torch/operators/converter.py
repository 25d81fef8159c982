"""What a converter of an operator of PyTorch is: it takes a call of the operator and gives a Relax
expression, a tuple where the operator has several results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness.compiler.api import relax, shape_of

Builder: TypeAlias = relax.BlockBuilder


@dataclass(frozen=True)
class Call:
    """A node of the graph."""

    builder: Builder
    arguments: Mapping[str, Any]
    """By the names of the operator's schema, defaults among them; tensors are Relax expressions."""
    described: Mapping[str, Any]
    """The same, with tensors of PyTorch that have a shape and a type, and no values."""
    result: Any
    """A tensor, or several, without values."""

    @classmethod
    def of(cls, node: Any, importer: Any) -> Call:
        """The call that a node makes, in TVM's importer."""
        arguments: dict[str, Any] = {}
        schema = node.target._schema.arguments
        for at, argument in enumerate(schema):
            if at < len(node.args):
                arguments[argument.name] = node.args[at]
            else:
                arguments[argument.name] = node.kwargs.get(argument.name, argument.default_value)
        described = {name: _described(value) for name, value in arguments.items()}
        values = {name: importer._retrieve_args(value) for name, value in arguments.items()}
        return cls(importer.block_builder, values, described, node.meta.get("val"))

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def dtype(self) -> str:
        """The data type of the one result."""
        return dtype_name(self.result.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the one result."""
        return tuple(self.result.shape)

    def emit(self, value: relax.Expr) -> relax.Expr:
        return self.builder.emit(value)

    def tensor(self, name: str, dtype: str | None = None) -> relax.Expr:
        """An argument as a tensor of a data type, by default its own, or that of the result where
        it is a number."""
        value = self.arguments[name]
        if not isinstance(value, relax.Expr):
            return relax.const(value, dtype or self.dtype)
        return value if dtype is None else self.cast(value, dtype)

    def cast(self, value: relax.Expr, dtype: str) -> relax.Expr:
        if str(value.ty.dtype) == dtype:
            return value
        return self.emit(relax.op.astype(value, dtype))

    def reshaped(self, value: relax.Expr, shape: Any) -> relax.Expr:
        if shape_of(value) == tuple(shape):
            return value
        return self.emit(relax.op.reshape(value, list(shape)))


Converter: TypeAlias = Callable[[Call], relax.Expr]
_PARTS = {"complex64": "float32", "complex128": "float64"}


def dtype_name(dtype: Any) -> str:
    """A data type of PyTorch as TVM names it; of complex numbers that of their parts."""
    name = str(dtype).removeprefix("torch.")
    return _PARTS.get(name, name)


def axes_of(dim: Any, rank: int) -> list[int]:
    """The axes that an argument names: None or nothing is all of them."""
    if dim is None or dim == [] or dim == ():
        return list(range(rank))
    each = dim if isinstance(dim, (list, tuple)) else [dim]
    return [axis % rank for axis in each] if rank else []


def _described(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_described(each) for each in value]
    return getattr(value, "meta", {}).get("val", value)
