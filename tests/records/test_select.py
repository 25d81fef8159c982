from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from example_results import example_record, example_results
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cli.select import command
from harness.errors import InputError
from harness.records.candidates import Constraints
from harness.records.compiled_code import InstructionCount, Static
from harness.records.record import (
    AGREEMENT,
    Accuracy,
    CellKey,
    Compression,
    Latency,
    Memory,
    Record,
)
from harness.records.select import Selection, select
from harness.records.store import FILE_NAME, Store


def cell(
    name: str,
    ms: float = 1.0,
    mb: float | None = 50.0,
    accuracy: float | None = 0.92,
    *,
    engine: str = "tvm",
    metric: str = "top-1 accuracy",
    **changes: Any,
) -> Record:
    """A good record of these figures, with an interval of ±1 % around its median latency."""
    key = CellKey(model="net", target="x86-host", configuration=name, engine=engine)
    figures: dict[str, Any] = {
        "fingerprint": f"{name}-{engine}",
        "session": None,
        "latency": Latency(
            median_ms=ms,
            p90_ms=2 * ms,
            p99_ms=None,
            ci_low_ms=0.99 * ms,
            ci_high_ms=1.01 * ms,
            samples=40,
            runs_per_sample=1,
        ),
        "memory": Memory(weights_mb=1.0, artifact_mb=2.0, peak_rss_mb=mb),
        "accuracy": None
        if accuracy is None
        else Accuracy(
            value=accuracy,
            ci_low=accuracy - 0.01,
            ci_high=accuracy + 0.01,
            metric=metric,
            samples=2000,
        ),
    }
    return example_record(key, **(figures | changes))


def counted(total: int) -> InstructionCount:
    return InstructionCount(total=total, load_store=10, simd=10, branch=10)


def described(**hardware: object) -> dict[str, Any]:
    """What a record says of its target."""
    return {"target": {"hardware": {"cores": 2, **hardware}}}


def chosen(found: Selection) -> str | None:
    return found.choice.key.configuration if found.choice else None


def names(found: Selection) -> list[str]:
    return [one.candidate.key.configuration for one in found.runners_up]


THREE = [cell("quick", 1.0, 90.0, 0.90), cell("small", 2.0, 30.0, 0.91), cell("right", 4.0, 60.0)]


@pytest.mark.parametrize(
    ("objective", "order"),
    [
        ("latency", ["quick", "small", "right"]),
        ("memory", ["small", "right", "quick"]),
        ("accuracy", ["right", "small", "quick"]),
    ],
)
def test_select_orders_cells_by_the_objective_when_all_fit(
    objective: Any, order: list[str]
) -> None:
    found = select(THREE, Constraints(), objective)
    assert [chosen(found), *names(found)] == order


def test_select_says_how_far_behind_the_runners_up_are() -> None:
    found = select(THREE, Constraints())
    assert [one.behind for one in found.runners_up] == ["+100.0%", "+300.0%"]
    found = select(THREE, Constraints(), "accuracy")
    assert [one.behind for one in found.runners_up] == ["-0.01", "-0.02"]


def test_select_names_every_broken_constraint_with_its_excess() -> None:
    limits = Constraints(limits={"latency": 3, "memory": 80, "accuracy": 0.91})
    found = select(THREE, limits)
    assert chosen(found) == "small"
    broken = {
        one.candidate.key.configuration: [what.text for what in one.broken]
        for one in found.rejected
    }
    assert broken == {
        "quick": [
            "peak resident memory 90 MB is 12.5% above 80 MB",
            "accuracy 0.9 is 1.1% below 0.91",
        ],
        "right": ["median latency 4 ms is 33.3% above 3 ms"],
    }


def test_select_orders_misses_by_distance_when_nothing_fits() -> None:
    unknown = cell("unknown", 1.0, None)
    found = select([unknown, *THREE], Constraints(limits={"latency": 0.8, "memory": 20}))
    assert found.choice is None
    assert [one.candidate.key.configuration for one in found.rejected] == [
        "small",
        "quick",
        "right",
        "unknown",
    ]
    assert found.rejected[0].distance == pytest.approx(1.5 + 0.5)
    assert found.rejected[-1].distance is None
    assert found.rejected[-1].broken[-1].text == "peak resident memory: not known"
    assert found.why == ("none of 4 measured cells keeps to every constraint",)


