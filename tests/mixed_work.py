"""Threads do mixed work with one Transcriber: each result must be that of the same work alone.

    python tests/mixed_work.py --seconds 600

A list of jobs is drawn from a seed and done by one thread, then again and again by all of them at
once, each in an order of its own. What a job gives depends on nothing but itself. With the native
code under ThreadSanitizer: `make sanitize-threads`.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import pickle
import random
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from ds2edge import StreamOptions, Transcriber
from ds2edge.audio_file import read_audio
from ds2edge.decoder import advance_all
from ds2edge.errors import AudioError, ConfigError, DecoderError, Ds2edgeError, StreamError
from ds2edge.progress import track
from ds2edge.stream import Stream

SPEECH = Path(__file__).parent / "data" / "speech"
RECORDINGS = sorted(p for p in SPEECH.iterdir() if p.suffix in {".mp3", ".opus"})
MODEL_RATE = 16_000  # Hz
RATES = (8_000, 11_025, MODEL_RATE, 22_050, 44_100, 48_000)  # Hz
SCALES = {"int16": 2**15 - 1, "int32": 2**31 - 1, "float32": 1, "float64": 1}
SWITCH = 2e-4  # seconds after which another thread gets Python's lock: more often than usual
PATIENCE = 120.0  # seconds that the last jobs may take; after that a thread hangs

Samples = np.ndarray[Any, Any]
Outcome = Any  # what can be compared with ==


class Shared:
    """What all threads use: one Transcriber, recordings, and what the model makes of them."""

    def __init__(self, transcriber: Transcriber) -> None:
        self.transcriber = transcriber
        self.recordings = [read_audio(path, MODEL_RATE) for path in RECORDINGS]
        self.log_probs = [transcriber._pipeline.log_probs(samples) for samples in self.recordings]


@dataclass(frozen=True)
class Job:
    """Some work; the same seed gives the same work."""

    kind: str  # of KINDS
    seed: int

    def do(self, shared: Shared) -> tuple[float, Outcome]:
        """Seconds of audio, and what came of them."""
        return KINDS[self.kind](shared, random.Random(self.seed))


@dataclass
class Tally:
    """What the threads did."""

    done: Counter[str] = field(default_factory=Counter)  # jobs of each kind
    seconds: Counter[str] = field(default_factory=Counter)  # of their audio
    wrong: Counter[str] = field(default_factory=Counter)
    reports: list[str] = field(default_factory=list)  # of what was wrong


def draw_jobs(count: int, seed: int) -> list[Job]:
    """Every kind in turn."""
    kinds = list(KINDS)
    return [Job(kinds[i % len(kinds)], 1000 * seed + i) for i in range(count)]


def do_together(
    shared: Shared,
    jobs: Sequence[Job],
    alone: Sequence[Outcome],
    threads: int,
    seconds: float,
    seed: int = 1,
) -> Tally:
    """All threads do jobs for so long, and compare with what each job gave alone."""
    tally, lock, end = Tally(), threading.Lock(), threading.Event()

    def work(number: int) -> None:
        choice = random.Random(f"{seed} {number}")
        while not end.is_set():
            i = choice.randrange(len(jobs))
            heard, report = attempt(shared, jobs[i], alone[i])
            with lock:
                tally.done[jobs[i].kind] += 1
                tally.seconds[jobs[i].kind] += heard  # type: ignore[assignment]
                tally.wrong[jobs[i].kind] += bool(report)
                tally.reports += [report] if report else []

    running = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(threads)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        for thread in running:
            thread.start()
        began = time.monotonic()
        for done in track(range(round(seconds)), f"{threads} threads", round(seconds)):
            end.wait(max(0.0, began + done + 1 - time.monotonic()))
        end.set()
        for thread in running:
            thread.join(PATIENCE)
    finally:
        end.set()
        sys.setswitchinterval(before)
    if any(thread.is_alive() for thread in running):
        faulthandler.dump_traceback(all_threads=True)
        tally.reports.append(f"a thread did not end in {PATIENCE:.0f} s: see above")
    return tally


def attempt(shared: Shared, job: Job, alone: Outcome) -> tuple[float, str]:
    """Seconds of audio, and what was wrong if anything was."""
    try:
        heard, outcome = job.do(shared)
    except Exception:
        return 0.0, f"{job}: {traceback.format_exc()}"
    return heard, "" if outcome == alone else f"{job}: {outcome}\n  alone: {alone}"


# The kinds of work.


def transcribe_file(shared: Shared, chance: random.Random) -> tuple[float, Outcome]:
    options = draw_options(chance)
    transcript = shared.transcriber.transcribe(chance.choice(RECORDINGS), options=options)
    return transcript.duration, transcript


def feed_stream(shared: Shared, chance: random.Random) -> tuple[float, Outcome]:
    """Random blocks, flushed and given other options on the way."""
    rate, blocks = draw_blocks(shared, chance)
    with shared.transcriber.stream(rate, draw_options(chance)) as stream:
        events: list[Any] = []
        for block in blocks:
            events += stream.feed(*block)
            events += draw_change(stream, chance)
        return stream.seconds, events + stream.finish()


def drop_stream(shared: Shared, chance: random.Random) -> tuple[float, Outcome]:
    """Left midway; it refuses what comes then."""
    rate, blocks = draw_blocks(shared, chance)
    with shared.transcriber.stream(rate, draw_options(chance)) as stream:
        fed = blocks[: chance.randrange(1, len(blocks) + 1)]
        events = [event for block in fed for event in stream.feed(*block)]
    events.append(error_of(StreamError, stream.feed, *blocks[-1]))
    return stream.seconds, [*events, error_of(StreamError, stream.finish)]


def feed_async_streams(shared: Shared, chance: random.Random) -> tuple[float, Outcome]:
    """Two at once in an event loop, each with its own worker thread."""

    async def run(seed: float) -> tuple[float, Outcome]:
        own = random.Random(seed)
        rate, blocks = draw_blocks(shared, own)
        async with shared.transcriber.async_stream(rate, draw_options(own)) as stream:
            events = [event for block in blocks for event in await stream.feed(*block)]
            events += await stream.flush()
            await stream.set_options(draw_options(own))
            return stream.seconds, events + await stream.finish()

    async def both() -> list[tuple[float, Outcome]]:
        return await asyncio.gather(run(chance.random()), run(chance.random()))

    results = asyncio.run(both())
    return sum(heard for heard, _ in results), results


def pickle_transcriber(shared: Shared, chance: random.Random) -> tuple[float, Outcome]:
    copy = pickle.loads(pickle.dumps(shared.transcriber))
    transcript = copy.transcribe(chance.choice(RECORDINGS), options=draw_options(chance))
    return transcript.duration, transcript


def decode_many(shared: Shared, chance: random.Random) -> tuple[float, Outcome]:
    """Several recordings' log-probabilities on a native pool, at once and in blocks."""
    decoder = shared.transcriber.decoder(draw_options(chance))
    chosen = chance.choices(shared.log_probs, k=3)
    whole = decoder.decode(chosen, n=3, threads=2)
    states = [decoder.start() for _ in chosen]
    words: list[Any] = []
    length = chance.randrange(1, 40)
    for at in range(0, max(map(len, chosen)), length):
        advance_all(states, [one[at : at + length] for one in chosen], threads=2)
        words += [(state.commit(), state.words()) for state in states]
    pieces = [state.finish(n=3) for state in states]
    heard = sum(map(len, chosen)) * shared.transcriber._pipeline.seconds_per_output
    return 2 * heard, (whole, words, pieces)


