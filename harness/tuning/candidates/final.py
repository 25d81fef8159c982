"""A final of candidates of one kernel in one worker: all are compiled, and verified where that is
asked for, and those that are sound are measured interleaved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness.processes.child import ChildLost, Message
from harness.tuning.candidates.process import (
    CANDIDATE_SECONDS,
    COMPILE,
    Candidate,
    KernelFailed,
    KernelProcess,
)

_FINAL_SECONDS = 120.0


@dataclass(frozen=True)
class Standing:
    """How a final ended: seconds per run, [candidates][rounds], None for a candidate that is wrong,
    unsafe or failed; the error of wrong ones, the failure of others, and the access of unsafe ones
    access memory outside their arguments, by position."""

    times: list[list[float] | None]
    wrong: dict[int, str]
    failed: dict[int, str]
    unsafe: dict[int, str] = field(default_factory=dict)


class Final:
    """One final; `begin`, `finish` and `take`, in this order, so that several can begin in as
    many workers before the first is finished."""

    def __init__(
        self,
        worker: KernelProcess,
        kernel: Message,
        candidates: Sequence[Candidate],
        *,
        verified: bool,
    ) -> None:
        self._worker = worker
        self._order = {"do": "verify"} if verified else COMPILE
        self._kernel = kernel
        self._candidates = dict(enumerate(candidates))
        self._sound: set[int] = set()
        self._wrong: dict[int, str] = {}
        self._failed: dict[int, str] = {}
        self._unsafe: dict[int, str] = {}
        self._failure: KernelFailed | None = None

    def begin(self) -> None:
        """Have all candidates made ready, without waiting for it."""
        try:
            self._worker.ask(self._kernel, {"do": "release"}, CANDIDATE_SECONDS)
            self._worker.begin(self._kernel, self._order, self._candidates)
        except (ChildLost, KernelFailed):
            self._worker.stop()

    def finish(self) -> None:
        """Wait for the answer to `begin`. When the worker was lost one candidate is to blame: one
        by one, it will show."""
        try:
            self._note(self._candidates, self._worker.answer(_FINAL_SECONDS))
        except (ChildLost, KernelFailed) as error:
            if isinstance(error, ChildLost):
                self._worker.stop()
            try:
                self._one_by_one()
            except KernelFailed as failure:
                self._failure = failure
        finally:
            self._worker.pause()

    def _one_by_one(self) -> None:
        for slot in self._candidates:
            try:
                self._ready([slot])
            except KernelFailed as failure:
                self._failed[slot] = str(failure)
                if self._worker.child is None and self._sound:  # they are gone with the worker
                    self._ready(sorted(self._sound))

    def _ready(self, slots: Sequence[int]) -> None:
        candidates = {slot: self._candidates[slot] for slot in slots}
        answer = self._worker.carry_out(self._kernel, self._order, candidates, _FINAL_SECONDS)
        self._note(slots, answer)

    def _note(self, slots: Iterable[int], answer: Message) -> None:
        wrong = dict(answer.get("wrong", ()))
        self._wrong |= wrong
        unsafe = dict(answer.get("unsafe", ()))
        self._unsafe |= unsafe
        failed = dict(answer["failed"])
        self._failed |= failed
        self._sound |= set(slots) - set(wrong) - set(unsafe) - set(failed)

    def take(self, rounds: int) -> Standing | KernelFailed:
        """Measure the sound ones interleaved; nothing else should be running."""
        if self._failure is not None:
            return self._failure
        times: list[list[float] | None] = [None] * len(self._candidates)
        sound = sorted(self._sound)
        if sound:
            message = {"do": "final", "slots": sound, "rounds": rounds}
            try:
                answer = self._worker.ask(self._kernel, message, _FINAL_SECONDS)
            except KernelFailed as failure:
                return failure
            finally:
                self._worker.pause()
            for slot, seconds in zip(sound, answer["seconds"], strict=True):
                times[slot] = [float(value) for value in seconds]
        return Standing(times, self._wrong, self._failed, self._unsafe)
