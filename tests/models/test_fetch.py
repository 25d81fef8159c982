from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import CellSkipped, InputError
from harness.models import fetch
from harness.models.fetch import Wheel, fetch_deb, unpack_deb, wheel_members


def make_wheel(folder: Path, members: dict[str, bytes], tag: str = "py3-none-any") -> Wheel:
    """A wheel that pip accepts, in `folder`."""
    about = "layeredge_probe-1.0.dist-info"
    contents = {
        **members,
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: layeredge-probe\nVersion: 1.0\n",
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    record = ""
    for name, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(content)}\n"
    contents[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
    path = folder / f"layeredge_probe-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Wheel("layeredge-probe", "1.0", path.name, digest)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only index: real pip, no network."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_members_are_extracted_when_wheel_is_the_pinned_one(index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(index, {"probe/a.bin": b"aaa", "probe/b.bin": b"bbb"})
    paths = wheel_members(wheel, ["probe/b.bin", "probe/a.bin"], tmp_path / "out")
    assert [path.read_bytes() for path in paths] == [b"bbb", b"aaa"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.bin",
        "b.bin",
        "fetched.json",
    ]


@pytest.mark.parametrize("tag", ["cp39-cp39-win_amd64", "cp310-abi3-macosx_11_0_arm64"])
def test_members_are_extracted_when_wheel_is_for_another_python_and_machine(
    index: Path, tmp_path: Path, tag: str
) -> None:
    wheel = make_wheel(index, {"probe/a.bin": b"aaa"}, tag)
    (path,) = wheel_members(wheel, ["probe/a.bin"], tmp_path / "out")
    assert path.read_bytes() == b"aaa"


def test_members_need_no_index_when_already_there(index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(index, {"probe/a.bin": b"aaa"})
    wheel_members(wheel, ["probe/a.bin"], tmp_path / "out")
    (index / wheel.filename).unlink()
    (path,) = wheel_members(wheel, ["probe/a.bin"], tmp_path / "out")
    assert path.read_bytes() == b"aaa"


def test_member_is_fetched_again_when_damaged(index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(index, {"probe/a.bin": b"aaa"})
    (path,) = wheel_members(wheel, ["probe/a.bin"], tmp_path / "out")
    path.write_bytes(b"a")
    wheel_members(wheel, ["probe/a.bin"], tmp_path / "out")
    assert path.read_bytes() == b"aaa"


def test_fetch_is_refused_with_both_hashes_when_wheel_is_another(
    index: Path, tmp_path: Path
) -> None:
    wheel = make_wheel(index, {"probe/a.bin": b"aaa"})
    pinned = replace(wheel, sha256="0" * 64)
    with pytest.raises(InputError) as raised:
        wheel_members(pinned, ["probe/a.bin"], tmp_path / "out")
    assert f"found {wheel.sha256}" in str(raised.value)
    assert f"expected {'0' * 64}" in str(raised.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_wheel_for_another_machine_is_fetched_when_pinned(index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(index, {"probe/a.bin": b"aaa"}, tag="py3-none-macosx_11_0_arm64")
    (path,) = wheel_members(wheel, ["probe/a.bin"], tmp_path / "out")
    assert path.read_bytes() == b"aaa"


def test_error_names_member_when_wheel_lacks_it(index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(index, {"probe/a.bin": b"aaa"})
    with pytest.raises(InputError, match=r"there is no 'probe/c\.bin'"):
        wheel_members(wheel, ["probe/c.bin"], tmp_path / "out")


def test_member_stays_in_folder_when_its_name_points_out(index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(index, {"../../evil.bin": b"aaa"})
    (path,) = wheel_members(wheel, ["../../evil.bin"], tmp_path / "out")
    assert path == tmp_path / "out" / "evil.bin"
    assert not list(tmp_path.parent.glob("evil.bin")) + list(tmp_path.glob("evil.bin"))


def test_member_is_refused_when_too_large(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MAX_MEMBER_BYTES", 100)
    wheel = make_wheel(index, {"probe/a.bin": bytes(101)})
    with pytest.raises(InputError, match="101 bytes, over 100"):
        wheel_members(wheel, ["probe/a.bin"], tmp_path / "out")


def test_error_says_so_when_index_cannot_be_reached(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(tmp_path, {"probe/a.bin": b"aaa"})
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(InputError, match="cannot be reached"):
        wheel_members(wheel, ["probe/a.bin"], tmp_path / "out")


def test_error_says_so_when_pip_is_missing(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel(index, {"probe/a.bin": b"aaa"})
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    monkeypatch.setattr(sys, "executable", str(bare / "bin" / "python"))
    with pytest.raises(InputError, match=r"pip is needed.*ensurepip"):
        wheel_members(wheel, ["probe/a.bin"], tmp_path / "out")


def test_error_names_folder_when_it_cannot_be_written(index: Path, tmp_path: Path) -> None:
    wheel = make_wheel(index, {"probe/a.bin": b"aaa"})
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot be written.*LAYEREDGE_CACHE"):
        wheel_members(wheel, ["probe/a.bin"], blocked / "out")


def test_atomic_path_leaves_old_file_when_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), fetch.atomic_path(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_lock_lets_one_in_when_many_want_it(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def enter(number: int) -> None:
        for _ in range(50):
            with fetch.locked(tmp_path):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(4)))
    assert len(most) == 200
    assert max(most) == 1


def test_deb_is_skipped_when_apt_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CellSkipped, match="Debian package 'hello'"):
        fetch_deb("hello", tmp_path / "out")


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not here")
def test_deb_is_unpacked_without_running_its_scripts(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "DEBIAN").mkdir(parents=True)
    (source / "DEBIAN" / "control").write_text(
        "Package: probe\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.org>\nDescription: x\n"
    )
    script = source / "DEBIAN" / "preinst"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    script.chmod(0o755)
    (source / "data.txt").write_text("content")
    deb = tmp_path / "probe_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", source, deb], check=True, capture_output=True)
    unpack_deb(deb, tmp_path / "out")
    unpack_deb(deb, tmp_path / "out")
    assert (tmp_path / "out" / "data.txt").read_text() == "content"
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not here")
def test_deb_is_refused_when_damaged(tmp_path: Path) -> None:
    deb = tmp_path / "probe_1_all.deb"
    deb.write_bytes(b"not a package")
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpack_deb(deb, tmp_path / "out")
    assert not (tmp_path / "out").exists()
