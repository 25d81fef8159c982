"""LayerEdge from Python: run sweeps, read their results, call exported networks.

    import layeredge

    results = layeredge.run("sweep.yaml", "results/mine")
    results.frame()                                  # pandas, one row a cell
    model = layeredge.Model("deploy/my-model")       # a folder of `layeredge select --export`
    outputs = model(x)

Importing this module takes no time: what a function needs is imported when it is called.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness import __version__

if TYPE_CHECKING:
    from harness.deploy.runner import Model
    from harness.errors import HarnessError
    from layeredge.results import Results, load, run

__all__ = ["HarnessError", "Model", "Results", "__version__", "load", "run"]

_PLACES = {
    "HarnessError": "harness.errors",
    "Model": "harness.deploy.runner",
    "Results": "layeredge.results",
    "load": "layeredge.results",
    "run": "layeredge.results",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'layeredge' has no attribute '{name}'")
    return getattr(importlib.import_module(_PLACES[name]), name)
