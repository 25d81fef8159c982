"""Wrong YAML is named with its file, its line and the nearest thing that is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.documents import read_document
from harness.errors import InputError
from harness.spec import Sweep

GOOD = """schema: 1
models: [fashion-resnet8]
configurations:
  - name: fused
    fusion: full
"""


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
        (GOOD + "  - {name: fused}\n", "the name 'fused' is given twice"),
        ("models: []\n", "'schema' is required"),
        ("- a\n", "expected a mapping of keys to values, found list"),
        ("", "found an empty file"),
        ("a: [1\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['touch hacked']\n", "not valid YAML"),
    ],
)  # fmt: skip
def test_refusal_says_where_and_what_is_near(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)
    assert not Path("hacked").exists()


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.yaml: no such file"):
        read_document(tmp_path / "missing.yaml", Sweep)
