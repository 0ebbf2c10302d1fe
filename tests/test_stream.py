"""The contract of a stream, with the embedded bundle and real recordings."""

from __future__ import annotations

import itertools
import math
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from conftest import RECORDINGS
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2edge import Final, Partial, StreamOptions, Transcriber, Transcript
from ds2edge.audio import SampleInput, read_audio
from ds2edge.decoder import greedy
from ds2edge.errors import (
    AudioError,
    BundleError,
    ConfigError,
    DecoderError,
    StreamError,
)

RATE = 16_000
Samples = np.ndarray[Any, Any]

# Pieces from one sample to all of it; short ones first in number, since they cost most.
cuts = st.one_of(
    st.lists(st.integers(0, RATE * 4), max_size=40),
    st.integers(1, 5000).map(lambda size: list(range(size, RATE * 4, size))),
    st.integers(0, RATE * 4 - 300).map(lambda at: list(range(at, at + 300))),
)


def pieces(samples: Samples, at: list[int]) -> list[Samples]:
    return np.split(samples, sorted(at))


def events_of(
    transcriber: Transcriber, blocks: list[Samples], rate: int = RATE
) -> list[Partial | Final]:
    return list(transcriber.events(blocks, rate))


@given(at=cuts)
@settings(max_examples=25)
def test_log_probs_are_bit_identical_for_any_cut(
    transcriber: Transcriber, speech: Samples, at: list[int]
) -> None:
    pipeline, decoder = transcriber._pipeline, transcriber._decoder
    results = []
    for blocks in (pieces(speech, at), [speech]):
        state, log_probs, source = pipeline.start(decoder), [], SampleInput(RATE, RATE)
        for block in blocks:
            log_probs += pipeline.advance(state, source.convert(block))
        log_probs += pipeline.advance(state, source.finish())
        log_probs += pipeline.finish(state)
        results.append(np.concatenate(log_probs))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], pipeline.log_probs(speech))


@pytest.mark.parametrize("rate", [8_000, RATE, 44_100])
@given(at=cuts)
@settings(max_examples=15)
def test_words_times_and_confidences_are_identical_for_any_cut_and_equal_transcribe(
    transcriber: Transcriber, speech: Samples, rate: int, at: list[int]
) -> None:
    samples = soxr.resample(speech, RATE, rate) if rate != RATE else speech
    finals = [e for e in events_of(transcriber, pieces(samples, at), rate) if isinstance(e, Final)]
    assert tuple(finals) == transcriber.transcribe(samples, rate).segments


def test_single_samples_are_as_good_as_the_whole(transcriber: Transcriber, speech: Samples) -> None:
    short = speech[: RATE * 3 // 2]
    one_by_one = events_of(transcriber, [short[i : i + 1] for i in range(len(short))])
    assert one_by_one[-1] == events_of(transcriber, [short])[-1]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.stem)
def test_file_array_and_stream_give_the_same(transcriber: Transcriber, path: Path) -> None:
    whole = transcriber.transcribe(path)
    assert whole.words, "a recording of speech has words"
    assert transcriber.transcribe(read_audio(path, RATE), RATE).words == whole.words


def test_words_come_out_before_the_audio_ends(transcriber: Transcriber, speech: Samples) -> None:
    spoken = np.concatenate([read_audio(path, RATE) for path in RECORDINGS])
    with transcriber.stream(RATE) as stream:
        first = next(
            i
            for i, block in enumerate(np.array_split(spoken, 100))
            if any(event.text for event in stream.feed(block))
        )
    assert first < 50


def test_state_is_constant_however_long_the_stream(transcriber: Transcriber) -> None:
    spoken = np.concatenate([read_audio(path, RATE) for path in RECORDINGS])
    with transcriber.stream(RATE) as stream:
        peaks = []
        for _ in range(6):
            sizes = [stream.feed(b) or stream.state_bytes for b in np.array_split(spoken, 40)]
            peaks.append(max(s if isinstance(s, int) else stream.state_bytes for s in sizes))
    assert max(peaks[2:]) <= 1.2 * max(peaks[:2]), peaks


def test_stable_words_never_change(transcriber: Transcriber) -> None:
    spoken = np.concatenate([read_audio(path, RATE) for path in RECORDINGS])
    events = events_of(transcriber, np.array_split(spoken, 150))
    assert any(isinstance(p, Partial) and p.stable_words for p in events)
    for i, partial in enumerate(events):
        if isinstance(partial, Final):
            continue
        fixed = partial.words[: partial.stable_words]
        for later in (e for e in events[i:] if e.segment == partial.segment):
            assert later.words[: len(fixed)] == fixed


