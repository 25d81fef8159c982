"""The JSON Schema takes what documents take; the documents of keys are those of the code."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from example_results import example_results
from pydantic import BaseModel

from harness.cli.schema import FILES, command
from harness.records.export import export_schema, write_exports
from harness.records.store import FILE_NAME, Store
from harness.specs.schema import _models, descriptions, schema_of
from harness.specs.sweep import Sweep
from harness.specs.target import TargetSpec

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS: tuple[type[BaseModel], ...] = (Sweep, TargetSpec)
EXAMPLES = [
    *((path, Sweep) for path in sorted((ROOT / "examples").glob("*.yaml"))),
    *((path, TargetSpec) for path in sorted((ROOT / "targets").glob("*.yaml"))),
    *((path, TargetSpec) for path in sorted((ROOT / "examples" / "layouts").glob("*.yaml"))),
]
QUICK: dict[str, Any] = {
    "schema": 1,
    "models": ["fashion-resnet8", {"name": "own", "path": "own.onnx", "shapes": {"x": [1, 3]}}],
    "configurations": [
        {"name": "a", "edges": {"sparsity": [0.5, 0.8], "finetune": {}}, "tune": {"minutes": 1}},
        {"name": "b", "edges": {"pattern": "2:4"}, "quantize": {"ranges": "mse"}},
    ],
    "threads": 2,
}


@pytest.mark.parametrize(("path", "document"), EXAMPLES, ids=lambda one: getattr(one, "stem", ""))
def test_every_shipped_file_names_its_schema_and_keeps_to_it(
    path: Path, document: type[BaseModel]
) -> None:
    first, _, _ = path.read_text().partition("\n")
    named = first.removeprefix("# yaml-language-server: $schema=")
    schema = json.loads((path.parent / named).read_text())
    assert schema == schema_of(document)
    jsonschema.validate(yaml.safe_load(path.read_text()), schema)


def test_what_a_sweep_takes_is_in_its_schema() -> None:
    """Texts for models, one value for a list, defaults of a step, and the pattern's sparsity."""
    Sweep.model_validate(QUICK)
    jsonschema.validate(QUICK, schema_of(Sweep))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("configurations", 0, "fusion"), "most"),
        (("configurations", 0, "edges", "sparsity"), 1.5),
        (("configurations", 0, "edgse"), {}),
        (("threads",), "two"),
        (("models",), []),
    ],
)
def test_what_a_sweep_refuses_is_not_in_its_schema(at: tuple[Any, ...], value: object) -> None:
    wrong = copy.deepcopy(QUICK)
    within: Any = wrong
    for key in at[:-1]:
        within = within[key]
    within[at[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema_of(Sweep))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_key_is_described(document: type[BaseModel]) -> None:
    for model in _models(document):
        assert set(model.model_fields) == set(descriptions(model)), model


def test_results_keep_to_their_schema(tmp_path: Path) -> None:
    with Store(example_results(tmp_path) / FILE_NAME) as store:
        write_exports(store, tmp_path)
    jsonschema.validate(json.loads((tmp_path / "results.json").read_text()), export_schema())


@pytest.mark.parametrize("file", [*FILES, "reference"])
def test_documents_of_keys_are_those_of_the_code(file: str) -> None:
    """`make keys` writes them."""
    kept = ROOT / "docs" / ("reference.md" if file == "reference" else f"schema/{file}.json")
    found = CliRunner().invoke(command, [file])
    assert found.exit_code == 0 and found.output == kept.read_text()
