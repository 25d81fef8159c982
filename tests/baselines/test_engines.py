"""Every engine runs the same small networks, and agrees with another one."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import small_models
from onnx import helper

from harness.baselines.base import Session, checked
from harness.baselines.registry import ENGINES, open_session
from harness.errors import InputError
from harness.models.formats import SUFFIXES
from harness.models.tensors import TensorSpec

BUILDERS: dict[str, Callable[[Path], Path]] = {
    ".onnx": lambda path: small_models.save(small_models.convolutional(), path),
    ".tflite": small_models.save_tflite,
    ".pt2": small_models.save_torch,
}
PAIRS = [
    (engine, suffix)
    for engine, about in ENGINES.items()
    for suffix, format in SUFFIXES.items()
    if format in about.formats
]


@pytest.fixture(params=PAIRS, ids=lambda pair: "-".join(pair))
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Session:
    engine, suffix = request.param
    pytest.importorskip(ENGINES[engine].package, reason=f"needs {ENGINES[engine].install}")
    if suffix == ".tflite":
        pytest.importorskip("ai_edge_litert", reason="its schema builds the model")
    return open_session(engine, BUILDERS[suffix](tmp_path / f"model{suffix}"), threads=2)


@pytest.mark.slow
def test_run_gives_arrays_of_its_own_when_run_twice(opened: Session) -> None:
    feeds = small_models.feeds(opened.inputs)
    first = opened.run(feeds)
    kept = [output.copy() for output in first]
    others = {name: value + 1 for name, value in feeds.items()}
    assert not np.array_equal(opened.run(others)[0], first[0])
    for output, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(output, copy)


def test_bound_inference_needs_nothing_more_when_called_again(opened: Session) -> None:
    infer = opened.bind(small_models.feeds(opened.inputs))
    gc.collect()
    for _ in range(3):
        infer()


def test_bound_inference_keeps_its_inputs_when_the_caller_overwrites_them(tmp_path: Path) -> None:
    model = small_models.onnx_model(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        [("x", small_models.INT64, [2])],
        ["y"],
        {"table": small_models.weights(4, 3)},
    )
    session = open_session("onnxruntime", small_models.save(model, tmp_path / "m.onnx"), 1)
    feeds = {"x": np.array([0, 3])}
    infer = session.bind(feeds)
    feeds["x"][:] = 99
    # ONNX Runtime refuses an index beyond the table, so this passes only on the inputs of before.
    infer()
    with pytest.raises(Exception, match=r"out of (data )?bounds"):
        session.run(feeds)


def test_checked_inputs_are_copies_in_the_order_of_the_model() -> None:
    specs = [TensorSpec("b", (2,), "float32"), TensorSpec("a", (2, 3), "int64")]
    feeds = {"a": np.ones((3, 2), np.int64).T, "b": np.ones(2, np.float32)}
    b, a = checked(specs, feeds)
    assert not np.shares_memory(b, feeds["b"])
    assert not np.shares_memory(a, feeds["a"])
    assert a.flags.c_contiguous


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda feeds: feeds.pop("x"), "input 'x' is missing"),
        (lambda feeds: feeds.update(xx=feeds["x"]), "no input 'xx'; did you mean 'x'"),
        (lambda feeds: feeds.update(x=feeds["x"][..., :1]), "input 'x': expected float32"),
        (lambda feeds: feeds.update(x=feeds["x"].astype(np.float64)), "found float64"),
    ],
    ids=["missing", "unknown", "shape", "dtype"],
)
def test_run_and_bind_say_what_is_wrong_when_an_input_does_not_fit(
    opened: Session, change: Callable[[dict[str, np.ndarray]], object], expected: str
) -> None:
    feeds = small_models.feeds(opened.inputs)
    change(feeds)
    for use in (opened.run, opened.bind):
        with pytest.raises(InputError) as error:
            use(feeds)
        assert expected in str(error.value)


@pytest.mark.parametrize(("suffix", "reference"), [(".onnx", "onnxruntime"), (".tflite", "litert")])
def test_openvino_computes_what_the_reference_does(
    tmp_path: Path, suffix: str, reference: str
) -> None:
    pytest.importorskip("openvino", reason=f"needs {ENGINES['openvino'].install}")
    if suffix == ".tflite":
        pytest.importorskip("ai_edge_litert", reason=f"needs {ENGINES['litert'].install}")
    path = BUILDERS[suffix](tmp_path / f"model{suffix}")
    ours, theirs = (open_session(engine, path, 1) for engine in ("openvino", reference))
    assert ours.inputs == theirs.inputs
    feeds = small_models.feeds(ours.inputs)
    # 16-bit floats would miss this by a factor of a hundred.
    np.testing.assert_allclose(ours.run(feeds)[0], theirs.run(feeds)[0], rtol=1e-5, atol=1e-6)


def test_onnxruntime_computes_convolution_as_numpy_does(tmp_path: Path) -> None:
    model = small_models.convolutional()
    session = open_session("onnxruntime", small_models.save(model, tmp_path / "m.onnx"), 1)
    weights = {t.name: small_models.numpy_helper.to_array(t) for t in model.graph.initializer}
    feeds = small_models.feeds(session.inputs)
    padded = np.pad(feeds["x"], ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    hidden = np.einsum("nchwij,ocij->nohw", windows, weights["w"]) + weights["b"][:, None, None]
    scores = hidden.clip(0, 6).mean((2, 3)) @ weights["v"] + weights["d"]
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(session.run(feeds)[0], expected, rtol=1e-5)


def test_onnxruntime_asks_for_static_shapes_when_the_file_has_none(tmp_path: Path) -> None:
    path = small_models.save(small_models.convolutional("N"), tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"\['N', 3, 8, 8\], expected a model with static shapes"):
        open_session("onnxruntime", path, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "suffix"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_engine_loads_no_compiler_when_opened(tmp_path: Path, engine: str, suffix: str) -> None:
    """Its process is measured: what it holds must be the engine, not TVM."""
    pytest.importorskip(ENGINES[engine].package, reason=f"needs {ENGINES[engine].install}")
    if suffix == ".tflite":
        pytest.importorskip("ai_edge_litert", reason="its schema builds the model")
    path = BUILDERS[suffix](tmp_path / f"model{suffix}")
    code = (
        "import sys, pathlib; from harness.baselines.registry import open_session;"
        f"open_session({engine!r}, pathlib.Path({str(path)!r}), 1);"
        "print([m for m in ('tvm', 'pandas', 'matplotlib', 'onnx') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_pytorch_takes_and_gives_bfloat16(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")

    class Doubled(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: object) -> object:
            return x + x  # type: ignore[operator]

    given = torch.ones((2, 3), dtype=torch.bfloat16)
    torch.export.save(torch.export.export(Doubled(), (given,)), tmp_path / "doubled.pt2")
    session = open_session("torch", tmp_path / "doubled.pt2", threads=1)
    (spec,) = session.inputs
    (found,) = session.run({spec.name: np.full((2, 3), 1.5).astype(ml_dtypes.bfloat16)})
    assert found.dtype == ml_dtypes.bfloat16 and (found == 3).all()
