from __future__ import annotations

import wave
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from catalog_fetching import fetched_or_skip, reference_run

from harness.errors import CellSkipped, InputError
from harness.models.catalog import silero
from harness.models.catalog.silero import (
    CLIP,
    INPUT,
    STATE,
    Clips,
    choose_clips,
    read_wave,
    windows,
)
from harness.models.data.task import Feeds
from harness.models.fetch import wheel_members
from harness.models.resolved import ResolvedModel

STEPS = silero.WINDOWS_PER_CLIP


def _tone(hertz: float, samples: int = CLIP, level: float = 0.5) -> np.ndarray:
    time = np.arange(samples) / silero.RECORDED_HZ
    return (level * 2**15 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def _write(path: Path, samples: np.ndarray, hertz: int = 8000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as opened:
        opened.setnchannels(channels)
        opened.setsampwidth(2)
        opened.setframerate(hertz)
        opened.writeframes(samples.astype("<i2").tobytes())


def test_windows_overlap_by_their_context_when_a_clip_is_cut() -> None:
    found = windows(_tone(440))
    assert len(found) == STEPS
    assert {(window.samples.shape, window.samples.dtype.name) for window in found} == {
        (INPUT.shape, INPUT.dtype)
    }
    assert not found[0].samples[0, : silero.CONTEXT].any()
    for before, after in pairwise(found):
        tail = before.samples[0, -silero.CONTEXT :]
        np.testing.assert_array_equal(after.samples[0, : silero.CONTEXT], tail)


def test_windows_hold_the_same_sound_when_resampled() -> None:
    found = np.concatenate([window.samples[0, silero.CONTEXT :] for window in windows(_tone(440))])
    time = np.arange(len(found)) / silero.SAMPLE_RATE_HZ
    inner = slice(512, -512)  # the resampling filter needs neighbours
    expected = 0.5 * np.sin(2 * np.pi * 440 * time)
    np.testing.assert_allclose(found[inner], expected[inner], atol=2e-3)


def test_windows_are_not_scored_when_quiet() -> None:
    clip = np.concatenate([_tone(440, CLIP // 2), _tone(440, CLIP // 2, level=0.01)])
    scored = [window.scored for window in windows(clip)]
    assert scored == [True] * (STEPS // 2) + [False] * (STEPS // 2)


def _ignore(_done: int, _total: int) -> None:
    """A progress that is not shown."""


class _Counting:
    """A model that counts its steps in the state and hears speech in whatever is loud."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def __call__(self, feeds: Feeds) -> list[np.ndarray]:
        self.steps.append(float(feeds[STATE.name][0, 0, 0]))
        loud = np.abs(feeds[INPUT.name]).max() > 0.3
        return [np.array([[0.9 if loud else 0.1]]), feeds[STATE.name] + 1]


def _clips() -> Clips:
    """Loud speech, soft music, soft speech; the last window of the first is silent."""
    first = _tone(440)
    first[-2 * silero.WINDOW :] = 0
    recorded = np.stack([first, _tone(300, level=0.2), _tone(500, level=0.2)])
    return Clips(recorded, [True, False, True], Path("unused.onnx"))


def test_evaluate_carries_state_along_and_starts_each_clip_anew() -> None:
    model = _Counting()
    _clips().evaluate(model, _ignore)
    assert model.steps == [float(step) for step in range(STEPS)] * 3


def test_evaluate_scores_loud_windows_when_some_are_silent() -> None:
    found = _clips().evaluate(_Counting(), _ignore)
    silent = STEPS - sum(window.scored for window in windows(_clips().recorded[0]))
    assert silent >= 3
    hits, missed = STEPS - silent, STEPS
    assert found.value == pytest.approx(2 * hits / (2 * hits + missed), abs=0.02)
    assert (found.metric, found.samples) == ("F1", 3 * STEPS - silent)


def test_evaluate_runs_that_many_windows_when_limited() -> None:
    model = _Counting()
    told: list[tuple[int, int]] = []
    found = _clips().evaluate(model, lambda *at: told.append(at), limit=STEPS + 5)
    assert model.steps[-5:] == [0, 1, 2, 3, 4]
    assert told[-1] == (STEPS + 5, STEPS + 5)
    assert len(told) == len(model.steps) == STEPS + 5
    assert found.value == pytest.approx(1)


def test_evaluate_leaves_out_the_clips_that_others_were_calibrated_on() -> None:
    model = _Counting()
    _clips().evaluate(model, _ignore, skip=2)
    assert model.steps == [float(step) for step in range(STEPS)]


def test_choose_clips_takes_turns_when_there_is_speech_and_music(tmp_path: Path) -> None:
    for at, name in enumerate(["a", "b", "c"]):
        _write(tmp_path / "prompts" / "en" / f"{name}.wav", np.full(CLIP + 9, 100 + at))
    _write(tmp_path / "prompts" / "short.wav", np.full(CLIP - 1, 7))
    _write(tmp_path / "prompts" / "silence" / "9.wav", np.full(CLIP * 2, 7))
    _write(tmp_path / "prompts" / "beep.wav", np.full(CLIP * 2, 7))
    _write(tmp_path / "music" / "one.wav", np.arange(CLIP * 2))
    _write(tmp_path / "music" / "two.wav", np.arange(CLIP * 3) - 30_000)
    found = choose_clips(tmp_path / "prompts", tmp_path / "music", of_each=3)
    assert found.shape == (6, CLIP)
    assert sorted(found[::2, 0]) == [100, 101, 102]
    assert [int(clip[0]) for clip in found[1::2]] == [CLIP // 3, CLIP * 2 // 3 - 30_000, 6826]
    again = choose_clips(tmp_path / "prompts", tmp_path / "music", of_each=3)
    np.testing.assert_array_equal(found, again)


def test_choose_clips_says_how_many_when_too_few(tmp_path: Path) -> None:
    _write(tmp_path / "prompts" / "a.wav", np.zeros(CLIP))
    _write(tmp_path / "music" / "one.wav", np.zeros(CLIP))
    with pytest.raises(InputError, match="1 spoken prompts and 1 pieces of music found"):
        choose_clips(tmp_path / "prompts", tmp_path / "music", of_each=2)


def test_read_wave_says_what_it_found_when_form_is_another(tmp_path: Path) -> None:
    _write(tmp_path / "fast.wav", np.zeros(4), hertz=16_000, channels=2)
    with pytest.raises(InputError, match="2 channels, 16 bits, 16000 Hz; expected 1 channel"):
        read_wave(tmp_path / "fast.wav")
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(InputError, match=r"text\.wav: cannot be read as WAV"):
        read_wave(tmp_path / "text.wav")


def test_build_goes_on_and_task_says_why_when_apt_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / silero.MODEL_16_KHZ).write_bytes(b"as if built before")
    monkeypatch.setenv("PATH", "")
    assert silero.build(tmp_path) == tmp_path / silero.MODEL_16_KHZ
    with pytest.raises(CellSkipped, match=r"asterisk-core-sounds-en-wav.*apt.*to try again"):
        silero.task(tmp_path, None)


def test_task_refuses_when_user_names_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="takes no data of its own"):
        silero.task(tmp_path, tmp_path)


@pytest.mark.slow
@pytest.mark.network
def test_model_for_16_khz_gives_what_published_one_gives_at_that_rate(tmp_path: Path) -> None:
    model = fetched_or_skip("silero-vad")
    (both,) = wheel_members(silero.MODEL, [silero.MODEL_FILE], tmp_path)
    ours, published = reference_run(model), reference_run(replace(model, path=both))
    state = np.zeros(STATE.shape, np.float32)
    for window in windows(_tone(300))[:10]:
        feeds = {INPUT.name: window.samples, STATE.name: state}
        expected = published({**feeds, "sr": np.asarray(silero.SAMPLE_RATE_HZ)})
        for one, other in zip(ours(feeds), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
        state = expected[1]


@pytest.fixture
def fetched_model() -> ResolvedModel:
    model = fetched_or_skip("silero-vad")
    if model.task is None:
        pytest.skip(str(model.task_missing_reason))
    return model


@pytest.mark.slow
@pytest.mark.network
def test_score_is_the_known_one_when_reference_runs_the_model(
    fetched_model: ResolvedModel,
) -> None:
    assert fetched_model.task is not None
    found = fetched_model.task.evaluate(reference_run(fetched_model), _ignore)
    assert found.value == pytest.approx(0.978, abs=0.003)
    assert found.samples == 5226
    assert 0.96 < found.ci_low < found.value < found.ci_high < 0.99


@pytest.mark.network
def test_inputs_hold_states_that_were_reached_when_given_from_real_clips(
    fetched_model: ResolvedModel,
) -> None:
    assert fetched_model.task is not None
    one, two = fetched_model.task.inputs(2)
    assert np.abs(one[STATE.name]).max() > 0.1
    assert not np.array_equal(one[STATE.name], two[STATE.name])
    assert {name: array.shape for name, array in one.items()} == {
        tensor.name: tensor.shape for tensor in (INPUT, STATE)
    }
