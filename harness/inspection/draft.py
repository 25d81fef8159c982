"""A sweep for model files, to begin with: written from what can be seen of the files."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.inspection.survey import Surveyed

_HEAD = """\
# Unfused, fused, and tuned for two minutes, beside the runtime of the model's format.
#     {command}
# docs/reference.md lists all keys; `layeredge schema sweep` prints them for editors.
schema: 1
name: {name}
models:
"""
_TAIL = """\
targets: [x86-host]          # `layeredge targets list` names others
configurations:
  - {name: unfused, fusion: none}
  - {name: fused}
  - {name: tuned, tune: {minutes: 2}}
baselines: [reference]       # ONNX Runtime, PyTorch or LiteRT, by the format; openvino is one more
"""
_DATA = """\
    # data: ./labelled.npz     # arrays `inputs`, or one for each input, and `labels`: accuracy
    # metric: top1             # `layeredge models list --help` lists the others
"""
_NO_NAME = re.compile(r"[^A-Za-z0-9._@+-]+")


def draft(found: Sequence[Surveyed], file: Path) -> str:
    """The text of a sweep over the files that can be used, for the place `file`: paths are relative
    to it, and free dimensions have the extents with which the file was imported."""
    models = "".join(_models([each for each in found if each.refusal is None], file))
    return _HEAD.format(command=run_command(file), name=_name(file.stem)) + models + _TAIL


def run_command(file: Path) -> str:
    """The command that runs a sweep."""
    return shlex.join(["layeredge", "run", str(file), "--out", f"results/{_name(file.stem)}"])


def _models(usable: Sequence[Surveyed], file: Path) -> Iterator[str]:
    names: Counter[str] = Counter()
    for each in usable:
        name = _name(each.path.stem)
        names[name] += 1
        if names[name] > 1:
            name = f"{name}-{names[name]}"
        path = Path(os.path.relpath(each.path.absolute(), file.absolute().parent))
        yield f"  - name: {name}\n    path: {json.dumps(f'./{path}', ensure_ascii=False)}\n"
        if each.description is not None:
            inputs = ", ".join(f"{one} {kind}" for one, kind in each.description.inputs.items())
            batch = "; a free batch is 1, or the sweep's `batch`" if each.single else ""
            yield f"    # inputs: {' '.join(inputs.split())}{batch}\n"
        if each.assumed:
            shapes = ", ".join(
                f"{json.dumps(one)}: {list(shape)}" for one, shape in each.assumed.items()
            )
            yield f"    shapes: {{{shapes}}}     # the file leaves these free: set your own\n"
        yield _DATA


def _name(text: str) -> str:
    """A name that a sweep takes."""
    return _NO_NAME.sub("-", text).lstrip(".-_@+")[:60] or "model"
