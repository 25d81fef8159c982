"""Complex weights of a program as real ones: TVM has no complex numbers."""

from __future__ import annotations

from typing import Any

import torch


def with_real_weights(program: torch.export.ExportedProgram) -> None:
    """Turn each complex parameter, buffer and constant of a program into a real tensor with one
    more axis, of real and imaginary parts, and have the program begin with the complex one of
    it."""
    graph, signature = program.graph, program.graph_signature
    places: tuple[tuple[Any, Any], ...] = (
        (signature.inputs_to_parameters, program.state_dict),
        (signature.inputs_to_buffers, program.state_dict),
        (signature.inputs_to_buffers, program.constants),
        (signature.inputs_to_lifted_tensor_constants, program.constants),
    )
    for node in [each for each in graph.nodes if each.op == "placeholder"]:
        for names, tensors in places:
            name = names.get(node.name)
            if name in tensors and tensors[name].is_complex():
                tensors[name] = torch.view_as_real(tensors[name].detach().resolve_conj())
                value = node.meta["val"]
                node.meta["val"] = torch.view_as_real(value)
                with graph.inserting_after(node):
                    again = graph.call_function(torch.ops.aten.view_as_complex.default, (node,))
                again.meta["val"] = value
                node.replace_all_uses_with(
                    again, delete_user_cb=lambda user, new=again: user is not new
                )
