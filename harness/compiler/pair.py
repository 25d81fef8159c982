"""Checks that the installed TVM and its ffi library belong together.

They are released apart, and with a wrong pair every path through TVM's JSON graphs ends in a
segmentation fault: saving a module, tensorizing, every tuning run.
"""

from __future__ import annotations

import platform

from harness.errors import InputError
from harness.files.atomic import write_atomically
from harness.files.cache import cache_folder
from harness.files.installed import installed_version
from harness.processes.python import ChildFailure, run_python

KNOWN_PAIR = {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.14.post1"}
INSTALL = "pip install " + " ".join(f"{name}=={number}" for name, number in KNOWN_PAIR.items())

_PROBE = "import tvm, tvm.tirx; tvm.ir.save_json(tvm.tirx.IntImm('int32', 1))"
_TIME_LIMIT_SECONDS = 120


def check_tvm_pair() -> str:
    """The versions of the pair, in words, once it is known to work.

    The first call for a pair runs it (about a second) and leaves a stamp in the cache folder;
    later calls only look for the stamp. Raises InputError with the versions to install.
    """
    pair = installed_pair()
    stamp = cache_folder() / "checked-pairs" / f"{pair} python {platform.python_version()}"
    if not stamp.exists():
        if problem := pair_problem():
            raise InputError(f"{problem}; run: {INSTALL}")
        write_atomically(stamp, "")
    return pair


def pair_problem() -> str | None:
    """The problem with the installed pair, found by running it in a child process, or None."""
    try:
        run_python(["-c", _PROBE], seconds=_TIME_LIMIT_SECONDS)
    except ChildFailure as error:
        return f"{installed_pair()} does not work: {error}"
    return None


def installed_pair() -> str:
    """The installed versions, in words: `apache-tvm 0.27 with apache-tvm-ffi 0.1.14`."""
    return " with ".join(f"{name} {installed_version(name) or '(missing)'}" for name in KNOWN_PAIR)


def is_known_pair() -> bool:
    """Whether the installed versions are the ones this package is tested with."""
    return all(installed_version(name) == number for name, number in KNOWN_PAIR.items())
