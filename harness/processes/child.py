"""Child processes that a crash, a hang or a flood of memory in them cannot outlive or spread from.

Parent and child exchange one JSON object a line over a socket of their own, so output that
a library prints does no harm. A child dies with its parent, however the parent dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import psutil

from harness.errors import HarnessError, last_line
from harness.processes.parent import die_with_parent, kill_session
from harness.processes.template import CHANNEL, PARENT, template_of

Message = dict[str, Any]
Exceeded = Literal["time", "memory"]

_HINTS = {"SIGKILL": " (out of memory?)", "SIGFPE": " (an integer divided by 0?)"}
_WATCH_SECONDS = 0.25


class ChildLost(HarnessError):
    """The child crashed, hung, or used more memory than it may; the text says which, and `exceeded`
    which limit it was that stopped it, if one did."""

    def __init__(self, text: str, exceeded: Exceeded | None = None) -> None:
        super().__init__(text)
        self.exceeded = exceeded


class _Executed(subprocess.Popen[bytes]):
    """A process of a program of its own."""

    def close(self) -> None:
        """Nothing is held once it was waited for."""


class Child:
    """`python -m module` with a channel to it, or the same forked from a template if there is one.
    Use as a context manager.

    `memory_mb` bounds the resident memory of the child and its own children together. `environment`
    goes on top of this process's; `cpus` are those the child may run on; `python` is the program
    that runs the module, where it is not the one that runs this.
    """

    def __init__(
        self,
        module: str,
        *,
        memory_mb: float | None = None,
        environment: Mapping[str, str] | None = None,
        cpus: Iterable[int] | None = None,
        python: Path | None = None,
    ) -> None:
        self._module = module
        self._memory_mb = memory_mb
        self._socket, far = socket.socketpair()
        # The child's own words, for the reason when it is lost; a file cannot fill up and block.
        self._errors: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (closed by kill)
        variables = {**os.environ, **(environment or {})}
        template = template_of(module) if python is None else None
        with far:
            forked = template and template.fork(module, variables, far, self._errors.fileno())
            self._process = forked or _Executed(
                [str(python or sys.executable), "-m", module],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                pass_fds=[far.fileno()],
                env={**variables, CHANNEL: str(far.fileno()), PARENT: str(os.getpid())},
                start_new_session=True,
            )
        if cpus is not None:
            os.sched_setaffinity(self._process.pid, cpus)
        self._buffer = b""

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *raised: object) -> None:
        self.kill()

    @property
    def process_id(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        """The file descriptor that `select` waits on for a message of the child."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send one message. Raises ChildLost when nobody is there to read it."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            raise ChildLost(self._reason()) from None

    def receive(
        self, seconds: float, watch_seconds: float = _WATCH_SECONDS, allowed: float | None = None
    ) -> Message:
        """Wait for the next message; look at the child's memory every `watch_seconds` meanwhile.

        Raises ChildLost when the child ends or exceeds its memory, or `seconds` go by; it is killed
        then. If `seconds` are the rest of a longer time for several messages, `allowed` is that
        time.
        """
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                self.kill()
                took = _duration(seconds if allowed is None else allowed)
                raise ChildLost(f"took more than {took} and was stopped", "time")
            ready, _, _ = select.select([self._socket], [], [], min(left, watch_seconds))
            if not ready:
                self.check_memory()
                continue
            try:
                data = self._socket.recv(1 << 20)
            except OSError:
                data = b""
            if not data:
                raise ChildLost(self._reason())
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: Message = json.loads(line)
        return message

    def call(self, message: Message, seconds: float) -> Message:
        """Send a message and wait for its answer."""
        self.send(message)
        return self.receive(seconds)

    def pause(self) -> None:
        """Stop all its threads, and the processes of its session, where they are: engines keep
        theirs spinning for a while after a run, on the cores that another's run needs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused child go on."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGCONT)

    def interrupt(self, seconds: float) -> None:
        """Ask the child to stop as Ctrl-C would, wait at most `seconds`, then kill it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """End the child and its own children at once; harmless when they have ended."""
        kill_session(self._process.pid)
        self._process.wait()
        self._process.close()
        self._socket.close()
        self._errors.close()

    def check_memory(self) -> None:
        """Kill the child if it uses more memory than it may, and raise ChildLost."""
        if self._memory_mb is None:
            return
        used_mb = resident_mb(self._process.pid)
        if used_mb > self._memory_mb:
            # Memory that a forked process shares with its parent counts once.
            used_mb = resident_mb(self._process.pid, shared_once=True)
        if used_mb > self._memory_mb:
            self.kill()
            raise ChildLost(
                f"used {used_mb:.0f} MB of memory, more than the {self._memory_mb:.0f} MB it may, "
                "and was stopped",
                "memory",
            )

    def _reason(self) -> str:
        """Why a child that closed its channel ended."""
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            code = None
        said = self._last_words()
        self.kill()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return f"crashed with {name}{_HINTS.get(name, '')}"
        return f"ended unexpectedly: {said}" if said else f"ended with exit code {code}"

    def _last_words(self) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 4096))
        said = self._errors.read().decode(errors="replace").strip()
        return last_line(said) if said else ""


def resident_mb(process_id: int, *, shared_once: bool = False) -> float:
    """Resident memory of a process and all below it, in MB; 0 when it is gone. Pages that several
    of them share count for each, or once, which takes longer to find out."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process_id)
        for process in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                if shared_once:
                    total += process.memory_full_info().pss
                else:
                    total += process.memory_info().rss
    return total / 1e6


class Channel:
    """The child's end: the parent's messages, and answers to it."""

    def __init__(self, connection: socket.socket) -> None:
        self._reader = connection.makefile("rb")
        self._writer = connection.makefile("wb")

    def __iter__(self) -> Iterator[Message]:
        for line in self._reader:
            yield json.loads(line)

    def send(self, message: Message) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")
        self._writer.flush()


def channel() -> Channel:
    """Called once, first thing, by a module that `Child` runs.

    From here on this process is killed when its parent ends, and is the first to go when the
    machine runs out of memory.
    """
    die_with_parent(int(os.environ.pop(PARENT)))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    return Channel(socket.socket(fileno=int(os.environ.pop(CHANNEL))))


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.3g} minutes" if seconds >= 120 else f"{seconds:.3g} s"
