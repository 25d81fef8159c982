from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from catalog_fetching import fetched_or_skip, reference_run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.errors import InputError
from harness.models.catalog.efficientnet import same_padding
from harness.models.catalog.imagenet import imagenet_task, imagenet_training


@given(size=st.integers(1, 300), kernel=st.sampled_from([1, 3, 5, 7]), stride=st.integers(1, 3))
def test_same_padding_gives_the_fewest_zeros_for_the_promised_size(
    size: int, kernel: int, stride: int
) -> None:
    before, after = same_padding(size, kernel, stride)
    outputs = -(-size // stride)
    assert after - before in (0, 1)
    # Of a convolution over what is padded: TensorFlow's promise, and no zero more than it needs.
    if before + after:
        assert (size + before + after - kernel) // stride + 1 == outputs
        assert size + before + after - 1 < (outputs - 1) * stride + kernel
    else:
        assert (size - kernel) // stride + 1 >= outputs or kernel <= stride


def test_same_padding_is_uneven_when_size_is_even_and_stride_two() -> None:
    assert same_padding(224, 3, 2) == (0, 1)


def picture(colour: tuple[int, int, int], size: tuple[int, int], kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, kind)
    return stream.getvalue()


def test_images_are_the_same_when_in_a_folder_or_an_archive(tmp_path: Path) -> None:
    folder, archive = tmp_path / "images", tmp_path / "images.zip"
    folder.mkdir()
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("0007.jpg", "cat_12.png"):
            content = picture((255, 127, 0), (224, 224), "PNG" if "png" in name else "JPEG")
            (folder / name).write_bytes(content)
            opened.writestr(name, content)
        opened.writestr("notes.txt", "no image")
    one, other = (imagenet_task(data, "x") for data in (folder, archive))
    assert [int(label) for label in one.labels] == [int(label) for label in other.labels] == [7, 12]
    assert all(
        np.array_equal(a["x"], b["x"]) for a, b in zip(one.inputs(9), other.inputs(9), strict=True)
    )


def test_first_images_are_of_all_classes(tmp_path: Path) -> None:
    """Who calibrates on the first half and scores on the second sees all kinds in both."""
    for label in range(0, 1000, 40):
        (tmp_path / f"{label:04}.png").write_bytes(b"not read")
    labels = [int(label) for label in imagenet_task(tmp_path, "x").labels]
    assert sorted(labels) == list(range(0, 1000, 40))
    for count in (4, 7, 12):
        counts, _ = np.histogram(labels[:count], bins=count, range=(0, 1000))
        assert counts.max() <= 2 and abs(np.mean(labels[:count]) - 480) < 1000 / count


def test_images_to_train_on_need_no_class(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(picture((255, 127, 0), (224, 224)))
    found = imagenet_training(tmp_path, "x")
    assert found.count == 1 and found.inputs()[0]["x"].shape == (1, 3, 224, 224)
    (tmp_path / "cat.png").write_bytes(picture((0, 0, 0), (224, 224)))
    assert imagenet_training(tmp_path, "x").fingerprint != found.fingerprint
    (tmp_path / "cat.png").unlink()
    with pytest.raises(InputError, match="no images in it"):
        imagenet_training(tmp_path, "x")


def test_pixels_are_scaled_and_cropped_when_image_is_larger(tmp_path: Path) -> None:
    image = Image.new("RGB", (512, 256), (0, 0, 0))
    image.paste((255, 127, 0), (144, 16, 368, 240))  # the 0.875 of 256 in the middle: 224
    image.save(tmp_path / "5.png")
    (feeds,) = imagenet_task(tmp_path, "x").inputs(1)
    assert feeds["x"].shape == (1, 3, 224, 224)
    assert feeds["x"].dtype == np.float32
    for channel, value in enumerate((1.0, 0.0, -127 / 128)):
        assert np.unique(feeds["x"][0, channel]).tolist() == [value]


@pytest.mark.parametrize("name", ["cat.png", "1000.png"])
def test_image_is_refused_when_its_name_has_no_class(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(picture((0, 0, 0), (8, 8)))
    with pytest.raises(InputError, match=f"{name}: its name does not end with a class"):
        imagenet_task(tmp_path, "x")


def test_data_is_refused_when_no_images_are_in_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images in it"):
        imagenet_task(tmp_path, "x")
    (tmp_path / "images.zip").write_bytes(b"no archive")
    with pytest.raises(InputError, match="expected a folder or zip archive"):
        imagenet_task(tmp_path / "images.zip", "x")
    with pytest.raises(InputError, match="no such folder"):
        imagenet_task(tmp_path / "none", "x")


def test_error_names_image_when_it_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "5.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"5\.jpg cannot be read as an image"):
        imagenet_task(tmp_path, "x").inputs(1)


@pytest.mark.slow
@pytest.mark.network
def test_network_knows_its_images_when_built_from_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYEREDGE_CACHE", str(tmp_path))
    model = fetched_or_skip("efficientnet-lite0")
    graph = onnx.load(str(model.path)).graph
    trained = {"Conv": 1, "Gemm": 2}
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("Conv") == kinds.count("BatchNormalization") == 49
    assert set(kinds) == {
        "Add",
        "BatchNormalization",
        "Clip",
        "Flatten",
        "GlobalAveragePool",
    } | set(trained)
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    parameters = sum(size for name, size in sizes.items() if "running" not in name)
    assert parameters - 2 == 4_652_008  # as published; the two are the bounds of ReLU6
    assert model.task is not None
    found = model.task.evaluate(reference_run(model), lambda done, total: None)
    assert found.samples == 20
    assert found.value >= 0.85  # 18 of 20; one less where JPEG decoding differs
