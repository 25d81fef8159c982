"""Measures the artifacts of one model on one target together, baselines included.

Each sits in a process of its own and runs in every round, so that a machine that drifts
drifts for all of them. A wrong member is dropped before its latency counts; one that crashes or
hangs is dropped, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from harness.errors import CellFailure, CellSkipped, HarnessError
from harness.files.arrays import read_arrays, write_arrays
from harness.measure.inputs import cautious_inputs, verification_inputs
from harness.measure.judge import NetworkJudge
from harness.measure.judgement import Judge
from harness.measure.member import Measured, Member, ProcessRunner, Runner
from harness.measure.percentiles import percentiles
from harness.measure.plain_reference import NAME as PLAIN
from harness.measure.plain_reference import PlainReference
from harness.measure.scoring import scored_otherwise
from harness.measure.streams import Streams
from harness.measure.verification import OutputKind, verify
from harness.models.accuracy.metrics import agreement
from harness.models.data.task import ScoredInputs
from harness.models.tensors import TensorSpec, ValueRange
from harness.processes.limits import answer_seconds
from harness.records.artifact import NETWORK, StateTensor
from harness.records.record import OWN_ENGINE, Accuracy
from harness.specs.sweep import Limits, Measure, ModelSpec

_WARM_UP_SECONDS = 0.3
_LEAST_RUNS = 3
"""A sample is their median."""
_KERNEL_RUNS, _LEAST_KERNEL_RUNS = 20, 3
_KERNEL_SECONDS = 10.0
"""Runs that time the kernels of a network are fewer where they would take longer than this."""
_INFERENCES_PER_KERNEL_RUN = 4


@dataclass(frozen=True)
class GroupSubject:
    """The model that a group runs: its spec, its inputs and which values they can have, its data,
    its reference, its outputs, and its state."""

    model: ModelSpec
    inputs: tuple[TensorSpec, ...]
    task: ScoredInputs | None
    reference_engine: str
    reference_path: Path
    ranges: Mapping[str, ValueRange] = field(default_factory=dict)
    outputs: tuple[OutputKind, ...] = ()
    output_tensors: tuple[TensorSpec, ...] = ()
    state: tuple[StateTensor, ...] = ()
    fingerprint: str = ""
    """Of the model and its data, where it has any."""


Listener = Callable[[str, str, float, float], None]
"""Told (stage, label, done, total)."""


@dataclass(frozen=True)
class GroupSettings:
    """Settings of a group: it measures with `threads`, in files below `work`; where `streams` is
    given, so many copies of each member side by side. The first `unscored`
    samples of the model's data are not scored. `environment` is added to that of the processes."""

    subject: GroupSubject
    measure: Measure
    limits: Limits
    threads: int
    seed: int
    work: Path
    listener: Listener
    unscored: int = 0
    streams: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def kernel_runs(seconds: float) -> int:
    """How often the kernels of a network are timed whose inference takes so many seconds."""
    affordable = _KERNEL_SECONDS / (_INFERENCES_PER_KERNEL_RUN * max(seconds, 1e-9))
    return int(max(_LEAST_KERNEL_RUNS, min(_KERNEL_RUNS, affordable)))


