"""Every decoder that is compared, behind one face: ds2edge, flashlight-text, pyctcdecode."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from decoder_problems import Problem

from ds2edge.decoder import Decoder, LogProbs, SearchOptions
from ds2edge.pipeline import decode_all
from ds2edge.text import BLANK, collapse

Setting: TypeAlias = Mapping[str, Any]
Weights: TypeAlias = tuple[float, float]  # alpha of natural logarithms, beta for each word

# Ranking first, with moderate pruning; then pruning, with the best ranking.
WORD_WEIGHTS = tuple(itertools.product((0.3, 0.5, 0.7, 0.9, 1.2), (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0)))
CHARACTER_WEIGHTS = tuple(
    itertools.product((0.2, 0.4, 0.6, 0.8, 1.0), (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0))
)


class Run(Protocol):
    """A decoder that is set up for one problem, one beam and one setting."""

    def prepare(self, log_probs: LogProbs) -> Any:
        """The log-probabilities as the decoder likes them best; not timed."""

    def decode(self, prepared: Any) -> str:
        """The text of one utterance; timed."""


class Engine(Protocol):
    """A decoder with the lexicon and language model of one problem in memory."""

    def ranking(self, weights: Sequence[Weights]) -> list[Setting]:
        """Settings that rank hypotheses differently."""

    def pruning(self, ranking: Setting) -> list[Setting]:
        """Settings that trade speed for accuracy."""

    def run(self, beam: int, setting: Setting) -> Run:
        """What decodes with this setting."""


def weights_of(problem: Problem) -> Sequence[Weights]:
    """The alphas and betas to try."""
    if not problem.language_model:
        return tuple(itertools.product((0.0,), (-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0)))
    return CHARACTER_WEIGHTS if problem.measure == "CER" else WORD_WEIGHTS


def product(base: Setting, **choices: Sequence[Any]) -> list[Setting]:
    """`base` with every combination of the choices."""
    return [
        {**base, **dict(zip(choices, values, strict=True))}
        for values in itertools.product(*choices.values())
    ]


class Ours:
    """ds2edge. `extras` are further arguments of the Decoder: features to be priced."""

    def __init__(self, problem: Problem, **extras: Any) -> None:
        self.decoder = Decoder(
            problem.tokens, words=problem.words, language_model=problem.language_model, **extras
        )

    def ranking(self, weights: Sequence[Weights]) -> list[Setting]:
        return [{"alpha": alpha, "beta": beta} for alpha, beta in weights]

    def pruning(self, ranking: Setting) -> list[Setting]:
        return product(
            ranking,
            threshold=(5.0, 6.0, 8.0, 10.0, 12.0, 16.0),
            cutoff=(0.95, 0.98, 0.99, 0.999),
            top=(2, 3, 4, 6, 10, 40),
        )

    def run(self, beam: int, setting: Setting) -> Run:
        return _OurRun(self.decoder.with_options(SearchOptions(beam=beam, **setting)))


@dataclass(frozen=True)
class _OurRun:
    decoder: Decoder

    def prepare(self, log_probs: LogProbs) -> LogProbs:
        return np.ascontiguousarray(log_probs)

    def decode(self, prepared: LogProbs) -> str:
        between = "" if self.decoder.tokens.space is None else " "
        return between.join(word.text for word in decode_all(self.decoder, prepared))


class Flashlight:
    """flashlight-text, lexicon decoder: spellings end with the space token, which is its silence.

    Without lexicon it is the lexicon-free decoder, with or without a model over tokens. With
    `one_token_words` each token is a word of the lexicon instead.
    """

    def __init__(self, problem: Problem, one_token_words: bool = False) -> None:
        from flashlight.lib.text.decoder import SmearingMode, ZeroLM
        from flashlight.lib.text.decoder.kenlm import KenLM

        self.tokens = problem.tokens
        spellings = _spellings(problem, one_token_words)
        self.words = list(spellings) if spellings else ["<blank>", *problem.tokens.tokens[1:]]
        dictionary = _dictionary([*self.words, "<unk>"])
        self.unknown = dictionary.get_index("<unk>")
        model = problem.language_model
        self.model = KenLM(str(model), dictionary) if model else ZeroLM()
        self.trie = None
        if spellings:
            self.trie = self._build_trie(spellings)
            self.trie.smear(SmearingMode.MAX)

    def _build_trie(self, spellings: Mapping[str, list[int]]) -> Any:
        from flashlight.lib.text.decoder import Trie

        trie = Trie(len(self.tokens), self._silence)
        start = self.model.start(False)
        for index, spelling in enumerate(spellings.values()):
            _, score = self.model.score(start, index)
            trie.insert(spelling, index, score)
        return trie

    @property
    def _silence(self) -> int:
        return BLANK if self.tokens.space is None else self.tokens.space

    def ranking(self, weights: Sequence[Weights]) -> list[Setting]:
        base = {"threshold": 15.0, "tokens": 15}
        return [
            {**base, "alpha": alpha, "beta": beta, "log_add": log_add}
            for alpha, beta in weights
            for log_add in (True, False)
        ]

    def pruning(self, ranking: Setting) -> list[Setting]:
        return product(
            ranking,
            threshold=(5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 25.0),
            tokens=(2, 3, 4, 5, 7, 10, 15, 29),
        )

    def run(self, beam: int, setting: Setting) -> Run:
        from flashlight.lib.text import decoder as flashlight

        named: dict[str, Any] = {
            "beam_size": beam,
            "beam_size_token": setting["tokens"],
            "beam_threshold": setting["threshold"],
            # Its KenLM answers in logarithms to base 10.
            "lm_weight": setting["alpha"] * math.log(10),
            "sil_score": 0.0,
            "log_add": setting["log_add"],
            "criterion_type": flashlight.CriterionType.CTC,
        }
        if not self.trie:
            options = flashlight.LexiconFreeDecoderOptions(**named)
            found = flashlight.LexiconFreeDecoder(options, self.model, -1, BLANK, [])
            return _FlashlightRun(self, found)
        options = flashlight.LexiconDecoderOptions(
            **named, word_score=setting["beta"], unk_score=-math.inf
        )
        found = flashlight.LexiconDecoder(
            options, self.trie, self.model, self._silence, BLANK, self.unknown, [], False
        )
        return _FlashlightRun(self, found)


def _spellings(problem: Problem, one_token_words: bool) -> dict[str, list[int]] | None:
    if problem.words:
        return {word: problem.tokens.encode(word + " ") for word in problem.words}
    if one_token_words:
        return {token: [i] for i, token in enumerate(problem.tokens.tokens) if i != BLANK}
    return None


def _dictionary(entries: Sequence[str]) -> Any:
    from flashlight.lib.text.dictionary import Dictionary

    dictionary = Dictionary()
    for index, entry in enumerate(entries):
        dictionary.add_entry(entry, index)
    dictionary.set_default_index(len(entries) - 1)
    return dictionary


@dataclass(frozen=True)
class _FlashlightRun:
    engine: Flashlight
    decoder: Any

    def prepare(self, log_probs: LogProbs) -> LogProbs:
        """A space is said after the last word, or flashlight would lose the word."""
        frames = np.ascontiguousarray(log_probs)
        if not self.engine.trie or self.engine.tokens.space is None:
            return frames
        last = np.full((1, frames.shape[1]), -30.0, np.float32)
        last[0, self.engine.tokens.space] = 0.0
        return np.concatenate([frames, last])

    def decode(self, prepared: LogProbs) -> str:
        self.decoder.decode_begin()
        self.decoder.decode_step(prepared.ctypes.data, *prepared.shape)
        self.decoder.decode_end()
        best = self.decoder.get_best_hypothesis()
        tokens = self.engine.tokens
        if not self.engine.trie:
            return " ".join(tokens.decode(collapse([t for t in best.tokens if t >= 0])).split())
        between = "" if tokens.space is None else " "
        return between.join(self.engine.words[word] for word in best.words if word >= 0)


class Pyctcdecode:
    """pyctcdecode; a script without spaces is spelled as its word pieces, one for each token."""

    def __init__(self, problem: Problem) -> None:
        from pyctcdecode import build_ctcdecoder

        logging.getLogger("pyctcdecode").setLevel(logging.ERROR)
        begin = "▁" if problem.tokens.space is None else ""
        self.joined = bool(begin)
        tokens = problem.tokens.tokens[1:]
        self.decoder = build_ctcdecoder(
            ["", *(begin + token for token in tokens)],
            kenlm_model_path=str(problem.language_model) if problem.language_model else None,
            unigrams=(problem.words or list(tokens)) if problem.language_model else None,
        )

    def ranking(self, weights: Sequence[Weights]) -> list[Setting]:
        return [
            {"alpha": a, "beta": b, "prune": -10.0, "token_min": -5.0, "unknown": -10.0}
            for a, b in weights
        ]

    def pruning(self, ranking: Setting) -> list[Setting]:
        settings = product(
            ranking,
            prune=(-4.0, -6.0, -8.0, -10.0, -14.0),
            token_min=(-2.0, -3.0, -4.0, -5.0, -7.0),
        )
        return settings + product({**ranking, "unknown": -30.0}, prune=(-6.0, -8.0, -10.0, -14.0))

    def run(self, beam: int, setting: Setting) -> Run:
        self.decoder.reset_params(
            alpha=setting["alpha"], beta=setting["beta"], unk_score_offset=setting["unknown"]
        )
        pruning = {"beam_prune_logp": setting["prune"], "token_min_logp": setting["token_min"]}
        return _PyctcdecodeRun(self, {"beam_width": beam, **pruning}, dict(setting))


@dataclass(frozen=True)
class _PyctcdecodeRun:
    engine: Pyctcdecode
    options: Mapping[str, Any]
    setting: Setting

    def prepare(self, log_probs: LogProbs) -> LogProbs:
        # The weights belong to the decoder, which other settings share.
        self.engine.decoder.reset_params(
            alpha=self.setting["alpha"],
            beta=self.setting["beta"],
            unk_score_offset=self.setting["unknown"],
        )
        return log_probs

    def decode(self, prepared: LogProbs) -> str:
        said: str = self.engine.decoder.decode(prepared, **self.options)
        return said.replace(" ", "") if self.engine.joined else said


def engines_for(problem: Problem) -> dict[str, Callable[[Problem], Engine]]:
    """Name and maker of every decoder that can solve the problem."""
    engines: dict[str, Callable[[Problem], Engine]] = {
        "ds2edge": Ours,
        "flashlight": Flashlight,
        "pyctcdecode": Pyctcdecode,
    }
    if problem.measure == "CER" and problem.language_model:
        engines["flashlight, words"] = one_token_flashlight
    return engines


def one_token_flashlight(problem: Problem) -> Engine:
    """flashlight's lexicon decoder where each token is a word."""
    return Flashlight(problem, one_token_words=True)
