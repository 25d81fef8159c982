"""Do static estimates rank the kernels of a network as measured times do?

    layeredge run examples/graphics.yaml --out results/h100-static    # where there is no H100
    python benchmarks/static_estimate.py results/reference/h100 results/h100-static

The first folder has results that were measured on a graphics processor. The second has those of the
same sweep on a machine without one. Kernels that have TVM's default schedules in both are
compared.
"""

from __future__ import annotations

from pathlib import Path

import click

from harness.devices.graphics.static import kernel_estimate
from harness.records.artifact import Artifact
from harness.records.record import Record
from harness.records.store import FILE_NAME, Store
from harness.specs.target import TargetSpec

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command()
@click.argument("measured", type=FOLDER)
@click.argument("static", type=FOLDER)
def main(measured: Path, static: Path) -> None:
    """Print each kernel's figures, and Spearman's correlations with what was measured."""
    from scipy.stats import spearmanr

    analysed = {str(record.key): record for record in untuned(static)}
    for record in untuned(measured):
        if record.latency is None or str(record.key) not in analysed:
            continue
        click.echo(f"{record.key}; microseconds a call: measured, estimate, bound")
        rows = figures(record, analysed[str(record.key)], static)
        for name, *values in rows:
            click.echo(f"  {name:40s}" + "".join(f"{value:10.3f}" for value in values))
        times, estimates, bounds = ([row[at] for row in rows] for at in (1, 2, 3))
        click.echo(
            f"  together {sum(times):.1f} measured, {sum(estimates):.1f} estimated; Spearman "
            f"{spearmanr(times, estimates).statistic:.3f} of the estimate, "
            f"{spearmanr(times, bounds).statistic:.3f} of the bound"
        )


def untuned(folder: Path) -> list[Record]:
    """The good records of a folder whose kernels have default schedules."""
    with Store(folder / FILE_NAME) as store:
        return [one for one in store.records() if one.status == "ok" and one.tuning is None]


def figures(
    measured: Record, analysed: Record, static: Path
) -> list[tuple[str, float, float, float]]:
    """Of each kernel its name and microseconds a call: measured, estimated, and at least."""
    assert analysed.artifact is not None
    artifact = Artifact.read(static / analysed.artifact)
    hardware = TargetSpec.model_validate(analysed.spec["target"]).hardware
    assert hardware.peak_gflops is not None and hardware.memory_bandwidth_gbs is not None
    times = {kernel.name: kernel.median_us for kernel in measured.kernels}
    found = []
    for kernel in artifact.kernels:
        estimate = kernel_estimate(artifact, kernel, hardware)
        if kernel.name in times and estimate is not None:
            bound = max(
                kernel.flops / hardware.peak_gflops, kernel.bytes / hardware.memory_bandwidth_gbs
            )
            found.append((kernel.name, times[kernel.name], 1e6 * estimate, 1e-3 * bound))
    return found


if __name__ == "__main__":
    main()
