"""A tracker and servers on this machine, as processes of their own, that tests may kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from places import HELPERS, PROJECT

from harness.devices.emulated.board import Board
from harness.devices.servers.tracker import Address, Tracker, TrackerLost
from harness.specs.target import TargetSpec

SEARCH_PATH = os.pathsep.join([str(HELPERS), str(PROJECT), os.environ.get("PYTHONPATH", "")])
"""Where a child process finds the modules of the tests and the package."""
_SECONDS = 120.0


class Devices:
    """A tracker, and the servers that were started with it. Use as a context manager."""

    def __init__(self) -> None:
        self.address = Address(host="127.0.0.1", port=_free_port())
        self._processes: list[subprocess.Popen[bytes]] = []
        self._tracker = self._start(
            "harness.cli.main", "devices", "tracker", "--port", str(self.address.port)
        )
        until(self._answers)

    def __enter__(self) -> Devices:
        return self

    def __exit__(self, *raised: object) -> None:
        for process in self._processes:
            self.kill(process)

    def _start(
        self, *arguments: str, python: str = sys.executable, **environment: str
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [python, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": SEARCH_PATH, **environment},
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def serve(self, key: str, fault: str = "none") -> subprocess.Popen[bytes]:
        """A server of a key with one thread, which misbehaves as `misbehaving_server` says."""
        return self._served(key, fault, {"python": sys.executable})

    def serve_board(self, target: TargetSpec, board: Board) -> subprocess.Popen[bytes]:
        """A server of a target's key on the emulated board, as on one that is really there."""
        assert target.device.key is not None
        environment = board.environment(target, Path(os.devnull))
        environment["LAYEREDGE_PACKAGE"] = SEARCH_PATH
        return self._served(target.device.key, "none", {"python": str(board.python), **environment})

    def _served(self, key: str, fault: str, options: dict[str, str]) -> subprocess.Popen[bytes]:
        before = self.known(key)
        process = self._start("misbehaving_server", key, str(self.address), fault, **options)
        until(lambda: self.known(key) > before)
        return process

    def known(self, key: str) -> int:
        with Tracker(self.address) as tracker:
            return sum(server.key == key for server in tracker.servers())

    def free(self, key: str) -> int:
        with Tracker(self.address) as tracker:
            return tracker.free().get(key, 0)

    def _answers(self) -> bool:
        try:
            Tracker(self.address).close()
        except TrackerLost:
            return False
        return True

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """As when its machine goes."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def replace(self, process: subprocess.Popen[bytes], key: str) -> None:
        """Kill the only server of a key, and start another once the tracker has forgotten it: what
        `serve` waits for is one more than before."""
        self.kill(process)
        until(lambda: self.known(key) == 0)
        self.serve(key)

    def kill_tracker(self) -> None:
        self.kill(self._tracker)


def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds; a test that waits for ever is a failed one."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
