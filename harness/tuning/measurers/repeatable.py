"""Costs that repeat exactly: one sample of a candidate is enough, and a final comparison
needs one round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence

from harness.processes.child import Message
from harness.records.record import TuningCost
from harness.tuning.candidates.compiling import Compiling
from harness.tuning.candidates.final import Standing
from harness.tuning.candidates.process import Candidate, KernelFailed, KernelProcess, KernelTask


class KernelWrong(KernelFailed):
    """A candidate computes something else than the unscheduled kernel; the text says how."""


class RepeatableMeasurer(ABC):
    """A measurer, see `Measurer`, that asks for each candidate's cost once. `workers` is
    how many processes compile."""

    cost: TuningCost

    def __init__(self, workers: int) -> None:
        self._workers = [KernelProcess({}) for _ in range(workers)]
        self._kernel: KernelTask

    def __enter__(self) -> RepeatableMeasurer:
        return self

    def __exit__(self, *raised: object) -> None:
        for worker in self._workers:
            worker.stop()

    def _compiled(
        self, kernel: Message, order: Message, candidates: Sequence[Candidate]
    ) -> Compiling:
        """Have the workers do something with all candidates."""
        compiling = Compiling(self._workers, kernel, order, candidates)
        compiling.finish()
        return compiling

    @abstractmethod
    def costs(
        self, kernel: KernelTask, candidates: Sequence[Candidate]
    ) -> Iterator[float | KernelFailed]:
        """The cost of each candidate, in order, or its failure."""

    def final(
        self, kernel: KernelTask, candidates: Sequence[Candidate]
    ) -> list[float | KernelFailed]:
        """The costs of finalists for a kernel, in order, or their failures: `KernelWrong` if they
        compute something else."""
        return list(self.costs(kernel, candidates))

    def turn_to(self, kernel: KernelTask) -> None:
        """Turn to the candidates of this kernel."""
        self._kernel = kernel

    def measure(
        self, candidates: Sequence[Candidate], best: Callable[[], float | None]
    ) -> Iterator[list[float] | KernelFailed]:
        """The cost of each candidate in order, or how it failed."""
        for cost in self.costs(self._kernel, candidates):
            yield cost if isinstance(cost, KernelFailed) else [cost]

    def finals(
        self,
        entries: Iterable[tuple[KernelTask, Sequence[Candidate]]],
        rounds: int,
        *,
        verified: bool = True,
    ) -> Iterator[Standing | KernelFailed]:
        """The costs of candidates of kernel after kernel, in one round however many are asked for.
        Every run verifies, requested or not: that takes no second run."""
        for kernel, candidates in entries:
            costs = self.final(kernel, candidates)
            failed = {at: cost for at, cost in enumerate(costs) if isinstance(cost, KernelFailed)}
            wrong = {at: str(why) for at, why in failed.items() if isinstance(why, KernelWrong)}
            yield Standing(
                times=[None if isinstance(cost, KernelFailed) else [cost] for cost in costs],
                wrong=wrong,
                failed={at: str(why) for at, why in failed.items() if at not in wrong},
            )
