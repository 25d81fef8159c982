"""Compiles, verifies and measures candidates of one kernel in one process: a candidate's trace is
replayed, compiled and run where it is, without an archive, a second link or a reload.

Run by `harness.tuning.kernel_process`, because a candidate may crash, hang, or eat memory.
"""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np

from harness.awake import KeepAwake, spread_threads
from harness.child import Message, channel
from harness.devices.cuda_compiler import CudaCompiler
from harness.kernels.elementary import use_vector_arithmetic
from harness.measure.inputs import read_arrays
from harness.tuning.graphics_function import GraphicsFunction
from harness.tvm_api import ArgInfo, Schedule, Trace, is_graphics, tvm

_SEED = 0
_HOPELESS = 3.0
"""A candidate this many times slower than the best known is dropped after its first run."""
_CONTENDER = 1.5
"""One within this factor of the best gets several samples, so that the best can be told apart."""
_SAMPLES = 3
_SAMPLE_SECONDS = 0.004
_MOST_RUNS = 400
_MOST_COPIES = 64
_MOST_COPIED_BYTES = 64e6
_UNCHECKED = {"tirx.disable_assert": True}
"""Checking what a kernel is called with is a third of its code, and of the time to compile it."""
_LEFT_TO_LLVM = ["tirx.RemoveNoOp", "s_tir.RenormalizeSplitPattern", "tirx.CommonSubexprElim"]
"""A tenth of the time to compile is spent on these, and the code is as fast without them."""
_PLAINLY = {"opt-level": 1}
"""How unscheduled kernels are compiled: they run a few times only, and at LLVM's highest level some
take 16 seconds to compile."""
_TOLERANCE = 1e-4
"""Largest admitted difference from the unscheduled kernel, relative to its largest output."""


class Arguments:
    """Random arguments of a kernel, its outputs included, on a device.

    In a network whose weights do not fit into the caches, a kernel finds its weights in memory
    every time. There are as many copies of the `constants` as it takes to have it so here too:
    runs take turns with them. `footprint` is the size of all the network's weights, or 0 where
    they stay in the caches. Integers, which may say where to read, are those of `real`, an `.npz`
    of what the kernel is given in an inference, or zeros where there is none.
    """

    def __init__(
        self,
        module: tvm.IRModule,
        constants: list[int],
        footprint: float,
        real: Path | None = None,
        device: tvm.runtime.Device | None = None,
    ) -> None:
        generator = np.random.default_rng(_SEED)
        infos = ArgInfo.from_prim_func(module["main"])
        arrays = [
            _values(generator, str(info.dtype), tuple(map(int, info.shape))) for info in infos
        ]
        if real is not None and any(array.dtype.kind != "f" for array in arrays):
            for at, array in enumerate(_given(real)):
                if array.dtype.kind != "f":
                    arrays[at] = array
        self.arrays = arrays
        tensors = [tvm.runtime.tensor(array, device) for array in arrays]
        copied = max(1, sum(arrays[at].nbytes for at in constants))
        copies = math.ceil(min(footprint, _MOST_COPIED_BYTES) / copied)
        self.sets = [tensors]
        for _ in range(1, min(copies, _MOST_COPIES)):
            fresh = list(tensors)
            for at in constants:
                fresh[at] = tvm.runtime.tensor(arrays[at], device)
            self.sets.append(fresh)
        self._next = 0

    def seconds(self, function: Callable[..., object], runs: int) -> float:
        """The median of some runs; on a graphics processor their mean."""
        if isinstance(function, GraphicsFunction):
            return function.seconds(self.sets[0], runs)
        times = []
        for _ in range(runs):
            arguments = self.sets[self._next]
            self._next = (self._next + 1) % len(self.sets)
            started = time.perf_counter()
            function(*arguments)
            times.append(time.perf_counter() - started)
        return median(times)


