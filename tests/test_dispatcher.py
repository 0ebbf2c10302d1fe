"""The dispatcher: what its streams say is what `Transcriber` says, whatever shares their batches.

What is right is what a `Stream` makes of the same samples, alone. It is eager, fair and bounded.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from contract_inputs import (
    RATE,
    Excerpt,
    Script,
    at_model_rate,
    excerpts,
    finals_of,
    perform,
    play,
    recorded,
    scripts,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from live_streams import PATIENCE, Pushed, finals_by_turns, held, pieces_of, wait_until

from ds2edge import Final, StreamOptions, Transcriber
from ds2edge.acoustic import StepModel
from ds2edge.errors import BackendError, BacklogError, ConfigError
from ds2edge.pipeline import Step
from ds2edge.results import Event
from ds2edge.serving import lane
from ds2edge.serving.board import Board
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.metrics import BOUNDS, Histogram

pytestmark = pytest.mark.usefixtures("no_hang")

BATCHES = st.sampled_from([1, 2, 3, 5, 32])


# ---- It says what Transcriber says


@given(
    chosen=st.lists(excerpts(2.0), min_size=2, max_size=5),
    turns=st.lists(st.integers(0, 4), max_size=60),
    most=BATCHES,
)
@settings(max_examples=10)
def test_any_interleaving_says_what_transcribe_says(
    transcriber: Transcriber, chosen: list[Excerpt], turns: list[int], most: int
) -> None:
    recordings = [replace(excerpt, rate=RATE).samples for excerpt in chosen]
    with Dispatcher(transcriber, max_batch=most) as dispatcher:
        found = finals_by_turns(dispatcher, recordings, turns)
    assert found == [transcriber.transcribe(samples, RATE).segments for samples in recordings]


@given(
    chosen=st.lists(scripts(seconds=2.0), min_size=2, max_size=6),
    most=BATCHES,
    threads=st.integers(1, 2),
    backlog=st.sampled_from([0.01, 0.5, 60.0]),
)
@settings(max_examples=10)
def test_rates_flushes_and_options_of_each_in_their_order(
    transcriber: Transcriber, chosen: list[Script], most: int, threads: int, backlog: float
) -> None:
    """A thread for each caller, all at once: finals, and what is read early, are those alone."""
    with (
        Dispatcher(transcriber, max_batch=most, threads=threads, backlog=backlog) as dispatcher,
        ThreadPoolExecutor(len(chosen)) as pool,
    ):

        def run(script: Script) -> list[Event]:
            with dispatcher.stream(script.excerpt.rate, script.options) as stream:
                return perform(script, Pushed(stream))[-1]  # type: ignore[arg-type]

        found = list(pool.map(run, chosen))
    assert list(map(finals_of, found)) == [finals_of(play(s, transcriber)[0]) for s in chosen]


@given(chosen=st.lists(excerpts(2.0), min_size=1, max_size=6), most=BATCHES)
@settings(max_examples=8)
def test_log_probs_are_bit_identical_whatever_shares_a_batch(
    transcriber: Transcriber, chosen: list[Excerpt], most: int
) -> None:
    pipeline, blocks = transcriber._pipeline, dict[int, list[Any]]()
    with pytest.MonkeyPatch.context() as patch, Dispatcher(transcriber, max_batch=most) as one:
        search = pipeline.search

        def note(steps: Sequence[Step], found: Sequence[Any], threads: int) -> None:
            for step, block in zip(steps, found, strict=True):
                blocks.setdefault(id(step.state), []).append(block)
            search(steps, found, threads)

        patch.setattr(pipeline, "search", note)
        streams = [
            one.stream(excerpt.rate, StreamOptions.without_endpoints(beam=16)) for excerpt in chosen
        ]
        states = [id(stream._lane._segments.state) for stream in streams]
        for stream, excerpt in zip(streams, chosen, strict=True):
            stream.push(excerpt.samples)
        for stream in streams:
            stream.finish()
            assert finals_of(stream)
    for state, excerpt in zip(states, chosen, strict=True):
        expected = pipeline.log_probs(at_model_rate(excerpt.samples, excerpt.rate))
        np.testing.assert_array_equal(np.concatenate(blocks[state]), expected)


def test_words_come_while_the_audio_goes_on(transcriber: Transcriber) -> None:
    with Dispatcher(transcriber) as dispatcher, dispatcher.stream(RATE) as stream:
        said: list[Event] = []
        for piece in pieces_of(recorded(0)):
            stream.push(piece)
            wait_until(lambda: stream._lane.busy is False)
            said += stream.take()
        before = len(said)
        stream.finish()
        said += stream
    partials = [event for event in said if not isinstance(event, Final)]
    assert len(partials) > 5
    assert before > 5
    for event in partials:
        final = next(f for f in finals_of(said) if f.segment == event.segment)
        assert final.text.startswith(event.stable)


def states_swapped(patch: pytest.MonkeyPatch) -> None:
    gathered = StepModel._gathered

    def swap(self: StepModel, states: Any, size: int) -> Any:
        return gathered(self, states[::-1] if len(states) > 1 else states, size)

    patch.setattr(StepModel, "_gathered", swap)


def means_swapped(patch: pytest.MonkeyPatch, transcriber: Transcriber) -> None:
    extractor = transcriber._pipeline.extractor
    frames = extractor.frames

    def swap(states: Any, pieces: Any) -> Any:
        return frames(states[::-1], pieces)

    patch.setattr(extractor, "frames", swap)


def answers_swapped(patch: pytest.MonkeyPatch, transcriber: Transcriber) -> None:
    hear = transcriber._pipeline.hear
    patch.setattr(transcriber._pipeline, "hear", lambda steps: hear(steps)[::-1])


@pytest.mark.parametrize("planted", ["nothing", "states", "means", "answers"])
def test_a_mix_up_of_two_streams_would_be_seen(
    transcriber: Transcriber, alone: list[tuple[Final, ...]], planted: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if planted == "states":
            states_swapped(patch)
        elif planted == "means":
            means_swapped(patch, transcriber)
        elif planted == "answers":
            answers_swapped(patch, transcriber)
        with Dispatcher(transcriber) as dispatcher:
            found = finals_by_turns(dispatcher, [recorded(0), recorded(1)], [0, 1] * 100)
    assert (found == alone[:2]) is (planted == "nothing")


# ---- Eager, fair, bounded


def test_a_batch_takes_what_waits_when_the_one_before_ends(transcriber: Transcriber) -> None:
    with Dispatcher(transcriber, max_batch=4) as dispatcher, held(transcriber) as (go, batches):
        streams = [dispatcher.stream(RATE) for _ in range(7)]
        streams[0].push(recorded(0)[:2200])
        wait_until(lambda: len(batches) == 1)
        for stream in streams[1:]:
            stream.push(recorded(0)[:2200])
        go.set()
        wait_until(lambda: dispatcher.metrics.acoustic.count == 7)
    assert [len(steps) for steps in batches] == [1, 4, 2]
    assert dispatcher.metrics.batches == Counter([1, 4, 2])


@dataclass(eq=False)
class AlwaysDue:
    """As much of a lane as a board looks at."""

    busy: bool = False
    is_due: bool = True
    goes_on: bool = False


def test_who_has_waited_longest_is_served_first() -> None:
    board = Board()
    lanes: list[Any] = [AlwaysDue() for _ in range(5)]
    with board.lock:
        for one in [*lanes, *lanes]:  # who waits already does not wait twice
            board.schedule(one)
    served: list[int] = []
    for _ in range(10):
        taken = board.take_due(2)
        served += map(lanes.index, taken)
        board.schedule_again(taken)
    assert len(served) == 20
    assert served == [i % 5 for i in range(20)]
    lanes[3].goes_on = lanes[4].goes_on = True
    board.schedule_again([lanes[0], lanes[3], lanes[4]])
    assert [lanes.index(one) for one in board.take_due(3)] == [3, 4, 0]


def test_nobody_starves_however_much_of_others_waits(transcriber: Transcriber) -> None:
    """While all have audio that waits, all are served alike; who comes late waits for one turn."""
    with (
        Dispatcher(transcriber, max_batch=2, backlog=60.0) as dispatcher,
        held(transcriber) as (go, batches),
    ):
        options = StreamOptions.without_endpoints(beam=8)
        *greedy, late = (dispatcher.stream(RATE, options) for _ in range(17))
        for stream in greedy:
            stream.push(recorded(0)[: 2 * RATE])
        go.set()
        wait_until(lambda: len(batches) > 5)
        late.push(recorded(1)[:2200])
        before = sum(map(len, batches))
        wait_until(lambda: not any(stream._lane.busy for stream in (*greedy, late)))
        owners = {id(s._lane._segments.state): i for i, s in enumerate((*greedy, late))}
    served = [owners[id(step.state)] for steps in batches for step in steps]
    assert before - 2 <= served.index(16) <= before + 17
    served.remove(16)
    for end in range(len(served) // 2):
        counts = [served[:end].count(i) for i in range(16)]
        assert max(counts) - min(counts) <= 2


def test_a_push_that_finds_no_room_is_refused_or_waits(
    transcriber: Transcriber, alone: list[tuple[Final, ...]]
) -> None:
    with Dispatcher(transcriber, backlog=0.5) as dispatcher, held(transcriber) as (go, batches):
        stream, pieces = dispatcher.stream(RATE), pieces_of(recorded(0))
        stream.push(np.concatenate([pieces.pop(0), pieces.pop(0)]))
        wait_until(lambda: bool(batches))
        began, refused = stream.seconds, False
        while not refused:
            try:
                stream.push(pieces[0], wait=False)
                pieces.pop(0)
            except BacklogError:
                refused = True
        assert 0.5 <= stream.seconds - began + 0.16 <= 0.5 + 0.16 + 0.08
        with pytest.raises(BacklogError):
            stream.flush(wait=False)
        with pytest.raises(BacklogError):
            stream.set_options(StreamOptions(longest=0.1), wait=False)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(stream.push, pieces.pop(0))
            time.sleep(0.05)
            assert not waiting.done()
            go.set()
            waiting.result(PATIENCE)
        for piece in pieces:
            stream.push(piece)
        stream.finish()
        assert tuple(finals_of(stream)) == alone[0]


def test_pieces_of_a_sample_find_room(transcriber: Transcriber) -> None:
    samples = recorded(0)[: RATE // 2]
    with Dispatcher(transcriber, backlog=0.001) as dispatcher:
        stream = dispatcher.stream(RATE)
        for sample in np.split(samples, len(samples)):
            stream.push(sample)
        stream.push(samples[:0])
        stream.finish()
        assert tuple(finals_of(stream)) == transcriber.transcribe(samples, RATE).segments


def test_who_does_not_read_is_not_served_and_loses_nothing(
    transcriber: Transcriber, alone: list[tuple[Final, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "MOST_UNREAD", 3)
    with Dispatcher(transcriber, backlog=60.0) as dispatcher:
        silent, other = dispatcher.stream(RATE), dispatcher.stream(RATE)
        for _ in range(8):
            silent.push(recorded(0)[:RATE])
            silent.flush()
        other.push(recorded(1))
        other.finish()
        assert tuple(finals_of(other)) == alone[1]
        wait_until(lambda: not silent._lane.busy)
        assert len(silent._lane._events) == 3
        silent.finish()
        said: list[Event] = []
        while not silent.ended:
            wait_until(lambda: silent._lane.has_events or silent.ended)
            said += silent.take()
        assert [final.segment for final in finals_of(said)] == list(range(9))


# ---- Options and figures


@pytest.mark.parametrize(
    "values", [{"max_batch": 0}, {"threads": 0}, {"max_batch": 2.5}, {"backlog": 0}]
)
def test_impossible_options(transcriber: Transcriber, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        Dispatcher(transcriber, **values)


def test_a_model_of_whole_recordings_is_refused(transcriber: Transcriber) -> None:
    loaded = transcriber._pipeline.loaded
    whole = replace(loaded, artefact=replace(loaded.artefact, form="whole", batches=(1,)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transcriber._pipeline, "loaded", whole)
        with pytest.raises(BackendError, match="whole recordings"):
            Dispatcher(transcriber)


def test_the_figures_tell_what_was_done(transcriber: Transcriber) -> None:
    recordings = [recorded(i) for i in range(3)]
    with Dispatcher(transcriber, max_batch=2) as dispatcher:
        finals_by_turns(dispatcher, recordings, [])
        dispatcher.stream(RATE).close()
        figures = dispatcher.metrics
    seconds = sum(map(len, recordings)) / RATE
    assert (figures.streams, figures.finished, figures.dropped, figures.failed) == (4, 3, 1, 0)
    assert figures.taken == pytest.approx(seconds)
    assert figures.transcribed == pytest.approx(seconds)
    assert set(figures.batches) <= {1, 2}
    assert figures.step.count == figures.batches.total()
    chunks = seconds / transcriber._pipeline.seconds_per_chunk
    assert figures.acoustic.count == pytest.approx(chunks, abs=3 * len(recordings))
    assert figures.queue.sum <= figures.acoustic.sum


@given(values=st.lists(st.floats(1e-5, 20), min_size=1), share=st.floats(0.01, 1))
def test_a_histogram_knows_its_quantiles(values: list[float], share: float) -> None:
    times = Histogram()
    for value in values:
        times.observe(value)
    assert times.count == len(values)
    assert times.sum == pytest.approx(sum(values))
    exact = sorted(values)[int(np.ceil(share * len(values) - 1e-9)) - 1]
    bound = times.quantile(share)
    assert exact <= bound
    assert bound <= max(1.13 * exact, BOUNDS[0]) or exact > BOUNDS[-1]
    assert Histogram().quantile(share) == 0
