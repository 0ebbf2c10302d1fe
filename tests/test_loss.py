"""CTC: the loss and its gradient against TensorFlow's own kernel, and texts that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ds2edge.training.network.loss import alignable, ctc_loss

Array = np.ndarray[Any, Any]


def loss_and_gradient(
    logits: Array, steps: Any, tokens: Array, lengths: Any, silent: int = 0
) -> Any:
    """Of the losses weighted 1, 2, 3 and so on."""
    variable = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        counts = np.array(steps, "i4"), np.array(lengths, "i4")
        losses = ctc_loss(variable, counts[0], tokens, counts[1], silent)
        total = tf.reduce_sum(losses * np.arange(1, len(logits) + 1, dtype="f4"))
    return losses.numpy(), tape.gradient(total, variable).numpy()


def of_tensorflow(logits: Array, text: list[int]) -> Any:
    """TensorFlow's kernel on one recording, without padding."""
    variable = tf.constant(logits[None])
    with tf.GradientTape() as tape:
        tape.watch(variable)
        sparse = tf.sparse.from_dense(np.array([text], "i4"))
        loss = tf.nn.ctc_loss(
            sparse, variable, None, [len(logits)], logits_time_major=False, blank_index=0
        )
    return loss.numpy()[0], tape.gradient(loss, variable).numpy()[0]


TEXTS = st.lists(st.lists(st.integers(1, 4), max_size=6), min_size=1, max_size=4)


@settings(max_examples=15)
@given(texts=TEXTS, more=st.integers(0, 3), seed=st.integers(0, 99))
def test_loss_and_gradient_are_those_of_the_kernel(
    texts: list[list[int]], more: int, seed: int
) -> None:
    """Padded with large numbers, in batches with empty texts and such as do not fit."""
    rng = np.random.default_rng(seed)
    steps = [max(1, len(text) + more - i) for i, text in enumerate(texts)]
    logits = np.full((len(texts), max(steps), 5), 1e3, "f4")
    tokens = np.zeros((len(texts), max(1, *map(len, texts))), "i4")
    for row, text_row, n, text in zip(logits, tokens, steps, texts, strict=True):
        row[:n] = rng.normal(0, 3, (n, 5))
        text_row[: len(text)] = text
    losses, gradient = loss_and_gradient(logits, steps, tokens, [len(text) for text in texts])
    for i, (n, text) in enumerate(zip(steps, texts, strict=True)):
        wanted, slope = 0.0, np.zeros((n, 5))
        if text and alignable(text, n):
            wanted, slope = of_tensorflow(logits[i, :n], text)
        elif not text:  # the kernel takes none
            log_probs = tf.nn.log_softmax(logits[i, :n]).numpy()
            wanted, slope = -log_probs[:, 0].sum(), np.exp(log_probs) - np.eye(5)[0]
        assert losses[i] == pytest.approx(wanted, rel=1e-4, abs=1e-4)
        np.testing.assert_allclose(gradient[i, :n], (i + 1) * slope, atol=1e-3)
        assert not gradient[i, n:].any()


def test_a_text_that_does_not_fit_has_no_loss_and_no_gradient() -> None:
    logits = np.zeros((3, 4, 3), "f4")
    tokens = np.array([[1, 1, 2, 0], [1, 2, 1, 2], [2, 2, 2, 0]], "i4")
    losses, gradient = loss_and_gradient(logits, [3, 4, 4], tokens, [3, 4, 3])
    assert losses.tolist() == [0, pytest.approx(4 * np.log(3)), 0]
    assert gradient[1].any()
    assert not gradient[[0, 2]].any()


def test_certain_logits_give_numbers() -> None:
    logits = np.zeros((2, 6, 3), "f4")
    logits[0, :, 1], logits[1, :, 0] = 1e5, -1e5  # sure of a wrong path; no blank at all
    tokens = np.array([[2, 2], [1, 0]], "i4")
    losses, gradient = loss_and_gradient(logits, [6, 6], tokens, [2, 1])
    assert losses[0] > 2e5
    assert losses[1] == pytest.approx(6 * np.log(2), rel=1e-4)
    assert np.isfinite(gradient).all()


def test_no_step_at_all() -> None:
    losses, gradient = loss_and_gradient(
        np.ones((2, 2, 3), "f4"), [0, 2], np.zeros((2, 1), "i4"), [0, 0]
    )
    assert losses.tolist() == [0, pytest.approx(2 * np.log(3))]
    assert not gradient[0].any()


@settings(max_examples=15)
@given(texts=TEXTS, silent=st.integers(1, 4), more=st.integers(1, 6), seed=st.integers(0, 99))
def test_silent_steps_are_blanks_before_the_text(
    texts: list[list[int]], silent: int, more: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    longest = max(map(len, texts)) + silent + more
    logits = rng.normal(0, 3, (len(texts), longest, 5)).astype("f4")
    tokens = np.zeros((len(texts), max(1, *map(len, texts))), "i4")
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = text
    lengths, steps = [len(text) for text in texts], [longest] * len(texts)
    losses, gradient = loss_and_gradient(logits, steps, tokens, lengths, silent)
    rest = [longest - silent] * len(texts)
    wanted, slope = loss_and_gradient(logits[:, silent:], rest, tokens, lengths)
    blanks = tf.nn.log_softmax(logits[:, :silent]).numpy()
    fits = np.array([alignable(text, longest - silent) for text in texts])
    weights = fits * np.arange(1, len(texts) + 1)
    np.testing.assert_allclose(losses, wanted - fits * blanks[..., 0].sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(gradient[:, silent:], slope, atol=1e-3)
    early = weights[:, None, None] * (np.exp(blanks) - np.eye(5)[0])
    np.testing.assert_allclose(gradient[:, :silent], early, atol=1e-3)
