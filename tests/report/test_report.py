from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from example_results import example_record, example_results

from harness.cli.report import command
from harness.errors import InputError
from harness.records.record import CellKey, Compression, KernelTime, fingerprint
from harness.records.store import FILE_NAME, Store
from harness.report import markdown, write_report

HOSTILE = "<script>alert('x')</script> | `$x$` [a](javascript:b) \"><img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_write_report_writes_every_file_and_nothing_else(tmp_path: Path) -> None:
    folder = example_results(tmp_path)
    files = write_report(folder)
    assert files.page == folder / "report" / "index.html"
    written = {files.page, files.markdown, *files.plots, *files.exports, folder / FILE_NAME}
    assert {path for path in folder.rglob("*") if path.is_file()} == written
    assert len(files.plots) == 12


@pytest.mark.slow
def test_write_report_gives_the_same_bytes_when_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        files = write_report(example_results(Path("results")))
        found = (files.page, files.markdown, *files.plots)
        written.append([path.resolve() for path in found])
    for one, other in zip(*written, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("everywhere", [False, True])
def test_write_report_says_nan_where_an_accuracy_is_no_number(
    tmp_path: Path, everywhere: bool
) -> None:
    """Among a dense and sparse configurations, chosen by a score and by chance."""
    nan = float("nan")
    edges = {
        score: Compression(
            score=score, pattern="block", sparsity=0.5, parameters=100, parameters_kept=50
        )
        for score in ("magnitude", "random")
    }
    records = []
    for name, of_edges in [("dense", None), ("a@0.5", "magnitude"), ("b@0.5", "random")]:
        key = CellKey(model="m", target="t", configuration=name, engine="tvm")
        record = example_record(key, edges=edges.get(of_edges or ""), session=None)
        assert record.accuracy is not None
        if everywhere or of_edges == "magnitude":
            undefined = {"value": nan, "ci_low": nan, "ci_high": nan}
            accuracy = record.accuracy.model_copy(update=undefined)
            record = record.model_copy(update={"accuracy": accuracy})
        records.append(record)
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan((record.fingerprint, record.key) for record in records)
        for record in records:
            store.write(record)
    files = write_report(tmp_path)
    for text in (files.page.read_text(), files.markdown.read_text()):
        assert "NaN" in text and not re.search(r"[>| ]nan[<| –]", text)


def test_write_report_removes_plots_that_are_no_longer_drawn(tmp_path: Path) -> None:
    folder = example_results(tmp_path)
    files = write_report(folder)
    stale = files.plots[0].with_name("latency-99-gone.png")
    stale.write_bytes(b"")
    write_report(folder)
    assert not stale.exists() and files.plots[0].exists()


def test_page_asks_for_nothing_outside_itself(tmp_path: Path) -> None:
    page = write_report(example_results(tmp_path)).page.read_text()
    for _, attributes in Tags(page).found:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:"))
    assert not re.search(r"url\(|@import|https?://", page)


def test_page_and_markdown_show_failed_and_skipped_cells_with_their_reasons(
    tmp_path: Path,
) -> None:
    files = write_report(example_results(tmp_path))
    for text in (files.page.read_text().replace("&#39;", "'"), files.markdown.read_text()):
        assert "output 'logits' differs from ONNX Runtime by 0.021 of its scale" in text
        assert "openvino is not installed" in text
        assert "8 ok, 1 failed, 1 skipped" in text


def test_names_and_reasons_are_text_when_they_look_like_markup(tmp_path: Path) -> None:
    key = CellKey(model=HOSTILE, target=HOSTILE, configuration=HOSTILE, engine="tvm")
    other = key.model_copy(update={"configuration": "b"})
    kernel = KernelTime(name=HOSTILE, calls=1, median_us=1, flops=1, bytes=1)
    bad = key.model_copy(update={"configuration": "c"})
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan((fingerprint(str(one)), one) for one in (key, other, bad))
        store.write(example_record(key, kernels=(kernel,), environment={HOSTILE: HOSTILE}))
        store.write(example_record(other))
        store.write(example_record(bad, status="failed", stage=HOSTILE, reason=HOSTILE))
    files = write_report(tmp_path)
    tags = Tags(files.page.read_text()).found
    assert [name for name, _ in tags].count("script") == 1, "the page's own, and no other"
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    text = files.markdown.read_text()
    assert "<" not in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) >= 6
    for table in tables:
        bars = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(bars) == 1, "a bar in a name ends no column"
    for path in files.plots:
        assert path.parent == tmp_path / "report" / "plots"


def test_markdown_refers_to_pictures_that_are_there(tmp_path: Path) -> None:
    files = write_report(example_results(tmp_path))
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", files.markdown.read_text())
    assert {files.markdown.parent / path for path in shown} == set(files.plots)


def test_markdown_escape_leaves_ordinary_names_readable() -> None:
    assert markdown.escape("fused_conv2d_add 1.0×") == "fused_conv2d_add 1.0×"
    assert markdown.escape("a|b\n<c> *d*") == r"a\|b &lt;c&gt; \*d\*"


def test_report_says_what_to_do_when_nothing_is_planned(tmp_path: Path) -> None:
    Store(tmp_path / FILE_NAME, create=True).close()
    page = write_report(tmp_path).page.read_text()
    assert "0 cells planned: none." in page
    assert "No cell has finished yet; layeredge run starts or goes on with a sweep." in page


def test_report_lists_the_plan_when_no_cell_has_finished(tmp_path: Path) -> None:
    key = CellKey(model="magika", target="t", configuration="fused", engine="tvm")
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan([("aa", key)])
    files = write_report(tmp_path)
    for text in (files.page.read_text(), files.markdown.read_text()):
        assert "1 cell planned: 1 pending." in text
        assert "magika" in text and "not run yet" in text
    assert files.plots == ()


def test_report_is_written_when_every_cell_failed(tmp_path: Path) -> None:
    key = CellKey(model="m", target="t", configuration="fused", engine="tvm")
    bare = {"latency": None, "memory": None, "accuracy": None, "verification": None}
    failed = example_record(
        key, status="failed", reason="out of memory", fusion=None, kernels=(), tuning=None, **bare
    )
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan([(failed.fingerprint, key)])
        store.write(failed)
    page = write_report(tmp_path).page.read_text()
    assert "no cell is ok; the reasons are below" in page
    assert "out of memory" in page


@pytest.mark.slow
def test_report_is_written_without_tvm_or_an_engine(tmp_path: Path) -> None:
    folder = example_results(tmp_path, records=100)
    script = (
        "import sys; from pathlib import Path; from harness.report import write_report; "
        "write_report(Path(sys.argv[1])); "
        "heavy = {'tvm', 'onnxruntime', 'onnx', 'torch', 'xgboost'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_command_prints_what_it_wrote(tmp_path: Path) -> None:
    folder = example_results(tmp_path)
    done = CliRunner().invoke(command, [str(folder)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[5:7] == [f"{folder}/report/index.html", f"{folder}/report/report.md"]
    assert lines[-1] == f"{folder}/report/plots (12 plots)"


def test_command_raises_one_clear_error_when_there_are_no_results(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [str(tmp_path)])
    assert isinstance(done.exception, InputError)
    assert "no results there" in str(done.exception)


def test_command_help_gives_an_example() -> None:
    done = CliRunner().invoke(command, ["--help"])
    assert "layeredge report results/quickstart --open" in done.output


def test_write_report_says_what_is_wrong_when_the_folder_cannot_be_written(
    tmp_path: Path,
) -> None:
    folder = example_results(tmp_path)
    (folder / "report").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(folder)
