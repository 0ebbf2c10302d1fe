"""A corpus of spoken sentences: who says what and how is drawn, spoken, checked, written."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import zlib
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ds2edge.audio_file import is_whole, open_audio
from ds2edge.errors import DataError
from ds2edge.progress import SecondsBar, track
from ds2edge.text import TokenSet
from ds2edge.training.data.manifest import Utterance, write_manifest
from ds2edge.training.files import partial_file, taking_turns
from ds2edge.training.language_model import read_sentences
from ds2edge.training.processes import in_order
from ds2edge.training.synthesis.engines import Voice
from ds2edge.training.synthesis.speak import SAMPLE_RATE, NotSpokenError, speak

DESCRIPTION = "synthesis.json"
HOPELESS = 50  # sentences; when all of the first so many fail, the others are not tried

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SynthesisOptions:
    """What is spoken, and how."""

    limit: int | None = None  # sentences, at most
    hours: float | None = None  # of speech, about
    pitch: tuple[float, float] = (0.85, 1.2)  # least and most, times the voice's own
    rate: tuple[float, float] = (0.8, 1.3)  # as pitch
    dev_share: float = 0.0  # of the texts, in split dev; the same text is in one split only
    split: str = "train"  # of the others
    longest: float = 20.0  # seconds; longer ones are left out
    seed: int = 0
    jobs: int = 1  # engines at a time


@dataclass(frozen=True)
class Plan:
    """A sentence, and how it is to be said."""

    text: str
    voice: Voice
    pitch: float
    rate: float
    path: Path  # whose name has a digest of all this
    split: str


@dataclass(frozen=True)
class Outcome:
    """What became of a plan."""

    plan: Plan
    seconds: float  # 0: it is left out
    why: str = ""  # it is left out


@dataclass(frozen=True)
class Synthesis:
    """What was made."""

    utterances: list[Utterance]
    left_out: Counter[str]  # sentences, by reason

    @property
    def seconds(self) -> float:
        return sum(utterance.seconds for utterance in self.utterances)

    def take(self, outcome: Outcome) -> None:
        """Note one outcome more."""
        if outcome.why:
            self.left_out[outcome.why] += 1
            return
        of, seconds = outcome.plan, round(outcome.seconds, 3)
        self.utterances.append(Utterance(of.path, seconds, of.text, of.voice.speaker, of.split))


def synthesise(
    texts: Sequence[Path],
    folder: Path,
    tokens: TokenSet,
    voices: Sequence[Voice],
    options: SynthesisOptions,
) -> Synthesis:
    """Speak the sentences of texts, in their order; recordings that are there whole are kept.

    Voice, pitch and rate of a sentence depend on its number and the seed alone. The manifest comes
    last: its presence says that all is whole.

    Raises:
        DataError: a text cannot be read, the folder has another corpus, or nothing can be spoken.
        OSError: a file cannot be written.
    """
    manifest, audio = folder / "manifest.tsv", folder / "audio"
    if manifest.exists() and not (folder / DESCRIPTION).exists():
        raise DataError(f"{manifest} is another corpus's, which this one would replace")
    audio.mkdir(parents=True, exist_ok=True)
    made, new = Synthesis([], Counter()), set[Path]()
    with taking_turns(audio):
        plans = plan(read_sentences(texts, tokens), audio, voices, options)
        with closing(_spoken(plans, _total(texts, tokens, options), options, new)) as outcomes:
            for outcome in outcomes:
                made.take(outcome)
                if not made.utterances and made.left_out.total() >= HOPELESS:
                    break
        for path in new - {utterance.path for utterance in made.utterances}:
            path.unlink()  # spoken ahead, and not needed
        if not made.utterances:
            why = reasons(made.left_out) or "the texts have none that the tokens spell"
            raise DataError(f"no sentence was spoken: {why}")
        _describe(folder, texts, made, options)
        write_manifest(manifest, made.utterances)
    return made


def plan(
    sentences: Iterable[str], folder: Path, voices: Sequence[Voice], options: SynthesisOptions
) -> Iterator[Plan]:
    """Who says each sentence, and how: first an engine is drawn, then one of its voices."""
    engines: dict[str, list[Voice]] = {}
    for voice in voices:
        engines.setdefault(voice.engine.name, []).append(voice)
    of_engine = list(engines.values())
    for number, text in enumerate(sentences):
        rng = np.random.default_rng((options.seed, number))
        among = of_engine[rng.integers(len(of_engine))]
        voice = among[rng.integers(len(among))]
        pitch, rate = (
            round(math.exp(rng.uniform(math.log(low), math.log(high))), 3)
            for low, high in (options.pitch, options.rate)
        )
        key = json.dumps([text, voice.speaker, pitch, rate])
        name = f"{number:07d}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.flac"
        drawn = zlib.crc32(f"{options.seed} {text}".encode()) / 2**32
        split = "dev" if drawn < options.dev_share else options.split
        yield Plan(text, voice, pitch, rate, folder / name, split)


def reasons(left_out: Counter[str]) -> str:
    """For people."""
    return "; ".join(f"{count:,} times {why}" for why, count in left_out.most_common())


def _spoken(
    plans: Iterator[Plan], total: int, options: SynthesisOptions, new: set[Path]
) -> Generator[Outcome, None, None]:
    """Outcomes in the order of the plans, until there are enough.

    Args:
        total: sentences; 0: as many as the hours need.
        new: gets the paths of recordings that were not there before.
    """
    with ThreadPoolExecutor(options.jobs) as pool:
        work = partial(_outcome, new, options.longest)
        outcomes = in_order(pool, work, islice(plans, options.limit), "speaks")
        try:
            if options.hours is None:
                yield from track(outcomes, "speaking", total)
            else:
                yield from _until(options.hours * 3600, outcomes)
        finally:
            outcomes.close()  # what is not begun yet is given up


def _until(seconds: float, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    spoken = 0.0
    with SecondsBar([seconds], "speaking") as bar:
        for outcome in outcomes:
            yield outcome
            spoken += outcome.seconds
            bar.report(0, outcome.seconds)
            if spoken >= seconds:
                return


def _outcome(new: set[Path], longest: float, of: Plan) -> Outcome:
    try:
        seconds = _there(of.path) or _speak(of, longest, new)
    except NotSpokenError as error:
        log.debug("%s, %r: %s: %s", of.voice.speaker, of.text, error, error.detail)
        return Outcome(of, 0.0, str(error))
    if seconds > longest:
        return Outcome(of, 0.0, f"longer than {longest:g} s")
    return Outcome(of, seconds)


def _there(path: Path) -> float:
    """Seconds of a recording that was made before; 0: there is none."""
    if not is_whole(path):
        return 0.0
    with open_audio(path) as file:
        return file.seconds


def _speak(of: Plan, longest: float, new: set[Path]) -> float:
    """Write the recording, unless it is too long. Returns: seconds."""
    samples = speak(of.voice, of.text, of.pitch, of.rate)
    seconds = len(samples) / SAMPLE_RATE
    if seconds <= longest:
        with partial_file(of.path, sync=False) as file:
            soundfile.write(file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        new.add(of.path)
    return seconds


def _total(texts: Sequence[Path], tokens: TokenSet, options: SynthesisOptions) -> int:
    if options.hours is not None:
        return 0
    return sum(1 for _ in islice(read_sentences(texts, tokens, again=True), options.limit))


def _describe(
    folder: Path, texts: Sequence[Path], made: Synthesis, options: SynthesisOptions
) -> None:
    """How the recordings came about, for whoever trains on them."""
    description: dict[str, Any] = {
        "texts": [path.name for path in texts],
        "seed": options.seed,
        "pitch": options.pitch,
        "rate": options.rate,
        "speakers": dict(Counter(u.speaker for u in made.utterances).most_common()),
        "left_out": dict(made.left_out.most_common()),
    }
    with partial_file(folder / DESCRIPTION) as file:
        file.write((json.dumps(description, indent=1) + "\n").encode())