def refuse_bad_input(shared: Shared, chance: random.Random) -> tuple[float, Outcome]:
    """Each wrong call raises what it should, and the stream goes on as if it had not been."""
    rate, blocks = draw_blocks(shared, chance)
    transcriber = shared.transcriber
    decoder = transcriber.decoder(StreamOptions())
    frames = shared.log_probs[0]
    with transcriber.stream(rate) as stream:
        wrong: list[tuple[type[Ds2edgeError], Callable[..., Any], Any]] = [
            (AudioError, stream.feed, np.array([0.1, np.nan])),
            (AudioError, stream.feed, np.zeros(5, np.int8)),
            (AudioError, stream.feed, np.zeros((2, 2, 2), np.float32)),
            (AudioError, stream.feed, b"no dtype"),
            (AudioError, stream.feed, [0.1, 0.2]),
            (AudioError, transcriber.stream, 0),
            (AudioError, transcriber.transcribe, SPEECH / "nothing.wav"),
            (ConfigError, stream.set_options, "boost"),
            (ConfigError, lambda seconds: StreamOptions(longest=seconds), -1),
            (DecoderError, stream.set_options, StreamOptions(boost={"1984": 3.0})),
            (DecoderError, stream.set_options, StreamOptions(beam=0)),
            (DecoderError, decoder.start().advance, frames[:, 1:]),
            (DecoderError, decoder.start().advance, frames + 100),
            (DecoderError, lambda array: decoder.decode([frames, array]), frames * np.nan),
            (StreamError, pickle.dumps, stream),
        ]
        outcome: list[Any] = []
        for block in blocks:
            outcome.append(error_of(*chance.choice(wrong)))
            outcome += stream.feed(*block)
        return stream.seconds, outcome + stream.finish()


