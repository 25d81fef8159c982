from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from example_results import example_record, example_results

from harness.models.accuracy.metrics import METRICS, accuracy
from harness.records.compiled_code import InstructionCount, Launch, Static
from harness.records.record import Accuracy, CellKey, Compression, Record, fingerprint
from harness.records.store import FILE_NAME, SECONDS, Store
from harness.report.data import Cell, Group, Results, load
from harness.report.headline import Finding, _finding, findings, summary


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


def only(results: Results) -> Finding:
    (finding,) = findings(results)
    return finding


def noisy(level: float, seed: int, rounds: int = 60) -> np.ndarray:
    return level * np.random.default_rng(seed).lognormal(0, 0.01, rounds)


RUNTIME = key("baseline", "onnxruntime")


def test_finding_says_a_win_and_a_loss_in_the_same_words(tmp_path: Path) -> None:
    lost, won = findings(load(example_results(tmp_path)))
    assert (lost.standing, won.standing) == ("slower", "faster")
    assert "tuned is the fastest configuration" in lost.sentence
    assert "Slower than ONNX Runtime: it takes 1.1" in lost.sentence
    assert "Slower than OpenVINO: it takes 1.4" in lost.sentence
    assert "Faster than ONNX Runtime: it takes 0.7" in won.sentence


def test_summary_counts_cells_and_standings(tmp_path: Path) -> None:
    results = load(example_results(tmp_path))
    assert summary(results, findings(results)) == [
        "10 cells planned: 8 ok, 1 failed, 1 skipped.",
        "The fastest configuration of each model against ONNX Runtime, 2 cases: "
        "faster in 1, slower in 1.",
    ]


def test_finding_claims_nothing_when_the_test_sees_no_difference(tmp_path: Path) -> None:
    cells = {key("a"): noisy(1, 1), key("b"): noisy(1, 2), RUNTIME: noisy(1, 3)}
    cells[key("c")] = noisy(1.03, 4) * np.random.default_rng(5).lognormal(0, 0.09, 60)
    finding = only(results_of(tmp_path, cells))
    assert finding.standing == "no difference"
    assert "has the lowest median" in finding.sentence
    assert "; no difference from b to within 2 %; undecided against c." in finding.sentence
    assert "No difference from ONNX Runtime to within 2 %: it takes " in finding.sentence


def test_finding_is_about_what_keeps_the_accuracy(tmp_path: Path) -> None:
    group = results_of(
        tmp_path, {key("a"): noisy(2, 1), key("b"): noisy(1, 2), RUNTIME: noisy(3, 3)}
    )
    finding = only(group)
    assert finding.sentence.startswith("b is the fastest configuration: ")
    ruined = _finding(_with_accuracy(group.groups[0], "b"))
    assert ruined.sentence.startswith(
        "Of those not clearly less accurate than ONNX Runtime, a is the fastest configuration: 2.0"
    )
    assert ruined.sentence.endswith(
        "b takes 1.00 ms, but has a top-1 accuracy of 0.01, where ONNX Runtime has 0.9."
    )
    assert float(ruined.ratio[:-1]) > 0.6
    both = _finding(_with_accuracy(group.groups[0], "a", "b"))
    assert both.sentence.startswith("b is the fastest configuration: ")
    assert both.sentence.endswith("b has a top-1 accuracy of 0.01, where ONNX Runtime has 0.9.")


def test_finding_is_never_about_an_accuracy_that_is_no_number(tmp_path: Path) -> None:
    cells = {key("a"): noisy(2, 1), key("b"): noisy(1, 2), RUNTIME: noisy(3, 3)}
    (group,) = results_of(tmp_path, cells).groups
    sentence = _finding(_with_accuracy(group, "b", value=float("nan"))).sentence
    assert "a is the fastest configuration: 2.0" in sentence
    assert sentence.endswith(
        "b takes 1.00 ms, but has a top-1 accuracy of NaN, where ONNX Runtime has 0.9."
    )


def test_finding_holds_accuracy_against_a_dense_configuration_without_the_reference(
    tmp_path: Path,
) -> None:
    (group,) = results_of(tmp_path, {key("a"): noisy(2, 1), key("b"): noisy(1, 2)}).groups
    edges = Compression(
        score="magnitude", pattern="block", sparsity=0.9, parameters=100, parameters_kept=10
    )
    cells = [
        replace(cell, record=cell.record.model_copy(update={"edges": edges}))
        if cell.label == "b"
        else cell
        for cell in _with_accuracy(group, "b").cells
    ]
    sentence = _finding(replace(group, cells=tuple(cells))).sentence
    assert sentence.startswith("Of those not clearly less accurate than a, a is the fastest")
    assert sentence.endswith("b takes 1.00 ms, but has a top-1 accuracy of 0.01, where a has 0.9.")


def test_one_sample_more_or_less_is_no_loss_of_accuracy(tmp_path: Path) -> None:
    """As of a model without labels, which agrees with the reference on seven of eight inputs."""
    (group,) = results_of(tmp_path, {key("a"): noisy(1, 1), RUNTIME: noisy(3, 3)}).groups
    cells = [
        Cell(cell.record.model_copy(update={"accuracy": agreed(8 - cell.own)}), cell.interleaved)
        for cell in group.cells
    ]
    sentence = _finding(replace(group, cells=tuple(cells))).sentence
    assert sentence.startswith("a, the only configuration") and "but" not in sentence
    assert sentence.endswith("a has a top-1 accuracy of 0.875, where ONNX Runtime has 1.")


