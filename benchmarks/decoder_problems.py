"""What the decoder benchmarks decode: real and synthetic log-probabilities with their texts."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ds2edge.audio_file import read_audio
from ds2edge.bundle import Bundle
from ds2edge.decoder import LogProbs
from ds2edge.pipeline import load_pipeline
from ds2edge.progress import track
from ds2edge.text import BLANK, TokenSet, normalise
from ds2edge.training.data.manifest import Utterance, read_manifest
from ds2edge.training.evaluation.metrics import character_error_rate, word_error_rate


@dataclass(frozen=True)
class Speech:
    """Log-probabilities of some utterances, and what was said in them."""

    log_probs: list[LogProbs]
    wanted: list[str]
    seconds: float


@dataclass(frozen=True)
class Problem:
    """One task for every decoder: the same log-probabilities, lexicon and language model."""

    name: str
    tokens: TokenSet
    words: list[str] | None
    language_model: Path | None  # KenLM binary: over the words, or over the tokens if they are None
    tune: Speech  # settings are chosen on this
    test: Speech  # and reported on this
    beam: int = 64  # at which settings are chosen

    @property
    def measure(self) -> str:
        """What is counted: words, or characters where the script writes no spaces."""
        return "CER" if self.tokens.space is None else "WER"

    def error_rate(self, speech: Speech, said: Sequence[str]) -> float:
        """Percent of words or characters that are wrong."""
        count = character_error_rate if self.measure == "CER" else word_error_rate
        return 100 * count(speech.wanted, said).rate

    def without_language_model(self) -> Problem:
        """The same without lexicon and language model."""
        name = f"{self.name}, no language model"
        return replace(self, name=name, words=None, language_model=None)


def real_problem(
    bundle: Bundle,
    manifest: Path,
    splits: tuple[str, str],
    seconds: tuple[float, float],
    cache: Path | None,
) -> Problem:
    """Recordings of a manifest as the bundle's acoustic model hears them.

    Args:
        splits: of the manifest, to tune on and to test on.
        seconds: at most so much audio of each.
        cache: file that keeps log-probabilities between runs.
    """
    tune, test = (
        pick(read_manifest(manifest, split), limit)
        for split, limit in zip(splits, seconds, strict=True)
    )
    blocks = bundle_log_probs(bundle, [*tune, *test], cache)
    tokens = bundle.manifest.tokens
    return Problem(
        f"{bundle.manifest.name}, real",
        tokens,
        bundle.words,
        bundle.language_model,
        _speech(tune, blocks[: len(tune)], tokens),
        _speech(test, blocks[len(tune) :], tokens),
    )


def pick(utterances: Sequence[Utterance], seconds: float) -> list[Utterance]:
    """Utterances of all speakers, mixed, until they are `seconds` long; always the same."""
    mixed = list(utterances)
    random.Random(1).shuffle(mixed)
    picked: list[Utterance] = []
    for utterance in mixed:
        if sum(u.seconds for u in picked) < seconds:
            picked.append(utterance)
    return picked


def bundle_log_probs(
    bundle: Bundle, utterances: Sequence[Utterance], cache: Path | None
) -> list[LogProbs]:
    """What the bundle's acoustic model says to each recording; kept in `cache`, a .npz file."""
    known: dict[str, LogProbs] = {}
    if cache and cache.is_file():
        with np.load(cache) as file:
            known = dict(file)
    model = bundle.manifest.members[bundle.manifest.artefacts[0].file]
    keys = [hashlib.sha256(f"{model} {u.path}".encode()).hexdigest() for u in utterances]
    missing = {k: u for k, u in zip(keys, utterances, strict=True) if k not in known}
    if missing:
        pipeline, rate = load_pipeline(bundle), bundle.manifest.features.sample_rate
        for key, utterance in track(missing.items(), "acoustic model", len(missing)):
            known[key] = pipeline.log_probs(read_audio(utterance.path, rate))
        if cache:
            np.savez(cache, **known)  # type: ignore[arg-type]
    return [known[key] for key in keys]


def _speech(utterances: Sequence[Utterance], blocks: list[LogProbs], tokens: TokenSet) -> Speech:
    wanted = [normalise(u.text, tokens) for u in utterances]
    return Speech(blocks, wanted, sum(u.seconds for u in utterances))


@dataclass(frozen=True)
class SyntheticVoice:
    """How texts become log-probabilities: mostly blanks, and tokens that are easily confused."""

    frames_per_second: float
    characters_per_second: float
    uncertain: float  # share of symbols that could be another one
    sure: float = 1.3  # weight of the right token among its confusions; each of them has 1
    noise: float = 0.002  # probability that is spread over all tokens


