"""PyTorch itself: the reference for exported programs, run operator by operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch

from harness.baselines.base import Feeds, checked
from harness.models.torch.archive import load_exported_program, user_inputs


class TorchEagerSession:
    """An exported program run by PyTorch on the CPU, without compilation."""

    def __init__(self, path: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        program = load_exported_program(path)
        self.inputs = user_inputs(program)
        self._module = program.module()

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        return [tensor.detach().numpy().copy() for tensor in self._bound(feeds)()]

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        return self._bound(feeds)

    def _bound(self, feeds: Feeds) -> Callable[[], list[torch.Tensor]]:
        tensors = [torch.from_numpy(array) for array in checked(self.inputs, feeds)]

        def run() -> list[torch.Tensor]:
            with torch.inference_mode():
                return cast("list[torch.Tensor]", self._module(*tensors))

        return run
