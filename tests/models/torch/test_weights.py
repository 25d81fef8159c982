from __future__ import annotations

import io
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.models.torch.weights import MAGIC_NUMBER, PROTOCOL_VERSION, read_state_dict


class FloatStorage:
    pass


def _rebuild_tensor_v2(*_: Any) -> None:
    pass


class View:
    """What PyTorch pickles for a tensor: a call of `_rebuild_tensor_v2` on a storage."""

    def __init__(
        self, key: str, elements: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        self.storage = ("storage", FloatStorage, key, "cpu", elements, None)
        self.rest = (offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_tensor_v2, (Reference(self.storage), *self.rest))


class Reference:
    def __init__(self, pid: object) -> None:
        self.pid = pid


class _Pickler(pickle.Pickler):
    def persistent_id(self, item: object) -> object:
        return item.pid if isinstance(item, Reference) else None


@pytest.fixture(autouse=True)
def names_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets pickle write the names that PyTorch's files have, without PyTorch."""
    package, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for owner, item in ((package, FloatStorage), (inner, _rebuild_tensor_v2)):
        monkeypatch.setattr(item, "__module__", owner.__name__)
        setattr(owner, item.__name__, item)
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)


def legacy_file(
    tensors: object,
    storages: dict[str, np.ndarray],
    *,
    magic: object = MAGIC_NUMBER,
    keys: object = None,
) -> bytes:
    """A file as PyTorch wrote it before 1.6."""
    stream = io.BytesIO()
    facts = {"protocol_version": PROTOCOL_VERSION, "little_endian": True, "type_sizes": {}}
    for part in (magic, PROTOCOL_VERSION, facts):
        pickle.dump(part, stream, protocol=2)
    _Pickler(stream, protocol=2).dump(tensors)
    pickle.dump(list(storages) if keys is None else keys, stream, protocol=2)
    for elements in storages.values():
        stream.write(len(elements).to_bytes(8, "little"))
        stream.write(elements.astype("<f4").tobytes())
    return stream.getvalue()


ELEMENTS = np.arange(12, dtype=np.float32)


def read(tmp_path: Path, content: bytes) -> dict[str, np.ndarray]:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    return read_state_dict(path)


def test_tensors_are_read_when_contiguous_transposed_and_shared(tmp_path: Path) -> None:
    tensors = OrderedDict(
        plain=View("1", 12, 0, (3, 4), (4, 1)),
        turned=View("1", 12, 0, (4, 3), (1, 4)),
        part=View("1", 12, 5, (2,), (1,)),
        single=View("2", 1, 0, (), ()),
        empty=View("2", 1, 0, (0, 3), (3, 1)),
    )
    found = read(tmp_path, legacy_file(tensors, {"1": ELEMENTS, "2": np.ones(1)}))
    assert list(found) == ["plain", "turned", "part", "single", "empty"]
    assert np.array_equal(found["plain"], ELEMENTS.reshape(3, 4))
    assert np.array_equal(found["turned"], ELEMENTS.reshape(3, 4).T)
    assert found["part"].tolist() == [5, 6]
    assert (found["single"].shape, float(found["single"])) == ((), 1.0)
    assert found["empty"].shape == (0, 3)
    assert all(array.dtype == np.float32 for array in found.values())


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return (os.mkdir, (self.marker,))


@pytest.mark.parametrize("where", ["magic", "tensors", "value", "keys"])
def test_call_is_refused_by_name_and_not_made_when_pickle_asks_for_one(
    tmp_path: Path, where: str
) -> None:
    bomb = Bomb(tmp_path / "ran")
    tensors: Any = OrderedDict(a=View("1", 12, 0, (12,), (1,)))
    if where == "value":
        tensors["b"] = bomb
    content = legacy_file(
        bomb if where == "tensors" else tensors,
        {"1": ELEMENTS},
        magic=bomb if where == "magic" else MAGIC_NUMBER,
        keys=bomb if where == "keys" else None,
    )
    with pytest.raises(InputError, match=r"weights\.pth: refused: it asks for '(posix|nt)\.mkdir'"):
        read(tmp_path, content)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "view",
    [
        View("1", 12, 0, (13,), (1,)),
        View("1", 12, 5, (3, 4), (4, 1)),
        View("1", 12, -1, (2,), (1,)),
        View("1", 12, 4, (2,), (-1,)),
        View("1", 12, 0, (2, 2), (1,)),
    ],
)
def test_tensor_is_refused_when_it_reaches_out_of_its_storage(tmp_path: Path, view: View) -> None:
    with pytest.raises(InputError, match="not a sound file of tensors"):
        read(tmp_path, legacy_file(OrderedDict(a=view), {"1": ELEMENTS}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", pickle.dumps({"a": 1})])
def test_file_is_refused_when_of_another_layout(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"weights\.pth: not a sound file of tensors"):
        read(tmp_path, content)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_file_is_refused_when_cut_short_anywhere(tmp_path: Path, share: float) -> None:
    tensors = OrderedDict(a=View("1", 12, 0, (3, 4), (4, 1)))
    content = legacy_file(tensors, {"1": ELEMENTS})
    with pytest.raises(InputError, match="not a sound file of tensors"):
        read(tmp_path, content[: int(share * len(content))])


def test_value_is_refused_when_it_is_no_tensor(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'a' is a int, expected a tensor"):
        read(tmp_path, legacy_file(OrderedDict(a=1), {}))


def test_error_says_so_when_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_state_dict(tmp_path / "none.pth")
