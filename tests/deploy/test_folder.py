"""Exported folders, run for real: by this interpreter, and in a fresh virtual environment."""

from __future__ import annotations

import ast
import json
import os
import shutil
import stat
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from example_results import example_record
from onnx import helper
from small_models import FLOAT, INT64, convolutional, feeds, onnx_model, save

from harness.deploy.folder import export
from harness.deploy.runner import Model
from harness.errors import InputError
from harness.hardware import HOST, load_target
from harness.machine.environment import environment
from harness.records.artifact import Artifact
from harness.records.record import CellKey, Record
from harness.run.cell import Order, compile_cell
from harness.specs.sweep import Configuration

FILES = [
    "LICENCE.txt",
    "README.md",
    "example.cpp",
    "layeredge.h",
    "metadata.json",
    "model.so",
    "requirements.txt",
    "run.py",
    "threads.so",
]


def compiled(results: Path, network: onnx.ModelProto) -> Record:
    """Compile a network into a results folder, beside its file; the record of its cell."""
    spec, configuration = load_target(HOST), Configuration(name="fused", fusion="full")
    order = Order(
        model=save(network, results / "small.onnx"),
        shapes={},
        work=results,
        target=spec,
        configuration=configuration,
        seed=0,
        tuning_database=results / "tuning",
        artifact=results / "artifacts" / "0123456789abcdef",
    )
    compile_cell(order, lambda _: None)
    return example_record(
        CellKey(model="small", target=HOST, configuration="fused", engine="tvm"),
        artifact="artifacts/0123456789abcdef",
        environment=environment(),
        spec={
            "model": {"name": "small", "fingerprint": "f00d", "format": "onnx", "licence": None},
            "target": spec.model_dump(mode="json", by_alias=True),
            "configuration": configuration.model_dump(mode="json"),
            "threads": spec.tvm.num_cores,
        },
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """A results folder with one compiled network (`x` 1×3×8×8 to `y` 1×4), and its record."""
    results = tmp_path_factory.mktemp("results")
    return results, compiled(results, convolutional())


@pytest.fixture
def inputs(tmp_path: Path, built: tuple[Path, Record]) -> Path:
    """An .npz of the network's inputs."""
    path = tmp_path / "inputs.npz"
    np.savez(path, **feeds(Artifact.read(built[0] / str(built[1].artifact)).inputs))
    return path


def run(python: Path | str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an exported folder's runner in its parent, isolated from this checkout."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(python), "-I", str(folder / "run.py"), *arguments],
        cwd=folder.parent, env=inherited, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def assert_as_onnx_runtime(results: Path, inputs: Path, outputs: Path) -> None:
    with np.load(inputs) as given, np.load(outputs) as found:
        session = onnxruntime.InferenceSession(
            str(results / "small.onnx"), providers=["CPUExecutionProvider"]
        )
        (expected,) = session.run(["y"], dict(given))
        assert list(found) == ["y"]
        np.testing.assert_allclose(found["y"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_export_holds_library_metadata_and_licences_when_cell_is_compiled(
    built: tuple[Path, Record], tmp_path: Path
) -> None:
    results, record = built
    out = export(results, record, tmp_path / "new" / "deploy")
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert [path.name for path in out.parent.iterdir()] == ["deploy"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o755
    library = results / str(record.artifact) / "model.so"
    assert (out / "model.so").read_bytes() == library.read_bytes()
    about = json.loads((out / "metadata.json").read_text())
    assert about["inputs"] == [{"name": "x", "shape": [1, 3, 8, 8], "dtype": "float32"}]
    assert about["outputs"] == [{"name": "y", "shape": [1, 4], "dtype": "float32"}]
    assert record.latency is not None and record.accuracy is not None
    assert about["latency"] == record.latency.model_dump(mode="json")
    assert about["accuracy"]["samples"] == record.accuracy.samples
    assert about["configuration"]["fusion"] == "full"
    assert about["model"]["fingerprint"] == "f00d"
    assert about["threads"] == load_target(HOST).tvm.num_cores
    assert (out / "requirements.txt").read_text() == "numpy>=1.26\n"
    licence = (out / "LICENCE.txt").read_text()
    assert "unknown: you supplied this model" in licence
    assert "Apache TVM is licensed under the Apache License" in licence


def test_licence_of_the_model_is_named_when_it_is_known(
    built: tuple[Path, Record], tmp_path: Path
) -> None:
    results, record = built
    model = record.spec["model"] | {"licence": "MIT, by the authors"}
    record = record.model_copy(update={"spec": record.spec | {"model": model}})
    out = export(results, record, tmp_path / "deploy")
    assert "Licence of the model: MIT, by the authors" in (out / "LICENCE.txt").read_text()


def test_runner_imports_tvm_and_numpy_alone_when_standard_library_is_left_out(
    built: tuple[Path, Record], tmp_path: Path
) -> None:
    out = export(*built, tmp_path / "deploy")
    found = set()
    for node in ast.walk(ast.parse((out / "run.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    assert found - sys.stdlib_module_names == {"numpy", "tvm", "tvm_ffi"}


@pytest.mark.slow
def test_runner_gives_the_reference_outputs_when_inputs_are_given(
    built: tuple[Path, Record], inputs: Path, tmp_path: Path
) -> None:
    out = export(*built, tmp_path / "deploy")
    done = run(sys.executable, out, str(inputs), "found.npz")
    assert done.returncode == 0, done.stderr
    shape, median = done.stdout.splitlines()
    assert shape == "y: float32 (1, 4)"
    label, milliseconds, unit = median.rsplit(" ", 2)
    assert (label, unit) == ("median latency:", "ms") and float(milliseconds) > 0
    assert_as_onnx_runtime(built[0], inputs, tmp_path / "found.npz")


@pytest.mark.slow
def test_runner_takes_several_inputs_one_after_the_other(
    built: tuple[Path, Record], inputs: Path, tmp_path: Path
) -> None:
    out = export(*built, tmp_path / "deploy")
    with np.load(inputs) as one:
        np.savez(tmp_path / "three.npz", x=np.stack([one["x"], -one["x"], 2 * one["x"]]))
    done = run(sys.executable, out, "three.npz", "found.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "three.npz") as given, np.load(tmp_path / "found.npz") as found:
        assert found["y"].shape == (3, 1, 4)
        for each, outputs in zip(given["x"], found["y"], strict=True):
            np.savez(tmp_path / "one.npz", x=each)
            np.savez(tmp_path / "y.npz", y=outputs)
            assert_as_onnx_runtime(built[0], tmp_path / "one.npz", tmp_path / "y.npz")


@pytest.mark.slow
def test_runner_names_every_output_when_there_are_several(tmp_path: Path) -> None:
    network = onnx_model(
        [
            helper.make_node("Gather", ["table", "index"], ["row"]),
            helper.make_node("Mul", ["row", "scale"], ["scaled"]),
        ],
        [("index", INT64, [2]), ("scale", FLOAT, [2, 3])],
        ["scaled", "row"],
        {"table": np.arange(12, dtype=np.float32).reshape(4, 3)},
    )
    out = export(tmp_path, compiled(tmp_path, network), tmp_path / "deploy")
    scale = np.full((2, 3), 2, np.float32)
    np.savez(tmp_path / "inputs.npz", scale=scale, index=np.array([3, 1]))
    done = run(sys.executable, out, "inputs.npz")
    assert done.stdout.splitlines()[:-1] == ["scaled: float32 (2, 3)", "row: float32 (2, 3)"]
    with np.load(tmp_path / "outputs.npz") as found:
        np.testing.assert_array_equal(found["row"], [[9, 10, 11], [3, 4, 5]])
        np.testing.assert_array_equal(found["scaled"], 2 * found["row"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"x": np.zeros((1, 3, 8, 9), np.float32)}, "found float32 [1, 3, 8, 9]"),
        ({"x": np.zeros((1, 3, 8, 8))}, "found float64 [1, 3, 8, 8]"),
        ({"x": np.zeros((0, 1, 3, 8, 8), np.float32)}, "found float32 [0, 1, 3, 8, 8]"),
        ({"x": np.zeros((2, 2, 1, 3, 8, 8), np.float32)}, "found float32 [2, 2, 1, 3, 8, 8]"),
        ({"other": np.zeros(1)}, "found other"),
    ],
)
def test_runner_refuses_in_one_line_when_inputs_do_not_fit(
    built: tuple[Path, Record], tmp_path: Path, arrays: dict[str, np.ndarray], found: str
) -> None:
    out = export(*built, tmp_path / "deploy")
    np.savez(tmp_path / "wrong.npz", **arrays)
    done = run(sys.executable, out, "wrong.npz")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "'x'" in line and line.endswith(found)


@pytest.mark.slow
@pytest.mark.network
def test_export_runs_with_numpy_alone_when_environment_is_clean(
    built: tuple[Path, Record], inputs: Path, tmp_path: Path
) -> None:
    out = export(*built, tmp_path / "deploy")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"

    def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python), "-m", "pip", "--disable-pip-version-check", *arguments],
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    # A small package tells an index that cannot be reached from requirements that are wrong.
    probe = pip("download", "--retries=1", "--no-deps", "typing_extensions", "-d", str(tmp_path))
    if probe.returncode:
        pytest.skip(f"no package index can be reached: {probe.stderr.splitlines()[-1]}")
    installed = pip("install", "--quiet", "-r", str(out / "requirements.txt"))
    assert installed.returncode == 0, installed.stderr
    assert run(python, out, str(inputs)).returncode == 0
    assert_as_onnx_runtime(built[0], inputs, tmp_path / "outputs.npz")
    done = run(python, out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("y: float32 (1, 4)\nmedian latency: ")
    for absent in ("harness", "tvm"):
        found = subprocess.run([str(python), "-I", "-c", f"import {absent}"], capture_output=True)
        assert found.returncode == 1


@pytest.mark.slow
def test_export_needs_tvm_where_the_network_is_more_than_kernels(
    built: tuple[Path, Record], inputs: Path, tmp_path: Path
) -> None:
    """As one is whose artifact does not say in which order its kernels are called."""
    results, record = tmp_path / "results", built[1]
    shutil.copytree(built[0], results)
    (path,) = results.glob("artifacts/*/artifact.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "sequence": []}))
    out = export(results, record, tmp_path / "deploy")
    assert sorted(each.name for each in out.iterdir()) == sorted(
        {*FILES} - {"example.cpp", "layeredge.h"}
    )
    versions = record.environment["versions"]
    assert (out / "requirements.txt").read_text().splitlines() == [
        f"apache-tvm=={versions['apache-tvm']}",
        f"apache-tvm-ffi=={versions['apache-tvm-ffi']}",
        "numpy>=1.26",
    ]
    assert "requirements.txt installs" in (out / "LICENCE.txt").read_text()
    done = run(sys.executable, out, str(inputs), "found.npz")
    assert done.returncode == 0, done.stderr
    assert_as_onnx_runtime(results, inputs, tmp_path / "found.npz")


def compile_program(folder: Path, source: Path, program: Path) -> None:
    command = ["g++", "-O1", "-Wall", "-Wextra", "-Werror", "-std=c++17", f"-I{folder}"]
    libraries = [f"-L{folder}", "-l:model.so", "-l:threads.so", f"-Wl,-rpath,{folder}"]
    subprocess.run([*command, str(source), *libraries, "-o", str(program)], check=True)


@pytest.mark.slow
def test_example_in_cpp_gives_what_python_does(built: tuple[Path, Record], tmp_path: Path) -> None:
    out = export(*built, tmp_path / "deploy")
    compile_program(out, out / "example.cpp", tmp_path / "example")
    done = subprocess.run([str(tmp_path / "example")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    name, *values = done.stdout.split()
    model = Model(out)
    expected = model(np.ones((1, 3, 8, 8), np.float32)).ravel()
    assert name == "y:" and np.array(values, np.float32).tolist() == expected.tolist()


@pytest.mark.slow
def test_scalars_and_names_of_any_kind_are_called(tmp_path: Path) -> None:
    """Names that Python or C++ would take for something else, and inputs without axes."""
    network = onnx_model(
        [
            helper.make_node("Mul", ["self", "file"], ["file\U0001f600"]),
            helper.make_node("Add", ["self", "self"], ["args"]),
        ],
        [("self", FLOAT, []), ("file", FLOAT, [])],
        ["file\U0001f600", "args"],
    )
    out = export(tmp_path, compiled(tmp_path, network), tmp_path / "deploy")
    model = Model(out)
    three, two = np.float32(3), np.float32(2)
    for found in (model(three, two), model(self=three, file=two)):
        assert {name: (each.shape, float(each)) for name, each in found.items()} == {
            "file\U0001f600": ((), 6.0),
            "args": ((), 6.0),
        }
    several = model(np.arange(3, dtype=np.float32), np.full(3, 2, np.float32))
    assert several["args"].tolist() == [0, 2, 4]
    done = run(sys.executable, out)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "outputs.npz") as written:
        assert sorted(written) == ["args", "file\U0001f600"]
    compile_program(out, out / "example.cpp", tmp_path / "example")
    said = subprocess.run([str(tmp_path / "example")], capture_output=True, text=True).stdout
    assert said == "file\U0001f600: 1\nargs: 2\n"


@pytest.mark.slow
def test_model_refuses_what_it_does_not_take(built: tuple[Path, Record], tmp_path: Path) -> None:
    model = Model(export(*built, tmp_path / "deploy"), warm_up=0)
    assert model.median_ms(3) > 0
    x = np.ones((1, 3, 8, 8), np.float32)
    with pytest.raises(ValueError, match="'bogus' is no input; expected 'x'"):
        model(x, bogus=x)
    with pytest.raises(ValueError, match="found 'x' in its place and by name"):
        model(x, x=x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bad.npz"], "bad.npz: expected arrays as np.savez or np.save write them"),
        (["good.npz", "nowhere/out.npz"], "nowhere/out.npz: cannot be written: No such file"),
    ],
)
def test_runner_says_in_one_line_what_is_wrong_with_files(
    built: tuple[Path, Record], inputs: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    out = export(*built, tmp_path / "deploy")
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4xx")
    shutil.copy(inputs, tmp_path / "good.npz")
    done = run(sys.executable, out, *arguments)
    assert done.returncode == 1 and done.stderr.startswith(said), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_model_of_the_current_folder_is_loaded(
    built: tuple[Path, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(export(*built, tmp_path / "deploy"))
    assert Model(".")(np.ones((1, 3, 8, 8), np.float32)).shape == (1, 4)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metadata.json", None, "deploy: expected an exported folder, with metadata.json in it"),
        ("metadata.json", b"{", "metadata.json: is damaged"),
        ("metadata.json", b"{}", "metadata.json: is damaged"),
        ("metadata.json", b"[]", "metadata.json: is damaged"),
        ("model.so", b"\x7fELF", "model.so: expected .* bytes, found 4; copy the folder anew"),
        ("threads.so", None, "threads.so: expected .* bytes, found 0; copy the folder anew"),
    ],
)
def test_folder_that_was_not_copied_whole_is_refused(
    built: tuple[Path, Record], tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    out = export(*built, tmp_path / "deploy")
    (out / name).unlink()
    if content is not None:
        (out / name).write_bytes(content)
    with pytest.raises(OSError, match=said):
        Model(out)
    np.savez(tmp_path / "x.npz", x=np.ones((1, 3, 8, 8), np.float32))
    done = run(sys.executable, out, "x.npz")
    assert (
        done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "x.npz" not in done.stderr
    )


MANY = """
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>
#include "layeredge.h"
// Threads with memory of their own, and tensors that are not aligned.
int main() {
  std::vector<std::thread> threads;
  for (int at = 0; at < 4; ++at)
    threads.emplace_back([at] {
      layeredge_network *network = layeredge_new();
      std::vector<char> in(192 * 4 + 4), out(4 * 4 + 4), first;
      std::vector<float> values(192, 0.25f * (at + 1));
      std::memcpy(in.data() + 4, values.data(), 192 * 4);
      const void *inputs[] = {in.data() + 4};
      void *outputs[] = {out.data() + 4};
      for (int run = 0; run < 200; ++run) {
        if (layeredge_run(network, inputs, outputs) != 0) std::abort();
        if (run == 0) first = out;
        if (out != first) std::abort();
      }
      layeredge_delete(network);
    });
  for (auto &thread : threads) thread.join();
}
"""


@pytest.mark.slow
def test_threads_run_a_network_side_by_side(built: tuple[Path, Record], tmp_path: Path) -> None:
    out = export(*built, tmp_path / "deploy")
    (tmp_path / "many.cpp").write_text(MANY)
    compile_program(out, tmp_path / "many.cpp", tmp_path / "many")
    assert subprocess.run([str(tmp_path / "many")]).returncode == 0


@pytest.mark.slow
def test_inputs_and_results_may_lie_anywhere_in_memory(
    built: tuple[Path, Record], tmp_path: Path
) -> None:
    model = Model(export(*built, tmp_path / "deploy"))
    memory = np.zeros(4 * 192 + 64, np.uint8)
    given = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    expected = model(given)
    for first in range(0, 64, 4):
        moved = memory[first : first + 4 * 192].view(np.float32).reshape(given.shape)
        moved[:] = given
        np.testing.assert_array_equal(model(moved), expected)


def test_export_is_refused_when_folder_holds_something(
    built: tuple[Path, Record], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match="expected a new or empty folder"):
        export(*built, tmp_path)
    with pytest.raises(InputError, match="expected a new or empty folder"):
        export(*built, tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_export_fills_the_folder_when_it_is_empty(
    built: tuple[Path, Record], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    export(*built, tmp_path / "empty")
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == FILES


def test_export_is_refused_when_parent_is_a_file(
    built: tuple[Path, Record], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"deploy: cannot be written: "):
        export(*built, tmp_path / "file" / "deploy")


def test_export_is_refused_when_cell_is_a_baseline(
    built: tuple[Path, Record], tmp_path: Path
) -> None:
    key = CellKey(model="small", target=HOST, configuration="baseline", engine="onnxruntime")
    record = built[1].model_copy(update={"key": key, "artifact": None})
    with pytest.raises(InputError, match="onnxruntime runs the model file itself"):
        export(built[0], record, tmp_path / "deploy")
    assert not (tmp_path / "deploy").exists()


def test_export_is_refused_when_cell_failed(built: tuple[Path, Record], tmp_path: Path) -> None:
    record = built[1].model_copy(update={"status": "failed"})
    with pytest.raises(InputError, match="this cell failed; there is nothing to export"):
        export(built[0], record, tmp_path / "deploy")


def test_export_asks_for_the_sweep_again_when_artifact_is_gone(
    built: tuple[Path, Record], tmp_path: Path
) -> None:
    copied = tmp_path / "results"
    shutil.copytree(built[0], copied)
    shutil.rmtree(copied / "artifacts")
    with pytest.raises(InputError, match="run the sweep again"):
        export(copied, built[1], tmp_path / "deploy")
    assert not (tmp_path / "deploy").exists()


def test_latency_is_left_out_when_it_is_a_count(built: tuple[Path, Record], tmp_path: Path) -> None:
    record = built[1].model_copy(update={"kind": "emulated-count"})
    out = export(built[0], record, tmp_path / "deploy")
    assert json.loads((out / "metadata.json").read_text())["latency"] is None


def test_export_is_refused_when_the_network_is_for_a_graphics_processor(
    built: tuple[Path, Record], tmp_path: Path
) -> None:
    copied = tmp_path / "results"
    shutil.copytree(built[0], copied)
    (path,) = copied.glob("artifacts/*/artifact.json")
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "target": {"kind": "cuda", "arch": "sm_90"}}))
    with pytest.raises(InputError, match="is for a graphics processor"):
        export(copied, built[1], tmp_path / "deploy")
    assert not (tmp_path / "deploy").exists()
