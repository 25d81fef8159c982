"""Children that are forked are as others are, and their own children are forked too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from places import HELPERS, PROJECT

from harness.processes.child import Child, ChildLost
from harness.processes.template import template, template_of

SEARCH_PATH = os.pathsep.join((str(HELPERS), str(PROJECT)))
MODULE = "misbehaving_child"


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", SEARCH_PATH)
    with template([MODULE], ["decimal"]):
        yield


def parent_of(process_id: int) -> int:
    return psutil.Process(process_id).ppid()


def test_children_have_one_parent_and_its_imports(forking: None) -> None:
    with Child(MODULE) as one, Child(MODULE) as other:
        assert parent_of(one.process_id) == parent_of(other.process_id) != os.getpid()
        asked = {"do": "look", "names": [], "modules": ["decimal", "fractions"]}
        assert one.call(asked, 30)["modules"] == ["decimal"]


def test_child_that_is_killed_at_once_ends(forking: None) -> None:
    """It may not be in a session of its own yet."""
    for _ in range(200):
        Child(MODULE).kill()


def test_child_has_the_environment_and_the_folder_of_its_requester(
    forking: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SET_LATER", "1")
    monkeypatch.delenv("HOME")
    monkeypatch.chdir(tmp_path)
    with Child(MODULE, environment={"GIVEN": "2"}) as child:
        names = ["SET_LATER", "HOME", "GIVEN", "PYTHONPATH", "LAYEREDGE_CHANNEL"]
        found = child.call({"do": "look", "names": names, "modules": []}, 30)
    expected = ["1", None, "2", SEARCH_PATH, None]
    assert found["environment"] == dict(zip(names, expected, strict=True))
    assert found["folder"] == str(tmp_path)


def test_child_of_a_child_is_below_it_and_ends_with_it(forking: None) -> None:
    with Child(MODULE) as child:
        found = child.call({"do": "child", "seconds": 60}, 30)
        below = psutil.Process(child.process_id).children(recursive=True)
        assert found["echo"] in {process.pid for process in below}
        assert found["parent"] != child.process_id  # but the template's
        child.kill()
        assert ended(below)


def ended(processes: list[psutil.Process]) -> bool:
    for _ in range(200):
        if not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes):
            return True
        time.sleep(0.05)
    return False


def test_template_that_is_killed_costs_its_children_and_no_later_ones(forking: None) -> None:
    with Child(MODULE) as child:
        child.call({"do": "echo", "value": 1}, 30)
        os.kill(parent_of(child.process_id), signal.SIGKILL)
        with pytest.raises(ChildLost, match="SIGKILL"):
            child.receive(30)
    with Child(MODULE) as child:
        assert child.call({"do": "echo", "value": 1}, 30)["parent"] == os.getpid()


def test_template_whose_imports_fail_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", SEARCH_PATH)
    with template([MODULE], ["no_such_module"]), Child(MODULE) as child:
        assert child.call({"do": "echo", "value": 1}, 30)["parent"] == os.getpid()


def test_other_modules_are_executed(forking: None) -> None:
    assert template_of("harness.measure.worker") is None
    with template(["harness.measure.worker"], []):  # the outer one serves
        assert template_of("harness.measure.worker") is None
        assert template_of(MODULE) is not None


def test_nothing_is_left_when_the_requester_is_killed() -> None:
    script = (
        "import time\nfrom harness.processes.child import Child\n"
        "from harness.processes.template import template\n"
        "with template(['misbehaving_child'], []), Child('misbehaving_child') as child:\n"
        "    child.call({'do': 'child', 'seconds': 60}, 30)\n"
        "    print(flush=True)\n    time.sleep(3600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SEARCH_PATH},
    ) as requester:
        assert requester.stdout is not None
        requester.stdout.readline()
        below = psutil.Process(requester.pid).children(recursive=True)
        requester.kill()
        requester.wait()
    assert len(below) >= 5  # the template, a child, its template, its child, that one's template
    assert ended(below)


def test_nothing_is_left_behind(forking: None) -> None:
    with Child(MODULE) as child:
        child.call({"do": "child", "seconds": 60}, 30)
        below = [child.process_id, *map(_number, psutil.Process(child.process_id).children(True))]
        template_process = psutil.Process(parent_of(child.process_id))
    for _ in range(200):
        if not {*map(_number, template_process.children(True))} & {*below}:
            return
        time.sleep(0.05)
    pytest.fail("some are left, if only as zombies")


def _number(process: psutil.Process) -> int:
    return process.pid


def test_folder_that_is_gone_is_no_obstacle(
    forking: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with Child(MODULE) as child:
        assert child.call({"do": "echo", "value": 1}, 30)["echo"] == 1


def test_template_that_does_not_answer_is_done_without(
    forking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.processes.template._ANSWERS_WITHIN", 0.5)
    with Child(MODULE) as child:
        os.kill(parent_of(child.process_id), signal.SIGSTOP)
        with Child(MODULE) as other:
            assert other.call({"do": "echo", "value": 1}, 30)["parent"] == os.getpid()
        os.kill(parent_of(child.process_id), signal.SIGCONT)
    monkeypatch.undo()
    with Child(MODULE, environment={"PYTHONPATH": SEARCH_PATH}) as later:
        assert later.call({"do": "echo", "value": 1}, 30)["parent"] != os.getpid()
