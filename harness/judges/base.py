"""What every judge offers."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from harness.baselines.base import Feeds
from harness.errors import HarnessError


class CannotJudge(HarnessError):
    """A network that cannot be evaluated more exactly; the text says why."""


class Evaluation(Protocol):
    """One network, loaded by a judge."""

    def run(self, feeds: Feeds) -> list[list[np.ndarray]]:
        """What the outputs are, and what else they may be when intermediate results are rounded
        differently: [outcomes][outputs], the first outcome the most exact.

        Raises CannotJudge.
        """
        ...
