"""What can differ from stream to stream: phrases, vocabularies, weights, further readings."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SPEECH

from ds2edge import Bundle, Final, StreamOptions, Transcriber
from ds2edge.audio_file import read_audio
from ds2edge.bundle import LANGUAGE_MODEL, LEXICON, load_bundle, pack_bundle, write_bundle
from ds2edge.errors import BundleError, ConfigError, DecoderError, StreamError, TextError

RATE = 16_000
WOMAN = SPEECH / "2428-83705-0017.mp3"  # "... that as a woman of business she was ..."
Samples = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def woman() -> Samples:
    return read_audio(WOMAN, RATE)


def text(transcriber: Transcriber, **options: Any) -> str:
    return transcriber.transcribe(WOMAN, options=StreamOptions(**options)).text


# Nearly what is said, and no word of the lexicon: no model hears it without being told to.
PHRASE = "a woman of busness"


def test_a_boost_finds_the_phrase(transcriber: Transcriber) -> None:
    assert PHRASE not in text(transcriber)
    assert PHRASE in text(transcriber, boost={"A  Woman of Busness": 40})


def test_words_that_are_added_may_be_heard(transcriber: Transcriber) -> None:
    avoided = dict.fromkeys(("business", "busyness", "bisness", "businesse"), -50.0)
    by_ear: dict[str, Any] = {"boost": avoided, "alpha": 0.3}
    assert "busness" not in set(transcriber.bundle.words or ())
    assert "busness" not in text(transcriber, **by_ear)
    assert "busness" in text(transcriber, **by_ear, add_words=["busness"])


def test_a_closed_vocabulary_is_all_there_is(transcriber: Transcriber) -> None:
    phrases = ["I found", "she was", "beyond all my expectations"]
    heard = text(transcriber, vocabulary=phrases, unknown=5.0)
    assert heard.startswith("i found")
    assert heard.endswith("she was beyond all my expectations")
    assert set(heard.split()) <= {"<unk>", *" ".join(phrases).lower().split()}


def test_no_phrase_is_pruned_however_badly_it_is_heard(transcriber: Transcriber) -> None:
    with (SPEECH / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        said = {row["path"]: row["text"] for row in csv.DictReader(file, delimiter="\t")}
    options = StreamOptions.without_endpoints(vocabulary=[text for text in said.values() if text])
    heard = {name: transcriber.transcribe(SPEECH / name, options=options).text for name in said}
    assert heard == said


def test_without_a_lexicon_words_get_no_bonus(transcriber: Transcriber, tmp_path: Path) -> None:
    bundle = transcriber.bundle
    kept = [name for name in bundle.manifest.members if name not in (LEXICON, LANGUAGE_MODEL)]
    manifest = replace(bundle.manifest, language_model={})
    alone = write_bundle(tmp_path / "alone", manifest, {n: bundle.folder / n for n in kept})
    assert Transcriber(alone).transcribe(WOMAN).text == text(transcriber, language_model=False)


def test_the_bundle_names_the_language_of_display(
    transcriber: Transcriber, woman: Samples, tmp_path: Path
) -> None:
    bundle = transcriber.bundle
    members = {name: bundle.folder / name for name in bundle.manifest.members}
    german = replace(bundle.manifest, language="de")
    other = Transcriber(write_bundle(tmp_path / "de", german, members))
    (said,) = other.transcribe(WOMAN).segments
    (english,) = transcriber.transcribe(WOMAN).segments
    assert said.display == said.text == english.text != english.display
    with other.stream(RATE) as stream:
        partials = stream.feed(woman)
    assert partials[-1].display == partials[-1].text


def test_alternatives(transcriber: Transcriber) -> None:
    (segment,) = transcriber.transcribe(WOMAN, options=StreamOptions(alternatives=3)).segments
    texts = [segment.text, *(other.text for other in segment.alternatives)]
    assert len(set(texts)) == 4
    scores = [other.score for other in segment.alternatives]
    assert scores == sorted(scores, reverse=True)
    assert segment.text == text(transcriber, alternatives=1)


def test_phrases_change_while_a_segment_is_open(transcriber: Transcriber, woman: Samples) -> None:
    with transcriber.stream(RATE) as stream:
        events = stream.feed(woman[: RATE // 2])
        stream.set_options(StreamOptions(boost={PHRASE: 40}))
        events += stream.feed(woman[RATE // 2 :]) + stream.finish()
    assert PHRASE in events[-1].text
    assert len([event for event in events if isinstance(event, Final)]) == 1


def test_another_vocabulary_counts_from_the_next_segment(
    transcriber: Transcriber, woman: Samples
) -> None:
    with transcriber.stream(RATE) as stream:
        stream.feed(woman[:RATE])
        stream.set_options(StreamOptions(vocabulary=["yes", "no"]))
        stream.feed(woman[RATE:])
        (first,) = stream.flush()
        stream.feed(woman)
        (second,) = stream.finish()
    assert first.text == text(transcriber)
    assert set(second.text.split()) <= {"yes", "no"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"boost": {"naïve": 1.0}}, DecoderError, "'ï'"),
        ({"boost": {"": 1.0}}, DecoderError, "no words"),
        ({"boost": {"a": float("nan")}}, DecoderError, "finite"),
        ({"boost": ["a"]}, ConfigError, "boost must map"),
        ({"boost": {3: 1.0}}, TextError, "must be a str, got 3"),
        ({"vocabulary": "yes"}, ConfigError, "list of phrases, got 'yes'"),
        ({"vocabulary": ["4"]}, DecoderError, "'4'"),
        ({"add_words": "yes"}, ConfigError, "list of phrases"),
        ({"add_words": ["x-ray"]}, DecoderError, "'-'"),
        ({"alternatives": -1}, ConfigError, "from 0 to 1000"),
        ({"unknown": -1.0}, DecoderError, "unknown"),
    ],
)
def test_bad_options_leave_the_stream_as_it_was(
    transcriber: Transcriber,
    woman: Samples,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with transcriber.stream(RATE) as stream:
        stream.feed(woman)
        before = stream.options
        with pytest.raises(error, match=message):
            stream.set_options(StreamOptions(**options))
        assert stream.options is before
        assert stream.finish()[0].text == text(transcriber)


def test_async_streams_are_streams(transcriber: Transcriber, woman: Samples) -> None:
    async def blocks() -> AsyncIterator[Samples]:
        for block in np.array_split(woman, 20):
            await asyncio.sleep(0)
            yield block

    async def run() -> list[str]:
        async with transcriber.async_stream(RATE) as stream:
            return [event.text async for event in stream.events(blocks())]

    async def both() -> list[list[str]]:
        return await asyncio.gather(run(), run())

    first, second = asyncio.run(both())
    assert first == second
    assert first[-1] == text(transcriber)


def test_async_misuse(transcriber: Transcriber, woman: Samples) -> None:
    async def run() -> None:
        async with transcriber.async_stream(RATE) as stream:
            await stream.set_options(StreamOptions(alternatives=1))
            calls = [stream.feed(woman[:8000]), stream.feed(woman[8000:])]
            await asyncio.gather(*calls)  # one after the other
            assert stream.seconds == pytest.approx(len(woman) / RATE)
            (final,) = await stream.finish()
            assert final.text == text(transcriber, alternatives=1)
            with pytest.raises(StreamError, match="finished"):
                await stream.feed(woman)
        with pytest.raises(StreamError, match="finished"):
            await stream.flush()

    asyncio.run(run())


def test_a_bundle_from_bytes(transcriber: Transcriber, tmp_path: Path, cache: Path) -> None:
    packed = pack_bundle(load_bundle("en"), tmp_path / "en.ds2").read_bytes()
    again = Transcriber(Bundle.from_bytes(packed))
    assert again.transcribe(WOMAN) == transcriber.transcribe(WOMAN)
    broken: list[Callable[[], Any]] = [
        lambda: Bundle.from_bytes(packed[:-100]),
        lambda: Bundle.from_bytes(b""),
        lambda: Bundle.from_bytes("en"),  # type: ignore[arg-type]
    ]
    for attempt in broken:
        with pytest.raises(BundleError):
            attempt()
