"""Networks whose kernels C++ calls give what the virtual machine gives, bit for bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compiling import imported
from onnx import TensorProto, helper
from small_models import FLOAT, convolutional, feeds, onnx_model, recurrent_step, weights

from harness.building.at_once import AT_ONCE, all_at_once
from harness.building.network import Made, arrays_of, build, machine_of
from harness.compiler.api import lowering_passes, relax, target_of, tvm
from harness.deploy.runner import Library
from harness.hardware import HOST, load_target
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse, summarise
from harness.passes.rewriter import MAIN
from harness.processes.python import run_python
from harness.records.artifact import LIBRARY, Artifact
from harness.specs.sweep import FusionLevel
from harness.tuning.database import database_of

HALF, BOOL, BYTE = TensorProto.FLOAT16, TensorProto.BOOL, TensorProto.INT8


def views() -> onnx.ModelProto:
    """`a` and `b` are one result in two shapes, `c` is the input in another, `d` a constant."""
    return onnx_model(
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("Reshape", ["r", "six"], ["a"]),
            helper.make_node("Reshape", ["a", "rows"], ["b"]),
            helper.make_node("Reshape", ["x", "six"], ["c"]),
            helper.make_node("Identity", ["w"], ["d"]),
        ],
        [("x", FLOAT, [1, 2, 3])],
        ["a", "b", "c", "d"],
        {"six": np.array([6]), "rows": np.array([3, 2]), "w": weights(2, 2)},
    )


def types() -> onnx.ModelProto:
    """Inputs and results of several types."""
    return onnx_model(
        [
            helper.make_node("Cast", ["n"], ["f"], to=FLOAT),
            helper.make_node("Cast", ["h"], ["g"], to=FLOAT),
            helper.make_node("Where", ["b", "f", "g"], ["c"]),
            helper.make_node("MatMul", ["c", "w"], ["m"]),
            helper.make_node("Softmax", ["m"], ["y"]),
            helper.make_node("Greater", ["y", "s"], ["z"]),
        ],
        [("n", BYTE, [4, 6]), ("h", HALF, [4, 6]), ("b", BOOL, [4, 6]), ("s", FLOAT, [])],
        ["y", ("z", BOOL, [4, 5])],
        {"w": weights(6, 5)},
    )


def parts() -> onnx.ModelProto:
    """A kernel of several results, one of which is an output, one is reshaped and an output, and
    one is read by two kernels."""
    return onnx_model(
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("Split", ["r", "sizes"], ["a", "b", "c"], axis=1),
            helper.make_node("Reshape", ["b", "flat"], ["d"]),
            helper.make_node("MatMul", ["c", "w"], ["m"]),
            helper.make_node("Softmax", ["c"], ["e"]),
            helper.make_node("Concat", ["m", "e"], ["y"], axis=1),
        ],
        [("x", FLOAT, [2, 9])],
        ["a", "d", "y"],
        {"sizes": np.array([2, 3, 4]), "flat": np.array([6]), "w": weights(4, 5)},
    )


NETWORKS = {
    "convolutions": convolutional,
    "state": recurrent_step,
    "views": views,
    "parts": parts,
    "types": types,
}


def built(model: onnx.ModelProto, level: FusionLevel, folder: Path) -> tuple[Path, Any]:
    """A network, compiled for this machine into an artifact, and for the virtual machine."""
    found = imported(model, folder)
    target = target_of(load_target(HOST).tvm.as_tvm())
    network = canonicalise(found.module, found.layer_names)
    fused = fuse(network, level, target)
    made = Made(found, summarise(network, fused))
    build(fused, target, 2, database_of([], {}), folder / "artifact", made)
    return folder / "artifact", machine_of(fused, target, 2)


@pytest.mark.parametrize("level", ["none", "full"])
@pytest.mark.parametrize("name", NETWORKS)
def test_results_are_those_of_the_virtual_machine(
    name: str, level: FusionLevel, tmp_path: Path
) -> None:
    folder, other = built(NETWORKS[name](), level, tmp_path)
    artifact = Artifact.read(folder)
    assert artifact.function == AT_ONCE
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(folder / LIBRARY)), tvm.cpu())
    library = Library(folder / LIBRARY, [each.model_dump() for each in artifact.outputs], None)
    for seed in (0, 1):
        given = feeds(artifact.inputs, seed)
        arguments = [tvm.runtime.tensor(given[each.name]) for each in artifact.inputs]
        found = outputs(machine[AT_ONCE](*arguments))
        ordered = [given[each.name] for each in artifact.inputs]
        expected = arrays_of(other, ordered)
        alone = library.infer(ordered)
        assert len(found) == len(expected) == len(artifact.outputs)
        for one, by_other, by_itself in zip(found, expected, alone, strict=True):
            assert (one.dtype, one.shape) == (by_other.dtype, by_other.shape)
            np.testing.assert_array_equal(one, by_other)
            np.testing.assert_array_equal(by_itself, by_other)


def outputs(results: Any) -> list[np.ndarray]:
    return [each.numpy() for each in ([results] if hasattr(results, "numpy") else results)]


def test_constants_are_in_memory_once(tmp_path: Path) -> None:
    """Twelve matrices, 50 MB; the virtual machine would have them three times while it loads."""
    folder, _ = built(products(12, 1024), "full", tmp_path)
    grown = run_python(
        ["-c", GROWN, str(folder)], seconds=120, environment={"TVM_NUM_THREADS": "1"}
    )
    loaded, peak = map(float, grown.split())
    assert 50 < loaded <= peak < 60


GROWN = """
import sys
from pathlib import Path
import numpy as np
from harness.measure.worker import status_mb
from harness.measure.native_session import NativeSession
before = status_mb("VmRSS")
session = NativeSession(Path(sys.argv[1]))
session.run({"x": np.ones((1, 1024), np.float32)})
print(status_mb("VmRSS") - before, status_mb("VmHWM") - before)
"""


def products(count: int, width: int) -> onnx.ModelProto:
    """A row through square matrices, one after the other."""
    names = ["x", *(f"h{at}" for at in range(1, count)), "y"]
    nodes = [
        helper.make_node("MatMul", [names[at], f"w{at}"], [names[at + 1]]) for at in range(count)
    ]
    matrices = {f"w{at}": weights(width, width, seed=at) for at in range(count)}
    return onnx_model(nodes, [("x", FLOAT, [1, width])], ["y"], matrices)


def test_memory_is_given_back_when_a_network_is_closed(tmp_path: Path) -> None:
    """It is opened anew for each sample of its latency."""
    folder, _ = built(products(12, 1024), "full", tmp_path)
    first, later = map(float, run_python(["-c", AGAIN, str(folder)], seconds=120).split())
    assert later < first + 10


AGAIN = """
import sys
from pathlib import Path
from harness.measure.worker import status_mb
from harness.measure.native_session import NativeSession
for at in range(5):
    NativeSession(Path(sys.argv[1]))
    if at in (0, 4):
        print(status_mb("VmRSS"))
