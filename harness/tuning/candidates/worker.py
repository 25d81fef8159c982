"""Compiles, verifies and measures candidates of one kernel in one process: a candidate's trace is
replayed, compiled and run where it is, without an archive, a second link or a reload.

Run by `harness.tuning.candidates.process`, because a candidate may crash, hang, or eat memory.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from harness.compiler.api import UNCHECKED, Schedule, Trace, code_kind, target_of, triple_of, tvm
from harness.devices.graphics.cuda_compiler import CudaCompiler
from harness.devices.graphics.opencl import NotOpenCL
from harness.devices.graphics.work import with_work
from harness.devices.linker import linker
from harness.devices.memory.access_check import access_outside, on_arrays
from harness.devices.threads.fork_join import use_fork_join
from harness.errors import last_line
from harness.files.arrays import write_arrays
from harness.kernels.lowering import use_our_lowering
from harness.machine.awake import KeepAwake, spread_threads
from harness.processes.child import Message, channel
from harness.tuning.candidates.arguments import Arguments
from harness.tuning.candidates.difference import Reference, as_row, first_difference
from harness.tuning.candidates.graphics_function import GraphicsFunction
from harness.tuning.candidates.opencl_verification import opencl_difference
from harness.tuning.candidates.references import references
from harness.tuning.candidates.sampling import CalibrationKernel, Timer, interleaved, samples

Made = TypeVar("Made")

_LEFT_TO_LLVM = ["tirx.RemoveNoOp", "s_tir.RenormalizeSplitPattern", "tirx.CommonSubexprElim"]
"""A tenth of the time to compile is spent on these, and the code is as fast without them."""


class Worker:
    """Answers messages about one kernel at a time and the candidates of it that are compiled."""

    def __init__(self) -> None:
        self._functions: dict[int, Callable[..., object]] = {}
        self._device = tvm.cpu()
        self._cpus = os.sched_getaffinity(0)
        self.awake: KeepAwake | None = None

    def kernel(self, message: Message) -> Message:
        """Turn to another kernel; code for a machine that is not here is not run."""
        self._target = target_of(message["target"])
        here, kind = message["here"], code_kind(self._target)
        if here and self.awake is None:
            use_fork_join()
            self.awake = KeepAwake()
        self._device = tvm.device(kind.device if here else "cpu")
        if not kind.in_process_memory:
            self._cuda = CudaCompiler(str(self._target.attrs["arch"]))
            self._cuda.use()
        native = here and kind.in_process_memory
        self._processor = self._target.export() if native else {"kind": "llvm"}
        self._module = tvm.ir.load_json(message["module"])
        self._outputs = message["outputs"]
        self._real = Path(message["inputs"]) if message["inputs"] else None
        self._arguments = Arguments(
            self._module, message["constants"], message["footprint"], self._real, self._device
        )
        self._expected: list[Reference] = []
        self._functions.clear()
        return {}

    def compile(self, message: Message) -> Message:
        """Compile some candidates for the search, each a trace to replay or a module as it is; how
        those failed that did, with their slots."""
        return {"failed": self._compile_all(message["candidates"], left_out=_LEFT_TO_LLVM)}

    def _compile_all(self, candidates: list[Message], left_out: list[str]) -> list[tuple[int, str]]:
        functions, failed = self._made(candidates, partial(self._loaded, left_out=left_out))
        self._functions |= functions
        return failed

    def export(self, message: Message) -> Message:
        """Compile some candidates into libraries for another machine, below a folder: how those
        failed that did, and where the others are, with their slots. `whole` compiles them as they
        will be in the network."""
        left_out = [] if message["whole"] else _LEFT_TO_LLVM
        export = partial(self._exported, left_out=left_out, folder=Path(message["folder"]))
        functions, failed = self._made(message["candidates"], export)
        return {"failed": failed, "found": list(functions.items())}

    def analyse(self, message: Message) -> Message:
        """Compile some candidates for a graphics processor that is not here, as they will be in the
        network: the failures, and the launches of the others."""
        launches, failed = self._made(message["candidates"], self._analysed)
        return {"failed": failed, "found": list(launches.items())}

    def _made(
        self,
        candidates: list[Message],
        make: Callable[[dict[int, tvm.tirx.PrimFunc]], dict[int, Made]],
    ) -> tuple[dict[int, Made], list[tuple[int, str]]]:
        """Compile candidates, by slot, without some of the lowering passes; the slots of
        those that failed, with the reasons.

        They are compiled as one module: half of the time to compile a small kernel is the same
        for one and for many. When that fails they are compiled one by one, to see which it was.
        """
        os.sched_setaffinity(0, self._cpus)  # measuring has bound this thread
        scheduled: dict[int, tvm.tirx.PrimFunc] = {}
        failed: list[tuple[int, str]] = []
        made: dict[int, Made] = {}
        for candidate in candidates:
            try:
                scheduled[candidate["slot"]] = self._scheduled(candidate)
            except Exception as error:
                failed.append((candidate["slot"], last_line(error)))
        try:
            made |= make(scheduled)
        except Exception:
            for slot, kernel in scheduled.items():
                try:
                    made |= make({slot: kernel})
                except Exception as error:
                    failed.append((slot, last_line(error)))
        return made, failed

    def _scheduled(self, candidate: Message) -> tvm.tirx.PrimFunc:
        if "trace" not in candidate:
            return tvm.ir.load_json(candidate["module"])["main"]
        schedule = Schedule(self._module)
        Trace.apply_json_to_schedule(candidate["trace"], schedule)
        return schedule.mod["main"]

    def _compiled(
        self, scheduled: dict[int, tvm.tirx.PrimFunc], left_out: list[str]
    ) -> tvm.runtime.Executable:
        """One module of some kernels, named by their slots."""
        kernels = {
            _name(slot): kernel.with_attr("global_symbol", _name(slot))
            for slot, kernel in scheduled.items()
        }
        with tvm.transform.PassContext(opt_level=3, config=UNCHECKED, disabled_pass=left_out):
            return tvm.compile(tvm.IRModule(kernels), target=self._target)

    def _loaded(
        self, scheduled: dict[int, tvm.tirx.PrimFunc], left_out: list[str]
    ) -> dict[int, Callable[..., object]]:
        """Kernels compiled into this process."""
        if not scheduled:
            return {}
        compiled = self._compiled(scheduled, left_out)
        if not code_kind(self._target).in_process_memory:
            self._cuda.prepare(compiled.mod)
            library = compiled.jit()
            return {
                slot: GraphicsFunction(library, _name(slot), self._device) for slot in scheduled
            }
        library = compiled.jit()
        # LLVM generates the code when a function is looked up.
        return {slot: library[_name(slot)] for slot in scheduled}

    def _exported(
        self, scheduled: dict[int, tvm.tirx.PrimFunc], left_out: list[str], folder: Path
    ) -> dict[int, Message]:
        """Kernels compiled into a library for another machine: where it is, and their names."""
        if not scheduled:
            return {}
        path = folder / f"{_name(min(scheduled))}.so"
        compiled = self._compiled(scheduled, left_out)
        compiled.export_library(str(path), cc=linker(triple_of(self._target)))
        return {slot: {"library": str(path), "name": _name(slot)} for slot in scheduled}

    def _analysed(self, scheduled: dict[int, tvm.tirx.PrimFunc]) -> dict[int, list[Message]]:
        """The compiler's figures of kernels, and the work of their loops."""
        if not scheduled:
            return {}
        compiled = self._compiled(scheduled, [])
        launches = list(self._cuda.launches(compiled.mod, None))
        return {
            slot: [each.model_dump() for each in with_work(kernel, _name(slot), launches)]
            for slot, kernel in scheduled.items()
        }

    def measure(self, message: Message) -> Message:
        """Seconds per run of one candidate, several samples when it is a finalist, beside those of
        the `calibration`, if one is compiled: its slot, and the seconds that it is known for."""
        with self._kept_awake():
            calibration = None
            if message["calibration"] is not None:
                slot, known = message["calibration"]
                calibration = CalibrationKernel(self._timer(self._functions[slot]), known)
            seconds = self._timer(self._functions.pop(message["slot"]))
            return {"seconds": samples(seconds, message["best"], calibration)}

    def _kept_awake(self) -> KeepAwake:
        assert self.awake is not None, "measuring is for kernels that run here"
        return self.awake

    def _timer(self, function: Callable[..., object]) -> Timer:
        """A timer of a function; the threads it runs with are in their places."""
        self._arguments.seconds(function, 1)
        spread_threads()
        return lambda runs: self._arguments.seconds(function, runs)

    def final(self, message: Message) -> Message:
        """Seconds per run of several candidates, interleaved: [candidates][rounds]."""
        with self._kept_awake():
            timers = [self._timer(self._functions[slot]) for slot in message["slots"]]
            return {"seconds": interleaved(timers, message["rounds"])}

    def verify(self, message: Message) -> Message:
        """Compile some candidates as they will be in the network, run each between guard pages, and
        compare it with the unscheduled kernel: how those failed that did, how others access memory
        outside their arguments, and errors of others, with their slots.
        """
        failed = self._compile_all(message["candidates"], left_out=[])
        wrong, unsafe = [], []
        for slot in {each["slot"] for each in message["candidates"]} - {slot for slot, _ in failed}:
            try:
                if why := self._access_outside(self._functions[slot]):
                    unsafe.append((slot, why))
                elif why := self._difference(self._functions[slot]):
                    wrong.append((slot, why))
            except Exception as error:
                failed.append((slot, last_line(error)))
        return {"failed": failed, "wrong": wrong, "unsafe": unsafe}

    def verify_opencl(self, message: Message) -> Message:
        """Compare some candidates for a graphics processor that is not here, in their OpenCL form,
        with the unscheduled kernel: the errors of those that OpenCL can run, with their slots."""
        wrong = []
        for candidate in message["candidates"]:
            with suppress(NotOpenCL):
                scheduled = self._scheduled(candidate)
                if why := opencl_difference(scheduled, self._target, self._references()):
                    wrong.append((candidate["slot"], why))
        return {"wrong": wrong}

    def _access_outside(self, function: Callable[..., object]) -> str | None:
        """How a candidate accesses memory outside its arguments, in words; None where it does not,
        or where it runs on a graphics processor."""
        if not code_kind(self._target).in_process_memory:
            return None
        found = (
            access_outside(on_arrays(function), [*each.inputs, *each.outputs])
            for each in self._references()
        )
        return next(filter(None, found), None)

    def _difference(self, function: Callable[..., object]) -> str | None:
        """The first output of a candidate that differs from the unscheduled kernel's, in words."""

        def run(given: Sequence[np.ndarray]) -> list[np.ndarray]:
            outputs = [np.zeros_like(each) for each in self._arguments.arrays[-self._outputs :]]
            tensors = [tvm.runtime.tensor(each, self._device) for each in [*given, *outputs]]
            function(*tensors)
            return [each.numpy() for each in tensors[len(given) :]]

        return first_difference(run, self._references())

    def _references(self) -> list[Reference]:
        """The kernel's results on random and on real inputs, computed once."""
        if not self._expected:
            self._expected = references(
                self._module, self._outputs, self._arguments.arrays, self._real, self._processor
            )
        return self._expected

    def arguments(self, message: Message) -> Message:
        """Write the kernel's arguments, its outputs included, for another machine."""
        row = [(str(at), array) for at, array in enumerate(self._arguments.arrays)]
        write_arrays(Path(message["path"]), [row])
        return {}

    def references(self, message: Message) -> Message:
        """The same, on random and on real inputs, with the unscheduled kernel's results."""
        write_arrays(Path(message["path"]), [as_row(each) for each in self._references()])
        return {}

    def is_lost(self) -> bool:
        """Whether a candidate has left the device in a state in which nothing runs any more."""
        try:
            self._device.sync()
        except RuntimeError:
            return True
        return False

    def release(self, message: Message) -> Message:
        """Forget compiled candidates."""
        self._functions.clear()
        return {}


def _name(slot: int) -> str:
    """The name of a candidate's function in a library."""
    return f"candidate{slot}"


def main() -> None:
    parent = channel()
    use_our_lowering()
    worker = Worker()
    gc.freeze()  # TVM's Python modules, or every collection walks through them
    for message in parent:
        if worker.awake is not None:
            worker.awake.rest()
        try:
            answer = getattr(worker, message.pop("do"))(message)
        except Exception as error:
            # Anything a candidate raises is that candidate's failure, never the worker's.
            answer = {"error": last_line(error)}
        parent.send(answer)
        if "error" in answer and worker.is_lost():
            return  # the parent starts another


if __name__ == "__main__":
    main()
