"""Train the two embedded Fashion-MNIST networks and export them to ONNX.

    python training/fashion.py --data DIR --out harness/models/catalog/embedded

DIR holds the four ``*-ubyte.gz`` files of Fashion-MNIST, as installed by the Debian package
``dataset-fashion-mnist``. Needs PyTorch, NumPy, ONNX and ONNX Runtime; no GPU.

The last ``HELD_OUT`` training images are held out and choose the epoch that is kept. The test
images are read after training and choose nothing. The same seed, library versions, processor type
and thread count give the same weights. Where others use the cores too, OMP_WAIT_POLICY=passive
keeps the two threads from spending them on waiting for each other. ``--model none`` writes the
images alone; ``--training-images 55000`` writes more of those that compressed networks are fitted
to.
"""

from __future__ import annotations

import argparse
import gzip
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 10
SIDE = 28  # pixels
HELD_OUT = 5_000  # of the 60,000 training images
EMBEDDED_TEST_IMAGES = 2_000
EMBEDDED_TRAINING_IMAGES = 4_000  # of those the networks were fitted to
MAX_SHIFT = 2  # pixels, in each direction
MAX_ONNX_BYTES = 1_000_000
OPSET = 17
DATASET = "Fashion-MNIST, https://github.com/zalandoresearch/fashion-mnist"
DATASET_LICENCE = "MIT, Copyright (c) 2017 Zalando SE"


# --- data -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Images:
    """Labelled images: `pixels` uint8 (n, 28, 28), `labels` uint8 (n,)."""

    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, part: slice) -> Images:
        return Images(self.pixels[part], self.labels[part])

    def scaled(self) -> npt.NDArray[np.float32]:
        """What the networks take: float32 (n, 1, 28, 28) in [0, 1]."""
        return self.pixels[:, np.newaxis].astype(np.float32) / np.float32(255)


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes (format: http://yann.lecun.com/exdb/mnist/).

    Raises ValueError when the file is not one, or is shorter or longer than its header says.
    """
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\x00\x00\x08":
        raise ValueError(
            f"{path}: expected an IDX file of unsigned bytes (00 00 08), "
            f"found {content[:3].hex(' ')}"
        )
    rank = content[3]
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", count=rank, offset=4))
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if values.size != math.prod(shape):
        raise ValueError(f"{path}: the header says {shape}, but {values.size} bytes follow")
    return values.reshape(shape)


def read_images(folder: Path, split: str) -> Images:
    """Read `split` ("train" or "t10k") of Fashion-MNIST from `folder`."""
    images = Images(
        read_idx(folder / f"{split}-images-idx3-ubyte.gz"),
        read_idx(folder / f"{split}-labels-idx1-ubyte.gz"),
    )
    if images.pixels.shape != (len(images), SIDE, SIDE):
        raise ValueError(
            f"{folder}: {split} has images {images.pixels.shape} and {len(images)} labels, "
            f"expected {(len(images), SIDE, SIDE)}"
        )
    return images


def augmented_batches(
    images: Images, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled batches, each image shifted by up to MAX_SHIFT and maybe mirrored.

    Yields float32 (batch_size, 1, 28, 28) in [0, 1] and int64 (batch_size,). The images that do
    not fill a last batch are left out of this epoch.
    """
    border = [(0, 0), (MAX_SHIFT, MAX_SHIFT), (MAX_SHIFT, MAX_SHIFT)]
    padded = torch.from_numpy(np.pad(images.pixels, border))
    labels = torch.from_numpy(images.labels.astype(np.int64))
    straight = torch.arange(SIDE)
    order = torch.randperm(len(images), generator=generator)
    for start in range(0, len(images) - batch_size + 1, batch_size):
        batch = order[start : start + batch_size]
        shift = torch.randint(0, 2 * MAX_SHIFT + 1, (2, batch_size, 1), generator=generator)
        mirror = torch.rand(batch_size, 1, generator=generator) < 0.5
        rows = shift[0] + straight
        columns = shift[1] + torch.where(mirror, straight.flip(0), straight)
        pixels = padded[batch[:, None, None], rows[:, :, None], columns[:, None, :]]
        yield pixels[:, None].float() / 255, labels[batch]


# --- networks -------------------------------------------------------------------------------------


class ConvNorm(nn.Sequential):
    """Convolution ("same" padding, no bias), batch normalization and, if any, an activation."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(channels_out)
        if activation is not None:
            self.act = activation


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNorm(
            channels_in, channels_out, kernel=3, stride=stride, activation=nn.ReLU()
        )
        self.second = ConvNorm(channels_out, channels_out, kernel=3)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = self.act(self.second(self.first(x)) + self.shortcut(x))
        return joined


class Separable(nn.Sequential):
    """A 3x3 depthwise and a 1x1 pointwise convolution, each with ReLU6."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.depthwise = ConvNorm(
            channels_in,
            channels_in,
            kernel=3,
            stride=stride,
            groups=channels_in,
            activation=nn.ReLU6(),
        )
        self.pointwise = ConvNorm(channels_in, channels_out, kernel=1, activation=nn.ReLU6())


