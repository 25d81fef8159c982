"""What is lost on one server is tried on another; where there is none tuning ends, records kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from rpc_servers import Devices, until
from small_kernels import module, split, summing, task

from harness.compiler.api import tvm
from harness.devices.servers.tracker import Servers
from harness.errors import CellFailure
from harness.specs.sweep import Tune
from harness.tuning.candidates.final import Standing
from harness.tuning.candidates.process import Candidate, KernelFailed
from harness.tuning.database import TuningDatabase, kernel_identity
from harness.tuning.progress import TuningProgress
from harness.tuning.servers.measurer import RemoteMeasurer
from harness.tuning.tuner import Tuner

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 1})
PATIENCE = 2.0
LONG = 30.0
"""Where there are servers: one that was granted to nobody in the end is free after some seconds."""


def remote(
    devices: Devices,
    key: str,
    patience: float = LONG,
    *,
    target: tvm.target.Target = TARGET,
    most: int | None = None,
    answer_seconds: float = 5.0,
) -> RemoteMeasurer:
    servers = Servers(tracker=devices.address, most=most)
    return RemoteMeasurer(target, key, servers, 1, patience, answer_seconds)


@pytest.fixture(scope="module")
def devices() -> Iterator[Devices]:
    with Devices() as found:
        yield found


@pytest.fixture(scope="module")
def sound(devices: Devices) -> Iterator[RemoteMeasurer]:
    """Of two servers that do what they should."""
    for _ in range(2):
        devices.serve("sound")
    with remote(devices, "sound") as measurer:
        yield measurer


def measured(
    measurer: RemoteMeasurer, candidates: list[Candidate]
) -> list[list[float] | KernelFailed]:
    return list(measurer.measure(candidates, lambda: None))


@pytest.mark.slow
def test_candidates_are_measured_in_order_and_servers_are_free_afterwards(
    devices: Devices, sound: RemoteMeasurer
) -> None:
    broken = Candidate(trace=[[["NoSuchInstruction", [], [], []]], []])
    sound.turn_to(task(64))
    found = measured(sound, [split(64, 2), broken, *[split(64, 4)] * 4])
    assert [isinstance(each, KernelFailed) for each in found] == [False, True] + [False] * 4
    until(lambda: devices.free("sound") == 2)


@pytest.mark.slow
def test_no_more_servers_are_used_than_asked_for(devices: Devices, sound: RemoteMeasurer) -> None:
    with remote(devices, "sound", most=1) as measurer:
        measurer.turn_to(task(8))
        found = measurer.measure([module(8)] * 3, lambda: None)
        assert isinstance(next(found), list) and devices.free("sound") == 1
        assert all(isinstance(each, list) for each in found)


@pytest.mark.slow
def test_candidate_that_crashes_everywhere_costs_itself(sound: RemoteMeasurer) -> None:
    sound.turn_to(task(8))
    found = measured(sound, [module(8), module(8, "crash"), module(8), module(8)])
    assert [isinstance(each, KernelFailed) for each in found] == [False, True, False, False]
    assert "the server at 127.0.0.1" in str(found[1])


@pytest.mark.slow
def test_contest_throws_out_what_is_wrong_or_crashes(sound: RemoteMeasurer) -> None:
    entries = [
        (task(16), [module(16), module(16, "wrong"), module(16, "crash"), split(16, 2)]),
        (task(9), [module(9)]),
    ]
    first, second = sound.finals(entries, 3)
    (unverified,) = sound.finals([(task(8), [module(8, "wrong")])], 3, verified=False)
    assert isinstance(first, Standing) and isinstance(second, Standing)
    assert [len(times or ()) for times in first.times] == [3, 0, 0, 3]
    assert set(first.wrong) == {1} and "output 0: " in first.wrong[1]
    assert set(first.failed) == {2} and second.times[0]
    assert isinstance(unverified, Standing) and unverified.times[0] and not unverified.wrong


@pytest.mark.slow
def test_server_that_crashes_on_a_quarter_of_its_kernels_costs_no_trial_beside_another(
    devices: Devices,
) -> None:
    devices.serve("crashing", "crash")
    with remote(devices, "crashing") as measurer:
        measurer.turn_to(task(8))
        alone = measured(measurer, [module(8)] * 8)
        devices.serve("crashing")
        together = measured(measurer, [module(8)] * 8)
    failed = [at for at, found in enumerate(alone) if isinstance(found, KernelFailed)]
    assert failed == [3, 7]
    assert all(isinstance(found, list) for found in together)


@pytest.mark.slow
def test_server_that_hangs_costs_no_trial_beside_another(devices: Devices) -> None:
    for fault in ("hang", "none"):
        devices.serve("hanging", fault)
    with remote(devices, "hanging", answer_seconds=1.0) as measurer:
        measurer.turn_to(task(8))
        found = measured(measurer, [module(8)] * 6)
    assert all(isinstance(each, list) for each in found)


def tuned(
    measurer: RemoteMeasurer, folder: Path, then: Callable[[], None], trials: int = 24
) -> tuple[int, str]:
    """Tune a kernel; after two trials something happens. How many records are kept, and why it
    failed if it did."""
    kernel, why = task(64), ""

    def heard(progress: TuningProgress) -> None:
        if progress.trials == 2:
            then()

    with TuningDatabase(folder) as database:
        tune = Tune(trials=trials)
        try:
            Tuner([kernel], TARGET, 1, database, tune, 0, heard, measurer=measurer).run()
        except CellFailure as error:
            why = str(error)
    with TuningDatabase(folder) as database:  # as the next run finds it
        spent = database.spent()[kernel_identity(kernel.module)]
        records = len(database.records(kernel.module).get_all_tuning_records())
        assert records == spent.trials - spent.failed_trials
    return records, why


@pytest.mark.slow
def test_tuning_goes_on_when_one_of_two_servers_is_killed(devices: Devices, tmp_path: Path) -> None:
    first, _ = devices.serve("mortal"), devices.serve("mortal")
    measurer = remote(devices, "mortal")
    records, why = tuned(measurer, tmp_path, lambda: devices.kill(first))
    assert (records, why) == (24, "")


@pytest.mark.slow
def test_tuning_ends_with_its_records_when_all_servers_are_killed(
    devices: Devices, tmp_path: Path
) -> None:
    both = [devices.serve("doomed"), devices.serve("doomed")]
    measurer = remote(devices, "doomed", PATIENCE)
    before = set(psutil.Process().children(recursive=True))
    records, why = tuned(measurer, tmp_path, lambda: [devices.kill(each) for each in both] and None)
    assert 2 <= records < 24
    assert "no server of 'doomed' for 2 s" in why and "layeredge devices serve doomed" in why
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.slow
def test_tuning_ends_with_its_records_when_the_tracker_is_killed(tmp_path: Path) -> None:
    with Devices() as devices:
        devices.serve("orphan")
        measurer = remote(devices, "orphan", PATIENCE)
        records, why = tuned(measurer, tmp_path, devices.kill_tracker, trials=200)
    assert 2 <= records < 200
    assert "no server of 'orphan'" in why and "does not answer" in why


@pytest.mark.slow
def test_server_that_appears_later_is_used(devices: Devices, tmp_path: Path) -> None:
    first = devices.serve("late")
    found = tuned(remote(devices, "late"), tmp_path, lambda: devices.replace(first, "late"))
    assert found == (24, "")


@pytest.mark.slow
def test_unknown_key_is_one_line_with_the_remedy(devices: Devices) -> None:
    with remote(devices, "nobody", PATIENCE) as measurer, pytest.raises(CellFailure) as failure:
        measurer.turn_to(task(8))
        measured(measurer, [module(8)])
    assert str(failure.value) == (
        "no server of 'nobody' for 2 s; start one: layeredge devices serve nobody --tracker "
        f"{devices.address}"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("sound")
def test_board_of_another_architecture_is_one_line(devices: Devices) -> None:
    other = "aarch64" if "x86" in psutil.os.uname().machine else "x86_64"
    target = tvm.target.Target({"kind": "llvm", "mtriple": f"{other}-linux-gnu", "num-cores": 1})
    with (
        remote(devices, "sound", target=target) as measurer,
        pytest.raises(CellFailure, match=f"the code is for {other}"),
    ):
        list(measurer.finals([(task(8), [Candidate(module=summing(8))])] * 3, 3))
