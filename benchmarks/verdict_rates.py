"""How often each verdict is given of compiled networks: the same twice, and slower ones.

Each comparison repeats the measurement of a sweep: fresh processes load the compiled networks, are
verified against ONNX Runtime, and run interleaved in rounds (`harness.measure.group`). Four
networks take part: one, the same again (A/A: neither is faster), and two with added work that
takes 5 and 30 % of its time. `PROMISES` has the promised rates, on a quiet machine and beside a
load.

    python benchmarks/verdict_rates.py --comparisons 200 --keep quiet.jsonl
    python benchmarks/verdict_rates.py --comparisons 200 --load 2 --keep loaded.jsonl

`--load` starts processes that alternate between busy and idle within fractions of a second, after
the added work was calibrated without them. `--keep` writes the samples of each comparison as a
line; `--recount` reads these lines instead of measuring, to try another rule. Ends with 1 when a
promise is broken. Both runs need a machine without other work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.hardware import HOST, load_target
from harness.machine.environment import noise_warnings
from harness.measure.group import Group, GroupSettings, GroupSubject
from harness.measure.member import Member
from harness.models.tensors import TensorSpec
from harness.run.cell import Order, compile_cell
from harness.specs.sweep import Configuration, Limits, Measure, ModelSpec
from harness.statistics.shares import wilson_interval
from harness.statistics.verdicts import OUTCOMES, Outcome, Verdict, compare_paired

NETWORK, SAME = "network", "again"
SLOWER = {"slower-5": 0.05, "slower-30": 0.3}
TITLES = {SAME: "itself", "slower-5": "5 % slower", "slower-30": "30 % slower"}
SIDE = 128
PIXELS = 3 * SIDE**2
TANGENTS = 12
GRAIN = 256
"""Added work is a multiple of this many elements: sums whose length vectors do not divide take
several times as long."""
CALIBRATIONS, CALIBRATION_GROUPS, CALIBRATED = 8, 7, 0.1
MEASURE = Measure(repeats=40, min_seconds=3)  # as examples/quickstart.yaml has it

Samples = Mapping[str, Sequence[float]]
"""Seconds per inference, [rounds], of the network and of those it is compared with."""


@dataclass(frozen=True)
class Promise:
    """That verdicts which `counts` has are given at least, or at most, in such a share."""

    counts: tuple[Outcome, ...]
    share: float
    at_most: bool = False

    def kept(self, rate: float) -> bool:
        return rate <= self.share if self.at_most else rate >= self.share

    def __str__(self) -> str:
        side = "at most" if self.at_most else "at least"
        return f"{' or '.join(self.counts)} {side} {100 * self.share:g} %"


NEVER_WRONG = Promise(("faster", "slower"), 0.01, at_most=True)
PROMISES: Mapping[str, Mapping[str, Promise]] = {
    "quiet": {
        SAME: NEVER_WRONG,
        "slower-5": Promise(("slower",), 0.9),
        "slower-30": Promise(("slower",), 0.95),
    },
    "loaded": {SAME: NEVER_WRONG, "slower-30": Promise(("slower",), 0.95)},
}

_LOAD = """
import os, random, sys, time
import numpy as np
random.seed(int(sys.argv[1]))
parent, many = int(sys.argv[2]), np.zeros(1 << 20)
while os.getppid() == parent:
    until = time.monotonic() + random.expovariate(1 / 0.3)
    while time.monotonic() < until:
        many += 1
    time.sleep(random.expovariate(1 / 0.3))
