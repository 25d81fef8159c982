"""Compiles and measures candidate kernels in one process: no archive, no second link, no reload.

Run by `harness.tuning.measurer`, because a candidate may crash, hang, or eat memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.child import Message, channel
from harness.tvm_api import ArgInfo, tvm

_SEED = 0
_CONTENDER = 3.0
"""A candidate this many times slower than the best known is dropped after one run."""
_REPEATS = 3
_REPEAT_SECONDS = 0.008


def main() -> None:
    parent = channel()
    for message in parent:
        target = tvm.target.Target(message["target"])
        try:
            if message["do"] == "measure":
                answer = _measure(message, target)
            else:
                answer = {"seconds": _contest(message, target)}
        except Exception as error:
            # Anything a candidate raises is that candidate's failure, never the worker's.
            answer = {
                "error": str(error).strip().splitlines()[-1][:300] if str(error) else repr(error)
            }
        parent.send(answer)


def _measure(message: Message, target: tvm.target.Target) -> dict[str, Any]:
    """Seconds per run of one candidate, several times when it is a contender."""
    evaluate = _compiled(message["module"], target)
    first = evaluate(1, 1)[0]
    best = message.get("best")
    if best is not None and first > _CONTENDER * best:
        return {"seconds": [first]}
    number = max(1, round(_REPEAT_SECONDS / max(first, 1e-9)))
    return {"seconds": evaluate(number, _REPEATS)}


def _contest(message: Message, target: tvm.target.Target) -> list[list[float]]:
    """Seconds per run of several candidates, taking turns: [candidates][rounds]."""
    evaluators = [_compiled(module, target) for module in message["modules"]]
    numbers = [
        max(1, round(_REPEAT_SECONDS / max(evaluate(1, 1)[0], 1e-9))) for evaluate in evaluators
    ]
    seconds: list[list[float]] = [[] for _ in evaluators]
    order = np.random.default_rng(_SEED)
    for _ in range(message["rounds"]):
        for at in order.permutation(len(evaluators)):
            seconds[at].extend(evaluators[at](numbers[at], 1))
    return seconds


def _compiled(text: str, target: tvm.target.Target) -> Callable[[int, int], list[float]]:
    """Compile a scheduled module and give a function (runs, repeats) to seconds per run."""
    module = tvm.ir.load_json(text)
    library = tvm.compile(module, target=target).jit()
    generator = np.random.default_rng(_SEED)
    arguments = [
        tvm.runtime.tensor(_values(generator, str(info.dtype), tuple(map(int, info.shape))))
        for info in ArgInfo.from_prim_func(module["main"])
    ]

    def evaluate(runs: int, repeats: int) -> list[float]:
        timer = library.time_evaluator("main", tvm.cpu(), number=runs, repeat=repeats)
        return [float(value) for value in timer(*arguments).results]

    return evaluate


def _values(generator: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random values for floats; zeros for integers, which may be indices and must be in range."""
    if dtype.startswith("float"):
        return generator.standard_normal(shape).astype(dtype)
    return np.zeros(shape, dtype)


if __name__ == "__main__":
    main()
