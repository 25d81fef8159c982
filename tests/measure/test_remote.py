"""Whole networks on the servers of a key: tuned, verified and measured there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rpc_servers import Devices
from sweeps import FUSED, PLAIN, Heard, write_sweep

from harness.devices.emulated.board import require_board
from harness.devices.servers.tracker import Address, Servers
from harness.errors import CellFailure, CellSkipped
from harness.executors.table import executor_of, placed
from harness.hardware import as_yaml, detect_host, load_target, target_fingerprint
from harness.records.record import Record
from harness.run.sweep import run_sweep
from harness.specs.sweep import Sweep
from harness.specs.target import Device, TargetSpec


def why_no_board() -> str:
    try:
        require_board()
    except CellSkipped as reason:
        return str(reason)
    return ""


TUNED = {"name": "tuned", "tune": {"trials": 4}}


@pytest.fixture(scope="module")
def devices() -> Iterator[Devices]:
    with Devices() as found:
        yield found


def described(key: str) -> TargetSpec:
    """This machine as a board that is reached by a key."""
    device = Device(kind="rpc", key=key)
    return detect_host().model_copy(update={"name": "board", "device": device})


class Stages(Heard):
    """Calls something once a stage is heard of."""

    def __init__(self, stage: str, then: Callable[[], None]) -> None:
        super().__init__()
        self._stage, self._then = stage, then

    def progress(self, label: str, stage: str, done: float, total: float, detail: str = "") -> None:
        if stage == self._stage and done == 2:
            self._then()


def run(
    folder: Path,
    devices: Devices,
    target: TargetSpec,
    *configurations: object,
    heard: Heard | None = None,
) -> tuple[Record, ...]:
    (folder / "board.yaml").write_text(as_yaml(target))
    path = write_sweep(
        folder, targets=[str(folder / "board.yaml")], configurations=list(configurations)
    )
    servers = Servers(tracker=devices.address)
    outcome = run_sweep(
        Sweep.read(path), folder / "out", folder / "tuning", heard or Heard(), servers=servers
    )
    return outcome.records


@pytest.mark.slow
def test_network_is_tuned_verified_and_measured_on_a_server(
    devices: Devices, tmp_path: Path
) -> None:
    devices.serve("board")
    *ours, engine = run(tmp_path, devices, described("board"), PLAIN, FUSED, TUNED)
    for record in ours:
        assert record.status == "ok", record.reason
        assert record.kind == "measured" and record.latency is not None
        assert record.latency.samples >= 8 and record.latency.median_ms > 0
        assert record.verification is not None and record.accuracy is not None
        assert record.environment["server"]["key"] == "board"
        assert record.environment["server"]["threads"] == 1
    tuning = ours[2].tuning
    assert tuning is not None and tuning.trials == 4 and tuning.failed_trials == 0
    assert engine.status == "skipped" and "not on the target 'board'" in (engine.reason or "")


@pytest.mark.slow
def test_server_lost_while_measuring_is_replaced(devices: Devices, tmp_path: Path) -> None:
    first = devices.serve("mortal")
    heard = Stages("measure", lambda: devices.replace(first, "mortal"))
    found = run(tmp_path, devices, described("mortal"), PLAIN, FUSED, heard=heard)
    assert [record.status for record in found] == ["ok", "ok", "skipped"], found


@pytest.mark.skipif(bool(why_no_board()), reason=why_no_board())
@pytest.mark.slow
def test_network_is_cross_compiled_for_an_arm_board_that_is_reached_by_its_key(
    devices: Devices, tmp_path: Path
) -> None:
    target = load_target("raspberry-pi-4")
    server = devices.serve_board(target, require_board())
    try:
        tuned, _ = run(tmp_path, devices, target, {"name": "tuned", "tune": {"trials": 2}})
    finally:
        devices.kill(server)
    assert tuned.status == "ok", tuned.reason
    assert tuned.kind == "measured" and tuned.verification is not None
    assert tuned.environment["server"]["machine"] == "aarch64"
    assert tuned.tuning is not None and tuned.tuning.trials == 2


@pytest.mark.slow
def test_what_needs_kernel_times_of_this_machine_is_skipped(
    devices: Devices, tmp_path: Path
) -> None:
    devices.serve("priced")
    edges = {"score": "magnitude", "sparsity": 0.5, "budget": "latency"}
    pruned, _ = run(tmp_path, devices, described("priced"), {"name": "pruned", "edges": edges})
    assert pruned.status == "skipped" and "use the budget 'edges'" in (pruned.reason or "")


def test_missing_tracker_key_and_server_are_one_line_each(devices: Devices) -> None:
    devices.serve("known")
    servers = Servers(tracker=devices.address)
    executor_of(described("known"), servers).require()
    with pytest.raises(CellFailure, match="name the one that knows them with --tracker"):
        executor_of(described("known")).require()
    with pytest.raises(CellFailure, match=r"did you mean 'known'.*devices serve knwon"):
        executor_of(described("knwon"), servers).require()
    gone = Servers(tracker=Address(host="127.0.0.1", port=1))
    with pytest.raises(CellFailure, match=r"tracker at 127\.0\.0\.1:1 does not answer"):
        executor_of(described("known"), gone).require()


def test_described_board_is_emulated_only_where_no_server_has_its_key(devices: Devices) -> None:
    spec = load_target("raspberry-pi-4")
    servers = Servers(tracker=devices.address)
    assert placed(spec).device.kind == "emulated"
    assert placed(spec, servers).device.kind == "emulated"
    assert spec.device.key is not None
    board = devices.serve(spec.device.key)
    assert placed(spec, servers) == spec
    devices.kill(board)


def test_what_was_tuned_on_a_board_is_not_taken_for_what_was_tuned_here() -> None:
    here = target_fingerprint(detect_host())
    assert (
        len({here, target_fingerprint(described("one")), target_fingerprint(described("two"))}) == 3
    )


def test_missing_cross_compiler_is_named(
    devices: Devices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CellFailure, match="install"):
        executor_of(load_target("raspberry-pi-4"), Servers(tracker=devices.address)).require()
