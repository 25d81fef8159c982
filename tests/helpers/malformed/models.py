"""Malformed models: ONNX, TFLite and PyTorch files that are no networks, or monstrous ones."""

from __future__ import annotations

import io
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from small_models import FLOAT, convolutional, onnx_model, save_int8_tflite

from malformed.cases import damaged

Maker = Callable[[random.Random], onnx.ModelProto]


def write(folder: Path, name: str, random: random.Random) -> Path:
    """Write a malformed model of some format, and return its path."""
    ways = [_changed, _changed, _changed, _bytes, _bytes, _elsewhere, _content, _torch]
    return random.choice(ways)(folder, name, random)


def _relu(shape: list[int], name: str = "x") -> onnx.ModelProto:
    return onnx_model([helper.make_node("Relu", [name], ["y"])], [(name, FLOAT, shape)], ["y"])


def _added(tensor: TensorProto) -> onnx.ModelProto:
    """A network that adds a constant, whatever that is."""
    model = _relu([1, 4])
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Add", ["x", "w"], ["y"]))
    tensor.name = "w"
    model.graph.initializer.append(tensor)
    return model


def _tensor(dims: list[int], raw: bytes | None, kind: int = FLOAT) -> TensorProto:
    tensor = TensorProto(data_type=kind)
    tensor.dims.extend(dims)
    if raw is not None:
        tensor.raw_data = raw
    return tensor