def share_stream(shared: Shared, chance: random.Random) -> tuple[float, Outcome]:
    """Two threads use one stream and one search: each call is done, or refused and without effect.

    Which of them are done is chance; how much was taken must be what was done.
    """
    samples = chance.choice(shared.recordings)[: 4 * MODEL_RATE // 10]
    frames = chance.choice(shared.log_probs)[:20]
    state = shared.transcriber.decoder(draw_options(chance)).start()
    with shared.transcriber.stream(MODEL_RATE) as stream:
        fed = count_done(StreamError, lambda: stream.feed(samples), times=3)
        advanced = count_done(DecoderError, lambda: state.advance(frames), times=12)
        taken = round(stream.seconds * MODEL_RATE), state.frames
        ok = taken == (fed * len(samples), advanced * len(frames)) and fed > 0 and advanced > 0
        # How much was heard is chance, too.
        return 0.0, ok or f"taken {taken}, done {fed} and {advanced}"


KINDS: dict[str, Callable[[Shared, random.Random], tuple[float, Outcome]]] = {
    "file": transcribe_file,
    "stream": feed_stream,
    "dropped stream": drop_stream,
    "two async streams": feed_async_streams,
    "Decoder.decode, advance_all": decode_many,
    "bad input": refuse_bad_input,
    "stream in two threads": share_stream,
    "pickled Transcriber": pickle_transcriber,
}


# What they are drawn from.


def draw_options(chance: random.Random) -> StreamOptions:
    """One of many kinds."""
    return chance.choice(
        (
            StreamOptions(),
            StreamOptions(boost={"business": chance.uniform(1, 6), "fervent": 4.0, "fine": -2.0}),
            StreamOptions(boost={"in form": 5.0}, add_words=["fervency"], alternatives=2),
            StreamOptions(unknown=chance.uniform(5, 9), beam=chance.choice((8, 32))),
            StreamOptions(vocabulary=["let him enter", "why", "one", "fine"], unknown=6.0),
            StreamOptions(vocabulary=["business", "life", "prayers"], alternatives=1),
            StreamOptions(language_model=False, alternatives=chance.randrange(4)),
            StreamOptions(alpha=chance.uniform(0.2, 2), beta=chance.uniform(0, 2), longest=1.5),
            StreamOptions(silence_after=0.1, silence_before=0.5),
        )
    )


def draw_blocks(shared: Shared, chance: random.Random) -> tuple[int, list[tuple[Any, ...]]]:
    """A recording at some rate, as arguments of `feed`: of random lengths, in some dtype."""
    rate, dtype = chance.choice(RATES), chance.choice(list(SCALES))
    samples = chance.choice(shared.recordings)
    if rate != MODEL_RATE:
        samples = soxr.resample(samples, MODEL_RATE, rate)
    samples = (np.clip(samples, -1, 1) * SCALES[dtype]).astype(dtype)
    channels = chance.choice((1, 1, 2))
    longest = chance.choice((0.05, 0.3, 2.0)) * rate  # of a block, in samples
    blocks: list[tuple[Any, ...]] = []
    at = 0
    while at < len(samples):
        length = 1 + round(chance.random() * longest)
        block = samples[at : at + length]
        if channels > 1:
            blocks.append((np.repeat(block[:, None], channels, axis=1),))
        else:
            blocks.append((block.tobytes(), dtype) if chance.random() < 0.3 else (block,))
        at += length
    return rate, blocks


def draw_change(stream: Stream, chance: random.Random) -> list[Any]:
    """Now and then, end the segment or go on with other options."""
    if chance.random() < 0.05:
        return stream.flush()
    if chance.random() < 0.1:
        stream.set_options(draw_options(chance))
    return []


def error_of(kind: type[Ds2edgeError], call: Callable[..., Any], *arguments: Any) -> str:
    """What it says; it has to be of this kind."""
    try:
        call(*arguments)
    except kind as error:
        return f"{kind.__name__}: {error}"
    raise AssertionError(f"{call} raised no {kind.__name__}")


def count_done(refusal: type[Ds2edgeError], call: Callable[[], Any], times: int) -> int:
    """How many calls from two threads are done and not refused."""
    done: list[int] = []

    def repeat() -> None:
        count = 0
        for _ in range(times):
            try:
                call()
            except refusal as error:
                if "twice at once" not in str(error) and "another thread" not in str(error):
                    raise
            else:
                count += 1
        done.append(count)

    other = threading.Thread(target=repeat)
    other.start()
    repeat()
    other.join()
    assert len(done) == 2, "the other thread failed"
    return sum(done)


# The command.


def main() -> int:
    given = arguments()
    # Where there is time for it, more jobs are also done alone.
    count = given.jobs or 8 * len(KINDS) + round(given.seconds / 3)
    shared, jobs = Shared(Transcriber()), draw_jobs(count, given.seed)
    alone = [job.do(shared)[1] for job in track(jobs, "alone", len(jobs))]
    run = partial(do_together, shared, jobs, alone)
    tally = run(given.threads, given.seconds, given.seed)
    for kind in KINDS:
        print(
            f"{kind:28} {tally.done[kind]:6d} jobs {tally.seconds[kind]:8.0f} s of audio "
            f"{tally.wrong[kind]:4d} different from alone"
        )
    print(
        f"{given.threads} threads, {given.seconds:.0f} s: {tally.done.total()} jobs drawn from "
        f"{count}, {tally.seconds.total():.0f} s of audio, "
        f"{tally.wrong.total()} different from alone"
    )
    for report in tally.reports[:5]:
        print(report[:2000], file=sys.stderr)
    return 1 if tally.reports else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of mixed work [%(default)g]")
    parser.add_argument("--threads", type=int, default=8, help="[%(default)s]")
    parser.add_argument("--jobs", type=int, help="to draw from [64, and 1 for each 3 s]")
    parser.add_argument("--seed", type=int, default=1, help="of the jobs [%(default)s]")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
