"""Rational approximations of the logistic function and of tanh for vectors in single precision.

Sources: Eigen's `plogistic` and `ptanh`, whose coefficients ONNX Runtime has in
`MlasComputeLogistic` and `MlasComputeTanh`. With fused multiplication and addition the values are
its own, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from harness.compiler.api import tirx
from harness.compiler.script import T


@dataclass(frozen=True)
class _Ratio:
    """x · p(x²) / q(x²) of x up to a bound; coefficients of the highest power first."""

    bound: float
    above: Sequence[float]
    below: Sequence[float]

    def of(self, x: Any, lanes: int) -> Any:
        x = T.bind(T.min(T.max(x, _all(-self.bound, lanes)), _all(self.bound, lanes)))
        square = T.bind(x * x)
        above, below = (
            reduce(lambda sum_, each: sum_ * square + each, [_all(c, lanes) for c in coefficients])
            for coefficients in (self.above, self.below)
        )
        return (above * x) / below


_LOGISTIC = _Ratio(
    18.0,
    [4.37031012579801e-11, 1.15627324459942e-07, 6.08574864600143e-05, 8.51377133304701e-03,
     2.48287947061529e-01],
    [6.10247389755681e-13, 5.76102136993427e-09, 6.29106785017040e-06, 1.70198817374094e-03,
     1.16817656904453e-01, 9.93151921023180e-01],
)  # fmt: skip
_TANH = _Ratio(
    9.0,
    [-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
     1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03],
    [1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03],
)  # fmt: skip


def logistic(x: Any, lanes: int) -> Any:
    """1 / (1 + e^-x), off by 1.3e-7 at most."""
    return T.max(_LOGISTIC.of(x, lanes) + _all(0.5, lanes), _all(0.0, lanes))


def tanh(x: Any, lanes: int) -> Any:
    """tanh x, off by 2.7e-7 at most."""
    return _TANH.of(x, lanes)


def _all(value: float, lanes: int) -> Any:
    return T.Broadcast(tirx.const(value, "float32"), lanes)
