"""How much faster are kernels of 8-bit integers than those of floats?

    python benchmarks/integer_kernels.py --trials 64
    python benchmarks/integer_kernels.py --trials 64 --target haswell

Tunes dense layers and pointwise convolutions of EfficientNet-Lite0, ppocr-det and MiniLM with bias
and activation, in floats and in 8-bit integers, with the same number of trials, and measures both
interleaved. The integers' results are compared with integer arithmetic first. `--target` compiles
for another processor whose code this machine runs too, such as one without AVX-512. Weights have 7
bits where that is faster, as `quantize` chooses them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
from layer_kernels import (
    LAYERS,
    POINT,
    SCALE,
    Form,
    Maker,
    Shape,
    bias_of,
    data_of,
    network,
    weights_of,
)
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from harness.building.network import machine_of
from harness.compiler.api import target_of, tvm
from harness.hardware import HOST, load_target
from harness.kernels.dot_products import products_of
from harness.machine.environment import noise_warnings
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.passes.rewriter import MAIN
from harness.specs.target import TargetSpec
from harness.statistics.verdicts import compare_paired

_OF_PPOCR = [
    Shape("ppocr-det", rows, inputs, outputs)
    for rows, inputs, outputs in ((1600, 48, 48), (400, 96, 96), (100, 192, 192), (25, 384, 384))
]
SHAPES = [*LAYERS[:10:2], *_OF_PPOCR, *LAYERS[-3:]]


def require_exact(shape: Shape, form: Form, spec: TargetSpec) -> None:
    """Ends the program unless a layer without a schedule of its own gives the sums of integers."""
    assert form.products is not None
    target = target_of(spec.tvm.as_tvm())
    adapted = adapt(canonicalise(network(shape, form)), spec.passes, target)
    machine = machine_of(fuse(adapted, "full"), target, 1)
    data = data_of(shape, form)
    found = machine[MAIN](tvm.runtime.tensor(data)).numpy()
    sums = (data.astype(np.int64) - POINT) @ weights_of(shape, form).astype(np.int64)
    expected = np.maximum(np.float32(SCALE) * sums.astype(np.float32) + bias_of(shape), 0)
    # The sums are exact; their scale and the bias are rounded once or twice.
    if not np.allclose(found, expected, rtol=1e-6, atol=1e-5):
        raise click.ClickException(f"{shape}: the results are not those of integer arithmetic")


@click.command()
@click.option("--trials", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--target", default=HOST, show_default=True, help="The processor to compile for.")
@click.option("--layers", type=int, default=len(SHAPES), help="Only as many of the layers.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(trials: int, target: str, layers: int, seed: int) -> None:
    """Measure kernels of 8-bit integers beside those of floats."""
    for warning in noise_warnings():
        click.echo(f"warning: {warning}", err=True)
    spec = load_target(target)
    threads = load_target(HOST).tvm.num_cores
    spec = spec.model_copy(update={"tvm": spec.tvm.model_copy(update={"num_cores": threads})})
    products = products_of(target_of(spec.tvm.as_tvm()))
    if products is None:
        raise click.ClickException(f"{target} has no products of 8-bit integers")
    maker, integers = Maker(spec, trials, seed), Form(products)
    table = Table("layer", "float, µs", "int8, µs", "float ÷ int8 (95 %)", box=None)
    ratios = []
    with Progress(transient=True) as progress:
        going = progress.add_task("layers", total=layers)
        for shape in SHAPES[:layers]:
            require_exact(shape, integers, spec)
            with tempfile.TemporaryDirectory() as folder:
                kernels = [
                    maker.kernel(shape, form, Path(folder) / name)
                    for name, form in (("float", Form()), ("int8", integers))
                ]
                floats, bytes_ = maker.in_turns(kernels)
            found = compare_paired(bytes_, floats)
            ratios.append(found.ratio)
            times = (f"{1e6 * np.median(each):.1f}" for each in (floats, bytes_))
            interval = f"{found.ratio:.2f} ({found.ci_low:.2f}–{found.ci_high:.2f})"
            table.add_row(str(shape), *times, interval)
            progress.advance(going)
    Console().print(table)
    click.echo(f"median: {np.median(ratios):.2f}, least: {min(ratios):.2f}")


if __name__ == "__main__":
    main()
