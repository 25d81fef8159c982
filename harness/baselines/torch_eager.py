"""PyTorch itself: the reference for exported programs, run operator by operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from harness.baselines.base import Feeds, checked
from harness.models.torch_archive import load_exported_program, user_inputs


class TorchEagerSession:
    """An exported program run by PyTorch on the CPU, without compilation."""

    def __init__(self, path: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        program = load_exported_program(path)
        self.inputs = user_inputs(program, path)
        self._module = program.module(check_guards=False)

    def run(self, feeds: Feeds) -> list[np.ndarray]:
        found = self.bind(feeds)()
        leaves = torch.utils._pytree.tree_leaves(found)
        return [np.array(leaf) for leaf in leaves]

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        tensors = [torch.from_numpy(np.array(array)) for array in checked(self.inputs, feeds)]

        def run() -> object:
            with torch.inference_mode():
                return self._module(*tensors)

        return run
