"""How many of ONNX's own operator tests pass?

    python benchmarks/onnx_node_tests.py [--only TEXT]... [--fusion none] [--report FILE]

Each case of `onnx.backend.test` whose values are plain tensors is imported, compiled with default
schedules at each fusion level and compared with the expected outputs. Inputs that set shapes (axes,
sizes, pads) become constants where an import needs that. Cases run in child processes: one that
crashes costs itself. Prints counts, and the cases that do not pass by their reason; `--report`
writes all results as JSON, `--document` the list of what is not supported.

Values that differ from a case's are told apart: `rounding` is within four units in the last place
of the output's largest value, where the case's own tolerance is smaller than a float's; `disputed`
is what ONNX Runtime gives too. All else is `wrong`.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from case_children import run_all, work_through
from onnx import numpy_helper

LEVELS = ("none", "full")
_BATCH = 100
_SHAPES = {
    "AffineGrid": {1}, "BlackmanWindow": {0}, "CenterCropPad": {1}, "Col2Im": {1, 2},
    "Compress": {1},
    "ConstantOfShape": {0}, "CumProd": {1}, "CumSum": {1}, "DFT": {1, 2}, "Expand": {1},
    "HammingWindow": {0}, "HannWindow": {0}, "Loop": {0, 1}, "MaxUnpool": {2},
    "MelWeightMatrix": {0, 1, 2, 3, 4},
    "NonMaxSuppression": {2}, "OneHot": {1}, "Pad": {1, 3}, "Range": {0, 1, 2}, "Reshape": {1},
    "Resize": {1, 2, 3}, "STFT": {1, 2, 3}, "Slice": {1, 2, 3, 4}, "Split": {1}, "Squeeze": {1},
    "TfIdfVectorizer": set(), "Tile": {1}, "TopK": {1}, "Trilu": {1}, "Unsqueeze": {1},
    "Upsample": {1},
}  # fmt: skip
"""Operators to their inputs that set shapes; of reductions it is the second."""


def shape_inputs(graph: onnx.GraphProto) -> set[str]:
    """The inputs of a graph that set shapes, or how often a loop runs, also by way of other
    nodes."""
    from harness.models.onnx.file import walk_nodes

    nodes = list(walk_nodes(graph))
    makers = {name: node for node in nodes for name in node.output}
    found: set[str] = set()
    for node in nodes:
        places = {1} if node.op_type.startswith("Reduce") else _SHAPES.get(node.op_type, set())
        found |= {node.input[at] for at in places if at < len(node.input)}
    left = list(found)
    while left:
        maker = makers.get(left.pop())
        if maker is not None and maker.op_type not in {"Shape", "Size"}:
            left += [name for name in maker.input if name not in found]
            found |= set(maker.input)
    return found & {value.name for value in graph.input}


def baked(model: onnx.ModelProto, values: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The model with these inputs as constants."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    kept = [value for value in result.graph.input if value.name not in values]
    del result.graph.input[:]
    result.graph.input.extend(kept)
    for name, array in values.items():
        result.graph.initializer.append(numpy_helper.from_array(array, name))
    return result


def is_plain(value: Any) -> bool:
    """Whether a value is a tensor of numbers that NumPy has."""
    return isinstance(value, (np.ndarray, np.generic)) and np.asarray(value).dtype.kind in "biufc"


def cases() -> Iterator[Any]:
    """The cases whose inputs and outputs are plain tensors."""
    from onnx.backend.test.loader import load_model_tests

    for case in load_model_tests(kind="node"):
        values = [value for inputs, outputs in case.data_sets for value in (*inputs, *outputs)]
        if case.model is not None and values and all(map(is_plain, values)):
            yield case


def passes(case: Any, level: str, work: Path) -> str:
    """`ok`, or why a case does not pass. Errors of ours are refusals; others say their type."""
    from harness.errors import HarnessError

    inputs, expected = case.data_sets[0]
    names = [value.name for value in case.model.graph.input]
    feeds = dict(zip(names, map(np.asarray, inputs), strict=False))
    attempts = [case.model]
    if constant := shape_inputs(case.model.graph):
        attempts.append(baked(case.model, {name: feeds[name] for name in constant & feeds.keys()}))
    reason = ""
    for model in attempts:
        try:
            found = run(model, feeds, level, work)
        except HarnessError as error:
            reason = f"refused: {error}"
            continue
        except Exception as error:
            reason = f"error: {type(error).__name__}: {str(error).strip().splitlines()[-1:]}"
            continue
        result = difference(expected, found, case.rtol, case.atol)
        disputed = result.startswith("wrong") and as_onnx_runtime(model, feeds, found)
        return "disputed: ONNX Runtime gives the same" if disputed else result
    return reason


def as_onnx_runtime(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray], found: Sequence[np.ndarray]
) -> bool:
    """Whether ONNX Runtime, without optimisations, gives these outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        fed = {value.name: feeds[value.name] for value in session.get_inputs()}
        right = session.run(None, fed)
    except Exception:
        return False  # it does not run the case: its exceptions have no common base
    return difference(right, found, 1e-5, 1e-6) == "ok"


