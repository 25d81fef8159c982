"""Imports TVM without unused parts, in half of the time.

- PyTorch, which TVM's ffi imports wherever it is installed: seconds at every start and 200 MB of
  memory in every process, which only exchanging tensors with PyTorch would need.
- The Python parts of TVM's backends for accelerators; `tvm_api.load_backend` loads one where a
  target asks for it.
- TVM's distributed runtime, which the released package lacks: it finds that out by an error of its
  library, and those begin with reading the library's debug information.
- Garbage collection during the import, and listing all of TVM's functions for every module.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

_DISTRIBUTED = "tvm.runtime.disco"
_AUTOLOAD = "TVM_DEVICE_BACKEND_AUTOLOAD"


@contextmanager
def lean_import() -> Iterator[None]:
    """Inside, TVM is to be imported; importing torch fails, unless it is imported already."""
    with ExitStack() as lean:
        for absent in ("torch", _DISTRIBUTED):
            if absent not in sys.modules:
                sys.modules[absent] = None  # type: ignore[assignment]
                lean.callback(sys.modules.pop, absent)
        if gc.isenabled():
            gc.disable()
            lean.callback(gc.enable)
        if "tvm" not in sys.modules:
            lean.enter_context(_names_listed_once())
            # A process with the runtime alone loads the backends that it has of itself.
            if "TVM_USE_RUNTIME_LIB" not in os.environ and _AUTOLOAD not in os.environ:
                os.environ[_AUTOLOAD] = "0"
                lean.callback(os.environ.pop, _AUTOLOAD)
        yield


@contextmanager
def _names_listed_once() -> Iterator[None]:
    from tvm_ffi import registry

    listed = registry.list_global_func_names
    registry.list_global_func_names = cache(listed)
    try:
        yield
    finally:
        registry.list_global_func_names = listed