class Group:
    """Verifies and measures members; `measure` returns their measurements, by their marks."""

    def __init__(self, settings: GroupSettings) -> None:
        self._subject = settings.subject
        self._measure = settings.measure
        self._limits = settings.limits
        self._threads = settings.threads
        self._streams = settings.streams
        self._seed = settings.seed
        self._work = settings.work
        self._unscored = settings.unscored
        self._environment = settings.environment
        self._listener = settings.listener
        self._runners: list[Runner] = []
        self._plain_references: dict[Path, PlainReference] = {}
        self._judges = ExitStack()
        self.machine: dict[str, Any] = {}
        """Entries of a record's environment about the machine that measures, if it is not this
        one."""

    def measure(self, members: Sequence[Member]) -> dict[str, Measured]:
        """Measure all, interleaved. Raises CellFailure when the reference itself does not run."""
        self._work.mkdir(parents=True, exist_ok=True)
        inputs = self._work / "inputs.npz"
        try:
            reference, real = self._given(inputs)
            with self._judges:
                judge = self._judge(self._subject.reference_path, inputs)
                for member in members:
                    self._listener("verify", member.label, 0, 1)
                    self._runners.append(self._runner(member))
                    self._step(
                        self._runners[-1],
                        "verify",
                        lambda r: self._verify(r, reference, real, judge),
                    )
            self._time(inputs)
            for runner in self._alive():
                self._step(runner, "accuracy", lambda r: self._accuracy(r, reference))
            for runner in self._alive():
                self._step(runner, "accuracy", self._require_score)
        finally:
            for runner in self._runners:
                runner.close()
        return {runner.member.mark: runner.measured for runner in self._runners}

    def _given(self, inputs: Path) -> tuple[list[list[np.ndarray]], bool]:
        """Write the inputs to a file. The reference's outputs for them, and whether they are
        real. Raises CellFailure when it does not run on any."""
        subject, count = self._subject, self._measure.verify_inputs
        feeds, real = verification_inputs(
            subject.task,
            subject.inputs,
            count,
            self._seed,
            subject.ranges,
            [each.input for each in subject.state],
        )
        engine, path = subject.reference_engine, subject.reference_path
        write_arrays(inputs, [list(row.items()) for row in feeds])
        try:
            return self._reference(engine, path, inputs), real
        except CellFailure:
            if real:
                raise
        feeds = cautious_inputs(subject.inputs, count, self._seed)
        write_arrays(inputs, [list(row.items()) for row in feeds])
        return self._reference(engine, path, inputs), real

    def _time(self, inputs: Path) -> None:
        for runner in self._alive():
            self._step(runner, "measure", lambda r: self._prepare(r, inputs))
        self._rounds()
        for runner in self._alive():
            self._step(runner, "measure", self._inferences)
        for runner in self._alive():
            self._step(runner, "measure", lambda r: self._kernels(r, inputs))

    def _runner(self, member: Member) -> Runner:
        if self._streams is not None and member.mark:
            return Streams(member, self._streams, self._threads, self._limits, self._environment)
        return ProcessRunner(member, self._threads, self._limits, self._environment)

    def _alive(self) -> list[Runner]:
        return [runner for runner in self._runners if runner.alive]

    def _step(self, runner: Runner, stage: str, action: Callable[[Runner], None]) -> None:
        """Do something with one runner; an error is its own failure."""
        try:
            action(runner)
        except (CellFailure, CellSkipped) as error:
            runner.fail(stage, error)

    def _reference(self, engine: str, path: Path, inputs: Path) -> list[list[np.ndarray]]:
        self._listener("verify", f"reference {engine}", 0, 1)
        member = Member("", "reference", engine, path)
        runner = self._runner(member)
        try:
            runner.load()
            return self._outputs(runner, inputs)
        except HarnessError as error:
            raise CellFailure(f"the reference {engine} does not run the model: {error}") from None
        finally:
            runner.close()

    def _outputs(self, runner: Runner, inputs: Path) -> list[list[np.ndarray]]:
        outputs = self._work / f"outputs-{runner.member.mark or 'reference'}.npz"
        answer = runner.ask({"do": "outputs", "inputs": str(inputs), "outputs": str(outputs)})
        runner.measured.first_seconds = answer["first_seconds"]
        try:
            return [list(row.values()) for row in read_arrays(outputs)]
        finally:
            outputs.unlink(missing_ok=True)

    def _verify(
        self, runner: Runner, reference: list[list[np.ndarray]], real: bool, judge: Judge
    ) -> None:
        runner.load()
        inputs, name = self._work / "inputs.npz", self._subject.reference_engine
        found = self._outputs(runner, inputs)
        if runner.member.reference is not None:
            plain = self._plain(runner.member.reference, inputs)
            reference, name, judge = plain.outputs, PLAIN, plain
        kinds = self._subject.outputs
        runner.measured.verification = verify(name, reference, found, real, kinds, judge)

    def _plain(self, folder: Path, inputs: Path) -> PlainReference:
        """The reference in a folder, which several engines can be held against."""
        if folder not in self._plain_references:
            run = partial(self._reference, OWN_ENGINE, folder)
            network = folder / NETWORK
            exact = self._judge(network, inputs) if network.exists() else _no_network
            self._plain_references[folder] = PlainReference(
                folder, inputs, self._work, self._seed, run, exact
            )
        return self._plain_references[folder]

    def _judge(self, network: Path, inputs: Path) -> NetworkJudge:
        """The judge of a network, for as long as members are verified."""
        limits = self._limits.memory_mb, answer_seconds(self._limits)
        return self._judges.enter_context(NetworkJudge(network, inputs, *limits))

    def _prepare(self, runner: Runner, inputs: Path) -> None:
        answer = runner.ask(
            {"do": "prepare", "inputs": str(inputs), "warm_up_seconds": _WARM_UP_SECONDS}
        )
        runner.measured.peak_rss_mb = answer["peak_rss_mb"]
        runner.seconds_per_run = float(answer["seconds"])
        wanted = self._measure.sample_ms / 1e3 / max(runner.seconds_per_run, 1e-9)
        runner.measured.runs_per_sample = max(_LEAST_RUNS, round(wanted))

    def _rounds(self) -> None:
        """Rounds until there are enough and enough time has passed; order shuffled each time. A
        member's process gives way to another after its share of them."""
        order = np.random.default_rng(self._seed)
        started = monotonic()
        done, processes = 0, 1
        while self._alive() and (share := self._share(done, monotonic() - started)) < 1:
            if share * self._measure.processes >= processes:
                processes += 1
                started += self._renew()
            runners = self._alive()
            for at in order.permutation(len(runners)):
                self._step(runners[at], "measure", self._sample)
            done += 1
            self._listener("measure", f"{len(runners)} interleaved", done, self._measure.repeats)

    def _share(self, rounds: int, seconds: float) -> float:
        """How much of the measurement is done; 1 where all is."""
        measure = self._measure
        of_time = seconds / measure.min_seconds if measure.min_seconds else 1.0
        return min(rounds / measure.repeats, of_time)

    def _renew(self) -> float:
        """Have all members go on in other processes; the seconds that it took."""
        started = monotonic()
        for runner in self._alive():
            self._step(runner, "measure", self._keep_singles)
        for runner in self._alive():
            self._step(runner, "measure", lambda r: r.renew())
        return monotonic() - started

    def _sample(self, runner: Runner) -> None:
        runner.measured.samples.append(runner.sample(runner.measured.runs_per_sample))

    def _inferences(self, runner: Runner) -> None:
        self._keep_singles(runner)
        runner.measured.inferences = percentiles(np.concatenate(runner.singles))

    def _keep_singles(self, runner: Runner) -> None:
        """Take over the inferences that the member's process has timed."""
        path = self._work / f"inferences-{runner.member.mark}.npy"
        runner.ask({"do": "inferences", "path": str(path)})
        try:
            runner.singles.append(np.load(path))
        finally:
            path.unlink(missing_ok=True)

    def _kernels(self, runner: Runner, inputs: Path) -> None:
        if runner.member.engine == OWN_ENGINE:
            self._listener("measure", f"kernels of {runner.member.label}", 0, 1)
            runs = kernel_runs(runner.seconds_per_run)
            answer = runner.ask({"do": "kernels", "inputs": str(inputs), "runs": runs})
            runner.measured.kernel_seconds = answer["kernels"]
            runner.measured.outside_seconds = answer["outside"]

    def _require_score(self, runner: Runner) -> None:
        """Fail a network that is not compressed, and scores otherwise than the reference. Where
        that is at fault itself, nothing can be said."""
        member, verification = runner.member, runner.measured.verification
        blamed = verification is not None and verification.blame is not None
        if member.engine != OWN_ENGINE or member.reference is not None or blamed:
            return
        for other in self._alive():
            if other.member.engine == self._subject.reference_engine and (
                other.member.reference is None
            ):
                found = scored_otherwise(runner.measured.accuracy, other.measured.accuracy)
                if found:
                    raise CellFailure(f"wrong result: {found}, though nothing is compressed")

    def _accuracy(self, runner: Runner, reference: list[list[np.ndarray]]) -> None:
        if not runner.member.wants_accuracy:
            return
        label = runner.member.label
        if self._subject.task is None:
            found = self._outputs(runner, self._work / "inputs.npz")
            runner.measured.accuracy = agreement(reference, found)
            return
        answer = runner.ask(
            {
                "do": "accuracy",
                "model": self._subject.model.model_dump(mode="json", exclude={"training"}),
                "inputs": [asdict(each) for each in self._subject.inputs],
                "outputs": [asdict(each) for each in self._subject.output_tensors],
                "state": [each.model_dump() for each in self._subject.state],
                "fingerprint": self._subject.fingerprint,
                "limit": self._measure.accuracy_samples,
                "skip": self._unscored,
            },
            lambda done, total: self._listener("accuracy", label, done, total),
        )
        runner.measured.accuracy = Accuracy.model_validate(answer["accuracy"])


def _no_network(_at: int, _others: int) -> str:
    return "the compressed network is not there as ONNX, which is evaluated in 64-bit floats"