def test_select_uses_the_figure_that_is_asked_for() -> None:
    limits = Constraints(limits={"latency-p90": 3})
    assert chosen(select(THREE, limits)) == "quick"
    assert len(select(THREE, limits).rejected) == 2
    limits = Constraints(limits={"memory-weights": 1.5})
    assert not select(THREE, limits).rejected
    limits = Constraints(limits={"memory-activation": 1.5})
    assert select(THREE, limits).rejected[0].broken[0].text == "activation memory: not known"
    assert "p99 latency: not known" in str(select(THREE, Constraints(), "latency-p99"))


def test_select_does_not_take_agreement_for_accuracy_unless_allowed() -> None:
    cells = [cell("agrees", 1.0, accuracy=0.99, metric=AGREEMENT), cell("labelled", 2.0)]
    found = select(cells, Constraints(limits={"accuracy": 0.9}))
    assert chosen(found) == "labelled"
    assert found.rejected[0].broken[0].text == (
        "accuracy: only agreement with reference (0.99), which is not labelled data"
    )
    allowed = select(cells, Constraints(limits={"accuracy": 0.9}, allow_agreement=True))
    assert chosen(allowed) == "agrees"
    assert any("agreement with reference, not accuracy" in line for line in allowed.why)
    assert chosen(select(cells, Constraints())) == "agrees"
    assert chosen(select(cells, Constraints(), "accuracy")) == "labelled"


def test_select_warns_when_the_interval_of_the_accuracy_reaches_below_the_limit() -> None:
    found = select([cell("near", accuracy=0.905)], Constraints(limits={"accuracy": 0.9}))
    assert chosen(found) == "near"
    assert "the 95 % interval of its accuracy reaches down to 0.895" in found.why


NAN = float("nan")
EDGES = Compression(
    score="magnitude", pattern="block", sparsity=0.9, parameters=100, parameters_kept=10
)


def sparse(name: str, *figures: Any, **more: Any) -> Record:
    return cell(name, *figures, edges=EDGES, **more)


def runtime(accuracy: float = 0.92, **more: Any) -> Record:
    return cell("baseline", 8.0, 99.0, accuracy, engine="onnxruntime", **more)


def test_select_leaves_out_and_names_what_is_clearly_less_accurate() -> None:
    cells = [sparse("ruined", 1.0, 20.0, 0.1), sparse("near", 2.0, 30.0, 0.91), runtime()]
    found = select(cells, Constraints())
    assert (chosen(found), names(found)) == ("near", ["baseline"])
    assert found.left_out == (
        "1 left out, clearly less accurate than the uncompressed network: ruined (tvm); "
        "--any-accuracy considers them",
    )
    assert found.rejected[0].broken[0].text == (
        "top-1 accuracy 0.1 is clearly below the 0.92 of the uncompressed network "
        "(baseline (onnxruntime))"
    )
    assert chosen(select(cells, Constraints(limits={"latency": 1.5}))) is None
    # A limit of the user's own takes the guard's place.
    assert chosen(select(cells, Constraints(limits={"accuracy": 0.05}))) == "ruined"


def test_select_considers_any_accuracy_when_asked_and_says_what_it_is() -> None:
    cells = [sparse("ruined", 1.0, 20.0, 0.1), runtime()]
    found = select(cells, Constraints(any_accuracy=True))
    assert chosen(found) == "ruined" and not found.left_out
    assert "top-1 accuracy 0.1 is clearly below the 0.92" in found.why[-1]


def test_select_knows_the_uncompressed_network_that_is_not_to_be_chosen() -> None:
    cells = [sparse("ruined", 1.0, 20.0, 0.1), sparse("near", 2.0, 30.0, 0.91)]
    assert chosen(select(cells, Constraints(), beside=[runtime()])) == "near"
    elsewhere = runtime(kind="emulated-count", latency=None, instructions=counted(9))
    assert chosen(select(cells, Constraints(), beside=[elsewhere])) == "near"
    found = select(cells, Constraints())
    assert chosen(found) == "ruined"
    assert found.why[-1] == (
        "there is no cell of the uncompressed network to hold its accuracy against"
    )


