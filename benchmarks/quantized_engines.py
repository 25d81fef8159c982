"""Int8 networks beside the same networks in other engines, and beside floats.

    python benchmarks/quantized_engines.py fashion-resnet8 efficientnet-lite0 --minutes 2
    python benchmarks/quantized_engines.py minilm-l6 --data data.npz

Each model is tuned in floats and quantized by the step `quantize`. The quantized network is written
as ONNX, which ONNX Runtime, and OpenVINO where it is installed, run beside ours: the same scales,
zero points and 8-bit weights. All are verified, and measured interleaved. Prints a table in
Markdown: medians, and how many times as fast ours in 8 bits is, with 95 % intervals.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import click
import yaml

from harness.hardware import HOST, load_target
from harness.measure.group import Group, GroupSettings, GroupSubject
from harness.measure.member import Measured, Member
from harness.models.catalog.entries import resolve
from harness.models.frontends import import_model
from harness.records.artifact import NETWORK, Artifact, reference_of
from harness.records.record import OWN_ENGINE
from harness.records.store import FILE_NAME, Store
from harness.specs.sweep import Limits, Measure, ModelSpec
from harness.statistics.verdicts import compare_paired

FLOAT, INT8 = "float", "int8"
ENGINES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
MEASURE = Measure(repeats=40, min_seconds=3)
LIMITS = Limits(cell_minutes=60, memory_mb=16_000)


def built(
    spec: ModelSpec, minutes: float, calibration: int, folder: Path, database: Path | None
) -> dict[str, Path]:
    """The artifacts of a model in floats and quantized, by configuration. Ends the program where
    one failed."""
    tune = {"tune": {"minutes": minutes}} if minutes else {}
    sweep = folder / "sweep.yaml"
    model = {key: value for key, value in spec.model_dump(mode="json").items() if value}
    sweep.write_text(
        yaml.safe_dump(
            {
                "schema": 1,
                "models": [model],
                "configurations": [
                    {"name": FLOAT, **tune},
                    {"name": INT8, "quantize": {"calibration": calibration}, **tune},
                ],
                "measure": {"repeats": 6, "min_seconds": 0},
                "limits": LIMITS.model_dump(),
            }
        )
    )
    command = [sys.executable, "-m", "harness.cli.main", "run", str(sweep), "--out", str(folder)]
    command += ["--tuning-db", str(database)] if database else []
    subprocess.run(command, check=False, stdout=sys.stderr)
    found = {}
    with Store(folder / FILE_NAME) as store:
        for record in store.records():
            if record.key.engine != OWN_ENGINE:
                continue
            if record.status != "ok" or record.artifact is None:
                raise click.ClickException(f"{record.key}: {record.status}: {record.reason}")
            accuracy = record.accuracy
            if accuracy is not None:
                click.echo(
                    f"{record.key}: {accuracy.metric} {accuracy.value:.4f} "
                    f"[{accuracy.ci_low:.4f}, {accuracy.ci_high:.4f}]",
                    err=True,
                )
            found[record.key.configuration] = folder / record.artifact
    return found


def measured(spec: ModelSpec, artifacts: Mapping[str, Path], folder: Path) -> dict[str, Measured]:
    """All engines on the network in floats and on the quantized one, interleaved."""
    model, target = resolve(spec), load_target(HOST)
    imported = import_model(model.path, model.shapes, folder)
    runnable = imported.prepared or model.path
    task = model.fitted(imported.inputs, imported.outputs, imported.state).task
    plain = reference_of(artifacts[INT8])
    members = [
        Member(FLOAT, FLOAT, OWN_ENGINE, artifacts[FLOAT], wants_accuracy=False),
        Member(INT8, INT8, OWN_ENGINE, artifacts[INT8], wants_accuracy=False, reference=plain),
    ]
    for engine in ENGINES:
        if find_spec(engine) is None:
            continue
        members.append(Member(f"{engine}-{FLOAT}", engine, engine, runnable, wants_accuracy=False))
        if (plain / NETWORK).is_file():
            name = f"{engine}-{INT8}"
            members.append(
                Member(name, name, engine, plain / NETWORK, wants_accuracy=False, reference=plain)
            )
    subject = GroupSubject(
        spec,
        imported.inputs,
        task,
        "onnxruntime",
        runnable,
        output_tensors=imported.outputs,
        state=imported.state,
        fingerprint=model.fingerprint,
    )
    settings = GroupSettings(
        subject,
        MEASURE,
        LIMITS,
        threads=target.tvm.num_cores,
        seed=0,
        work=folder / "measuring",
        listener=lambda *_: None,
    )
    return Group(settings).measure(members)


def row(name: str, found: Mapping[str, Measured]) -> list[str]:
    """A model's row of the table."""
    return [name, _milliseconds(found[FLOAT]), _milliseconds(found[INT8]), *_speed_ups(found)]


def _milliseconds(found: Measured) -> str:
    return f"{1e3 * median(found.samples):.3g}" if found.samples else "–"


def _speed_ups(found: Mapping[str, Measured]) -> Iterator[str]:
    ours = found[INT8]
    for other in (FLOAT, *(f"{engine}-{kind}" for engine in ENGINES for kind in (FLOAT, INT8))):
        theirs = found.get(other)
        if theirs is None:
            yield "–"
        elif theirs.failure is not None:
            click.echo(f"{other}: {theirs.failure}", err=True)
            yield "failed"
        else:
            verdict = compare_paired(theirs.samples, ours.samples)
            times, low, high = verdict.times_as_fast
            yield f"{times:.2f} ({low:.2f}–{high:.2f})"


def headings() -> Sequence[str]:
    """Of the table's columns."""
    others = [f"over {title} {kind}" for title in ENGINES.values() for kind in (FLOAT, INT8)]
    return ["model", "float, ms", "int8, ms", "over float", *others]


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--minutes", type=click.FloatRange(min=0), default=2.0, show_default=True,
              help="Of tuning for each network; 0 for none.")  # fmt: skip
@click.option("--calibration", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--data", type=click.Path(path_type=Path, exists=True),
              help="Labelled data of the models, instead of those of the catalog.")  # fmt: skip
@click.option("--tuning-db", "database", type=click.Path(path_type=Path))
def main(
    models: Sequence[str],
    minutes: float,
    calibration: int,
    data: Path | None,
    database: Path | None,
) -> None:
    """Measure quantized networks of the catalog beside floats and other engines."""
    rows = [list(headings()), ["---", *["---:"] * (len(headings()) - 1)]]
    for name in models:
        spec = ModelSpec(name=name, data=data)
        with tempfile.TemporaryDirectory() as folder:
            artifacts = built(spec, minutes, calibration, Path(folder), database)
            rows.append(row(name, measured(spec, artifacts, Path(folder))))
            artifact = Artifact.read(artifacts[INT8])
            assert artifact.quantize is not None
            layers = artifact.quantize
            click.echo(
                f"{name}: {layers.layers_quantized} of {len(layers.layers)} layers quantized",
                err=True,
            )
    click.echo("\n".join(f"| {' | '.join(each)} |" for each in rows))


if __name__ == "__main__":
    main()