def test_words_are_in_order_inside_the_audio_with_confidence(transcriber: Transcriber) -> None:
    for path in RECORDINGS:
        transcript = transcriber.transcribe(path)
        for word in transcript.words:
            assert 0 <= word.start < word.end <= transcript.duration
            assert 0 <= word.confidence <= 1
        for word, following in itertools.pairwise(transcript.words):
            assert word.start <= following.start


def test_flush_ends_a_segment_exactly_and_the_stream_goes_on(
    transcriber: Transcriber, speech: Samples
) -> None:
    alone = transcriber.transcribe(speech, RATE)
    with transcriber.stream(RATE) as stream:
        finals = []
        for _ in range(3):
            stream.feed(speech)
            finals += stream.flush()
        finals += stream.finish()
    transcript = Transcript.from_events(finals)
    assert [f.segment for f in finals] == [0, 1, 2, 3]
    assert [f.text for f in finals] == [alone.text] * 3 + [""]
    seconds = len(speech) / RATE
    for i, final in enumerate(finals[:3]):
        assert (final.start, final.end) == (
            pytest.approx(i * seconds),
            pytest.approx(i * seconds + seconds),
        )
        for word, same in zip(final.words, alone.words, strict=True):
            assert word.start == pytest.approx(same.start + i * seconds)
    assert transcript.duration == stream.seconds == pytest.approx(3 * seconds)


def test_a_flush_does_not_forget_the_number_of_channels(transcriber: Transcriber) -> None:
    with transcriber.stream(RATE) as stream:
        stream.feed(np.zeros((10, 2), np.float32))
        stream.flush()
        with pytest.raises(AudioError, match="channels"):
            stream.feed(np.zeros(10, np.float32))


def test_end_of_the_audio_needs_no_padding(transcriber: Transcriber) -> None:
    """Cut at the last sample of speech: the outputs of every frame are there."""
    for length in (1, 100, 480, 5000, 16_000, 16_001, 31_999):
        log_probs = transcriber._pipeline.log_probs(read_audio(RECORDINGS[0], RATE)[:length])
        assert len(log_probs) == math.ceil(math.ceil(length / 160) / 3)


def test_a_stream_knows_nothing_of_the_one_before(
    transcriber: Transcriber, speech: Samples
) -> None:
    fresh = Transcriber().transcribe(speech, RATE)
    with transcriber.stream(RATE) as dropped:
        dropped.feed(speech[:20_000])
    assert transcriber.transcribe(speech, RATE) == fresh


