"""PyTorch itself: the reference for exported programs, run operator by operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import ml_dtypes
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
        return [_array(tensor.detach()).copy() for tensor in self._bound(feeds)()]

    def bind(self, feeds: Feeds) -> Callable[[], object]:
        return self._bound(feeds)

    def _bound(self, feeds: Feeds) -> Callable[[], list[torch.Tensor]]:
        tensors = [_tensor(array) for array in checked(self.inputs, feeds)]

        def run() -> list[torch.Tensor]:
            with torch.inference_mode():
                return cast("list[torch.Tensor]", self._module(*tensors))

        return run


# PyTorch and NumPy exchange no bfloat16; its bits are exchanged instead.


def _tensor(array: np.ndarray) -> torch.Tensor:
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _array(tensor: torch.Tensor) -> np.ndarray:
    if tensor.dtype == torch.bfloat16:
        return np.asarray(tensor.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16))
    return np.asarray(tensor.numpy())
