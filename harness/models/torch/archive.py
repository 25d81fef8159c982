"""Loads PyTorch exported programs (`.pt2`) without running anything that stands in the file.

`torch.export.load` is not made for files of unknown origin. Read with PyTorch 2.13: it unpickles
sample inputs, pickled weights and custom objects without restriction, loads compiled libraries from
the archive, evaluates symbolic expressions (`sympy.sympify`), and compiles guards and names of the
graph as Python source. So a new archive is written in memory that holds only the parts that a
static network needs (the graph, the raw bytes of its weights), every text in it made of characters
that no expression can be written with, and PyTorch loads that.
"""

from __future__ import annotations

import io
import json
import operator
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.errors import InputError, first_line
from harness.models.tensors import TensorSpec
from harness.models.torch.assertions import without_assertions
from harness.models.torch.foreign import OWN, with_own_operators

_GRAPH = "models/model.json"
_WEIGHTS = ("data/weights/model_weights_config.json", "data/weights/", "weight_")
_CONSTANTS = ("data/constants/model_constants_config.json", "data/constants/", "tensor_")
_FACTS = ("archive_format", "archive_version", "byteorder", ".data/version")
_SAMPLE_INPUTS = "data/sample_inputs/model.pt"

_EXPORT_ADVICE = (
    "torch.export.save(torch.export.export(network.eval(), (example_input,)), 'network.pt2')"
)
_STATE_ADVICE = (
    "expected a network without state: call .eval() before the export, or take such values as "
    "inputs and return them"
)
# Arguments that are a branch of the graph, a function, or an object of a class of its own.
_NOT_STATIC = frozenset({"as_graph", "as_operator", "as_custom_obj"})
_NUMBER_OF_VALUES = {"torch.ops.aten.item.default", "torch.ops.aten._local_scalar_dense.default"}
_MODULE = re.compile(r"[\w.@+-]+", re.ASCII)
_OWN_TEXTS = {"as_string", "as_strings", "nn_module_stack"}
# How PyTorch writes `vmap`, which its decomposition runs.
_PREDISPATCH = "torch._functorch.predispatch"
_MAPPING = frozenset(
    f"{_PREDISPATCH}.{name}"
    for name in (
        *("lazy_load_decompositions", "_vmap_increment_nesting", "_vmap_decrement_nesting"),
        *("_add_batch_dim", "_remove_batch_dim"),
    )
)
_PLAIN_TEXT = re.compile(r"[\w.+-]*", re.ASCII)
# Python's own spelling of five operators, as `__and__` of `&` and `__iand__` of `&=`. Nothing else
# with two underscores is an operator: PyTorch would look up an attribute of its own object.
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?:_?[A-Za-z]\w*|__i?(?:and|or|xor|lshift|rshift)__)\.[A-Za-z]\w*"
    r"|_operator\.getitem",
    re.ASCII,
)


def load_exported_program(path: Path) -> torch.export.ExportedProgram:
    """The exported program in a `.pt2` file, its shapes static, taking and giving plain tensors.

    Its module takes the inputs one after the other and gives a list of the outputs, whatever
    nesting the network's own `forward` has.

    Raises InputError when the file is not such a program or holds code that would be executed.
    """
    sanitised = _sanitised(path)
    try:
        program = torch.export.load(sanitised)
    except Exception as error:
        # PyTorch reports a damaged program by whatever exception its parts happen to raise.
        raise InputError(
            f"{path}: PyTorch {torch.__version__} cannot load it: {first_line(error)}"
        ) from error
    _check_operators(program, path)
    return program


def user_inputs(program: torch.export.ExportedProgram) -> tuple[TensorSpec, ...]:
    """The inputs of a program's module, in order."""
    values = {
        node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"
    }
    return tuple(
        TensorSpec(name, tuple(values[name].shape), str(values[name].dtype).removeprefix("torch."))
        for name in program.graph_signature.user_inputs
    )


