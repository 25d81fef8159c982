"""Runs a module or a piece of code as Python would, in a process that ends with its parent.

python -m harness.processes.bound PARENT -m MODULE [ARGUMENT ...]
python -m harness.processes.bound PARENT -c CODE [ARGUMENT ...]
"""

from __future__ import annotations

import runpy
import sys

from harness.processes.parent import die_with_parent


def main() -> None:
    """As the module says; PARENT is the identifier of the process that started this one."""
    _, parent, option, what, *arguments = sys.argv
    die_with_parent(int(parent))
    sys.argv = [option if option == "-c" else what, *arguments]
    if option == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
