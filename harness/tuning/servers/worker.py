"""Measures and verifies candidates of one kernel on a server, over TVM's RPC.

Run by `harness.tuning.servers.servers`, one for each server: a call that is never answered blocks
this process, and no other.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import numpy as np

from harness.compiler.rpc import rpc, tvm
from harness.devices.servers.tracker import DESCRIPTION
from harness.errors import last_line
from harness.files.arrays import read_arrays
from harness.processes.child import Message, channel
from harness.tuning.candidates.difference import arguments_of, output_difference, reference_of
from harness.tuning.candidates.sampling import Timer, interleaved, samples


class Session:
    """A session on a server: one kernel at a time, and its candidates. It ends with this object."""

    def __init__(self, host: str, port: int, word: str) -> None:
        self._session = rpc.connect(host, port, word)
        self._device = self._session.cpu()
        self._libraries: dict[str, tvm.runtime.Module] = {}
        self._arguments = ""
        self._rows: list[dict[str, np.ndarray]] = []
        self._tensors: list[list[tvm.runtime.Tensor]] = []

    def describe(self, message: Message) -> Message:
        """The server's description of itself, if it is one of ours."""
        try:
            return {"description": json.loads(self._session.get_function(DESCRIPTION)())}
        except AttributeError:  # TVM's own server
            return {"description": {}}

    def kernel(self, message: Message) -> Message:
        """Turn to another kernel: upload its arguments, rows of all of them, the
        outputs last. The first row is timed; all are verified."""
        if message["arguments"] != self._arguments:
            self._arguments, self._outputs = message["arguments"], message["outputs"]
            self._rows = read_arrays(Path(self._arguments))
            self._tensors = [
                [self._uploaded(array) for array in arguments_of(row)] for row in self._rows
            ]
        return {}

    def _uploaded(self, array: np.ndarray) -> tvm.runtime.Tensor:
        return tvm.runtime.tensor(array, self._device)

    def _library(self, message: Message) -> tvm.runtime.Module:
        """The library that a candidate is in, on the server."""
        path = message["library"]
        if path not in self._libraries:
            name = f"{len(self._libraries)}.so"
            self._session.upload(path, name)
            self._libraries[path] = self._session.load_module(name)
        return self._libraries[path]

    def _timer(self, message: Message) -> Timer:
        """A timer of a candidate, by the clock of the server."""
        library, name = self._library(message), message["name"]

        def seconds(runs: int) -> float:
            timed = library.time_evaluator(name, self._device, number=1, repeat=runs)
            return float(median(timed(*self._tensors[0]).results))

        return seconds

    def measure(self, message: Message) -> Message:
        """Seconds per run of one candidate, several samples when it is a finalist."""
        return {"seconds": samples(self._timer(message), message["best"])}

    def final(self, message: Message) -> Message:
        """Seconds per run of several candidates, interleaved: [candidates][rounds]."""
        timers = [self._timer(function) for function in message["functions"]]
        return {"seconds": interleaved(timers, message["rounds"])}

    def verify(self, message: Message) -> Message:
        """The error of a candidate, in words, or None."""
        function = self._library(message)[message["name"]]
        for row, tensors in zip(self._rows, self._tensors, strict=True):
            reference = reference_of(row, self._outputs)
            results = [self._uploaded(np.zeros_like(array)) for array in reference.outputs]
            function(*tensors[: -self._outputs], *results)
            found = [result.numpy() for result in results]
            if why := output_difference(reference, found):
                return {"wrong": why}
        return {"wrong": None}

    def is_sound(self) -> bool:
        """Whether the server still answers."""
        try:
            self._device.sync()
        except Exception:
            return False
        return True


class Worker:
    """Has at most one session."""

    def __init__(self) -> None:
        self._session: Session | None = None

    def answer(self, message: Message) -> Message:
        """The answer to a message: `error` where a candidate has failed, `lost` where the session
        is lost, with the reason."""
        do = message.pop("do")
        if do == "close":
            self._session = None
            return {}
        try:
            if do == "open":
                self._session, do = Session(**message), "describe"
            answer: Message = getattr(self._session, do)(message)
        except Exception as error:
            if self._session is not None and self._session.is_sound():
                return {"error": last_line(error)}
            self._session = None
            return {"lost": last_line(error)}
        return answer


def main() -> None:
    parent, worker = channel(), Worker()
    for message in parent:
        parent.send(worker.answer(message))


if __name__ == "__main__":
    main()