def _sanitised(path: Path) -> io.BytesIO:
    """An archive of the program alone, written anew from the checked parts of the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = _parts(_entries(archive, path), path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: not a readable zip archive: {error}") from None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(f"program/{name}", content)
    buffer.seek(0)
    return buffer


@dataclass(frozen=True)
class _Entries:
    """The entries of an archive by their name below its root folder."""

    archive: zipfile.ZipFile
    names: dict[str, str]

    def read(self, name: str) -> bytes:
        return self.archive.read(self.names[name])


def _entries(archive: zipfile.ZipFile, path: Path) -> _Entries:
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
        # PyTorch never compresses, and so its archives never hold more than their own size.
        raise InputError(f"{path}: compressed entries, expected an archive of torch.export.save")
    names = {name.partition("/")[2]: name for name in archive.namelist()}
    for needed in (_GRAPH, _WEIGHTS[0], _CONSTANTS[0]):
        if needed not in names:
            pickled = "data.pkl" in names
            found = "a pickled module (torch.save or torch.jit.save)" if pickled else "an archive"
            raise InputError(
                f"{path}: expected a PyTorch exported program, found {found} without {needed}; "
                f"write it with PyTorch {torch.__version__}: {_EXPORT_ADVICE}"
            )
    return _Entries(archive, names)


def _parts(entries: _Entries, path: Path) -> dict[str, bytes]:
    parts = {name: entries.read(name) for name in _FACTS if name in entries.names}
    try:
        parts[_GRAPH] = json.dumps(_static_program(_json(entries, _GRAPH), path)).encode()
        for config, folder, prefix in (_WEIGHTS, _CONSTANTS):
            payloads = _json(entries, config)["config"]
            parts[config] = json.dumps({"config": payloads}).encode()
            _check_texts(payloads, path)
            for tensor, payload in payloads.items():
                file = payload["path_name"]
                if payload["use_pickle"] or not re.fullmatch(rf"{prefix}\d+", file):
                    raise InputError(
                        f"{path}: '{tensor}' is stored as a pickle or a custom object, which runs "
                        f"code when it is loaded; expected plain tensors"
                    )
                parts[folder + file] = entries.read(folder + file)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path}: damaged, or written by a PyTorch that stores programs in another way than "
            f"{torch.__version__}: {type(error).__name__} {error}"
        ) from None
    # The reader wants this entry; empty, it is not unpickled.
    parts[_SAMPLE_INPUTS] = b""
    return parts


def _module_of(node: dict[str, Any]) -> dict[str, str]:
    """The path of the module that a node was called in, of its metadata, as PyTorch reads it; none
    of the rest."""
    stack = str(node.get("metadata", {}).get("nn_module_stack", ""))
    _, _, path = stack.rpartition(";")[2].partition(",")
    path = path.partition(",")[0]
    return {"nn_module_stack": f"module,{path},Module"} if _MODULE.fullmatch(path) else {}


def _json(entries: _Entries, name: str) -> Any:
    return json.loads(entries.read(name))


def _static_program(program: dict[str, Any], path: Path) -> dict[str, Any]:
    """The program with everything cleared that is not part of a static graph of tensors."""
    module = program["graph_module"]
    graph, signature = module["graph"], module["signature"]
    inputs = [spec for spec in signature["input_specs"] if "user_input" in spec]
    _check_signature(graph, signature, path)
    without_assertions(graph)
    unknown = _of_unknown_size(graph)
    for node in graph["nodes"]:
        with_own_operators(node)
        if node["target"] in _NUMBER_OF_VALUES:
            raise InputError(
                f"{path}: node '{node.get('name')}' takes a number out of a tensor, which decides "
                "shapes or branches; expected a network whose shapes do not depend on values"
            )
        node["metadata"] = _module_of(node)
        if not _made(node).isdisjoint(unknown):
            raise InputError(
                f"{path}: the size of the result of node '{node.get('name')}' "
                f"({node['target']}) depends on values; expected fixed shapes"
            )
        if node["target"] not in OWN | _MAPPING and not _OPERATOR.fullmatch(node["target"]):
            raise InputError(
                f"{path}: operator {node['target']!r} of node '{node.get('name')}' is not one of "
                f"PyTorch's own (torch.ops.aten), and is not run"
            )
    call = {
        "inputs": [],
        "outputs": [],
        "in_spec": _tree("tuple", [_tree("tuple", [_LEAF] * len(inputs)), _tree("dict", [], "[]")]),
        "out_spec": _tree("list", [_LEAF] * len(signature["output_specs"])),
        "forward_arg_names": [spec["user_input"]["arg"]["as_tensor"]["name"] for spec in inputs],
    }
    for key in ("in_spec", "out_spec"):
        call[key] = json.dumps([1, call[key]])
    cleared = {
        "graph_module": {
            "graph": graph,
            "signature": signature,
            "module_call_graph": [],
            "metadata": {},
            "treespec_namedtuple_fields": {},
        },
        "opset_version": program["opset_version"],
        "range_constraints": {},
        "schema_version": program["schema_version"],
        "verifiers": program["verifiers"],
        "torch_version": program["torch_version"],
        "guards_code": [],
    }
    _check_texts(cleared, path)
    cleared["graph_module"]["module_call_graph"] = [{"fqn": "", "signature": call}]
    return cleared


def _of_unknown_size(graph: dict[str, Any]) -> frozenset[str]:
    """The tensors whose size depends on values; none where an input's size is free, on which the
    others' may depend."""
    free = {
        name
        for name, tensor in graph["tensor_values"].items()
        if any("as_expr" in size for size in tensor["sizes"])
    }
    given = {each["as_tensor"]["name"] for each in graph["inputs"] if "as_tensor" in each}
    return frozenset() if free & given else frozenset(free)


