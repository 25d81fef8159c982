"""Layers whose weights have fewer bits while their data stay floats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
from onnx import helper
from quantizing import BOARD, change, context, inputs, quantized, read
from small_models import FLOAT, onnx_model, weights

from harness.building.network import machine_of, outputs_of
from harness.compiler.api import constant_array, target_of
from harness.errors import CellFailure, CellSkipped, InputError
from harness.hardware import load_target
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.passes.rewriter import MAIN
from harness.quantization.step import apply
from harness.specs.quantization import Quantize

Dtype = Literal["int8", "float16"]


def network(scale: float = 1.0) -> onnx.ModelProto:
    """A convolution of each kind and a dense layer, with biases."""
    nodes = [
        helper.make_node("Conv", ["x", "a", "ab"], ["p"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("Conv", ["q", "b"], ["r"], group=32, pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["r"], ["s"]),
        helper.make_node("Flatten", ["s"], ["t"]),
        helper.make_node("Gemm", ["t", "c", "cb"], ["y"]),
    ]
    constants = {
        "a": scale * weights(32, 3, 3, 3), "ab": weights(32), "b": weights(32, 1, 3, 3),
        "c": weights(32, 64), "cb": weights(64),
    }  # fmt: skip
    return onnx_model(nodes, [("x", FLOAT, [1, 3, 9, 8])], ["y"], constants)


@pytest.mark.parametrize(("dtype", "bits", "most"), [("float16", 16, 1e-3), ("int8", 8, 1e-2)])
def test_weights_are_narrow_and_the_outputs_near(
    dtype: Dtype, bits: int, most: float, tmp_path: Path
) -> None:
    options = {"weights": dtype, "activations": "float32"}
    before, after, entry, imported = quantized(network(), tmp_path, **options)
    assert 0 < change(before, after, imported) < most
    assert entry.output_change is not None and 0 < entry.output_change < most
    assert [each.bits for each in entry.layers] == [bits, 32, bits]
    assert "groups" in (entry.layers[1].floats_because or "")
    assert entry.layers_quantized == 2


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_kernels_store_narrow_weights_and_give_the_same(dtype: Dtype, tmp_path: Path) -> None:
    spec = load_target("x86-host")
    target = target_of(spec.tvm.as_tvm())
    options = {"weights": dtype, "activations": "float32"}
    _, after, _, imported = quantized(network(), tmp_path, spec, **options)
    adapted = adapt(after, spec.passes, target)
    stored = {
        str(array.dtype)
        for block in adapted[MAIN].body.blocks
        for binding in block.bindings
        for argument in getattr(binding.value, "args", [])
        for each in getattr(argument, "fields", [argument])
        if (array := constant_array(each)) is not None and array.size > 1000
    }
    assert stored == {dtype}
    (sample,) = inputs(imported, 1)
    plain, packed = (
        outputs_of(machine_of(fuse(each, "full", target), target, 2), sample)
        for each in (after, adapted)
    )
    np.testing.assert_allclose(packed, plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())


def test_excluded_layer_stays(tmp_path: Path) -> None:
    options = {"weights": "int8", "activations": "float32"}
    _, _, entry, _ = quantized(network(), tmp_path, **options)
    first = entry.layers[0].name
    _, _, entry, _ = quantized(network(), tmp_path, **options, exclude=(first,))
    assert [each.bits for each in entry.layers] == [32, 32, 8]
    with pytest.raises(InputError, match="layer"):
        quantized(network(), tmp_path, **options, exclude=("absent",))


def test_weights_beyond_half_precision_stay(tmp_path: Path) -> None:
    options = {"weights": "float16", "activations": "float32"}
    _, _, entry, _ = quantized(network(1e6), tmp_path, **options)
    assert "more than float16 has" in (entry.layers[0].floats_because or "")
    assert [each.bits for each in entry.layers] == [32, 32, 16]


def test_targets_without_packed_weights_skip(tmp_path: Path) -> None:
    passes = BOARD.passes.model_copy(update={"pack_weights": False})
    spec = BOARD.model_copy(update={"passes": passes})
    with pytest.raises(CellSkipped, match="'pack_weights: true'"):
        quantized(network(), tmp_path, spec, weights="float16", activations="float32")
    with pytest.raises(CellSkipped, match="does not widen vectors of float16"):
        quantized(
            network(), tmp_path, load_target("h100"), weights="float16", activations="float32"
        )


def test_network_without_such_layers_fails_with_the_reason(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "a"], ["y"])]
    model = onnx_model(nodes, [("x", FLOAT, [2, 8])], ["y"], {"a": weights(8, 3)})
    with pytest.raises(CellFailure, match=r"no layer's weights can be int8: .*not packed"):
        quantized(model, tmp_path, weights="int8", activations="float32")


def test_network_with_state_is_taken(tmp_path: Path) -> None:
    """Nothing is calibrated, so later values of the state need not be known."""
    imported = read(network(), tmp_path)
    canonical = canonicalise(imported.module, imported.layer_names)
    made, kept = context(inputs(imported, 1))
    options = Quantize(weights="int8", activations="float32")
    found, entry = apply(canonical, replace(made, state=True, calibration=list), options)
    assert kept == [found] and entry.layers_quantized == 2