"""


def test_times_of_kernels_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    folder, _ = built(convolutional(), "none", tmp_path)
    artifact = Artifact.read(folder)
    library = Library(folder / LIBRARY, [each.model_dump() for each in artifact.outputs], None)
    given = [*feeds(artifact.inputs, 0).values()]
    times = np.zeros(len(artifact.sequence) + 2, np.int64)
    with library.watched(times):
        library.infer(given)
    *written, beyond = times.tolist()
    assert written == sorted(written) and min(written) > 0 and beyond == 0
    library.infer(given)
    assert times.tolist() == [*written, beyond]
    assert Counter(artifact.sequence) == {each.name: each.calls for each in artifact.kernels}


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 3, 8, 9), np.float32), np.zeros((1, 3, 8, 8)), np.zeros(3, np.float32)]
)
def test_inputs_are_checked(wrong: np.ndarray, tmp_path: Path) -> None:
    folder, _ = built(convolutional(), "full", tmp_path)
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(folder / LIBRARY)), tvm.cpu())
    with pytest.raises(ValueError, match=r"input 0: expected .*8.*float32"):
        machine[AT_ONCE](tvm.runtime.tensor(wrong))


def lowered(function: Any) -> tvm.IRModule:
    target = target_of(load_target(HOST).tvm.as_tvm())
    flow, rest = lowering_passes(target)
    with target:
        return tvm.transform.Sequential([*flow, *rest])(tvm.IRModule({MAIN: function}))


def test_other_networks_are_left_to_the_virtual_machine() -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    with builder.function(MAIN, [x]):
        found = builder.emit(relax.op.unique(x, sorted=True))
        builder.emit_func_output(found)
    assert all_at_once(lowered(builder.get()[MAIN])) is None
    with builder.function("nothing", [x]):
        builder.emit_func_output(x)
    assert all_at_once(lowered(builder.get()["nothing"])) is None
