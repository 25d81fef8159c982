from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from example_results import example_record, example_results

from harness.cli.select import command as select_command
from harness.models.accuracy.metrics import METRICS, accuracy
from harness.records.compiled_code import InstructionCount, Launch, Static
from harness.records.record import (
    AGREEMENT,
    Accuracy,
    CellKey,
    Compression,
    Record,
    fingerprint,
)
from harness.records.store import FILE_NAME, SECONDS, Store
from harness.report.answers import Answer, answers, in_lines
from harness.report.data import Cell, Group, Results, load
from harness.report.headline import summary
from harness.specs.settings import Settings


def key(configuration: str, engine: str = "tvm") -> CellKey:
    return CellKey(model="m", target="t", configuration=configuration, engine=engine)


def results_of(
    folder: Path, cells: dict[CellKey, np.ndarray | None], apart: CellKey | None = None
) -> Results:
    """Results of cells with these milliseconds; None is a failed cell, `apart` its own session."""
    with Store(folder / FILE_NAME, create=True) as store:
        store.plan((fingerprint(str(name)), name) for name in cells)
        together = {
            fingerprint(str(name)): samples / 1e3
            for name, samples in cells.items()
            if samples is not None and name != apart
        }
        for name, samples in cells.items():
            record = record_of(name, samples)
            if name == apart and samples is not None:
                alone = record.model_copy(update={"session": "alone"})
                store.write(alone, {SECONDS: {record.fingerprint: samples / 1e3}})
            else:
                store.write(record, {SECONDS: together} if samples is not None else None)
    return load(folder)


def record_of(name: CellKey, samples: np.ndarray | None) -> Record:
    if samples is None:
        return example_record(name, status="failed", reason="it broke", latency=None)
    return example_record(name, float(np.median(samples)), session="one")


def only(results: Results) -> Answer:
    (answer,) = answers(results)
    return answer


def noisy(level: float, seed: int, rounds: int = 60) -> np.ndarray:
    return level * np.random.default_rng(seed).lognormal(0, 0.01, rounds)


RUNTIME = key("baseline", "onnxruntime")


def answer_of(results: Results, group: Group) -> Answer:
    """The answer with another group in the place of the only one."""
    return only(replace(results, cells=group.cells, groups=(group,)))


def test_answer_is_the_fastest_of_all_engines_and_says_speed_ups_as_factors_above_1(
    tmp_path: Path,
) -> None:
    lost, won = answers(load(example_results(tmp_path)))
    assert (lost.deploy, lost.standing, lost.command) == ("OpenVINO", "faster", "")
    assert re.fullmatch(
        r"best configuration: tuned, 0\.4\d* ms, 1\.4\d*× slower than OpenVINO", lost.note
    )
    assert (won.deploy, won.standing) == ("tuned", "faster")
    assert re.fullmatch(
        r"1\.[34]\d*× faster than ONNX Runtime, 0\.2\d+ instead of 0\.\d+ ms", won.speed
    )
    assert re.fullmatch(r"95 %: 1\.\d+–1\.\d+×", won.sure)
    assert "instead of" in won.memory and "top-1 accuracy" in won.accuracy
    assert in_lines(won)[0] == f"fashion-dscnn: deploy tuned: {won.speed} ({won.sure})"


def test_command_of_an_answer_exports_the_cell(tmp_path: Path) -> None:
    """With what tells it from others in the folder; a path with a space is quoted."""
    folder = example_results(tmp_path / "two words")
    won = answers(load(folder))[1]
    words = shlex.split(won.command)
    assert words[:3] == ["layeredge", "select", str(folder)]
    assert words[-2:] == ["--export", "deploy/fashion-dscnn"]
    found = CliRunner().invoke(select_command, words[2:-2])
    assert found.exit_code == 0, found.output
    assert found.output.startswith("fashion-dscnn · x86-host · tuned · tvm\n")


def test_summary_counts_cells_and_standings(tmp_path: Path) -> None:
    results = load(example_results(tmp_path))
    assert summary(results, answers(results)) == [
        "10 cells planned: 8 ok, 1 failed, 1 skipped.",
        "The choice for each model against ONNX Runtime, 2 cases: faster in 2.",
    ]


def test_answer_claims_nothing_when_the_test_sees_no_difference(tmp_path: Path) -> None:
    cells = {key("a"): noisy(1, 1), key("b"): noisy(1, 2), RUNTIME: noisy(1, 3)}
    answer = only(results_of(tmp_path, cells))
    assert answer.standing == "no difference" and answer.note.startswith("ties with ")
    assert answer.speed.startswith("as fast as ") and "to within 2 %, " in answer.speed


