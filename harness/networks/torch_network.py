"""A canonical network as a function of torch tensors, to have its gradients.

A network is compiled for one sample: its reshapes name a batch of 1. Here it is evaluated for one
sample too, and `vmap` makes that many at once: it turns each operator into the same operator with a
batch in front, so that a convolution of 64 samples is one call.

Needs the extra `torch`: importers of this module have checked for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.compiler.api import constant_array, operator_name, relax, shape_of, tvm
from harness.errors import CellFailure
from harness.networks.torch_operators import Function, function_of
from harness.passes.rewriter import MAIN

_Values = dict[relax.Var, Any]


class TorchNetwork:
    """`main` of a canonical module. Raises CellFailure for an operator that has no function here.

    Weights and biases can be had as parameters: for a binding that `parameters` has, its value
    takes the place of the call's constant argument.
    """

    def __init__(self, module: tvm.IRModule) -> None:
        function = module[MAIN]
        self._inputs = list(function.params)
        self._steps = [_Step(each) for block in function.body.blocks for each in block.bindings]
        self._result = function.body.body

    def __call__(
        self, batch: Sequence[Tensor], parameters: Mapping[relax.Var, Tensor] | None = None
    ) -> list[Tensor]:
        """The outputs for many samples. `batch` has each input, and the result each output, with
        the samples in front: `[samples, *shape for one]`."""
        return self.watched(batch, parameters, ())[0]

    def watched(
        self,
        batch: Sequence[Tensor],
        parameters: Mapping[relax.Var, Tensor] | None,
        inside: Sequence[relax.Var],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The outputs for many samples, and the values of some bindings."""

        def once(*sample: Tensor) -> tuple[tuple[Tensor, ...], ...]:
            values: _Values = dict(zip(self._inputs, sample, strict=True))
            return self._seen(self._run(values, 0, parameters or {}), inside)

        outputs, seen = torch.func.vmap(once)(*batch)
        return list(outputs), list(seen)

    def beside(
        self,
        other: TorchNetwork,
        parameters: Mapping[relax.Var, Tensor],
        batch: Sequence[Tensor],
        inside: Sequence[tuple[relax.Var, relax.Var]],
    ) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
        """The outputs of this network and of one of the same operators, which computes with some
        `parameters`, in pairs; and the values of some bindings of both. Bindings before the first
        that has a parameter is the same for both, and computed once."""
        first = other.first(parameters)

        def once(*sample: Tensor) -> tuple[tuple[tuple[Tensor, ...], ...], ...]:
            values = self._run(dict(zip(self._inputs, sample, strict=True)), 0, {})
            others: _Values = dict(zip(other._inputs, sample, strict=True))
            for own, theirs in zip(self._steps[:first], other._steps[:first], strict=True):
                others[theirs.variable] = values[own.variable]
            others = other._run(others, first, parameters)
            ours, theirs_inside = ([pair[side] for pair in inside] for side in (0, 1))
            return self._seen(values, ours), other._seen(others, theirs_inside)

        (own, own_inside), (others, others_inside) = torch.func.vmap(once)(*batch)
        outputs = list(zip(own, others, strict=True))
        return outputs, list(zip(own_inside, others_inside, strict=True))

    def first(self, variables: Collection[relax.Var]) -> int:
        """How many bindings come before the first of some."""
        return next(at for at, step in enumerate(self._steps) if step.variable in variables)

    def _run(self, values: _Values, begin: int, parameters: Mapping[relax.Var, Tensor]) -> _Values:
        """`values` and those of the bindings from `begin` on."""
        for step in self._steps[begin:]:
            values[step.variable] = step.evaluated(values, parameters.get(step.variable))
        return values

    def _seen(self, values: _Values, inside: Sequence[relax.Var]) -> tuple[tuple[Tensor, ...], ...]:
        """The outputs, and the values of some bindings."""
        found = _value(self._result, values)
        outputs = found if isinstance(found, tuple) else (found,)
        return outputs, tuple(values[each] for each in inside)


class _Step:
    """One binding of a network: its value from those before it."""

    def __init__(self, binding: relax.VarBinding) -> None:
        self.variable, self._expression = binding.var, binding.value
        self._function: Function | None = None
        if isinstance(binding.value, relax.Call):
            self._name = operator_name(binding.value)
            self._function = function_of(binding)
            self._expected = (getattr(torch, str(binding.var.ty.dtype)), shape_of(binding.var))
            self._arguments = [_constant(each) for each in binding.value.args if _is_tensor(each)]

    def evaluated(self, values: Mapping[relax.Var, Any], parameter: Tensor | None) -> Any:
        """The binding's value; `parameter` stands for the constant among the arguments."""
        if self._function is None:
            return _value(self._expression, values)

        def given(argument: Tensor | relax.Expr) -> Any:
            if isinstance(argument, Tensor):
                return argument if parameter is None else parameter
            return _value(argument, values)

        found = self._function(*(given(argument) for argument in self._arguments))
        if (found.dtype, tuple(found.shape)) != self._expected:
            raise CellFailure(
                f"{self._name} gives {found.dtype} {list(found.shape)} in torch; "
                f"expected {self._expected[0]} {list(self._expected[1])}"
            )
        return found


def _is_tensor(argument: relax.Expr) -> bool:
    """Whether an argument is data; shapes and numbers are not."""
    return isinstance(argument, (relax.Var, relax.Tuple)) or constant_array(argument) is not None


def _constant(argument: relax.Expr) -> Tensor | relax.Expr:
    array = constant_array(argument)
    return argument if array is None else torch.from_numpy(np.array(array))


def _value(expression: relax.Expr, values: Mapping[relax.Var, Any]) -> Any:
    """The value of an expression that is no call; a tuple of tensors for a tuple."""
    if isinstance(expression, relax.Var):
        return values[expression]
    if isinstance(expression, relax.Tuple):
        return tuple(_value(field, values) for field in expression.fields)
    if isinstance(expression, relax.TupleGetItem):
        return _value(expression.tuple_value, values)[expression.index]
    return _constant(expression)
