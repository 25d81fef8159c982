"""What a sweep file may say, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.errors import InputError
from harness.files.shipped import shipped_folder
from harness.specs.edges import Edges
from harness.specs.sweep import Configuration, ModelSpec, Sweep, parse_shapes
from harness.specs.target import TvmTarget


@pytest.mark.parametrize(
    "path", sorted(shipped_folder("examples").glob("*.yaml")), ids=lambda p: p.stem
)
def test_shipped_example_is_a_sweep(path: Path) -> None:
    assert Sweep.read(path).configurations


@pytest.mark.parametrize(
    ("text", "name", "is_file"),
    [
        ("fashion-resnet8", "fashion-resnet8", False),
        ("./nets/my net.onnx", "my-net", True),
        ("net.tflite", "net", True),
    ],
)
def test_model_given_as_text_is_a_name_or_a_path(text: str, name: str, is_file: bool) -> None:
    model = ModelSpec.model_validate(text)
    assert (model.name, model.path is not None) == (name, is_file)


def test_paths_are_relative_to_the_sweep_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "schema: 1\nmodels: [./a/net.onnx]\nconfigurations: [{name: fused}]\n"
        "targets: [haswell, ./b/board.yaml]\n"
    )
    sweep = Sweep.read(path)
    assert sweep.models[0].path == tmp_path / "a" / "net.onnx"
    assert sweep.targets == ("haswell", str(tmp_path / "b" / "board.yaml"))


def test_shapes_from_the_command_line_reach_models_that_are_files() -> None:
    sweep = Sweep.model_validate(
        {"schema": 1, "models": ["a.onnx", "magika"], "configurations": [{"name": "fused"}]}
    ).with_shapes(parse_shapes(["x=1,3,8,8", "odd=name=2"]))
    assert sweep.models[0].shapes == {"x": (1, 3, 8, 8), "odd=name": (2,)}
    assert sweep.models[1].shapes == {}


@pytest.mark.parametrize("text", ["x", "x=", "=1,2", "x=1,a", "x=0,3", "x=-1"])
def test_shape_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected NAME="):
        parse_shapes([text])


def test_tvm_target_has_the_keys_of_tvm() -> None:
    target = TvmTarget.model_validate({"mcpu": "znver4", "mattr": ["+avx2"], "num-cores": 2})
    assert target.as_tvm() == {"kind": "llvm", "mcpu": "znver4", "mattr": ["+avx2"], "num-cores": 2}


def test_several_sparsities_are_a_cell_each() -> None:
    edges = Edges(sparsity=[0.5, 0.8], score="activation", calibration=32)  # type: ignore[arg-type]
    sparse = Configuration(name="sparse", edges=edges)
    sweep = Sweep(schema=1, models=("fashion-dscnn",), configurations=(sparse,))  # type: ignore[arg-type]
    assert [cell.name for cell in sweep.cells] == ["sparse@0.5", "sparse@0.8"]
    assert [cell.edges.sparsity for cell in sweep.cells if cell.edges] == [(0.5,), (0.8,)]
    assert sweep.calibration == 32


STAGED = {"epochs": 4, "stages": 4}


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ({"finetune": {"epochs": 2, "stages": 3}}, "3 stages need as many epochs at least"),
        (
            {"finetune": STAGED, "pattern": "channel"},
            "'block'.*'unstructured'.*; found 'channel'",
        ),
        ({"finetune": STAGED, "shuffle": True}, "leave 'stages' or 'shuffle' out"),
    ],
)
def test_stages_that_cannot_be_are_refused(edges: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Edges.model_validate({"sparsity": 0.5, **edges})


def test_stages_lead_to_the_sparsity_and_share_the_epochs() -> None:
    edges = Edges.model_validate({"sparsity": 0.8, "finetune": {"epochs": 10, "stages": 4}})
    assert edges.shares == pytest.approx([0.578125, 0.875, 0.984375, 1])
    assert edges.finetune is not None and edges.finetune.epochs_of_stages == [2, 2, 2, 4]
    assert Edges.model_validate({"sparsity": 0.8}).shares == [1]


@pytest.mark.parametrize("sparsity", [0, 1, 1.5, [], [0.5, 0]])
def test_sparsity_is_a_share(sparsity: object) -> None:
    with pytest.raises(ValidationError):
        Edges(sparsity=sparsity)  # type: ignore[arg-type]


def test_name_says_which_characters_it_may_have(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("schema: 1\nmodels: [fashion-resnet8]\nconfigurations: [{name: my net}]\n")
    with pytest.raises(InputError, match=r"a name of letters, digits .*, found 'my net'"):
        Sweep.read(path)


def test_pattern_says_how_sparse_it_is() -> None:
    assert Edges.model_validate({"pattern": "1:4"}).sparsity == (0.75,)
    assert Edges.model_validate({"pattern": "1:4", "sparsity": 0.75}).sparsity == (0.75,)
    with pytest.raises(ValidationError, match=r"'1:4' has a sparsity of 0\.75.*found 0\.5, 0\.8"):
        Edges.model_validate({"pattern": "1:4", "sparsity": [0.5, 0.8]})


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("blocks", "'blocks' is not known; did you mean 'block'.*N:M"),
        ("4:4", "'4:4' drops nothing: expected fewer than 4"),
        ("4:2", "'4:2' drops nothing: expected fewer than 2"),
        (124, "the number 124; write a pattern N:M in quotes"),
    ],
)
def test_pattern_that_is_none_is_refused(pattern: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Edges.model_validate({"pattern": pattern, "sparsity": 0.5})


def test_pattern_that_drops_nothing_is_one_mistake() -> None:
    with pytest.raises(ValidationError) as error:
        Edges.model_validate({"pattern": "4:2"})
    assert error.value.error_count() == 1


def test_names_of_sparsities_are_unique_too() -> None:
    twice = (
        Configuration(name="sparse@0.5"),
        Configuration(name="sparse", edges=Edges(sparsity=[0.5, 0.8])),  # type: ignore[arg-type]
    )
    with pytest.raises(ValidationError, match=r"'sparse@0\.5' is given twice"):
        Sweep(schema=1, models=("fashion-dscnn",), configurations=twice)  # type: ignore[arg-type]


def test_sparsities_that_make_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'@0\.5' is given twice"):
        Edges.model_validate({"sparsity": [0.5, 0.500000001]})
