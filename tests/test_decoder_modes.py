"""Vocabularies, language models and phrases against the reference: same texts, same scores."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import reference_decoder as reference
from decoder_inputs import (
    LETTERS_ARPA,
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
from reference_decoder import Arpa, Rules

from ds2edge.decoder import UNKNOWN, Decoder, SearchOptions
from ds2edge.errors import DecoderError
from ds2edge.text import TokenSet

NAMES = list(TOKENS.tokens)
BIGRAMS = TokenSet(("<blank>", " ", "a", "b", "l", "al", "ll"))
UNSPACED = TokenSet(("<blank>", "a", "b", "l"))
ARPA, LETTERS = Arpa(TINY_ARPA), Arpa(LETTERS_ARPA)

FREE = Decoder(TOKENS)
LEXICON = Decoder(TOKENS, words=WORDS)
LANGUAGE = Decoder(TOKENS, words=WORDS, language_model=TINY_ARPA)
LETTER_MODEL = Decoder(TOKENS, language_model=LETTERS_ARPA)
UNSPACED_FREE = Decoder(UNSPACED)
UNSPACED_MODEL = Decoder(UNSPACED, language_model=LETTERS_ARPA)
BIGRAM_FREE = Decoder(BIGRAMS)
BIGRAM_LEXICON = Decoder(BIGRAMS, words=WORDS)

phrase = st.lists(st.text("abl", min_size=1, max_size=3), min_size=1, max_size=3).map(" ".join)
phrases = st.dictionaries(phrase, st.floats(-4.0, 8.0), min_size=1, max_size=5)
inputs = given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(0, 5),
    alpha=st.floats(0.0, 2.0),
    beta=st.floats(-3.0, 3.0),
    phrases=phrases,
    unknown=st.floats(0.0, 10.0),
)


def problem(seed: int, frames: int, tokens: TokenSet) -> np.ndarray:
    return random_log_probs(seed, frames, len(tokens), sharpness=2.0)


@inputs
@settings(max_examples=80)
def test_open_vocabulary(seed, frames, alpha, beta, phrases, unknown) -> None:
    log_probs = problem(seed, frames, TOKENS)
    got = found(
        LANGUAGE.with_options(exhaustive(alpha=alpha, beta=beta, unknown=unknown)), log_probs
    )
    rules = Rules(NAMES, set(WORDS), ARPA, alpha, beta, unknown=unknown)
    assert_same(got, reference.decode(log_probs, rules))


@inputs
@settings(max_examples=80)
def test_language_model_of_letters(seed, frames, alpha, beta, phrases, unknown) -> None:
    log_probs = problem(seed, frames, TOKENS)
    got = found(LETTER_MODEL.with_options(exhaustive(alpha=alpha, beta=beta)), log_probs)
    assert_same(
        got, reference.decode(log_probs, Rules(NAMES, language=LETTERS, alpha=alpha, beta=beta))
    )


@inputs
@settings(max_examples=50)
def test_language_model_of_tokens_without_spaces(
    seed, frames, alpha, beta, phrases, unknown
) -> None:
    log_probs = problem(seed, frames, UNSPACED)
    got = found(UNSPACED_MODEL.with_options(exhaustive(alpha=alpha, beta=beta)), log_probs)
    rules = Rules(list(UNSPACED.tokens), language=LETTERS, alpha=alpha, beta=beta)
    assert_same(got, reference.decode(log_probs, rules))


@inputs
@settings(max_examples=80)
@pytest.mark.parametrize("decoder", [FREE, LEXICON, LANGUAGE, LETTER_MODEL, UNSPACED_FREE])
def test_phrases(decoder: Decoder, seed, frames, alpha, beta, phrases, unknown) -> None:
    tokens = decoder.tokens
    frames -= tokens is TOKENS and decoder is not LANGUAGE and frames == 5  # for speed
    log_probs = problem(seed, frames, tokens)
    options = exhaustive(alpha=alpha, beta=beta)
    got = found(decoder.with_options(options).with_phrases(phrases), log_probs)
    rules = Rules(
        list(tokens.tokens),
        words=set(WORDS) if decoder in (LEXICON, LANGUAGE) else None,
        language={LANGUAGE: ARPA, LETTER_MODEL: LETTERS}.get(decoder),
        alpha=alpha,
        beta=beta,
        phrases=phrases,
    )
    assert_same(got, reference.decode(log_probs, rules))


@inputs
@settings(max_examples=60)
def test_phrases_in_an_open_vocabulary(seed, frames, alpha, beta, phrases, unknown) -> None:
    log_probs = problem(seed, min(frames, 4), TOKENS)
    options = exhaustive(alpha=alpha, beta=beta, unknown=unknown)
    got = found(LANGUAGE.with_options(options).with_phrases(phrases), log_probs)
    rules = Rules(NAMES, set(WORDS), ARPA, alpha, beta, phrases, unknown)
    assert_same(got, reference.decode(log_probs, rules))


@inputs
@settings(max_examples=80)
@pytest.mark.parametrize("decoder", [FREE, UNSPACED_FREE])
@pytest.mark.parametrize("escape", [False, True])
def test_closed_vocabulary(
    decoder: Decoder, escape: bool, seed, frames, alpha, beta, phrases, unknown
) -> None:
    log_probs = problem(seed, frames, decoder.tokens)
    cost = unknown if escape else math.inf
    options = exhaustive(beta=beta, unknown=cost)
    got = found(decoder.with_vocabulary(phrases).with_options(options), log_probs)
    rules = Rules(list(decoder.tokens.tokens), beta=beta, unknown=cost, closed=set(phrases))
    assert_same(got, reference.decode(log_probs, rules))


@inputs
@settings(max_examples=60)
@pytest.mark.parametrize("decoder", [BIGRAM_FREE, BIGRAM_LEXICON])
def test_tokens_of_several_characters(
    decoder: Decoder, seed, frames, alpha, beta, phrases, unknown
) -> None:
    log_probs = problem(seed, min(frames, 4), BIGRAMS)
    got = found(decoder.with_options(exhaustive(beta=beta)), log_probs)
    # A lexicon takes one spelling of each word: a, a b, al l.
    if decoder is BIGRAM_FREE:
        assert_same(got, reference.decode(log_probs, Rules(list(BIGRAMS.tokens), beta=beta)))
        return
    spellings = {tuple(BIGRAMS.encode(word)): word for word in WORDS}
    assert set(spellings) == {(2,), (2, 3), (5, 4)}
    ctc = reference.ctc_prefixes(log_probs, Rules(list(BIGRAMS.tokens)))
    allowed = {
        prefix: log_prob
        for prefix, log_prob in ctc.items()
        if all(part in spellings or not part for part in split(prefix, BIGRAMS.space))
    }
    assert_same(got, reference.score(allowed, Rules(list(BIGRAMS.tokens), set(WORDS), beta=beta)))


def split(prefix: tuple[int, ...], space: int | None) -> list[tuple[int, ...]]:
    parts: list[tuple[int, ...]] = [()]
    for token in prefix:
        parts = [*parts, ()] if token == space else [*parts[:-1], (*parts[-1], token)]
    return parts


@inputs
@settings(max_examples=50)
def test_label_prior(seed, frames, alpha, beta, phrases, unknown) -> None:
    log_probs = problem(seed, frames, TOKENS)
    prior = random_log_probs(seed + 1, 1, len(TOKENS))[0]
    weight = min(alpha, 1.0)
    decoder = Decoder(TOKENS, words=WORDS, prior=prior)
    got = found(decoder.with_options(exhaustive(beta=beta, prior=weight)), log_probs)
    divided = reference.divide_by_prior(log_probs, prior, weight)
    assert_same(got, reference.decode(divided, Rules(NAMES, set(WORDS), beta=beta)))


@pytest.mark.parametrize("seed", range(4))
def test_reference_sums_over_all_alignments(seed: int) -> None:
    log_probs = random_log_probs(seed, 4, len(NAMES), sharpness=0.5)
    bigrams = random_log_probs(seed, 4, len(BIGRAMS), sharpness=0.5)
    for frames, rules in [
        (log_probs, Rules(NAMES, set(WORDS), ARPA, 0.5, 0.3, {"a b": 2.0, "b": 1.0})),
        (log_probs, Rules(NAMES, set(WORDS), unknown=2.0)),
        (log_probs, Rules(NAMES, closed={"a b", "b"}, unknown=2.0)),
        (bigrams, Rules(list(BIGRAMS.tokens), beta=0.2)),
    ]:
        assert_same(reference.decode(frames, rules), reference.brute_force(frames, rules))


def best(decoder: Decoder, frames: np.ndarray) -> str:
    return " ".join(found(decoder, frames, 1)[0][1])


def test_a_boost_is_paid_once_for_each_occurrence() -> None:
    frames = spelled("ab a ab", TOKENS, certainty=1 - 1e-7)
    plain = found(LANGUAGE, frames, 1)[0][0]
    once = found(LANGUAGE.with_phrases({"a": 5.0}), frames, 1)[0]
    twice = found(LANGUAGE.with_phrases({"ab": 5.0}), frames, 1)[0]
    assert once == (pytest.approx(plain + 5.0, abs=1e-4), ("ab", "a", "ab"))
    assert twice == (pytest.approx(plain + 10.0, abs=1e-4), ("ab", "a", "ab"))


def test_overlapping_phrases_are_all_paid() -> None:
    frames = spelled("a ab a", TOKENS, certainty=1 - 1e-7)
    boosts = {"a ab": 1.0, "ab a": 2.0, "ab": 4.0, "a ab a a": 8.0}
    plain = found(FREE, frames, 1)[0][0]
    assert found(FREE.with_phrases(boosts), frames, 1)[0][0] == pytest.approx(plain + 7.0, abs=1e-4)


def test_a_phrase_that_breaks_off_brings_nothing() -> None:
    frames = spelled("a al_l", TOKENS, certainty=1 - 1e-7)
    plain = found(LANGUAGE, frames, 1)
    assert found(LANGUAGE.with_phrases({"a ab": 9.0, "al": 9.0}), frames, 1) == [
        (pytest.approx(plain[0][0], abs=1e-4), plain[0][1])
    ]


def test_a_large_boost_does_not_split_the_words_after_it() -> None:
    """Peers pay a hot word again with every n-gram that contains it."""
    words = "a ab all a ab all"
    frames = spelled(words.replace("ll", "l_l"), TOKENS, certainty=1 - 1e-7)
    for boost in (0.0, 5.0, 10.0, 15.0):
        assert best(LANGUAGE.with_phrases({"ab": boost}), frames) == words


def test_a_phrase_outside_lexicon_and_language_model() -> None:
    frames = spelled("a_bala _ ab", TOKENS, certainty=0.9)
    frames = np.concatenate([spelled("a bal_", TOKENS, 0.9), spelled(" ab", TOKENS, 0.9)])
    for decoder in (LEXICON, LANGUAGE):
        options = SearchOptions(alpha=0.5, beta=0.0)
        plain = decoder.with_options(options)
        assert "bal" not in best(plain, frames)
        assert best(plain.with_phrases({"bal": 6.0}), frames) == "a bal ab"
        assert best(plain.with_phrases({"bal ab": 6.0}), frames) == "a bal ab"
        assert "bal" not in best(plain.with_phrases({"all bal": 6.0}), frames)


def test_phrases_are_kept_while_they_are_only_begun() -> None:
    """In a small beam the boost has to count before the phrase is complete."""
    rows = [
        {"a": 0.9, "b": 0.1},
        {"b": 0.8, "l": 0.2},
        {"a": 0.9, "l": 0.1},
        {"b": 0.9, "l": 0.1},
    ]
    frames = np.full((len(rows), len(TOKENS)), -30.0, np.float32)
    for frame, row in zip(frames, rows, strict=True):
        for letter, p in row.items():
            frame[NAMES.index(letter)] = np.log(p)
    decoder = FREE.with_options(SearchOptions(beam=1, beta=0.0))
    assert best(decoder, frames) == "abab"
    assert best(decoder.with_phrases({"blab": 20.0}), frames) == "blab"


def test_closed_vocabulary_says_its_phrases_only() -> None:
    closed = FREE.with_vocabulary(["a ab", "all"])
    assert best(closed, spelled("a ab al_l", TOKENS, 0.9)) == "a ab all"
    assert best(closed, spelled("ab b al_l", TOKENS, 0.6)) in {"all", "a ab all", "all all"}
    escape = closed.with_options(SearchOptions(unknown=3.0))
    assert best(escape, spelled("a ab bbb al_l", TOKENS, 0.99)) == f"a ab {UNKNOWN} all".replace(
        "bbb", "b"
    )
    assert best(escape, spelled("a b", TOKENS, 0.99)) == UNKNOWN


def test_options_stay_when_phrases_change() -> None:
    options = SearchOptions(beam=7)
    decoder = LANGUAGE.with_options(options).with_phrases({"ab": 1.0})
    assert decoder.options == options
    plain = decoder.with_phrases({})
    frames = problem(1, 20, TOKENS)
    assert found(plain, frames) == found(LANGUAGE.with_options(options), frames)


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ({"Ab": 1.0}, "'Ab' has 'A'"),
        ({"": 1.0}, "no words"),
        ({"  ": 1.0}, "no words"),
        ({"ab": math.nan}, "finite"),
        ({"ab": math.inf}, "finite"),
        ({"ab": 3e38}, "at most 1,000,000,000"),
        ({"ab": "much"}, "must be a number, got 'much'"),
        ({"a\0b": 1.0}, "not a token"),
        ({1: 1.0}, "must be str, got 1"),
        ({b"ab": 1.0}, "must be str, got b'ab'"),
        (["ab"], "must map texts to boosts, got list"),
    ],
)
def test_bad_phrases(phrases: dict[str, float], message: str) -> None:
    with pytest.raises(DecoderError, match=message):
        LANGUAGE.with_phrases(phrases)


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ([], "empty"),
        (["a", " "], "no words"),
        (["aé"], "'é'"),
        ("ab", "list"),
        ([1], "must be str, got 1"),
    ],
)
def test_bad_vocabularies(phrases: list[str], message: str) -> None:
    with pytest.raises(DecoderError, match=message):
        FREE.with_vocabulary(phrases)


def test_many_phrases_that_overlap(tmp_path: Path) -> None:
    names = [" ".join(["ab"] * n) for n in range(1, 60)]
    frames = spelled("_".join("ab " * 5), TOKENS, 0.99)
    assert best(FREE.with_vocabulary(names), frames).split() == ["ab"] * 5
    assert best(FREE.with_phrases(dict.fromkeys(names, 0.5)), frames).split() == ["ab"] * 5


@pytest.mark.parametrize("decoder", [FREE, LANGUAGE, FREE.with_phrases({"ab a": 2.0})])
def test_going_on_with_the_same_changes_nothing(decoder: Decoder) -> None:
    frames = problem(5, 60, TOKENS)
    state = decoder.start()
    for at in range(0, 60, 7):
        state.advance(frames[at : at + 7])
        state.use(decoder.with_options(decoder.options))
    assert state.finish(5) == decoder.decode([frames], n=5)[0]


def test_phrases_change_while_it_runs() -> None:
    """A phrase counts from its first word, if that was heard before the change."""
    frames = spelled("_al_l_ ab _", TOKENS, 0.9)
    hot = LANGUAGE.with_phrases({"all ab": 5.0})
    plain, changed = LANGUAGE.start(), LANGUAGE.start()
    for state in (plain, changed):
        state.advance(frames[:7])
    changed.use(hot)
    for state in (plain, changed):
        state.advance(frames[7:])
    (before,), (after,) = plain.finish(), changed.finish()
    assert before.text == after.text == "all ab"
    assert after.score == pytest.approx(before.score + 5.0, abs=1e-4)


def test_phrases_that_are_taken_away_bring_nothing_more() -> None:
    frames = spelled("_al_l_ ab _", TOKENS, 0.9)
    hot = LANGUAGE.with_phrases({"all ab": 5.0})
    state = hot.start()
    state.advance(frames[:7])
    state.use(LANGUAGE)
    state.advance(frames[7:])
    assert state.finish()[0].score == pytest.approx(best_score(LANGUAGE, frames), abs=1e-4)


@pytest.mark.parametrize(
    "open_words",
    [LANGUAGE.with_phrases({"lab": 1.0}), LANGUAGE.with_options(exhaustive(unknown=1.0))],
)
def test_words_that_are_no_longer_allowed_lead_nowhere(open_words: Decoder) -> None:
    """Begun outside of the lexicon, when that was possible: nothing follows them."""
    state = open_words.start()
    state.advance(spelled("_a_l_a", TOKENS, 0.9))
    state.use(LANGUAGE)
    state.advance(spelled("_b_ _all_", TOKENS, 0.9))
    (found,) = state.finish()
    assert math.isfinite(found.score)
    assert {word.text for word in found.words} <= set(WORDS)


def best_score(decoder: Decoder, frames: np.ndarray) -> float:
    return decoder.decode([frames])[0][0].score


def test_other_words_need_a_new_segment() -> None:
    state = LANGUAGE.start()
    state.advance(spelled("_a", TOKENS))
    for other in (FREE, LANGUAGE.with_vocabulary(["a"]), Decoder(TOKENS, words=["a"])):
        with pytest.raises(DecoderError, match="need a new segment"):
            state.use(other)
    state.advance(spelled("b_", TOKENS))
    assert state.finish()[0].text == "ab"
