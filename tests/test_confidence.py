"""Word confidence: correct words, the fit, and the figures that judge it."""

from __future__ import annotations

import numpy as np
import pytest

from ds2edge.errors import DataError
from ds2edge.training.confidence import (
    auroc,
    calibration_error,
    confidence,
    correct_words,
    fit,
    reliability,
)

TRUE = np.array([0.5, 1.0, -0.4, 0.05])  # bias, weights


def words(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features on very different scales, and words that are correct as `TRUE` says."""
    rng = np.random.default_rng(seed)
    features = rng.normal([0.0, -3.0, 40.0], [0.5, 2.0, 20.0], (count, 3))
    return features, rng.random(count) < confidence(features, TRUE)


@pytest.mark.parametrize(
    ("wanted", "said", "correct"),
    [
        ("a b c", "a b c", [True, True, True]),
        ("a b c", "a x c", [True, False, True]),
        ("a b c", "a c", [True, True]),
        ("a c", "a b c", [True, False, True]),
        ("a b", "b a b", [False, True, True]),
        ("", "a", [False]),
        ("a", "", []),
    ],
)
def test_correct_words_are_those_an_alignment_keeps(
    wanted: str, said: str, correct: list[bool]
) -> None:
    assert correct_words(wanted.split(), said.split()) == correct


def test_fit_recovers_the_coefficients_of_the_words() -> None:
    np.testing.assert_allclose(fit(*words(100_000, seed=1)), TRUE, rtol=0.05, atol=0.02)


def test_fit_is_calibrated_on_other_words() -> None:
    features, correct = words(5000, seed=3)
    confidences = confidence(features, fit(*words(1000, seed=2)))
    assert calibration_error(confidences, correct) < 0.04
    assert calibration_error(confidences, correct, equal_mass=True) < 0.04
    assert calibration_error(confidences**4, correct) > 0.1


def test_fit_does_not_care_about_the_features_units() -> None:
    features, correct = words(500, seed=4)
    one, other = fit(features, correct), fit(features * 1000 + 7, correct)
    np.testing.assert_allclose(
        confidence(features, one), confidence(features * 1000 + 7, other), rtol=1e-6
    )


def test_a_constant_feature_weighs_nothing() -> None:
    features, correct = words(500, seed=5)
    found = fit(np.column_stack([features, np.full(500, 3.3)]), correct)
    np.testing.assert_allclose(found, [*fit(features, correct), 0.0], rtol=1e-6)


def test_words_that_a_feature_tells_apart_do_not_make_it_infinite() -> None:
    correct = np.arange(40) % 2 == 0
    confidences = confidence(correct[:, None], fit(correct[:, None], correct))
    assert (np.abs(confidences - 0.5) > 0.3).all()
    assert ((confidences > 0.0) & (confidences < 1.0)).all()


@pytest.mark.parametrize(
    ("features", "correct", "message"),
    [
        ([[1.0], [np.nan]], [True, False], "1 words are not finite"),
        ([[1.0], [2.0]], [True, True], "all correct"),
        ([[1.0], [2.0]], [False, False], "all wrong"),
        ([[1.0], [2.0]], [True], "shapes"),
        ([1.0, 2.0], [True, False], "shapes"),
        (np.zeros((0, 2)), [], "shapes"),
    ],
)
def test_fit_refuses_what_tells_nothing(
    features: list[list[float]], correct: list[bool], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        fit(features, correct)


def test_calibration_error_of_bins_counted_by_hand() -> None:
    confidences, correct = [0.05, 0.95, 0.95, 0.95, 1.0], [False, True, True, False, True]
    found = reliability(confidences, correct)
    assert [count for count, _, _ in found] == [1, *[0] * 8, 4]
    assert found[-1][1:] == pytest.approx((0.9625, 0.75))
    assert calibration_error(confidences, correct) == pytest.approx(0.2 * 0.05 + 0.8 * 0.2125)


def test_auroc_counts_ordered_pairs() -> None:
    assert auroc([0.1, 0.2, 0.3], [False, True, True]) == 1.0
    assert auroc([0.1, 0.2, 0.3, 0.2], [True, True, False, False]) == pytest.approx(0.5 / 4)
    assert auroc([0.5, 0.5], [True, False]) == 0.5
    with pytest.raises(DataError, match="all correct"):
        auroc([0.1, 0.2], [True, True])
