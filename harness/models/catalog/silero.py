"""Silero VAD, a recurrent cell that hears speech, and recordings of speech and of music."""

from __future__ import annotations

import hashlib
import math
import tempfile
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import CellSkipped, HarnessError, InputError
from harness.files.atomic import write_atomically
from harness.files.npz import read_npz
from harness.models.accuracy.metrics import accuracy, metric
from harness.models.catalog.entries import CatalogEntry
from harness.models.data.batches import take
from harness.models.data.task import Feeds, Progress, Run, Task
from harness.models.fetch import Wheel, atomic_path, fetch_deb, unpack_deb, wheel_members
from harness.models.tensors import TensorSpec
from harness.records.record import Accuracy

SAMPLE_RATE_HZ = 16_000
WINDOW = 512  # samples the model judges at a time, 32 ms
CONTEXT = 64  # samples before them that it sees as well
INPUT = TensorSpec("input", (1, CONTEXT + WINDOW), "float32")
STATE = TensorSpec("state", (2, 1, 128), "float32")
MODEL = Wheel(
    project="silero-vad",
    version="6.2.3",
    filename="silero_vad-6.2.3-py3-none-any.whl",
    sha256="7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
)
MODEL_FILE = "silero_vad/data/silero_vad_op18_ifless.onnx"
SPEECH_PACKAGE = "asterisk-core-sounds-en-wav"
MUSIC_PACKAGE = "asterisk-moh-opsound-wav"

RECORDED_HZ = 8_000
WINDOWS_PER_CLIP = 40
CLIP = WINDOWS_PER_CLIP * WINDOW * RECORDED_HZ // SAMPLE_RATE_HZ  # samples as recorded, 1.28 s
CLIPS_OF_EACH = 75
NO_SPEECH = ("beep", "monkeys", "silence", "tone")
"""Parts of the names of prompts in which nobody speaks."""

QUIET = 0.01
"""Root mean square, of full scale, below which (-40 dB) the content of a window is undecided."""

MODEL_16_KHZ = "silero-vad-16k.onnx"
CLIPS_FILE = "clips.npz"
PROBLEM_FILE = "no-clips.txt"
CLIPS_SHA256 = "18eab4f1107b9a951cadb8880839d1d6c5b46f5a314c1d9f39d2aeacf61b89a8"
"""Of the chosen clips' samples, so that everybody's score is of the same recordings."""


@dataclass(frozen=True)
class Window:
    """One step of the model: `samples` float32 [1, 576], and whether it is loud enough to score."""

    samples: np.ndarray
    scored: bool


