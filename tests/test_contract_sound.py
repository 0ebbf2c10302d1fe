"""The contract of a stream, lines 10 and 11: what is heard where, and for how long.

    10 silence and noise are not words, and quiet speech is not silence
    11 long recordings are as good as short ones

Each test's name begins with its line. The embedded model is the subject here, with its features
and endpoints: the cases are drawn once for all, so that what passes goes on to pass.
"""

from __future__ import annotations

import numpy as np
import pytest
from conftest import RECORDINGS, SPEECH
from contract_inputs import PAUSE, RATE, Samples, recorded
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ds2edge import StreamOptions, Transcriber
from ds2edge.training.evaluation.metrics import word_error_rate

MINUTE = 60 * RATE
FULL_SCALE = 20 * np.log10(2**15)  # dB, of int16
MANIFEST = (SPEECH / "manifest.tsv").read_text(encoding="utf-8").splitlines()
READ = {row.split("\t")[0]: row.split("\t")[2] for row in MANIFEST[1:]}  # by file name
WORDS = sum(len(text.split()) for text in READ.values())


def decibels(level: float) -> np.float32:
    return np.float32(10 ** (level / 20))


def words_in(transcriber: Transcriber, samples: Samples, **options: float) -> list[str]:
    transcript = transcriber.transcribe(samples, RATE, StreamOptions(**options))
    assert transcript.duration == len(samples) / RATE
    return [word.text for word in transcript.words]


@pytest.mark.parametrize("bit", [0, 1])
def test_10_a_minute_of_digital_silence(transcriber: Transcriber, bit: int) -> None:
    """Silence, and the last bit of an idle converter."""
    samples = np.random.default_rng(0).integers(-bit, bit, MINUTE, np.int16, endpoint=True)
    assert words_in(transcriber, samples) == []


@given(level=st.floats(-70, -15), seed=st.integers(0, 99))
@settings(max_examples=3, derandomize=True)
@example(level=-20.0, seed=0)
def test_10_a_minute_of_white_noise(transcriber: Transcriber, level: float, seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal(MINUTE, np.float32)
    assert len(words_in(transcriber, noise * decibels(level))) <= 1


@given(
    base=st.floats(45, 400),
    level=st.floats(-60, -20),
    harmonics=st.integers(1, 12),
    phase=st.floats(0, 6.2),
)
@settings(max_examples=5, derandomize=True)
@example(base=50.0, level=-26.0, harmonics=8, phase=0.0)
@example(base=100.0, level=-26.0, harmonics=8, phase=0.0)
@example(base=150.0, level=-20.0, harmonics=12, phase=0.0)
@example(base=220.0, level=-26.0, harmonics=8, phase=0.0)
def test_10_a_minute_of_hum(
    transcriber: Transcriber, base: float, level: float, harmonics: int, phase: float
) -> None:
    """Of mains and engines: a steady tone with harmonics."""
    turns = 2 * np.pi * base * np.arange(MINUTE) / RATE
    tones = [np.sin(k * turns + k * k * phase) / k for k in range(1, harmonics + 1)]
    hum = sum(tones).astype(np.float32)
    assert words_in(transcriber, hum * decibels(level)) == []


@given(pause=st.floats(2, 20), level=st.floats(-90, -50))
@settings(max_examples=3, derandomize=True)
def test_10_a_pause_has_no_words(transcriber: Transcriber, pause: float, level: float) -> None:
    """Between two recordings, in a room that is not quite quiet."""
    noise = np.random.default_rng(0).standard_normal(round(pause * RATE), np.float32)
    room = (noise * decibels(level) * 2**15).astype(np.int16)
    begin = len(recorded(0)) / RATE
    joined = np.concatenate([recorded(0), room, recorded(1)])
    words = transcriber.transcribe(joined, RATE).words
    assert not [word for word in words if begin + 0.3 < word.start < begin + pause - 0.3]
    assert words


@given(which=st.integers(0, len(RECORDINGS) - 1), gain=st.floats(-30, 10))
@settings(max_examples=12, derandomize=True)
@example(which=0, gain=-30.0)
@example(which=1, gain=-30.0)
@example(which=2, gain=-30.0)
@example(which=3, gain=-30.0)
@example(which=4, gain=-30.0)
def test_10_quiet_speech_is_not_silence(transcriber: Transcriber, which: int, gain: float) -> None:
    samples = recorded(which)
    quiet = samples * decibels(gain - FULL_SCALE)
    assert len(words_in(transcriber, quiet)) >= len(words_in(transcriber, samples)) / 2


def errors_in_turns(
    transcriber: Transcriber, turns: list[int], options: StreamOptions
) -> list[int]:
    """Word errors in each of the recordings that follow each other, against what was read."""
    borders = np.cumsum([0, *(len(recorded(which)) for which in turns)]) / RATE
    words = transcriber.transcribe(np.concatenate([*map(recorded, turns)]), RATE, options).words
    middles = np.array([(word.start + word.end) / 2 for word in words])
    turn_of = np.searchsorted(borders[1:], middles + PAUSE / 4, "right")
    said = [
        " ".join(word.text for word, at in zip(words, turn_of, strict=True) if at == turn)
        for turn in range(len(turns))
    ]
    return [errors(which, text) for which, text in zip(turns, said, strict=True)]


def errors(which: int, said: str) -> int:
    return word_error_rate([READ[RECORDINGS[which].name]], [said]).errors


@given(
    orders=st.lists(st.permutations(range(len(RECORDINGS))), min_size=3, max_size=3),
    endpoints=st.booleans(),
)
@settings(max_examples=3, derandomize=True)
def test_11_a_recording_among_many_is_heard_as_alone(
    transcriber: Transcriber, orders: list[list[int]], endpoints: bool
) -> None:
    """More than a minute of speakers who take turns, with segments that end, or in one."""
    turns = [which for order in orders for which in order]
    options = StreamOptions() if endpoints else StreamOptions.without_endpoints()
    found = errors_in_turns(transcriber, turns, options)
    alone = [errors(w, transcriber.transcribe(recorded(w), RATE).text) for w in turns]
    # Where a model is in doubt, what comes before changes some words, for better or worse.
    assert sum(found) <= sum(alone) + 0.1 * WORDS * len(orders)


def test_11_the_tenth_time_is_as_good_as_the_first(transcriber: Transcriber) -> None:
    found = errors_in_turns(transcriber, [*range(len(RECORDINGS))] * 10, StreamOptions())
    first, second = sum(found[: len(found) // 2]), sum(found[len(found) // 2 :])
    assert second <= first + 0.05 * WORDS * 5
