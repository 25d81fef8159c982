"""Numbers rounded to lattices, as networks round them."""

from __future__ import annotations

import numpy as np

from harness.quantization.lattice import Lattice


def rounded(lattice: Lattice, values: np.ndarray) -> np.ndarray:
    """The nearest numbers of a lattice."""
    return np.asarray(np.clip(np.rint(values / lattice.scale), *lattice.steps) * lattice.scale)
