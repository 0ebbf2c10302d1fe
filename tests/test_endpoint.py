"""Segments that end by themselves: the rules on made-up silence, and on real recordings."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS
from hypothesis import given
from hypothesis import strategies as st

from ds2edge import Final, StreamOptions, Transcriber, Word
from ds2edge.audio_file import read_audio
from ds2edge.endpoint import Level, Silence, is_endpoint, widest_gap
from ds2edge.errors import ConfigError

RATE = 16_000
STEP, LOOK_AHEAD, CHUNK = 0.03, 0.3, 0.12
OPTIONS = StreamOptions(silence_before=5.0, silence_after=0.6, longest=20.0)
Samples = np.ndarray[Any, Any]


def outputs(pattern: str) -> Samples:
    """Log-probabilities: "_" is a blank, anything else a token."""
    blank = np.array([c == "_" for c in pattern])
    probs = np.where(blank, 0.9, 0.1)
    return np.log(np.stack([probs, 1 - probs], axis=1)).astype(np.float32)


def ends(pattern: str, quiet: bool, options: StreamOptions = OPTIONS, words: bool = True) -> bool:
    silence, level = Silence(), Level(quiet=10.0 if quiet else 0.0)
    for at in range(0, len(pattern), 4):
        silence.hear(outputs(pattern[at : at + 4]), STEP)
    return is_endpoint(silence, level, options, LOOK_AHEAD, lambda: words)


@given(st.text("_a", min_size=1, max_size=80), st.integers(1, 9))
def test_silence_is_what_stands_after_the_last_token(pattern: str, size: int) -> None:
    silence = Silence()
    for at in range(0, len(pattern), size):
        silence.hear(outputs(pattern[at : at + size]), STEP)
    assert silence.seconds == pytest.approx(STEP * len(pattern))
    assert silence.blank == pytest.approx(STEP * (len(pattern) - len(pattern.rstrip("_"))))


def test_silence_after_words() -> None:
    assert ends("aaaa" + "_" * 12, quiet=True)  # 0.36 s of blanks, 0.3 s ahead of them
    assert not ends("aaaa" + "_" * 8, quiet=True)
    assert not ends("aaaa" + "_" * 12, quiet=False)  # it is loud: words that were not understood
    assert not ends("aaaa" + "_" * 12, quiet=True, words=False)
    assert not ends("_" * 12, quiet=True, words=False)


def test_silence_before_words() -> None:
    assert ends("_" * 160, quiet=True, words=False)
    assert not ends("_" * 152, quiet=True, words=False)
    never = replace(OPTIONS, silence_before=math.inf)
    assert not ends("_" * 600, quiet=True, options=never, words=False)


def test_longest() -> None:
    """Beyond it, ever shorter pauses will do."""
    assert not ends("a" * 640 + "_" * 9, quiet=True)
    assert ends("a" * 740 + "_" * 5, quiet=True)
    assert not ends("a" * 740 + "_" * 5, quiet=False)  # within a word
    assert ends("a" * 992, quiet=False)  # no pause in half as much again


def test_the_widest_gap_between_words() -> None:
    times = [(0.0, 1.0), (1.5, 2.0), (2.1, 3.0), (3.3, 4.0), (3.9, 5.0)]
    words = [Word("word", start, end, 0.9) for start, end in times]
    assert widest_gap(words, 0.0) == 1.25
    assert widest_gap(words, 1.3) == pytest.approx(3.15)
    assert widest_gap(words, 3.2) == pytest.approx(3.95)  # they overlap
    assert widest_gap(words, 4.0) is None
    assert widest_gap(words[:1], 0.0) is None


def test_level_follows_the_surroundings() -> None:
    """Pauses are quiet in a quiet room and in a noisy one; speech is not."""
    for noise in (1e-8, 1e-5, 1e-3):
        level = Level()
        for _ in range(5):
            for _ in range(5):
                level.hear(noise, CHUNK)
            assert level.pause(CHUNK) == level.pause(0) == pytest.approx(5 * CHUNK)
            level.hear(noise + 0.02, CHUNK)
            assert level.pause(2 * CHUNK) == pytest.approx(5 * CHUNK)  # a moment ago
            assert level.pause(CHUNK) == 0.0
            for _ in range(19):
                level.hear(noise + 0.02, CHUNK)
            assert level.pause(2 * CHUNK) == 0.0


def test_what_a_codec_cut_off_is_not_how_quiet_the_room_is() -> None:
    level = Level()
    for power, count in ((1e-6, 20), (1e-2, 10), (0.0, 5), (1e-2, 10), (1e-6, 5)):
        for _ in range(count):
            level.hear(power, CHUNK)
    assert level.pause(CHUNK) == pytest.approx(5 * CHUNK)


def test_a_room_that_becomes_noisy_is_quiet_again_after_a_while() -> None:
    level = Level()
    for power, seconds in ((1e-8, 5), (1e-4, 60)):
        for _ in range(round(seconds / CHUNK)):
            level.hear(power, CHUNK)
    assert level.quiet > 10.0


@pytest.fixture(scope="module")
def recordings() -> list[Samples]:
    pause = np.zeros(RATE, np.float32)
    return [np.concatenate([read_audio(path, RATE), pause]) for path in RECORDINGS]


def segments(
    transcriber: Transcriber, blocks: list[Samples], options: StreamOptions | None = None
) -> list[Final]:
    events = transcriber.events(blocks, RATE, options)
    return [event for event in events if isinstance(event, Final)]


def test_every_recording_gets_segments_of_its_own(
    transcriber: Transcriber, recordings: list[Samples]
) -> None:
    found = segments(transcriber, recordings)
    borders = np.cumsum([len(samples) for samples in recordings]) / RATE
    cuts = [final.end for final in found]
    for border in borders[:-1]:
        assert any(border - 1.0 <= cut <= border + 0.3 for cut in cuts), border
    assert [final.segment for final in found] == list(range(len(found)))
    assert found[0].start == 0.0
    for final, following in itertools.pairwise(found):
        assert final.end == following.start
        assert all(final.start <= word.start <= word.end <= final.end for word in final.words)


@pytest.mark.parametrize("alternatives", [0, 3])
def test_without_a_pause_a_segment_ends_between_two_words(
    transcriber: Transcriber, recordings: list[Samples], alternatives: int
) -> None:
    speech = [samples[:-RATE] for samples in recordings]
    whole = segments(transcriber, speech, StreamOptions.without_endpoints())
    inside, found = 0, []
    for longest in (0.9, 1.0, 1.2, 1.5, 2.0):
        options = StreamOptions(silence_after=math.inf, longest=longest, alternatives=alternatives)
        finals = segments(transcriber, speech, options)
        found += finals
        assert all(final.end - final.start < 1.5 * longest + 0.2 for final in finals)
        inside += sum(
            word.start + 0.05 < final.end < word.end - 0.05
            for final in finals[:-1]
            for word in whole[0].words
        )
    assert inside <= 0.1 * len(found)  # some words are heard differently in a short segment
    for final in found:
        assert all(final.start <= word.start <= word.end <= final.end for word in final.words)
        texts = [final.text, *(other.text for other in final.alternatives)]
        assert len(set(texts)) == len(texts)


def test_without_endpoints_there_is_one_segment(
    transcriber: Transcriber, recordings: list[Samples]
) -> None:
    options = StreamOptions.without_endpoints()
    assert len(segments(transcriber, recordings[:2], options)) == 1


def test_silence_ends_segments_without_words(transcriber: Transcriber) -> None:
    silence = np.zeros(RATE * 13, np.float32)
    found = segments(transcriber, [silence], StreamOptions(silence_before=4.0))
    assert [final.text for final in found] == [""] * len(found)
    assert len(found) == 4
    for final in found[:-1]:
        assert final.end - final.start == pytest.approx(4.0, abs=0.5)


def test_endpoints_change_while_it_runs(
    transcriber: Transcriber, recordings: list[Samples]
) -> None:
    with transcriber.stream(RATE, StreamOptions.without_endpoints()) as stream:
        events = stream.feed(recordings[0])
        assert not any(isinstance(event, Final) for event in events)
        stream.set_options(StreamOptions())
        events = stream.feed(recordings[1])
        assert any(isinstance(event, Final) for event in events)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, "soon", None, True])
@pytest.mark.parametrize("name", ["silence_before", "silence_after", "longest"])
def test_bad_rules(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be more than 0 seconds, got"):
        StreamOptions(**{name: value})
