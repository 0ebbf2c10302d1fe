"""Real recordings in every form, and scripts of what a caller does with a stream."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import soxr
from conftest import RECORDINGS
from hypothesis import strategies as st

from ds2edge import Final, Partial, StreamOptions, Transcriber
from ds2edge.audio import QUALITY
from ds2edge.audio_file import read_audio
from ds2edge.results import Event, Word
from ds2edge.stream import Stream

RATE = 16_000  # of the embedded model
RATES = (8_000, 11_025, RATE, 22_050, 44_100, 48_000, 12_345, 37_800.5)
DTYPES = ("int16", "int32", "float32", "float64")
PAUSE = 0.8  # seconds of silence between two recordings

Samples = np.ndarray[Any, Any]


@cache
def recorded(which: int, rate: float = RATE) -> Samples:
    """A recording and a pause as int16; shape = (n,)."""
    samples = soxr.resample(read_audio(RECORDINGS[which], RATE), RATE, rate)
    pause = np.zeros(round(PAUSE * rate))
    return np.clip(np.concatenate([samples, pause]) * 2**15, -(2**15), 2**15 - 1).astype(np.int16)


@dataclass(frozen=True)
class Excerpt:
    """A stretch of real speech at a rate; recordings follow each other with pauses between."""

    which: tuple[int, ...]  # recordings
    rate: float  # Hz
    begin: float  # of the recordings, 0..1
    length: int  # samples

    @property
    def samples(self) -> Samples:
        """As int16; shape = (length,), or less where the recordings end."""
        joined = np.concatenate([recorded(one, self.rate) for one in self.which])
        begin = int(self.begin * len(joined))
        return joined[begin : begin + self.length]


@st.composite
def excerpts(draw: st.DrawFn, seconds: float, most: int = 1) -> Excerpt:
    """From one sample to so many seconds, of up to `most` recordings."""
    rate = draw(st.sampled_from(RATES))
    which = draw(st.lists(st.integers(0, len(RECORDINGS) - 1), min_size=1, max_size=most))
    longest = int(seconds * rate)
    # Seldom short: what is short has no words.
    length = draw(st.one_of(st.just(longest), st.integers(longest // 2, longest), st.integers(1)))
    return Excerpt(tuple(which), rate, draw(st.floats(0, 0.5)), min(length, longest))


def cuts(length: int) -> st.SearchStrategy[list[int]]:
    """Where to cut so many samples: anywhere, evenly, or into some hundred single samples."""
    return st.one_of(
        st.lists(st.integers(0, length), max_size=30),
        st.integers(200, 5000).map(lambda size: list(range(size, length, size))),
        st.integers(0, length).map(lambda at: list(range(at, min(length, at + 300)))),
    )


def in_form(samples: Samples, dtype: str, channels: int) -> Samples:
    """int16 as another type, with as many channels; they differ, so that each must be heard."""
    scale = {"int16": 1, "int32": 2**16}.get(dtype, 2.0**-15)
    one = samples.astype(dtype) * np.array(scale, dtype)
    if channels == 1:
        return one
    return np.stack([np.roll(one, 7 * i) for i in range(channels)], axis=1)


SEARCHES: list[dict[str, Any]] = [
    {},
    {"alpha": 0.3, "alternatives": 2},
    {"language_model": False, "alternatives": 1},
    {"boost": {"the first importance": 5.0, "gumbo stew": 4.0, "i": -3.0}},
    {"add_words": ["zzyzx", "beyond all"], "unknown": 6.0},
    {"vocabulary": ["of the first", "and", "let him enter"], "unknown": 4.0},
    {"vocabulary": ["i", "be yond", "woman"]},
]
SILENCES = st.sampled_from([0.1, 0.3, 0.6, math.inf])


def any_options(searches: Sequence[dict[str, Any]]) -> st.SearchStrategy[StreamOptions]:
    """Any of these, and any endpoints."""
    return st.builds(
        lambda search, **more: StreamOptions(**search, **more),
        st.sampled_from(searches),
        beam=st.sampled_from([16, 64]),
        silence_before=SILENCES,
        silence_after=SILENCES,
        longest=st.sampled_from([0.3, 1.0, 3.0, math.inf]),
    )


OPTIONS = any_options(SEARCHES)
FLUSH = "flush"
ACTS = st.one_of(st.just(FLUSH), OPTIONS)


@dataclass(frozen=True)
class Script:
    """What a caller does: samples in pieces and, between them, flushes and other options."""

    excerpt: Excerpt
    options: StreamOptions
    cuts: tuple[int, ...]  # samples after which a new piece begins
    acts: tuple[tuple[int, StreamOptions | str], ...]  # after so many samples

    def without_cuts(self) -> Script:
        """The same in as few pieces as there can be."""
        return replace(self, cuts=())


@st.composite
def scripts(
    draw: st.DrawFn,
    seconds: float = 5.0,
    acts: Any = ACTS,
    options: st.SearchStrategy[StreamOptions] = OPTIONS,
) -> Script:
    """What a caller may do in so many seconds of speech."""
    excerpt = draw(excerpts(seconds, most=2))
    places = st.integers(0, excerpt.length)
    drawn = draw(st.lists(st.tuples(places, acts), max_size=4)) if acts is not None else []
    return Script(
        excerpt,
        draw(options),
        tuple(draw(cuts(excerpt.length))),
        tuple(sorted(drawn, key=lambda act: act[0])),
    )


def perform(script: Script, stream: Stream) -> list[list[Event]]:
    """The events of each act, the last of which is `finish`."""
    samples, done = script.excerpt.samples, 0
    told = []
    for at, act in (*script.acts, (len(samples), None)):
        inside = [cut for cut in script.cuts if done < cut < at]
        borders = [done, *sorted(inside), max(done, min(at, len(samples)))]
        events = [e for a, b in itertools.pairwise(borders) for e in stream.feed(samples[a:b])]
        done = borders[-1]
        if act == FLUSH:
            events += stream.flush()
        elif isinstance(act, StreamOptions):
            stream.set_options(act)
        told.append(events)
    told[-1] += stream.finish()
    return told


def play(script: Script, transcriber: Transcriber) -> tuple[list[Event], float]:
    """All events, and the seconds of the audio."""
    with transcriber.stream(script.excerpt.rate, script.options) as stream:
        return flat(perform(script, stream)), stream.seconds


def flat(told: Iterable[list[Event]]) -> list[Event]:
    return list(itertools.chain.from_iterable(told))


def at_model_rate(samples: Samples, rate: float) -> Samples:
    """int16 as the model hears it, resampled in one piece and without ds2edge; float32."""
    floats = (samples * 2.0**-15).astype(np.float32)
    return floats if rate == RATE else soxr.resample(floats, rate, RATE, quality=QUALITY)


def finals_of(events: Iterable[Event]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def open_text(events: Sequence[Event]) -> tuple[int, tuple[Word, ...]]:
    """Segment and words of what is still open after these events."""
    if not events:
        return 0, ()
    last = events[-1]
    return (last.segment, last.words) if isinstance(last, Partial) else (last.segment + 1, ())


def poisoned(samples: Samples, at: int, value: float) -> Samples:
    result = samples.astype(np.float64)
    result[at % len(result)] = value
    return result


# Arguments of `feed` that are wrong, from a block that is right and any number.
BAD_BLOCKS: dict[str, Callable[[Samples, int], tuple[Any, ...]]] = {
    "NaN": lambda s, at: (poisoned(s, at, np.nan),),
    "NaN in float32": lambda s, at: (poisoned(s, at, np.nan).astype(np.float32),),
    "infinity": lambda s, at: (poisoned(s, at, -np.inf),),
    "far too loud": lambda s, at: (poisoned(s, at, 1e30),),
    "NaN in bytes": lambda s, at: (poisoned(s, at, np.nan).tobytes(), "float64"),
    "complex": lambda s, at: (s.astype(np.complex64),),
    "uint8": lambda s, at: ((s > 0).astype(np.uint8),),
    "float16": lambda s, at: ((s > 0).astype(np.float16),),
    "bool": lambda s, at: (s > 0,),
    "another type said": lambda s, at: (s, "int16" if s.dtype.name == "int32" else "int32"),
    "no such type": lambda s, at: (s.tobytes(), "pcm"),
    "three axes": lambda s, at: (s.reshape(len(s), 1, -1),),
    "no axis": lambda s, at: (s.reshape(-1)[0],),
    "no channels": lambda s, at: (s.reshape(len(s), -1)[:, :0],),
    "another channel": lambda s, at: (np.hstack([s.reshape(len(s), -1), s.reshape(len(s), -1)]),),
    "transposed": lambda s, at: (np.zeros((2, 100 + at % 1000), s.dtype),),
    "bytes of what": lambda s, at: (s.tobytes(),),
    "half a sample": lambda s, at: (b"\0" * (2 * at + 1), "int16"),
    "list": lambda s, at: (s.tolist(),),
    "number": lambda s, at: (at,),
    "text": lambda s, at: ("RIFF", "int16"),
    "nothing": lambda s, at: (None,),
}
