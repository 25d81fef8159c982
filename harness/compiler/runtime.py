"""TVM's runtime without its compiler, for processes that run compiled code only.

Import this before anything else of TVM: the compiler's 250 MB would count as memory of the network.
"""

from __future__ import annotations

import os

from harness.compiler.lean_import import lean_import

os.environ["TVM_USE_RUNTIME_LIB"] = "1"
with lean_import():
    import tvm
    from tvm.runtime.vm import VirtualMachine

__all__ = ["VirtualMachine", "tvm"]
