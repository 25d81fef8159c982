"""PyTorch exported programs to Relax, and what a hostile file tries on the way."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models
from compiling import run_fused
from tvm_runs import assert_same_numbers

from harness.baselines.registry import open_session
from harness.errors import InputError
from harness.models.frontends import import_model
from harness.models.tensors import TensorSpec
from harness.networks.layers import layers_of
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse

torch = pytest.importorskip("torch", reason="needs the extra: pip install 'layeredge[torch]'")

from harness.models.torch.operators.table import CONVERTERS  # noqa: E402  (needs PyTorch)

GRAPH = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models.save_torch(tmp_path_factory.mktemp("torch") / "network.pt2")


def refused(path: Path, shapes: dict[str, tuple[int, ...]] | None = None) -> str:
    with pytest.raises(InputError) as error:
        import_model(path, shapes or {}, path.parent)
    assert "\n" not in str(error.value)
    assert path.name in str(error.value)
    return str(error.value)


def rewritten(source: Path, change: Callable[[dict[str, bytes]], None], to: Path) -> Path:
    """A copy of an exported program with its entries changed."""
    with zipfile.ZipFile(source) as archive:
        root = archive.namelist()[0].partition("/")[0]
        entries = {n.removeprefix(f"{root}/"): archive.read(n) for n in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(to, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{root}/{name}", content)
    return to


def with_json(name: str, change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def apply(entries: dict[str, bytes]) -> None:
        plain = json.loads(entries[name])
        change(plain)
        entries[name] = json.dumps(plain).encode()

    return apply


def export(network: Any, path: Path, *example: Any, **options: Any) -> Path:
    torch.export.save(torch.export.export(network.eval(), example, **options), path)
    return path


@pytest.mark.slow
def test_import_computes_what_pytorch_does_when_arguments_and_results_are_nested(
    exported: Path,
) -> None:
    imported = import_model(exported, {}, exported.parent)
    assert imported.prepared is None
    assert [str(spec) for spec in imported.inputs] == [
        "x: float32 [1, 3, 8, 8]",
        "more_gain: float32 [4]",
    ]
    session = open_session("torch", exported, threads=1)
    assert session.inputs == imported.inputs
    feeds = small_models.feeds(imported.inputs)
    assert_same_numbers(imported, feeds, session.run(feeds))


def test_weights_are_inside_the_module_when_imported(exported: Path) -> None:
    module = import_model(exported, {}, exported.parent).module
    assert len(module["main"].params) == 2


@pytest.mark.slow
def test_import_gives_one_tensor_when_there_is_one_output(tmp_path: Path) -> None:
    path = export(torch.nn.ReLU(), tmp_path / "relu.pt2", torch.ones(2, 3))
    imported = import_model(path, {"input": (2, 3)}, tmp_path)
    assert imported.outputs == (TensorSpec("relu", (2, 3), "float32"),)
    feeds = small_models.feeds(imported.inputs)
    assert_same_numbers(imported, feeds, open_session("torch", path, 1).run(feeds))


def test_import_says_export_again_when_a_shape_is_not_the_one_in_the_file(exported: Path) -> None:
    text = refused(exported, {"x": (2, 3, 8, 8)})
    assert "x: float32 [1, 3, 8, 8] is fixed in the file" in text
    with pytest.raises(InputError, match="no input 'xx'; did you mean 'x'"):
        import_model(exported, {"xx": (1,)}, exported.parent)


def test_import_says_export_without_dynamic_shapes_when_there_are_some(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=2)
    path = export(
        torch.nn.ReLU(), tmp_path / "a.pt2", torch.ones(2, 3), dynamic_shapes=({0: batch},)
    )
    text = refused(path)
    assert "input 'input' is [" in text
    assert "dynamic_shapes" in text


def test_import_names_operator_and_node_when_tvm_has_no_converter(tmp_path: Path) -> None:
    class Network(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.linalg.det(x)

    text = refused(export(Network(), tmp_path / "det.pt2", torch.eye(3)))
    assert "aten._linalg_det.default (node '_linalg_det')" in text


def test_import_says_call_eval_when_the_network_changes_its_buffers(tmp_path: Path) -> None:
    path = tmp_path / "training.pt2"
    torch.export.save(torch.export.export(torch.nn.BatchNorm1d(3), (torch.ones(2, 3),)), path)
    assert ".eval()" in refused(path)


def test_import_refuses_when_an_input_is_a_number(tmp_path: Path) -> None:
    class Network(torch.nn.Module):
        def forward(self, x: Any, times: int) -> Any:
            return x * times

    assert "tensors only" in refused(export(Network(), tmp_path / "n.pt2", torch.ones(2), 3))


@pytest.mark.parametrize("size", [100, 3000])
def test_import_refuses_when_the_file_is_truncated(
    exported: Path, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "short.pt2"
    path.write_bytes(exported.read_bytes()[:size])
    assert "zip archive" in refused(path)


def test_import_explains_export_when_the_archive_is_a_saved_module(tmp_path: Path) -> None:
    path = tmp_path / "module.pt2"
    torch.save({"weight": torch.ones(2)}, path)
    text = refused(path)
    assert "a pickled module" in text
    assert "torch.export.save" in text


def test_import_refuses_when_entries_are_compressed(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(exported) as source, zipfile.ZipFile(path, "w", 8) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert "compressed" in refused(path)


# A file that runs code when it is read by `torch.export.load` must not do so here.


class Payload:
    """Unpickling it creates the file `marker`."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def test_stock_loader_runs_pickled_sample_inputs(exported: Path, tmp_path: Path) -> None:
    """The danger is real: should PyTorch close it, this test says that the detour can go."""
    marker = tmp_path / "marker"
    path = rewritten(exported, pickled_sample_inputs(marker), tmp_path / "a.pt2")
    with pytest.raises(Exception):  # noqa: B017
        torch.export.load(path)
    assert marker.exists()


