"""Networks whose layers compute in 8-bit integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from calibrated_networks import convolutions, one_dimension, products
from onnx import helper
from quantizing import BOARD, HERE, change, context, inputs, quantized, read
from small_models import FLOAT, onnx_model, weights

from harness.building.network import machine_of, outputs_of
from harness.compiler.api import operator_name, relax, target_of
from harness.errors import CellFailure, CellSkipped, InputError
from harness.hardware import load_target
from harness.measure.plain_reference import MOVED
from harness.networks.layers import weighted_layers_of
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.passes.rewriter import MAIN
from harness.passes.steps import in_steps
from harness.quantization.lattice import Lattice, Quantizer
from harness.quantization.placement import InsertQuantizers, placed
from harness.quantization.step import apply
from harness.quantization.trial import Trial
from harness.specs.quantization import RANGE_METHODS, Quantize, RangeMethod, Rounding


@pytest.mark.parametrize(("network", "in_groups"), [(convolutions, 1), (products, 0)])
def test_quantized_network_is_near_and_its_layers_are_integers(
    network: Callable[[], onnx.ModelProto], in_groups: int, tmp_path: Path
) -> None:
    before, after, entry, imported = quantized(network(), tmp_path)
    assert change(before, after, imported) < 0.05
    reasons = [each.floats_because for each in entry.layers if each.floats_because]
    assert reasons == in_groups * ["convolutions in groups are faster in floats"]
    assert entry.layers_quantized == len(entry.layers) - in_groups
    assert all(each.output_change < 0.05 for each in entry.layers if each.output_change)
    adapted = adapt(after, BOARD.passes, target_of(BOARD.tvm.as_tvm()))
    left = [
        operator_name(binding.value)
        for block in adapted[MAIN].body.blocks
        for binding in block.bindings
    ]
    assert left.count("relax.nn.conv2d") == in_groups
    assert "relax.matmul" not in left


def test_kernels_of_integers_give_what_the_reference_gives(tmp_path: Path) -> None:
    _, after, _, imported = quantized(convolutions(), tmp_path)
    here = load_target("x86-host")
    if not here.tvm.as_tvm().get("mcpu"):
        pytest.skip("the processor is not known")
    target = target_of(here.tvm.as_tvm())
    adapted = fuse(adapt(after, here.passes, target), "full", target)
    assert change(after, adapted, imported) < 0.01


@pytest.mark.parametrize(
    ("target", "options", "most"),
    [
        ("haswell", {}, 64),
        ("haswell", {"reduce_range": False}, 127),
        ("znver4", {}, 127),
        ("znver4", {"reduce_range": True, "rounding": "nearest"}, 64),
        ("raspberry-pi-5", {}, 127),
    ],
)
def test_weights_have_seven_bits_where_that_is_faster(
    target: str, options: dict[str, Any], most: int, tmp_path: Path
) -> None:
    before, after, entry, imported = quantized(products(), tmp_path, load_target(target), **options)
    assert entry.weight_steps == most
    assert change(before, after, imported) < 0.05
    largest = []
    for layer in weighted_layers_of(after):
        found = in_steps(layer.matrix)
        assert found is not None
        largest.append(int(np.abs(found[0].astype(int)).max()))
    assert max(largest) <= most and (most == 64 or max(largest) > 64)


def test_outputs_of_the_network_stay_floats(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    model = onnx_model(nodes, [("x", FLOAT, [3, 8])], ["r", "y"], {"w": weights(8, 4)})
    _, after, _, imported = quantized(model, tmp_path)
    (sample,) = inputs(imported, 1, seed=5)
    first = outputs_of(machine_of(fuse(after, "full"), HERE, 2), sample)[:24]
    np.testing.assert_array_equal(first, np.maximum(sample[0], 0).ravel())


@pytest.mark.parametrize("ranges", list(RANGE_METHODS))
@pytest.mark.parametrize("rounding", ["nearest", "second-order"])
def test_methods_are_recorded(ranges: RangeMethod, rounding: Rounding, tmp_path: Path) -> None:
    before, after, entry, imported = quantized(
        products(), tmp_path, ranges=ranges, rounding=rounding
    )
    assert {(each.ranges, each.rounding) for each in entry.layers} == {(ranges, rounding)}
    assert change(before, after, imported) < 0.1


def test_bias_makes_up_for_a_moved_mean(tmp_path: Path) -> None:
    """Weights of one sign, which a coarse lattice rounds in one direction, on inputs of a mean."""
    random = np.random.default_rng(0)
    matrix = np.append(np.full((63, 8), 0.0139), np.ones((1, 8)), axis=0).astype(np.float32)
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("Gemm", ["a", "w", "b"], ["y"]),
    ]
    constants = {"w": matrix, "b": random.standard_normal(8).astype(np.float32)}
    model = onnx_model(nodes, [("x", FLOAT, [4, 64])], ["y"], constants)
    found = {}
    for bias in (False, True):
        before, after, _, imported = quantized(
            model, tmp_path, bias=bias, rounding="nearest", ranges="minmax", balance=False
        )
        found[bias] = change(before, after, imported)
    assert found[True] < 0.7 * found[False]


def test_channels_are_balanced_where_that_is_nearer(tmp_path: Path) -> None:
    """One channel is a hundred times as large as the others, and its weights as small."""
    size = np.append(np.ones(63), 300.0).astype(np.float32)
    nodes = [
        helper.make_node("Mul", ["x", "size"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    constants = {"size": size, "w": weights(64, 8) / size[:, None]}
    model = onnx_model(nodes, [("x", FLOAT, [4, 64])], ["y"], constants)
    found = {}
    for balance in (False, True):
        before, after, entry, imported = quantized(model, tmp_path, balance=balance)
        found[balance] = change(before, after, imported)
        assert entry.layers[0].balanced == balance
    assert found[True] < 0.2 * found[False]


def test_residual_of_products_stays_in_floats(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("MatMul", ["t", "w"], ["p"]),
        helper.make_node("Add", ["p", "t"], ["y"]),
    ]
    model = onnx_model(nodes, [("x", FLOAT, [4, 8])], ["y"], {"w": weights(8, 8)})
    _, after, _, _ = quantized(model, tmp_path)
    bound = {
        binding.var: binding.value
        for block in after[MAIN].body.blocks
        for binding in block.bindings
    }
    (last,) = (each for each in bound.values() if operator_name(each) == "relax.add")
    assert {operator_name(bound[each]) for each in last.args} == {"relax.matmul", "relax.tanh"}


def test_value_that_others_read_is_not_clipped_to_what_a_layer_reads(tmp_path: Path) -> None:
    """As C2f blocks and U-Nets have it: a layer reads a part, or the maxima, of a value."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"]),
        helper.make_node("Slice", ["p", "from", "to", "axes"], ["s"]),
        helper.make_node("Conv", ["s", "b"], ["q"]),
        helper.make_node("MaxPool", ["p"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["m", "c"], ["r"]),
        helper.make_node("Concat", ["p", "q", "r"], ["y"], axis=1),
    ]
    large = weights(8, 3, 1, 1)
    large[4:] *= 50
    constants = {
        "a": large, "b": weights(4, 4, 1, 1), "c": weights(4, 8, 1, 1),
        "from": np.array([0]), "to": np.array([4]), "axes": np.array([1]),
    }  # fmt: skip
    model = onnx_model(nodes, [("x", FLOAT, [1, 3, 6, 6])], ["y"], constants)
    before, after, _, imported = quantized(model, tmp_path)
    assert change(before, after, imported) < 0.05


