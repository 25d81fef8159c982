"""Threads for the parallel loops of kernels, in place of TVM's own.

A kernel of a small network takes ten microseconds. TVM's threads give way to others whenever they
look for work and find none, and so does the caller that waits for them: that takes one more (see
`benchmarks/fork_join.py`). Ours, in `fork_join.cpp`, take a fifth of that.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path

from harness.compiler.patches import register_context_symbol
from harness.devices.linker import linker, processor_of
from harness.errors import CellFailure, last_line
from harness.files.cache import cache_folder

FUNCTION = "layeredge_fork_join"
THREADS = "fork-join"
"""The system's name of the threads."""
_SYMBOL = b"__TVMBackendParallelLaunch"
"""The function that compiled code calls, by TVM's name."""
_OPTIONS = ["-std=c++20", "-O2", "-fPIC", "-shared", "-pthread"]
_PORTABLE = ["-static-libstdc++", "-static-libgcc"]
"""Exported networks bring the library along to machines with an older compiler's library."""
_SECONDS = 120


@cache
def use_fork_join() -> None:
    """Have code that TVM loads or compiles into this process from now on run its loops in our
    threads.

    There are as many as `TVM_NUM_THREADS` says when the first loop runs; for one alone TVM starts
    none, and nothing is done here. Raises CellFailure where no compiler is there or it fails.
    """
    if os.environ.get("TVM_NUM_THREADS") == "1":
        return
    if not register_context_symbol(_SYMBOL, getattr(_loaded(), FUNCTION)):
        raise CellFailure("TVM does not take other threads than its own for the loops of kernels")


@contextmanager
def in_this_thread() -> Iterator[None]:
    """Run the loops of kernels in the calling thread, as a forked process must, which has no other.
    `use_fork_join` has been called."""
    if os.environ.get("TVM_NUM_THREADS") == "1":  # as they do anyhow
        yield
        return
    stay = _loaded().layeredge_stay_in_thread
    stay(ctypes.c_bool(True))
    try:
        yield
    finally:
        stay(ctypes.c_bool(False))


@cache
def _loaded() -> ctypes.CDLL:
    return ctypes.CDLL(str(fork_join_library(None)))


def fork_join_library(triple: str | None) -> Path:
    """The library in the cache for a target triple, this machine's where there is none; compiled
    where it is not there yet. Raises CellFailure where it cannot be."""
    source = files("harness.devices.threads").joinpath("fork_join.cpp").read_bytes()
    made_of = source + " ".join([*_OPTIONS, *_PORTABLE]).encode()
    name = f"{hashlib.sha256(made_of).hexdigest()[:16]}-{processor_of(triple)}.so"
    library = cache_folder() / "threads" / name
    if not library.exists():
        library.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made = Path(folder) / name
            _compile(linker(triple), source, made)
            os.replace(made, library)
    return library


def _compile(compiler: str, source: bytes, library: Path) -> None:
    command = [compiler, *_OPTIONS, *_PORTABLE, "-x", "c++", "-o", str(library), "-"]
    try:
        done = subprocess.run(command, input=source, capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CellFailure(f"the threads for kernels cannot be compiled: {error}") from None
    if done.returncode:
        said = last_line(done.stderr.decode(errors="replace"))
        raise CellFailure(f"the threads for kernels cannot be compiled: {said}")
