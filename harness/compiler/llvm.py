"""The LLVM inside TVM, imported when it is first asked: descriptions are read without it."""

from __future__ import annotations

from typing import Any

from harness.compiler.lean_import import lean_import


def target(description: dict[str, Any]) -> Any:
    """TVM's target of a description."""
    with lean_import():
        import tvm

    return tvm.target.Target(description)


def host_features() -> dict[str, bool]:
    """This host's features by name, and whether each is there."""
    with lean_import():
        import tvm

    found = tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")()
    return {str(name): bool(there) for name, there in found.items()}


def codegen() -> Any:
    """TVM's queries of LLVM: processors, features, this host."""
    with lean_import():
        from tvm.target import codegen

    return codegen