def test_excluded_layers_and_comparisons_read_floats(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"]),
        helper.make_node("Conv", ["x", "b"], ["q"]),
        helper.make_node("Greater", ["x", "zero"], ["g"]),
        helper.make_node("Cast", ["g"], ["h"], to=FLOAT),
    ]
    constants = {"a": weights(4, 3, 1, 1), "b": weights(4, 3, 1, 1, seed=1), "zero": np.float32(0)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 3, 6, 6])], ["p", "q", "h"], constants)
    _, after, _, _ = quantized(model, tmp_path, exclude=["q"])
    bound = {
        binding.var: binding.value
        for block in after[MAIN].body.blocks
        for binding in block.bindings
    }
    read = [
        operator_name(bound.get(each.args[0]))
        for each in bound.values()
        if operator_name(each) in ("relax.nn.conv2d", "relax.greater")
    ]
    assert read == ["relax.dequantize", "", ""]


def test_excluded_layer_reads_floats_that_are_moved_to_it(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("Conv", ["t", "a"], ["p"]),
        helper.make_node("Conv", ["r", "b"], ["q"]),
    ]
    constants = {"a": weights(4, 3, 1, 1), "b": weights(4, 3, 1, 1, seed=1)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 3, 6, 6])], ["p", "q"], constants)
    before, after, _, imported = quantized(model, tmp_path, exclude=["p"])
    (sample,) = inputs(imported, 1, seed=3)
    one, other = (
        outputs_of(machine_of(fuse(each, "full"), HERE, 2), sample) for each in (before, after)
    )
    np.testing.assert_array_equal(one[: 4 * 36], other[: 4 * 36])
    assert (one != other).any()