def test_select_takes_what_agrees_where_there_are_no_labels() -> None:
    cells = [
        sparse("differs", 1.0, 20.0, 0.5, metric=AGREEMENT),
        sparse("agrees", 2.0, 30.0, 1.0, metric=AGREEMENT),
        runtime(1.0, metric=AGREEMENT),
    ]
    found = select(cells, Constraints())
    assert chosen(found) == "agrees"
    assert "differs (tvm)" in found.left_out[0]
    unknown = select([sparse("unscored", 1.0, 20.0, None), *cells], Constraints())
    assert chosen(unknown) == "unscored"
    assert unknown.why[-1] == "its network is compressed, and its accuracy is not known"


@pytest.mark.parametrize("limits", [{}, {"accuracy": 0.05}, {"accuracy": -1.0}])
def test_select_never_chooses_an_accuracy_that_is_no_number(limits: dict[str, float]) -> None:
    cells = [cell("broken", 1.0, 20.0, NAN), cell("right", 5.0), runtime()]
    assert chosen(select(cells, Constraints(limits=limits))) == "right"
    found = select(cells, Constraints(limits=limits), "accuracy")
    assert chosen(found) == "right"
    assert found.rejected[0].broken[0].text == "accuracy: NaN (top-1 accuracy)"
    alone = select(cells[:1], Constraints(limits=limits))
    assert alone.choice is None and alone.rejected[0].distance is None
    if not limits:
        assert alone.left_out[0].startswith("1 left out, their accuracy is no number: broken")


def test_select_never_gives_a_tie_to_a_ruined_network() -> None:
    ruined = sparse("ruined", 1.0, 20.0, 0.1)
    cells = [ruined, cell("right", 1.001, 60.0)]
    for limits in (Constraints(any_accuracy=True), Constraints(limits={"accuracy": 0.05})):
        found = select(cells, limits)
        assert chosen(found) == "right"
        assert found.why[1] == (
            "clearly less accurate than another of these, and left out: ruined (tvm)"
        )
    equal = [sparse("ruined", 1.0, 30.0, NAN), cell("right", 2.0, 30.0)]
    assert chosen(select(equal, Constraints(any_accuracy=True), "memory")) == "right"


def test_select_compares_with_a_limit_of_any_sign() -> None:
    cells = [cell("worse", 1.0, accuracy=-3.0), cell("better", 2.0, accuracy=-1.0)]
    found = select(cells, Constraints(limits={"accuracy": -2.0}))
    assert chosen(found) == "better"
    assert found.rejected[0].broken[0].text == "accuracy -3 is 50.0% below -2"
    assert select(cells, Constraints(limits={"accuracy": 0.0})).rejected[0].distance == 1.0


def test_select_says_what_to_set_where_p99_has_too_few_samples() -> None:
    for limits, objective in (({}, "latency-p99"), ({"latency-p99": 9.0}, "latency")):
        found = select(THREE, Constraints(limits=limits), objective)
        assert found.choice is None
        assert (
            found.rejected[0]
            .broken[0]
            .text.endswith(
                ": not known from 40 samples, it takes 100: write 'repeats: 100' or more under "
                "'measure' in the sweep and run it again"
            )
        )


def test_select_leaves_out_cells_when_they_are_not_ok_or_of_another_kind() -> None:
    cells = [
        cell("slow", 5.0),
        cell("counted", kind="emulated-count", latency=None, instructions=counted(1000)),
        cell("broken", 1.0, status="failed"),
        cell("absent", 1.0, status="skipped"),
    ]
    found = select(cells, Constraints())
    assert chosen(found) == "slow"
    assert found.left_out == (
        "1 left out: emulated-count, never ranked with measured",
        "1 left out: failed",
        "1 left out: skipped",
    )
    assert chosen(select(cells, Constraints(), kind="emulated-count")) == "counted"


def test_select_says_which_limit_would_flip_its_choice() -> None:
    """Each is tried: the limit keeps the runner-up, and leaves out the choice."""
    found = select(THREE, Constraints())
    assert found.flips == (
        "--max-memory-mb 30 would choose small (tvm), latency +100.0%",
        "--min-accuracy 0.91 would choose small (tvm), latency +100.0%",
    )
    assert select([THREE[0]], Constraints()).flips == ()


