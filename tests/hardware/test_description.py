from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.cli.targets import command
from harness.errors import CellFailure, InputError
from harness.executors.table import executor_of, placed
from harness.files.shipped import shipped_folder
from harness.hardware import (
    HOST,
    as_yaml,
    check_target_file,
    detect_host,
    known_targets,
    load_target,
    missing_features,
    target_fingerprint,
    this_processor,
)
from harness.hardware.llvm import host_features, target_features, vector_bits
from harness.specs.target import Device, Hardware, TargetSpec

PROCESSORS = ["haswell", "icelake-server", "skylake-avx512", "znver3", "znver4", "znver5"]
GRAPHICS = ["a100", "h100", "jetson-orin", "l4", "rtx-4090", "t4"]
BOARDS = [
    "apple-m1", "graviton-2", "graviton-3", "graviton-3-sve", "pixel-7", "raspberry-pi-4",
    "raspberry-pi-5",
]  # fmt: skip
SHIPPED = sorted(PROCESSORS + GRAPHICS + BOARDS)

on_x86 = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="this machine is not an x86 one"
)


def description(**changes: object) -> TargetSpec:
    """A small description that any x86 machine can run, with changes to its `tvm` part."""
    return TargetSpec.model_validate(
        {
            "schema": 1,
            "name": "mine",
            "architecture": "x86",
            "tvm": {"mtriple": "x86_64-linux-gnu", "mcpu": "x86-64", "num-cores": 1, **changes},
            "hardware": {"cores": 128},
        }
    )


def saved(folder: Path, spec: TargetSpec) -> Path:
    path = folder / "mine.yaml"
    path.write_text(as_yaml(spec))
    return path


def test_known_targets_are_the_host_and_every_shipped_file() -> None:
    assert known_targets() == [HOST, *SHIPPED]


@pytest.mark.parametrize("name", PROCESSORS)
def test_shipped_description_is_what_llvm_says_too(name: str) -> None:
    spec = check_target_file(shipped_folder("targets") / f"{name}.yaml")
    assert spec == load_target(name)
    assert spec.name == spec.tvm.mcpu == name
    assert spec.hardware.features


