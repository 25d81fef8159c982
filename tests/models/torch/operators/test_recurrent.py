"""LSTM, GRU and RNN of PyTorch in all their forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch_operators import Drawn, assert_like_pytorch, torch

KINDS = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU, "RNN": torch.nn.RNN}
FORMS: list[tuple[str, dict[str, Any], int, int, int]] = [
    ("LSTM", {}, 5, 1, 16),
    ("LSTM", {"bidirectional": True, "batch_first": True}, 4, 3, 7),
    ("LSTM", {"num_layers": 2, "bias": False}, 3, 2, 20),
    ("LSTM", {"num_layers": 2, "bidirectional": True}, 3, 4, 5),
    ("GRU", {"batch_first": True}, 5, 1, 16),
    ("GRU", {"bidirectional": True}, 4, 3, 7),
    ("GRU", {"num_layers": 2, "bias": False, "batch_first": True}, 3, 2, 20),
    ("GRU", {"num_layers": 3, "bidirectional": True, "batch_first": True}, 1, 4, 5),
    ("RNN", {}, 5, 1, 16),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True}, 4, 3, 7),
    ("RNN", {"num_layers": 2, "bias": False, "batch_first": True}, 3, 2, 20),
    ("LSTM", {"proj_size": 3}, 3, 2, 8),
    ("LSTM", {"proj_size": 3, "num_layers": 2, "bidirectional": True}, 3, 2, 8),
    ("LSTM", {"dropout": 0.5, "num_layers": 2}, 3, 2, 8),
]  # fmt: skip


class Layer(torch.nn.Module):
    """A recurrent layer whose results are a list, with or without states that it begins with."""

    def __init__(self, kind: str, form: dict[str, Any], hidden: int) -> None:
        super().__init__()
        self.layer = KINDS[kind](6, hidden, **form)

    def forward(self, x: Any, *begun: Any) -> list[Any]:
        state = tuple(begun) if len(begun) > 1 else begun[0] if begun else None
        every, last = self.layer(x, state)
        return [every, *(last if isinstance(last, tuple) else (last,))]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "form", "steps", "batch", "hidden"), FORMS)
def test_layer_is_that_of_pytorch(
    tmp_path: Path,
    kind: str,
    form: dict[str, Any],
    steps: int,
    batch: int,
    hidden: int,
) -> None:
    torch.manual_seed(steps + hidden)
    drawn = Drawn(f"{kind} {form}")
    x = drawn.floats(*((batch, steps) if form.get("batch_first") else (steps, batch)), 6)
    count = form.get("num_layers", 1) * (2 if form.get("bidirectional") else 1)
    states = [drawn.floats(count, batch, form.get("proj_size", hidden))]
    if kind == "LSTM":
        states.append(drawn.floats(count, batch, hidden))
    begun = FORMS.index((kind, form, steps, batch, hidden)) % 2
    level = "none" if form.get("bias") is False else "full"
    given = [x, *(states if begun else [])]
    assert_like_pytorch(Layer(kind, form, hidden), given, tmp_path, levels=[level])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_layer_of_one_sequence_and_in_double_precision(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(3)
    layer = Layer(kind, {"bidirectional": True}, 9).double()
    given = [Drawn(kind).floats(4, 6, dtype=torch.float64)]
    assert_like_pytorch(layer, given, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_cell_is_that_of_pytorch(tmp_path: Path, kind: str) -> None:
    class Steps(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = getattr(torch.nn, kind)(6, 9)

        def forward(self, x: Any, h: Any, c: Any) -> list[Any]:
            state = (h, c) if kind == "LSTMCell" else h
            found = []
            for at in range(x.shape[0]):
                state = self.cell(x[at], state)
                found.append(state[0] if kind == "LSTMCell" else state)
            return [torch.stack(found)]

    torch.manual_seed(4)
    drawn = Drawn(kind)
    given = [drawn.floats(3, 2, 6), drawn.floats(2, 9), drawn.floats(2, 9)]
    assert_like_pytorch(Steps(), given, tmp_path)
