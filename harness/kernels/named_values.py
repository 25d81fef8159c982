"""Named values of expressions (`tirx.Let`) written as local variables.

TVM's code generators expand a `Let` each time that its name is used, LLVM's in its simplifier and
C's in the text: three elementary functions of one another, each of which names a dozen values,
would take hours and gigabytes to compile. A local variable costs nothing: compilers keep it in a
register.
"""

from __future__ import annotations

from typing import Any

from harness.compiler.api import (
    PrimFunc,
    operator_name,
    structural_mutate,
    structural_walk,
    tirx,
    tvm,
)
from harness.kernels.arithmetic import Value, element


def store_named_values(function: PrimFunc, module: Any, context: Any) -> PrimFunc:
    """A lowered kernel whose stores, bindings and evaluations contain no named values."""
    if not _names_values(function.body):
        return function
    statements = (tirx.BufferStore, tirx.Bind, tirx.Evaluate)
    return function.with_body(structural_mutate(function.body, (statements, _flattened)))


def _flattened(statement: Any, _: Any) -> Any:
    if not _names_values(statement):
        return statement
    variables = _Variables()
    flat = variables.without_names(statement)
    return _sequence([*variables.before, flat])


def _sequence(statements: list[Any]) -> Any:
    return tirx.SeqStmt(statements) if len(statements) > 1 else statements[0]


def _names_values(root: Any) -> bool:
    found: list[Any] = []
    structural_walk(root, (tirx.Let, found.append))
    return bool(found)


class _Variables:
    """The local variables of an expression, and the statements that compute them before it."""

    def __init__(self) -> None:
        self.before: list[Any] = []
        self._values: dict[Any, Value] = {}

    def without_names(self, root: Any) -> Any:
        """An expression, or a statement, that reads variables where it named values."""
        rules = ((tirx.Let, self._let), (tirx.Var, self._name), (tvm.ir.Call, self._call))
        return structural_mutate(root, rules)

    def _let(self, let: Any, mutator: Any) -> Value:
        self._values[let.var] = self._stored(let.var.name, mutator.mutate(let.value))
        return mutator.mutate(let.body)

    def _name(self, name: Any, _: Any) -> Value:
        return self._values.get(name, name)

    def _stored(self, name: str, value: Value) -> Value:
        if isinstance(value, (tirx.Var, tirx.IntImm, tirx.FloatImm)):
            return value
        variable = _Variable(name, value)
        self.before += [variable.declared, variable.assigned(value)]
        return variable.read

    def _call(self, call: Any, mutator: Any) -> Value:
        """A call as it is, unless it is a conditional value. The names of each branch are computed
        inside that branch: a load there may be out of bounds where the condition fails."""
        if operator_name(call) != "prim.if_then_else":
            return mutator.default_mutate(call)
        condition = mutator.mutate(call.args[0])
        outer, branches = self.before, []
        for value in call.args[1:]:
            self.before = []
            branches.append((mutator.mutate(value), self.before))
        self.before = outer
        (first, before_first), (second, before_second) = branches
        if not before_first and not before_second:
            return tirx.if_then_else(condition, first, second)
        variable = _Variable("chosen", first)
        self.before += [
            variable.declared,
            tirx.IfThenElse(
                condition,
                _sequence([*before_first, variable.assigned(first)]),
                _sequence([*before_second, variable.assigned(second)]),
            ),
        ]
        return variable.read


class _Variable:
    """A local variable for values of one type."""

    def __init__(self, name: str, value: Value) -> None:
        lanes = int(str(value.ty).partition("x")[2] or 1)
        self._buffer = tirx.decl_buffer((lanes,), element(value), name, scope="local")
        zero = tirx.const(0, "int32")
        self._at = [tirx.Ramp(zero, tirx.const(1, "int32"), lanes) if lanes > 1 else zero]

    @property
    def declared(self) -> Any:
        return tirx.AllocBuffer(self._buffer)

    @property
    def read(self) -> Value:
        return tirx.BufferLoad(self._buffer, self._at)

    def assigned(self, value: Value) -> Any:
        return tirx.BufferStore(self._buffer, value, self._at)
