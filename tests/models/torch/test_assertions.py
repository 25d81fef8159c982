"""Assertions on values leave a program; what outputs need stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiling import run_fused

from harness.errors import InputError
from harness.models.frontends import import_model
from harness.models.torch.assertions import without_assertions
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse


def node(target: str, reads: list[dict[str, Any]], *made: dict[str, Any]) -> dict[str, Any]:
    return {"target": target, "inputs": [{"arg": arg} for arg in reads], "outputs": [*made]}


def tensor(name: str) -> dict[str, Any]:
    return {"as_tensor": {"name": name}}


def number(name: str, kind: str = "int") -> dict[str, Any]:
    return {f"as_sym_{kind}": {"as_name": name}}


def graph(*outputs: dict[str, Any]) -> dict[str, Any]:
    """A product, and an assertion that a number of an input is small."""
    return {
        "nodes": [
            node("torch.ops.aten.item.default", [tensor("n")], number("item")),
            node("_operator.le", [number("item"), {"as_int": 4}], number("le", "bool")),
            node("torch.ops.aten._assert_scalar.default", [number("le", "bool")]),
            node("torch.ops.aten.mul.Tensor", [tensor("x"), tensor("x")], tensor("mul")),
        ],
        "outputs": [*outputs],
        "sym_int_values": {"item": {}},
        "sym_bool_values": {"le": {}},
    }


def targets(plain: dict[str, Any]) -> list[str]:
    return [each["target"].rpartition("aten.")[2] for each in plain["nodes"]]


def test_assertion_goes_with_the_numbers_that_it_alone_reads() -> None:
    plain = graph(tensor("mul"))
    without_assertions(plain)
    assert targets(plain) == ["mul.Tensor"]
    assert not plain["sym_int_values"] and not plain["sym_bool_values"]


def test_number_that_an_output_needs_stays() -> None:
    plain = graph(tensor("mul"), number("item"))
    without_assertions(plain)
    assert targets(plain) == ["item.default", "mul.Tensor"]
    assert plain["sym_int_values"].keys() == {"item"}


def test_network_that_asserts_computes_what_pytorch_does(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")

    class Asserting(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any, length: Any) -> Any:
            torch._check(length.max().item() <= 8)
            return x * length

    inputs = torch.arange(4.0), torch.tensor([1, 2, 3, 4])
    torch.export.save(torch.export.export(Asserting().eval(), inputs), tmp_path / "net.pt2")
    imported = import_model(tmp_path / "net.pt2", {}, tmp_path)
    (found,) = run_fused(
        fuse(canonicalise(imported.module), "full"), [each.numpy() for each in inputs]
    )
    np.testing.assert_array_equal(found, inputs[0] * inputs[1])


def test_number_that_decides_a_shape_is_refused_with_its_node(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")

    class Cutting(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any, length: Any) -> Any:
            count = length.max().item()
            torch._check(count >= 0)
            torch._check(count <= x.shape[0])
            return torch.nn.functional.pad(x[:count].sum(0, keepdim=True), (0, 3))

    inputs = torch.arange(4.0), torch.tensor([1, 2, 3, 4])
    torch.export.save(torch.export.export(Cutting().eval(), inputs), tmp_path / "net.pt2")
    with pytest.raises(InputError, match="node 'item' takes a number out of a tensor"):
        import_model(tmp_path / "net.pt2", {}, tmp_path)


def test_size_that_depends_on_values_is_refused_with_its_node(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")

    class Picking(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x[x > 0].sum()

    program = torch.export.export(Picking().eval(), (torch.arange(4.0),))
    torch.export.save(program, tmp_path / "net.pt2")
    with pytest.raises(InputError, match=r"node 'index' \(torch.ops.aten.index.Tensor\) depends"):
        import_model(tmp_path / "net.pt2", {}, tmp_path)
