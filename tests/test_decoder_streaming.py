"""The search as a stream: cuts, committed words, bounded memory, threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from decoder_inputs import TINY_ARPA, TOKENS, WORDS, random_log_probs, speech, spelled
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_decoder import Arpa

from ds2edge.decoder import (
    DecodedWord,
    Decoder,
    DecoderState,
    Hypothesis,
    SearchOptions,
    advance_all,
)
from ds2edge.errors import DecoderError
from ds2edge.text import TokenSet, english_characters

FREE = Decoder(TOKENS, options=SearchOptions(beam=16))
LANGUAGE = Decoder(TOKENS, words=WORDS, language_model=TINY_ARPA, options=SearchOptions(beam=16))
BOTH = pytest.mark.parametrize("decoder", [FREE, LANGUAGE])


def sentence(seed: int, count: int) -> list[str]:
    return np.random.default_rng(seed).choice(WORDS, count).tolist()


def run(decoder: Decoder, log_probs: np.ndarray, cuts: list[int]) -> tuple:
    """Everything that a caller can see at the end, with the frames cut at `cuts`."""
    state = decoder.start()
    committed: tuple[DecodedWord, ...] = ()
    for piece in np.split(log_probs, sorted(cuts)):
        state.advance(piece)
        state.words()
        committed += state.commit()
    return committed, state.words(), state.finish(5), state.frames


@BOTH
@given(
    seed=st.integers(0, 1000),
    cuts=st.lists(st.integers(0, 400), max_size=30),
    noise=st.floats(0.5, 3.0),
    max_ambiguity=st.sampled_from([5, 40, 250]),
)
@settings(max_examples=40)
def test_cuts_change_nothing(
    decoder: Decoder, seed: int, cuts: list[int], noise: float, max_ambiguity: int
) -> None:
    decoder = decoder.with_options(replace(decoder.options, max_ambiguity=max_ambiguity))
    log_probs = speech(seed, sentence(seed, 25), TOKENS, noise)
    whole = run(decoder, log_probs, [])
    assert run(decoder, log_probs, cuts) == whole
    assert run(decoder, log_probs, list(range(len(log_probs)))) == whole


@BOTH
@pytest.mark.parametrize("max_ambiguity", [6, 250])
@pytest.mark.parametrize("noise", [1.0, 2.5])
def test_committed_words_are_final(decoder: Decoder, max_ambiguity: int, noise: float) -> None:
    decoder = decoder.with_options(replace(decoder.options, max_ambiguity=max_ambiguity))
    for seed in range(5):
        log_probs = speech(seed, sentence(seed, 40), TOKENS, noise)
        never_asked = decoder.start()
        never_asked.advance(log_probs)
        final = never_asked.finish()[0].words
        state = decoder.start()
        committed: tuple[DecodedWord, ...] = ()
        for piece in np.split(log_probs, range(0, len(log_probs), 7)):
            state.advance(piece)
            committed += state.commit()
            assert committed == final[: len(committed)]
        assert len(committed) > 10  # the test would see a decoder that never commits
        assert committed + state.finish()[0].words == final


def test_clear_speech_is_committed_soon() -> None:
    state = LANGUAGE.start()
    committed = 0
    for i, word in enumerate(sentence(1, 30)):
        frames = "__" + word.replace("ll", "l_l") + " _______"
        state.advance(spelled(frames, TOKENS, certainty=1 - 1e-6))
        committed += len(state.commit())
        assert committed == i + 1
    assert state.words() == ()


def test_words_have_frames_and_confidence() -> None:
    state = LANGUAGE.start()
    state.advance(spelled("___aa__ __ab_", TOKENS, certainty=0.9))
    first, second = state.finish()[0].words
    # Nothing else is heard within four frames; the second word ends with the recording.
    assert (first.text, first.start_frame, first.end_frame) == ("a", 3, 8)
    assert (second.text, second.start_frame, second.end_frame) == ("ab", 10, 13)
    assert second.tokens == (("a", 10, 11), ("b", 11, 13))
    assert first.confidence == pytest.approx(0.9, abs=1e-5)
    state.advance(spelled("_a", TOKENS, certainty=0.9))  # frames go on counting
    (word,) = state.finish()[0].words
    assert (word.start_frame, word.end_frame) == (14, 15)


def test_confidence_is_the_mean_over_tokens() -> None:
    log_probs = spelled("a_b", TOKENS, certainty=0.9)
    log_probs[2] = spelled("b", TOKENS, certainty=0.4)
    state = FREE.start()
    state.advance(log_probs)
    (word,) = state.finish()[0].words
    assert word.confidence == pytest.approx(np.sqrt(0.9 * 0.4), abs=1e-5)


def test_the_peak_of_a_run_counts() -> None:
    state = FREE.start()
    state.advance(np.concatenate([spelled("_a", TOKENS, 0.6), spelled("aa", TOKENS, 0.9)]))
    (word,) = state.finish()[0].words
    assert (word.start_frame, word.end_frame) == (2, 4)
    assert word.confidence == pytest.approx(0.9, abs=1e-5)


@BOTH
@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_words_are_in_order_and_do_not_overlap(decoder: Decoder, noise: float) -> None:
    decoder = decoder.with_options(replace(decoder.options, max_ambiguity=10))
    for seed in range(10):
        log_probs = speech(seed, sentence(seed, 40), TOKENS, noise)
        committed, _, hypotheses, frames = run(decoder, log_probs, list(range(0, 400, 9)))
        end = 0
        for word in committed + hypotheses[0].words:
            assert end <= word.start_frame <= word.end_frame <= frames
            for token in word.tokens:
                assert end <= token.start_frame <= token.end_frame
                end = token.end_frame
            assert word.start_frame == word.tokens[0].start_frame
            assert word.end_frame == end
            assert 0.0 <= word.confidence <= 1.0


def test_peaks_are_the_spoken_frames() -> None:
    tokens = english_characters()
    words = ["the", "cat", "sat", "on", "the", "mat"]
    log_probs = speech(0, words, tokens, noise=1.0)
    spoken = np.flatnonzero(np.diff(np.argmax(log_probs, axis=1), prepend=0))
    state = Decoder(tokens, words=sorted(set(words))).start()
    state.advance(log_probs)
    found = state.finish()[0].words
    assert [word.text for word in found] == words
    for word in found:
        assert np.abs(spoken - word.start_frame).min() <= 1
        assert word.confidence > 0.5


@BOTH
@pytest.mark.parametrize("kind", ["speech", "noise", "flat", "no spaces", "silence"])
def test_memory_is_bounded(decoder: Decoder, kind: str) -> None:
    decoder = decoder.with_options(replace(decoder.options, max_ambiguity=100))
    blocks = {
        "speech": speech(0, sentence(0, 100), TOKENS),
        "noise": random_log_probs(0, 2000, len(TOKENS)),
        "flat": np.full((2000, len(TOKENS)), -np.log(len(TOKENS)), np.float32),
        "no spaces": np.tile(spelled("ab_l_", TOKENS, certainty=0.99), (400, 1)),
        "silence": spelled("_" * 2000, TOKENS, certainty=0.98),
    }
    block = blocks[kind]
    state = decoder.start()
    sizes = []
    while state.frames < 100_000:
        state.advance(block)
        state.commit()
        sizes.append((state.nodes, state.bytes))
    nodes, used = np.array(sizes).T
    assert nodes.max() < 6000
    assert used[len(used) // 4 :].max() <= 1.3 * used[: len(used) // 4].max()
    assert len(state.words()) < 200


def test_old_ambiguity_is_committed() -> None:
    """ "a" and "ab" stay as likely as each other: only max_ambiguity can decide."""
    ambiguous = spelled("_a__ ___", TOKENS, certainty=0.95)
    ambiguous[3] = spelled("b", TOKENS, certainty=0.5)
    ambiguous[3, 0] = ambiguous[3, 3]
    log_probs = np.concatenate([ambiguous, spelled("_" * 120, TOKENS)])
    for limit, committed in [(50, True), (1000, False)]:
        state = FREE.with_options(SearchOptions(max_ambiguity=limit)).start()
        state.advance(log_probs)
        best = state.words()
        words = state.commit()
        assert bool(words) is committed
        assert words + state.words() == best
        assert words + state.finish()[0].words == best


def test_finish_starts_afresh() -> None:
    log_probs = speech(2, sentence(2, 20), TOKENS)
    fresh = LANGUAGE.start()
    fresh.advance(log_probs)
    wanted = fresh.finish(3)
    state = LANGUAGE.start()
    state.advance(random_log_probs(1, 101, len(TOKENS)))
    state.finish()
    assert state.words() == state.commit() == ()
    state.advance(log_probs)
    assert [shift(h, -101) for h in state.finish(3)] == list(wanted)


def shift(hypothesis: Hypothesis, frames: int) -> Hypothesis:
    words = tuple(
        word._replace(
            start_frame=word.start_frame + frames,
            end_frame=word.end_frame + frames,
            spelling=tuple(
                (text, start + frames, end + frames) for text, start, end in word.spelling
            ),
        )
        for word in hypothesis.words
    )
    return hypothesis._replace(words=words)


def test_a_word_that_was_cut_is_no_reason_for_the_same_text_twice() -> None:
    """After the cut, a letter reads the same with a space before it and without."""
    decoder = FREE.with_options(SearchOptions(max_ambiguity=2, cutoff=1.0, beta=0.0))
    for seed in range(200):
        found = decoder.decode([random_log_probs(seed, 8, len(TOKENS))], n=6)[0]
        assert len({hypothesis.text for hypothesis in found}) == len(found)
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_score_counts_committed_words() -> None:
    """A long segment keeps the score of what it has let go."""
    words = sentence(3, 2000)
    log_probs = np.concatenate(
        [spelled(w.replace("ll", "l_l") + "_ _", TOKENS, certainty=1 - 1e-7) for w in words]
    )
    state = LANGUAGE.with_options(SearchOptions(alpha=0.5, beta=2.0)).start()
    state.advance(log_probs)
    assert len(state.commit()) > 1900
    assert state.nodes < 4000  # less than the tokens spoken: there was something to forget
    (best,) = state.finish()
    wanted = 0.5 * Arpa(TINY_ARPA).sentence(words) + 2.0 * len(words)
    assert best.score == pytest.approx(wanted, abs=0.05)


def test_empty_segment() -> None:
    state = LANGUAGE.start()
    state.advance(np.zeros((0, len(TOKENS)), np.float32))
    assert state.words() == ()
    (nothing,) = state.finish(4)
    assert nothing.words == ()


def test_states_are_independent() -> None:
    one, other = speech(4, sentence(4, 20), TOKENS), speech(5, sentence(5, 20), TOKENS)
    wanted = run(LANGUAGE, one, []), run(LANGUAGE, other, [])
    a, b = LANGUAGE.start(), LANGUAGE.start()
    for x, y in zip(np.array_split(one, 40), np.array_split(other, 40), strict=True):
        a.advance(x)
        b.advance(y)
    got = [(s.commit(), s.words(), s.finish(5), s.frames) for s in (a, b)]
    assert got == [(c, w, f, n) for c, w, f, n in wanted]


def test_threads_share_a_decoder() -> None:
    segments = [speech(seed, sentence(seed, 60), TOKENS, 2.0) for seed in range(8)]
    cuts = list(range(0, 700, 3))
    serial = [run(LANGUAGE, s, cuts) for s in segments]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda s: run(LANGUAGE, s, cuts), segments)) == serial


@BOTH
@pytest.mark.parametrize("threads", [1, 2, 9])
def test_a_batch_is_as_one_by_one(decoder: Decoder, threads: int) -> None:
    segments = [speech(seed, sentence(seed, 1 + 7 * seed % 50), TOKENS, 2.0) for seed in range(12)]
    alone = []
    for segment in segments:
        state = decoder.start()
        state.advance(segment)
        alone.append(state.finish(3))
    assert decoder.decode(segments, n=3, threads=threads) == alone
    states = [decoder.start() for _ in segments]
    for pieces in zip(*(np.array_split(s, 20) for s in segments), strict=True):
        advance_all(states, pieces, threads=threads)
    assert [state.finish(3) for state in states] == alone
    assert decoder.decode([]) == []
    advance_all([], [])


def test_a_bad_batch_changes_no_stream() -> None:
    good, bad = spelled("ab", TOKENS), np.full((2, len(TOKENS)), np.nan, np.float32)
    states = [LANGUAGE.start() for _ in range(3)]
    for blocks, message in [
        ([good, good, bad], "is -?nan"),
        ([good, good], "each of the 3 states, got 2"),
        ([good, good, good[:, :2]], "got shape"),
    ]:
        with pytest.raises(DecoderError, match=message):
            advance_all(states, blocks, threads=2)
        assert [state.frames for state in states] == [0, 0, 0]
    with pytest.raises(DecoderError, match="twice at once"):
        advance_all([states[0], states[0]], [good, good])
    for stranger in (None, LANGUAGE, DecoderState(None)):  # type: ignore[arg-type]
        with pytest.raises(DecoderError, match=r"needed a SearchState|must be DecoderStates"):
            advance_all([states[0], stranger], [good, good])  # type: ignore[list-item]
    for threads in (0, -1):
        with pytest.raises(DecoderError, match="threads must be 1 or more"):
            advance_all(states, [good] * 3, threads=threads)
        with pytest.raises(DecoderError, match="threads must be 1 or more"):
            LANGUAGE.decode([good], threads=threads)
    with pytest.raises(DecoderError, match=r"is -?nan"):
        LANGUAGE.decode([good, bad], threads=2)
    advance_all(states, [good] * 3)
    assert [state.finish()[0].text for state in states] == ["ab"] * 3


def test_two_threads_in_one_state_are_refused() -> None:
    tokens = TokenSet(("<blank>", " ", *(chr(0x4E00 + i) for i in range(500))))
    decoder = Decoder(tokens, options=SearchOptions(beam=500, cutoff=1.0))
    state = decoder.start()
    log_probs = random_log_probs(0, 400, len(tokens))
    thread = threading.Thread(target=state.advance, args=(log_probs,))
    thread.start()
    with pytest.raises(DecoderError, match="twice at once"):  # noqa: PT012
        while thread.is_alive():
            state.words()
    thread.join()
    assert state.frames == 400


def test_committing_needs_no_hypothesis_left() -> None:
    """Frames that the lexicon cannot use at all leave the decoder alive and its scores finite."""
    log_probs = np.full((50, len(TOKENS)), -np.inf, np.float32)
    log_probs[:, TOKENS.tokens.index("b")] = 0.0  # no word begins with b
    state = LANGUAGE.start()
    state.advance(log_probs)
    (best,) = state.finish()
    assert best.words == ()
    assert np.isfinite(best.score)
