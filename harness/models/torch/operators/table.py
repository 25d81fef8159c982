"""The converters of PyTorch's operators that TVM lacks, or converts to something else."""

from __future__ import annotations

from harness.models.torch.operators.activations import ACTIVATIONS
from harness.models.torch.operators.arithmetic import ARITHMETIC
from harness.models.torch.operators.converter import Converter
from harness.models.torch.operators.indexing import INDEXING
from harness.models.torch.operators.movement import MOVEMENT
from harness.models.torch.operators.normalisation import NORMALISATION
from harness.models.torch.operators.pooling import POOLING
from harness.models.torch.operators.products import PRODUCTS
from harness.models.torch.operators.recurrent import RECURRENT
from harness.models.torch.operators.reductions import REDUCTIONS
from harness.models.torch.operators.resize import RESIZE

CONVERTERS: dict[str, Converter] = {
    **ACTIVATIONS,
    **ARITHMETIC,
    **INDEXING,
    **MOVEMENT,
    **NORMALISATION,
    **POOLING,
    **PRODUCTS,
    **RECURRENT,
    **REDUCTIONS,
    **RESIZE,
}
