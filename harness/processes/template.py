"""A process that has imported what its children need, and forks itself for each of them.

Importing TVM takes a second of a child's processor time. A child that is forked has it at once. Its
own children are forked too: before it begins, it forks a template of its own, so that they stay
below it, end with it and count towards its memory.

A template runs nothing but imports: a process with threads cannot be forked safely.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.processes.parent import die_with_parent, kill_session

CHANNEL, PARENT = "LAYEREDGE_CHANNEL", "LAYEREDGE_PARENT"
"""Variables of a child's environment: the file descriptor of its channel, and who started it."""
_REQUESTS = "LAYEREDGE_REQUESTS"
_MOST_BYTES = 1 << 16
_ANSWERS_WITHIN = 60.0
"""Seconds; the first answer comes once all is imported."""
_START = "from harness.processes.template import main; main()"
"""Not `-m`, which would have a second copy of this module."""


class Forked:
    """A process that a template forked, in the manner of `subprocess.Popen`."""

    def __init__(self, life: socket.socket, process_id: int) -> None:
        self._life = life
        self.pid = process_id
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code once it has ended, below 0 for a signal. Raises
        `subprocess.TimeoutExpired`."""
        if self._code is None:
            self._life.settimeout(timeout)
            try:
                told = self._life.recv(_MOST_BYTES)
            except TimeoutError:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0) from None
            except OSError:
                told = b""
            # A template that is gone has taken its children along.
            self._code = int(told) if told else -signal.SIGKILL
        return self._code

    def close(self) -> None:
        """Let the system forget the process, which is killed if it runs."""
        self._life.close()


@dataclass(frozen=True)
class Template:
    """The requester's end of a template. `modules` are those whose `main` a child can run;
    `environment` is the one that it was started with."""

    requests: socket.socket
    modules: frozenset[str]
    environment: Mapping[str, str]

    def fork(
        self, module: str, environment: Mapping[str, str], channel: socket.socket, errors: int
    ) -> Forked | None:
        """A child that runs a module's `main`, with the far end of its channel, and its output in
        the file `errors`. None where the template is gone, or does not answer."""
        changed = {
            name: environment.get(name)
            for name in {*environment, *self.environment}
            if environment.get(name) != self.environment.get(name)
        }
        life, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with far:
                request = {
                    "module": module,
                    "environment": changed,
                    "cpus": [*os.sched_getaffinity(0)],
                    "folder": os.getcwd(),
                }
                given = [channel.fileno(), errors, far.fileno()]
                socket.send_fds(self.requests, [json.dumps(request).encode()], given)
            life.settimeout(_ANSWERS_WITHIN)
            told = life.recv(_MOST_BYTES)
        except OSError:
            told = b""
        if not told:
            life.close()
            return None
        return Forked(life, int(told))


_present: Template | None = None
"""The template of this process, if it has one."""


def template_of(module: str) -> Template | None:
    """The template that can fork a child for a module, if there is one."""
    return _present if _present is not None and module in _present.modules else None


@contextmanager
def template(modules: Sequence[str], imports: Sequence[str]) -> Iterator[None]:
    """Inside, children that run `main` of one of `modules` are forked from a process that has
    imported those and `imports`. Within another such context, its template serves."""
    global _present
    if _present is not None:
        yield
        return
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = dict(os.environ)
    with near:
        with far:
            process = subprocess.Popen(
                [sys.executable, "-c", _START, ",".join(modules), ",".join(imports)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[far.fileno()],
                env={**environment, _REQUESTS: str(far.fileno()), PARENT: str(os.getpid())},
                start_new_session=True,
            )
        _present = Template(near, frozenset(modules), environment)
        try:
            yield
        finally:
            _present = None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class _Server:
    """The template's own loop."""

    def __init__(self, requests: socket.socket, modules: frozenset[str]) -> None:
        self._requests = requests
        self._modules = modules
        self._running: dict[int, socket.socket] = {}
        self._ended: set[int] = set()
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)

    def serve(self) -> str:
        """Fork what is asked for. Returns in a forked process alone, with the module to run; the
        template ends when nobody can ask any more."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._requests:
                    module = self._answer()
                    if module is not None:
                        return module
                elif key.fileobj is self._woken:
                    self._woken.recv(_MOST_BYTES)
                    self._tell_ends()
                else:
                    self._bury(key.data)

    def _answer(self) -> str | None:
        data, descriptors, _, _ = socket.recv_fds(self._requests, _MOST_BYTES, 3)
        if not data:
            os._exit(0)  # the children end with this
        channel, errors, life = descriptors
        template = os.getpid()
        process_id = _fork()
        if process_id == 0:
            self._leave()
            os.close(life)
            return _become(json.loads(data), self._modules, channel, errors, template)
        os.close(channel)
        os.close(errors)
        told = socket.socket(fileno=life)
        with contextlib.suppress(OSError):  # who asked has given up
            told.send(str(process_id).encode())
        self._running[process_id] = told
        self._selector.register(told, selectors.EVENT_READ, process_id)
        return None

    def _tell_ends(self) -> None:
        """Tell the exit codes of children that ended. They stay zombies until their requesters have
        closed their connections, so that no other process gets their numbers, and their signals."""
        for process_id in {*self._running} - self._ended:
            ended = os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                continue
            self._ended.add(process_id)
            code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            with contextlib.suppress(OSError):  # nobody waits for it
                self._running[process_id].send(str(code).encode())

    def _bury(self, process_id: int) -> None:
        life = self._running.pop(process_id)
        self._ended.discard(process_id)
        self._selector.unregister(life)
        life.close()
        kill_session(process_id)
        os.waitpid(process_id, 0)

    def _leave(self) -> None:
        """Close what is the template's, in a forked process."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for each in (self._requests, self._woken, self._wake, *self._running.values()):
            each.close()


def _fork() -> int:
    with warnings.catch_warnings():  # of threads: NumPy's library stops its own before
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _become(
    request: Mapping[str, Any], modules: frozenset[str], channel: int, errors: int, parent: int
) -> str:
    """Turn a forked process into the child that was asked for, with a template of its own. Returns
    the module to run, in that child, and in each that its template forks."""
    global _present
    os.setsid()
    die_with_parent(parent)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, standard in ((nothing, 0), (errors, 1), (errors, 2)):
        os.dup2(source, standard)
    os.close(nothing)
    os.close(errors)
    os.sched_setaffinity(0, request["cpus"])
    os.chdir(request["folder"])
    for name, value in request["environment"].items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    environment = dict(os.environ)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.getpid()
    if _fork() == 0:
        os.close(channel)
        near.close()
        die_with_parent(child)
        return _Server(far, modules).serve()
    far.close()
    _present = Template(near, modules, environment)
    os.environ |= {CHANNEL: str(channel), PARENT: str(parent)}
    return str(request["module"])


def main() -> None:
    """Import what the arguments name, and fork; then, in a forked process, run its module."""
    die_with_parent(int(os.environ.pop(PARENT)))
    requests = socket.socket(fileno=int(os.environ.pop(_REQUESTS)))
    modules, imports = (sys.argv[at].split(",") for at in (1, 2))
    for name in (*modules, *filter(None, imports)):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # collections in the children would copy all pages
    module = _Server(requests, frozenset(modules)).serve()
    importlib.import_module(module).main()
