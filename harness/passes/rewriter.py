"""Walks the one function of an imported network binding by binding and rebuilds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from harness.compiler.api import Constant, PrimFunc, operator_name, relax, shape_of, tvm
from harness.compiler.names import name_of, named

MAIN = "main"


class Rewriter:
    """Rebuilds `main`: subclasses define the replacement of each call in `rewrite`.

    Values are in A-normal form, so a call's arguments are variables, constants, shapes, or tuples
    of them. `uses` counts how often each variable of the original function is read.
    """

    def __init__(self, module: tvm.IRModule) -> None:
        self.module = module
        self.function = module[MAIN]
        self.builder = relax.BlockBuilder(module.clone())
        self.uses = uses_of(self.function)
        self._new: dict[relax.Var, relax.Expr] = {}
        self._at: relax.Expr | None = None

    @classmethod
    def apply(cls, module: tvm.IRModule, *arguments: Any) -> tvm.IRModule:
        """Rewrite `main` of a module; other functions are kept. `arguments` are the walker's."""
        walker = cls(module, *arguments)
        function = walker.rebuild()
        result = module.clone()
        for variable, kernel in walker.builder.get().functions_items():
            if isinstance(kernel, PrimFunc) and variable not in result.functions:
                result[variable] = kernel  # the walker made it
        result.update_func(result.get_global_var(MAIN), function)
        return relax.transform.DeadCodeElimination()(result)

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        """The new value of a binding whose value is a call; None keeps the call.

        `call` has its new arguments; `original` is the binding as it was, for `uses`.
        """
        raise NotImplementedError

    def define(self, variable: relax.Var, value: relax.Expr) -> None:
        """Remember the new value of an original variable."""
        self._new[variable] = value

    def value(self, expr: relax.Expr) -> relax.Expr:
        """The new form of an original argument."""
        if isinstance(expr, relax.Var):
            return self._new.get(expr, expr)
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self.value(field) for field in expr.fields])
        return expr

    def substituted(self, value: relax.Expr) -> relax.Expr:
        """An original binding's value with new arguments."""
        if isinstance(value, relax.Call):
            arguments = [self.value(argument) for argument in value.args]
            return with_arguments(value, arguments)
        if isinstance(value, relax.TupleGetItem):
            source = self.value(value.tuple_value)
            if isinstance(source, relax.Tuple):
                return source.fields[value.index]
            return relax.TupleGetItem(source, value.index)
        return self.value(value)

    def source(self, value: relax.Expr) -> relax.Expr:
        """The value of a new variable; other expressions unchanged."""
        bound = self.builder.lookup_binding(value) if isinstance(value, relax.Var) else None
        return value if bound is None else bound

    def permuted(self, value: relax.Expr, axes: tuple[int, ...]) -> relax.Expr:
        """A new value with its dimensions in another order.

        That is the value as it is, a reshape where no data moves, or one real transpose.
        """
        source = self.source(value)
        if operator_name(source) == "relax.permute_dims":
            inner = permutation(source)
            return self.permuted(source.args[0], tuple(inner[axis] for axis in axes))
        if axes == tuple(range(len(axes))):
            return value
        shape = shape_of(value)
        moved = [axis for axis in axes if shape[axis] != 1]
        if moved == sorted(moved):
            return relax.op.reshape(value, tuple(shape[axis] for axis in axes))
        return relax.op.permute_dims(value, list(axes))

    def emit(self, expr: relax.Expr) -> relax.Var:
        """A variable for an expression. A call without a name gets the name of the call that is
        being rebuilt."""
        if isinstance(expr, relax.Call) and self._at is not None and name_of(expr) is None:
            expr = named(expr, name_of(self._at))
        return self.builder.emit(expr)

    def emitted(self, expr: relax.Expr) -> relax.Expr:
        """A variable for an expression, or the one that it is."""
        return expr if isinstance(expr, relax.Var) else self.emit(expr)

    def visit(self, binding: relax.VarBinding) -> None:
        """Rebuild one binding."""
        self._at = binding.value
        value = self.substituted(binding.value)
        if isinstance(value, relax.Call):
            replaced = self.rewrite(value, binding)
            value = value if replaced is None else replaced
        if isinstance(value, (relax.Var, relax.Tuple, relax.ShapeExpr, Constant)):
            self.define(binding.var, value)
        else:
            self.define(binding.var, self.emit(value))

    def parameters(self) -> list[relax.Var]:
        """The parameters of the new function: those of the original."""
        return list(self.function.params)

    def result(self) -> relax.Expr:
        """The result of the new function, once all bindings are rebuilt."""
        return self.value(self.function.body.body)

    def rebuild(self) -> relax.Function:
        """Walk the function and return the new one."""
        body = self.function.body
        name = "rebuilt"
        attributes = dict(self.function.attrs.items()) if self.function.attrs else {}
        with self.builder.function(name, self.parameters(), attributes):
            with self.builder.dataflow():
                for block in body.blocks:
                    for binding in block.bindings:
                        self.visit(binding)
                result = self.builder.emit_output(self.result())
            self.builder.emit_func_output(result)
        return self.builder.get()[name].with_attr("global_symbol", MAIN)


def with_arguments(call: relax.Call, arguments: Sequence[relax.Expr]) -> relax.Call:
    """The same call, under the same name, of other arguments."""
    return relax.Call(call.op, arguments, call.attrs, call.ty_args, call.span)


def permutation(call: relax.Call) -> tuple[int, ...]:
    """The axes of a `permute_dims` call; without them the order is reversed."""
    rank = len(shape_of(call.args[0]))
    axes = call.attrs.axes
    if axes is None:
        return tuple(reversed(range(rank)))
    return tuple(int(axis) % rank for axis in axes)


def variables_of(expr: relax.Expr) -> list[relax.Var]:
    """The variables that an expression reads, each as often as it does."""
    if isinstance(expr, relax.Var):
        return [expr]
    if isinstance(expr, relax.TupleGetItem):
        return variables_of(expr.tuple_value)
    parts = expr.fields if isinstance(expr, relax.Tuple) else getattr(expr, "args", ())
    return [variable for part in parts for variable in variables_of(part)]


def uses_of(function: relax.Function) -> Counter[relax.Var]:
    uses = Counter(variables_of(function.body.body))
    for block in function.body.blocks:
        for binding in block.bindings:
            uses.update(variables_of(binding.value))
    return uses
