"""What an exported program of PyTorch says of itself."""

from __future__ import annotations

from pathlib import Path

from harness.models.description import Description, typed
from harness.models.torch.frontend import require_torch


def described(path: Path) -> Description:
    """See `harness.models.description`."""
    require_torch(path)
    from harness.models.torch.archive import load_exported_program, user_inputs

    program = load_exported_program(path)
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    quantized = any("quantize" in str(node.target) for node in nodes)
    return Description(
        version="torch.export",
        inputs={each.name: typed(each.dtype, each.shape) for each in user_inputs(program)},
        nodes=len(nodes),
        quantization="static (PT2E)" if quantized else "",
    )
