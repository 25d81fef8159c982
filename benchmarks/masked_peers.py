"""Are other engines faster when most blocks of a network's weights are zero?

    python benchmarks/masked_peers.py efficientnet-lite0 minilm-l6 --sparsity 0.8

Measures each engine with the original network and with a network where that share of the blocks of
all convolutions and dense layers is zero (the blocks of the least magnitude), interleaved.
DeepSparse needs an environment of its own:

    python3.11 -m venv /tmp/deepsparse && /tmp/deepsparse/bin/pip install deepsparse==1.8.0
    python benchmarks/masked_peers.py efficientnet-lite0 --deepsparse /tmp/deepsparse/bin/python

`--ours RESULTS` adds what `layeredge run examples/sparse-speed.yaml --out RESULTS` compiled: the
network with all its edges, and with as large a share of them dropped, in blocks of the same size
(`--pattern`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import onnx
from onnx import numpy_helper
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from harness.compiler.api import tvm
from harness.edges.blocks import summed
from harness.edges.patterns import block_of, mask_of
from harness.hardware import HOST, load_target
from harness.kernels.vectors import vector_lanes
from harness.machine.environment import noise_warnings
from harness.models.catalog.entries import resolve
from harness.models.frontends import import_model
from harness.records.store import FILE_NAME, Store
from harness.specs.patterns import BLOCKS, Pattern
from harness.specs.sweep import ModelSpec
from harness.statistics.verdicts import compare_paired

_SERVER = Path(__file__).with_name("engine_turns.py")
_OURS = "layeredge"
_TURN_SECONDS = 0.15
_OLDEST_FORMAT = 8
"""DeepSparse reads ONNX's file format up to version 9; its content is the same."""


class EngineEnded(Exception):
    """An engine's process is gone: DeepSparse 1.8.0 crashes on some masked networks."""


class Server:
    """A process with one engine and one model, stopped while it is not its turn."""

    def __init__(self, python: str, engine: str, model: Path, inputs: Path, threads: int) -> None:
        command = [python, str(_SERVER), engine, str(model), str(inputs), str(threads)]
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "NM_DISABLE_TELEMETRY": "1", "TVM_NUM_THREADS": str(threads)},
        )
        self._answer("ready")
        self._child.send_signal(signal.SIGSTOP)

    def turn(self) -> float:
        """The median of some runs, in seconds."""
        assert self._child.stdin is not None
        self._child.send_signal(signal.SIGCONT)
        self._child.stdin.write(f"{_TURN_SECONDS}\n")
        self._child.stdin.flush()
        found = float(self._answer())
        self._child.send_signal(signal.SIGSTOP)
        return found

    def _answer(self, awaited: str | None = None) -> str:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            text = line.strip()
            if text == awaited or (awaited is None and _is_number(text)):
                return text  # engines print banners too
        raise EngineEnded(f"exit status {self._child.wait()}")

    def close(self) -> None:
        self._child.kill()
        self._child.wait()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def masked(model: onnx.ModelProto, pattern: Pattern, sparsity: float, lanes: int) -> float:
    """Sets blocks of the weights of a network to zero; the share of all those weights that went."""
    block = block_of(pattern, lanes)
    weights = {each.name: each for each in model.graph.initializer}
    total = gone = 0
    for node in model.graph.node:
        if node.op_type not in {"Conv", "Gemm", "MatMul"} or node.input[1] not in weights:
            continue
        initializer = weights[node.input[1]]
        array = numpy_helper.to_array(initializer)
        grouped_filters = node.op_type == "Conv" and any(
            each.name == "group" and each.i > 1 for each in node.attribute
        )
        if array.dtype != np.float32 or array.ndim < 2 or grouped_filters:
            continue
        outputs_first = node.op_type == "Conv" or any(
            each.name == "transB" and each.i for each in node.attribute
        )
        total += array.size
        # [outputs, inputs, taps] or [inputs, outputs], as [inputs * taps, outputs]
        matrix = array.reshape(len(array), -1).T if outputs_first else array
        if matrix.ndim != 2 or matrix.shape[0] % block.inputs or matrix.shape[1] % block.outputs:
            continue
        mask = mask_of(summed(matrix.astype(np.float64) ** 2, block), pattern, sparsity, block)
        kept = np.ascontiguousarray((matrix * mask).T if outputs_first else matrix * mask)
        gone += int(mask.size - np.count_nonzero(mask))
        initializer.CopyFrom(numpy_helper.from_array(kept.reshape(array.shape), initializer.name))
    return gone / max(total, 1)


