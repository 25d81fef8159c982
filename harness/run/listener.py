"""Messages of a sweep about its progress."""

from __future__ import annotations

from typing import Protocol

from harness.processes.child import Message
from harness.records.record import Record


class Listener(Protocol):
    """Hears what a sweep is doing."""

    def planned(self, total: int, finished: int) -> None: ...

    def working(self, label: str, stage: str) -> None: ...

    def progress(
        self, label: str, stage: str, done: float, total: float, detail: str = ""
    ) -> None: ...

    def tuning(self, label: str, progress: Message) -> None: ...

    def finished(self, record: Record) -> None: ...

    def note(self, text: str) -> None: ...