def test_network_that_gives_labels_is_compared_by_what_decides_them(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"]),
        helper.make_node("Relu", ["p"], ["r"]),
        helper.make_node("Conv", ["r", "b"], ["q"]),
        helper.make_node("ArgMax", ["q"], ["y"], axis=1),
    ]
    constants = {"a": weights(16, 3, 3, 3), "b": weights(6, 16, 1, 1, seed=1)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 3, 12, 12])], ["y"], constants)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    before, after, entry, imported = quantized(model, tmp_path)
    assert 0 < entry.output_change < 0.05
    assert all(each.output_change for each in entry.layers)
    machines = [machine_of(fuse(each, "full"), HERE, 2) for each in (before, after)]
    others = [
        np.mean(np.not_equal(*(outputs_of(machine, sample) for machine in machines)))
        for sample in inputs(imported, 8, seed=1)
    ]
    assert np.mean(others) < 0.03


def test_outputs_that_are_infinite_do_not_hide_a_change(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Relu", ["p"], ["r"]),
        helper.make_node("Log", ["r"], ["y"]),
    ]
    model = onnx_model(nodes, [("x", FLOAT, [4, 16])], ["y", "p"], {"w": weights(16, 8)})
    _, _, entry, _ = quantized(model, tmp_path)
    assert np.isfinite(entry.output_change) or entry.output_change == np.inf
    assert not np.isnan(entry.layers[0].output_change)


@pytest.mark.parametrize("biased", [True, False])
def test_outputs_without_weights_keep_their_bias(biased: bool, tmp_path: Path) -> None:
    matrix = weights(16, 4)
    matrix[:, 1], matrix[:, 2] = 0, 1e-41
    constants = {"w": matrix, "b": np.float32([0.3, 0.3, 0.3, 0.3])}
    inputs_of = ["x", "w", "b"] if biased else ["x", "w"]
    model = onnx_model([helper.make_node("Gemm", inputs_of, ["y"])], [("x", FLOAT, [2, 16])], ["y"],
                       constants)  # fmt: skip
    _, after, entry, imported = quantized(model, tmp_path)
    assert entry.layers_quantized == 1
    (sample,) = inputs(imported, 1, seed=5)
    found = outputs_of(machine_of(fuse(after, "full"), HERE, 2), sample).reshape(2, 4)
    np.testing.assert_allclose(found[:, 1:3], 0.3 if biased else 0.0, atol=1e-6)


def test_network_with_state_is_refused(tmp_path: Path) -> None:
    imported = read(products(), tmp_path)
    made, _ = context(inputs(imported, 2))
    with pytest.raises(CellFailure, match="keeps state"):
        apply(
            canonicalise(imported.module, imported.layer_names),
            replace(made, state=True),
            Quantize(),
        )


def test_another_network_than_was_tried_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = InsertQuantizers.other

    def off(self: Any, value: Any, variable: Any, of_layer: bool) -> Any:
        return relax.op.multiply(other(self, value, variable, of_layer), relax.const(1.1))

    monkeypatch.setattr(InsertQuantizers, "other", off)
    with pytest.raises(CellFailure, match="was found while it was chosen"):
        quantized(products(), tmp_path)


