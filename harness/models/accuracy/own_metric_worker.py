"""The process that imports a user's own metric and scores with it; see `own_metric`."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import InputError, did_you_mean
from harness.processes.child import Message, channel

LABELS = "labels.npy"
RESAMPLES = 100
_SEED = 0
_MOST_CHARACTERS = 300

Function = Callable[[list[np.ndarray], np.ndarray], Any]


def output_name(at: int) -> str:
    """The file of an output."""
    return f"output-{at}.npy"


def drop_current_folder() -> None:
    """Import nothing from the current folder, unless PYTHONPATH names it."""
    parts = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    named = {os.path.abspath(part) for part in parts if part}
    here = os.getcwd()
    if here not in named:
        sys.path[:] = [part for part in sys.path if os.path.abspath(part or here) != here]


def function_of(name: str) -> Function:
    """The function `module:function`. Raises InputError where there is none."""
    module_name, _, attribute = name.partition(":")
    module = importlib.import_module(module_name)
    found = getattr(module, attribute, None)
    if not callable(found):
        known = [each for each in vars(module) if callable(vars(module)[each])]
        raise InputError(
            f"no function '{attribute}' in {module_name}{did_you_mean(attribute, known)}"
        )
    return found  # type: ignore[no-any-return]


def score(function: Function, outputs: list[np.ndarray], labels: np.ndarray) -> Message:
    """The score of all samples, its interval, and where the function says which samples hit, these.

    Raises InputError where it gives something else than is expected of it.
    """
    from harness.statistics.shares import bootstrap_interval  # SciPy takes a second to import

    count = len(labels)
    found = np.asarray(function(outputs, labels))
    if found.ndim == 0 and found.dtype.kind in "iufb":

        def again(drawn: np.ndarray) -> float:
            value = float(function([each[drawn] for each in outputs], labels[drawn]))
            return float(found) if np.isnan(value) else value

        low, high = bootstrap_interval(np.arange(count), again, _SEED, RESAMPLES)
        return {"value": float(found), "low": low, "high": high, "hits": None}
    if found.shape != (count,) or found.dtype.kind not in "iufb":
        raise InputError(
            f"gave {found.dtype} {list(found.shape)}; expected a number, or an array [{count}] of "
            "a score for each sample"
        )
    scores = found.astype(np.float64)
    low, high = bootstrap_interval(scores, lambda drawn: float(drawn.mean()), _SEED)
    hits = found.tolist() if found.dtype.kind == "b" else None
    return {"value": float(scores.mean()), "low": low, "high": high, "hits": hits}


def _answer(message: Message) -> Message:
    function = function_of(message["metric"])
    if message["do"] == "require":
        return {}
    folder = Path(message["folder"])

    def load(name: str) -> np.ndarray:
        # Copied on write: the file on the disk is only read.
        found: np.ndarray = np.load(folder / name, mmap_mode="c", allow_pickle=False)
        return found

    outputs = [load(output_name(at)) for at in range(message["outputs"])]
    return score(function, outputs, load(LABELS))


def _said(error: BaseException) -> str:
    """An error in a line, with the place in the user's module where it was raised."""
    words = " ".join(str(error).split())[:_MOST_CHARACTERS]
    if isinstance(error, InputError):
        return words
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f" ({Path(last.filename).name}, line {last.lineno})"
    return f"{type(error).__name__}: {words}{where}"


def main() -> None:
    parent = channel()
    drop_current_folder()
    for message in parent:
        try:
            answer = _answer(message)
        except (Exception, SystemExit) as error:
            # Whatever the user's code raises is the reason of one cell.
            answer = {"error": _said(error)}
        parent.send(answer)


if __name__ == "__main__":
    main()
