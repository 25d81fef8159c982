"""Possible values of a network's inputs, by their uses in the network."""

from __future__ import annotations

from collections.abc import Iterable

from harness.compiler.api import constant_array, operator_name, relax, shape_of
from harness.models.imported import Imported
from harness.models.tensors import ValueRange

_SAME_VALUES = frozenset(
    f"relax.{name}"
    for name in (
        *("astype", "reshape", "expand_dims", "squeeze", "permute_dims", "flatten", "broadcast_to"),
        *("concat", "split", "stack", "tile", "repeat", "strided_slice", "where", "take"),
        *("gather_elements", "gather_nd", "flip", "clip", "maximum", "minimum", "reverse_sequence"),
    )
)
"""Operators whose results are values of their arguments; but for the indices of some."""
_ARITHMETIC = frozenset({"relax.add", "relax.subtract"})
"""Operators that move an index by a constant: frontends add the extent to negative ones."""
_DIVIDE = frozenset(f"relax.{name}" for name in ("divide", "floor_divide", "mod", "floor_mod"))
"""Operators at which a processor stops when an integer is divided by 0."""
_LOOK_FOR_INFINITY = frozenset(f"relax.{name}" for name in ("isinf", "isnan", "isfinite"))


def value_ranges(imported: Imported) -> dict[str, ValueRange]:
    """The ranges of the inputs that say where to read in a table, as the ids of words do, or are
    compared with some integers, of those that integers are divided by, and of those that are looked
    at for infinities; by their names.

    Ids are followed to their tables through operators that pass them on.
    """
    main = imported.module["main"]
    names = [spec.name for spec in imported.inputs]
    origins: dict[object, frozenset[str]] = {
        param: frozenset([name]) for param, name in zip(main.params, names, strict=True)
    }
    highest: dict[str, int] = {}
    compared: dict[str, int] = {}
    infinite: set[str] = set()
    divisors: set[str] = set()

    def of(argument: relax.Expr) -> frozenset[str]:
        if isinstance(argument, relax.Tuple):
            return frozenset().union(*map(of, argument.fields))
        return origins.get(argument, frozenset())

    for block in main.body.blocks:
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, relax.TupleGetItem):
                origins[binding.var] = of(value.tuple_value)
            elif isinstance(value, (relax.Var, relax.Tuple)):
                origins[binding.var] = of(value)
            if not isinstance(value, relax.Call):
                continue
            name = operator_name(value)
            for indices, extent in _looked_up(name, value):
                for origin in of(indices):
                    highest[origin] = min(highest.get(origin, extent), extent)
            if name == "relax.equal":
                extent = _compared_with(value)
                for origin in of(value.args[0]) | of(value.args[1]):
                    compared[origin] = max(compared.get(origin, 0), extent)
            if name in _DIVIDE and "int" in str(value.ty.dtype):
                divisors |= of(value.args[1])
            if name in _LOOK_FOR_INFINITY:
                infinite |= of(value.args[0])
            origins[binding.var] = frozenset().union(*map(of, _passed_on(name, value)))
    extents = {name: highest.get(name) or compared.get(name) or None for name in names}
    return {
        name: ValueRange(extents[name], name in infinite, name in divisors)
        for name in names
        if extents[name] or name in infinite or name in divisors
    }


def _compared_with(call: relax.Call) -> int:
    """One more than the largest integer that a comparison is with, at least 2; 0 where none is."""
    found = [array for each in call.args if (array := constant_array(each)) is not None]
    if not found or found[0].dtype.kind not in "iu" or not found[0].size:
        return 0
    return max(2, int(found[0].max()) + 1)


def _looked_up(name: str, call: relax.Call) -> Iterable[tuple[relax.Expr, int]]:
    """The indices of a call that reads a table, and how many places of it they tell apart."""
    arguments = call.args
    match name:
        case "relax.take":
            extents = shape_of(arguments[0])
            axis = call.attrs.axis
            size = 1
            for extent in extents:
                size *= extent
            yield arguments[1], size if axis is None else extents[int(axis)]
        case "relax.gather_elements":
            yield arguments[1], shape_of(arguments[0])[int(call.attrs.axis)]
        case "relax.gather_nd" | "relax.scatter_nd":
            depth = shape_of(arguments[1])[-1]
            batch = int(getattr(call.attrs, "batch_dims", 0))
            yield arguments[1], min(shape_of(arguments[0])[batch : batch + depth], default=1)
        case "relax.scatter_elements":
            yield arguments[1], shape_of(arguments[0])[int(call.attrs.axis)]
        case "relax.one_hot":
            yield arguments[0], int(call.attrs.depth)


def _passed_on(name: str, call: relax.Call) -> Iterable[relax.Expr]:
    """The arguments of a call whose values its result has."""
    if name in ("relax.take", "relax.gather_elements", "relax.gather_nd"):
        return tuple(call.args[:1])
    if name in _ARITHMETIC and any(constant_array(each) is not None for each in call.args):
        return tuple(call.args)
    return tuple(call.args) if name in _SAME_VALUES else ()