def test_answer_is_about_what_keeps_the_accuracy(tmp_path: Path) -> None:
    results = results_of(
        tmp_path, {key("a"): noisy(2, 1), key("b"): noisy(1, 2), RUNTIME: noisy(3, 3)}
    )
    assert only(results).deploy == "b"
    (group,) = results.groups
    answer = answer_of(results, _with_accuracy(group, "b"))
    assert answer.deploy == "a" and answer.speed.startswith(
        "1.50× faster than ONNX Runtime, 2.00 instead of 3.00"
    )
    assert answer.note == "b takes 1.00 ms, but scores 0.01"
    assert answer.accuracy == "0.9 top-1 accuracy, as ONNX Runtime"
    both = answer_of(results, _with_accuracy(group, "a", "b"))
    assert both.deploy == "ONNX Runtime"
    assert both.note == "b takes 1.00 ms, but scores 0.01; 1 more like it"


def test_answer_is_never_an_accuracy_that_is_no_number(tmp_path: Path) -> None:
    results = results_of(
        tmp_path, {key("a"): noisy(2, 1), key("b"): noisy(1, 2), RUNTIME: noisy(3, 3)}
    )
    (group,) = results.groups
    answer = answer_of(results, _with_accuracy(group, "b", value=float("nan")))
    assert (answer.deploy, answer.note) == ("a", "b takes 1.00 ms, but scores NaN")


def test_answer_holds_accuracy_against_a_dense_configuration_without_the_reference(
    tmp_path: Path,
) -> None:
    results = results_of(tmp_path, {key("a"): noisy(2, 1), key("b"): noisy(1, 2)})
    edges = Compression(
        score="magnitude", pattern="block", sparsity=0.9, parameters=100, parameters_kept=10
    )
    (group,) = results.groups
    cells = [
        replace(cell, record=cell.record.model_copy(update={"edges": edges}))
        if cell.label == "b"
        else cell
        for cell in _with_accuracy(group, "b").cells
    ]
    answer = answer_of(results, replace(group, cells=tuple(cells)))
    assert (answer.deploy, answer.standing) == ("a", "not known")
    assert (answer.speed, answer.sure) == ("2.00 ms", "ONNX Runtime has no latency here")


def test_one_sample_more_or_less_is_no_loss_of_accuracy(tmp_path: Path) -> None:
    """As of a model without labels, which agrees with the reference on seven of eight inputs."""
    results = results_of(tmp_path, {key("a"): noisy(1, 1), RUNTIME: noisy(3, 3)})
    (group,) = results.groups
    cells = [
        Cell(cell.record.model_copy(update={"accuracy": agreed(8 - cell.own)}), cell.interleaved)
        for cell in group.cells
    ]
    answer = answer_of(results, replace(group, cells=tuple(cells)))
    assert (answer.deploy, answer.note) == ("a", "")
    assert answer.accuracy == "0.875 instead of 1 top-1 accuracy (8 samples)"


def agreed(hits: int) -> Accuracy:
    return accuracy(METRICS["top1"], (np.arange(8) < hits)[:, np.newaxis].astype(float))


def test_agreement_is_a_share_of_the_inputs(tmp_path: Path) -> None:
    results = results_of(tmp_path, {key("a"): noisy(2, 1), RUNTIME: noisy(3, 3)})
    (group,) = results.groups
    agreeing = _with_accuracy(group, "a", value=0.9375, metric=AGREEMENT)
    said = answer_of(results, agreeing).accuracy
    assert said == "agrees with the reference on 93.75 % of 100 inputs"


def _with_accuracy(
    group: Group, *ruined: str, value: float = 0.01, metric: str = "top-1 accuracy"
) -> Group:
    """The group with this accuracy of some configurations, and a good one of the others."""
    cells = []
    for cell in group.cells:
        score = value if cell.label in ruined else 0.9
        found = Accuracy(metric=metric, value=score, ci_low=score, ci_high=score, samples=100)
        record = cell.record.model_copy(update={"accuracy": found})
        cells.append(Cell(record, cell.interleaved, cell.roof))
    return replace(group, cells=tuple(cells))


def test_summary_says_once_that_the_machine_was_busy(tmp_path: Path) -> None:
    busy = np.random.default_rng(4).lognormal(0, 0.25, (2, 60))
    cells = {key("a"): noisy(1, 1), key("b"): 1.05 * busy[0], RUNTIME: 2 * busy[1]}
    results = results_of(tmp_path, cells)
    answer = only(results)
    assert answer.standing == "faster", "twice as long is more than the machine's other work"
    (line,) = (line for line in summary(results, [answer]) if "other work" in line)
    assert line.startswith("The machine had other work while m ran: single rounds scatter ")
    assert line.endswith(" layeredge run … --measure-again measures anew.")
    (quiet := tmp_path / "quiet").mkdir()
    apart = results_of(quiet, {key("a"): noisy(1, 1), RUNTIME: noisy(2, 2)})
    assert not any("other work" in line for line in summary(apart, answers(apart)))