def test_moved_values_show_what_rounding_decides(tmp_path: Path) -> None:
    """Another build may give those that lie between two steps the other one."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = onnx_model(nodes, [("x", FLOAT, [3, 8])], ["y"], {"w": weights(8, 4)})
    imported = read(model, tmp_path)
    canonical = canonicalise(imported.module, imported.layer_names)
    placement = placed(canonical, ())
    between = (np.arange(24, dtype=np.float32).reshape(3, 8) + 0.5) / 64
    trial = Trial(canonical, placement, [[between]], HERE, 2)
    (value,) = placement.readers
    quantizer = {value: Quantizer(Lattice(1 / 64, 0, "int8"))}
    change = trial.change(quantizer, {})
    assert trial.change(quantizer, {}, {value: 1.0}) == change
    for move in (MOVED, -MOVED):
        assert abs(trial.change(quantizer, {}, {value: 1 + move}) - change) > 0.1 * change


def test_layers_that_stay_in_floats_say_why(tmp_path: Path) -> None:
    _, _, entry, _ = quantized(convolutions(), tmp_path, exclude=["s"])
    reasons = {each.name: each.floats_because for each in entry.layers}
    assert (reasons["p"], reasons["s"], reasons["y"]) == (None, "it is excluded", None)
    assert {each.name: each.bits for each in entry.layers} == {"p": 8, "r": 32, "s": 32, "y": 8}
    assert 8 < entry.bits < 32


def test_network_without_a_kernel_of_integers_fails_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(CellFailure, match=r"no layer can be quantized: p: conv1d has no kernel"):
        quantized(one_dimension(), tmp_path)


def test_data_that_are_always_zero_stay_floats(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "nothing"], ["z"]),
        helper.make_node("MatMul", ["z", "w"], ["p"]),
        helper.make_node("MatMul", ["x", "w"], ["q"]),
        helper.make_node("Add", ["p", "q"], ["y"]),
    ]
    constants = {"nothing": np.zeros(8, np.float32), "w": weights(8, 4)}
    model = onnx_model(nodes, [("x", FLOAT, [3, 8])], ["y"], constants)
    _, _, entry, _ = quantized(model, tmp_path)
    assert "0 for all" in str(entry.layers[0].floats_because)
    assert entry.layers[1].floats_because is None


def test_quantizing_needs_data(tmp_path: Path) -> None:
    imported = read(products(), tmp_path)
    made, _ = context([])
    with pytest.raises(CellFailure, match="'quantize' needs inputs to calibrate on"):
        apply(canonicalise(imported.module, imported.layer_names), made, Quantize())


def test_unknown_excluded_layer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no layer 'qq'"):
        quantized(products(), tmp_path, exclude=["qq"])


@pytest.mark.parametrize(
    ("target", "said"),
    [("raspberry-pi-4", "has no kernels of 8-bit integers"), ("rtx-4090", "has no kernels")],
)
def test_target_without_kernels_of_integers_skips_the_cell(
    target: str, said: str, tmp_path: Path
) -> None:
    imported = read(products(), tmp_path)
    made, _ = context(inputs(imported, 2), load_target(target))
    with pytest.raises(CellSkipped, match=said):
        apply(canonicalise(imported.module, imported.layer_names), made, Quantize())


def test_values_are_quantized_before_they_are_moved(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["m", "w"], ["y"]),
    ]
    model = onnx_model(nodes, [("x", FLOAT, [1, 3, 8, 8])], ["y"], {"w": weights(8, 3, 3, 3)})
    imported = read(model, tmp_path)
    canonical = canonicalise(imported.module, imported.layer_names)
    (value,) = placed(canonical, ()).readers
    bound = {
        binding.var: operator_name(binding.value)
        for block in canonical[MAIN].body.blocks
        for binding in block.bindings
    }
    assert bound[value] == "relax.nn.relu"
    assert isinstance(value, relax.Var)
