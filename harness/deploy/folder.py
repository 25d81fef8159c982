"""Writes a cell's compiled network as a folder that runs without this package.

The folder holds the library, the threads that it runs in, its description, licence notes, a header
for C and C++, and a runner that needs NumPy alone. Networks that are more than a sequence of
kernels need TVM's runtime, and have no header.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from harness.compiler.code_kinds import CODE_KINDS
from harness.compiler.pair import KNOWN_PAIR
from harness.deploy.example import C_TYPES, example
from harness.devices.threads.fork_join import fork_join_library
from harness.errors import InputError
from harness.records.artifact import (
    LIBRARY,
    NETWORK,
    NO_NETWORK,
    Artifact,
    StateTensor,
    TensorDescription,
    reference_of,
)
from harness.records.record import (
    Accuracy,
    CellKey,
    Fusion,
    Latency,
    Memory,
    Record,
    Verification,
    is_timed,
)
from harness.specs.documents import Frozen
from harness.specs.sweep import Kind

DEPLOYMENT_SCHEMA: Literal[1] = 1
_THREADS = "threads.so"


class Deployment(Frozen):
    """The content of `metadata.json` of an exported network: inputs and outputs, requirements,
    and measurements with their machine."""

    schema_version: Literal[1] = DEPLOYMENT_SCHEMA
    cell: CellKey
    model: dict[str, Any]
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]
    state: tuple[StateTensor, ...]
    function: str
    threads: int
    sizes: dict[str, int]
    """The libraries' sizes in bytes: a copy that was cut off is noticed before it is loaded."""
    requires: dict[str, str]
    target: dict[str, Any]
    configuration: dict[str, Any]
    kind: Kind
    latency: Latency | None
    memory: Memory | None
    accuracy: Accuracy | None
    verification: Verification | None
    fusion: Fusion | None
    environment: dict[str, Any]
    finished_at: str
    fingerprint: str


def export(results_dir: Path, record: Record, out: Path) -> Path:
    """Write the compiled network of `record`, a cell of `results_dir`, to the folder `out`.

    A compressed network is in it as ONNX too, if it could be written so. The folder appears
    complete or not at all; `out` is returned. Raises InputError when `out` is
    there and not empty or cannot be written, when the cell has no compiled network, and when that
    is for a graphics processor, which the runner does not know, or of a model whose operators keep
    state; CellFailure where the threads that it runs in cannot be compiled for its processor.
    """
    artifact_folder = _artifact_folder(results_dir, record)
    artifact = Artifact.read(artifact_folder)
    if not CODE_KINDS[str(artifact.target["kind"])].in_process_memory:
        raise InputError(
            f"{record.key}: is for a graphics processor; only networks for processors are exported"
        )
    if artifact.unkept:
        raise InputError(
            f"{record.key}: the model's operators keep state in {', '.join(artifact.unkept)}; its "
            "compiled network is the first inference alone, expected one that is the same each time"
        )
    threads = fork_join_library(record.spec["target"]["tvm"].get("mtriple"))
    libraries = {LIBRARY: artifact_folder / LIBRARY, _THREADS: threads}
    about = _describe(record, artifact, libraries)
    out = out.absolute()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: is there already; expected a new or empty folder to export to")
    part: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        part.chmod(0o755)  # a temporary folder is its owner's alone
        for name, library in libraries.items():
            shutil.copyfile(library, part / name)
        for name in (NETWORK, NO_NETWORK):
            if (compressed := reference_of(artifact_folder) / name).is_file():
                shutil.copyfile(compressed, part / name)
        for name, text in _texts(about).items():
            (part / name).write_text(text, encoding="utf-8")
        os.replace(part, out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror or error}") from None
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return out


def _artifact_folder(results_dir: Path, record: Record) -> Path:
    if record.status != "ok":
        raise InputError(f"{record.key}: this cell {record.status}; there is nothing to export")
    if record.artifact is None:
        raise InputError(
            f"{record.key}: the engine {record.key.engine} runs the model file itself; expected "
            "a cell of the engine tvm, which has a compiled model to export"
        )
    folder = results_dir / record.artifact
    if not (folder / LIBRARY).is_file():
        raise InputError(
            f"{folder}: the compiled model of {record.key} is no longer there; run the sweep "
            "again with --fresh to build it"
        )
    return folder


