"""Makes child processes of a sweep misbehave, as native code does: see `tests/test_faults.py`.

Python imports this at start when its folder is on PYTHONPATH. `FAULTS` is `model=fault,…`: when a
model of that file name is to be compiled, the fault happens instead.
"""

import errno
import importlib.machinery
import os
import signal
import sys
import time

_FAULTS = dict(item.split("=") for item in os.environ.get("FAULTS", "").split(",") if item)


def _happen(fault):
    if fault == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "full-disk":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")
    elif fault == "full-disk-of-the-linker":
        try:
            raise RuntimeError("ld: final link failed: No space left on device")
        except RuntimeError as error:
            raise ValueError("cannot be linked") from error
    elif fault == "full-disk-of-llvm":
        print("LLVM ERROR: IO failure on output stream: No space left on device", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)
    elif fault == "hang":
        while True:
            time.sleep(1)
    elif fault == "eat-memory":
        eaten = []
        while True:
            eaten.append(bytearray(64_000_000))
            time.sleep(0.01)


class _Finder:
    """Wraps `import_model`, as `harness.run.cell` calls it, when its module is loaded."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "harness.models.frontends":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            import_model = module.import_model

            def faulty(path, shapes, work):
                fault = _FAULTS.get(path.stem)
                if fault is not None and sys._getframe(1).f_code.co_name == "compile_cell":
                    _happen(fault)
                return import_model(path, shapes, work)

            module.import_model = faulty

        spec.loader.exec_module = exec_module
        return spec


if _FAULTS:
    sys.meta_path.insert(0, _Finder)
