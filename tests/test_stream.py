"""Transcriber and Stream by example; the contract's properties are in test_contract*.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from conftest import RECORDINGS

from ds2edge import StreamOptions, Transcriber, Transcript
from ds2edge.audio_file import read_audio
from ds2edge.decoder import greedy
from ds2edge.errors import AudioError, BundleError

RATE = 16_000
Samples = np.ndarray[Any, Any]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: p.stem)
def test_file_array_and_stream_give_the_same(transcriber: Transcriber, path: Path) -> None:
    whole = transcriber.transcribe(path)
    assert whole.words, "a recording of speech has words"
    assert transcriber.transcribe(read_audio(path, RATE), RATE).words == whole.words


def test_words_come_out_before_the_audio_ends(transcriber: Transcriber) -> None:
    spoken = np.concatenate([read_audio(path, RATE) for path in RECORDINGS])
    with transcriber.stream(RATE) as stream:
        first = next(
            i
            for i, block in enumerate(np.array_split(spoken, 100))
            if any(event.text for event in stream.feed(block))
        )
    assert first < 50


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


@pytest.mark.parametrize("reference", [None, 5, b"en", "", "xx"])
def test_what_is_no_bundle(reference: Any) -> None:
    with pytest.raises(BundleError):
        Transcriber(reference)


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
