"""The native search against the reference: same hypotheses, same scores; and its errors."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import reference_decoder as reference
from decoder_inputs import (
    TINY_ARPA,
    TOKENS,
    WORDS,
    assert_same,
    exhaustive,
    found,
    random_log_probs,
    spelled,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_decoder import Rules

from ds2edge import _native
from ds2edge.decoder import Confidence, Decoder, SearchOptions, greedy
from ds2edge.errors import DecoderError
from ds2edge.text import TokenSet

NAMES = list(TOKENS.tokens)
ARPA = reference.Arpa(TINY_ARPA)
FREE = Decoder(TOKENS)
LEXICON = Decoder(TOKENS, words=WORDS)
LANGUAGE = Decoder(TOKENS, words=WORDS, language_model=TINY_ARPA)

inputs = given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(0, 6),
    sharpness=st.floats(0.1, 5.0),
    alpha=st.floats(0.0, 3.0),
    beta=st.floats(-4.0, 4.0),
)


@inputs
@settings(max_examples=150)
def test_language_model_search_is_exact(seed, frames, sharpness, alpha, beta) -> None:
    log_probs = random_log_probs(seed, frames, len(NAMES), sharpness)
    got = found(LANGUAGE.with_options(exhaustive(alpha=alpha, beta=beta)), log_probs)
    assert_same(got, reference.decode(log_probs, Rules(NAMES, set(WORDS), ARPA, alpha, beta)))


@inputs
@settings(max_examples=50)
def test_lexicon_search_is_exact(seed, frames, sharpness, alpha, beta) -> None:
    log_probs = random_log_probs(seed, frames, len(NAMES), sharpness)
    got = found(LEXICON.with_options(exhaustive(alpha=alpha, beta=beta)), log_probs)
    assert_same(got, reference.decode(log_probs, Rules(NAMES, set(WORDS), beta=beta)))


@inputs
@settings(max_examples=50)
def test_free_search_is_exact(seed, frames, sharpness, alpha, beta) -> None:
    log_probs = random_log_probs(seed, min(frames, 5), len(NAMES), sharpness)
    got = found(FREE.with_options(exhaustive(alpha=alpha, beta=beta)), log_probs)
    assert_same(got, reference.decode(log_probs, Rules(NAMES, beta=beta)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lexicon", [None, set(WORDS)])
def test_sum_over_all_alignments(seed: int, lexicon: set[str] | None) -> None:
    log_probs = random_log_probs(seed, 5, len(NAMES), sharpness=0.5)
    wanted = reference.brute_force(log_probs, Rules(NAMES, lexicon, beta=0.3))
    decoder = FREE if lexicon is None else LEXICON
    assert_same(found(decoder.with_options(exhaustive(beta=0.3)), log_probs), wanted)
    assert_same(reference.decode(log_probs, Rules(NAMES, lexicon, beta=0.3)), wanted)


def test_all_probability_is_found() -> None:
    log_probs = random_log_probs(0, 6, len(NAMES), sharpness=0.3)
    scores = [score for score, _ in found(FREE.with_options(exhaustive(beta=0.0)), log_probs)]
    assert np.logaddexp.reduce(scores) == pytest.approx(0.0, abs=1e-4)


def test_large_token_set() -> None:
    """More than 64 tokens: the lexicon's and the beam's bit masks are no longer exact."""
    tokens = TokenSet(("<blank>", " ", *(chr(0x4E00 + i) for i in range(200))))
    words = [a + b for a in tokens.tokens[2:40:3] for b in (*tokens.tokens[2:200:11], "")]
    log_probs = random_log_probs(3, 3, len(tokens), sharpness=3.0)
    got = found(Decoder(tokens, words=words).with_options(exhaustive()), log_probs)
    assert_same(got, reference.decode(log_probs, Rules(list(tokens.tokens), set(words), beta=1.0)))


@pytest.mark.parametrize("lexicon", [False, True])
def test_tokens_that_share_a_bit_of_the_mask(lexicon: bool) -> None:
    tokens = TokenSet(("<blank>", " ", *(chr(0x4E00 + i) for i in range(200))))
    same = np.arange(5, 200, 64)
    words = ["".join(tokens.tokens[v] for v in pair) for pair in np.stack([same, same[::-1]], 1)]
    log_probs = np.full((5, len(tokens)), -np.inf, np.float32)
    for t, frame in enumerate(log_probs):
        frame[[0, same[t % 4], same[(t + 1) % 4]]] = np.log([0.3, 0.4, 0.3])
    decoder = Decoder(tokens, words=words if lexicon else None).with_options(exhaustive())
    allowed = set(words) if lexicon else None
    wanted = reference.decode(log_probs, Rules(list(tokens.tokens), allowed, beta=1.0))
    assert_same(found(decoder, log_probs), wanted)


@pytest.mark.parametrize("decoder", [FREE, LANGUAGE])
def test_pruned_hypotheses_that_return_are_not_doubled(decoder: Decoder) -> None:
    for seed in range(40):
        narrow = decoder.with_options(SearchOptions(beam=3 + seed % 8, cutoff=1.0))
        texts = [words for _, words in found(narrow, random_log_probs(seed, 31, len(NAMES)))]
        assert len(texts) == len(set(texts))


def test_without_a_space_every_token_is_a_word() -> None:
    tokens = TokenSet(("<blank>", "你", "好"))
    (best,) = found(
        Decoder(tokens, options=SearchOptions(beta=0.5)), spelled("你_好_好", tokens), 1
    )
    assert best[1] == ("你", "好", "好")
    (plain,) = found(
        Decoder(tokens, options=SearchOptions(beta=0.0)), spelled("你_好_好", tokens), 1
    )
    assert best[0] - plain[0] == pytest.approx(1.5, abs=1e-4)


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ("al_l", "all"),  # a blank between repeats keeps both
        ("all_l", "all"),
        ("aab", "ab"),
        ("  a  _ ab ", "a ab"),  # leading, doubled and trailing spaces make no word
        ("___", ""),
        (" _ ", ""),
    ],
)
@pytest.mark.parametrize("decoder", [FREE, LEXICON, LANGUAGE])
def test_certain_frames(decoder: Decoder, frames: str, text: str) -> None:
    assert found(decoder, spelled(frames, TOKENS), 1)[0][1] == tuple(text.split())
    assert greedy(spelled(frames, TOKENS), TOKENS) == text


def test_repeats_without_blank_are_one() -> None:
    assert found(FREE, spelled("all", TOKENS), 1)[0][1] == ("al",)


def test_unfinished_word_gives_way_to_a_complete_hypothesis() -> None:
    options = SearchOptions(cutoff=1.0)
    assert found(LEXICON.with_options(options), spelled("a al", TOKENS), 1)[0][1] != ("a", "al")
    only = np.full((4, len(NAMES)), -np.inf, np.float32)
    only[[0, 1, 2, 3], [NAMES.index(c) for c in "a al"]] = 0.0
    assert [words for _, words in found(LEXICON, only)] == [("a",)]


def test_word_score_by_hand() -> None:
    """<s> a: -0.2; a ab: -0.4; ab </s>: -0.3 in tiny.arpa, decimal logarithms."""
    log_probs = spelled("a_ ab", TOKENS, certainty=1 - 1e-7)
    (best,) = found(LANGUAGE.with_options(SearchOptions(alpha=2.0, beta=0.25)), log_probs, 1)
    assert best[1] == ("a", "ab")
    assert best[0] == pytest.approx(2.0 * -0.9 * math.log(10) + 2 * 0.25, abs=1e-4)


def test_alpha_zero_is_no_language_model() -> None:
    log_probs = random_log_probs(5, 30, len(NAMES))
    options = SearchOptions(alpha=0.0, beta=0.7)
    with_model = found(LANGUAGE.with_options(options), log_probs)
    assert with_model == found(LEXICON.with_options(options), log_probs)


def test_beta_makes_more_words() -> None:
    log_probs = random_log_probs(7, 60, len(NAMES), sharpness=0.5)
    counts = [
        len(found(LEXICON.with_options(SearchOptions(beta=beta)), log_probs, 1)[0][1])
        for beta in (-6.0, 0.0, 6.0)
    ]
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("seed", range(5))
def test_wide_beam_finds_what_exhaustive_search_finds(seed: int) -> None:
    log_probs = random_log_probs(seed, 7, len(NAMES), sharpness=2.5)
    exact = reference.decode(log_probs, Rules(NAMES, set(WORDS), ARPA, 0.8, 1.0))
    options = SearchOptions(beam=256, alpha=0.8, beta=1.0, cutoff=1.0, threshold=30.0)
    (best,) = found(LANGUAGE.with_options(options), log_probs, 1)
    assert best[1] == exact[0][1]
    assert best[0] == pytest.approx(exact[0][0], abs=1e-3)


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({"cutoff": 1.0}, {"", "a", "b", "l"}),
        ({"cutoff": 0.9}, {"", "a", "b", "l"}),
        ({"cutoff": 0.79}, {"", "a", "b"}),  # 0.5 + 0.3 reach it
        ({"cutoff": 0.4}, {"", "a"}),
        ({"cutoff": 0.02}, {"", "a"}),  # the blank reaches it, but is not the likeliest
        ({"top": 2}, {"", "a", "b"}),
        ({"beam": 2}, {"a", "b"}),
        ({"threshold": 1.25}, {"a", "b", "l"}),  # log(0.5 / 0.15) = 1.2
        ({"threshold": 1.15}, {"a", "b"}),
    ],
)
def test_pruning_of_one_frame(options: dict[str, float], texts: set[str]) -> None:
    log_probs = np.log(np.array([[0.03, 0.02, 0.5, 0.3, 0.15]], np.float32))
    decoder = FREE.with_options(exhaustive(beta=0.0, **options))
    assert {" ".join(words) for _, words in found(decoder, log_probs)} == texts


def test_threshold_below_a_hypothesis_that_blank_dominates() -> None:
    log_probs = np.log(np.array([[0.5, 0.02, 0.2, 0.15, 0.13]], np.float32))
    decoder = FREE.with_options(exhaustive(beta=0.0, threshold=1.0))  # log(0.52 / 0.2) = 0.96
    assert [words for _, words in found(decoder, log_probs)] == [(), ("a",)]


def test_same_input_same_output() -> None:
    ties = np.full((40, len(NAMES)), -math.log(len(NAMES)), np.float32)
    decoder = LEXICON.with_options(SearchOptions(beam=8))
    assert found(decoder, ties) == found(decoder, ties)


@pytest.mark.parametrize(
    ("log_probs", "message"),
    [
        (np.zeros((3, 5)), r"float32 .*got dtype float64"),
        (np.zeros((3, 5), ">f4"), "got dtype >f4"),
        (np.zeros((3, 4), np.float32), r"\(frames, 5\).*got shape \(3, 4\)"),
        (np.zeros(5, np.float32), r"got shape \(5,\)"),
        (np.zeros((5, 3), np.float32).T, "contiguous"),
        (np.full((2, 5), np.nan, np.float32), r"log_probs\[0, 0\] is -?nan"),
        (np.full((2, 5), np.inf, np.float32), "is inf"),
        (np.full((2, 5), 0.3, np.float32), r"is 0\.3.*none above 0"),
    ],
)
def test_bad_log_probs(log_probs: np.ndarray, message: str) -> None:
    state = LEXICON.start()
    with pytest.raises(DecoderError, match=message):
        state.advance(log_probs)
    assert state.frames == 0  # the state is as before
    state.advance(spelled("ab", TOKENS))
    assert state.finish()[0].text == "ab"


@pytest.mark.parametrize("bad", [[[0.0] * 5], None, "abc"])
def test_log_probs_that_are_no_array(bad: object) -> None:
    with pytest.raises(DecoderError):
        LEXICON.start().advance(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("beam", 0),
        ("beam", 1.5),
        ("alpha", -1.0),
        ("alpha", math.nan),
        ("beta", math.inf),
        ("cutoff", 0.0),
        ("cutoff", 1.1),
        ("top", 0),
        ("threshold", 0.0),
        ("max_ambiguity", 0),
        ("unknown", -1.0),
        ("unknown", math.nan),
        ("prior", -0.1),
        ("prior", 1.1),
    ],
)
def test_bad_options(option: str, value: float) -> None:
    with pytest.raises(DecoderError, match=option):
        FREE.with_options(SearchOptions(**{option: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": ("<blank>", "a")}, "must be a TokenSet, got tuple"),
        ({"words": "ab"}, "list of texts, got a str"),
        ({"words": [b"ab"]}, "must be str"),
        ({"options": {"beam": 3}}, "dataclass"),
        ({"options": 0}, "dataclass"),
        ({"prior": []}, "each of 5 tokens, got 0"),
        ({"prior": [-(10**400)] * 5}, "too large"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DecoderError, match=message):
        Decoder(**{"tokens": TOKENS, **arguments})


@pytest.mark.parametrize("weight", [math.nan, math.inf, 1e39, "a", None, 10**400])
def test_bad_confidences(weight: Any) -> None:
    with pytest.raises(DecoderError, match="confidence: bias must be a"):
        Confidence(weight, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_decoders_and_states_are_not_copied() -> None:
    for one in (LEXICON, LEXICON.start()):
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(DecoderError, match="cannot be pickled or copied"):
                attempt(one)  # type: ignore[operator]


@pytest.mark.parametrize(
    "bad", [None, [[0.0]], np.zeros(5), np.zeros((2, 4)), np.zeros((2, 5), object)]
)
def test_greedy_refuses(bad: Any) -> None:
    with pytest.raises(DecoderError, match=r"shape \(frames, 5\); got"):
        greedy(bad, TOKENS)


def test_number_of_hypotheses_must_be_positive() -> None:
    with pytest.raises(DecoderError, match="n must be 1 or more"):
        FREE.start().finish(0)


def test_parts_that_do_not_belong_together() -> None:
    speller = _native.Speller(NAMES, 0, 1)
    model = _native.LanguageModel(str(TINY_ARPA))
    other = _native.LanguageModel(str(TINY_ARPA))
    parts = {"lexicon": _native.Lexicon(WORDS, speller, model), "language_model": model}
    options = _native.SearchOptions(**asdict(exhaustive(unknown=math.inf)))

    def search(speller=speller, options=options, **changed) -> _native.Search:
        return _native.Search(speller, **{**parts, **changed}, options=options)

    search()
    strange = _native.Speller([*NAMES, "c"], 0, 1)
    unspaced = _native.Speller(NAMES, 0, None)
    closed = _native.ClosedVocabulary(["a"], speller)
    for arguments, message in [
        ({"language_model": other}, "another language model"),
        ({"lexicon": None}, "does not know 3 of the 4 tokens, for example ' '"),
        ({"speller": unspaced}, "needs a space"),
        ({"speller": strange}, "the lexicon was made for other tokens"),
        ({"phrases": _native.Phrases([("a", 1.0)], strange)}, "phrases' list was made for other"),
        ({"closed": closed}, "stands alone"),
        ({"prior": [0.0]}, "each of the 5 tokens, got 1"),
        ({"prior": [math.nan] * 5}, "must be finite log probabilities, got nan"),
        (
            {"options": _native.SearchOptions(**asdict(exhaustive(prior=0.5)))},
            "needs a label prior",
        ),
        (
            {
                "lexicon": None,
                "language_model": None,
                "options": _native.SearchOptions(**asdict(exhaustive(unknown=1.0))),
            },
            "needs a lexicon or a closed",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            search(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((NAMES, 5, 1), "0 to 4"),
        ((NAMES, 0, 0), "not the blank"),
        ((NAMES, 0, -1), "got -1"),
        ((["<blank>"], 0, None), "at least 2"),
    ],
)
def test_bad_tokens(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _native.Speller(*arguments)
