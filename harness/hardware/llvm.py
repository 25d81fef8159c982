"""Processors as the LLVM inside TVM knows them: their names, their features, and this host's.

An unknown `mcpu` or `mattr` is only logged by LLVM and compiled as something else, and an unknown
`mtriple` ends the process; so everything that reaches LLVM passes `check_target` first.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from harness.compiler import llvm
from harness.errors import InputError, did_you_mean
from harness.specs.target import TvmTarget

_PROCESSORS = {
    "x86": r"x86_64|i[3-6]86",
    "arm": r"aarch64|aarch64_be|arm64|(arm|thumb)(v[4-9][a-z]{0,2})?",
}
"""The prefixes of triples, by architecture: asked about another processor, LLVM ends the
process."""
_EXAMPLES = {"x86": "x86_64-linux-gnu", "arm": "aarch64-linux-gnu"}
_REST = r"(-[A-Za-z0-9_.]{1,32}){0,3}"

# Instructions a program has to ask for by name; no compiler puts them into arithmetic. Hypervisors
# hide many of them, and code for the processor's name runs all the same.
# fmt: off
_SYSTEM_FEATURES = frozenset({
    "cldemote", "clflushopt", "clwb", "clzero", "enqcmd", "fsgsbase", "hreset", "invpcid", "kl",
    "lwp", "movdir64b", "movdiri", "mwaitx", "pconfig", "pku", "prefetchi", "ptwrite", "rdpid",
    "rdpru", "rdrnd", "rdseed", "rtm", "serialize", "sgx", "shstk", "tsxldtrk", "uintr",
    "usermsr", "waitpkg", "wbnoinvd", "widekl", "xsave", "xsavec", "xsaveopt", "xsaves",
})
# fmt: on


@cache
def host_cpu() -> str:
    """LLVM's name of this machine's processor, such as `znver4`."""
    return str(llvm.codegen().llvm_get_system_cpu())


@cache
def host_triple() -> str:
    """The target triple of this machine, reduced to the parts that the code generator needs."""
    return f"{str(llvm.codegen().llvm_get_system_triple()).partition('-')[0]}-linux-gnu"


@cache
def host_features() -> dict[str, bool]:
    """Every instruction-set feature LLVM can ask this processor about, and whether it is there.

    LLVM asks the processor itself (CPUID) and the operating system (saved register state), so a
    feature that a hypervisor hides is absent here whatever the processor's name implies.
    """
    found = llvm.host_features()
    return {name: there for name, there in found.items() if name not in _SYSTEM_FEATURES}


def target_features(target: TvmTarget) -> frozenset[str]:
    """Every LLVM feature that code for `target` may use: those its `mcpu` implies, and `mattr`."""
    return frozenset(map(str, llvm.codegen().llvm_get_cpu_features(_as_tvm(target))))


def vector_bits(target: TvmTarget) -> int:
    """Width of the SIMD registers of `target` in bits; for scalable vectors the least there is."""
    return register_bits(target_features(target))


def register_bits(features: frozenset[str]) -> int:
    """Width of the SIMD registers of a processor with these LLVM features, in bits.

    TVM's own `llvm_get_vector_width` says 512 for AVX2 processors too.
    """
    if "avx512f" in features:
        return 512
    return 256 if "avx" in features else 128


def check_target(target: TvmTarget, architecture: str) -> None:
    """Raise InputError if LLVM would ignore, or crash on, a part of `target`."""
    triple = target.mtriple or host_triple()
    if not re.fullmatch(f"({_PROCESSORS.get(architecture, '')}){_REST}", triple):
        raise InputError(
            f"tvm.mtriple: '{triple}' does not belong to architecture '{architecture}'; "
            f"expected one such as '{_EXAMPLES.get(architecture, host_triple())}'"
        )
    codegen = llvm.codegen()
    if target.mcpu and not codegen.llvm_is_valid_cpu(target.mcpu, triple):
        plain = _as_tvm(TvmTarget(mtriple=triple, mcpu="generic"))
        names = map(str, codegen.llvm_get_cpu_archlist(plain))
        raise InputError(
            f"tvm.mcpu: LLVM {llvm_version()} knows no processor '{target.mcpu}' for {triple}"
            f"{did_you_mean(target.mcpu, names)}"
        )
    for attribute in target.mattr:
        _check_attribute(attribute, triple)


def family_of(triple: str | None) -> str:
    """The architecture that a triple's processor is of; x86 where it is of none that is known."""
    known = (
        name for name, first in _PROCESSORS.items() if re.match(first, triple or host_triple())
    )
    return next(known, "x86")


def llvm_version() -> int:
    """Major version of the LLVM that TVM was built with."""
    return int(llvm.codegen().llvm_version_major())


def _check_attribute(attribute: str, triple: str) -> None:
    sign, name = attribute[:1], attribute[1:]
    if sign not in ("+", "-"):
        raise InputError(
            f"tvm.mattr: '{attribute}' has no sign; write '+{attribute}' to require it"
        )
    known = _features_of_any_cpu(triple)
    if name in known:
        return
    # No processor implies it, yet LLVM may still know it: it takes known ones.
    with _silent_stderr():
        asked = TvmTarget.model_validate(
            {"mtriple": triple, "mcpu": "generic", "mattr": [f"+{name}"]}
        )
        taken = name in target_features(asked)
    if not taken:
        raise InputError(
            f"tvm.mattr: LLVM {llvm_version()} knows no feature '{name}' for {triple}"
            f"{did_you_mean(name, known)}"
        )


@cache
def _features_of_any_cpu(triple: str) -> frozenset[str]:
    plain = _as_tvm(TvmTarget(mtriple=triple, mcpu="generic"))
    names = map(str, llvm.codegen().llvm_get_cpu_archlist(plain))
    return frozenset().union(
        *(target_features(TvmTarget(mtriple=triple, mcpu=name)) for name in names)
    )


def _as_tvm(target: TvmTarget) -> Any:
    return llvm.target(target.as_tvm())


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep C++ code's output to standard error off the terminal: LLVM reports there itself."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
