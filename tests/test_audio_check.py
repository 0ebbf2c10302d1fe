"""Audio that cannot be heard well is told of, once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soxr
from conftest import RECORDINGS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ds2edge import Transcriber
from ds2edge.audio_check import AudioCheck
from ds2edge.audio_file import read_audio

RATE = 16_000
Samples = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def speech() -> Samples:
    return np.concatenate([read_audio(path, RATE) for path in RECORDINGS])[: RATE * 12]


def telephone(samples: Samples) -> Samples:
    return soxr.resample(soxr.resample(samples, RATE, 8_000), 8_000, RATE)


@pytest.mark.parametrize("blocks", [20, 720, 5000])  # 720: of 50 ms, as a microphone gives
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: np.clip(20 * s, -1, 1), "% of the audio is clipped"),
        (lambda s: s / 1000, r"nearly silent \(peak -\d+ dB"),
        (lambda s: 0 * s, "digital silence: is the microphone muted"),
        (telephone, "nothing above 4000 Hz"),
    ],
)
def test_bad_audio_is_told_of_once(
    speech: Samples,
    spoil: Callable[[Samples], Samples],
    message: str,
    blocks: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    check = AudioCheck(RATE)
    for block in np.array_split(np.tile(spoil(speech), 3).astype(np.float32), blocks):
        check.hear(block)
    assert len(caplog.records) == 1
    assert caplog.records[0].name == "ds2edge.audio_check"
    assert re.search(message, caplog.text)


@given(
    start=st.integers(0, RATE * 8),
    telephoned=st.booleans(),
    cuts=st.lists(st.integers(0, RATE * 20), max_size=20),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_says_the_same_however_the_samples_are_cut(
    speech: Samples, caplog: pytest.LogCaptureFixture, start: int, telephoned: bool, cuts: list[int]
) -> None:
    """It looks everywhere, not only at the end of each block."""
    caplog.clear()
    check = AudioCheck(RATE)
    whole = np.tile(speech, 2)[start:]
    for block in np.split(telephone(whole) if telephoned else whole, sorted(cuts)):
        check.hear(block)
    assert bool(caplog.records) is telephoned


def test_good_audio_is_not_told_of(
    speech: Samples, transcriber: Transcriber, caplog: pytest.LogCaptureFixture
) -> None:
    for cut in (np.array_split(speech, 500), [speech]):
        check = AudioCheck(RATE)
        for block in cut:
            check.hear(block)
    transcriber.transcribe(speech, RATE)
    assert not caplog.records


def test_a_narrow_band_model_asks_for_no_more(caplog: pytest.LogCaptureFixture) -> None:
    check = AudioCheck(8_000)
    for _ in range(20):
        check.hear(np.random.default_rng(0).normal(size=8_000).astype(np.float32) / 9)
    assert not caplog.records


def test_a_stream_tells(transcriber: Transcriber, caplog: pytest.LogCaptureFixture) -> None:
    with transcriber.stream(48_000) as stream:
        for _ in range(11):
            stream.feed(np.zeros(48_000, np.float32))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
