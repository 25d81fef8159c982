"""TVM's importer of PyTorch exported programs; needs the extra `torch`."""

from __future__ import annotations

from tvm.relax.frontend.torch import from_exported_program
from tvm.relax.frontend.torch.exported_program_translator import ExportedProgramImporter

__all__ = ["ExportedProgramImporter", "from_exported_program"]
