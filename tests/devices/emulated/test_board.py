from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.devices.emulated import board
from harness.devices.emulated.board import NAME, Board, make_board, require_board
from harness.errors import CellSkipped, InputError
from harness.hardware import load_target


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LAYEREDGE_CACHE", str(tmp_path))
    return tmp_path / "boards" / NAME


def test_missing_board_is_named_with_the_command_that_makes_it(cache: Path) -> None:
    with pytest.raises(CellSkipped, match="layeredge devices setup arm-emulated"):
        require_board()


def test_board_of_other_versions_is_made_anew(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "board.json").write_text(json.dumps({"apache-tvm": "0.1"}))
    with pytest.raises(CellSkipped, match="other versions"):
        require_board()
    (cache / "board.json").write_text(json.dumps(board._contents()))
    assert require_board() == Board(cache)
    assert make_board(lambda step: pytest.fail(step)) == Board(cache), "it is there"


def test_making_a_board_says_what_it_needs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(InputError, match="apt-get install qemu-user mmdebstrap"):
        make_board(lambda step: None)


def test_making_a_board_needs_space(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "_require_programs", lambda tell: None)
    monkeypatch.setattr(board, "_MEGABYTES", 10**12)
    with pytest.raises(InputError, match="MB are free; name another folder"):
        make_board(lambda step: None)


def test_board_emulates_the_described_processor_where_it_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(board, "_emulated_processors", lambda: frozenset({"cortex-a72"}))
    found = Board(tmp_path).environment(load_target("raspberry-pi-4"), tmp_path / "counts")
    assert found["QEMU_CPU"] == "cortex-a72" and found["TVM_NUM_THREADS"] == "1"
    other = Board(tmp_path).environment(load_target("graviton-3-sve"), tmp_path / "counts")
    assert other["QEMU_CPU"] == "max,sve-max-vq=2", "vectors are as wide as described, 256 bits"