def run(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray], level: str, work: Path
) -> list[np.ndarray]:
    """The outputs of a model, imported, fused and compiled as a cell is."""
    from harness.building.network import machine_of
    from harness.compiler.api import target_of, tvm
    from harness.hardware import load_target
    from harness.models.frontends import import_model
    from harness.passes.adapt import adapt
    from harness.passes.canonicalise import canonicalise
    from harness.passes.fusion import fuse

    path = work / "case.onnx"
    path.write_bytes(model.SerializeToString())
    imported = import_model(path, {}, work)
    spec = load_target("x86-host")
    target = target_of(spec.tvm.as_tvm())
    canonical = canonicalise(imported.module, imported.layer_names)
    fused = fuse(adapt(canonical, spec.passes, target), level, target)  # type: ignore[arg-type]
    machine = machine_of(fused, target, 1)
    given = [tvm.runtime.tensor(np.array(feeds[s.name], order="C")) for s in imported.inputs]
    found = machine["main"](*given)
    outputs = [found] if isinstance(found, tvm.runtime.Tensor) else list(found)
    return [output.numpy() for output in outputs]


def difference(
    expected: Sequence[np.ndarray], found: Sequence[np.ndarray], rtol: float, atol: float
) -> str:
    """`ok`, or how the outputs differ from the expected ones."""
    if len(expected) != len(found):
        return f"wrong: {len(found)} outputs, expected {len(expected)}"
    worst = ""
    for at, (wanted, given) in enumerate(zip(map(np.asarray, expected), found, strict=True)):
        if wanted.shape != given.shape or wanted.dtype != given.dtype:
            return (
                f"wrong: output {at} is {given.dtype}{list(given.shape)}, expected "
                f"{wanted.dtype}{list(wanted.shape)}"
            )
        if not np.allclose(given, wanted, rtol=rtol, atol=atol, equal_nan=True):
            if wanted.dtype.kind == "f" and np.isfinite(wanted).all():
                unit = 4 * float(np.finfo(wanted.dtype).eps) * float(np.abs(wanted).max())
                if np.allclose(given, wanted, rtol=0, atol=unit):
                    worst = max(worst, f"rounding: output {at}")
                    continue
            return f"wrong: output {at} differs"
    return worst or "ok"


@click.command()
@click.option("--only", multiple=True, help="Cases whose names contain this; may be given again.")
@click.option("--fusion", type=click.Choice(LEVELS), help="One level instead of both.")
@click.option("--report", type=click.Path(path_type=Path), help="Write all results as JSON.")
@click.option(
    "--document", type=click.Path(path_type=Path), help="Write what is not supported as Markdown."
)
@click.option("--child", hidden=True)
def main(
    only: tuple[str, ...],
    fusion: str | None,
    report: Path | None,
    document: Path | None,
    child: str | None,
) -> None:
    """Run ONNX's operator tests."""
    if child is not None:
        by_name = {case.name: case for case in cases()}
        with tempfile.TemporaryDirectory() as folder:
            work_through(child, lambda name, level: passes(by_name[name], level, Path(folder)))
        return
    levels = [fusion] if fusion else list(LEVELS)
    names = [case.name for case in cases() if any(o in case.name for o in only or ("",))]
    results = run_all(__file__, names, levels, _BATCH)
    summary(results, levels, len(names))
    if report is not None:
        rows = [{"case": n, "fusion": f, "result": r} for (n, f), r in sorted(results.items())]
        report.write_text(json.dumps(rows, indent=1))
    if document is not None:
        document.write_text(documented(results, levels))


def summary(results: dict[tuple[str, str], str], levels: Sequence[str], count: int) -> None:
    """Print the counts, and what does not pass by reason."""
    for level in levels:
        kinds = Counter(
            result.partition(":")[0] for (_, fusion), result in results.items() if fusion == level
        )
        share = kinds["ok"] / count if count else 0.0
        print(f"fusion {level}: {kinds['ok']} of {count} pass ({share:.1%}); {dict(kinds)}")
    reasons: dict[str, list[str]] = defaultdict(list)
    for (name, level), result in sorted(results.items()):
        if result != "ok" and level == levels[-1]:
            reasons[result.partition(" of node")[0][:110]].append(name.removeprefix("test_"))
    for reason, found in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"{len(found):4d}  {reason}\n      {', '.join(found[:8])}")


def documented(results: dict[tuple[str, str], str], levels: Sequence[str]) -> str:
    """What does not pass, by operator and reason, as a page of the documentation."""
    lines = [
        "# What of ONNX is not supported",
        "",
        "`python benchmarks/onnx_node_tests.py --document docs/onnx.md` writes this page from "
        f"ONNX's own operator tests (onnx {onnx.__version__}): cases whose values are plain "
        "tensors, with their expected values.",
        "",
        "| fusion | cases | pass | share | refused | other |",
        "|---|---|---|---|---|---|",
    ]
    for level in levels:
        kinds = Counter(
            result.partition(":")[0] for (_, of), result in results.items() if of == level
        )
        total = kinds.total()
        others = ", ".join(
            f"{count} {kind}" for kind, count in kinds.items() if kind not in {"ok", "refused"}
        )
        lines.append(
            f"| {level} | {total:,} | {kinds['ok']:,} | {kinds['ok'] / total:.1%} | "
            f"{kinds['refused']} | {others or '–'} |"
        )
    reasons: dict[str, list[str]] = defaultdict(list)
    for (name, level), result in sorted(results.items()):
        if level == levels[-1] and result != "ok":
            reasons[_reason(result)].append(name.removeprefix("test_"))
    lines += ["", "| reason | cases |", "|---|---|"]
    for reason, names in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"| {reason.replace('|', '/')} | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines) + "\n"


_PLACES = re.compile(r"\S*/case\.onnx: | of node '[^']*'| \(nodes? [^)]*\)|; every dimension.*")


def _reason(result: str) -> str:
    """A result without what is of one case alone."""
    return _PLACES.sub("", result.removeprefix("refused: ")).strip()


if __name__ == "__main__":
    main()