def test_select_suggests_no_limit_for_what_is_hardly_better() -> None:
    """A tenth of a megabyte is noise; the next one that is better by more is named."""
    cells = [cell("quick", 1.0, 102.3), cell("same", 1.5, 102.1), cell("engine", 2.0, 82.8)]
    assert select(cells, Constraints()).flips == (
        "--max-memory-mb 90 would choose engine (tvm), latency +100.0%",
    )


def test_select_names_the_kind_that_there_is() -> None:
    record = cell("a", kind="emulated-count", latency=None, instructions=counted(1))
    found = select([record], Constraints())
    assert found.why == ("there are no measured cells", "--kind emulated-count has some")


@given(st.lists(st.tuples(*[st.floats(0.01, 99.0)] * 2), min_size=2, max_size=5, unique=True))
@settings(max_examples=30, deadline=None)
def test_a_limit_that_flips_the_choice_does_so(figures: list[tuple[float, float]]) -> None:
    cells = [cell(f"c{at}", ms, mb) for at, (ms, mb) in enumerate(figures)]
    for line in select(cells, Constraints()).flips:
        limit, _, told = line.partition(" would choose ")
        again = select(cells, Constraints(limits={"memory": float(limit.split()[1])}))
        assert told.startswith(f"{chosen(again)} (tvm), ")


def test_select_says_what_is_faster_without_regard_to_accuracy() -> None:
    ruined = cell("ruined", 0.5, 95.0, 0.2)
    cells = [cell("right", 1.0), ruined, cell("baseline", 2.0, engine="onnxruntime")]
    found = select(cells, Constraints())
    assert chosen(found) == "right"
    assert found.flips[-1] == "--any-accuracy would choose ruined (tvm), latency -50.0%"
    assert select(cells, Constraints(any_accuracy=True)).flips[0].startswith("--max-memory-mb ")


def test_select_breaks_a_tie_by_memory_when_intervals_overlap() -> None:
    cells = [cell("quick", 1.0, 90.0), cell("close", 1.01, 40.0), cell("far", 1.1, 10.0)]
    found = select(cells, Constraints())
    assert chosen(found) == "close"
    assert "quick (tvm) and close (tvm) tie" in found.why[0]
    assert "none takes less peak resident memory than its 40 MB" in found.why[1]
    assert [one.behind for one in found.runners_up] == ["-1.0%", "+8.9%"]
    assert [one.tied for one in found.runners_up] == [True, False]


@pytest.mark.parametrize(("factor", "choice"), [(1.0, "lean"), (1.06, "quick")])
def test_select_tells_ties_by_the_paired_test_when_cells_took_turns(
    factor: float, choice: str
) -> None:
    """Drift makes the intervals overlap in both cases; interleaved, 6 % is plain to see."""
    random = np.random.default_rng(3)
    drift = np.linspace(1, 2, 40)
    turns = {
        "quick-tvm": drift * random.lognormal(0, 0.01, 40),
        "lean-tvm": drift * factor * 1.002 * random.lognormal(0, 0.01, 40),
    }
    wide = [
        cell(name, float(np.median(turns[f"{name}-tvm"])), mb, session="one")
        for name, mb in (("quick", 90.0), ("lean", 40.0))
    ]
    records = [
        one.model_copy(
            update={"latency": one.latency.model_copy(update={"ci_low_ms": 1, "ci_high_ms": 2})}
        )
        for one in wide
        if one.latency
    ]
    asked: list[str] = []

    def samples(session: str) -> dict[str, np.ndarray]:
        asked.append(session)
        return turns

    assert chosen(select(records, Constraints(), samples=samples)) == choice
    assert asked == ["one"]
    assert chosen(select(records, Constraints())) == "lean"


def test_select_names_the_cell_that_dominates_a_runner_up() -> None:
    cells = [*THREE, cell("pointless", 5.0, 70.0, 0.92)]
    dominated = {
        one.candidate.key.configuration: one.dominated_by and one.dominated_by.configuration
        for one in select(cells, Constraints()).runners_up
    }
    assert dominated == {"small": None, "right": None, "pointless": "right"}


