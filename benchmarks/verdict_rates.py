"""How often "faster" and "slower" are said of compiled networks: the same twice, and a slower one.

Each comparison is what a sweep does: fresh processes load the compiled networks, are verified
against ONNX Runtime, and take turns in rounds (`harness.measure.group`). Three take part: one,
the same again (A/A: neither is faster), and the same with work added that takes 5 % of its time.
The promises: "faster" or "slower" at most once in a hundred of the first pair, "slower" at least
nine times in ten of the second.

    python benchmarks/verdict_rates.py --comparisons 200 --keep samples.jsonl

`--keep` writes the samples of each comparison as a line, to try another rule on. Ends with 1 when a
promise is broken. Needs a quiet machine: other load hides a 5 % slow-down.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import click
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from harness.cell import Order, compile_cell
from harness.environment import noise_warnings
from harness.hardware import HOST, load_target
from harness.measure.group import Contestant, Group, GroupSubject
from harness.models.tensors import TensorSpec
from harness.spec import Configuration, Limits, Measure, ModelSpec
from harness.statistics import compare_paired, wilson_interval

SLOWDOWN = 0.05
MOST_FALSE, LEAST_FOUND = 0.01, 0.9
SIDE = 128
PIXELS = 3 * SIDE**2
NAMES = ("network", "again", "slower")
CALIBRATIONS, CALIBRATION_GROUPS, CALIBRATED = 8, 7, 0.002
MEASURE = Measure(repeats=40, min_seconds=3)  # as examples/quickstart.yaml has it


def network(extra: int) -> onnx.ModelProto:
    """Four convolutions on a 128 × 128 image, a fraction of a millisecond; and, where `extra` is
    above 0, the sum of the hyperbolic tangent of so many pixels, too small to change the output."""
    random = np.random.default_rng(0)
    nodes, weights, here, channels = [], [], "image", 3

    def constant(name: str, value: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(value, name))
        return name

    for at, (filters, stride) in enumerate([(16, 2), (32, 1), (32, 2), (64, 2)]):
        kernel = random.normal(0, 0.1, (filters, channels, 3, 3)).astype(np.float32)
        inputs = [here, constant(f"weight{at}", kernel)]
        nodes.append(
            helper.make_node("Conv", inputs, [f"sum{at}"], pads=[1] * 4, strides=[stride] * 2)
        )
        nodes.append(helper.make_node("Relu", [f"sum{at}"], [f"out{at}"]))
        here, channels = f"out{at}", filters
    if extra:
        flat = constant("flat", np.array([-1]))
        bounds = [constant("from", np.array([0])), constant("to", np.array([extra]))]
        nodes += [
            helper.make_node("Reshape", ["image", flat], ["pixels"]),
            helper.make_node("Slice", ["pixels", *bounds], ["some"]),
            helper.make_node("Tanh", ["some"], ["bent"]),
            helper.make_node("ReduceSum", ["bent"], ["total"], keepdims=0),
            helper.make_node(
                "Mul", ["total", constant("tiny", np.float32(1e-20).reshape(()))], ["nothing"]
            ),
            helper.make_node("Add", [here, "nothing"], ["same"]),
        ]
        here = "same"
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(
                here, TensorProto.FLOAT, [1, channels, SIDE // 8, SIDE // 8]
            )
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


class Bench:
    """Compiles the networks into a folder and compares them, a fresh group each time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._target = load_target(HOST)
        self._compile("network", 0)

    def _compile(self, name: str, extra: int) -> None:
        model = self._folder / f"{name}.onnx"
        onnx.save(network(extra), model)
        compile_cell(
            Order(
                model=model,
                shapes={},
                work=self._folder,
                target=self._target,
                configuration=Configuration(name=name, fusion="full"),
                seed=0,
                tuning_database=self._folder / "tuning",
                artifact=self._folder / name,
            ),
            lambda _: None,
        )

    def calibrate(self) -> float:
        """Compile the slower network so that it takes 5 % longer; what it takes, as a ratio."""
        extra, ratio = PIXELS, 0.0
        for _ in range(CALIBRATIONS):
            self._compile("slower", extra)
            pairs = [self.samples(seed) for seed in range(CALIBRATION_GROUPS)]
            found = [compare_paired(pair["network"], pair["slower"]).ratio for pair in pairs]
            ratio = float(np.median(found))
            if abs(ratio - 1 - SLOWDOWN) <= CALIBRATED:
                break
            extra = int(np.clip(extra * SLOWDOWN / max(ratio - 1, 0.001), 1, PIXELS))
        return ratio

    def samples(self, seed: int) -> dict[str, list[float]]:
        """Seconds per inference of the three, [rounds] each."""
        folders = {"network": "network", "again": "network", "slower": "slower"}
        group = Group(
            GroupSubject(
                ModelSpec(name="small"),
                (TensorSpec("image", (1, 3, SIDE, SIDE), "float32"),),
                None,
                "onnxruntime",
                self._folder / "network.onnx",
            ),
            MEASURE,
            Limits(),
            self._target.tvm.num_cores,
            seed,
            self._folder / "work",
            lambda *_: None,
        )
        measured = group.measure(
            [
                Contestant(name, name, "tvm", self._folder / folders[name], wants_accuracy=False)
                for name in NAMES
            ]
        )
        for each in measured.values():
            if each.failure is not None:
                raise each.failure
        return {name: measured[name].samples for name in NAMES}


@click.command()
@click.option("--comparisons", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="Write the samples to this file.")
def main(comparisons: int, keep: Path | None) -> None:
    """Count the verdicts on a compiled network compared with itself and with a slower one."""
    for warning in noise_warnings():
        click.echo(f"warning: {warning}", err=True)
    same: Counter[str] = Counter()
    slower: Counter[str] = Counter()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        click.echo(f"calibrated: the slower one takes {bench.calibrate():.3f} times as long")
        # Not a bar that redraws itself: its thread would run beside the inferences.
        bar = click.progressbar(range(comparisons), label="comparing", file=sys.stderr)
        with bar as progress:
            for seed in progress:
                samples = bench.samples(seed)
                same[compare_paired(samples["network"], samples["again"]).verdict] += 1
                found = compare_paired(samples["network"], samples["slower"])
                slower[found.verdict] += 1
                ratios.append(found.ratio)
                if keep is not None:
                    with keep.open("a") as lines:
                        lines.write(json.dumps(samples) + "\n")
    low, middle, high = np.percentile(ratios, [5, 50, 95])
    click.echo(f"it took {middle:.3f} times as long (5 % to 95 %: {low:.3f}–{high:.3f})")
    false_rate = (same["faster"] + same["slower"]) / comparisons
    found_rate = slower["slower"] / comparisons
    kept = [false_rate <= MOST_FALSE, found_rate >= LEAST_FOUND]
    words = ("faster", "slower", "no difference", "too few samples")
    headings = ("compared", *words, "rate", "95 % interval", "promise", "kept")
    table = Table(*headings, box=None, pad_edge=False)
    for name, counted, rate, promise, holds in (
        ("with itself", same, false_rate, f"at most {MOST_FALSE:.0%}", kept[0]),
        (f"{SLOWDOWN:.0%} slower", slower, found_rate, f"at least {LEAST_FOUND:.0%}", kept[1]),
    ):
        low, high = wilson_interval(round(rate * comparisons), comparisons)
        counts = (str(counted[word]) for word in words)
        interval = f"{low:.1%}–{high:.1%}"
        table.add_row(name, *counts, f"{rate:.1%}", interval, promise, "yes" if holds else "NO")
    Console().print(table)
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