def agreed(hits: int) -> Accuracy:
    return accuracy(METRICS["top1"], (np.arange(8) < hits)[:, np.newaxis].astype(float))


def _with_accuracy(group: Group, *ruined: str, value: float = 0.01) -> Group:
    """The group with this accuracy of some configurations, and a good one of the others."""
    cells = []
    for cell in group.cells:
        score = value if cell.label in ruined else 0.9
        found = Accuracy(
            metric="top-1 accuracy", value=score, ci_low=score, ci_high=score, samples=100
        )
        record = cell.record.model_copy(update={"accuracy": found})
        cells.append(Cell(record, cell.interleaved, cell.roof))
    return replace(group, cells=tuple(cells))


def test_summary_says_once_that_the_machine_was_busy(tmp_path: Path) -> None:
    busy = np.random.default_rng(4).lognormal(0, 0.25, (2, 60))
    cells = {key("a"): noisy(1, 1), key("b"): 1.05 * busy[0], RUNTIME: 2 * busy[1]}
    results = results_of(tmp_path, cells)
    finding = only(results)
    assert finding.standing == "faster", "twice as long is more than the machine's other work"
    assert "other work" not in finding.sentence
    (line,) = (line for line in summary(results, [finding]) if "other work" in line)
    assert line.startswith("The machine had other work while m ran: single rounds scatter ")
    assert line.endswith("; layeredge run … --measure-again measures anew.")
    (quiet := tmp_path / "quiet").mkdir()
    apart = results_of(quiet, {key("a"): noisy(1, 1), RUNTIME: noisy(2, 2)})
    assert not any("other work" in line for line in summary(apart, findings(apart)))


def test_finding_is_undecided_where_an_interval_leaves_out_1_and_the_test_does_not_confirm(
    tmp_path: Path,
) -> None:
    delays = np.random.default_rng(9).choice([1.0, 1.5, 1.9], 60, p=[0.3, 0.4, 0.3])
    finding = only(results_of(tmp_path, {key("a"): noisy(1, 1), RUNTIME: delays * noisy(1, 2)}))
    assert finding.standing == "undecided"
    assert "Undecided against ONNX Runtime: it takes 0." in finding.sentence
    assert "leaves out 1, but the test does not confirm the difference." in finding.sentence


def test_finding_claims_nothing_when_samples_are_few(tmp_path: Path) -> None:
    cells = {key("a"): noisy(1, 1, rounds=6), RUNTIME: noisy(2, 2, rounds=6)}
    finding = only(results_of(tmp_path, cells))
    assert finding.standing == "undecided"
    assert "too few samples" in finding.sentence


def test_finding_claims_nothing_when_cells_were_not_measured_together(tmp_path: Path) -> None:
    cells = {key("a"): noisy(1, 1), RUNTIME: noisy(2, 2)}
    finding = only(results_of(tmp_path, cells, apart=RUNTIME))
    assert (finding.standing, finding.ratio) == ("not known", "")
    assert "not measured together" in finding.sentence


def test_finding_says_so_when_the_reference_failed(tmp_path: Path) -> None:
    finding = only(results_of(tmp_path, {key("a"): noisy(1, 1), RUNTIME: None}))
    assert "How it stands to ONNX Runtime is not known: it failed here." in finding.sentence


def test_finding_says_so_when_every_configuration_failed(tmp_path: Path) -> None:
    finding = only(results_of(tmp_path, {key("a"): None, key("b"): None, RUNTIME: noisy(1, 1)}))
    assert finding.sentence == ("No configuration has a latency: 2 failed; the reasons are below.")


def test_finding_ranks_nothing_when_the_records_are_counts(tmp_path: Path) -> None:
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan([(fingerprint(str(key("a"))), key("a"))])
        store.write(example_record(key("a"), kind="emulated-count"))
    finding = only(load(tmp_path))
    assert finding.sentence == "Nothing was timed here: these records are emulated-count."


def untimed(**fields: object) -> Cell:
    """A finished cell of a kind that is not timed."""
    return Cell(record_of(key("a"), noisy(1, 1)).model_copy(update={"latency": None, **fields}))


def test_finding_names_the_fewest_instructions_where_they_were_counted() -> None:
    def counted(name: str, total: int) -> Cell:
        count = InstructionCount(total=total, load_store=1, simd=1, branch=1)
        names = key(name)
        return untimed(kind="emulated-count", key=names, instructions=count)

    cells = (counted("unfused", 2_000_000), counted("fused", 1_500_000))
    group = Group("m", "t", "emulated-count", "m on t", cells)
    finding = _finding(group)
    assert finding.standing == "not timed"
    assert finding.sentence == "fused executes fewest instructions, 1,500,000 an inference."


def test_finding_names_the_fewest_launches_where_code_was_analysed() -> None:
    def analysed(name: str, launches: int) -> Cell:
        each = Launch(name="k", registers=40, shared_memory_bytes=0, spill_bytes=8)
        static = Static(launches=(each,) * launches)
        return untimed(kind="static", key=key(name), static=static)

    group = Group("m", "t", "static", "m on t", (analysed("unfused", 5), analysed("fused", 2)))
    assert _finding(group).sentence == (
        "fused launches fewest functions, 2, with 40 registers at most and 16 bytes spilled."
    )
