"""PyTorch exported programs to Relax."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any

from harness.errors import InputError
from harness.models.imported import Imported, Node, OperatorsRefused, output_specs, require_shapes


def import_torch(path: Path, shapes: Mapping[str, tuple[int, ...]], _work: Path) -> Imported:
    """Import a `.pt2` file as `torch.export.save` writes it.

    Raises InputError when PyTorch is not installed, the file is not an exported program or holds
    code that would be executed, and for operators that are not supported, named with their
    nodes.
    """
    require_torch(path)
    from harness.compiler.torch_frontend import ExportedProgramImporter, from_exported_program
    from harness.models.torch.archive import changes_state, load_exported_program, user_inputs
    from harness.models.torch.complex_weights import with_real_weights
    from harness.models.torch.decomposed import NotReplaced, decomposed
    from harness.models.torch.operators.spectral import COMPLEX
    from harness.models.torch.operators.table import CONVERTERS

    program = load_exported_program(path)
    inputs = user_inputs(program)
    outputs = program.graph_signature.user_outputs
    require_shapes(shapes, inputs, path)
    converters = ExportedProgramImporter().convert_map.keys() | CONVERTERS.keys() | COMPLEX.keys()
    with warnings.catch_warnings():
        # PyTorch warns of deprecated parts that it uses itself; a user cannot act on it.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            program = decomposed(program, converters)
        except NotReplaced as error:
            text = f"{path}: operators that are not supported: {error}"
            raise OperatorsRefused(text, {str(error): []}) from error
    signature = program.graph_signature
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        changed = [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]
        raise InputError(f"{path}: {changes_state(changed)}")
    with_real_weights(program)
    _require_real(program, path)
    unsupported = [
        (str(node.target), str(node.name))
        for node in program.graph.nodes
        if node.op == "call_function" and node.target.__name__ not in converters
    ]
    if unsupported:
        named = ", ".join(f"{target} (node '{name}')" for target, name in unsupported)
        by_operator: dict[str, list[str]] = {}
        for target, name in unsupported:
            by_operator.setdefault(target, []).append(name)
        text = f"{path}: operators that are not supported: {named}"
        raise OperatorsRefused(text, by_operator)
    converted: dict[str, Node] = {}
    parameters = dict(signature.inputs_to_parameters)
    names = {node.target.__name__ for node in program.graph.nodes if node.op == "call_function"}
    try:
        module = from_exported_program(
            program,
            run_ep_decomposition=False,
            unwrap_unit_return_tuple=True,
            custom_convert_map={name: _naming(name, parameters, converted) for name in names},
        )
    except _ConversionError as error:
        raise OperatorsRefused.form(path, error.node, str(error)) from error
    except Exception as error:
        raise InputError(
            f"{path}: TVM's importer fails on this exported program, though it knows each of its "
            "operators"
        ) from error
    specs = output_specs(module, outputs, path)
    return Imported(module, inputs, specs, prepared=None, nodes=converted)


def require_torch(path: Path) -> None:
    """Raise InputError where PyTorch, which reads the file, is not installed."""
    if find_spec("torch") is None:
        raise InputError(f"{path}: PyTorch is not installed: pip install 'layeredge[torch]'")


def _require_real(program: Any, path: Path) -> None:
    """Raise InputError for inputs and outputs of complex numbers, of which TVM has none."""
    from harness.models.torch.operators.spectral import is_complex

    for node in program.graph.nodes:
        outer = [node] if node.op == "placeholder" else []
        outer += node.all_input_nodes if node.op == "output" else []
        for each in filter(is_complex, outer):
            raise InputError(
                f"{path}: '{each.name}' has complex numbers; expected inputs and outputs of real "
                "ones (torch.view_as_real)"
            )


class _ConversionError(Exception):
    """A node that cannot be imported, and the reason."""

    def __init__(self, node: Node, reason: str) -> None:
        super().__init__(reason)
        self.node = node


def _naming(
    name: str, parameters: Mapping[str, str], converted: dict[str, Node]
) -> Callable[[Any, Any], Any]:
    """The converter of an operator, ours or else TVM's, which says on which node it failed, and
    remembers in `converted` the nodes of variables."""
    from harness.models.torch.operators.converter import Call
    from harness.models.torch.operators.narrow import widened
    from harness.models.torch.operators.spectral import converted as with_parts
    from harness.models.torch.operators.spectral import is_complex
    from harness.models.torch.operators.table import CONVERTERS
    from harness.models.torch.refusal import Unsupported

    own = CONVERTERS.get(name)

    def plain(node: Any, importer: Any) -> Any:
        if own is not None:
            return own(Call.of(node, importer))
        return type(importer).create_convert_map(importer)[name](node)

    def convert(node: Any, importer: Any) -> Any:
        named = Node(_operator(node), node.name, _layer_name(node, parameters))
        try:
            with widened(node, importer) as narrow:
                if any(map(is_complex, [node, *node.all_input_nodes])):
                    result = with_parts(node, importer, lambda: plain(node, importer))
                else:
                    result = plain(node, importer)
                result = narrow(result)
            _check_result(node, result, importer)
        except Unsupported as error:
            raise _ConversionError(named, str(error)) from error
        except Exception as error:
            inputs = ", ".join(map(_described, node.args))
            raise _ConversionError(named, f"its converter fails for ({inputs})") from error
        variable = getattr(result, "name", None)
        if variable is not None:
            converted.setdefault(str(variable), named)
        return result

    return convert


def _check_result(node: Any, result: Any, importer: Any) -> None:
    """Raise Unsupported for a result that is of another type than PyTorch says."""
    from harness.compiler.api import relax
    from harness.models.torch.operators.converter import dtype_name
    from harness.models.torch.operators.spectral import Complex
    from harness.models.torch.refusal import Unsupported

    if node.target is operator.getitem:
        source, at = importer.env[node.args[0]], node.args[1]
        if at and isinstance(getattr(source, "ty", None), relax.TensorType):
            raise Unsupported(f"result number {at + 1} of '{node.args[0].name}'")
    if isinstance(result, Complex):
        for part in (result.real, result.imaginary):
            _check_result(node, part, importer)
        return
    expected, found = node.meta.get("val"), getattr(result, "ty", None)
    if hasattr(expected, "dtype") and isinstance(found, relax.TensorType):
        shape = [int(extent) for extent in found.shape]
        dtype = dtype_name(expected.dtype)
        if shape != list(expected.shape) or str(found.dtype) != dtype:
            raise Unsupported(
                f"its converter gives {found.dtype}{shape}, expected {dtype}{list(expected.shape)}"
            )


def _operator(node: Any) -> str:
    """`aten.add.Tensor` and the like; Python's own functions by their names."""
    return (
        node.target.__name__ if isinstance(node.target, BuiltinFunctionType) else str(node.target)
    )


def _layer_name(node: Any, parameters: Mapping[str, str]) -> str:
    """The path of the module whose weights a node reads, such as `layer1.0.conv1`; the node's own
    name where it reads none. `parameters` has the paths of parameters by their input's name: of
    tied ones that of another module than the node is in, whose path it has then."""
    stack = node.meta.get("nn_module_stack") or {}
    module = str(next(iter(stack.values()))[0]) if stack else ""
    for source in node.all_input_nodes:
        while source.op == "call_function" and len(source.all_input_nodes) == 1:
            (source,) = source.all_input_nodes  # weights are transposed before a product
        path = parameters.get(source.name)
        if path is not None and source.meta["val"].dim() > 1:
            owner = path.rpartition(".")[0] or path
            inside = owner == module or owner.startswith(f"{module}.") or not module
            return owner if inside else module
    return str(node.name)


def _described(argument: Any) -> str:
    """An argument of a node: a tensor by its type, anything else as it is."""
    value: Any = getattr(argument, "meta", {}).get("val")
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(argument, (list, tuple)):
        return f"[{', '.join(map(_described, argument))}]"
    return str(argument)
