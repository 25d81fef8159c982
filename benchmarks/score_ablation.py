"""Do edge scores rank blocks as their removal does?

    python benchmarks/score_ablation.py fashion-resnet8

Removes blocks of each layer, one at a time, and measures how much the network's outputs change on
some samples. Prints the rank correlation of that change with each score, over all layers and within
each.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import spearmanr

from harness.compiler.api import tvm
from harness.edges.scores.table import scores_of
from harness.hardware import HOST, load_target
from harness.kernels.vectors import vector_lanes
from harness.models.catalog.entries import resolve
from harness.models.frontends import import_model
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer, layers_of
from harness.passes.canonicalise import canonicalise
from harness.specs.scores import Score
from harness.specs.sweep import ModelSpec

METHODS: tuple[Score, ...] = ("magnitude", "activation", "second-order", "gradient", "random")


def calibrated(name: str, samples: int) -> tuple[Calibration, int]:
    """A catalog model on the first samples of its data, and the target's vector lanes."""
    model = resolve(ModelSpec(name=name))
    if model.task is None:
        raise click.ClickException(f"{name} has no data: {model.task_missing_reason}")
    with tempfile.TemporaryDirectory() as folder:
        imported = import_model(model.path, model.shapes, Path(folder))
    module = canonicalise(imported.module)
    spec = load_target(HOST)
    target = tvm.target.Target(spec.tvm.as_tvm())
    feeds = model.task.inputs(samples)
    rows = [[each[tensor.name] for tensor in imported.inputs] for each in feeds]
    calibration = Calibration(module, layers_of(module), rows, target, spec.tvm.num_cores)
    return calibration, vector_lanes(target)


def moved(calibration: Calibration, layer: Layer, at: int, vector: slice, samples: int) -> float:
    """The squared distance that the outputs move without a block, relative to their norm; the mean
    over samples."""
    matrix = layer.matrix.copy()
    matrix[at, vector] = 0
    weights = {layer.variable: layer.stored(matrix)}
    count = len(calibration.layers)
    distances = []
    for sample in calibration.samples[:samples]:
        before = [each.numpy() for each in calibration.run(sample, {})[count:]]
        after = [each.numpy() for each in calibration.run(sample, weights)[count:]]
        wrong = sum(np.square(a - b).sum() for a, b in zip(after, before, strict=True))
        distances.append(wrong / sum(np.square(each).sum() for each in before))
    return float(np.mean(distances))


@click.command()
@click.argument("model", default="fashion-resnet8")
@click.option("--blocks", type=click.IntRange(min=2), default=30, help="Of each layer.")
@click.option("--samples", type=click.IntRange(min=1), default=64, help="To score on.")
@click.option("--judged", type=click.IntRange(min=1), default=24, help="Of them, to judge on.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(model: str, blocks: int, samples: int, judged: int, seed: int) -> None:
    """Compare scores with what taking blocks out does to MODEL."""
    calibration, lanes = calibrated(model, samples)
    scores = {
        method: scores_of(calibration.layers, method, lanes, seed, calibration)
        for method in METHODS
    }
    layers = [layer for layer in calibration.layers if layer.name in scores["magnitude"]]
    generator = np.random.default_rng(seed)
    effects: dict[str, np.ndarray] = {}
    found: dict[str, dict[str, np.ndarray]] = {method: {} for method in METHODS}
    for layer in track(layers, description="layers"):
        shape = scores["magnitude"][layer.name].shape
        count = int(np.prod(shape))
        chosen = generator.choice(count, min(blocks, count), replace=False)
        rows, vectors = np.unravel_index(chosen, shape)
        effects[layer.name] = np.array(
            [
                moved(calibration, layer, at, slice(vector * lanes, (vector + 1) * lanes), judged)
                for at, vector in zip(rows, vectors, strict=True)
            ]
        )
        for method in METHODS:
            found[method][layer.name] = scores[method][layer.name][rows, vectors]
    table = Table("score", "over all layers", "within a layer, mean", box=None)
    everything = np.concatenate(list(effects.values()))
    for method in METHODS:
        overall = spearmanr(np.concatenate(list(found[method].values())), everything).statistic
        within = [spearmanr(found[method][name], effects[name]).statistic for name in effects]
        table.add_row(method, f"{overall:.3f}", f"{np.nanmean(within):.3f}")
    Console().print(table)
    click.echo(f"Spearman's rank correlation; {len(everything)} blocks of {len(layers)} layers")


if __name__ == "__main__":
    main()
