"""What a TFLite model keeps from one inference to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.models.tflite.shapes import tensor_name


def state_of(model: Any) -> tuple[str, ...]:
    """The names of the variables of a model, TFLite's object; none if each inference is like the
    first."""
    import tflite

    graph = model.Subgraphs(0)
    found: dict[str, None] = {}
    for at in range(graph.TensorsLength()):
        tensor = graph.Tensors(at)
        if tensor.Type() == tflite.TensorType.RESOURCE or tensor.IsVariable():
            found[tensor_name(tensor, at)] = None
    return tuple(found)


def keeps_resources(path: Path) -> bool:
    """Whether a file has variables that LiteRT cannot reset: it does those that are tensors."""
    import tflite

    graph = tflite.Model.GetRootAsModel(path.read_bytes(), 0).Subgraphs(0)
    return any(
        graph.Tensors(at).Type() == tflite.TensorType.RESOURCE
        for at in range(graph.TensorsLength())
    )
