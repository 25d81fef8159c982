"""What a TFLite file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.models.description import Description, typed
from harness.models.tflite.graph import Graph
from harness.models.tflite.shapes import DAMAGED, dimensions
from harness.models.tflite.state import variables_of


def described(path: Path) -> Description:
    """See `harness.models.description`."""
    extents = dimensions(path)
    import tflite

    try:
        model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
        subgraph = model.Subgraphs(0)
        graph = Graph(model, subgraph, {})
        inputs = [graph.tensor(int(at)) for at in subgraph.InputsAsNumpy()]
        graphs = [model.Subgraphs(at) for at in range(model.SubgraphsLength())]
        return Description(
            version=f"schema {model.Version()}",
            inputs={each.name: typed(each.dtype, extents[each.name]) for each in inputs},
            nodes=sum(each.OperatorsLength() for each in graphs),
            quantization=_quantization(graph, subgraph),
            state=variables_of(model),
        )
    except DAMAGED:
        raise InputError(f"{path}: a damaged or truncated TFLite model") from None


def _quantization(graph: Graph, subgraph: Any) -> str:
    """Whether tensors that are computed are in steps, or constants alone."""
    found: dict[bool, set[str]] = {False: set(), True: set()}
    for tensor in map(graph.tensor, range(subgraph.TensorsLength())):
        if tensor.steps is not None or tensor.dtype == "float16":
            found[graph.holds_content(tensor.index)].add(tensor.dtype)
    for constant, words in ((False, "static"), (True, "weights")):
        if found[constant]:
            return f"{words} {'/'.join(sorted(found[constant]))}"
    return ""
