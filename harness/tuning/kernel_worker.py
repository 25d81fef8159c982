"""Compiles, verifies and measures candidates of one kernel in one process: a candidate's trace is
replayed, compiled and run where it is, without an archive, a second link or a reload.

Run by `harness.tuning.kernel_process`, because a candidate may crash, hang, or eat memory.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from harness.awake import KeepAwake, spread_threads
from harness.child import Message, channel
from harness.devices.cuda_compiler import CudaCompiler
from harness.devices.graphics_work import with_work
from harness.devices.linker import linker
from harness.kernels.elementary import use_vector_arithmetic
from harness.measure.inputs import write_arrays
from harness.tuning.arguments import Arguments, given_in
from harness.tuning.difference import difference
from harness.tuning.graphics_function import GraphicsFunction
from harness.tvm_api import Schedule, Trace, is_graphics, tvm

_Made = TypeVar("_Made")

_SEED = 0
_HOPELESS = 3.0
"""A candidate this many times slower than the best known is dropped after its first run."""
_CONTENDER = 1.5
"""One within this factor of the best gets several samples, so that the best can be told apart."""
_SAMPLES = 3
_SAMPLE_SECONDS = 0.004
_MOST_RUNS = 400
_UNCHECKED = {"tirx.disable_assert": True}
"""Checking what a kernel is called with is a third of its code, and of the time to compile it."""
_LEFT_TO_LLVM = ["tirx.RemoveNoOp", "s_tir.RenormalizeSplitPattern", "tirx.CommonSubexprElim"]
"""A tenth of the time to compile is spent on these, and the code is as fast without them."""
_PLAINLY = {"opt-level": 1}
"""How unscheduled kernels are compiled: they run a few times only, and at LLVM's highest level some
take 16 seconds to compile."""


class Worker:
    """Answers messages about one kernel at a time and the candidates of it that are compiled."""

    def __init__(self) -> None:
        self._functions: dict[int, Callable[..., object]] = {}
        self._device = tvm.cpu()
        self._cpus = os.sched_getaffinity(0)
        self.awake = KeepAwake()

    def kernel(self, message: Message) -> Message:
        """Turn to another kernel; what is compiled for a device that is not here is not run."""
        self._target = tvm.target.Target(message["target"])
        here, graphics = message["here"], is_graphics(self._target)
        self._device = tvm.cuda() if graphics and here else tvm.cpu()
        if graphics:
            self._cuda = CudaCompiler(str(self._target.attrs["arch"]))
            self._cuda.use()
        processor = self._target.export() if here and not graphics else {"kind": "llvm"}
        self._plain_target = tvm.target.Target({**processor, **_PLAINLY})
        self._module = tvm.ir.load_json(message["module"])
        self._outputs = message["outputs"]
        self._real = Path(message["inputs"]) if message["inputs"] else None
        self._arguments = Arguments(
            self._module, message["constants"], message["footprint"], self._real, self._device
        )
        self._expected: list[tuple[list[np.ndarray], list[np.ndarray]]] = []
        self._functions.clear()
        return {}

    def compile(self, message: Message) -> Message:
        """Compile some candidates for the search, each a trace to replay or a module as it is; how
        those failed that did, with their slots."""
        found, failed = self._made(message["candidates"], partial(self._loaded, _LEFT_TO_LLVM))
        self._functions |= found
        return {"failed": failed}

    def export(self, message: Message) -> Message:
        """Compile some candidates as they will be in the network, each to a function of a library
        in `folder`, for a device elsewhere: the path of the library and the function's name, by
        slot, and how those failed that did."""
        folder = Path(message["folder"])
        found, failed = self._made(message["candidates"], partial(self._exported, folder))
        return {"found": list(found.items()), "failed": failed}

    def analyse(self, message: Message) -> Message:
        """Compile some candidates for a graphics processor that is not here, as they will be in the
        network: what is known of their launches, by slot, and how those failed that did."""
        found, failed = self._made(message["candidates"], self._analysed)
        return {"found": list(found.items()), "failed": failed}

    def _made(
        self,
        candidates: list[Message],
        make: Callable[[dict[int, tvm.tirx.PrimFunc]], dict[int, _Made]],
    ) -> tuple[dict[int, _Made], list[tuple[int, str]]]:
        """What some candidates are made into, by slot, and the slots of those that failed, with the
        reasons.

        They are compiled as one module: half of what compiling a small kernel takes is the same
        for one and for many. When that fails they are compiled one by one, to see which it was.
        """
        os.sched_setaffinity(0, self._cpus)  # measuring has bound this thread
        scheduled: dict[int, tvm.tirx.PrimFunc] = {}
        failed: list[tuple[int, str]] = []
        for candidate in candidates:
            try:
                scheduled[candidate["slot"]] = self._scheduled(candidate)
            except Exception as error:
                failed.append((candidate["slot"], reason(error)))
        if not scheduled:
            return {}, failed
        try:
            return make(scheduled), failed
        except Exception:
            found: dict[int, _Made] = {}
            for slot, kernel in scheduled.items():
                try:
                    found |= make({slot: kernel})
                except Exception as error:
                    failed.append((slot, reason(error)))
            return found, failed

    def _scheduled(self, candidate: Message) -> tvm.tirx.PrimFunc:
        if "trace" not in candidate:
            return tvm.ir.load_json(candidate["module"])["main"]
        schedule = Schedule(self._module)
        Trace.apply_json_to_schedule(candidate["trace"], schedule)
        return schedule.mod["main"]

    def _loaded(
        self,
        left_out: list[str],
        scheduled: dict[int, tvm.tirx.PrimFunc],
        target: tvm.target.Target | None = None,
    ) -> dict[int, Callable[..., object]]:
        """Functions that run here, compiled without some of the lowering passes."""
        target = target or self._target
        compiled = _compiled(scheduled, target, left_out)
        if is_graphics(target):
            self._cuda.prepare(compiled.mod)
        library = compiled.jit()
        if is_graphics(target):
            return {
                slot: GraphicsFunction(library, _name(slot), self._device) for slot in scheduled
            }
        # Looking a function up is what makes LLVM generate the code.
        return {slot: library[_name(slot)] for slot in scheduled}

    def _exported(
        self, folder: Path, scheduled: dict[int, tvm.tirx.PrimFunc]
    ) -> dict[int, tuple[str, str]]:
        path = str(folder / f"{'-'.join(map(_name, scheduled))}.so")
        triple = self._target.attrs.get("mtriple")
        _compiled(scheduled, self._target).export_library(
            path, cc=linker(str(triple) if triple else None)
        )
        return {slot: (path, _name(slot)) for slot in scheduled}

    def _analysed(self, scheduled: dict[int, tvm.tirx.PrimFunc]) -> dict[int, list[Message]]:
        compiled = _compiled(scheduled, self._target)
        launches = list(self._cuda.launches(compiled.mod, None))
        return {
            slot: [each.model_dump() for each in with_work(kernel, _name(slot), launches)]
            for slot, kernel in scheduled.items()
        }

    def measure(self, message: Message) -> Message:
        """Seconds per run of one candidate, several samples when it is a contender."""
        with self.awake:
            return {"seconds": self._samples(self._functions.pop(message["slot"]), message["best"])}

    def _samples(self, function: Callable[..., object], best: float | None) -> list[float]:
        self._arguments.seconds(function, 1)
        spread_threads()
        first = min(self._arguments.seconds(function, 1) for _ in range(2))
        if best is not None and first > _HOPELESS * best:
            return [first]
        samples = [self._arguments.seconds(function, _runs(first))]
        if best is None or samples[0] <= _CONTENDER * best:
            for _ in range(1, _SAMPLES):
                samples.append(self._arguments.seconds(function, _runs(first)))
        return samples

    def contest(self, message: Message) -> Message:
        """Seconds per run of several candidates, taking turns: [candidates][rounds]."""
        with self.awake:
            return {"seconds": self._turns(message["slots"], message["rounds"])}

    def _turns(self, slots: list[int], rounds: int) -> list[list[float]]:
        functions = [self._functions[slot] for slot in slots]
        runs = [_runs(self._arguments.seconds(function, 3)) for function in functions]
        spread_threads()
        seconds: list[list[float]] = [[] for _ in functions]
        order = np.random.default_rng(_SEED)
        for _ in range(rounds):
            for at in order.permutation(len(functions)):
                seconds[at].append(self._arguments.seconds(functions[at], runs[at]))
        return seconds

    def verify(self, message: Message) -> Message:
        """Compile some candidates as they will be in the network, and compare each with the
        unscheduled kernel: how those failed that did, and what others get wrong, with their slots.
        """
        found, failed = self._made(message["candidates"], partial(self._loaded, []))
        self._functions |= found
        wrong = []
        for slot in found:
            try:
                if why := self._difference(self._functions[slot]):
                    wrong.append((slot, why))
            except Exception as error:
                failed.append((slot, reason(error)))
        return {"failed": failed, "wrong": wrong}

    def _difference(self, function: Callable[..., object]) -> str | None:
        """The first output of a candidate that differs from the unscheduled kernel's, in words."""
        if not self._expected:
            self._expected = list(self._references())
        for given, expected in self._expected:
            inputs = [tvm.runtime.tensor(array, self._device) for array in given]
            results = [tvm.runtime.tensor(np.zeros_like(array), self._device) for array in expected]
            function(*inputs, *results)
            for at, (array, result) in enumerate(zip(expected, results, strict=True)):
                if why := difference(array, result.numpy()):
                    return f"output {at}: {why}"
        return None

    def _references(self) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
        """Inputs, random and real, and what the kernel gives for them without any schedule, on the
        processor."""
        unscheduled = {0: self._module["main"]}
        function = self._loaded([], unscheduled, self._plain_target)[0]
        arrays = self._arguments.arrays
        given = [arrays[: -self._outputs]]
        if self._real is not None:
            given.append(given_in(self._real))
        for each in given:
            inputs = [tvm.runtime.tensor(array) for array in each]
            results = [
                tvm.runtime.tensor(np.zeros_like(output)) for output in arrays[-self._outputs :]
            ]
            function(*inputs, *results)
            yield each, [result.numpy() for result in results]

    def references(self, message: Message) -> Message:
        """Write to a file what the kernel is given and what it gives without any schedule, a row
        for each inference with the results last, for a board to compare with."""
        rows = [[*given, *expected] for given, expected in self._references()]
        named = [[(str(at), array) for at, array in enumerate(row)] for row in rows]
        write_arrays(Path(message["path"]), named)
        return {}

    def is_lost(self) -> bool:
        """Whether a candidate has left the device in a state in which nothing runs any more."""
        try:
            self._device.sync()
        except RuntimeError:
            return True
        return False

    def release(self, message: Message) -> Message:
        """Forget what is compiled."""
        self._functions.clear()
        return {}


