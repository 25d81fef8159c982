"""TVM's RPC: sessions on servers, and the loop of a session. It needs the runtime alone."""

from __future__ import annotations

from harness.compiler.lean_import import lean_import
from harness.compiler.runtime import tvm

with lean_import():
    from tvm import rpc
    from tvm.rpc import server
    from tvm.support.utils import tempdir

__all__ = ["rpc", "server", "tempdir", "tvm"]
