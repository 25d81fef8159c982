"""A sweep of small models, whole: every stage for real, resuming, tuning, and what can go wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import yaml
from onnx import helper
from places import HELPERS
from small_models import FLOAT, convolutional, onnx_model, save, weights
from sweeps import FUSED, QUICK, Heard, write_sweep

from harness.compiler.api import target_of
from harness.errors import InputError
from harness.hardware import load_target
from harness.hardware.description import as_yaml
from harness.kernels.dot_products import products_of
from harness.measure.plain_reference import NAME as PLAIN
from harness.records.artifact import NETWORK, reference_of
from harness.records.export import write_exports
from harness.records.store import FILE_NAME, Store
from harness.report.data import load
from harness.report.tables import quantized_layer_table, throughput_table
from harness.run.sweep import Outcome, run_sweep
from harness.specs.sweep import Sweep


def run(path: Path, out: Path, **options: bool) -> tuple[Outcome, Heard]:
    heard = Heard()
    return run_sweep(Sweep.read(path), out, out.parent / "tuning", heard, **options), heard


@pytest.mark.slow
def test_streams_give_throughput_beside_latency(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = write_sweep(tmp_path, configurations=[FUSED], streams=[1, 2])
    outcome, _ = run(path, out)
    assert [record.status for record in outcome.records] == ["ok"] * 4, outcome.failed
    for record in outcome.records:
        streams, found = record.key.settings.streams, record.throughput
        assert found is not None and streams is not None and record.latency is not None
        assert found.ci_low <= found.per_second <= found.ci_high
        # Each copy gives an inference in about its latency; fewer where it has to wait.
        assert found.per_second * record.latency.median_ms / 1e3 < 2 * streams
    table = throughput_table(load(out))
    assert len(table.rows) == 4 and {"Streams", "Verdict"} <= {*table.columns}


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.slow
def test_sweep_verifies_measures_and_resumes(tmp_path: Path) -> None:
    path, out = write_sweep(tmp_path), tmp_path / "out"
    outcome, heard = run(path, out)
    assert [record.status for record in outcome.records] == ["ok"] * 3, outcome.failed
    assert (heard.total, heard.finished_before, outcome.ran) == (3, 0, 3)
    plain, fused, baseline = outcome.records
    for record in outcome.records:
        assert record.latency is not None and record.latency.samples == QUICK["repeats"]
        assert record.latency.ci_low_ms <= record.latency.median_ms <= record.latency.ci_high_ms
        assert record.verification is not None
        assert record.verification.max_error_of_scale <= 1e-4
        assert record.memory is not None and (record.memory.peak_rss_mb or 0) > 20
        assert record.startup is not None
        assert record.startup.load_ms > 0 and record.startup.first_ms > 0
        assert record.inferences is not None
        assert record.inferences.count == record.latency.samples * record.latency.runs_per_sample
        assert record.accuracy is not None and record.accuracy.metric.startswith("agreement")
        assert record.environment["versions"]["apache-tvm"] == "0.27.0.post1"
        assert record.session == plain.session
    assert baseline.key.engine == "onnxruntime"
    assert plain.fusion is not None and fused.fusion is not None
    assert fused.fusion.kernels_after < plain.fusion.kernels_after == plain.fusion.kernels_before
    assert sum(kernel.calls for kernel in fused.kernels) == fused.fusion.kernels_after
    with Store(out / FILE_NAME) as store:
        samples = store.samples(str(plain.session))
    assert set(samples) == {record.fingerprint for record in outcome.records}
    assert np.median(samples[plain.fingerprint]) * 1e3 == pytest.approx(plain.latency.median_ms)

    again, heard = run(path, out)
    assert again.records == outcome.records
    assert (heard.finished_before, again.ran, heard.stages) == (3, 0, [])

    sweep = yaml.safe_load(path.read_text())
    sweep["configurations"].append({"name": "elementwise", "fusion": "elementwise"})
    path.write_text(yaml.safe_dump(sweep))
    more, heard = run(path, out)
    assert (heard.total, more.ran) == (4, 1)
    added = next(record for record in more.records if record.key.configuration == "elementwise")
    with Store(out / FILE_NAME) as store:
        together = store.samples(str(added.session))
    assert set(together) == {record.fingerprint for record in more.records}
    assert [r for r in more.records if r is not added] == list(outcome.records)


@pytest.mark.slow
def test_finished_cells_are_measured_again_as_they_were_built(tmp_path: Path) -> None:
    path, out = write_sweep(tmp_path), tmp_path / "out"
    first, before = run(path, out)
    libraries = {each: each.stat().st_mtime_ns for each in out.glob("artifacts/*/model.so")}
    again, heard = run(path, out, measure_again=True)
    assert (heard.finished_before, again.ran) == (0, 3)
    assert [record.status for record in again.records] == ["ok"] * 3, again.failed
    assert {record.session for record in again.records}.isdisjoint(
        record.session for record in first.records
    )
    assert len(libraries) == 2
    assert libraries == {each: each.stat().st_mtime_ns for each in libraries}
    stages = [{stage for _, stage in each.stages} for each in (before, heard)]
    assert ["build" in each for each in stages] == [True, False]


@pytest.mark.slow
def test_compressed_cells_are_verified_against_their_own_network(tmp_path: Path) -> None:
    sparse = {"name": "sparse", "edges": {"score": "random", "sparsity": [0.5, 0.75]}}
    path = write_sweep(tmp_path, configurations=[FUSED, sparse], baselines=[])
    outcome, _ = run(path, out := tmp_path / "out")
    assert [record.status for record in outcome.records] == ["ok"] * 3, outcome.failed
    dense, *compressed = outcome.records
    assert dense.edges is None
    assert [record.key.configuration for record in compressed] == ["sparse@0.5", "sparse@0.75"]
    for record, sparsity in zip(compressed, (0.5, 0.75), strict=True):
        assert record.edges is not None and record.edges.sparsity == sparsity
        assert 0 < record.edges.sparsity_measured <= sparsity
        assert record.verification is not None
        assert record.verification.reference.startswith("the compressed network")
        assert record.verification.max_error_of_scale <= 1e-4
        assert record.memory is not None and dense.memory is not None
    with Store(out / FILE_NAME) as store:
        table = pd.read_csv(write_exports(store, out)[0])
    assert list(table["sparsity"].dropna()) == [0.5, 0.75]
    assert set(table["score"].dropna()) == {"random"}


@pytest.mark.slow
def test_quantized_cells_of_two_batches_agree_and_are_written_as_onnx(tmp_path: Path) -> None:
    """Each batch is calibrated on samples of its own shape."""
    if products_of(target_of(load_target("x86-host").tvm.as_tvm())) is None:
        pytest.skip("this processor has no instruction for products of bytes")
    path = write_sweep(
        tmp_path,
        network=convolutional(batch="n"),
        training=drawn(24, 3, 8, 8),
        configurations=[{"name": "int8", "quantize": {"calibration": 8}}],
        baselines=["reference", "onnxruntime-int8"],
        batch=[1, 4],
    )
    out = tmp_path / "out"
    outcome, _ = run(path, out)
    assert [record.status for record in outcome.records] == ["ok"] * 6, outcome.failed
    named = [(one.key.configuration, one.key.engine) for one in outcome.records]
    assert sorted(named) == sorted(
        [("int8", "tvm"), ("baseline", "onnxruntime"), ("int8", "onnxruntime")] * 2
    )
    for record in outcome.records:
        if record.key.configuration == "int8":
            # ONNX Runtime runs the same network, and is held against it.
            assert record.verification is not None and record.verification.reference == PLAIN
            assert record.quantize is not None and record.quantize.layers_quantized == 2
        if record.artifact is not None:
            assert record.quantize is not None
            assert record.quantize.output_change < 0.1
            network = reference_of(tmp_path / "out" / record.artifact) / NETWORK
            session = onnxruntime.InferenceSession(network)
            assert session.get_inputs()[0].shape[0] == record.key.settings.batch
    for group in load(out).groups:
        labels = [cell.label for cell in group.cells]
        assert labels == ["int8", "ONNX Runtime", "ONNX Runtime int8"]
        assert group.reference is not None and group.reference.label == "ONNX Runtime"
    assert len(quantized_layer_table(load(out)).rows) == 2 * 2


@pytest.mark.slow
def test_edges_that_are_dropped_are_left_out_beside_8_bits(tmp_path: Path) -> None:
    if products_of(target_of(load_target("x86-host").tvm.as_tvm())) is None:
        pytest.skip("this processor has no instruction for products of bytes")
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("MatMul", ["q", "b"], ["y"]),
    ]
    constants = {"a": weights(64, 64), "b": weights(64, 32, seed=1)}
    edges = {"pattern": "quad-block", "score": "second-order", "sparsity": 0.75, "calibration": 8}
    path = write_sweep(
        tmp_path,
        network=onnx_model(nodes, [("x", FLOAT, [1, 16, 64])], ["y"], constants),
        training=drawn(16, 16, 64),
        configurations=[{"name": "both", "edges": edges, "quantize": {"calibration": 8}}],
        baselines=[],
    )
    outcome, _ = run(path, tmp_path / "out")
    (record,) = outcome.records
    assert record.status == "ok", record.reason
    assert record.edges is not None and record.edges.sparsity_measured == 0.75
    assert record.quantize is not None and record.quantize.layers_quantized == 2
    assert sum(kernel.calls for kernel in record.kernels if "sparse" in kernel.name) == 2


@pytest.mark.slow
def test_layers_go_back_to_floats_for_the_change_that_is_asked_for(tmp_path: Path) -> None:
    if products_of(target_of(load_target("x86-host").tvm.as_tvm())) is None:
        pytest.skip("this processor has no instruction for products of bytes")
    constants = {name: weights(32, 32, seed=at) for at, name in enumerate("abcd")}
    names = ["x", "p", "q", "r", "y"]
    nodes = [
        helper.make_node("MatMul", [names[at], matrix], [names[at + 1]])
        for at, matrix in enumerate(constants)
    ]
    most = 0.014  # all four layers change the outputs by 0.016, with weights of 7 bits by 0.023
    int8 = {"name": "int8", "quantize": {"calibration": 8, "max_change": most}}
    path = write_sweep(
        tmp_path,
        network=onnx_model(nodes, [("x", FLOAT, [1, 8, 32])], ["y"], constants),
        training=drawn(16, 8, 32),
        configurations=[int8],
        baselines=[],
    )
    outcome, _ = run(path, tmp_path / "out")
    (record,) = outcome.records
    assert record.status == "ok" and record.quantize is not None, record.reason
    some = record.quantize
    assert some.output_change <= 1.01 * most and 0 < some.layers_quantized < 4
    why = next(each.floats_because for each in some.layers if each.floats_because)
    assert "changes the outputs by" in why and "saves" in why


@pytest.mark.slow
def test_network_is_fine_tuned_on_its_training_inputs(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")
    edges = {"sparsity": 0.5, "reconstruct": True, "calibration": 8, "finetune": {"epochs": 3}}
    path = write_sweep(
        tmp_path,
        ("net",),
        training=drawn(40, 3, 8, 8),
        configurations=[{"name": "fitted", "edges": edges}],
        baselines=[],
    )
    outcome, heard = run(path, tmp_path / "out")
    (record,) = outcome.records
    assert record.status == "ok", record.reason
    assert record.edges is not None and record.edges.sparsity_measured > 0.3
    assert (record.edges.finetuned_epochs, record.edges.finetuned_samples) == (3, 40)
    assert record.verification is not None and record.verification.max_error_of_scale <= 1e-4
    assert ("net · fitted", "fine-tune") in heard.stages


@pytest.mark.slow
def test_merged_cell_without_channels_is_verified_against_its_own_network(tmp_path: Path) -> None:
    edges = {"pattern": "channel", "sparsity": 0.5, "merge": True}
    path = write_sweep(tmp_path, configurations=[{"name": "thin", "edges": edges}], baselines=[])
    outcome, heard = run(path, tmp_path / "out")
    (record,) = outcome.records
    assert record.status == "ok" and record.edges is not None and record.verification is not None
    assert record.edges.pattern == "channel" and record.edges.sparsity_measured == 0.5
    assert record.verification.max_error_of_scale <= 1e-4
    assert "merge" in [stage for _, stage in heard.stages]


@pytest.mark.slow
def test_score_that_needs_data_fails_its_cell_where_there_is_none(tmp_path: Path) -> None:
    edges = {"score": "activation", "sparsity": 0.5}
    path = write_sweep(tmp_path, configurations=[{"name": "sparse", "edges": edges}], baselines=[])
    outcome, _ = run(path, tmp_path / "out")
    (failed,) = outcome.failed
    assert failed.key.configuration == "sparse" and failed.stage == "compress"
    assert "needs inputs to calibrate on and the model has no data" in str(failed.reason)


@pytest.mark.slow
def test_tuning_is_kept_and_not_repeated(tmp_path: Path) -> None:
    tuned = {**FUSED, "name": "tuned", "tune": {"trials": 16}}
    path = write_sweep(tmp_path, configurations=[tuned], baselines=[])
    outcome, heard = run(path, tmp_path / "out")
    record = outcome.records[0]
    assert record.status == "ok", record.reason
    assert record.tuning is not None and record.tuning.trials == 16
    assert heard.trials and record.tuning.curve[-1].trials == record.tuning.trials
    assert len(list((tmp_path / "tuning").iterdir())) == 1

    outcome, heard = run(path, tmp_path / "out-2")
    again = outcome.records[0].tuning
    assert again is not None
    assert (again.trials, again.stopped_by, heard.trials) == (0, "nothing to tune", [])
    assert 1 <= again.tasks_reused <= record.tuning.tasks


@pytest.mark.slow
def test_labelled_data_gives_accuracy_with_its_interval(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).standard_normal((40, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", inputs=inputs, labels=np.zeros(40, np.int64))
    model = {"name": "net", "path": "./good.onnx", "data": "./data.npz", "metric": "top1"}
    path = write_sweep(tmp_path, configurations=[FUSED])
    sweep = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**sweep, "models": [model]}))
    outcome, _ = run(path, tmp_path / "out")
    ours, baseline = (record.accuracy for record in outcome.records)
    assert ours is not None and ours == baseline
    assert ours.samples == 40 and ours.ci_low <= ours.value <= ours.ci_high


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "label", "said"),
    [
        ("top1", 4, "data.npz: row 5 of 'labels' is 4: the model has 4 classes, 0 to 3"),
        ("own_metrics:shar", 0, "no function 'shar' in own_metrics; did you mean 'share'?"),
    ],
)
def test_data_that_cannot_be_scored_fail_before_anything_is_built(
    tmp_path: Path, metric: str, label: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HELPERS), prepend=":")
    images = np.zeros((6, 3, 8, 8), np.float32)
    images[1] = np.nan
    np.savez(tmp_path / "data.npz", inputs=images, labels=[0, 0, 0, 0, 0, label])
    path = save(convolutional(), tmp_path / "net.onnx")
    model = {"name": "net", "path": str(path), "data": str(tmp_path / "data.npz"), "metric": metric}
    file = write_sweep(tmp_path, ())
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "models": [model]}))
    outcome, heard = run(file, tmp_path / "out")
    assert [record.status for record in outcome.records] == ["failed"] * 3
    assert all(said in (record.reason or "") for record in outcome.records)
    assert {stage for _, stage in heard.stages} == {"import"}
    assert not list(tmp_path.glob("out/artifacts/*"))
    if metric != "top1":
        assert "input 'x' is not finite (NaN or infinite) in 1 of 6 rows" in heard.notes[0]


@pytest.mark.slow
def test_dynamic_shapes_are_fixed_by_the_sweep(tmp_path: Path) -> None:
    save(convolutional(batch="N", side="S"), tmp_path / "dynamic.onnx")
    model = {"name": "net", "path": "./dynamic.onnx", "shapes": {"x": [1, 3, 8, 8]}}
    path = write_sweep(tmp_path, configurations=[FUSED])
    sweep = yaml.safe_load(path.read_text())
    path.write_text(
        yaml.safe_dump({**sweep, "models": [model, {**model, "shapes": {}, "name": "n"}]})
    )
    outcome, _ = run(path, tmp_path / "out")
    assert [record.status for record in outcome.records] == ["ok", "ok", "failed", "failed"]
    assert "--shape" in str(outcome.records[2].reason)


def test_target_the_host_lacks_is_refused_before_anything_is_compiled(tmp_path: Path) -> None:
    host = load_target("x86-host")
    cores = host.tvm.model_copy(update={"num_cores": 999})
    (tmp_path / "big.yaml").write_text(
        as_yaml(host.model_copy(update={"name": "big", "tvm": cores}))
    )
    path = write_sweep(tmp_path, targets=[str(tmp_path / "big.yaml")])
    outcome, heard = run(path, tmp_path / "out")
    assert {record.status for record in outcome.records} == {"failed"}
    assert "999 cores" in str(outcome.records[0].reason)
    assert heard.stages == []


@pytest.mark.slow
def test_baseline_that_does_not_run_the_format_is_skipped(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, configurations=[FUSED], baselines=["onnxruntime", "litert"])
    outcome, _ = run(path, tmp_path / "out")
    litert = outcome.records[-1]
    assert litert.status == "skipped" and "does not run onnx models" in str(litert.reason)
    assert not outcome.failed


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"models": ["fashion-resnet"]}, "did you mean 'fashion-resnet8'"),
        ({"models": ["./missing.onnx"]}, "missing.onnx"),
        ({"targets": ["x86-hots"]}, "did you mean 'x86-host'"),
        ({"baselines": ["onnxruntme"]}, "did you mean 'onnxruntime'"),
        ({"configurations": []}, "at least 1"),
        ({"measure": {"repeat": 3}}, "did you mean 'repeats'"),
    ],
)
def test_wrong_sweep_is_refused_in_one_line(
    tmp_path: Path, keys: dict[str, object], message: str
) -> None:
    path = write_sweep(tmp_path)
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}))
    with pytest.raises(InputError, match=message) as found:
        run(path, tmp_path / "out")
    assert "\n" not in str(found.value)


class Replacing(Heard):
    """A listener that replaces a model's file as soon as the sweep is planned."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def planned(self, total: int, finished: int) -> None:
        super().planned(total, finished)
        model = convolutional()
        model.producer_name = "another"
        save(model, self._path)


