"""Checks that the installed TVM and its ffi library belong together.

They are released apart, and with a wrong pair every path through TVM's JSON graphs ends in a
segmentation fault: saving a module, tensorizing, every tuning run.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from harness.cache import cache_folder, write_atomically
from harness.child_python import ChildFailure, run_python
from harness.errors import InputError

KNOWN_PAIR = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post1"}
INSTALL = "pip install " + " ".join(f"{name}=={number}" for name, number in KNOWN_PAIR.items())

_PROBE = "import tvm, tvm.tirx; tvm.ir.save_json(tvm.tirx.IntImm('int32', 1))"
_TIME_LIMIT_SECONDS = 120


def check_tvm_pair(*, fresh: bool = False) -> str:
    """The versions of the pair, in words, once it is known to work.

    The first call for a pair runs it in a child process (about a second) and leaves a stamp in the
    cache folder; later calls read the stamp, unless `fresh`. Raises InputError with the versions
    to install when a package is missing or the child does not come through.
    """
    try:
        found = {name: version(name) for name in KNOWN_PAIR}
    except PackageNotFoundError as error:
        raise InputError(f"the package {error.name} is not installed; run: {INSTALL}") from None
    pair = " with ".join(f"{name} {number}" for name, number in found.items())
    key = "-".join((*found.values(), f"python{platform.python_version()}"))
    stamp = cache_folder() / "checked-pairs" / key
    if not fresh and stamp.exists():
        return pair
    try:
        run_python(["-c", _PROBE], seconds=_TIME_LIMIT_SECONDS)
    except ChildFailure as error:
        stamp.unlink(missing_ok=True)
        raise InputError(f"{pair} does not work ({error}); run: {INSTALL}") from None
    write_atomically(stamp, pair + "\n")
    return pair
