"""The contract of a stream, line 8: any input that a microphone or file gives, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS
from contract_inputs import (
    BAD_BLOCKS,
    DTYPES,
    RATE,
    RATES,
    Samples,
    Script,
    cuts,
    excerpts,
    finals_of,
    in_form,
    recorded,
    scripts,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2edge import StreamOptions, Transcriber
from ds2edge.errors import AudioError, ConfigError, DecoderError
from ds2edge.results import Event


@given(st.data())
@settings(max_examples=25)
def test_8_every_type_and_number_of_channels_is_heard_alike(
    transcriber: Transcriber, data: st.DataObject
) -> None:
    excerpt, channels = data.draw(excerpts(2.0)), data.draw(st.sampled_from([1, 2, 3]))
    dtype = data.draw(st.sampled_from(DTYPES))
    samples = in_form(excerpt.samples, dtype, channels)
    with transcriber.stream(excerpt.rate) as stream:
        events: list[Event] = []
        for piece in np.split(samples, sorted(data.draw(cuts(excerpt.length)))):
            as_bytes = channels == 1 and data.draw(st.booleans())
            events += stream.feed(*((piece.tobytes(), dtype) if as_bytes else (piece,)))
        events += stream.finish()
    same = transcriber.transcribe(in_form(excerpt.samples, "int16", channels), excerpt.rate)
    assert tuple(finals_of(events)) == same.segments


@given(st.data())
@settings(max_examples=30)
def test_8_a_bad_block_leaves_the_stream_as_it_was(
    transcriber: Transcriber, data: st.DataObject
) -> None:
    excerpt, channels = data.draw(excerpts(1.0)), data.draw(st.sampled_from([1, 2]))
    samples = in_form(excerpt.samples, data.draw(st.sampled_from(DTYPES)), channels)
    pieces = np.split(
        samples, sorted(data.draw(st.lists(st.integers(0, len(samples)), max_size=6)))
    )
    bad = data.draw(st.lists(st.sampled_from([*BAD_BLOCKS]), min_size=1, max_size=6))
    at = data.draw(st.integers(0, 10**5))
    with transcriber.stream(excerpt.rate) as stream, transcriber.stream(excerpt.rate) as other:
        for piece in pieces:
            assert stream.feed(piece) == other.feed(piece)
            for name in bad if len(piece) else ():
                before = stream.seconds, stream.state_bytes
                with pytest.raises(AudioError) as raised:
                    stream.feed(*BAD_BLOCKS[name](piece, at))
                assert "\n" not in str(raised.value)
                assert (stream.seconds, stream.state_bytes) == before
        assert stream.finish() == other.finish()


BAD_OPTIONS: dict[str, Any] = {
    "no such letter": {"boost": {"na\u00efve": 1.0}, "longest": 0.2},
    "no boost": {"boost": {"a": float("nan")}, "alternatives": 3},
    "no phrase": {"vocabulary": ["yes", ""], "silence_after": 0.1},
    "no letters": {"add_words": ["x-ray", "4"], "language_model": False},
    "no beam": {"beam": 0, "boost": {"a": 9.0}},
    "no weight": {"alpha": float("nan"), "longest": 0.2},
    "endless words": {"unknown": 3.0, "language_model": False},
}


@given(
    script=scripts(seconds=2.0, acts=None),
    bad=st.lists(st.sampled_from([*BAD_OPTIONS]), min_size=1, max_size=4),
)
@settings(max_examples=10)
def test_8_bad_options_leave_the_stream_as_it_was(
    transcriber: Transcriber, script: Script, bad: list[str]
) -> None:
    rate, options = script.excerpt.rate, script.options
    with transcriber.stream(rate, options) as stream, transcriber.stream(rate, options) as other:
        for piece in np.array_split(script.excerpt.samples, 4):
            assert stream.feed(piece) == other.feed(piece)
            for name in bad:
                with pytest.raises(DecoderError) as raised:
                    stream.set_options(StreamOptions(**BAD_OPTIONS[name]))
                assert "\n" not in str(raised.value)
            assert stream.options is options
            assert stream.flush() == other.flush()
        assert stream.finish() == other.finish()
    for name in bad:
        with pytest.raises(DecoderError):
            transcriber.stream(rate, StreamOptions(**BAD_OPTIONS[name]))


def test_8_what_is_no_options_is_refused(transcriber: Transcriber) -> None:
    for wrong in ("beam=3", {"beam": 3}, StreamOptions):
        with pytest.raises(ConfigError, match="options must be StreamOptions"):
            transcriber.stream(RATE, wrong)  # type: ignore[arg-type]
        with transcriber.stream(RATE) as stream, pytest.raises(ConfigError):
            stream.set_options(wrong)  # type: ignore[arg-type]


@given(rate=st.sampled_from([None, 0, -1.0, 999, 768_001, 10**400, "16000", True, 1j, [RATE]]))
def test_8_a_bad_rate_opens_no_stream(transcriber: Transcriber, rate: Any) -> None:
    for use in (
        lambda: transcriber.stream(rate),
        lambda: transcriber.async_stream(rate),
        lambda: transcriber.transcribe(recorded(0), rate),
        lambda: list(transcriber.events([recorded(0)], rate)),
    ):
        with pytest.raises(AudioError, match="sample_rate"):
            use()


def test_8_a_rate_is_needed_where_there_is_no_header_and_refused_where_there_is(
    transcriber: Transcriber,
) -> None:
    with pytest.raises(AudioError, match="samples without a header need sample_rate= in Hz"):
        transcriber.transcribe(recorded(0))
    with pytest.raises(AudioError, match="sample_rate is needed"):
        next(transcriber.events([recorded(0)]))
    with pytest.raises(AudioError, match="has its own rate; sample_rate is for arrays"):
        transcriber.transcribe(RECORDINGS[0], RATE)
    for source in (None, 3, [0.1], b"RIFF", np.float32(0), np.zeros(())):
        with pytest.raises(AudioError, match="NumPy array"):
            transcriber.transcribe(source, RATE)  # type: ignore[arg-type]


class Blocks:
    """As a microphone: blocks that know their rate, and may come at another after a while."""

    def __init__(self, rates: list[float]) -> None:
        self.rates, self.sample_rate = rates, rates[0]

    def __iter__(self) -> Iterator[Samples]:
        for self.sample_rate in self.rates:  # noqa: B020 # that is the point
            yield recorded(0)[:2000]


@given(rates=st.lists(st.sampled_from(RATES[:3]), min_size=1, max_size=5), given_rate=st.booleans())
@settings(max_examples=30)
def test_8_a_changed_rate_raises(
    transcriber: Transcriber, rates: list[float], given_rate: bool
) -> None:
    events = transcriber.events(Blocks(rates), rates[0] if given_rate else None)
    if len(set(rates)) == 1:
        list(events)
        return
    changed = next(rate for rate in rates if rate != rates[0])
    message = f"the stream takes {rates[0]} Hz, got blocks of {changed} Hz"
    with pytest.raises(AudioError, match=message):
        list(events)


def test_8_blocks_that_know_another_rate_raise(transcriber: Transcriber) -> None:
    with pytest.raises(AudioError, match="the stream takes 16000 Hz, got blocks of 48000 Hz"):
        next(transcriber.events(Blocks([48_000]), RATE))
