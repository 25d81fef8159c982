"""TFLite operators that are refused, where TVM's converter gives something else or no reason."""

from __future__ import annotations

from harness.compiler.api import relax
from harness.models.tflite.operation import Converter, Operation, Unsupported

_REASONS = {
    **dict.fromkeys(("UNIQUE", "WHERE"), "how many results there are depends on values"),
    **dict.fromkeys(
        ("MULTINOMIAL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM"),
        "its random numbers are others in each inference",
    ),
    **dict.fromkeys(
        ("COMPLEX_ABS", "IMAG", "REAL", "RFFT2D"), "there are no complex numbers in TVM"
    ),
    "BITCAST": "the bits of values are not read as another type",
}


def _refusal(reason: str) -> Converter:
    def refuse(_: Operation) -> relax.Expr:
        raise Unsupported(reason)

    return refuse


REFUSED: dict[str, Converter] = {name: _refusal(reason) for name, reason in _REASONS.items()}