class Clips(Task):
    """Clips of speech and of music, scored window by window with the state carried along.

    `recorded` is int16 [clips, samples] at 8 kHz and `speech` marks the clips of speech. A
    window counts as speech when the model's probability is above one half. `reference` is the model
    as fetched, which leads up to the states that `inputs` gives.
    """

    def __init__(self, recorded: np.ndarray, speech: Sequence[bool], reference: Path) -> None:
        self.metric = metric("f1").title
        self.recorded = recorded
        self.speech = speech
        self.reference = reference

    def inputs(self, count: int) -> list[Feeds]:
        """The middle window of each of the first `count` clips, and the state reached there."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            str(self.reference), options, providers=["CPUExecutionProvider"]
        )
        found = []
        for clip in self.recorded[:count]:
            state = np.zeros(STATE.shape, STATE.dtype)
            *before, middle = windows(clip)[: WINDOWS_PER_CLIP // 2]
            for window in before:
                _, state = session.run(None, {INPUT.name: window.samples, STATE.name: state})
            found.append({INPUT.name: middle.samples, STATE.name: state})
        return found

    def evaluate(
        self, run: Run, progress: Progress, limit: int | None = None, skip: int = 0
    ) -> Accuracy:
        """F1 of speech over the windows of all clips but the first `skip`, or over the first
        `limit` windows of those.

        Quiet windows are run but not scored. The interval is by bootstrap over clips, since the
        windows of one clip resemble each other; the number of samples is that of scored windows.
        """
        total = max(0, len(self.recorded) - skip) * WINDOWS_PER_CLIP
        total = total if limit is None else min(limit, total)
        rows, scored = [], 0
        for at in range(skip, skip + math.ceil(total / WINDOWS_PER_CLIP)):
            done = (at - skip) * WINDOWS_PER_CLIP
            row = np.zeros(3)
            state = np.zeros(STATE.shape, STATE.dtype)
            for step, window in enumerate(windows(self.recorded[at])[: total - done], start=1):
                probability, state = run({INPUT.name: window.samples, STATE.name: state})
                if window.scored:
                    label = np.asarray(self.speech[at])
                    row += metric("f1").sample([probability], label)
                    scored += 1
                progress(done + step, total)
            rows.append(row)
        found = accuracy(metric("f1"), np.asarray(rows))
        return found.model_copy(update={"samples": scored})


def windows(recorded: np.ndarray) -> list[Window]:
    """The steps of a clip: int16 samples at 8 kHz, resampled and cut, each with its context."""
    from scipy.signal import resample_poly

    samples = resample_poly(recorded / 2.0**15, SAMPLE_RATE_HZ, RECORDED_HZ)
    padded = np.concatenate([np.zeros(CONTEXT), samples]).astype(np.float32)
    found = []
    for start in range(0, len(samples) - WINDOW + 1, WINDOW):
        cut = padded[start : start + CONTEXT + WINDOW]
        loudness = float(np.sqrt(np.mean(cut[CONTEXT:] ** 2)))
        found.append(Window(cut[np.newaxis], loudness >= QUIET))
    return found


def read_wave(path: Path) -> np.ndarray:
    """The samples, int16, of a WAV file. InputError if it is not mono, 16 bits, 8 kHz."""
    try:
        with wave.open(str(path)) as opened:
            form = (opened.getnchannels(), 8 * opened.getsampwidth(), opened.getframerate())
            content = opened.readframes(opened.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise InputError(f"{path}: cannot be read as WAV: {error}") from None
    if form != (1, 16, RECORDED_HZ):
        raise InputError(
            f"{path}: {form[0]} channels, {form[1]} bits, {form[2]} Hz; "
            f"expected 1 channel, 16 bits, {RECORDED_HZ} Hz"
        )
    return np.frombuffer(content, dtype="<i2")


def choose_clips(prompts: Path, music: Path, of_each: int = CLIPS_OF_EACH) -> np.ndarray:
    """Clips of 1.28 s, int16 [2 × of_each, samples] at 8 kHz: speech and music in turns.

    Speech is the beginning of prompts that are long enough, chosen by the hash of their names;
    music is taken evenly from all pieces. Raises InputError when there are not enough.
    """
    speech = list(_beginnings(prompts, of_each))
    pieces = [read_wave(path) for path in sorted(music.rglob("*.wav"))]
    pieces = [piece for piece in pieces if len(piece) >= CLIP]
    if len(speech) < of_each or not pieces:
        raise InputError(
            f"{len(speech)} spoken prompts and {len(pieces)} pieces of music found, "
            f"expected {of_each} prompts and some music"
        )
    turns = []
    for at, spoken in enumerate(speech):
        piece, place = pieces[at % len(pieces)], at // len(pieces)
        places = math.ceil(of_each / len(pieces))
        start = (len(piece) - CLIP) * (place + 1) // (places + 1)
        turns += [spoken, piece[start : start + CLIP]]
    return np.stack(turns)


def _beginnings(prompts: Path, most: int) -> Iterator[np.ndarray]:
    named = {str(path.relative_to(prompts)): path for path in prompts.rglob("*.wav")}
    spoken = [name for name in named if not any(part in name for part in NO_SPEECH)]
    for name in sorted(spoken, key=lambda it: hashlib.sha256(it.encode()).hexdigest()):
        samples = read_wave(named[name])
        if len(samples) >= CLIP and most:
            most -= 1
            yield samples[:CLIP]


def build(cache: Path) -> Path:
    """Fetch the model and, where apt can get them, the recordings. Raises InputError."""
    path = cache / MODEL_16_KHZ
    if not path.is_file():
        (published,) = wheel_members(MODEL, [MODEL_FILE], cache)
        write_for_16_khz(published, path)
        published.unlink()  # the other half of it is for 8 kHz
    if not (cache / CLIPS_FILE).is_file():
        # The model is of use without them, so the task tells why they are missing.
        try:
            _fetch_clips(cache)
        except HarnessError as problem:
            write_atomically(cache / PROBLEM_FILE, str(problem))
    return path


def write_for_16_khz(published: Path, path: Path) -> None:
    """Write the part of the model that is for 16 kHz: the input `sr` and the choice by it go."""
    import onnx

    from harness.models.onnx.shapes import fix_shapes, fold

    model = onnx.load(published)
    rate = next(value for value in model.graph.input if value.name == "sr")
    model.graph.input.remove(rate)
    constant = onnx.numpy_helper.from_array(np.asarray(SAMPLE_RATE_HZ, dtype=np.int64), "sr")
    model.graph.initializer.append(constant)
    fix_shapes(model, {tensor.name: tensor.shape for tensor in (INPUT, STATE)}, published)
    with atomic_path(path) as partial:
        onnx.save(fold(model, published), str(partial))


def _fetch_clips(cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache, prefix=".recordings-") as scratch:
        prompts, music = Path(scratch) / SPEECH_PACKAGE, Path(scratch) / MUSIC_PACKAGE
        for folder in (prompts, music):
            unpack_deb(fetch_deb(folder.name, Path(scratch)), folder)
        clips = choose_clips(prompts, music)
    found = hashlib.sha256(clips.tobytes()).hexdigest()
    if found != CLIPS_SHA256:
        raise InputError(
            f"the recordings in '{SPEECH_PACKAGE}' and '{MUSIC_PACKAGE}' are not the known ones: "
            f"SHA-256 of the clips found {found}, expected {CLIPS_SHA256}"
        )
    with atomic_path(cache / CLIPS_FILE) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, clips=clips)


def task(cache: Path, data: Path | None) -> Task:
    """The fetched recordings; CellSkipped has the reason if they could not be fetched."""
    if data:
        raise InputError("model 'silero-vad': takes no data of its own; leave 'data' out")
    path = cache / CLIPS_FILE
    if not path.is_file():
        problem = (cache / PROBLEM_FILE).read_text(encoding="utf-8")
        raise CellSkipped(
            f"{problem}; to try again, remove {cache} and run 'layeredge models fetch silero-vad'"
        )
    clips = take(read_npz(path), "clips", path)
    return Clips(clips, [at % 2 == 0 for at in range(len(clips))], cache / MODEL_16_KHZ)


ENTRY = CatalogEntry(
    name="silero-vad",
    summary="Silero VAD 6, 0.31 M parameters: convolutions and a recurrent cell, 16 kHz",
    task_text="whether somebody speaks in 32 ms of sound",
    licence="MIT (weights); CC-BY-SA-3.0 (recordings, of the Debian packages)",
    inputs=(INPUT, STATE),
    preprocessing=(
        "windows of 512 samples at 16 kHz, each after the 64 before it; the state is carried along"
    ),
    data=(
        f"{CLIPS_OF_EACH} prompts of {SPEECH_PACKAGE} and as many clips of {MUSIC_PACKAGE}, Debian "
        "packages got with apt; F1 over the windows above -40 dB"
    ),
    metric="f1",
    build=build,
    task=task,
    wheels=(MODEL,),
    files=(MODEL_FILE,),
)
