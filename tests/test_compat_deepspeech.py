"""Programs written for DeepSpeech run after changing the import."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from conftest import SPEECH

from ds2edge import StreamOptions, Transcriber
from ds2edge.audio_file import read_audio
from ds2edge.compat.deepspeech import CandidateTranscript, Model, version
from ds2edge.errors import (
    AudioError,
    BundleError,
    ConfigError,
    DecoderError,
    Ds2edgeError,
    StreamError,
)

WOMAN = SPEECH / "2428-83705-0017.mp3"


@pytest.fixture(scope="module")
def audio() -> np.ndarray[Any, Any]:
    return (read_audio(WOMAN, 16_000) * 2**15).astype(np.int16)


@pytest.fixture
def model() -> Model:
    model = Model("deepspeech-0.9.3-models.pbmm")
    model.enableExternalScorer("deepspeech-0.9.3-models.scorer")
    return model


def words_from(transcript: CandidateTranscript) -> list[tuple[str, float]]:
    """As DeepSpeech's client.py puts words together."""
    words, word, start = [], "", 0.0
    for i, token in enumerate(transcript.tokens):
        if token.text != " ":
            if not word:
                start = token.start_time
            word += token.text
        if token.text == " " or i == len(transcript.tokens) - 1:
            words.append((word, round(start, 4)))
            word = ""
    return words


def test_a_client(model: Model, audio: np.ndarray[Any, Any], transcriber: Transcriber) -> None:
    options = StreamOptions.without_endpoints(alternatives=1)
    expected = transcriber.transcribe(audio, 16_000, options)
    assert model.sampleRate() == 16_000
    assert model.stt(audio) == expected.text
    metadata = model.sttWithMetadata(audio, 3)
    assert len(metadata.transcripts) == 3
    found = words_from(metadata.transcripts[0])
    assert found == [(word.text, round(word.start, 4)) for word in expected.words]
    assert all(0 <= t.confidence <= 1 for t in metadata.transcripts)
    times = [token.start_time for token in metadata.transcripts[0].tokens]
    assert times == sorted(times)


def test_a_live_client(model: Model, audio: np.ndarray[Any, Any]) -> None:
    with model.createStream() as stream:
        texts = []
        for block in np.array_split(audio, 30):
            stream.feedAudioContent(block)
            texts.append(stream.intermediateDecode())
        (now,) = stream.intermediateDecodeWithMetadata().transcripts
        assert " ".join(word for word, _ in words_from(now)) == texts[-1]
        assert stream.finishStream() == model.stt(audio)
        for use in (stream.intermediateDecode, stream.finishStream):
            with pytest.raises(StreamError, match="finished"):
                use()
    assert texts[0] == ""
    assert len(set(texts)) > 5


def test_without_a_scorer_letters_are_heard(model: Model, audio: np.ndarray[Any, Any]) -> None:
    with_scorer = model.stt(audio)
    model.disableExternalScorer()
    assert model.stt(audio) != with_scorer
    assert Model().stt(audio) == model.stt(audio)


def test_hot_words(model: Model, audio: np.ndarray[Any, Any]) -> None:
    before = model.stt(audio)
    model.addHotWord("a Woman of busness", 40.0)
    assert "a woman of busness" in model.stt(audio)
    model.addHotWord("kubernetes", 2.0)
    model.eraseHotWord("a Woman of busness")
    assert model.stt(audio) == before
    with pytest.raises(ConfigError, match=r"'dog' is no hot word; there are: \['kubernetes'\]"):
        model.eraseHotWord("dog")
    model.clearHotWords()
    assert model.stt(audio) == before


def test_beam_and_weights(model: Model, audio: np.ndarray[Any, Any]) -> None:
    before = model.stt(audio)
    model.setBeamWidth(1)
    assert model.beamWidth() == 1
    model.setScorerAlphaBeta(0.0, -5.0)
    assert model.stt(audio) != before


def test_bad_calls(model: Model, audio: np.ndarray[Any, Any]) -> None:
    attempts: list[tuple[type[Ds2edgeError], Any]] = [
        (BundleError, lambda: Model("nowhere")),
        (DecoderError, lambda: model.setBeamWidth(0)),
        (DecoderError, lambda: model.addHotWord("3", 1.0)),
        (DecoderError, lambda: model.setScorerAlphaBeta(float("nan"), 0.0)),
        (ConfigError, lambda: model.sttWithMetadata(audio, 0)),
        (AudioError, lambda: model.stt(audio.astype(complex))),
    ]
    before = model.stt(audio)
    for error, attempt in attempts:
        with pytest.raises(error):
            attempt()
    assert model.stt(audio) == before


def test_what_it_cannot_read_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Model("model.tflite")
    assert "model.tflite is not for ds2edge" in caplog.text
    assert version()[0].isdigit()
