"""PyTorch exported programs to Relax."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from harness.errors import InputError
from harness.models.foreign_errors import first_line
from harness.models.imported import Imported, output_specs, require_shapes


def import_torch(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Imported:
    """Import a `.pt2` file as `torch.export.save` writes it.

    Raises InputError when PyTorch is not installed, the file is not an exported program or holds
    what would have to be executed, and for operators that are not supported, named with their
    nodes.
    """
    if find_spec("torch") is None:
        raise InputError(f"{path}: PyTorch is not installed: pip install 'layeredge[torch]'")
    from tvm.relax.frontend.torch import from_exported_program
    from tvm.relax.frontend.torch.exported_program_translator import ExportedProgramImporter

    from harness.models.torch_archive import CHANGES_STATE, load_exported_program, user_inputs

    program = load_exported_program(path)
    inputs = user_inputs(program)
    outputs = program.graph_signature.user_outputs
    require_shapes(shapes, inputs, path)
    with warnings.catch_warnings():
        # PyTorch warns of deprecated parts that it uses itself; a user cannot act on it.
        warnings.simplefilter("ignore", FutureWarning)
        program = program.run_decompositions()
    signature = program.graph_signature
    if signature.buffers_to_mutate or signature.user_inputs_to_mutate:
        raise InputError(f"{path}: {CHANGES_STATE}")
    converted = ExportedProgramImporter().convert_map
    unsupported = [
        f"{node.target} (node '{node.name}')"
        for node in program.graph.nodes
        if node.op == "call_function" and node.target.__name__ not in converted
    ]
    if unsupported:
        raise InputError(f"{path}: operators that TVM cannot import: {', '.join(unsupported)}")
    try:
        module = from_exported_program(
            program, run_ep_decomposition=False, unwrap_unit_return_tuple=True
        )
    except Exception as error:
        raise InputError(f"{path}: TVM cannot import it: {first_line(error)}") from error
    return Imported(module, inputs, output_specs(module, outputs, path), prepared=None)
