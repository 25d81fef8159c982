"""Gives LayerEdge malformed inputs by the hundred: models, data, sweeps, hardware descriptions,
results and tuning databases.

    python tests/helpers/malformed_inputs.py --count 400
    python tests/helpers/malformed_inputs.py --forty

Each has to end within a minute, with a documented exit code, no traceback and no signal, and a line
that names the file. With `--forty` forty malformed models and a good one are one sweep, which has
to finish the good one. What went wrong is listed with the seed that makes it again.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from malformed import arrays, databases, documents, models
from malformed.cases import Case, Ended, Maker, problems
from small_models import convolutional, save

from harness.records.record import Record
from harness.records.store import FILE_NAME, Store

_SECONDS = 60.0
_MODELS_OF_A_SWEEP = 40
_QUICK = {"repeats": 6, "min_seconds": 0, "sample_ms": 1, "processes": 1, "verify_inputs": 1}

COMMANDS: tuple[Maker, ...] = (
    documents.sweep, documents.sweep, documents.target, documents.triple, databases.results,
    databases.results, databases.without_folder,
)  # fmt: skip
"""Makers of a command with a malformed input, as often as they are drawn."""


def run_here(arguments: Sequence[str]) -> Ended:
    """Run a command in this process."""
    import contextlib
    import io

    from harness.cli.main import main

    errors, before = io.StringIO(), sys.argv
    sys.argv = ["layeredge", *arguments]
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            main()
    except SystemExit as ended:
        code = ended.code
        return Ended(code if isinstance(code, int) else 0, errors.getvalue())
    finally:
        sys.argv = before
    raise AssertionError("a command that did not end")


def run_beside(arguments: Sequence[str], seconds: float = _SECONDS) -> Ended:
    """Run a command in a copy of this process, which has imported what is slow to import."""
    with tempfile.TemporaryFile() as errors:
        process = os.fork()
        if not process:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(errors.fileno(), 2)
            code = 70
            try:
                ended = run_here(arguments)
                os.write(2, ended.errors.encode(errors="replace"))
                code = ended.code or 0
            except BaseException:
                import traceback

                os.write(2, traceback.format_exc().encode(errors="replace"))
            finally:
                os._exit(code)
        code = _waited(process, seconds)
        errors.seek(0)
        return Ended(code, errors.read().decode(errors="replace"))


def _waited(process: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def command_problems(
    seed: int, folder: Path, run: Callable[[Sequence[str]], Ended]
) -> tuple[Case, list[str]]:
    """Make the malformed input of a seed below `folder`, and run its command."""
    generator = random.Random(seed)
    folder.mkdir()
    case = generator.choice(COMMANDS)(generator, folder)
    return case, problems(case, run(case.arguments))


def sweep_of_models(folder: Path, seeds: Sequence[int], *, of_data: bool) -> Path:
    """A sweep of a good model and of malformed ones, or of good ones with malformed data."""
    folder.mkdir()
    good = save(convolutional(), folder / "good.onnx")
    written = [{"name": "good", "path": str(good)}]
    for seed in seeds:
        generator, name = random.Random(seed), f"m{seed}"
        if of_data:
            data = folder / f"{name}.npz"
            arrays.write(data, generator)
            written.append({"name": name, "path": str(good), "data": str(data), "metric": "top1"})
        else:
            path = models.write(folder, name, generator)
            written.append({"name": name, "path": str(path)})
    path = folder / "sweep.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "schema": 1,
                "models": written,
                "targets": ["x86-host"],
                "configurations": [{"name": "full"}],
                "baselines": [],
                "measure": _QUICK,
                "limits": {"cell_minutes": 0.5, "memory_mb": 3000},
            }
        )
    )
    return path


def sweep_problems(path: Path, out: Path, ended: Ended) -> list[str]:
    """What is wrong with the way in which a sweep of malformed models ended."""
    if ended.code not in (0, 1) or "Traceback" in ended.errors:
        return [f"exit code {ended.code}: {ended.errors[-300:]}"]
    with Store(out / FILE_NAME) as store:
        records = {record.key.model: record for record in store.records()}
    expected = {model["name"] for model in yaml.safe_load(path.read_text())["models"]}
    found = [f"{name}: no record" for name in sorted(expected - records.keys())]
    if "good" in records and records["good"].status != "ok":
        found.append(f"good: {records['good'].reason}")
    return found + [f"{name}: {said}" for name, each in records.items() if (said := _said(each))]


def _said(record: Record) -> str | None:
    """What is wrong with the reason of a failed cell."""
    reason = record.reason or ""
    if record.status == "ok":
        return None
    if not reason or len(reason.splitlines()) > 1 or len(reason) > 1200 or "Traceback" in reason:
        return f"the reason is {reason[:200]!r}"
    return None


def tuning_problems(seed: int, folder: Path) -> list[str]:
    """Damage a tuning database, and see that the rest of it is there again."""
    from malformed.tuning import damaged_database

    process = os.fork()
    if not process:
        code = 1
        try:
            damaged_database(random.Random(seed), folder)
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    code = _waited(process, _SECONDS)
    return [] if code == 0 else [f"ended with {code}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0, help="of the first input")
    parser.add_argument("--forty", action="store_true", help="forty malformed models, one sweep")
    parser.add_argument("--only", choices=["commands", "models", "data", "tuning"])
    asked = parser.parse_args()
    import harness.run.model_process
    import harness.run.sweep
    import harness.tuning.database  # noqa: F401 (imported once, for all that is forked)

    shares = {"commands": 0.45, "models": 0.2, "data": 0.2, "tuning": 0.15}
    if asked.forty:
        shares, asked.count = {"models": 1.0}, _MODELS_OF_A_SWEEP
    elif asked.only:
        shares = {asked.only: 1.0}
    found: list[str] = []
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for kind, share in shares.items():
            seeds = range(asked.seed, asked.seed + round(asked.count * share))
            counts[kind] += len(seeds)
            for said in _KINDS[kind](seeds, root):
                found.append(f"{kind}: {said}")
                print(found[-1], flush=True)
    print(f"{sum(counts.values())} malformed inputs ({dict(counts)}), {len(found)} problems")
    sys.exit(1 if found else 0)


def _commands(seeds: Sequence[int], root: Path) -> list[str]:
    found = []
    for seed in seeds:
        case, said = command_problems(seed, root / f"command-{seed}", run_beside)
        if said:
            found.append(f"seed {seed}: {case.kind}: {case.name}: {'; '.join(said)}")
    return found


def _sweeps(seeds: Sequence[int], root: Path, *, of_data: bool) -> list[str]:
    found = []
    for start in range(0, len(seeds), _MODELS_OF_A_SWEEP):
        part = seeds[start : start + _MODELS_OF_A_SWEEP]
        folder = root / f"{'data' if of_data else 'models'}-{start}"
        path = sweep_of_models(folder, part, of_data=of_data)
        out = folder / "out"
        ended = run_beside(("run", str(path), "--out", str(out)), 120.0 * (len(part) + 1))
        found += sweep_problems(path, out, ended)
    return found


def _tuning(seeds: Sequence[int], root: Path) -> list[str]:
    return [
        f"seed {seed}: {said}"
        for seed in seeds
        for said in tuning_problems(seed, root / f"tuning-{seed}")
    ]


_KINDS: dict[str, Callable[[Sequence[int], Path], list[str]]] = {
    "commands": _commands,
    "models": lambda seeds, root: _sweeps(seeds, root, of_data=False),
    "data": lambda seeds, root: _sweeps(seeds, root, of_data=True),
    "tuning": _tuning,
}


if __name__ == "__main__":
    main()
