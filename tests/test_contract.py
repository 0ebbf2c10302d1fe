"""The contract of a stream, lines 1 to 6: what it says. Each test's name begins with its line.

    1 chunking does not matter      2 nothing is lost       3 finals are final
    4 partials have a stable part   5 cost does not grow    6 words carry times and confidence

What is right is never what was really said, but what another way to the same samples gives.
"""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from conftest import RECORDINGS
from contract_inputs import (
    RATE,
    Excerpt,
    Samples,
    Script,
    at_model_rate,
    cuts,
    excerpts,
    finals_of,
    flat,
    open_text,
    perform,
    play,
    recorded,
    scripts,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2edge import Final, Partial, StreamOptions, Transcriber, load_bundle
from ds2edge.audio import SampleInput
from ds2edge.pipeline import Pipeline
from ds2edge.results import Event, Word, join_words

ONE_SEGMENT = st.just(StreamOptions.without_endpoints(beam=64))


@given(st.data())
@settings(max_examples=20)
def test_1_log_probs_are_bit_identical_for_any_cut(
    transcriber: Transcriber, data: st.DataObject
) -> None:
    excerpt = data.draw(excerpts(2.0))
    at = data.draw(cuts(excerpt.length))
    pipeline = transcriber._pipeline
    state, source = pipeline.start(transcriber._decoder), SampleInput(excerpt.rate, RATE)
    found = []
    for block in np.split(excerpt.samples, sorted(at)):
        found += pipeline.run(pipeline.advance(state, source.convert(block)))
    found += pipeline.run(pipeline.advance(state, source.finish()))
    found += pipeline.run(pipeline.finish(state))
    whole = pipeline.log_probs(at_model_rate(excerpt.samples, excerpt.rate))
    np.testing.assert_array_equal(np.concatenate(found), whole)


@given(script=scripts())
@settings(max_examples=20)
def test_1_everything_said_is_the_same_for_any_cut(
    transcriber: Transcriber, script: Script
) -> None:
    """With flushes and other options in between, at the same samples: finals and what is open."""
    with transcriber.stream(script.excerpt.rate, script.options) as stream:
        cut = perform(script, stream)
    with transcriber.stream(script.excerpt.rate, script.options) as stream:
        whole = perform(script.without_cuts(), stream)
    for i in range(len(whole)):
        assert finals_of(cut[i]) == finals_of(whole[i])
        assert open_text(flat(cut[: i + 1])) == open_text(flat(whole[: i + 1]))


@given(script=scripts(acts=None))
@settings(max_examples=12)
def test_1_it_is_what_transcribe_says(transcriber: Transcriber, script: Script) -> None:
    excerpt = script.excerpt
    whole = transcriber.transcribe(excerpt.samples, excerpt.rate, script.options)
    events, seconds = play(script, transcriber)
    assert (tuple(finals_of(events)), seconds) == (whole.segments, whole.duration)


def test_1_single_samples_are_as_good_as_the_whole(transcriber: Transcriber) -> None:
    excerpt = Excerpt((0,), RATE, 0.1, RATE)
    script = Script(excerpt, StreamOptions(), tuple(range(1, excerpt.length)), ())
    found, whole = play(script, transcriber)[0], play(script.without_cuts(), transcriber)[0]
    assert found[-1] == whole[-1]
    assert found[-1].words


@given(script=scripts(acts=None, options=ONE_SEGMENT))
@settings(max_examples=16)
def test_2_finish_equals_the_offline_graph_at_every_length(
    transcriber: Transcriber, script: Script
) -> None:
    samples = at_model_rate(script.excerpt.samples, script.excerpt.rate)
    log_probs = transcriber._pipeline.log_probs(samples)
    assert len(log_probs) == math.ceil(math.ceil(len(samples) / 160) / 3)
    best = transcriber.decoder(script.options).decode([log_probs])[0][0]
    (final,) = finals_of(play(script, transcriber)[0])
    assert final.text == best.text
    assert [word.confidence for word in final.words] == [w.confidence for w in best.words]


RULES = st.builds(
    StreamOptions,
    beam=st.just(64),
    silence_before=st.sampled_from([0.3, 2.0]),
    silence_after=st.sampled_from([0.1, 0.4]),
    longest=st.sampled_from([0.4, 1.5, 30.0]),
)


@given(script=scripts(acts=None, options=RULES))
@settings(max_examples=20)
def test_2_segments_share_out_every_sample(transcriber: Transcriber, script: Script) -> None:
    """Their stretches of the audio join; each hears its own, and says what that says alone.

    Where there was no pause it hears more, and leaves words that begin there to the next.
    """
    samples = at_model_rate(script.excerpt.samples, script.excerpt.rate)
    pipeline, decoder = transcriber._pipeline, transcriber.decoder(script.options)
    manifest = transcriber.bundle.manifest
    with pytest.MonkeyPatch.context() as patch:
        heard = note_what_is_heard(patch, pipeline)
        finals = finals_of(play(script, transcriber)[0])
    borders = [round(final.start * RATE) for final in finals] + [len(samples)]
    assert borders[0] == 0
    assert [round(final.end * RATE) for final in finals[:-1]] == borders[1:-1]
    assert len(heard) == len(finals)
    for i, final in enumerate(finals):
        own = np.concatenate([np.zeros(0, np.float32), *heard[i]])
        assert len(own) >= borders[i + 1] - borders[i]
        np.testing.assert_array_equal(own, samples[borders[i] :][: len(own)])
        alone = decoder.decode([pipeline.log_probs(own)])[0][0].words
        said = list(accumulate((word.text for word in alone), initial=""))
        spelled = "".join(final.text.split())
        assert spelled in said
        taken = said.index(spelled)
        assert transcriber.bundle.manifest.tokens.space is None or taken == len(final.words)
        for word in alone[taken:]:
            begin = word.start_frame * pipeline.seconds_per_output - manifest.delay
            assert begin >= final.end - final.start - 1e-3


def note_what_is_heard(patch: pytest.MonkeyPatch, pipeline: Pipeline) -> list[list[Samples]]:
    """The samples that each segment takes from now on."""
    heard: list[list[Samples]] = []
    start, advance = pipeline.start, pipeline.advance

    def begin(*arguments: Any) -> Any:
        heard.append([])
        return start(*arguments)

    def note(state: Any, samples: Samples) -> Any:
        heard[-1].append(samples)
        return advance(state, samples)

    patch.setattr(pipeline, "start", begin)
    patch.setattr(pipeline, "advance", note)
    return heard


def assert_in_order(events: Sequence[Event], seconds: float) -> None:
    finals = finals_of(events)
    assert [final.segment for final in finals] == list(range(len(finals)))
    ends = [0.0, *(final.end for final in finals)]
    assert [final.start for final in finals] == ends[:-1]
    assert ends == sorted(ends)
    assert ends[-1] == seconds
    closed = 0
    for event in events:
        assert event.segment == closed, "nothing of a closed segment, or of one to come"
        closed += isinstance(event, Final)
    assert isinstance(events[-1], Final)


@given(script=scripts())
@settings(max_examples=16)
def test_3_each_segment_has_one_final_after_which_nothing_comes(
    transcriber: Transcriber, script: Script
) -> None:
    events, seconds = play(script, transcriber)
    assert_in_order(events, seconds)
    assert seconds == pytest.approx(len(script.excerpt.samples) / script.excerpt.rate)


@given(
    script=scripts(acts=None, options=st.just(StreamOptions(beam=16, longest=0.05))),
    which=st.integers(0),
    more=st.integers(-1, 1),
)
@settings(max_examples=16)
def test_3_a_segment_that_ends_with_the_last_sample(
    transcriber: Transcriber, script: Script, which: int, more: int
) -> None:
    """Where the resampler rounds, no segment may begin after the end of the audio."""
    finals = finals_of(play(script, transcriber)[0])
    length = round(finals[which % len(finals)].end * script.excerpt.rate) + more
    shorter = replace(script, excerpt=replace(script.excerpt, length=max(1, length)))
    assert_in_order(*play(shorter, transcriber))


@given(script=scripts())
@settings(max_examples=16)
def test_4_the_stable_part_begins_every_later_text(
    transcriber: Transcriber, script: Script
) -> None:
    events, _ = play(script, transcriber)
    for i, partial in enumerate(events):
        if isinstance(partial, Final):
            continue
        stable = partial.words[: partial.stable_words]
        assert partial.stable == join_words(stable)
        later = [event for event in events[i:] if event.segment == partial.segment]
        readings = [event.words for event in later]
        readings += [other.words for other in getattr(later[-1], "alternatives", ())]
        assert all(words[: len(stable)] == stable for words in readings)


THREE = st.permutations(range(len(RECORDINGS))).map(lambda order: order[:3])


@given(which=THREE, limit=st.sampled_from([20, 60, 250]), block=st.integers(800, 8000))
@settings(max_examples=6)
def test_4_an_old_ambiguity_is_decided(which: list[int], limit: int, block: int) -> None:
    """All open words but the first, whose end may be as old, were begun within the limit."""
    transcriber = with_ambiguity(limit)
    step = transcriber._pipeline.seconds_per_output
    samples = np.concatenate([recorded(one) for one in which])
    oldest = stable = 0.0
    with transcriber.stream(RATE, StreamOptions.without_endpoints()) as stream:
        for begin in range(0, len(samples), block):
            for event in stream.feed(samples[begin : begin + block]):
                assert isinstance(event, Partial)
                stable = max(stable, event.stable_words)
                for word in event.words[event.stable_words + 1 :]:
                    oldest = max(oldest, stream.seconds - word.start)
    # Behind the samples: the look-ahead, a chunk that is not full yet, and the model's delay.
    delay = transcriber.bundle.manifest.delay
    behind = transcriber._pipeline.look_ahead + transcriber._pipeline.seconds_per_chunk + delay
    assert oldest <= (limit + 4) * step + behind + block / RATE
    assert stable > 5


@cache
def with_ambiguity(frames: int) -> Transcriber:
    """The embedded bundle, its search deciding after so many frames."""
    bundle = load_bundle("en")
    decoder = replace(bundle.manifest.decoder, max_ambiguity=frames)
    return Transcriber(replace(bundle, manifest=replace(bundle.manifest, decoder=decoder)))


@given(which=THREE, block=st.integers(400, 16_000), vocabulary=st.booleans())
@settings(max_examples=3)
def test_5_work_and_memory_do_not_grow(
    transcriber: Transcriber, which: list[int], block: int, vocabulary: bool
) -> None:
    """The same audio again and again: steps of the model, size of the search, all of Python."""
    options = StreamOptions(vocabulary=["of the first", "and", "i"] if vocabulary else (), beam=32)
    once = np.concatenate([recorded(one) for one in which])
    steps, most_bytes, most_nodes, python = [], [], [], []
    with pytest.MonkeyPatch.context() as patch, transcriber.stream(RATE, options) as stream:
        count = count_steps(patch, transcriber._pipeline)
        for _ in range(6):
            before, sizes, nodes = count(), [], []
            for begin in range(0, len(once), block):
                stream.feed(once[begin : begin + block])
                sizes.append(stream.state_bytes)
                nodes.append(stream._segments.state.decoder.nodes)
            steps.append(count() - before)
            most_bytes.append(max(sizes))
            most_nodes.append(max(nodes))
            stream.flush()  # what is open is of a size that differs
            gc.collect()
            python.append(sys.getallocatedblocks())
    chunks = len(once) / RATE / transcriber._pipeline.seconds_per_chunk
    assert max(steps) <= 1.2 * chunks  # a segment that ends makes a step or two more
    assert max(most_bytes[3:]) <= 1.5 * max(most_bytes[:3])
    assert max(most_nodes[3:]) <= 1.5 * max(most_nodes[:3])
    assert python[-1] - python[1] < 400  # objects; each word is several


def count_steps(patch: pytest.MonkeyPatch, pipeline: Pipeline) -> Callable[[], int]:
    """Counts the steps of the acoustic model from now on; call what it returns."""
    count, step = 0, pipeline.backend.step_together

    def counted(states: Any, chunks: Any) -> Any:
        nonlocal count
        count += len(states)
        return step(states, chunks)

    patch.setattr(pipeline.backend, "step_together", counted)
    return lambda: count


@given(script=scripts())
@settings(max_examples=16)
def test_6_words_have_times_and_confidence_in_partials_too(
    transcriber: Transcriber, script: Script
) -> None:
    events, seconds = play(script, transcriber)
    begins = {final.segment: final.start for final in finals_of(events)}
    for event in events:
        begin, end = begins[event.segment], getattr(event, "end", seconds)
        readings = [event.words, *(a.words for a in getattr(event, "alternatives", ()))]
        for words in readings:
            assert all(begin <= word.start <= word.end <= end for word in words)
            assert all(0 <= word.confidence <= 1 for word in words)
            starts = [word.start for word in words]
            assert starts == sorted(starts)


@given(
    said=st.lists(st.sampled_from(["i", "twenty", "three", "dollars", "may", "first", "no"])),
    stable=st.integers(0, 3),
)
def test_6_display_leaves_text_and_words_alone(said: list[str], stable: int) -> None:
    words = tuple(Word(text, 0.5 * i, 0.5 * i + 0.4, 0.9) for i, text in enumerate(said))
    for event in (Partial(0, words, stable), Final(0, words, 0.0, 9.0)):
        shown = event.display
        assert event.text == " ".join(said)
        assert event.words == words
        assert event.display == shown, "it is deterministic"


def test_6_display_is_for_readers() -> None:
    words = tuple(Word(text, 0.0, 0.1, 0.9) for text in ("i", "saw", "twenty", "three"))
    assert Final(0, words, 0.0, 1.0).display == Partial(0, words, 0).display == "I saw 23"
