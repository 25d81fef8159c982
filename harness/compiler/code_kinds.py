"""The kinds of code that TVM compiles for us, with the traits in which they differ.

Decisions read a trait; nothing else compares the name of a kind. The names are those of `tvm.kind`
in a hardware description.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CodeKind:
    """One kind of code.

    `vectors`: kernels use vector registers and run on the processor's cores; otherwise blocks of
    threads take their place. `device` is TVM's name of the device that it runs on; the memory of
    any but `cpu` is not this process's. `search_rules` is the name of MetaSchedule's own rules,
    None for those of the target. At most `contexts` processes may use the device at a time.
    """

    name: str
    vectors: bool
    device: str
    search_rules: str | None = None
    contexts: int | None = None

    @property
    def in_process_memory(self) -> bool:
        """Whether kernels access memory of the process that calls them, which can be guarded, timed
        by its clock and cached by its processor."""
        return self.device == "cpu"


CODE_KINDS: Mapping[str, CodeKind] = {
    kind.name: kind
    for kind in (
        CodeKind("llvm", vectors=True, device="cpu"),
        # A context takes half a gigabyte of the device's memory.
        CodeKind("cuda", vectors=False, device="cuda", search_rules="cuda", contexts=8),
    )
}