class Classifier(nn.Sequential):
    """(n, 1, 28, 28) in [0, 1] → stem → blocks → mean of each channel → dense → logits (n, 10)."""

    def __init__(self, stem: nn.Module, blocks: list[nn.Module], channels: int) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dense = nn.Linear(channels, CLASSES)


def resnet8() -> Classifier:
    """ResNet-8 in the style of MLPerf Tiny (arXiv:2106.07597), for 28x28 grey images."""
    return Classifier(
        ConvNorm(1, 16, kernel=3, activation=nn.ReLU()),
        [Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2)],
        channels=64,
    )


def dscnn() -> Classifier:
    """Four depthwise-separable blocks as in DS-CNN (arXiv:1711.07128) and MobileNet, with ReLU6."""
    return Classifier(
        ConvNorm(1, 64, kernel=3, stride=2, activation=nn.ReLU6()),
        [Separable(64, 64, 1), Separable(64, 64, 1), Separable(64, 128, 2), Separable(128, 128, 1)],
        channels=128,
    )


# --- training -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How one network is built and trained."""

    build: Callable[[], Classifier]
    epochs: int
    peak_learning_rate: float
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4  # of the kernels; not of biases and batch normalization
    label_smoothing: float = 0.05


RECIPES = {
    "fashion-resnet8": Recipe(resnet8, epochs=13, peak_learning_rate=0.3),
    "fashion-dscnn": Recipe(dscnn, epochs=12, peak_learning_rate=0.3),
}


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD with Nesterov momentum, and weight decay on the kernels only."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return torch.optim.SGD(
        [
            {"params": kernels, "weight_decay": recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=recipe.peak_learning_rate,
        momentum=recipe.momentum,
        nesterov=True,
    )


@torch.no_grad()
def torch_logits(model: nn.Module, images: Images) -> npt.NDArray[np.float32]:
    """Logits (n, 10) of `images` under PyTorch; leaves `model` in evaluation mode."""
    model.eval()
    at_once = 500
    parts = [images[start : start + at_once] for start in range(0, len(images), at_once)]
    return np.concatenate([model(torch.from_numpy(part.scaled())).numpy() for part in parts])


def accuracy(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> float:
    """Share (0 to 1) of `labels` (n,) that `logits` (n, 10) rank first."""
    return float((logits.argmax(1) == labels).mean())


class Progress:
    """Prints at most every `every_s` seconds how far training is, its rate and the time left."""

    def __init__(self, name: str, images_total: int, every_s: float = 10.0) -> None:
        self._name = name
        self._images_total = images_total
        self._every_s = every_s
        self._images_done = 0
        self._started = self._printed = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since training began."""
        return time.monotonic() - self._started

    def advance(self, images: int, loss: Tensor) -> None:
        """Count `images` more as done; `loss` is that of their batch."""
        self._images_done += images
        if time.monotonic() - self._printed < self._every_s:
            return
        self._printed = time.monotonic()
        rate = self._images_done / self.elapsed_s
        left_s = (self._images_total - self._images_done) / rate
        print(
            f"{self._name}: {self._images_done / self._images_total:4.0%}, loss {loss.item():.3f}, "
            f"{rate:,.0f} images/s, {left_s:.0f} s left",
            flush=True,
        )


def train(name: str, recipe: Recipe, images: Images, seed: int) -> Classifier:
    """Train a network on all but the last HELD_OUT of `images`.

    Returns it as it was after the epoch that did best on the held-out images, in evaluation mode.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    fitted, held_out = images[:-HELD_OUT], images[-HELD_OUT:]
    model = recipe.build()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(model, recipe)
    steps = recipe.epochs * (len(fitted) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.peak_learning_rate, total_steps=steps
    )
    progress = Progress(name, steps * recipe.batch_size)
    best_accuracy, best_weights = -1.0, model.state_dict()
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        for pixels, labels in augmented_batches(fitted, recipe.batch_size, generator):
            logits = model(pixels.contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            progress.advance(len(labels), loss)
        held_out_accuracy = accuracy(torch_logits(model, held_out), held_out.labels)
        print(
            f"{name}: epoch {epoch}/{recipe.epochs}, held-out accuracy {held_out_accuracy:.4f}, "
            f"{progress.elapsed_s:.0f} s",
            flush=True,
        )
        if held_out_accuracy > best_accuracy:
            best_accuracy = held_out_accuracy
            best_weights = {key: value.clone() for key, value in model.state_dict().items()}
    model.load_state_dict(best_weights)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return model.eval()


# --- export ---------------------------------------------------------------------------------------


def to_onnx(model: nn.Module, name: str) -> onnx.ModelProto:
    """Export `model` (in evaluation mode): `image` (1, 1, 28, 28) to `logits` (1, 10), float32.

    Batch normalization stays as nodes of its own, constants become initializers, and nothing
    that names a file of this machine is kept.
    """
    if model.training:
        raise ValueError(f"{name} is in training mode; call eval() on it before exporting")
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # The newer exporter folds batch normalization away; the older one can be told not to.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model,
            (torch.zeros(1, 1, SIDE, SIDE),),
            Path(folder, "exported.onnx"),
            input_names=["image"],
            output_names=["logits"],
            opset_version=OPSET,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # EVAL would fold batch normalization
            dynamo=False,
        )
        proto = onnx.load(Path(folder, "exported.onnx"))
    graph = proto.graph
    graph.name = name
    constants = [node for node in graph.node if node.op_type == "Constant"]
    for node in constants:
        value = graph.initializer.add()
        value.CopyFrom(node.attribute[0].t)
        value.name = node.output[0]
        graph.node.remove(node)
    proto.doc_string = graph.doc_string = ""
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.checker.check_model(proto, full_check=True)
    return proto


def onnx_logits(proto: onnx.ModelProto, images: Images) -> npt.NDArray[np.float32]:
    """Logits (n, 10) of `images` under ONNX Runtime, one image at a time."""
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rows = [session.run(["logits"], {"image": image[None]})[0] for image in images.scaled()]
    return np.concatenate(rows)


def save_model(proto: onnx.ModelProto, path: Path, metadata: dict[str, str]) -> None:
    """Write `proto` with `metadata` to `path`; ValueError if it is over MAX_ONNX_BYTES."""
    onnx.helper.set_model_props(proto, metadata)
    content = proto.SerializeToString(deterministic=True)
    if len(content) > MAX_ONNX_BYTES:
        raise ValueError(f"{path}: {len(content):,} bytes, at most {MAX_ONNX_BYTES:,} allowed")
    path.write_bytes(content)


def train_and_export(
    name: str, epochs: int | None, seed: int, train_images: Images, test_images: Images, out: Path
) -> None:
    """Train, export and evaluate one network, and write it to `out`."""
    recipe = RECIPES[name]
    if epochs is not None:
        recipe = replace(recipe, epochs=epochs)
    model = train(name, recipe, train_images, seed)
    proto = to_onnx(model, name)
    logits = onnx_logits(proto, test_images)
    np.testing.assert_allclose(logits, torch_logits(model, test_images), rtol=1e-4, atol=1e-4)
    test_accuracy = accuracy(logits, test_images.labels)
    embedded_accuracy = accuracy(
        logits[:EMBEDDED_TEST_IMAGES], test_images.labels[:EMBEDDED_TEST_IMAGES]
    )
    save_model(
        proto,
        out / f"{name}.onnx",
        {
            "test_accuracy": f"{test_accuracy:.4f}",
            "test_images": str(len(test_images)),
            "training_command": (
                f"python training/fashion.py --data DIR --out OUT --model {name} "
                f"--epochs {recipe.epochs} --seed {seed}"
            ),
            "seed": str(seed),
            "torch_version": torch.__version__,
            "input_range": "pixels / 255, in [0, 1]",
            "dataset": DATASET,
            "dataset_licence": DATASET_LICENCE,
        },
    )
    print(
        f"{name}: test accuracy {test_accuracy:.4f} on {len(test_images)} images, "
        f"{embedded_accuracy:.4f} on the first {EMBEDDED_TEST_IMAGES}; "
        f"operators {sorted({node.op_type for node in proto.graph.node})}",
        flush=True,
    )


def main() -> None:
    """Read the command line, write the images, then train and export each chosen network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of the four *-ubyte.gz files"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--model", choices=[*RECIPES, "all", "none"], default="all")
    parser.add_argument("--epochs", type=int, help="default: the recipe's of each model")
    parser.add_argument(
        "--training-images",
        type=int,
        default=EMBEDDED_TRAINING_IMAGES,
        help="how many to write down, without labels, to fit compressed networks to; at most "
        f"{60_000 - HELD_OUT:,} (default {EMBEDDED_TRAINING_IMAGES:,})",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=2, help="part of what makes a run repeatable (default 2)"
    )
    arguments = parser.parse_args()
    if not 0 < arguments.training_images <= 60_000 - HELD_OUT:
        parser.error(f"--training-images: expected 1 to {60_000 - HELD_OUT}")

    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(arguments.threads)
    train_images = read_images(arguments.data, "train")
    test_images = read_images(arguments.data, "t10k")
    arguments.out.mkdir(parents=True, exist_ok=True)
    embedded = test_images[:EMBEDDED_TEST_IMAGES]
    np.savez_compressed(
        arguments.out / f"fashion-test-{EMBEDDED_TEST_IMAGES}.npz",
        images=embedded.pixels,
        labels=embedded.labels,
    )
    # Without their labels: compressed networks are fitted to what the dense ones say of them.
    np.savez_compressed(
        arguments.out / f"fashion-train-{arguments.training_images}.npz",
        images=train_images[: arguments.training_images].pixels,
    )
    chosen = {"all": list(RECIPES), "none": []}.get(arguments.model, [arguments.model])
    for name in chosen:
        train_and_export(
            name, arguments.epochs, arguments.seed, train_images, test_images, arguments.out
        )


if __name__ == "__main__":
    main()
