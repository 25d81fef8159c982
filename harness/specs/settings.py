"""The axes of a sweep: settings that have a list of values in a sweep, and one in each cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from harness.specs.documents import MOST_THREADS, Count, Frozen

Threads = Annotated[Count, Field(le=MOST_THREADS)]
Streams = Annotated[Count, Field(le=MOST_THREADS)]


class Settings(Frozen):
    """A cell's value on each axis. None: the batch of the model file, the cores of the target, and
    one network at a time, whose throughput is not measured."""

    batch: Count | None = None
    threads: Threads | None = None
    streams: Streams | None = None

    def __str__(self) -> str:
        return ", ".join(AXES[name].text(value) for name, value in self.given.items())

    @property
    def given(self) -> dict[str, int]:
        """The values that the sweep gives, by axis."""
        return {name: value for name in AXES if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class Axis:
    """How an axis is shown: the `title` of its column, and the `text` of a value in a name.

    Where values are other `workload`s, an inference does more work with one than with another:
    their latencies do not compare, and `select` needs one of them.
    """

    title: str
    text: Callable[[int], str]
    help: str
    workload: bool = False


AXES: Mapping[str, Axis] = {
    "batch": Axis("Batch", lambda n: f"batch {n}", "Only cells of this batch.", workload=True),
    "threads": Axis(
        "Threads",
        lambda n: f"{n} thread{'s' * (n > 1)}",
        "Only cells with this number of threads.",
    ),
    "streams": Axis(
        "Streams",
        lambda n: f"{n} stream{'s' * (n > 1)}",
        "Only cells with so many copies of a network side by side.",
    ),
}
"""By the name of the field in `Settings` and of the key in a sweep."""
