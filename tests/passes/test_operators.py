"""The rows of elementwise operators, against TVM's own kernels and torch's functions."""

from __future__ import annotations

from operator import attrgetter

import numpy as np
import pytest
from compiling import run_fused

from harness.compiler.api import Op, relax
from harness.passes.fusion import fuse
from harness.passes.operators import ELEMENTWISE

_VALUES = np.array([0.0, 0.25, 1.0, 1.5, -0.75, -2.0], np.float32)


def computed(name: str) -> list[np.ndarray]:
    """The operands, and the result, of an operator in a network of its own."""
    operator = Op.get(name)
    build = attrgetter(name.removeprefix("relax."))(relax.op)
    count = 1 if name == "relax.nn.relu" else int(operator.num_inputs)
    operands = [np.roll(_VALUES, at) for at in range(count)]
    if name in {"relax.sqrt", "relax.log", "relax.rsqrt", "relax.power"}:
        operands = [np.abs(each) + 0.5 for each in operands]
    if name.startswith("relax.logical"):
        operands = [each > 0 for each in operands]
    if name == "relax.where":
        operands[0] = operands[0] > 0
    builder = relax.BlockBuilder()
    parameters = [
        relax.Var(f"x{at}", relax.TensorType(each.shape, str(each.dtype)))
        for at, each in enumerate(operands)
    ]
    with builder.function("main", parameters):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(build(*parameters)))
        builder.emit_func_output(result)
    (found,) = run_fused(fuse(builder.get(), "none"), operands)
    return [*operands, found]


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_each_row_is_an_operator_of_tvm(name: str) -> None:
    assert Op.get(name).name == name


@pytest.mark.parametrize(
    "name",
    sorted(name for name, row in ELEMENTWISE.items() if row.numbers and name != "relax.clip"),
)
def test_numbers_are_what_tvm_computes(name: str) -> None:
    row = ELEMENTWISE[name]
    assert row.numbers is not None
    *operands, found = computed(name)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = row.numbers(*(each.astype(np.float64) for each in operands))
    finite = np.isfinite(expected)
    np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-6)


@pytest.mark.parametrize("name", sorted(name for name, row in ELEMENTWISE.items() if row.torch))
def test_torch_computes_what_tvm_does(name: str) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")
    path = ELEMENTWISE[name].torch
    assert path is not None
    *operands, found = computed(name)
    expected = attrgetter(path)(torch)(*map(torch.from_numpy, operands)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
