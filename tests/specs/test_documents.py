"""Wrong YAML is named with its file, its line and the nearest thing that is known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from harness.errors import InputError
from harness.specs.documents import read_document
from harness.specs.sweep import Sweep

GOOD = """schema: 1
models: [fashion-resnet8]
configurations:
  - name: fused
    fusion: full
"""

LAUGHS = [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d"), ("f", "e"), ("g", "f"), ("h", "g")]


def refusal(folder: Path, text: str) -> str:
    path = folder / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as found:
        read_document(path, Sweep)
    return str(found.value).replace(f"{path}", "sweep.yaml")


def test_document_is_read_when_it_is_right(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(GOOD)
    assert read_document(tmp_path / "sweep.yaml", Sweep).configurations[0].fusion == "full"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("models", "modls"), ":2: unknown key 'modls'; did you mean 'models'?"),
        (GOOD.replace("fusion: full", "fuson: full"), ":5: unknown key 'fuson'; did you mean"),
        (GOOD.replace("full", "ful"), ":5: configurations.0.fusion: 'ful' is not known; did you"),
        (GOOD + "    tune: {trial: 5}\n", ":6: unknown key 'trial'; did you mean 'trials'?"),
        (GOOD + "    tune: {trials: 5, minutes: 1}\n", "either 'trials: N' or 'minutes: N'"),
        (GOOD + "    tune: {trials: no}\n", "sweep.yaml:6: configurations.0.tune.trials"),
        (GOOD + "name: a\nname: b\n", "sweep.yaml:7: key 'name' is given twice"),
        (GOOD + "  - {name: fused}\n", "'fused' is given twice"),
        ("models: []\n", "'schema' is required"),
        ("schema: 1\nmodels: [null]\n", "expected a name, a path or keys such as `path`, found"),
        (GOOD + "    quantize:\n", "sweep.yaml:6: 'quantize' has no value: leave it out, or give"),
        (GOOD + "    tune: {trials: null}\n", "sweep.yaml:6: 'trials' has no value"),
        ("- a\n", "expected a mapping of keys to values, found list"),
        ("", "found an empty file"),
        ("a: [1\n", "not valid YAML"),
        ("schema: &a [*a]\n", "sweep.yaml:1: an anchor that is used inside itself"),
        ("a: &a [x, x]\n" + "".join(f"{n}: &{n} [{','.join(['*' + b] * 9)}]\n" for n, b in LAUGHS),
         "sweep.yaml:6: more than 100,000 values"),
        ("schema: " + "[" * 5000, "sweep.yaml:1: more than 100,000 values"),
        (GOOD + f"seed: {'9' * 5000}\n", "sweep.yaml:6: not valid YAML: a value that is no int"),
        (GOOD + f"seed: 0x{'f' * 5000}\n", "found a number of 20000 bits"),
        (GOOD + "seed: 1:30\n", "sweep.yaml:6: not valid YAML: 1:30, which YAML reads as a number"),
        (GOOD + "name: !!timestamp x\n", "sweep.yaml:6: not valid YAML: a value that is no time"),
        (GOOD + "measure: {min_seconds: .inf}\n", "measure.min_seconds: Input should be a finite"),
        (GOOD + "limits: {cell_minutes: .nan}\n", "sweep.yaml:6: limits.cell_minutes"),
        (GOOD + "    tune: {minutes: .inf}\n", "should be a finite number, found inf"),
        (GOOD + "targets: [x86-host, x86-host]\n", "'x86-host' is given twice"),
        (GOOD + "baselines: [a, a]\n", "'a' is given twice"),
        (GOOD + "threads: 9223372036854775808\n", "less than 2147483648"),
        ("a: !!python/object/apply:os.system ['touch hacked']\n", "not valid YAML"),
    ],
)  # fmt: skip
def test_refusal_says_where_and_what_is_near(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)
    assert not Path("hacked").exists()


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.yaml: no such file"):
        read_document(tmp_path / "missing.yaml", Sweep)


def test_date_is_text(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(GOOD + "name: 2026-99-99\n")
    assert read_document(tmp_path / "sweep.yaml", Sweep).name == "2026-99-99"


@pytest.mark.parametrize("path", ["~nouser/x.onnx", "a\0b.onnx"])
def test_path_that_is_none_names_the_file_it_stands_in(tmp_path: Path, path: str) -> None:
    document = {
        "schema": 1,
        "models": [{"name": "a", "path": path}],
        "configurations": [{"name": "c"}],
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(InputError, match=r"sweep\.yaml: '.*' is not a path"):
        Sweep.read(tmp_path / "sweep.yaml")


def test_what_is_no_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(InputError, match=r"pipe\.yaml: expected a YAML file, found a pipe"):
        read_document(tmp_path / "pipe.yaml", Sweep)
    with pytest.raises(InputError, match="/dev/zero: expected a YAML file, found a device"):
        read_document(Path("/dev/zero"), Sweep)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("schema: 1", 'schema: "1"'), "expected the number 1, found the text '1'"),
        (GOOD + 'batch: "2"\n', "batch: Input should be a valid list, found '2'"),
        (GOOD + "measure: 3\n", "measure: Input should be a valid mapping of keys, found 3"),
        (GOOD + "    edges: {sparsity: []}\n", "edges.sparsity: Value should have at least 1 item"),
    ],
)
def test_messages_are_in_words_of_yaml_and_one_for_each_problem(
    text: str, said: str, tmp_path: Path
) -> None:
    found = refusal(tmp_path, text)
    assert said in found and "\n" not in found