def _name(slot: int) -> str:
    return f"candidate{slot}"


def _compiled(
    scheduled: dict[int, tvm.tirx.PrimFunc],
    target: tvm.target.Target,
    left_out: Sequence[str] = (),
) -> Any:
    """One module with all of the candidates, without what TVM needs to run it."""
    kernels = {
        _name(slot): kernel.with_attr("global_symbol", _name(slot))
        for slot, kernel in scheduled.items()
    }
    with tvm.transform.PassContext(opt_level=3, config=_UNCHECKED, disabled_pass=list(left_out)):
        return tvm.compile(tvm.IRModule(kernels), target=target)


def reason(error: Exception) -> str:
    """The last line of an error, where TVM says what is wrong."""
    words = str(error).strip().splitlines()
    return words[-1][:300] if words else repr(error)


def _runs(seconds: float) -> int:
    """How many runs make a sample."""
    return min(_MOST_RUNS, max(1, round(_SAMPLE_SECONDS / max(seconds, 1e-9))))


def main() -> None:
    parent = channel()
    use_vector_arithmetic()
    worker = Worker()
    gc.freeze()  # TVM's Python modules, or every collection walks through them
    for message in parent:
        worker.awake.rest()
        try:
            answer = getattr(worker, message.pop("do"))(message)
        except Exception as error:
            # Anything a candidate raises is that candidate's failure, never the worker's.
            answer = {"error": reason(error)}
        parent.send(answer)
        if "error" in answer and worker.is_lost():
            return  # the parent starts another


if __name__ == "__main__":
    main()
