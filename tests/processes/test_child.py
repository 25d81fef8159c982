"""Children that crash, hang, eat memory or print cost their parent nothing but an error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest
from places import HELPERS, PROJECT

from harness.processes.child import Child, ChildLost
from harness.processes.template import template

SEARCH_PATH = os.pathsep.join((str(HELPERS), str(PROJECT)))


@pytest.fixture(params=["executed", "forked"])
def child(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    monkeypatch.setenv("PYTHONPATH", SEARCH_PATH)
    with ExitStack() as held:
        if request.param == "forked":
            held.enter_context(template(["misbehaving_child"], []))
        yield held.enter_context(Child("misbehaving_child", memory_mb=200))


def gone(process_id: int) -> bool:
    for _ in range(100):
        if not psutil.pid_exists(process_id):
            return True
        if psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_call_returns_the_answer(child: Child) -> None:
    value = {"text": "ü\n", "numbers": [1.5, None], "long": "x" * 3_000_000}
    assert child.call({"do": "echo", "value": value}, 30)["echo"] == value


def test_channel_is_undisturbed_when_the_child_prints(child: Child) -> None:
    assert child.call({"do": "print"}, 30) == {"printed": True}
    assert child.call({"do": "echo", "value": 1}, 30)["echo"] == 1


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("segfault", "crashed with SIGSEGV"),
        ("raise", "the last words"),
        ("exit", "exit code 3"),
        ("eat", "more than the 200 MB it may"),
    ],
)
def test_loss_is_explained_when_the_child(child: Child, what: str, reason: str) -> None:
    with pytest.raises(ChildLost, match=reason):
        child.call({"do": what}, 30)
    assert gone(child.process_id)


def test_hang_is_stopped_when_time_is_up(child: Child) -> None:
    child.call({"do": "echo", "value": 1}, 30)
    started = time.monotonic()
    with pytest.raises(ChildLost, match=r"took more than 0\.5 s and was stopped"):
        child.call({"do": "hang"}, 0.5)
    assert time.monotonic() - started < 10
    assert gone(child.process_id)


def test_time_that_earlier_messages_took_is_counted_in_what_is_said(child: Child) -> None:
    child.send({"do": "hang"})
    with pytest.raises(ChildLost, match=r"took more than 90 s and was stopped") as lost:
        child.receive(0.1, allowed=90)
    assert lost.value.exceeded == "time"


def test_sending_to_a_dead_child_says_how_it_died(child: Child) -> None:
    child.call({"do": "echo", "value": 1}, 30)
    os.kill(child.process_id, signal.SIGKILL)
    assert gone(child.process_id)
    with pytest.raises(ChildLost, match="SIGKILL"):
        for _ in range(100):
            child.call({"do": "echo", "value": "x" * 100_000}, 5)


def test_grandchildren_end_when_the_child_is_killed(child: Child) -> None:
    grandchild = child.call({"do": "grandchild"}, 30)["pid"]
    child.kill()
    assert gone(grandchild)


def test_child_ends_when_its_parent_is_killed() -> None:
    script = (
        "import time\nfrom harness.processes.child import Child\n"
        "child = Child('misbehaving_child')\n"
        "child.call({'do': 'echo', 'value': 1}, 30)\n"
        "print(child.process_id, flush=True)\ntime.sleep(3600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SEARCH_PATH},
    ) as parent:
        assert parent.stdout is not None
        process_id = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    assert gone(process_id)


def test_child_stays_on_the_cpus_it_is_given() -> None:
    cpu = max(os.sched_getaffinity(0))
    environment = {"PYTHONPATH": SEARCH_PATH}
    with Child("misbehaving_child", environment=environment, cpus=[cpu]) as found:
        found.call({"do": "echo", "value": 1}, 30)
        assert os.sched_getaffinity(found.process_id) == {cpu}


def test_paused_child_answers_when_it_is_resumed(child: Child) -> None:
    child.call({"do": "echo", "value": 1}, 30)
    child.pause()
    child.send({"do": "echo", "value": 2})
    time.sleep(0.3)
    assert psutil.Process(child.process_id).status() == psutil.STATUS_STOPPED
    child.resume()
    assert child.receive(30)["echo"] == 2


@pytest.mark.slow
def test_memory_that_a_forked_process_shares_counts_once(child: Child) -> None:
    """The child holds more than half of what it may, and so does its fork."""
    answer = child.call({"do": "fork", "megabytes": 120, "seconds": 1.0}, 20)
    assert answer["held"] == 120 << 20