def _made(node: dict[str, Any]) -> set[str]:
    return {each["as_tensor"]["name"] for each in node["outputs"] if "as_tensor" in each}


_LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}


def _tree(kind: str, children: list[dict[str, Any]], context: str = "null") -> dict[str, Any]:
    """A node of the tree of arguments, as `torch.utils._pytree.treespec_dumps` writes it."""
    return {"type": f"builtins.{kind}", "context": context, "children_spec": children}


def _check_signature(graph: dict[str, Any], signature: dict[str, Any], path: Path) -> None:
    for spec in signature["input_specs"]:
        (kind,) = spec
        if kind not in {"user_input", "parameter", "buffer", "tensor_constant"}:
            name = spec[kind].get("name", "")
            raise InputError(f"{path}: input '{name}' is a {kind}, expected tensors only")
        if kind == "user_input":
            if "as_tensor" not in spec[kind]["arg"]:
                raise InputError(f"{path}: an input is no tensor, expected tensors only")
            name = spec[kind]["arg"]["as_tensor"]["name"]
            sizes = [_extent(size) for size in graph["tensor_values"][name]["sizes"]]
            if not all(isinstance(size, int) for size in sizes):
                raise InputError(
                    f"{path}: input '{name}' is [{', '.join(map(str, sizes))}]; every dimension "
                    f"must be a number: export without dynamic_shapes, {_EXPORT_ADVICE}"
                )
    for at, spec in enumerate(signature["output_specs"]):
        (kind,) = spec
        if kind != "user_output":
            raise InputError(f"{path}: {changes_state([_changed(spec[kind])])}")
        if "as_tensor" not in spec[kind]["arg"]:
            found = next(iter(spec[kind]["arg"])).removeprefix("as_")
            raise InputError(
                f"{path}: output {at} is {found}, expected a tensor; export a network that gives "
                "tensors alone"
            )


def changes_state(names: Iterable[str]) -> str:
    """What to say of a network that writes to its buffers or inputs."""
    named = ", ".join(f"'{name}'" for name in names if name)
    return f"the network changes {named or 'its own state'} while it runs; {_STATE_ADVICE}"


def _changed(spec: dict[str, Any]) -> str:
    return str(spec.get("buffer_name") or spec.get("user_input_name") or "")


def _extent(size: dict[str, Any]) -> int | str:
    """A dimension: a number, or the name of its symbol."""
    if "as_int" in size:
        return int(size["as_int"])
    symbol = re.search(r"Symbol\('(\w+)'", size["as_expr"]["expr_str"])
    return symbol[1] if symbol else "?"


def _check_texts(plain: Any, path: Path) -> None:
    """Refuse every text that could become Python source, in data that PyTorch is going to load.

    Names of inputs, nodes and weights end up in source that PyTorch generates and compiles; with
    letters, digits, `.`, `+` and `-` alone, nothing can be called there.
    """
    for key, text in _texts(plain, ""):
        if key == "as_expr":
            raise InputError(f"{path}: dynamic shapes; export without dynamic_shapes")
        if key in _NOT_STATIC:
            raise InputError(f"{path}: an operator's argument is a {key.removeprefix('as_')}")
        # The values of text arguments are quoted by PyTorch: "tanh", or an einsum's equation.
        if key not in _OWN_TEXTS and not _PLAIN_TEXT.fullmatch(text):
            raise InputError(
                f"{path}: {text!r} is no name of a node, an operator or a tensor: expected "
                "letters, digits and . _ + -; rename the module or input, and export again"
            )


def _texts(plain: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text in plain data with the key it is under, keys included."""
    if isinstance(plain, str):
        yield key, plain
    elif isinstance(plain, dict):
        for name, value in plain.items():
            yield name, name
            yield from _texts(value, name)
    elif isinstance(plain, list):
        for value in plain:
            yield from _texts(value, key)


def _check_operators(program: torch.export.ExportedProgram, path: Path) -> None:
    for node in program.graph.nodes:
        if node.op != "call_function" or node.target is operator.getitem:
            continue
        where = f"{path}: operator {node.target} of node '{node.name}'"
        if f"{_PREDISPATCH}.{node.target.__name__}" in _MAPPING:
            if node.target.__module__ != _PREDISPATCH:
                raise InputError(f"{where} is unknown to PyTorch {torch.__version__}")
            continue
        if not isinstance(node.target, torch._ops.OpOverload):
            raise InputError(f"{where} is unknown to PyTorch {torch.__version__}")
        # aten::from_file and aten::save, whatever else may come.
        if any(argument.name == "filename" for argument in node.target._schema.arguments):
            raise InputError(f"{where} reads or writes files, and is not run")