@pytest.mark.parametrize("name", GRAPHICS)
def test_shipped_graphics_processor_is_one_that_its_figures_describe(name: str) -> None:
    spec = check_target_file(shipped_folder("targets") / f"{name}.yaml")
    assert spec == load_target(name)
    assert spec.name == name and spec.hardware.multiprocessor is not None
    text = (shipped_folder("targets") / f"{name}.yaml").read_text()
    lanes, gigahertz = re.findall(r"(\d+) FP32 lanes x 2 x ([\d.]+) GHz", text)[0]
    assert int(lanes) / spec.hardware.cores in (64, 128)
    assert spec.hardware.peak_gflops == pytest.approx(int(lanes) * 2 * float(gigahertz), rel=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  arch: sm_80\n", "", "kind 'cuda' needs arch too"),
        ("sm_80", "ampere", "arch"),
        ("  thread_warp_size: 32\n", "  mcpu: znver4\n  thread_warp_size: 32\n", "below 'host'"),
        ("architecture: cuda", "architecture: x86", "does not go with tvm.kind 'cuda'"),
        ("threads: 2048", "threads: 512", "1024 is more than hardware.multiprocessor.threads"),
    ],
)
def test_check_says_what_is_wrong_with_a_graphics_processor(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = (shipped_folder("targets") / "a100.yaml").read_text()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        check_target_file(path)


def test_processor_has_no_keys_of_a_graphics_processor() -> None:
    with pytest.raises(ValueError, match="'arch' and 'host' are of the kind 'cuda'"):
        description(arch="sm_80")


@pytest.mark.parametrize("name", BOARDS)
def test_shipped_board_is_what_llvm_and_its_comment_say(name: str) -> None:
    path = shipped_folder("targets") / f"{name}.yaml"
    spec = check_target_file(path)
    assert spec == load_target(name) and spec.name == name
    assert spec.device.key and spec.architecture == "arm"
    cores, flop, gigahertz = re.findall(
        r"(\d+) cores x (\d+) FLOP a cycle .* x ([\d.]+) GHz", path.read_text()
    )[0]
    assert spec.hardware.cores == int(cores)
    peak = int(cores) * int(flop) * float(gigahertz)
    assert spec.hardware.peak_gflops == pytest.approx(peak, abs=0.5)


@pytest.mark.parametrize("name", PROCESSORS)
def test_shipped_figures_are_what_their_comment_derives(name: str) -> None:
    text = (shipped_folder("targets") / f"{name}.yaml").read_text().replace("\n#   ", " ")
    cores, flop = map(int, re.findall(r"(\d+) cores x (\d+) FLOP a cycle", text)[0])
    gigahertz = float(re.findall(r"x ([\d.]+) GHz base", text)[0])
    channels, rate = map(int, re.findall(r"(\d+) channels x 8 bytes x DDR\d-(\d+)", text)[0])
    hardware = load_target(name).hardware
    assert hardware.cores == cores
    assert hardware.peak_gflops == pytest.approx(cores * flop * gigahertz, abs=0.5)
    assert hardware.memory_bandwidth_gbs == pytest.approx(channels * 8 * rate / 1000, abs=0.05)


def test_load_names_the_nearest_when_the_name_is_not_known() -> None:
    with pytest.raises(InputError, match="no target 'x86-hots'; did you mean 'x86-host'"):
        load_target("x86-hots")


def test_load_names_file_line_and_nearest_key_when_a_key_is_not_known(tmp_path: Path) -> None:
    path = saved(tmp_path, description())
    path.write_text(path.read_text().replace("mcpu:", "mpcu:"))
    with pytest.raises(
        InputError, match=r"mine\.yaml:\d+: unknown key 'mpcu'; did you mean 'mcpu'"
    ):
        load_target(str(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mcpu": "haswel"}, "knows no processor 'haswel'.*did you mean 'haswell'"),
        ({"mattr": ["+avx51f"]}, "knows no feature 'avx51f'.*did you mean 'avx512f'"),
        ({"mattr": ["-bogus"]}, "knows no feature 'bogus'"),
        ({"mattr": ["avx2"]}, r"'avx2' has no sign; write '\+avx2'"),
        ({"mtriple": "bogus"}, "'bogus' does not belong to architecture 'x86'"),
        ({"mtriple": "x86_640-linux-gnu"}, "does not belong to architecture 'x86'"),
        ({"mtriple": "x86_64 -mcpu=foo"}, "does not belong to architecture 'x86'"),
        ({"mtriple": "x86_64\0"}, "does not belong to architecture 'x86'"),
        ({"mtriple": "aarch64-linux-gnu"}, "does not belong to architecture 'x86'"),
        ({"num-cores": 999}, "999 is more than hardware.cores: 128"),
    ],
)
def test_check_says_what_llvm_would_only_log(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = saved(tmp_path, description(**changes))
    with pytest.raises(InputError, match=message) as raised:
        check_target_file(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_check_takes_a_feature_no_processor_implies(tmp_path: Path) -> None:
    # LLVM knows `raoint`, though none of its processors has it.
    check_target_file(saved(tmp_path, description(mattr=["+raoint"])))


@pytest.mark.parametrize(
    ("key", "value"), [("features", ["avx512f"]), ("simd_bits", 512), ("simd_bits", 256)]
)
def test_check_refuses_figures_that_the_processor_contradicts(
    tmp_path: Path, key: str, value: object
) -> None:
    data = description().model_dump(by_alias=True)
    spec = TargetSpec.model_validate({**data, "hardware": {"cores": 128, key: value}})
    with pytest.raises(InputError, match=f"hardware.{key}"):
        check_target_file(saved(tmp_path, spec))


def test_check_knows_arm_processors(tmp_path: Path) -> None:
    arm = {"mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a72", "mattr": ["+neon"]}
    data = {**description(**arm).model_dump(by_alias=True), "architecture": "arm"}
    path = saved(tmp_path, TargetSpec.model_validate(data))
    assert check_target_file(path).tvm.mcpu == "cortex-a72"
    path.write_text(path.read_text().replace("cortex-a72", "cortex-a27"))
    with pytest.raises(InputError, match=r"did you mean 'cortex-a\d+'"):
        check_target_file(path)


@pytest.mark.parametrize(
    ("mcpu", "bits"), [("x86-64", 128), ("haswell", 256), ("znver3", 256), ("znver4", 512)]
)
def test_vector_bits_are_those_of_the_registers(mcpu: str, bits: int) -> None:
    assert vector_bits(description(mcpu=mcpu).tvm) == bits


@on_x86
def test_host_promises_only_what_this_processor_has() -> None:
    spec = detect_host()
    promised = target_features(spec.tvm)
    there = host_features()
    assert [name for name in promised if there.get(name) is False] == []
    assert [name for name, present in there.items() if present and name not in promised] == []
    assert set(spec.hardware.features) <= promised
    executor_of(spec).require()


@on_x86
def test_host_features_agree_with_the_kernel() -> None:
    names = {"avx2": "avx2", "fma": "fma", "avx512f": "avx512f", "avx512vnni": "avx512_vnni"}
    flags = set(this_processor().flags)
    assert {name: host_features()[name] for name in names} == {
        name: flag in flags for name, flag in names.items()
    }


@on_x86
def test_host_reads_back_the_same_when_saved(tmp_path: Path) -> None:
    assert check_target_file(saved(tmp_path, detect_host())) == detect_host()


@on_x86
def test_missing_names_the_feature_when_the_processor_lacks_it() -> None:
    lacking = [name for name, there in host_features().items() if not there]
    for name in [name for name in lacking if name in ("sse4a", "fma4", "xop", "amx-tile")]:
        spec = description(mattr=[f"+{name}"])
        assert name in missing_features(spec)
        with pytest.raises(CellFailure, match=f"'mine' cannot run on this machine.*{name}"):
            executor_of(spec).require()
    assert lacking


@on_x86
def test_missing_names_the_cores_when_there_are_fewer() -> None:
    cores = this_processor().cores
    assert missing_features(description(**{"num-cores": cores})) == []
    needing = description(**{"num-cores": cores + 1})
    assert missing_features(needing) == [f"{cores + 1} cores (there are {cores})"]
    with pytest.raises(CellFailure, match=r"lacks \d+ cores .*; set fewer 'threads'"):
        executor_of(needing).require()


@on_x86
def test_missing_leaves_out_instructions_that_only_an_operating_system_uses() -> None:
    assert "pku" in target_features(description(mcpu="skylake-avx512").tvm)
    assert "pku" not in host_features()


@on_x86
def test_missing_names_the_processor_when_it_is_of_another_kind() -> None:
    data = {**description().model_dump(by_alias=True), "architecture": "arm"}
    assert missing_features(TargetSpec.model_validate(data)) == [
        f"an arm processor (this one is {platform.machine()})"
    ]


@on_x86
def test_runnable_is_refused_when_llvm_does_not_know_the_processor() -> None:
    with pytest.raises(InputError, match="knows no processor 'pentium9'"):
        executor_of(description(mcpu="pentium9")).require()


def test_runnable_is_refused_when_the_device_is_not_this_machine() -> None:
    data = description().model_dump(by_alias=True)
    spec = TargetSpec.model_validate({**data, "device": {"kind": "rpc", "key": "board"}})
    with pytest.raises(CellFailure, match="on the servers of 'board', and no tracker is named"):
        executor_of(spec).require()


names = st.sampled_from(["haswell", "znver4", None])
attributes = st.lists(st.sampled_from(["+avx2", "-fma", "+aes"]), unique=True, max_size=3)


@pytest.mark.slow
@given(
    st.tuples(names, attributes, st.integers(1, 4)), st.tuples(names, attributes, st.integers(1, 4))
)
def test_fingerprint_is_shared_exactly_when_the_code_is(
    one: tuple[str | None, list[str], int], other: tuple[str | None, list[str], int]
) -> None:
    prints = [
        target_fingerprint(description(mcpu=mcpu, mattr=mattr, **{"num-cores": cores}))
        for mcpu, mattr, cores in (one, other)
    ]
    same = (one[0], set(one[1]), one[2]) == (other[0], set(other[1]), other[2])
    assert (prints[0] == prints[1]) == same
    assert all(re.fullmatch(r"llvm-[\w.+-]+-\dc-tvm[\w.]+-[0-9a-f]{8}", item) for item in prints)


def test_what_is_tuned_by_another_cost_is_kept_elsewhere() -> None:
    plain = description()
    emulated = plain.model_copy(update={"device": Device(kind="emulated")})
    described = [plain, emulated, *map(load_target, GRAPHICS)]
    folders = {executor_of(placed(spec)).tuning_folder for spec in described}
    assert len(folders) == len(described) and target_fingerprint(plain) in folders
    assert executor_of(emulated).tuning_folder == f"{target_fingerprint(emulated)}-instructions"


def test_price_needs_its_currency() -> None:
    assert Hardware(cores=1, price_per_hour=2, currency="USD").price_per_hour == 2
    with pytest.raises(ValidationError, match="'price_per_hour' and 'currency', such as USD"):
        Hardware(cores=1, price_per_hour=2)


def test_fingerprint_does_not_depend_on_what_the_description_is_called() -> None:
    data = description().model_dump(by_alias=True)
    renamed = TargetSpec.model_validate({**data, "name": "other", "description": "text"})
    assert target_fingerprint(renamed) == target_fingerprint(description())


@on_x86
def test_command_prints_a_file_that_its_own_check_takes(tmp_path: Path) -> None:
    runner = CliRunner()
    detected = runner.invoke(command, ["detect", "--name", "here"])
    assert detected.exit_code == 0
    path = tmp_path / "here.yaml"
    path.write_text(detected.output)
    checked = runner.invoke(command, ["check", str(path)])
    assert checked.output == f"{path}: ok, target 'here'\nthis machine can run it\n"
    shown = runner.invoke(command, ["show", str(path)])
    assert shown.output == detected.output


def test_command_lists_every_target_and_whether_it_runs_here() -> None:
    # Wide enough for all that an old processor lacks.
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(command, ["list"])
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.output.splitlines()[1:]}
    assert list(rows) == known_targets()
    for name in GRAPHICS:
        here = placed(load_target(name)).device.kind == "local"
        assert rows[name].rstrip().endswith("yes" if here else "no: compiled and analysed only")
    for name, row in rows.items():
        if name in GRAPHICS + BOARDS:
            continue
        missing = missing_features(load_target(name))
        assert row.rstrip().endswith(f"lacks {', '.join(missing)}" if missing else "yes")


def test_hardware_is_described_by_how_it_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked in order; empty keeps, `-` leaves out, and a copied roof is told."""
    monkeypatch.chdir(tmp_path)
    answers = {"tvm.mcpu": "cortex-a53", "hardware.l2_kb": "512", "hardware.memory_mb": "-"}
    asked = CliRunner().invoke(command, ["new", "board", "--like", "raspberry-pi-4"], "\n" * 30)
    assert asked.exit_code == 0, asked.output
    (tmp_path / "board.yaml").unlink()
    prompts = [
        line for line in asked.output.splitlines() if re.match(r"(tvm|device|hardware)\.", line)
    ]
    keys = [prompt.partition(" ")[0] for prompt in prompts]
    given = "\n".join(["", *(answers.get(key, "") for key in keys)]) + "\n"
    done = CliRunner().invoke(command, ["new", "board", "--like", "raspberry-pi-4"], given)
    assert done.exit_code == 0, done.output
    found, like = load_target("./board.yaml"), load_target("raspberry-pi-4")
    assert (found.name, found.tvm.mcpu, found.hardware.l2_kb) == ("board", "cortex-a53", 512)
    assert found.hardware.memory_mb is None and found.hardware.cores == like.hardware.cores
    checked = CliRunner().invoke(command, ["check", "board.yaml"])
    assert "hardware.peak_gflops is that of raspberry-pi-4, another processor" in checked.output
    again = CliRunner().invoke(command, ["new", "board", "--like", "raspberry-pi-4"], "\n" * 30)
    assert isinstance(again.exception, InputError) and "is there already" in str(again.exception)
