from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper
from small_models import FLOAT, onnx_model, save, weights

from harness.cli.inspect import command
from harness.edges.compress import compress
from harness.errors import InputError
from harness.files.cache import CACHE_VARIABLE
from harness.inspection.edges import SCORE_BINS, EdgeInspection, inspect_edges
from harness.inspection.kernels import import_named
from harness.passes.canonicalise import canonicalise
from harness.specs.edges import Edges
from harness.specs.target import Hardware, TargetSpec, TvmTarget

WIDTH = 100
TARGET = TargetSpec(
    schema=1, name="any", architecture="x86", tvm=TvmTarget(), hardware=Hardware(cores=1)
)
NOWHERE = Path("no-tuning-database")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no roofline of this machine is known."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def branched() -> onnx.ModelProto:
    """Two convolutions of `x` that are added, one of them after a ReLU; a depthwise one, a grouped
    one and a dilated transposed one after that; at last a product of the result with itself."""
    return onnx_model(
        [
            helper.make_node("Conv", ["x", "a"], ["left"]),
            helper.make_node("Conv", ["x", "b"], ["right"]),
            helper.make_node("Relu", ["right"], ["active"]),
            helper.make_node("Add", ["left", "active"], ["sum"]),
            helper.make_node("Conv", ["sum", "d"], ["deep"], group=32, pads=[1, 1, 1, 1]),
            helper.make_node("Conv", ["deep", "g"], ["grouped"], group=2),
            helper.make_node("ConvTranspose", ["grouped", "t"], ["up"], dilations=[2, 2]),
            helper.make_node("MatMul", ["up", "up"], ["y"]),
        ],
        [("x", FLOAT, [1, 16, 8, 8])],
        ["y"],
        {
            "a": weights(32, 16, 1, 1),
            "b": weights(32, 16, 1, 1, seed=1),
            "d": weights(32, 1, 3, 3),
            "g": weights(32, 16, 1, 1),
            "t": weights(32, 8, 3, 3),
        },
    )


@pytest.fixture
def branches(tmp_path: Path) -> EdgeInspection:
    return inspect_edges(str(save(branched(), tmp_path / "branched.onnx")), TARGET, {}, NOWHERE)


@pytest.mark.slow
def test_layers_are_those_that_a_sweep_compresses() -> None:
    found = inspect_edges("fashion-resnet8", TARGET, {}, NOWHERE)
    read = import_named("fashion-resnet8", {})
    canonical = canonicalise(read.module, read.layer_names)
    _, compressed = compress(canonical, Edges(sparsity=(0.5,)), found.lanes, 0)
    assert [(layer.name, layer.shape, layer.parameters, layer.flops) for layer in found.layers] == [
        (layer.name, layer.shape, layer.parameters, layer.flops) for layer in compressed.layers
    ]
    kept = {layer.name for layer in compressed.layers if layer.parameters_kept == layer.parameters}
    assert {layer.name for layer in found.layers if layer.scores is None} == kept
    assert sum(layer.flops_share for layer in found.layers) == pytest.approx(1)


def test_layers_that_keep_their_edges_have_the_reason(branches: EdgeInspection) -> None:
    assert [(layer.operator, layer.kept) for layer in branches.layers] == [
        ("conv2d", None),
        ("conv2d", None),
        ("conv2d", "depthwise"),
        ("conv2d", "2 groups"),
        ("conv2d_transpose", "transposed convolution"),
        ("matmul", "both sides are computed"),
    ]
    named = [layer.name for layer in branches.layers if layer.name]
    assert named == ["left", "right", "deep", "grouped", "up"]
    assert branches.layers[-1].parameters == 0


def test_layers_read_the_layers_before_them_through_what_is_between(
    branches: EdgeInspection,
) -> None:
    left, right, deep, *_, product = branches.layers
    assert left.reads == right.reads == () and left.reads_input and right.reads_input
    assert left.read_by == right.read_by == (3,)
    assert deep.reads == (1, 2) and not deep.reads_input
    assert product.reads == (5,) and product.read_by == ()


