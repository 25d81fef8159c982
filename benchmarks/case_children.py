"""Runs cases in child processes: one that crashes costs itself.

A script calls `run_all` with its own file, and, where it is started with `--child`, `work_through`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

SECONDS = 1800

Results = dict[tuple[str, str], str]
"""Case and fusion level to what came of it."""


def run_all(script: str, names: Sequence[str], levels: Sequence[str], batch: int) -> Results:
    """The results of all cases, `batch` of them a child. Prints progress."""
    batches = [names[at : at + batch] for at in range(0, len(names), batch)]
    results: Results = {}
    begun = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = pool.map(lambda each: in_child(script, each, levels), batches)
        for done, part in enumerate(found, 1):
            results |= part
            rate = (time.monotonic() - begun) / done
            left = rate * (len(batches) - done) / 60
            print(f"{len(results)} of {len(names) * len(levels)}; {left:.0f} min left", flush=True)
    return results


def in_child(script: str, names: Sequence[str], levels: Sequence[str]) -> Results:
    """The results of some cases. A child that crashes is started again behind the case."""
    found: Results = {}
    left = [(name, level) for name in names for level in levels]
    while left:
        order = json.dumps({"names": list(dict.fromkeys(n for n, _ in left)), "levels": levels})
        environment = {**os.environ, "TVM_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                [sys.executable, script, "--child", order],
                capture_output=True, text=True, timeout=SECONDS, env=environment,
            )  # fmt: skip
            printed, ended = done.stdout, f"crashed: exit code {done.returncode}"
        except subprocess.TimeoutExpired as error:
            printed, ended = (error.stdout or b"").decode(), f"took over {SECONDS} s"
        begun = None
        for line in printed.splitlines():
            if not line.startswith("{"):
                continue
            message = json.loads(line)
            if "begins" in message:
                begun = tuple(message["begins"])
            else:
                found[tuple(message["case"])] = message["result"]
        if begun is not None and begun not in found:
            found[begun] = ended
        elif begun is None:
            found |= dict.fromkeys(left, ended)
        left = [each for each in left if each not in found]
    return found


def work_through(order: str, passes: Callable[[str, str], str]) -> None:
    """In a child: prints a line of JSON before and after each case."""
    wanted = json.loads(order)
    for name in wanted["names"]:
        for level in wanted["levels"]:
            print(json.dumps({"begins": [name, level]}), flush=True)
            result = passes(name, level)
            print(json.dumps({"case": [name, level], "result": result}), flush=True)
