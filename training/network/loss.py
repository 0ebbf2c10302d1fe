"""Connectionist temporal classification (Graves et al. 2006)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import keras
from keras import ops

from ds2edge.text import BLANK

Tensor = Any


def ctc_loss(logits: Tensor, steps: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    """-log p(tokens | logits) of each recording.

    Args:
        logits: shape = (batch, longest steps, token set).
        steps: valid steps, shape = (batch,), int32.
        tokens: padded with the blank, shape = (batch, longest text), int32.
        lengths: valid tokens, shape = (batch,), int32.

    Returns: shape = (batch,).
    """
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_ctc(logits, steps, tokens, lengths)
    return ops.ctc_loss(tokens, logits, lengths, steps, mask_index=BLANK)


def alignable(tokens: list[int], steps: int) -> bool:
    """Whether CTC can align the text: each token takes a step, each repeat one blank more."""
    repeats = sum(a == b for a, b in pairwise(tokens))
    return len(tokens) + repeats <= steps


def _tensorflow_ctc(logits: Tensor, steps: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    """TensorFlow's C++ kernel, reached through sparse labels: 5 times faster than the dense way."""
    import tensorflow as tf

    # The kernel refuses empty texts: they get a stand-in, and their loss is that of all blanks.
    empty = tf.equal(lengths, 0)
    tokens = tf.where(empty[:, None], tf.ones_like(tokens), tokens)
    mask = tf.sequence_mask(tf.maximum(lengths, 1), tf.shape(tokens)[1])
    sparse = tf.SparseTensor(
        tf.where(mask),
        tf.cast(tf.boolean_mask(tokens, mask), tf.int32),
        tf.shape(tokens, tf.int64),
    )
    losses = tf.nn.ctc_loss(
        sparse,
        logits,
        label_length=None,
        logit_length=tf.cast(steps, tf.int32),
        logits_time_major=False,
        blank_index=BLANK,
    )
    blanks = tf.nn.log_softmax(logits)[:, :, BLANK]
    valid = tf.sequence_mask(steps, tf.shape(logits)[1], dtype=blanks.dtype)
    return tf.where(empty, -tf.reduce_sum(blanks * valid, axis=1), losses)
