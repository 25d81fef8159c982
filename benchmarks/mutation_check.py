"""How many wrong networks verification catches.

    python benchmarks/mutation_check.py --mutants 200

Each mutant is a network with one change, of a kind that a compiler bug would cause (`mutants.py`).
It runs in ONNX Runtime and is verified against the original network, with the inputs and the judge
that a sweep would use. Prints how many of each kind were caught, and lists those that were not.

Some changes have no effect: a weight that is multiplied by zeros only, two equal channels. Mutants
that pass are therefore evaluated in float64, on more inputs. If no output differs by more than
float32 resolves, the mutant counts as equivalent, and another replaces it.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime
from mutants import KINDS, Mutant, mutant
from mutation_networks import NETWORKS
from rich.console import Console
from rich.table import Table

from harness.baselines.base import Feeds
from harness.errors import CellFailure
from harness.judges.onnx_float64 import OnnxFloat64
from harness.measure.comparison import TOLERANCES, shares
from harness.measure.inputs import verification_inputs
from harness.measure.judgement import Opinion, Opinions
from harness.measure.verification import verify
from harness.models.catalog.embedded_models import embedded_file, fashion_task
from harness.models.data.task import Task
from harness.models.frontends import import_model
from harness.models.value_ranges import value_ranges

_INPUTS = 4
_MORE = 8
_SAME = 2 * TOLERANCES["float32"].rounding
"""A change that no float32 can tell from its rounding, as a share of the values around."""


@dataclass
class Subject:
    """A network, the inputs that it is verified on and others, and what it gives."""

    name: str
    model: onnx.ModelProto
    feeds: list[Feeds]
    more: list[Feeds]
    expected: list[list[np.ndarray]]
    evaluation: OnnxFloat64
    work: Path
    opinions: dict[tuple[int, int], Opinions] = field(default_factory=dict)

    def judge(self, at: int, others: int) -> Opinions:
        if (at, others) not in self.opinions:
            outcomes = islice(self.evaluation.outcomes(self.feeds[at]), 1 + others)
            self.opinions[at, others] = Opinions(
                "float64",
                [Opinion(one, tuple(rest)) for one, *rest in zip(*outcomes, strict=True)],
            )
        return self.opinions[at, others]

    def is_caught(self, found: list[list[np.ndarray]]) -> bool:
        try:
            verify("the network", self.expected, found, False, judge=self.judge)
        except CellFailure:
            return True
        return False

    def is_equivalent(self, wrong: Mutant) -> bool:
        """Whether no output changes in float64, on any input."""
        path = self.work / "mutant.onnx"
        onnx.save(wrong.model, path)
        changed = OnnxFloat64(path)
        for feeds in [*self.feeds, *self.more]:
            pairs = zip(self.evaluation.exact(feeds), changed.exact(feeds), strict=True)
            for one, other in pairs:
                if one.shape != other.shape or shares(one, other).max(initial=0.0) > _SAME:
                    return False
        return True


def subjects(work: Path, names: tuple[str, ...] = ()) -> list[Subject]:
    """The embedded networks on real images, and small ones on random inputs; or those named."""
    found: list[tuple[str, Path, Task | None]] = []
    for name in ("fashion-resnet8", "fashion-dscnn"):
        found.append((name, embedded_file(f"{name}.onnx"), fashion_task(work, None)))
    for name, make in NETWORKS.items():
        onnx.save(make(), work / f"{name}.onnx")
        found.append((name, work / f"{name}.onnx", None))
    return [_subject(*each, work) for each in found if not names or each[0] in names]


def _subject(name: str, path: Path, task: Task | None, work: Path) -> Subject:
    imported = import_model(path, {}, work)
    ranges = value_ranges(imported)
    feeds, _ = verification_inputs(task, imported.inputs, _INPUTS, 0, ranges)
    more, _ = verification_inputs(None, imported.inputs, _MORE, 1, ranges)
    model = onnx.load(path)
    expected = outputs_of(model, feeds)
    assert expected is not None
    return Subject(name, model, feeds, more, expected, OnnxFloat64(path), work)


def outputs_of(model: onnx.ModelProto, feeds: list[Feeds]) -> list[list[np.ndarray]] | None:
    """What ONNX Runtime gives; None where it does not run a model, which no verifying is needed to
    find out."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return [session.run(None, dict(row)) for row in feeds]
    except Exception:
        return None


@dataclass
class Tally:
    """What became of the mutants, by their kinds."""

    caught: Counter[str] = field(default_factory=Counter)
    equivalent: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[str, Mutant]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.caught.total() + len(self.missed)


def check(found: list[Subject], mutants: int, seed: int) -> Tally:
    """Make and verify as many mutants that are not equivalent, in turns of networks and kinds."""
    tally, drawn = Tally(), 0
    kinds = list(KINDS)
    while tally.total < mutants:
        subject, kind = found[drawn % len(found)], kinds[drawn // len(found) % len(kinds)]
        wrong = mutant(subject.model, kind, np.random.default_rng([seed, drawn]))
        drawn += 1
        outputs = outputs_of(wrong.model, subject.feeds) if wrong else None
        if wrong is None or outputs is None:
            continue
        if subject.is_caught(outputs):
            tally.caught[kind] += 1
        elif subject.is_equivalent(wrong):
            tally.equivalent[kind] += 1
        else:
            tally.missed.append((subject.name, wrong))
    return tally


def show(tally: Tally, console: Console) -> None:
    missed: Mapping[str, int] = Counter(wrong.kind for _, wrong in tally.missed)
    table = Table("Change", "Caught", "Missed", "Equivalent, replaced")
    for kind in KINDS:
        row = (tally.caught[kind], missed.get(kind, 0), tally.equivalent[kind])
        table.add_row(kind, *map(str, row))
    console.print(table)
    for name, wrong in tally.missed:
        console.print(f"missed: {name}: {wrong.kind}: {wrong.what}", soft_wrap=True)
    console.print(f"{tally.caught.total()} of {tally.total} caught")


@click.command(help=__doc__)
@click.option("--mutants", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(mutants: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        show(check(subjects(Path(folder)), mutants, seed), Console())


if __name__ == "__main__":
    main()