def _external(location: str, **entries: str) -> onnx.ModelProto:
    tensor = TensorProto(data_type=FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.dims.extend([1, 4])
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return _added(tensor)


def _nodes(*nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _node(operator: str, *inputs: str, to: str = "y", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), [to], **attributes)


def _functions(count: int) -> onnx.ModelProto:
    """Functions that call the one before twice, or themselves where there is one."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = [
        helper.make_function(
            "own", f"F{at}", ["a"], ["c"],
            [
                helper.make_node(f"F{max(0, at - 1)}", ["a"], ["b"], domain="own"),
                helper.make_node(f"F{max(0, at - 1)}", ["b"], ["c"], domain="own"),
            ]
            if at or count == 1
            else [helper.make_node("Relu", ["a"], ["c"])],
            opsets,
        )
        for at in range(count)
    ]  # fmt: skip
    model = _relu([1, 4])
    model.graph.node[0].op_type, model.graph.node[0].domain = f"F{count - 1}", "own"
    model.functions.extend(functions)
    model.opset_import.append(opsets[1])
    return model


def _typed(kind: int) -> onnx.ModelProto:
    model = _relu([1, 4])
    model.graph.input[0].type.tensor_type.elem_type = kind
    return model


def _versions(opset: int, ir: int) -> onnx.ModelProto:
    model = _relu([1, 4])
    model.opset_import[0].version, model.ir_version = opset, ir
    return model


def _image(operator: str, **attributes: object) -> onnx.ModelProto:
    return onnx_model(
        [helper.make_node(operator, ["x"], ["y"], **attributes)],
        [("x", FLOAT, [1, 1, 4, 4])],
        ["y"],
    )


_MODELS: tuple[Maker, ...] = (
    lambda r: _relu([2**20, 2**20]),
    lambda r: _relu([2**62, 8]),
    lambda r: _relu([0, 4]),
    lambda r: _relu([1, 4], "q" * 100_000),
    lambda r: _relu(
        [1, 4], r.choice(["../../x", "a\nb\r\nc", "\x1b[31mred", "[red]x[/nope]", "a\0b", ""])
    ),
    lambda r: _typed(r.choice([0, 8, 10, 14, 16, 17, 999])),
    lambda r: _versions(r.choice([-3, 0, 2**31 - 1]), 8),
    lambda r: _versions(17, r.choice([-1, 0, 9999])),
    lambda r: _functions(r.choice([1, 30])),
    lambda r: _added(_tensor([2**40], b"")),
    lambda r: _added(_tensor([2**32, 2**32], b"")),
    lambda r: _added(_tensor([-1, 4], bytes(16))),
    lambda r: _added(_tensor([1, 4], bytes(3))),
    lambda r: _added(_tensor([1, 4], None)),
    lambda r: _added(_tensor([1, 4], bytes(16), 77)),
    lambda r: _external(
        r.choice(["/etc/passwd", "../../etc/passwd", "", ".", "a\0b", "x" * 3000, "C:/x"])
    ),
    lambda r: _external(r.choice(["pipe", "circle", "outside", "missing", "..\\x", "device"])),
    lambda r: _external("weights", offset=r.choice(["-5", "abc", str(2**62)])),
    lambda r: _external("weights", length=r.choice(["-5", "abc", str(2**62)])),
    lambda r: _nodes(
        _node("Add", "x", "b", to="a"), _node("Relu", "a", to="b"), _node("Relu", "b")
    ),
    lambda r: _nodes(_node("Relu", "x"), _node("Relu", "x")),
    lambda r: _nodes(_node("Add", "x", "nothing")),
    lambda r: _nodes(_node("Relu", "x", to="z")),
    lambda r: _nodes(_node("<script>", "x")),
    lambda r: _nodes(_node("Relu", "x", domain="[red]x[/nope]")),
    lambda r: _nodes(_node("Concat", *["x"] * 3000, axis=0)),
    lambda r: _nodes(
        _node("ConstantOfShape", "s", to="c"),
        _node("ReduceSum", "c", to="d", keepdims=0),
        _node("Add", "x", "d"),
        s=np.array([2**31, 2**31]),
    ),
    lambda r: _nodes(
        _node("Div", "a", "b", to="c"),
        helper.make_node("Cast", ["c"], ["y"], to=1),
        a=np.array([-(2**31)], np.int32),
        b=np.array([r.choice([0, -1])], np.int32),
    ),
    lambda r: _nodes(_node("Gather", "x", "i", axis=1), i=np.array([2**40])),
    lambda r: _nodes(_node("Reshape", "x", "s"), s=np.array([-1, -1])),
    lambda r: _nodes(_node("Tile", "x", "n"), n=np.array([2**15, 2**16])),
    lambda r: _image("AveragePool", kernel_shape=[r.choice([0, 9, 2**30])] * 2),
    lambda r: _image("MaxPool", kernel_shape=[2, 2], strides=[0, 0]),
    lambda r: _image("MaxPool", kernel_shape=[1, 1], pads=[2**30] * 4),
)


def _surroundings(folder: Path) -> None:
    """What external data may be said to lie in."""
    (folder / "weights").write_bytes(bytes(16))
    for name, target in (("circle", "circle"), ("outside", "/etc/passwd"), ("device", "/dev/zero")):
        if not os.path.lexists(folder / name):
            (folder / name).symlink_to(target)
    if not os.path.lexists(folder / "pipe"):
        os.mkfifo(folder / "pipe")


def _changed(folder: Path, name: str, random: random.Random) -> Path:
    _surroundings(folder)
    path = folder / f"{name}.onnx"
    try:
        path.write_bytes(random.choice(_MODELS)(random).SerializeToString())
    except Exception:  # what ONNX itself cannot infer shapes of is written as it is not
        path.write_bytes(b"\x08\x08")
    return path


def _bytes(folder: Path, name: str, random: random.Random) -> Path:
    if random.random() < 0.6:
        path = folder / f"{name}.onnx"
        path.write_bytes(damaged(convolutional().SerializeToString(), random))
        return path
    path = folder / f"{name}.tflite"
    save_int8_tflite(path)
    path.write_bytes(damaged(path.read_bytes(), random))
    return path


_CONTENTS = (
    b"",
    b"\0" * 1000,
    b"hello " * 100,
    b"<!DOCTYPE html><html></html>",
    b"version https://git-lfs\n",
    b'\x80\x04cos\nsystem\n(S"true"\ntR.',
    b"\x1f\x8b\x08",
    b"\x89HDF\r\n",
    b"\x7fELF",
    b"{}",
    b"\0\0\0\0TFL3" + b"\xff" * 64,
    b"PK\x03\x04" + bytes(200),
    b"\x0a" * 5000,
    b"\x3a\xff\xff\xff\xff\x7f",
)


def _content(folder: Path, name: str, random: random.Random) -> Path:
    """A file that is something else than its suffix says."""
    path = (
        folder / f"{name}{random.choice(['.onnx', '.tflite', '.pt2', '.pth', '.pt', '.bin', ''])}"
    )
    path.write_bytes(random.choice(_CONTENTS))
    return path


def _elsewhere(folder: Path, name: str, random: random.Random) -> Path:
    """Something that is no file."""
    path = folder / f"{name}{random.choice(['.onnx', '.tflite', '.pt2'])}"
    kind = random.choice(["pipe", "folder", "device", "circle", "nothing"])
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("device", "circle"):
        path.symlink_to("/dev/zero" if kind == "device" else path)
    return path


def _torch(folder: Path, name: str, random: random.Random) -> Path:
    """An archive that looks like a PyTorch exported program."""
    buffer = io.BytesIO()
    method = random.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    graph = random.choice([b"{}", b"[" * 5000, b"null", b'{"graph_module": 5}', b"\xff", b"NaN"])
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("p/models/model.json", graph)
        archive.writestr("p/data/weights/model_weights_config.json", b'{"config": {}}')
        archive.writestr(
            "p/data/constants/model_constants_config.json", random.choice([b"{}", b""])
        )
    path = folder / f"{name}.pt2"
    content = buffer.getvalue()
    path.write_bytes(damaged(content, random) if random.random() < 0.3 else content)
    return path
