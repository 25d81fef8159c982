"""A model file as a Relax module with its weights inside, whatever format it came in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import InputError, unknown_name
from harness.models.tensors import TensorSpec
from harness.records.artifact import StateTensor

if TYPE_CHECKING:
    from harness.compiler.api import tvm


@dataclass(frozen=True)
class Node:
    """A node of a model, as messages name it, and the name that its weights get."""

    operator: str
    name: str
    layer: str

    def __str__(self) -> str:
        return f"operator {self.operator} of node '{self.name}'"


class OperatorsRefused(InputError):
    """A model has operators that are not supported, or not in this form. `nodes` has their names
    by operator, and `reason` says which form, where the operator is supported in others."""

    def __init__(self, text: str, nodes: Mapping[str, Sequence[str]], reason: str = "") -> None:
        super().__init__(text)
        self.nodes = nodes
        self.reason = reason

    @classmethod
    def form(cls, path: Path, node: Node, reason: str) -> OperatorsRefused:
        """An operator in a form that is not supported."""
        text = f"{path}: {node} is not supported in this form: {reason}"
        return cls(text, {node.operator: [node.name]}, reason)


@dataclass(frozen=True)
class Imported:
    """A network in Relax: one function `main`, its weights bound as constants.

    `main` takes `inputs` in their order and gives the one output as a tensor, several as a tuple.
    """

    module: tvm.IRModule
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    prepared: Path | None
    """The static file that reference and baselines run; None when they run the file itself."""
    nodes: Mapping[str, Node] = field(default_factory=dict)
    """Variables of `main` to the nodes that they were converted from; other values computed for a
    node stand before its variable."""
    state: tuple[StateTensor, ...] = ()
    """Inputs that are outputs of the inference before."""
    unkept: tuple[str, ...] = ()
    """Tensors that operators keep between inferences. `main` is the first inference: they have the
    values that they begin with."""

    @property
    def layer_names(self) -> dict[str, str]:
        """Variables of `main` to the names of layers, as canonicalisation takes them."""
        return {variable: node.layer for variable, node in self.nodes.items()}


def output_specs(module: tvm.IRModule, names: Sequence[str], path: Path) -> tuple[TensorSpec, ...]:
    """The outputs of a module's `main`, named.

    Raises InputError for an output whose shape depends on the values it is computed from.
    """
    found = module["main"].ret_ty
    types = found.fields if hasattr(found, "fields") else [found]
    specs = []
    for name, tensor in zip(names, types, strict=True):
        try:
            shape = tuple(int(extent) for extent in tensor.shape)
        except (AttributeError, TypeError):
            raise InputError(
                f"{path}: output '{name}' is {tensor}, expected a tensor of static shape"
            ) from None
        specs.append(TensorSpec(name, shape, str(tensor.dtype)))
    return tuple(specs)


def require_shapes(
    shapes: Mapping[str, tuple[int, ...]], inputs: Sequence[TensorSpec], path: Path
) -> None:
    """For formats whose shapes are fixed in the file: the user's shapes must be the same.

    Raises InputError for a name that is no input and for another shape.
    """
    known = {spec.name: spec for spec in inputs}
    for name, shape in shapes.items():
        if name not in known:
            raise unknown_name("input", name, known)
        if shape != known[name].shape:
            raise InputError(
                f"{path}: input {known[name]} is fixed in the file, --shape asks for "
                f"{list(shape)}; export the model with that shape"
            )