def test_flops_are_counted_whatever_the_operator(branches: EdgeInspection) -> None:
    places = 8 * 8
    assert [layer.flops for layer in branches.layers] == [
        2 * places * 32 * 16,
        2 * places * 32 * 16,
        2 * places * 32 * 9,
        2 * places * 32 * 16,
        2 * places * 32 * 8 * 9,
        2 * 8 * 12 * 12 * 12,
    ]


def test_scores_tell_a_layer_that_loses_little_from_one_that_loses_much(tmp_path: Path) -> None:
    even = np.ones((32, 16, 1, 1), np.float32)
    uneven = even.copy()
    uneven[:, :8] *= 0.01
    found = []
    for name, values in (("even", even), ("uneven", uneven)):
        model = onnx_model(
            [helper.make_node("Conv", ["x", "w"], ["y"])],
            [("x", FLOAT, [1, 16, 8, 8])],
            ["y"],
            {"w": values},
        )
        path = save(model, tmp_path / f"{name}.onnx")
        (layer,) = inspect_edges(str(path), TARGET, {}, NOWHERE).layers
        assert layer.scores is not None
        assert sum(layer.scores.histogram) == layer.scores.blocks
        assert len(layer.scores.histogram) == len(SCORE_BINS) + 1
        found.append(layer.scores)
    assert found[0].lowest_half == pytest.approx(0.5)
    assert found[0].lowest_80 == pytest.approx(12 / 16), "a column keeps four of sixteen blocks"
    assert found[1].lowest_half < 0.001
    assert found[1].histogram[0] == found[1].blocks / 2


def test_a_layer_whose_outputs_are_no_whole_vectors_has_no_blocks(tmp_path: Path) -> None:
    model = onnx_model(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        [("x", FLOAT, [1, 16, 8, 8])],
        ["y"],
        {"w": weights(10, 16, 1, 1)},
    )
    (layer,) = inspect_edges(str(save(model, tmp_path / "ten.onnx")), TARGET, {}, NOWHERE).layers
    assert layer.name == "y" and layer.scores is None
    assert layer.kept is not None and layer.kept.startswith("outputs: 10, no multiple of")


def test_a_convolution_in_one_dimension_has_no_blocks(tmp_path: Path) -> None:
    model = onnx_model(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        [("x", FLOAT, [1, 16, 8])],
        ["y"],
        {"w": weights(16, 16, 1)},
    )
    (layer,) = inspect_edges(str(save(model, tmp_path / "line.onnx")), TARGET, {}, NOWHERE).layers
    assert (layer.name, layer.scores) == ("y", None)
    assert layer.kept == "no sparse kernel for this operator"


def test_unknown_models_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'fashion-resnet8'"):
        inspect_edges("fashion-resnet9", TARGET, {}, NOWHERE)


@pytest.mark.slow
def test_command_shows_every_layer_in_a_hundred_columns(tmp_path: Path) -> None:
    path = str(save(branched(), tmp_path / "branched.onnx"))
    result = CliRunner(env={"COLUMNS": str(WIDTH)}).invoke(command, [path, "--edges"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "6 layers, 2 of them with blocks" in " ".join(result.output.split())
    text = " ".join(result.output.split())
    assert "depthwise" in text and "right" in text and "1, 2" in text and "█" in text
    assert "layeredge targets detect --measure" in text


@pytest.mark.slow
def test_command_lists_whole_names_where_they_do_not_fit_beside_the_figures(
    tmp_path: Path,
) -> None:
    name = "/encoder/layers.0/" + "long/" * 20 + "Conv"
    model = branched()
    model.graph.node[0].name = name
    path = str(save(model, tmp_path / "branched.onnx"))
    for columns in ("80", "300"):
        result = CliRunner(env={"COLUMNS": columns}).invoke(command, [path, "--edges"])
        assert result.exit_code == 0 and name in result.output and "…" not in result.output


@pytest.mark.slow
def test_command_prints_the_layers_as_json(tmp_path: Path) -> None:
    path = str(save(branched(), tmp_path / "branched.onnx"))
    result = CliRunner().invoke(command, [path, "--edges", "--target", "znver4", "--json"])
    assert result.exit_code == 0, result.output
    found = EdgeInspection.model_validate_json(result.stdout)
    assert found.target == "znver4" and len(found.layers) == 6


def test_command_help_says_what_edges_shows() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    assert "layeredge inspect fashion-resnet8 --edges" in text
    assert "exclude" in text
