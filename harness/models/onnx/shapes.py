"""Makes an ONNX model static: every dimension a number, all shape arithmetic folded away."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented

from harness.errors import InputError, first_line, unknown_name
from harness.files.atomic import write_atomically
from harness.models.formats import INPUT_SHAPES
from harness.models.onnx.decided import with_decided_branches
from harness.models.onnx.file import STANDARD_DOMAINS, check_onnx, load_onnx, walk_nodes
from harness.models.onnx.folding import folded_by_reference, with_known_selections
from harness.models.onnx.inputs import ANONYMOUS, graph_inputs, input_dimensions, is_static
from harness.models.onnx.refusal import BINDING
from harness.models.onnx.time_first import with_time_first
from harness.models.onnx.trailing import Extents, trailing_extents

Shapes = Mapping[str, tuple[int, ...]]

PREPARED = "prepared.onnx"

# ONNX Runtime turns MatMul + Add into Gemm, and where the MatMul has more than two dimensions it
# puts a Reshape before and after; those reshapes keep the bias and the activation from fusing.
_DISABLED_OPTIMISERS = ["MatMulAddFusion"]

_UNKNOWN = ("is not a registered function/op", "ConstantNodeProtoToTensorProto")
"""What ONNX Runtime says of operators of domains that it does not know, and of functions whose
constants it cannot read, as SwiGLU's."""

_BRANCHING = frozenset({"If", "Loop", "Scan"})


class ShapesRefused(InputError):
    """ONNX Runtime cannot infer all shapes within a model from those of its inputs."""


def write_static(path: Path, shapes: Shapes, work: Path) -> Path:
    """Write the static model of an ONNX file to `work/prepared.onnx`, and return its path.

    Shapes are inferred in every branch of an `If`, and in one that is not taken they may contradict
    each other. A model with branches that is refused is written as it is, with its inputs' shapes
    beside it for the session, see `harness.models.formats.INPUT_SHAPES`.

    Raises InputError for a file that is not a valid ONNX model, and dimensions that are not fixed.
    """
    model = load_onnx(path)
    check_onnx(model, path)
    fix_shapes(model, shapes, path)
    try:
        static = fold(model, path)
        del static.metadata_props[:]  # a file may say anything there
    except ShapesRefused:
        if not _branches(model):
            raise
        static = load_onnx(path)
        fed = {value.name: _dimensions(value) for value in graph_inputs(model.graph)}
        onnx.helper.set_model_props(static, {INPUT_SHAPES: json.dumps(fed)})
    write_atomically(work / PREPARED, static.SerializeToString())
    return work / PREPARED


def dimensions(path: Path) -> dict[str, tuple[int | str, ...]]:
    """Each input's dimensions in a file, a free one by its name, "" where it has none.

    Raises InputError for a file that is no ONNX model."""
    return {value.name: input_dimensions(value) for value in graph_inputs(load_onnx(path).graph)}


def fix_shapes(model: onnx.ModelProto, shapes: Shapes, path: Path) -> None:
    """Write static input dimensions into `model`, in place, and forget all inferred shapes.

    A symbolic dimension that one input's shape settles is settled in all inputs.

    Raises InputError for a name that is no input, a shape of another rank, a shape that contradicts
    the model or itself, and for every dimension left dynamic, with the `--shape` that fixes it.
    """
    inputs = {value.name: value for value in graph_inputs(model.graph)}
    for name, shape in shapes.items():
        if name not in inputs:
            raise unknown_name("input", name, inputs)
        if any(extent < 1 for extent in shape):
            raise InputError(f"--shape {name}={_text(shape)}: dimensions are at least 1")
    settled: dict[str, int] = {}
    for name, value in inputs.items():
        if not value.type.HasField("tensor_type"):
            kind = value.type.WhichOneof("value")
            raise InputError(f"{path}: input '{name}' is a {kind}, expected a tensor")
        if name in shapes:
            _fix(value, shapes[name], settled, path)
    dynamic = []
    for value in inputs.values():
        tensor = value.type.tensor_type
        for dimension in tensor.shape.dim:
            if not is_static(dimension) and dimension.dim_param in settled:
                dimension.dim_value = settled[dimension.dim_param]
        if not tensor.HasField("shape") or not all(map(is_static, tensor.shape.dim)):
            dynamic.append(value)
    if dynamic:
        found = "; ".join(f"input '{v.name}' is {_described(v)}" for v in dynamic)
        known = trailing_extents(model)
        flags = " ".join(f"--shape {v.name}={_example(v, known.get(v.name, ()))}" for v in dynamic)
        zeros = any(map(_has_zero, dynamic))
        meaning = "; a 0 in the file counts as unknown: no tensor without elements is fed"
        raise InputError(
            f"{path}: {found}; every dimension must be a number: {flags}{meaning if zeros else ''}"
        )
    # Types inferred for the dynamic model no longer hold, its outputs' dimensions included.
    del model.graph.value_info[:]
    for output in model.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")