@pytest.mark.slow
def test_file_that_is_replaced_during_a_run_gets_no_figures(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, configurations=[FUSED], baselines=[])
    sweep, out = Sweep.read(path), tmp_path / "out"
    outcome = run_sweep(sweep, out, tmp_path / "tuning", Replacing(tmp_path / "good.onnx"))
    (record,) = outcome.records
    assert (record.status, record.stage) == ("failed", "import")
    assert record.reason == (
        f"{tmp_path / 'good.onnx'}: was changed while the sweep ran; run it again"
    )


@pytest.mark.slow
def test_sweep_says_what_else_its_folder_holds_and_runs_what_can_be_read(tmp_path: Path) -> None:
    path, out = write_sweep(tmp_path, configurations=[FUSED], baselines=[]), tmp_path / "out"
    (tmp_path / "bad.onnx").write_text("no model")
    sweep = yaml.safe_load(path.read_text())
    sweep["models"].insert(0, "./bad.onnx")
    path.write_text(yaml.safe_dump(sweep))
    outcome, heard = run(path, out)
    bad, good = outcome.records
    assert (bad.status, good.status) == ("failed", "ok")
    assert str(bad.reason).startswith(f"{tmp_path / 'bad.onnx'}: ") and not heard.notes
    (tmp_path / "bad.onnx").write_bytes((tmp_path / "good.onnx").read_bytes())
    outcome, heard = run(path, out)
    assert [record.status for record in outcome.records] == ["ok", "ok"] and outcome.ran == 1
    assert [f"{out} also holds the results of 1 cells" in note for note in heard.notes] == [True]


@pytest.mark.slow
def test_cell_that_was_skipped_runs_once_its_engine_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = write_sweep(tmp_path, configurations=[FUSED]), tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr("harness.run.applicability.find_spec", lambda package: None)
        first, _ = run(path, out)
        again, _ = run(path, out)
    assert [record.status for record in first.records] == ["ok", "skipped"]
    assert "onnxruntime is not installed" in str(first.records[1].reason) and again.ran == 0
    after, _ = run(path, out)
    assert [record.status for record in after.records] == ["ok", "ok"] and after.ran == 1
