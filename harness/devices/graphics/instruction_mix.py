"""Which instructions the functions of a graphics processor's code are made of.

The code is PTX, which NVIDIA's compiler always gives; the tools that print the machine's own
instructions (SASS) are packages of their own. PTX is for a machine with any number of registers:
the assembler has yet to give it the registers that there are, to merge and reorder instructions and
to unroll loops. The figures tell the kinds of work that a function was written as; moves between
registers mostly vanish, and spilling is not in it.

Sources
-------
[PTX]  NVIDIA, Parallel Thread Execution ISA, "Instruction Set": the operation comes first, then,
       after points, its memory and its types.
"""

from __future__ import annotations

import re
from collections import Counter

from harness.records.compiled_code import InstructionMix

_FUNCTION = re.compile(r"\.entry\s+(\w+)|\.func\b")
_INSTRUCTION = re.compile(r"^\s*(?:@!?%\w+\s+)?([a-z]\w*(?:[.:]+\w+)*)[ \t;]", re.MULTILINE)
_MEMORY = {
    ("ld", "global"): "global_loads",
    ("st", "global"): "global_stores",
    ("ld", "shared"): "shared_loads",
    ("st", "shared"): "shared_stores",
}
_OTHER_CLASSES = {
    **dict.fromkeys(["bar", "barrier"], "barriers"),
    **dict.fromkeys(["bra", "brx", "call", "ret", "exit"], "branches"),
}
# fmt: off
_ARITHMETIC = frozenset({
    "abs", "add", "addc", "and", "bfe", "bfi", "bfind", "brev", "clz", "cnot", "copysign", "cos",
    "cvta", "div", "dp2a", "dp4a", "ex2", "fma", "lg2", "lop3", "mad", "madc", "max", "min", "mul",
    "mul24", "neg", "not", "or", "popc", "prmt", "rcp", "rem", "rsqrt", "sad", "set", "setp", "shf",
    "shl", "shr", "sin", "sqrt", "sub", "subc", "tanh", "xor",
})
# fmt: on
_FLOATS = frozenset(("f16", "f16x2", "bf16", "bf16x2", "tf32", "f32", "f64"))


def instruction_mixes(ptx: str) -> dict[str, InstructionMix]:
    """The instructions of each function in a text of PTX that can be launched, by its name."""
    parts = _FUNCTION.split(ptx)
    return {name: _mix(body) for name, body in zip(parts[1::2], parts[2::2], strict=True) if name}


def _mix(body: str) -> InstructionMix:
    counts = Counter(_class_of(operation.split(".")) for operation in _INSTRUCTION.findall(body))
    return InstructionMix(form="ptx", **counts)


def _class_of(words: list[str]) -> str:
    """The field of `InstructionMix` that an instruction, such as `ld.global.f32`, is counted in."""
    operation, details = words[0], set(words[1:])
    if operation in _OTHER_CLASSES:
        return _OTHER_CLASSES[operation]
    if operation in _ARITHMETIC and "pred" not in details:
        return "integer" if details.isdisjoint(_FLOATS) else "floating_point"
    return next(
        (_MEMORY[operation, space] for space in details if (operation, space) in _MEMORY), "other"
    )
