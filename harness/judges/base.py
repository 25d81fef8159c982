"""The interface of judges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from harness.baselines.base import Feeds
from harness.errors import HarnessError


class CannotJudge(HarnessError):
    """A network that cannot be evaluated more exactly; the text says why."""


class Evaluation(Protocol):
    """One network, loaded by a judge."""

    def outcomes(self, feeds: Feeds) -> Iterator[list[np.ndarray]]:
        """The outputs, and then, each evaluated when it is asked for, other values that they may
        be when intermediate results are rounded differently: some, or without end.

        Raises CannotJudge.
        """
        ...