"""
"""Adds up 8 MB for 0.3 s in the mean, and sleeps as long; ends with its parent."""


@contextmanager
def load(processes: int) -> Iterator[None]:
    """So many busy processes beside what is done meanwhile."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        for seed in range(processes):
            arguments = [sys.executable, "-c", _LOAD, str(seed), str(os.getpid())]
            running.append(subprocess.Popen(arguments))
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def network(extra: int) -> onnx.ModelProto:
    """Four convolutions on a 128 × 128 image, a fraction of a millisecond; and, where `extra` is
    above 0, the sum of the hyperbolic tangents of the tangents of so many pixels, `TANGENTS` deep
    and too small to change the output."""
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
            helper.make_node("Slice", ["pixels", *bounds], ["bent0"]),
            *(helper.make_node("Tanh", [f"bent{at}"], [f"bent{at + 1}"]) for at in range(TANGENTS)),
            helper.make_node("ReduceSum", [f"bent{TANGENTS}"], ["total"], keepdims=0),
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
        self._compile(NETWORK, 0)

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

    def calibrate(self) -> dict[str, float]:
        """Compile the slower networks so that they take as much longer as they should; what they
        take, as a ratio."""
        extra = dict.fromkeys(SLOWER, PIXELS // 4)
        found: dict[str, list[tuple[float, int]]] = {name: [(0.0, 0)] for name in SLOWER}
        ratios: dict[str, float] = {}
        for _ in range(CALIBRATIONS):
            # One that was calibrated once stays: measured again, it would be off by chance.
            rest = [name for name in SLOWER if not _calibrated(name, ratios.get(name, np.inf))]
            if not rest:
                break
            for name in rest:
                self._compile(name, extra[name])
            groups = [self.samples(seed) for seed in range(CALIBRATION_GROUPS)]
            for name in rest:
                each_found = [compare_paired(each[NETWORK], each[name]).ratio for each in groups]
                ratios[name] = float(np.median(each_found))
                found[name].append((ratios[name] - 1, extra[name]))
                extra[name] = _extra(SLOWER[name], found[name])
        for name, wanted in SLOWER.items():
            if abs(ratios[name] - 1 - wanted) > wanted / 5:
                raise click.ClickException(
                    f"what is to be {TITLES[name]} takes {ratios[name]:.3f} times as long after "
                    f"{CALIBRATIONS} attempts; run it on a machine without other work"
                )
        return ratios

    def samples(self, seed: int) -> Samples:
        """What one group of processes measures."""
        folders = {NETWORK: NETWORK, SAME: NETWORK, **{name: name for name in SLOWER}}
        subject = GroupSubject(
            ModelSpec(name="small"),
            (TensorSpec("image", (1, 3, SIDE, SIDE), "float32"),),
            None,
            "onnxruntime",
            self._folder / "network.onnx",
        )
        group = Group(
            GroupSettings(
                subject,
                MEASURE,
                Limits(),
                threads=self._target.tvm.num_cores,
                seed=seed,
                work=self._folder / "work",
                listener=lambda *_: None,
            )
        )
        measured = group.measure(
            [
                Member(name, name, "tvm", self._folder / folder, wants_accuracy=False)
                for name, folder in folders.items()
            ]
        )
        for each in measured.values():
            if each.failure is not None:
                raise each.failure
        return {name: measured[name].samples for name in folders}


def _extra(wanted: float, found: Sequence[tuple[float, int]]) -> int:
    """How much work to add for a network to take a share `wanted` longer, by the shares that other
    amounts were found to take: between those, and in proportion beyond the largest."""
    shares, amounts = zip(*sorted(found), strict=True)
    amount = float(np.interp(wanted, shares, amounts))
    if wanted > shares[-1]:
        amount = amounts[-1] * wanted / max(shares[-1], 0.001)
    return int(np.clip(round(amount / GRAIN) * GRAIN, GRAIN, PIXELS))


def _calibrated(name: str, ratio: float) -> bool:
    return abs(ratio - 1 - SLOWER[name]) <= CALIBRATED * SLOWER[name]


def measured(comparisons: int, processes: int, keep: Path | None) -> Iterator[Samples]:
    """The samples of so many comparisons, beside so many busy processes."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for name, ratio in bench.calibrate().items():
            click.echo(f"calibrated: {TITLES[name]} takes {ratio:.3f} times as long", err=True)
        # Not a bar that redraws itself: its thread would run beside the inferences.
        bar = click.progressbar(range(comparisons), label="comparing", file=sys.stderr)
        with load(processes), bar as progress:
            for seed in progress:
                samples = bench.samples(seed)
                if keep is not None:
                    with keep.open("a") as lines:
                        lines.write(json.dumps(samples) + "\n")
                yield samples


def count(comparisons: Iterable[Samples]) -> dict[str, list[Verdict]]:
    """The verdicts on each that the network is compared with."""
    found: dict[str, list[Verdict]] = {SAME: [], **{name: [] for name in SLOWER}}
    for samples in comparisons:
        for name, verdicts in found.items():
            verdicts.append(compare_paired(samples[NETWORK], samples[name]))
    return found


def table(found: Mapping[str, Sequence[Verdict]], machine: str) -> tuple[str, bool]:
    """The verdicts counted, as a table in Markdown, and whether the promises are kept."""
    headings = ["machine", "compared with", "ratio, 5–95 %", *OUTCOMES, "promised", "is", "kept"]
    rows, all_kept = [headings, ["---"] * len(headings)], True
    for name, verdicts in found.items():
        low, middle, high = np.percentile([each.ratio for each in verdicts], [5, 50, 95])
        counts = Counter(each.verdict for each in verdicts)
        row = [machine, TITLES[name], f"{middle:.3f} ({low:.3f}–{high:.3f})"]
        row += [str(counts[outcome]) for outcome in OUTCOMES]
        promise = PROMISES[machine].get(name)
        if promise is None:
            row += ["–"] * 3
        else:
            hits = sum(counts[outcome] for outcome in promise.counts)
            kept = promise.kept(hits / len(verdicts))
            all_kept = all_kept and kept
            low, high = wilson_interval(hits, len(verdicts))
            share = f"{hits / len(verdicts):.1%} ({low:.1%}–{high:.1%})"
            row += [str(promise), share, "yes" if kept else "**no**"]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows), all_kept


@click.command()
@click.option("--comparisons", type=click.IntRange(min=1), default=200, show_default=True)
@click.option(
    "--load",
    "processes",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Measure beside so many busy processes.",
)
@click.option("--keep", type=click.Path(path_type=Path), help="Append the samples to this file.")
@click.option(
    "--recount",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Judge the samples that --keep wrote to this file; --load says which promises count.",
)
def main(comparisons: int, processes: int, keep: Path | None, recount: Path | None) -> None:
    """Count the verdicts on a compiled network compared with itself and with slower ones."""
    if recount is not None:
        groups: Iterable[Samples] = map(json.loads, recount.read_text().splitlines())
    else:
        for warning in noise_warnings():
            click.echo(f"warning: {warning}", err=True)
        groups = measured(comparisons, processes, keep)
    said, kept = table(count(groups), "loaded" if processes else "quiet")
    click.echo(said)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