def compiled(results: Path, model: str, pattern: Pattern, sparsity: float) -> tuple[Path, Path]:
    """The folders of our networks of a sweep: with all edges, and without this share of them."""
    with Store(results / FILE_NAME) as store:
        found = {
            record.edges.sparsity if record.edges else 0.0: results / record.artifact
            for record in store.records()
            if record.key.model == model and record.status == "ok" and record.artifact
            if record.edges is None or record.edges.pattern == pattern
        }
    try:
        return found[0.0], found[sparsity]
    except KeyError as missing:
        raise click.ClickException(
            f"{results}: {model} was not compiled without {missing.args[0]:.0%} of its edges in "
            f"the pattern '{pattern}'"
        ) from None


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--sparsity", type=click.FloatRange(0, 1, True, True), default=0.8, show_default=True)
@click.option("--pattern", type=click.Choice(BLOCKS), default="block", show_default=True)
@click.option("--rounds", type=click.IntRange(min=6), default=30, show_default=True)
@click.option("--deepsparse", type=click.Path(exists=True), help="A Python that has DeepSparse.")
@click.option(
    "--ours",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A sweep of these models with `edges` of this sparsity.",
)
def main(
    models: tuple[str, ...],
    sparsity: float,
    pattern: Pattern,
    rounds: int,
    deepsparse: str | None,
    ours: Path | None,
) -> None:
    """Measure other engines with MODELS as they are and masked."""
    for warning in noise_warnings():
        click.echo(f"warning: {warning}", err=True)
    spec = load_target(HOST)
    lanes = vector_lanes(tvm.target.Target(spec.tvm.as_tvm()))
    engines = {"onnxruntime": sys.executable, "openvino": sys.executable}
    if deepsparse:
        engines["deepsparse"] = deepsparse
    names = ("model", "engine", "dense, ms", "masked, ms", "masked ÷ dense (95 %)")
    table = Table(*names, "ours, sparse ÷ its masked (95 %)", box=None)
    for name in models:
        with tempfile.TemporaryDirectory() as work:
            dense, inputs = prepared(name, Path(work))
            network = onnx.load(dense)
            network.ir_version = min(network.ir_version, _OLDEST_FORMAT)
            onnx.save(network, dense)
            share = masked(network, pattern, sparsity, lanes)
            sparse = Path(work) / "masked.onnx"
            onnx.save(network, sparse)
            click.echo(f"{name}: {share:.1%} of its weights are zero now")
            turns = {engine: (python, dense, sparse) for engine, python in engines.items()}
            if ours:
                turns[_OURS] = (sys.executable, *compiled(ours, name, pattern, sparsity))
            found = in_turns(turns, inputs, spec.tvm.num_cores, rounds)
        for engine in (each for each in turns if each not in found):
            table.add_row(name, engine, "", "", "crashed")
        for engine, (before, after) in found.items():
            table.add_row(
                name,
                engine,
                f"{1e3 * np.median(before):.2f}",
                f"{1e3 * np.median(after):.2f}",
                ratio(before, after),
                ratio(after, found[_OURS][1]) if ours and engine != _OURS else "",
            )
    Console(width=140).print(table)


def ratio(before: np.ndarray, after: np.ndarray) -> str:
    """The second's seconds as a multiple of the first's, turn by turn, with its interval."""
    verdict = compare_paired(before, after)
    return f"{verdict.ratio:.3f} ({verdict.ci_low:.3f}–{verdict.ci_high:.3f})"


def prepared(name: str, work: Path) -> tuple[Path, Path]:
    """A model as one static ONNX file, and an `.npz` of inputs for it."""
    model = resolve(ModelSpec(name=name), fetch_missing=True)
    imported = import_model(model.path, model.shapes, work)
    generator = np.random.default_rng(0)
    feeds = {
        each.name: generator.standard_normal(each.shape).astype(each.dtype)
        if each.dtype.startswith("float")
        else np.ones(each.shape, each.dtype)
        for each in imported.inputs
    }
    np.savez(work / "inputs.npz", **feeds)  # type: ignore[arg-type]
    own = work / "dense.onnx"
    shutil.copy(imported.prepared or model.path, own)
    return own, work / "inputs.npz"


def in_turns(
    engines: dict[str, tuple[str, Path, Path]], inputs: Path, threads: int, rounds: int
) -> dict[str, np.ndarray]:
    """Seconds by engine, [dense and masked][rounds]; of each is given its Python, and the network
    as it is and masked. Engines that do not get as far as to take turns are left out."""
    servers: dict[tuple[str, int], Server] = {}
    order = np.random.default_rng(0)
    try:
        for engine, (python, *files) in engines.items():
            try:
                for at, file in enumerate(files):
                    servers[engine, at] = Server(python, engine, file, inputs, threads)
            except EngineEnded as ended:
                click.echo(f"{engine}: {ended}", err=True)
                for at in range(len(files)):
                    if (engine, at) in servers:
                        servers.pop((engine, at)).close()
        keys = list(servers)
        times = {engine: np.zeros((2, rounds)) for engine, _ in keys}
        with Progress(transient=True) as progress:
            for turn in progress.track(range(rounds), description="rounds"):
                for each in order.permutation(len(keys)):
                    engine, at = keys[each]
                    times[engine][at, turn] = servers[engine, at].turn()
    finally:
        for server in servers.values():
            server.close()
    return times


if __name__ == "__main__":
    main()