def pickled_sample_inputs(marker: Path) -> Callable[[dict[str, bytes]], None]:
    def change(entries: dict[str, bytes]) -> None:
        entries["data/sample_inputs/model.pt"] = pickle.dumps(Payload(marker))

    return change


def test_import_never_unpickles_when_sample_inputs_are_hostile(
    exported: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    path = rewritten(exported, pickled_sample_inputs(marker), tmp_path / "a.pt2")
    imported = import_model(path, {}, tmp_path)
    open_session("torch", path, 1).run(small_models.feeds(imported.inputs))
    assert not marker.exists()


def test_import_refuses_when_a_weight_is_a_pickle(exported: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    def change(entries: dict[str, bytes]) -> None:
        with_json(WEIGHTS, lambda w: w["config"]["dense.weight"].update(use_pickle=True))(entries)
        file = json.loads(entries[WEIGHTS])["config"]["dense.weight"]["path_name"]
        entries[f"data/weights/{file}"] = pickle.dumps(Payload(marker))

    text = refused(rewritten(exported, change, tmp_path / "a.pt2"))
    assert "'dense.weight' is stored as a pickle" in text
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["custom_obj_0", "opaque_obj_0"])
def test_import_refuses_when_a_constant_is_an_object(
    exported: Path, tmp_path: Path, kind: str
) -> None:
    marker = tmp_path / "marker"

    def change(entries: dict[str, bytes]) -> None:
        payload = {"path_name": kind, "is_param": False, "use_pickle": True, "tensor_meta": None}
        with_json(CONSTANTS, lambda c: c["config"].update(thing=payload))(entries)
        entries[f"data/constants/{kind}"] = pickle.dumps(Payload(marker))

    assert "'thing' is stored as a pickle" in refused(
        rewritten(exported, change, tmp_path / "a.pt2")
    )
    assert not marker.exists()


@pytest.mark.parametrize(
    "legacy", ["data/weights/model.pt", "data/constants/model.pt"], ids=["weights", "constants"]
)
def test_import_ignores_pickles_when_they_stand_where_old_formats_kept_them(
    exported: Path, tmp_path: Path, legacy: str
) -> None:
    marker = tmp_path / "marker"
    path = rewritten(
        exported, lambda e: e.update({legacy: pickle.dumps(Payload(marker))}), tmp_path / "a.pt2"
    )
    import_model(path, {}, tmp_path)
    assert not marker.exists()


def test_import_does_not_load_libraries_when_the_archive_brings_some(
    exported: Path, tmp_path: Path
) -> None:
    library = {"data/aotinductor/model/model.so": b"\x7fELF not a library"}
    path = rewritten(exported, lambda e: e.update(library), tmp_path / "a.pt2")
    assert len(import_model(path, {}, tmp_path).inputs) == 2


def code(marker: Path) -> str:
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


def hostile_guard(graph: Any, code: str) -> None:
    graph["guards_code"] = [f"{code} or True"]


def hostile_dimension(graph: Any, code: str) -> None:
    sizes = graph["graph_module"]["graph"]["tensor_values"]["conv2d"]["sizes"]
    sizes[0] = {"as_expr": {"expr_str": code, "hint": {"as_int": 1}}}


def hostile_input_name(graph: Any, code: str) -> None:
    text = json.dumps(graph).replace('"more_gain"', json.dumps(f"more_gain={code}"))
    graph.update(json.loads(text))


def hostile_weight_name(graph: Any, code: str) -> None:
    for spec in graph["graph_module"]["signature"]["input_specs"]:
        if "parameter" in spec:
            spec["parameter"]["parameter_name"] = f'w"), {code}, ("'


def hostile_operator(graph: Any, code: str) -> None:
    graph["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"


def hostile_method(graph: Any, code: str) -> None:
    graph["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.aten.conv2d.overloads"


def hostile_function_argument(graph: Any, code: str) -> None:
    inputs = graph["graph_module"]["graph"]["nodes"][0]["inputs"]
    inputs[0]["arg"] = {"as_operator": "torch.hub.load"}


def hostile_enumeration(graph: Any, code: str) -> None:
    call = graph["graph_module"]["module_call_graph"][0]["signature"]
    call["in_spec"] = '[1, {"__enum__": true, "fqn": "antigravity:x", "name": "y"}]'


@pytest.mark.parametrize(
    "change",
    [
        hostile_guard,
        hostile_dimension,
        hostile_input_name,
        hostile_weight_name,
        hostile_operator,
        hostile_method,
        hostile_function_argument,
        hostile_enumeration,
    ],
)
def test_nothing_runs_when_the_graph_carries_python_source(
    exported: Path, tmp_path: Path, change: Callable[[Any, str], None]
) -> None:
    marker = tmp_path / "marker"
    path = rewritten(
        exported, with_json(GRAPH, lambda g: change(g, code(marker))), tmp_path / "a.pt2"
    )
    harmless = change in (hostile_guard, hostile_enumeration)  # what carries it is not kept
    try:
        imported = import_model(path, {}, tmp_path)
        open_session("torch", path, 1).run(small_models.feeds(imported.inputs))
    except InputError as error:
        assert not harmless, error
        assert "\n" not in str(error)
    else:
        assert harmless
    assert not marker.exists()


def test_import_refuses_when_an_operator_reads_or_writes_files(
    exported: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"

    def change(graph: Any) -> None:
        nodes = graph["graph_module"]["graph"]["nodes"]
        (node,) = [n for n in nodes if n["target"] == "torch.ops.aten.hardswish.default"]
        node["target"] = "torch.ops.aten.from_file.default"
        arguments = {"filename": {"as_string": str(victim)}, "shared": {"as_bool": True}}
        node["inputs"] = [
            {"name": name, "arg": arg, "kind": 1}
            for name, arg in (arguments | {"size": {"as_int": 512}}).items()
        ]

    path = rewritten(exported, with_json(GRAPH, change), tmp_path / "a.pt2")
    assert "reads or writes files" in refused(path)
    with pytest.raises(InputError, match="reads or writes files"):
        open_session("torch", path, 1)
    assert not victim.exists()


@pytest.mark.slow
def test_last_step_of_a_recurrent_network_is_the_last_one(tmp_path: Path) -> None:
    class Last(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gates = torch.nn.GRU(3, 4, batch_first=True)

        def forward(self, x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
            steps = self.gates(x)[0]
            return steps[:, -1] + steps[0, at]

    torch.manual_seed(0)
    network = Last().eval()
    given = (torch.randn(1, 5, 3), torch.tensor([-2]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of weights, which PyTorch flattens itself
        program = torch.export.export(network, given)
    torch.export.save(program, tmp_path / "last.pt2")
    imported = import_model(tmp_path / "last.pt2", {}, tmp_path)
    fused = fuse(canonicalise(imported.module), "full")
    (found,) = run_fused(fused, [each.numpy() for each in given])
    np.testing.assert_allclose(found, network(*given).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_import_names_the_node_in_our_own_words_when_a_converter_gives_up(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(call: object) -> None:
        raise TypeError("of TVM")

    monkeypatch.setitem(CONVERTERS, "convolution.default", fails)
    text = refused(exported)
    assert (
        "operator aten.convolution.default of node 'convolution' is not supported in this form"
        in text
    )
    assert "of TVM" not in text and "float32[1, 3, 8, 8]" in text


def test_layers_have_the_paths_of_their_modules(tmp_path: Path) -> None:
    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
            self.head = torch.nn.Linear(8, 4)

        def forward(self, x: Any) -> Any:
            return self.head(self.stem(x).relu().mean((2, 3)))

    imported = import_model(
        export(Network(), tmp_path / "net.pt2", torch.ones(1, 3, 8, 8)), {}, tmp_path
    )
    layers = layers_of(canonicalise(imported.module, imported.layer_names))
    assert [layer.name for layer in layers] == ["stem.0", "head"]


@pytest.mark.slow
def test_tied_weights_are_layers_of_the_modules_that_use_them(tmp_path: Path) -> None:
    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
            self.b.weight = self.a.weight

        def forward(self, x: Any) -> Any:
            return self.b(self.a(self.a(x).relu()).relu())

    imported = import_model(export(Network(), tmp_path / "net.pt2", torch.ones(2, 8)), {}, tmp_path)
    layers = layers_of(canonicalise(imported.module, imported.layer_names))
    names = [layer.name for layer in layers]
    assert names[0] == "a" and names[2] == "b" and len(set(names)) == 3


def test_operator_whose_results_pytorch_cannot_tell_is_named(tmp_path: Path) -> None:
    class Rounded(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fake_quantize_per_tensor_affine(x, 0.1, 3, -128, 127)

    path = tmp_path / "rounded.pt2"
    torch.export.save(torch.export.export(Rounded(), (torch.ones(3),)), path)
    with pytest.raises(InputError, match=r"not supported: aten\.fake_quantize_per_tensor_affine"):
        import_model(path, {}, tmp_path)