def test_threads_share_a_transcriber(transcriber: Transcriber) -> None:
    expected = [transcriber.transcribe(path) for path in RECORDINGS]
    found: list[Transcript | None] = [None] * len(RECORDINGS)

    def run(i: int) -> None:
        found[i] = transcriber.transcribe(RECORDINGS[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(RECORDINGS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


@pytest.mark.parametrize(
    "bad",
    [
        np.array([0.1, np.nan], np.float32),
        np.zeros(10, np.complex64),
        np.zeros((2, 2, 2), np.float32),
        b"123",
        [0.0, 0.1],
    ],
    ids=["nan", "complex", "three axes", "bytes", "list"],
)
def test_bad_samples_leave_the_stream_intact(
    transcriber: Transcriber, speech: Samples, bad: Any
) -> None:
    with transcriber.stream(RATE) as stream:
        events = stream.feed(speech[:30_000])
        with pytest.raises(AudioError):
            stream.feed(bad)
        events += stream.feed(speech[30_000:]) + stream.finish()
    assert events[-1] == events_of(transcriber, [speech])[-1]


@pytest.mark.parametrize("dtype", ["int16", "int32", "float64"])
def test_any_type_of_sample(transcriber: Transcriber, speech: Samples, dtype: str) -> None:
    scale = {"int16": 2**15, "int32": 2**31, "float64": 1}[dtype]
    samples = (speech.astype(np.float64) * scale).round() if scale > 1 else speech
    converted = samples.astype(dtype)
    stereo = np.stack([converted, converted], axis=1)
    with transcriber.stream(RATE) as stream:
        stream.feed(converted.tobytes(), dtype=dtype)
        (from_bytes,) = stream.finish()
    assert transcriber.transcribe(stereo, RATE).text == from_bytes.text
    assert from_bytes.text == transcriber.transcribe(speech, RATE).text


def test_misuse_raises(transcriber: Transcriber, speech: Samples) -> None:
    with transcriber.stream(RATE) as stream:
        stream.finish()
        with pytest.raises(StreamError, match="finished"):
            stream.feed(speech)
    with transcriber.stream(RATE) as stream:
        pass
    with pytest.raises(StreamError, match="closed"):
        stream.finish()
    with pytest.raises(StreamError, match="pickle"):
        pickle.dumps(stream)
    with pytest.raises(AudioError, match="sample_rate"):
        transcriber.transcribe(speech)
    for source in (None, 3, [0.1], b"RIFF", np.float32(0)):
        with pytest.raises(AudioError, match="NumPy array"):
            transcriber.transcribe(source, RATE)  # type: ignore[arg-type]
    for bad in ({"beam": 0}, {"beam": "x"}, {"beam": 10**30}, {"alpha": float("nan")}):
        with pytest.raises(DecoderError) as raised:
            transcriber.stream(RATE, StreamOptions(**bad))
        assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match="StreamOptions"):
        transcriber.stream(RATE, "beam=3")  # type: ignore[arg-type]
    with pytest.raises(AudioError):
        transcriber.stream(10**400)
    for reference in (None, 5, b"en"):
        with pytest.raises(BundleError):
            Transcriber(reference)  # type: ignore[arg-type]


def test_use_from_a_second_thread_at_once_raises(
    transcriber: Transcriber, speech: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = transcriber.stream(RATE)
    inside, leave = threading.Event(), threading.Event()
    advance = type(stream._pipeline).advance

    def slow(*arguments: Any) -> Any:
        inside.set()
        leave.wait(10)
        return advance(*arguments)

    monkeypatch.setattr(type(stream._pipeline), "advance", slow)
    thread = threading.Thread(target=stream.feed, args=(speech[:1000],))
    thread.start()
    inside.wait(10)
    with pytest.raises(StreamError, match="another thread"):
        stream.feed(speech[:1000])
    leave.set()
    thread.join()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_use_in_a_forked_child_raises(transcriber: Transcriber) -> None:
    stream = transcriber.stream(RATE)
    child = os.fork()
    if not child:
        refused = 0
        for use in (stream.finish, lambda: transcriber.stream(RATE)):
            try:
                use()
            except StreamError:
                refused += 1
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def test_a_transcriber_pickles_as_its_bundle(transcriber: Transcriber, speech: Samples) -> None:
    data = pickle.dumps(transcriber)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again.transcribe(speech, RATE) == transcriber.transcribe(speech, RATE)


def test_options_reach_the_search(transcriber: Transcriber, speech: Samples) -> None:
    letters = transcriber.transcribe(speech, RATE, StreamOptions(language_model=False))
    words = transcriber.transcribe(speech, RATE)
    lexicon = set(transcriber.bundle.words or ())
    assert {word.text for word in words.words} <= lexicon
    assert letters.text != words.text
    log_probs = transcriber._pipeline.log_probs(speech)
    assert greedy(log_probs, transcriber.bundle.manifest.tokens)
    narrow = transcriber.transcribe(speech, RATE, StreamOptions(beam=1, alpha=0.0, beta=-5.0))
    assert narrow.text != words.text


def test_silence_and_faint_noise_have_no_words(transcriber: Transcriber, speech: Samples) -> None:
    minute = np.zeros(RATE * 60, np.float32)
    noise = np.random.default_rng(1).normal(size=len(minute)).astype(np.float32)
    for level in (0, 1e-5, 1e-3, 1e-2):
        assert transcriber.transcribe(noise * level, RATE).text == "", level
    assert transcriber.transcribe(minute[:0], RATE).segments[0].words == ()
    before = transcriber.transcribe(speech, RATE).words
    paused = transcriber.transcribe(np.concatenate([speech, minute]), RATE).words
    assert all(word.end < len(speech) / RATE + 1 for word in paused)
    assert paused[: len(before) // 2] == before[: len(before) // 2]


@pytest.mark.parametrize(
    ("form", "rate"),
    [
        (form, rate)
        for form in ("wav", "flac", "ogg", "mp3", "opus")
        for rate in (8_000, 16_000, 44_100, 48_000)
        if (form, rate) != ("opus", 44_100)  # Opus knows no such rate
    ],
)
def test_every_format_and_rate_is_heard(
    transcriber: Transcriber, speech: Samples, tmp_path: Path, form: str, rate: int
) -> None:
    path = tmp_path / f"speech.{form}"
    samples = soxr.resample(speech, RATE, rate)
    kind = {"opus": ("OGG", "OPUS"), "ogg": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III")}
    container, subtype = kind.get(form, (form.upper(), "PCM_16"))
    with soundfile.SoundFile(path, "w", rate, 2, subtype, format=container) as file:
        file.write(np.stack([samples, samples], axis=1))
    found = transcriber.transcribe(path)
    assert found.words
    assert found.duration == pytest.approx(len(speech) / RATE, abs=0.2)