@given(
    figures=st.lists(
        st.tuples(st.floats(0.1, 10), st.floats(1, 100), st.floats(0.1, 1)), min_size=1, max_size=8
    ),
    limits=st.tuples(st.floats(0.1, 10), st.floats(1, 100), st.floats(0.1, 1)),
    objective=st.sampled_from(["latency", "memory", "accuracy"]),
)
@settings(max_examples=60, deadline=None)
def test_select_sorts_every_cell_into_one_place_when_limits_are_anything(
    figures: list[tuple[float, float, float]], limits: tuple[float, float, float], objective: Any
) -> None:
    cells = [cell(f"c{at}", *figure) for at, figure in enumerate(figures)]
    ms, mb, least = limits
    found = select(
        cells, Constraints(limits={"latency": ms, "memory": mb, "accuracy": least}), objective
    )
    fitting = [found.choice] * (found.choice is not None)
    fitting += [one.candidate for one in found.runners_up]
    placed = {one.fingerprint for one in fitting if one}
    placed |= {one.candidate.fingerprint for one in found.rejected}
    assert placed == {one.fingerprint for one in cells}
    assert len(fitting) + len(found.rejected) == len(cells)
    for candidate in fitting:
        assert candidate is not None
        assert candidate.cost("latency") <= ms and candidate.cost("memory") <= mb
        assert -candidate.cost("accuracy") >= least
    distances = [one.distance for one in found.rejected]
    assert distances == sorted(distances) and all(distances)


def test_select_ranks_what_has_no_latency_by_what_its_kind_has() -> None:
    counts = [
        cell(name, kind="emulated-count", latency=None, instructions=counted(total))
        for name, total in (("many", 2000), ("few", 1000))
    ]
    found = select(counts, Constraints(), kind="emulated-count")
    assert (found.objective, chosen(found), names(found)) == ("instructions", "few", ["many"])
    assert "lowest instructions of an inference, 1,000" in found.why[0]
    limited = select(counts, Constraints(limits={"instructions": 500}), kind="emulated-count")
    assert limited.rejected[0].broken[0].text == (
        "instructions of an inference 1,000 is 100% above 500"
    )
    statics = [
        cell(name, kind="static", latency=None, static=Static(launches=(), estimate_ms=ms))
        for name, ms in (("slow", 0.2), ("quick", 0.1))
    ]
    assert chosen(select(statics, Constraints(), kind="static")) == "quick"


def test_select_ranks_targets_by_price_and_by_energy() -> None:
    cells = [
        cell("dear", 1.0, spec=described(price_per_hour=3.6, currency="USD", power_watts=70)),
        cell("cheap", 3.0, spec=described(price_per_hour=0.36, currency="USD", power_watts=400)),
        cell("unknown", 0.5),
    ]
    assert chosen(select(cells, Constraints())) == "unknown"
    found = select(cells, Constraints(), "price-per-million")
    assert (chosen(found), names(found)) == ("cheap", ["dear"])
    # A million inferences of 3 ms take 3,000 s, at 0.36 an hour.
    assert found.choice is not None and found.choice.figures["price-per-million"] == pytest.approx(
        0.3
    )
    assert "lowest price of a million inferences, 0.3 USD" in found.why[0]
    assert "not known" in found.rejected[0].broken[0].text
    found = select(cells, Constraints(limits={"price-per-million": 0.5}), "energy")
    assert chosen(found) == "cheap" and found.choice is not None
    assert found.choice.figures["energy"] == pytest.approx(1200)


def test_select_refuses_to_compare_prices_in_two_currencies() -> None:
    cells = [
        cell("here", spec=described(price_per_hour=1, currency="EUR")),
        cell("there", spec=described(price_per_hour=1, currency="USD")),
    ]
    assert chosen(select(cells, Constraints())) == "here"
    with pytest.raises(InputError, match="is in EUR and USD, which do not compare"):
        select(cells, Constraints(), "price-per-million")


# The command


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_results(tmp_path_factory.mktemp("select") / "results")


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(command, [str(one) for one in arguments], env={"COLUMNS": "200"})


def test_command_names_the_choice_and_the_runners_up(results: Path) -> None:
    found = invoke(results, "--model", "fashion-dscnn", "--min-accuracy", 0.9)
    assert found.exit_code == 0, found.output
    assert found.output.startswith("fashion-dscnn · x86-host · tuned · tvm\n")
    assert "onnxruntime" in found.output and "1 left out: failed" in found.output