def fold(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """An equal model with everything computed that does not depend on the inputs' values.

    Done by ONNX Runtime's basic optimisations, which also drop operators without effect and fold
    normalisation into convolutions; the result holds standard ONNX operators, and those of other
    domains that were there before.

    Raises ShapesRefused when ONNX Runtime refuses the model with these shapes.
    """
    model = with_time_first(with_decided_branches(model))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(written)
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_DISABLED_OPTIMISERS,
            )
        except Exception as error:
            # ONNX Runtime's errors are several C++ types without a common base.
            if _lacks_operators(error):
                return folded_by_reference(model)
            said = f"{path}: ONNX Runtime refuses it with these shapes: {first_line(error)}"
            raise ShapesRefused(said + BINDING if _branches(model) else said) from None
        folded = onnx.load(written)
    _drop_unused_domains(folded)
    added = domains(folded) - domains(model)
    if added:
        raise InputError(f"{path}: folding its shapes added operators of {', '.join(added)}")
    known = with_known_selections(folded)
    return folded if known is folded else fold(known, path)


def _lacks_operators(error: Exception) -> bool:
    """Whether ONNX Runtime refuses a model for what it has not implemented."""
    return isinstance(error, NotImplemented) or any(said in str(error) for said in _UNKNOWN)


def _branches(model: onnx.ModelProto) -> bool:
    """Whether there is control flow."""
    return any(node.op_type in _BRANCHING for node in walk_nodes(model.graph))


def domains(model: onnx.ModelProto) -> set[str]:
    """The operator domains of a model's nodes beyond the standard one."""
    return {node.domain for node in walk_nodes(model.graph)} - STANDARD_DOMAINS


def _fix(
    value: onnx.ValueInfoProto, shape: tuple[int, ...], settled: dict[str, int], path: Path
) -> None:
    tensor = value.type.tensor_type
    asked = f"--shape {value.name}={_text(shape)}"
    described = _described(value)
    if not tensor.HasField("shape"):
        tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in shape)
    if len(tensor.shape.dim) != len(shape):
        raise InputError(
            f"{path}: input '{value.name}' is {described}, {len(tensor.shape.dim)} dimensions; "
            f"{asked} has {len(shape)}"
        )
    for index, (dimension, extent) in enumerate(zip(tensor.shape.dim, shape, strict=True)):
        symbol = "" if dimension.dim_param == ANONYMOUS else dimension.dim_param
        known = dimension.dim_value if is_static(dimension) else settled.get(symbol)
        if known not in (None, extent):
            raise InputError(
                f"{path}: input '{value.name}' is {described}, dimension "
                f"{symbol or index} is {known}; {asked} makes it {extent}"
            )
        if symbol:
            settled[symbol] = extent
        dimension.dim_value = extent


def _dimensions(value: onnx.ValueInfoProto) -> list[int]:
    return [int(dimension.dim_value) for dimension in value.type.tensor_type.shape.dim]


def _has_zero(value: onnx.ValueInfoProto) -> bool:
    """Whether a dimension is 0 in the file: of a tensor without elements, or not known."""
    dims = value.type.tensor_type.shape.dim
    return any(dim.HasField("dim_value") and dim.dim_value == 0 for dim in dims)


def _described(value: onnx.ValueInfoProto) -> str:
    """An input's shape as its model writes it: `[batch, 3, ?, ?]`."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return "of unknown rank"
    return f"[{', '.join(_extent(d) for d in tensor.shape.dim)}]"


def _example(value: onnx.ValueInfoProto, known: Extents) -> str:
    """An input's shape as `--shape` wants it, with open dimensions in brackets; the last ones may
    be known by the weights."""
    dimensions = [*value.type.tensor_type.shape.dim]
    extents = [_extent(each) if is_static(each) else f"<{_extent(each)}>" for each in dimensions]
    for at, extent in zip(range(len(extents) - len(known), len(extents)), known, strict=True):
        if not is_static(dimensions[at]):
            extents[at] = str(extent)
    return ",".join(extents) or "…"


def _extent(dimension: onnx.TensorShapeProto.Dimension) -> str:
    return str(dimension.dim_value) if is_static(dimension) else dimension.dim_param or "?"


def _text(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))


def _drop_unused_domains(model: onnx.ModelProto) -> None:
    """ONNX Runtime declares every domain it knows; keep those that the nodes are of."""
    used = domains(model) | STANDARD_DOMAINS
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