def test_answer_has_the_figures_of_the_rounds_that_it_compares(tmp_path: Path) -> None:
    """A record keeps its latency when a later run measures it beside others."""
    cells = {key("a"): noisy(1, 1), RUNTIME: noisy(3, 2)}
    results = results_of(tmp_path, cells)
    (group,) = results.groups
    old = group.cell(fingerprint(str(RUNTIME)))
    latency = old.record.latency
    assert latency is not None
    slow = latency.model_copy(update={"median_ms": 9.0, "ci_low_ms": 8.9, "ci_high_ms": 9.1})
    record = old.record.model_copy(update={"latency": slow, "session": "earlier"})
    changed = [replace(cell, record=record) if cell is old else cell for cell in group.cells]
    answer = answer_of(results, replace(group, cells=tuple(changed)))
    assert re.match(
        r"(2\.9|3\.0)\d*× faster than ONNX Runtime, 1\.00 instead of 3\.0", answer.speed
    )


def test_commands_of_two_batches_export_to_two_folders(tmp_path: Path) -> None:
    keys = [
        CellKey(model="m", target="t", configuration="a", engine="tvm", settings=Settings(batch=n))
        for n in (1, 7)
    ]
    found = answers(results_of(tmp_path, dict(zip(keys, (noisy(1, 1), noisy(4, 2)), strict=True))))
    exported = {answer.command.rpartition(" ")[2] for answer in found}
    assert exported == {"deploy/m-batch1", "deploy/m-batch7"}


def test_answer_is_undecided_where_an_interval_leaves_out_1_and_the_test_does_not_confirm(
    tmp_path: Path,
) -> None:
    delays = np.random.default_rng(9).choice([1.0, 1.5, 1.9], 60, p=[0.3, 0.4, 0.3])
    answer = only(results_of(tmp_path, {key("a"): noisy(1, 1), RUNTIME: delays * noisy(1, 2)}))
    assert answer.standing == "undecided"
    assert answer.speed.startswith("undecided against ONNX Runtime, 1.0")
    assert answer.sure.endswith("leaves out 1, but the test does not confirm the difference")


def test_answer_claims_nothing_when_samples_are_few(tmp_path: Path) -> None:
    cells = {key("a"): noisy(1, 1, rounds=6), RUNTIME: noisy(2, 2, rounds=6)}
    answer = only(results_of(tmp_path, cells))
    assert answer.standing == "undecided" and "too few samples" in answer.sure


def test_answer_claims_nothing_when_cells_were_not_measured_together(tmp_path: Path) -> None:
    cells = {key("a"): noisy(1, 1), RUNTIME: noisy(2, 2)}
    answer = only(results_of(tmp_path, cells, apart=RUNTIME))
    assert (answer.standing, answer.sure) == ("not known", "not measured together")
    assert answer.speed.endswith(" ms (ONNX Runtime)")


def test_answer_says_so_when_the_reference_failed(tmp_path: Path) -> None:
    answer = only(results_of(tmp_path, {key("a"): noisy(1, 1), RUNTIME: None}))
    assert (answer.deploy, answer.sure) == ("a", "ONNX Runtime has no latency here")


def test_answer_says_so_when_every_configuration_failed(tmp_path: Path) -> None:
    answer = only(results_of(tmp_path, {key("a"): None, key("b"): None}))
    assert (answer.deploy, answer.note) == ("", "no cell is ok; the reasons are below")
    assert in_lines(answer)[0] == "m: nothing to deploy: no cell is ok; the reasons are below"


def test_answer_ranks_nothing_when_a_count_has_no_figure(tmp_path: Path) -> None:
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan([(fingerprint(str(key("a"))), key("a"))])
        store.write(example_record(key("a"), kind="emulated-count"))
    assert only(load(tmp_path)).deploy == ""


def untimed(folder: Path, *cells: dict[str, object]) -> Answer:
    """The answer of records of a kind that is not timed."""
    with Store(folder / FILE_NAME, create=True) as store:
        records = [
            record_of(key(str(fields.pop("name"))), noisy(1, 1)).model_copy(
                update={"latency": None, "session": None, **fields}
            )
            for fields in cells
        ]
        store.plan((record.fingerprint, record.key) for record in records)
        for record in records:
            store.write(record)
    return only(load(folder))


def test_answer_names_the_fewest_instructions_where_they_were_counted(tmp_path: Path) -> None:
    def counted(name: str, total: int) -> dict[str, object]:
        count = InstructionCount(total=total, load_store=1, simd=1, branch=1)
        return {"name": name, "kind": "emulated-count", "instructions": count}

    answer = untimed(tmp_path, counted("unfused", 2_000_000), counted("fused", 1_500_000))
    assert (answer.deploy, answer.standing) == ("fused", "not timed")
    assert answer.speed == "least instructions of an inference: 1,500,000"
    assert " --kind emulated-count " in answer.command


def test_answer_names_the_lowest_estimate_where_code_was_analysed(tmp_path: Path) -> None:
    def analysed(name: str, estimate: float) -> dict[str, object]:
        each = Launch(name="k", registers=40, shared_memory_bytes=0, spill_bytes=8)
        static = Static(launches=(each,), estimate_ms=estimate)
        return {"name": name, "kind": "static", "static": static}

    answer = untimed(tmp_path, analysed("unfused", 5.0), analysed("fused", 2.0))
    assert (answer.deploy, answer.speed) == ("fused", "least static estimate: 2 ms")
