"""Malformed sweeps and hardware descriptions."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import yaml

from harness.files.shipped import shipped_folder
from malformed.cases import Case, damaged

_SWEEP: dict[str, Any] = {
    "schema": 1,
    "name": "s",
    "models": [{"name": "missing", "path": "./missing.onnx", "shapes": {"x": [1, 4]}}],
    "targets": ["znver4"],
    "configurations": [
        {"name": "full", "fusion": "full", "tune": {"trials": 4}},
        {"name": "sparse", "edges": {"sparsity": [0.5], "finetune": {"epochs": 3}}},
    ],
    "baselines": ["onnxruntime"],
    "measure": {"repeats": 6, "min_seconds": 0, "sample_ms": 1, "processes": 1, "verify_inputs": 1},
    "limits": {"cell_minutes": 1, "memory_mb": 3000},
    "seed": 0,
}

_WEIRD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    10**400,
    -(2**70),
    1e308,
    float("inf"),
    float("nan"),
    2.5,
    "",
    "x" * 65_536,
    "2026-99-99",
    "~nouser/x.onnx",
    "a\0b",
    "\x1b[31mred",
    "../../../etc/passwd",
    "/dev/zero",
    "入力\u202e",
    "[red]x[/nope]",
    [],
    {},
    [[]],
    {"a": {"b": []}},
    ["x", "x"],
    [None],
    {1: 2},
    {"": 1},
)

_LAUGHS = "\n".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9 if before else ['x'] * 9)}]"
    for name, before in zip("abcdefghij", " abcdefghi", strict=True)
).replace("* ", "x")
_TEXTS: tuple[bytes, ...] = (
    b"",
    b"\0" * 100,
    b"\xff\xfes\0c\0h\0",
    "﻿schema: 1".encode(),
    b"- 1\n- 2\n",
    b"just text",
    b"schema: 1\nschema: 1\n",
    b"? [a, b]\n: 1\n",
    b"a: !!python/object/apply:os.system ['true']\n",
    b"models: &a [*a]\n",
    b"a: &t {b: *t}\n",
    b"<<: *nothing\n",
    b"<<: 5\n",
    b"a: *b\n",
    b"schema: " + b"[" * 10_000,
    b"a:\n" + b"".join(b" " * n + b"- \n" for n in range(1000)),
    _LAUGHS.encode(),
    b"seed: " + b"9" * 5000,
    b"seed: 0x" + b"f" * 5000,
    b"a: !!int x\n",
    b"a: !!float x\n",
    b"a: !!timestamp x\n",
    b"a: !!binary x\n",
    b"a: !!set [1]\n",
    b"a: !!omap 5\n",
    b"name: 2026-99-99\n",
    b"a: 1:99:99\n",
    b"a: {b: [1, 2}\n",
    b"a: 'open\n",
    b"%YAML 9.9\n---\na: 1\n",
    b"--- 1\n--- 2\n",
    b"a: \t- b\n",
    b"x" * 2_000_000,
    b"[" + b"1," * 300_000 + b"]",
    b"".join(b"a%d: &a%d [*a%d]\n" % (n, n, n - 1) if n else b"a0: &a0 []\n" for n in range(3000)),
)


def sweep(random: random.Random, folder: Path) -> Case:
    """A sweep of a model that is not there: nothing of it can run."""
    path = folder / "sweep.yaml"
    named = _write(path, _SWEEP, random)
    arguments = ("run", str(path), "--out", str(folder / "out"))
    return Case("sweep", named, arguments, names=f"{folder}")


def target(random: random.Random, folder: Path) -> Case:
    """A hardware description, checked; one that is still right is none that is refused."""
    path = folder / "target.yaml"
    text = (
        shipped_folder("targets") / random.choice(["haswell.yaml", "jetson-orin.yaml"])
    ).read_text()
    named = _write(path, yaml.safe_load(text), random)
    return Case("target", named, ("targets", "check", str(path)), "target.yaml", frozenset({0, 2}))


_TRIPLES = (
    "x86_64 ",
    "x86_640",
    "x86_64\0",
    "x86_64\n",
    "x86_64" + "-a" * 10_000,
    "-",
    "x86_64-é",
    "mips",
    "wasm32",
    "x86_64 -mcpu=foo",
)


def triple(random: random.Random, folder: Path) -> Case:
    """A hardware description with a triple that LLVM may not know."""
    path = folder / "target.yaml"
    document = yaml.safe_load((shipped_folder("targets") / "haswell.yaml").read_text())
    document["tvm"]["mtriple"] = found = random.choice(_TRIPLES)
    path.write_text(yaml.safe_dump(document))
    return Case("target", f"mtriple {found[:12]!r}", ("targets", "check", str(path)), "target.yaml")


def _write(path: Path, document: dict[str, Any], random: random.Random) -> str:
    """Write something malformed to a path, and say what."""
    way = random.randrange(10)
    if way == 0:
        return _place(path, random)
    if way <= 3:
        at = random.randrange(len(_TEXTS))
        path.write_bytes(_TEXTS[at])
        return f"text {at}"
    text = yaml.safe_dump(document)
    if way == 4:
        path.write_bytes(damaged(text.encode(), random))
        return "damaged bytes"
    changed = yaml.safe_load(text)
    where, value = _changed(changed, random), random.choice(_WEIRD)
    _set(changed, where, value)
    path.write_text(yaml.safe_dump(changed, allow_unicode=True))
    return f"{'.'.join(map(str, where))} = {str(value)[:20]!r}"


def _place(path: Path, random: random.Random) -> str:
    """Something that is no file."""
    kind = random.choice(["pipe", "folder", "device", "circle", "nothing"])
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("device", "circle"):
        path.symlink_to("/dev/zero" if kind == "device" else path)
    return kind


def _changed(document: Any, random: random.Random) -> list[Any]:
    """A place in plain data."""
    where: list[Any] = []
    while isinstance(document, (dict, list)) and document and (not where or random.random() < 0.8):
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        where.append(random.choice(keys))
        document = document[where[-1]]
    return where


def _set(document: Any, where: list[Any], value: Any) -> None:
    for part in where[:-1]:
        document = document[part]
    document[where[-1]] = value