def _describe(record: Record, artifact: Artifact, libraries: Mapping[str, Path]) -> Deployment:
    model, versions = record.spec["model"], record.environment.get("versions", {})
    return Deployment(
        cell=record.key,
        model={
            "name": record.key.model,
            "fingerprint": model.get("fingerprint"),
            "format": model.get("format"),
            "licence": model.get("licence") or "unknown: you supplied this model",
        },
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        state=artifact.state,
        function=artifact.function,
        threads=record.spec["threads"],
        sizes={name: library.stat().st_size for name, library in libraries.items()},
        requires={}
        if _stands_alone(artifact)
        else {name: versions.get(name, known) for name, known in KNOWN_PAIR.items()},
        target=record.spec["target"],
        configuration=record.spec["configuration"],
        kind=record.kind,
        latency=record.latency if is_timed(record.kind) else None,
        memory=record.memory,
        accuracy=record.accuracy,
        verification=record.verification,
        fusion=record.fusion,
        environment=record.environment,
        finished_at=record.finished_at,
        fingerprint=record.fingerprint,
    )


def _texts(about: Deployment) -> dict[str, str]:
    """File name to content, the library apart."""
    pins = "".join(f"{name}=={number}\n" for name, number in about.requires.items())
    needs = _NEEDS_TVM if about.requires else ""
    cell, processor = about.cell, about.target["tvm"].get("mcpu") or about.target["architecture"]
    found = {
        "metadata.json": about.model_dump_json(indent=1) + "\n",
        "requirements.txt": f"{pins}numpy>=1.26\n",
        "LICENCE.txt": _LICENCE.format(
            model=cell.model, licence=about.model["licence"], needs=needs
        ),
        "README.md": _README.format(
            model=cell.model,
            configuration=cell.configuration,
            target=cell.target,
            processor=processor,
            state=_state_in_words(about.state),
            native="" if about.requires else _NATIVE,
        ),
        "run.py": _shipped("runner.py"),
    }
    if not about.requires:
        found |= {
            "layeredge.h": _shipped("layeredge.h"),
            "example.cpp": example(about.inputs, about.outputs, about.threads),
        }
    return found


def _shipped(name: str) -> str:
    return files("harness.deploy").joinpath(name).read_text(encoding="utf-8")


def _stands_alone(artifact: Artifact) -> bool:
    """Whether a network runs without TVM: one whose library calls all kernels, on types that NumPy
    has."""
    tensors = (*artifact.inputs, *artifact.outputs)
    return bool(artifact.sequence) and all(each.dtype in C_TYPES for each in tensors)


def _state_in_words(state: Sequence[StateTensor]) -> str:
    pairs = ", ".join(f"`{each.output}` → `{each.input}`" for each in state)
    return f" `run.py` keeps the state, outputs that are the next inputs: {pairs}." * bool(pairs)


_README = """\
# {model}, {configuration}, for {target}

Runs on a processor that can execute code for `{processor}`; `metadata.json` says what was measured.

```
python3 -m venv venv && venv/bin/pip install -r requirements.txt
venv/bin/python run.py                         # all ones
venv/bin/python run.py inputs.npz outputs.npz  # names as in metadata.json
```

From Python, in this folder:

```python
from run import Model

model = Model()         # loads the network; nothing runs on import
outputs = model(x)      # inputs in their order or by name; a dict where there are several outputs
```

Arrays with one more axis in front are several inferences, one after the other.{state}
{native}"""

_NATIVE = """
From C or C++, without Python:

```
c++ -O2 example.cpp -L. -l:model.so -l:threads.so -Wl,-rpath,'$ORIGIN' -o example && ./example
```

`layeredge.h` says what the functions do; `example.cpp` calls them with all ones.
"""

_NEEDS_TVM = """, which
requirements.txt installs and run.py loads"""

_LICENCE = """\
Licence notes. They are no legal advice.

model.so holds the weights of the model '{model}' and code that was generated for it.
Licence of the model: {licence}

The code was generated by Apache TVM, Copyright The Apache Software Foundation{needs}.
Apache TVM is licensed under the Apache License, Version 2.0:
https://www.apache.org/licenses/LICENSE-2.0

The other files are part of LayerEdge and are licensed under the Apache License, Version 2.0.

Data that the model was trained, tuned or scored with is not included, nor is a licence to it.
"""