def test_command_ends_with_1_and_the_nearest_misses_when_nothing_fits(results: Path) -> None:
    found = invoke(results, "--model", "fashion-dscnn", "--max-latency-ms", 0.01)
    assert found.exit_code == 1
    assert "no cell fits" in found.output and "above 0.01 ms" in found.output


def test_command_guards_against_ruined_networks_though_the_reference_is_not_to_be_chosen(
    tmp_path: Path,
) -> None:
    records = [sparse("ruined", 1.0, 20.0, 0.1), sparse("near", 2.0, 30.0, 0.91), runtime()]
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan((record.fingerprint, record.key) for record in records)
        for record in records:
            store.write(record)
    found = invoke(tmp_path, "--engine", "tvm")
    assert found.exit_code == 0, found.output
    assert found.output.startswith("net · x86-host · near · tvm\n")
    assert "1 left out, clearly less accurate" in found.output
    assert invoke(tmp_path, "--any-accuracy").output.startswith("net · x86-host · ruined · tvm\n")
    for odd in ("nan", "inf"):
        refused = invoke(tmp_path, "--min-accuracy", odd)
        assert refused.exit_code == 2 and "not a finite number" in refused.output


def test_command_shows_prices_and_energies_where_they_are_known(tmp_path: Path) -> None:
    record = cell("a", 2.0, spec=described(price_per_hour=1.8, currency="USD", power_watts=50))
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan([(record.fingerprint, record.key)])
        store.write(record)
    found = invoke(tmp_path, "--objective", "price-per-million", "--max-energy-mj", 200)
    assert found.exit_code == 0, found.output
    assert "price of a million inferences, USD" in found.output
    assert "lowest price of a million inferences, 1 USD" in found.output
    assert invoke(tmp_path, "--max-energy-mj", 50).exit_code == 1


def test_command_shows_counts_and_what_it_left_out(tmp_path: Path) -> None:
    records = [
        cell("fused", kind="emulated-count", latency=None, instructions=counted(4_910_725)),
        cell("timed"),
    ]
    with Store(tmp_path / FILE_NAME, create=True) as store:
        store.plan((record.fingerprint, record.key) for record in records)
        for record in records:
            store.write(record)
    found = invoke(tmp_path, "--kind", "emulated-count")
    assert found.exit_code == 0, found.output
    assert "4,910,725" in found.output and "median latency, ms" not in found.output
    assert "1 left out: measured, never ranked with emulated-count" in found.output


def test_command_prints_json_when_asked(results: Path) -> None:
    found = invoke(results, "--model", "fashion-dscnn", "--engine", "onnxruntime", "--json")
    assert found.exit_code == 0, found.output
    plain = json.loads(found.output)
    assert plain["choice"]["key"]["engine"] == "onnxruntime"
    assert plain["runners_up"] == []


def test_command_raises_input_error_when_the_model_has_to_be_named(results: Path) -> None:
    found = invoke(results)
    assert isinstance(found.exception, InputError)
    assert "fashion-dscnn, fashion-resnet8" in str(found.exception)


def test_command_refuses_to_export_when_the_choice_is_not_ours(
    results: Path, tmp_path: Path
) -> None:
    found = invoke(
        results, "--model", "fashion-dscnn", "--objective", "memory", "--export", tmp_path / "out"
    )
    assert isinstance(found.exception, InputError)
    assert "add --engine tvm" in str(found.exception)
    assert not (tmp_path / "out").exists()


def test_command_hands_the_chosen_record_to_the_exporter(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which record is exported, and from where to where; exporting itself has its own tests."""
    handed: list[tuple[Path, str, Path]] = []
    module = ModuleType("harness.deploy.folder")

    def export(folder: Path, record: Record, out: Path) -> None:
        handed.append((folder, record.key.configuration, out))

    monkeypatch.setattr(module, "export", export, raising=False)
    monkeypatch.setitem(sys.modules, "harness.deploy.folder", module)
    out = tmp_path / "out"
    found = invoke(results, "--model", "fashion-dscnn", "--engine", "tvm", "--export", out)
    assert found.exit_code == 0, found.output
    assert handed == [(results, "tuned", out)]
