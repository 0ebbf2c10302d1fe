"""Bootstrap intervals and paired comparison, on data of which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2edge.errors import DataError
from ds2edge.training.evaluation.bootstrap import (
    LEAST_UNITS,
    Bootstrap,
    Difference,
    paired,
    rate_interval,
)

FEW = Bootstrap(samples=1000)
RATE = 0.2


def utterances(
    rng: np.random.Generator, count: int, rate: float = RATE
) -> tuple[np.ndarray, np.ndarray]:
    """Errors and words of utterances of 5 to 25 words."""
    words = rng.integers(5, 26, size=count)
    return rng.binomial(words, rate), words


def speakers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """30 speakers of 20 utterances each, some much harder to understand than others."""
    rates = rng.beta(2, 8, size=30)  # mean 0.2
    names = np.repeat(np.arange(30), 20)
    words = np.full(len(names), 15)
    return rng.binomial(words, rates[names]), words, [str(name) for name in names]


def test_equal_utterances_leave_no_doubt() -> None:
    found = rate_interval(np.full(50, 2), np.full(50, 10))
    assert found == (0.2, 0.2)


def test_interval_of_independent_words_is_the_binomial_one() -> None:
    errors = np.array([1] * 80 + [0] * 320)
    low, high = rate_interval(errors, np.ones(400, int))
    half = 1.96 * np.sqrt(RATE * (1 - RATE) / 400)
    assert low == pytest.approx(RATE - half, abs=0.005)
    assert high == pytest.approx(RATE + half, abs=0.005)


def test_95_percent_intervals_hold_the_truth_95_times_of_100() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        low, high = rate_interval(*utterances(rng, 100), bootstrap=FEW)
        held += low <= RATE <= high
    assert 0.92 <= held / 400 <= 0.98


def test_where_speakers_differ_only_drawing_speakers_is_honest() -> None:
    rng = np.random.default_rng(2)
    held = {"utterance": 0, "speaker": 0}
    for _ in range(200):
        errors, words, names = speakers(rng)
        for unit in held:
            low, high = rate_interval(errors, words, names, Bootstrap(unit, samples=500))
            held[unit] += low <= RATE <= high
    assert held["speaker"] / 200 >= 0.9
    assert held["utterance"] / 200 < 0.7


def test_a_lower_level_is_a_narrower_interval_inside() -> None:
    data = utterances(np.random.default_rng(3), 60)
    wide, narrow = (rate_interval(*data, bootstrap=Bootstrap(level=x)) for x in (0.95, 0.68))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_seed_decides() -> None:
    data = utterances(np.random.default_rng(4), 60)
    assert rate_interval(*data) == rate_interval(*data)
    assert rate_interval(*data) != rate_interval(*data, bootstrap=Bootstrap(seed=1))


@pytest.mark.parametrize("count", [1, LEAST_UNITS - 1])
def test_few_utterances_or_speakers_have_no_interval(count: int) -> None:
    assert rate_interval(np.arange(count), np.full(count, 9)) is None
    names = [str(i % count) for i in range(40)]
    drawn = Bootstrap("speaker")
    assert rate_interval(np.arange(40), np.full(40, 50), names, drawn) is None
    assert paired(np.arange(40), np.zeros(40, int), np.full(40, 50), names, drawn).interval is None


def test_silence_alone_has_no_interval() -> None:
    assert rate_interval(np.ones(50, int), np.zeros(50, int)) is None


def test_speakers_are_needed_to_draw_them() -> None:
    with pytest.raises(DataError, match="a speaker for each of 9"):
        rate_interval(np.arange(9), np.arange(9), ["a"], Bootstrap("speaker"))


def test_many_utterances_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    data = utterances(np.random.default_rng(5), 300)
    whole = rate_interval(*data, bootstrap=FEW)
    monkeypatch.setattr("ds2edge.training.evaluation.bootstrap.CHUNK", 7 * 300)
    assert rate_interval(*data, bootstrap=FEW) == pytest.approx(whole, abs=0.005)


def test_a_planted_difference_is_found() -> None:
    rng = np.random.default_rng(6)
    errors, words = utterances(rng, 200)
    better = errors - rng.binomial(errors, 0.2)  # every fifth error mended
    found = paired(errors, better, words)
    assert found.rate == pytest.approx((better.sum() - errors.sum()) / words.sum())
    assert found.interval.low < found.rate < found.interval.high < 0
    assert found.p < 0.001
    assert (found.wins, found.losses) == ((better < errors).sum(), 0)
    assert found.wins + found.ties == 200


def test_two_equal_systems_differ_as_seldom_as_the_p_value_says() -> None:
    rng = np.random.default_rng(7)
    p, outside = [], 0
    for _ in range(300):
        errors, words = utterances(rng, 80)
        found = paired(errors, rng.binomial(words, RATE), words, bootstrap=FEW)
        p.append(found.p)
        outside += not found.interval.low <= 0 <= found.interval.high
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.09
    assert 0.4 <= np.mean(np.array(p) < 0.5) <= 0.6
    assert 0.02 <= outside / 300 <= 0.1


def test_pairing_sees_what_two_intervals_do_not() -> None:
    rng = np.random.default_rng(8)
    errors, words = utterances(rng, 100)
    better = np.maximum(errors - (rng.random(100) < 0.3), 0)
    first, second = rate_interval(errors, words), rate_interval(better, words)
    assert first.low < second.high  # they overlap
    assert paired(errors, better, words).interval.high < 0


def test_one_speaker_more_often_right_is_no_evidence_about_others() -> None:
    words = np.full(200, 10)
    names = ["a"] * 100 + ["b"] * 100
    worse = np.ones(200, int)
    better = worse - (np.arange(200) < 100)
    assert paired(worse, better, words, names, Bootstrap("speaker")).p > 0.4
    assert paired(worse, better, words, names).p < 0.001


def test_the_same_answers_are_no_difference() -> None:
    errors, words = utterances(np.random.default_rng(9), 30)
    found = paired(errors, errors, words)
    assert found == Difference(0.0, (0.0, 0.0), 1.0, wins=0, losses=0, ties=30)


counts = st.lists(
    st.tuples(
        st.integers(0, 20), st.integers(0, 20), st.integers(1, 30), st.sampled_from("abcdefg")
    ),
    min_size=1,
    max_size=40,
)


@given(counts, st.sampled_from(["utterance", "speaker"]))
def test_swapping_the_systems_turns_the_difference_around(rows: list, unit: str) -> None:
    first, second, words, names = (list(column) for column in zip(*rows, strict=True))
    arrays = [np.array(column) for column in (first, second, words)]
    drawn = Bootstrap(unit, samples=200)
    one = paired(arrays[0], arrays[1], arrays[2], names, drawn)
    other = paired(arrays[1], arrays[0], arrays[2], names, drawn)
    assert one.rate == pytest.approx(-other.rate)
    assert one.p == other.p
    assert 0 < one.p <= 1
    assert (one.wins, one.losses, one.ties) == (other.losses, other.wins, other.ties)
    assert (one.interval is None) == (other.interval is None)
    if one.interval:
        assert one.interval == pytest.approx((-other.interval.high, -other.interval.low))
