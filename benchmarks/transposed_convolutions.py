"""How much less time do transposed convolutions take as convolutions?

    python benchmarks/transposed_convolutions.py [--rounds N]

Networks of a few transposed convolutions with ReLUs, as decoders and vocoders have them, are
compiled with the passes of this machine, in their default schedules, and once more with TVM's own
transposed convolutions, which multiply by zeros between the pixels. Both run interleaved in one
process; the ratio of their latencies has a 95 % interval over the rounds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import click
import numpy as np
import onnx
from onnx import helper, numpy_helper
from padding_cost import in_turns, runner
from rich.console import Console
from rich.progress import track
from rich.table import Table

from harness.compiler.api import target_of, tvm
from harness.hardware import HOST, load_target
from harness.machine.environment import noise_warnings
from harness.measure.inputs import verification_inputs
from harness.models.frontends import import_model
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.passes.transposed_convolution import ConvolveTransposedConvolutions
from harness.schedules.untuned import schedule_untuned
from harness.statistics.verdicts import compare_paired


@dataclass(frozen=True)
class Layer:
    """A transposed convolution with so many outputs, a square kernel, and padding on all sides."""

    outputs: int
    size: int
    stride: int
    padding: int


@dataclass(frozen=True)
class Network:
    """The shape of the data, [batch, channels, *image], and the layers."""

    shape: tuple[int, ...]
    layers: Sequence[Layer]
    groups: int = 1


NETWORKS = {
    "decoder of 4 × 4": Network((1, 128, 16, 16), [Layer(n, 4, 2, 1) for n in (64, 32, 8)]),
    "decoder of 3 × 3": Network((1, 128, 16, 16), [Layer(n, 3, 2, 1) for n in (64, 32, 8)]),
    "depthwise 4 × 4": Network((1, 64, 32, 32), [Layer(64, 4, 2, 1)] * 2, groups=64),
    "vocoder": Network(
        (1, 128, 40), [Layer(64, 16, 8, 4), Layer(32, 16, 8, 4), Layer(16, 4, 2, 1)]
    ),
}


def model_of(network: Network) -> onnx.ModelProto:
    """The network as an ONNX model, with drawn weights."""
    random = np.random.default_rng(0)
    axes, channels, value = len(network.shape) - 2, network.shape[1], "x"
    nodes, constants = [], []
    for at, layer in enumerate(network.layers):
        shape = (channels, layer.outputs // network.groups, *[layer.size] * axes)
        weights = random.normal(0, 0.05, shape).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"weights{at}"))
        made = f"value{at}"
        nodes += [
            helper.make_node(
                "ConvTranspose",
                [value, f"weights{at}"],
                [made],
                strides=[layer.stride] * axes,
                pads=[layer.padding] * 2 * axes,
                group=network.groups,
            ),
            helper.make_node("Relu", [made], [f"{made} relu"]),
        ]
        channels, value = layer.outputs, f"{made} relu"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, network.shape)],
        [helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@click.command()
@click.option("--rounds", default=60, show_default=True)
def main(rounds: int) -> None:
    """Compare transposed convolutions as convolutions with TVM's own."""
    console = Console(width=120)
    for warning in noise_warnings():
        console.print(f"[yellow]{warning}[/]")
    spec = load_target(HOST)
    target = target_of(spec.tvm.as_tvm())
    table = Table("network", "as convolutions, ms", "TVM's own, ms", "times as fast (95 %)")
    for name, network in track(NETWORKS.items(), "networks", console=console):
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            onnx.save(model_of(network), place / "network.onnx")
            imported = import_model(place / "network.onnx", {}, place)
            rows, _ = verification_inputs(None, imported.inputs, 1, 0)
            feeds = [tvm.runtime.tensor(each) for each in rows[0].values()]
            ours = canonicalise(imported.module)
            with mock.patch.object(ConvolveTransposedConvolutions, "apply", lambda module: module):
                theirs = canonicalise(imported.module)
            variants = []
            for at, canonical in enumerate((ours, theirs)):
                fused = fuse(adapt(canonical, spec.passes, target), "full")
                scheduled = schedule_untuned(fused, target, spec.tvm.num_cores)
                variants.append(runner(scheduled, target, feeds, place / f"{at}.so"))
            samples = in_turns(variants, rounds)
        verdict = compare_paired(samples[1], samples[0])
        ratio, low, high = verdict.times_as_fast
        table.add_row(
            name,
            *(f"{1e3 * float(np.median(each)):.4g}" for each in samples),
            f"{ratio:.2f} ({low:.2f}–{high:.2f})",
        )
    console.print(table)


if __name__ == "__main__":
    main()
