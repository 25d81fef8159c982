"""The compiled networks of one model on one server, over TVM's RPC: the worker of `measure/worker`,
but the networks that it runs and times are on the server.

Run by `harness.measure.remote`. One process has all networks, because a server has one client.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from harness.baselines.base import Feeds, checked
from harness.compiler.rpc import rpc
from harness.compiler.runtime import VirtualMachine, tvm
from harness.devices.servers.tracker import DESCRIPTION
from harness.measure.worker import Worker, attempt
from harness.models.tensors import TensorSpec
from harness.processes.child import Channel, Message, channel
from harness.records.artifact import LIBRARY, Artifact

_INVOKE = "invoke_stateful"


class RemoteNetwork:
    """An artifact folder whose library is loaded on a server."""

    def __init__(self, folder: Path, library: tvm.runtime.Module, device: object) -> None:
        artifact = Artifact.read(folder)
        self.inputs = tuple(
            TensorSpec(each.name, each.shape, each.dtype) for each in artifact.inputs
        )
        self._function = artifact.function
        self._device = device
        self._machine = VirtualMachine(library, device)

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        self.bind(feeds)()
        found = self._machine.get_outputs(self._function)
        return [each.numpy() for each in ([found] if hasattr(found, "numpy") else found)]

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        arrays = checked(self.inputs, feeds)
        given = [tvm.runtime.tensor(array, self._device) for array in arrays]
        self._machine.set_input(self._function, *given)
        return lambda: self._machine.invoke_stateful(self._function)

    def times(self, runs: int) -> list[float]:
        """Seconds of each of some runs on the bound inputs, by the server's clock."""
        timed = self._machine.time_evaluator(_INVOKE, self._device, number=1, repeat=runs)
        return [float(seconds) for seconds in timed(self._function).results]


class RemoteWorker(Worker):
    """A worker whose session is on a server; of the memory there nothing is known."""

    def __init__(self, parent: Channel, server: rpc.RPCSession, mark: str) -> None:
        super().__init__(parent, nullcontext())
        self._server = server
        self._mark = mark
        self._network: RemoteNetwork

    def load(self, message: Message) -> Message:
        folder, device = Path(message["path"]), self._server.cpu()
        name = f"{self._mark}.so"
        self._server.upload(str(folder / LIBRARY), name)
        library = self._server.load_module(name)

        def opened() -> RemoteNetwork:
            self._network = RemoteNetwork(folder, library, device)
            return self._network

        self._open = opened
        self._session = opened()
        return {"base_rss_mb": None}

    def prepare(self, message: Message) -> Message:
        return {**super().prepare(message), "peak_rss_mb": None}

    def _timed(self, runs: int) -> list[float]:
        return self._network.times(runs)


def main() -> None:
    parent = channel()
    messages = iter(parent)
    to = next(messages)
    server = rpc.connect(to["host"], to["port"], to["word"])
    try:
        parent.send({"answer": json.loads(server.get_function(DESCRIPTION)())})
    except AttributeError:  # TVM's own server
        parent.send({"answer": {}})
    workers: dict[str, RemoteWorker] = {}
    for message in messages:
        mark = message.pop("mark")
        if mark not in workers:
            workers[mark] = RemoteWorker(parent, server, mark)
        answer = attempt(workers[mark], message)
        if "error" in answer and not _answers(server):
            sys.exit(answer["error"])  # the parent begins another session
        parent.send(answer)


def _answers(server: rpc.RPCSession) -> bool:
    try:
        server.cpu().sync()
    except Exception:
        return False
    return True


if __name__ == "__main__":
    main()