class Worker:
    """Answers messages about one kernel at a time and the candidates of it that are compiled."""

    def __init__(self) -> None:
        self._functions: dict[int, Callable[..., object]] = {}
        self._device = tvm.cpu()
        self._cpus = os.sched_getaffinity(0)
        self.awake = KeepAwake()

    def kernel(self, message: Message) -> Message:
        """Turn to another kernel."""
        self._target = tvm.target.Target(message["target"])
        self._device = tvm.cuda() if is_graphics(self._target) else tvm.cpu()
        if is_graphics(self._target):
            self._cuda = CudaCompiler(str(self._target.attrs["arch"]))
            self._cuda.use()
        processor = {"kind": "llvm"} if is_graphics(self._target) else self._target.export()
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
        return {"failed": self._compile_all(message["candidates"], left_out=_LEFT_TO_LLVM)}

    def _compile_all(self, candidates: list[Message], left_out: list[str]) -> list[tuple[int, str]]:
        """Compile candidates without some of the lowering passes; the slots of those that failed,
        with the reasons.

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
        try:
            self._functions |= self._compiled(scheduled, left_out)
        except Exception:
            for slot, kernel in scheduled.items():
                try:
                    self._functions |= self._compiled({slot: kernel}, left_out)
                except Exception as error:
                    failed.append((slot, reason(error)))
        return failed

    def _scheduled(self, candidate: Message) -> tvm.tirx.PrimFunc:
        if "trace" not in candidate:
            return tvm.ir.load_json(candidate["module"])["main"]
        schedule = Schedule(self._module)
        Trace.apply_json_to_schedule(candidate["trace"], schedule)
        return schedule.mod["main"]

    def _compiled(
        self,
        scheduled: dict[int, tvm.tirx.PrimFunc],
        left_out: list[str],
        target: tvm.target.Target | None = None,
    ) -> dict[int, Callable[..., object]]:
        names = {slot: f"candidate{slot}" for slot in scheduled}
        kernels = {
            name: scheduled[slot].with_attr("global_symbol", name) for slot, name in names.items()
        }
        if not kernels:
            return {}
        target = target or self._target
        with tvm.transform.PassContext(opt_level=3, config=_UNCHECKED, disabled_pass=left_out):
            compiled = tvm.compile(tvm.IRModule(kernels), target=target)
        if is_graphics(target):
            self._cuda.prepare(compiled.mod)
        library = compiled.jit()
        if is_graphics(target):
            return {
                slot: GraphicsFunction(library, name, self._device) for slot, name in names.items()
            }
        # Looking a function up is what makes LLVM generate the code.
        return {slot: library[name] for slot, name in names.items()}

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
        failed = self._compile_all(message["candidates"], left_out=[])
        wrong = []
        for slot in {each["slot"] for each in message["candidates"]} - {slot for slot, _ in failed}:
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
        function = self._compiled(unscheduled, left_out=[], target=self._plain_target)[0]
        arrays = self._arguments.arrays
        given = [arrays[: -self._outputs]]
        if self._real is not None:
            given.append(_given(self._real))
        for each in given:
            inputs = [tvm.runtime.tensor(array) for array in each]
            results = [
                tvm.runtime.tensor(np.zeros_like(output)) for output in arrays[-self._outputs :]
            ]
            function(*inputs, *results)
            yield each, [result.numpy() for result in results]

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


def _given(path: Path) -> list[np.ndarray]:
    return list(read_arrays(path)[0].values())


def difference(expected: np.ndarray, found: np.ndarray) -> str | None:
    """How an output differs from what it should be, or None where it does not.

    Floats may differ by 1e-4 of the largest expected value; anything else must be equal.
    """
    if expected.dtype.kind != "f":
        wrong = int(np.count_nonzero(expected != found))
        return f"{wrong} of {expected.size} values differ" if wrong else None
    odd = ~np.isfinite(expected)
    if not np.array_equal(expected[odd], found[odd], equal_nan=True):
        return "what is not finite differs"
    if odd.all():
        return None
    scale = float(np.abs(expected[~odd]).max())
    worst = float(np.abs(found[~odd] - expected[~odd]).max())
    if not worst <= _TOLERANCE * scale:
        return f"off by {worst:.3g} where the largest value is {scale:.3g}"
    return None


def reason(error: Exception) -> str:
    """The last line of an error, where TVM says what is wrong."""
    words = str(error).strip().splitlines()
    return words[-1][:300] if words else repr(error)


def _runs(seconds: float) -> int:
    """How many runs make a sample."""
    return min(_MOST_RUNS, max(1, round(_SAMPLE_SECONDS / max(seconds, 1e-9))))


def _values(generator: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random values for floats; zeros for integers, which may be indices and must be in range."""
    if dtype.startswith("float"):
        return generator.standard_normal(shape).astype(dtype)
    return np.zeros(shape, dtype)


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