MANDARIN_BEAM = 200  # of the paper
ENGLISH_VOICE = SyntheticVoice(50, 14, 0.13)
MANDARIN_VOICE = SyntheticVoice(50, 5, 0.20)


def synthetic_english(bundle: Bundle, tune: Sequence[str], test: Sequence[str]) -> Problem:
    """English texts, spoken by a synthetic voice into the bundle's tokens."""
    tokens = bundle.manifest.tokens
    confusions = _confusions(len(tokens), 3)
    made = [
        synthetic_speech([normalise(t, tokens) for t in texts], tokens, ENGLISH_VOICE, confusions)
        for texts in (tune, test)
    ]
    return Problem("synthetic English, V = 29", tokens, bundle.words, bundle.language_model, *made)


def synthetic_mandarin(
    tokens: TokenSet, language_model: Path | None, tune: Sequence[str], test: Sequence[str]
) -> Problem:
    """Chinese texts, spoken by a synthetic voice; every character is a token."""
    confusions = _confusions(len(tokens), 6)
    made = [synthetic_speech(texts, tokens, MANDARIN_VOICE, confusions) for texts in (tune, test)]
    name = f"synthetic Mandarin, V = {len(tokens)}"
    return Problem(name, tokens, None, language_model, *made, beam=MANDARIN_BEAM)


def _confusions(tokens: int, count: int) -> NDArray[np.int64]:
    """For each token `count` others that sound alike."""
    rng = np.random.default_rng(7)
    return 1 + rng.integers(0, tokens - 1, (tokens, count))


def synthetic_speech(
    texts: Sequence[str], tokens: TokenSet, voice: SyntheticVoice, confusions: NDArray[np.int64]
) -> Speech:
    """Log-probabilities of the texts; the same texts give the same."""
    rng = np.random.default_rng(len(texts))
    blocks = [_speak(tokens.encode(text), len(tokens), voice, confusions, rng) for text in texts]
    seconds = sum(map(len, blocks)) / voice.frames_per_second
    return Speech(blocks, list(texts), seconds)


def _speak(
    symbols: Sequence[int],
    size: int,
    voice: SyntheticVoice,
    confusions: NDArray[np.int64],
    rng: np.random.Generator,
) -> LogProbs:
    """Each symbol is heard in 1 to 3 frames, then come blanks."""
    pause = max(0.0, voice.frames_per_second / voice.characters_per_second - 2.0)
    frames = [_blank_frame(size, rng) for _ in range(5)]
    for symbol, following in pairwise([*symbols, BLANK]):
        heard = _heard(symbol, size, voice, confusions, rng)
        frames += [_blurred(heard, voice, rng) for _ in range(rng.integers(1, 4))]
        blanks = max(int(rng.poisson(pause)), int(symbol == following))
        frames += [_blank_frame(size, rng) for _ in range(blanks)]
    return np.log(np.asarray(frames)).astype(np.float32)


def _heard(
    symbol: int,
    size: int,
    voice: SyntheticVoice,
    confusions: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    heard = np.zeros(size)
    if rng.random() < voice.uncertain:
        others = confusions[symbol]
        weights = rng.dirichlet([voice.sure, *(1.0 for _ in others)])
        np.add.at(heard, [symbol, *others], weights)
    else:
        heard[symbol] = 1.0
    return heard


def _blurred(
    heard: NDArray[np.float64], voice: SyntheticVoice, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The symbol's distribution in one frame: some blank, some noise."""
    noise = rng.dirichlet(np.full(len(heard), 0.5)) + 1e-6
    blank = rng.uniform(0.0, 0.2)
    frame = (1 - blank - voice.noise) * heard + voice.noise * noise
    frame[BLANK] += blank
    return frame / frame.sum()  # type: ignore[no-any-return]


def _blank_frame(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    noise = rng.dirichlet(np.full(size, 0.5)) + 1e-6
    frame = rng.uniform(0.0005, 0.03) * noise
    frame[BLANK] += 1 - frame.sum()
    return frame / frame.sum()  # type: ignore[no-any-return]


def shortened(texts: Sequence[str], voice: SyntheticVoice, seconds: float) -> list[str]:
    """The first texts that take about so long to say."""
    taken: list[str] = []
    for text in texts:
        if sum(map(len, taken)) < seconds * voice.characters_per_second:
            taken.append(text)
    return taken
