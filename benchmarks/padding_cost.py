"""What does padding by a mask cost, compared with a selection whose load may leave its tensor?

    python benchmarks/padding_cost.py [MODEL ...] [--rounds N] [--trials N] [--mcpu NAME]

Each model (default: the eight of the catalog) is compiled twice in the same schedules: as it is,
and with each mask replaced by `select(inside, load, outside)`, of which TVM's simplifier removes
the clamp of the index. The two networks run interleaved in one process; the ratio of their
latencies has a 95 % interval over the rounds. `--trials` tunes the kernels first; both networks use
the schedules of the masked kernels. `--mcpu` compiles for another processor whose code this machine
runs: `haswell` has AVX2 without AVX-512. With AVX-512 the last lowering makes a mask a
selection.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from harness.building.network import compile_scheduled
from harness.compiler.api import (
    PrimFunc,
    operator_name,
    relax,
    structural_map,
    target_of,
    tirx,
    tvm,
)
from harness.devices.linker import linker
from harness.devices.threads.fork_join import use_fork_join
from harness.executors.table import executor_of
from harness.hardware import HOST, load_target
from harness.machine.environment import noise_warnings
from harness.measure.inputs import verification_inputs
from harness.models.catalog.entries import resolve
from harness.models.frontends import import_model
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.schedules.untuned import schedule_untuned
from harness.specs.sweep import ModelSpec, Tune
from harness.statistics.verdicts import compare_paired
from harness.tuning.database import TuningDatabase, database_of
from harness.tuning.tasks import tasks_of
from harness.tuning.tuner import Tuner

CATALOG = (
    "fashion-resnet8", "fashion-dscnn", "efficientnet-lite0", "ppocr-det",
    "ppocr-cls", "minilm-l6", "magika", "silero-vad",
)  # fmt: skip
RUNS = 5
"""In a row, for one sample: the median of them."""


@click.command()
@click.argument("models", nargs=-1)
@click.option("--rounds", default=60, show_default=True)
@click.option("--trials", default=0, show_default=True, help="Trials of tuning for each model.")
@click.option("--mcpu", help="LLVM's name of the processor to compile for; default: this one.")
def main(models: tuple[str, ...], rounds: int, trials: int, mcpu: str | None) -> None:
    """Compare networks that pad by masks with the same networks that pad by selections."""
    console = Console(width=120)
    for warning in noise_warnings():
        console.print(f"[yellow]{warning}[/]")
    table = Table("model", "masked kernels", "masked, ms", "÷ selected (95 %)")
    estimates = []
    for model in track(models or CATALOG, "models", console=console):
        masked, selected, count = networks(model, trials, mcpu)
        if not count:
            table.add_row(model, "0", "", "")
            continue
        samples = in_turns([masked, selected], rounds)
        verdict = compare_paired(samples[1], samples[0])
        estimates.append(verdict.ratio)
        table.add_row(
            model,
            str(count),
            f"{1e3 * float(np.median(samples[0])):.4g}",
            f"{verdict.ratio:.3f} ({verdict.ci_low:.3f}–{verdict.ci_high:.3f})",
        )
    console.print(table)
    if estimates:
        console.print(f"geometric mean: {float(np.exp(np.mean(np.log(estimates)))):.4f}")


def networks(model: str, trials: int, mcpu: str | None = None) -> tuple[Any, Any, int]:
    """Functions that run a network which pads by masks, and by selections, and the number of its
    kernels that pad so."""
    spec = load_target(HOST)
    if mcpu is not None:
        features = {"mcpu": mcpu, "mattr": ()}
        spec = spec.model_copy(update={"tvm": spec.tvm.model_copy(update=features)})
    target = target_of(spec.tvm.as_tvm())
    resolved = resolve(ModelSpec.model_validate(model), fetch_missing=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        imported = import_model(resolved.path, resolved.shapes, place)
        canonical = canonicalise(imported.module)
        fused = fuse(adapt(canonical, spec.passes, target, frozenset()), "full")
        database = tuned(fused, spec, trials, place) if trials else database_of([], {})
        with target, database, tvm.transform.PassContext(opt_level=3):
            scheduled = relax.transform.MetaScheduleApplyDatabase()(fused)
        scheduled = schedule_untuned(scheduled, target, spec.tvm.num_cores)
        rows, _ = verification_inputs(resolved.task, imported.inputs, 1, 0)
        feeds = [tvm.runtime.tensor(each) for each in rows[0].values()]
        unmasked, count = selecting(scheduled)
        variants = [
            runner(module, target, feeds, place / f"{at}.so")
            for at, module in enumerate((scheduled, unmasked))
        ]
    return variants[0], variants[1], count


def tuned(fused: tvm.IRModule, spec: Any, trials: int, folder: Path) -> Any:
    """The schedules that some trials choose for a network's kernels."""
    target = target_of(spec.tvm.as_tvm())
    tasks = tasks_of(fused, target)
    with TuningDatabase(folder / "tuning") as found:
        threads = spec.tvm.num_cores
        measurer = executor_of(spec).measurer(threads, 0.0, folder)
        Tuner(tasks, target, threads, found, Tune(trials=trials), 0, lambda _: None, measurer).run()
        return database_of([task.module for task in tasks], found.chosen())


def selecting(scheduled: tvm.IRModule) -> tuple[tvm.IRModule, int]:
    """A network with a selection for each mask, and how many kernels that changes."""
    result, count = scheduled.clone(), 0
    for name, function in scheduled.functions_items():
        if isinstance(function, PrimFunc):
            body = structural_map(function.body, (tvm.ir.Call, _selected))
            if not body.same_as(function.body):
                result.update_func(name, function.with_body(body))
                count += 1
    return result, count


def _selected(call: Any) -> Any:
    """The selection that a mask stands for; any other call as it is."""
    bits = call.args[0] if operator_name(call) == "tirx.reinterpret" else None
    outside = 0
    if isinstance(bits, tirx.BitwiseOr):
        bits, outside = bits.a, int(bits.b.false_value)
    if not isinstance(bits, tirx.BitwiseAnd):
        return call
    element = str(call.ty)
    value = np.array(outside, str(bits.b.ty)).view(element)
    load = bits.a.args[0]
    return tirx.Select(bits.b.condition, load, tirx.const(float(value), element))


def runner(module: tvm.IRModule, target: Any, feeds: list[Any], library: Path) -> Any:
    """A function that runs a scheduled network once."""
    use_fork_join()
    executable = compile_scheduled(module, target).executable
    executable.export_library(str(library), cc=linker(None))
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())
    machine.set_input("main", *feeds)
    return lambda: machine.invoke_stateful("main")


def in_turns(variants: list[Any], rounds: int) -> list[list[float]]:
    """Seconds of a run, [variants][rounds]; who begins changes from round to round."""
    samples: list[list[float]] = [[] for _ in variants]
    for at in range(rounds):
        for place in range(len(variants)):
            which = (place + at) % len(variants)
            times = []
            variants[which]()
            for _ in range(RUNS):
                started = perf_counter()
                variants[which]()
                times.append(perf_counter() - started)
            samples[which].append(float(np.median(times)))
    return samples


if __name__ == "__main__":
    main()
