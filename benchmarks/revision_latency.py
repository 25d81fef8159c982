"""How do latencies compare with those of another revision of this repository?

    python benchmarks/revision_latency.py REVISION [MODEL ...] [--minutes M] [--repeats N]

Each model (default: the eight of the catalog) is compiled by this checkout and by another revision
of it, fused, each with a tuning database of its own, and tuned for `--minutes` if given. The two
networks are measured interleaved as in a sweep, and verified against ONNX Runtime. The ratio is
this checkout's latency divided by the other's, with its 95 % interval. Above 1, this checkout is
slower.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import click
import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from harness.hardware import HOST, load_target
from harness.machine.environment import noise_warnings
from harness.measure.group import Group, GroupSettings, GroupSubject
from harness.measure.member import Member
from harness.models.catalog.entries import resolve
from harness.models.tensors import TensorSpec
from harness.records.artifact import DESCRIPTION, Artifact
from harness.specs.sweep import Limits, Measure, ModelSpec
from harness.statistics.verdicts import Verdict, compare_paired

ROOT = Path(__file__).resolve().parent.parent
CATALOG = (
    "fashion-resnet8", "fashion-dscnn", "efficientnet-lite0", "ppocr-det",
    "ppocr-cls", "minilm-l6", "magika", "silero-vad",
)  # fmt: skip


@click.command()
@click.argument("revision")
@click.argument("models", nargs=-1)
@click.option("--minutes", default=0.0, help="Of tuning a model, for each revision.")
@click.option("--repeats", default=60, show_default=True, help="Rounds of measuring.")
def main(revision: str, models: tuple[str, ...], minutes: float, repeats: int) -> None:
    """Compare the networks of this checkout with those of REVISION."""
    console = Console(width=120)
    table = Table("model", "now, ms", "before, ms", "now ÷ before (95 %)", "verdict")
    estimates = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        checked_out(revision, place / "before")
        for name in models or CATALOG:
            now = artifact(ROOT, place / f"now-{name}", name, minutes)
            before = artifact(place / "before", place / f"before-{name}", name, minutes)
            for warning in noise_warnings():
                console.print(f"[yellow]{warning}[/]")
            medians, verdict = compared(name, now, before, place / "work", repeats)
            estimates.append(verdict.ratio)
            interval = f"{verdict.ci_low:.3f}–{verdict.ci_high:.3f}"
            console.print(f"{name}: {verdict.ratio:.3f} ({interval})")
            table.add_row(
                name,
                *(f"{median:.4g}" for median in medians),
                f"{verdict.ratio:.3f} ({interval})",
                verdict.verdict,
            )
    console.print(table)
    console.print(f"geometric mean: {float(np.exp(np.mean(np.log(estimates)))):.4f}")


def checked_out(revision: str, folder: Path) -> None:
    """Write the files of a revision to a folder."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", revision], capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")


def artifact(checkout: Path, out: Path, model: str, minutes: float) -> Path:
    """The network that a checkout's sweep compiles a model to."""
    configuration: dict[str, object] = {"name": "network", "fusion": "full"}
    if minutes:
        configuration["tune"] = {"minutes": minutes}
    sweep = {
        "schema": 1,
        "models": [model],
        "configurations": [configuration],
        "baselines": [],
        "measure": {"repeats": 6, "min_seconds": 0},
    }
    out.mkdir()
    path = out / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep))
    command = [sys.executable, "-m", "harness.cli.main", "run", str(path), "--out", str(out)]
    done = subprocess.run(
        [*command, "--tuning-db", str(out / "tuning")],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise click.ClickException(f"{model} by {checkout}: {done.stdout}{done.stderr}")
    (description,) = (out / "artifacts").glob(f"*/{DESCRIPTION}")
    return description.parent


def compared(
    name: str, now: Path, before: Path, work: Path, repeats: int
) -> tuple[list[float], Verdict]:
    """The medians of two networks of a model in milliseconds, and how they compare."""
    model = resolve(ModelSpec(name=name), fetch_missing=True)
    prepared = [*now.parents[1].glob("work/*/prepared.onnx")]
    runnable = prepared[0] if prepared else model.path
    inputs = tuple(
        TensorSpec(each.name, each.shape, each.dtype) for each in Artifact.read(now).inputs
    )
    group = Group(
        GroupSettings(
            GroupSubject(ModelSpec(name=name), inputs, model.task, "onnxruntime", runnable),
            Measure(repeats=repeats, min_seconds=3),
            Limits(),
            threads=load_target(HOST).tvm.num_cores,
            seed=0,
            work=work,
            listener=lambda *_: None,
        )
    )
    members = [
        Member(label, label, "tvm", path, wants_accuracy=False)
        for label, path in (("now", now), ("before", before))
    ]
    measured = group.measure(members)
    for each in measured.values():
        if each.failure is not None:
            raise click.ClickException(f"{name}: {each.failure}")
    samples = [np.asarray(measured[label].samples) for label in ("now", "before")]
    medians = [1e3 * float(np.median(each)) for each in samples]
    return medians, compare_paired(samples[1], samples[0])


if __name__ == "__main__":
    main()
