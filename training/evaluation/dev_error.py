"""The figure on dev that tells how far training is, and which checkpoint is the best."""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

from ds2edge.text import collapse
from ds2edge.training.config import TrainConfig
from ds2edge.training.data.batches import Recordings, plain_batches
from ds2edge.training.evaluation.metrics import ErrorRate, character_error_rate
from ds2edge.training.network.model import AcousticModel, output_lengths, token_set
from ds2edge.training.step import inputs
from ds2edge.training.workers import ALONE, Workers


def dev_error(
    model: AcousticModel,
    recordings: Recordings,
    config: TrainConfig,
    between: Callable[[], None] = lambda: None,
    workers: Workers = ALONE,
) -> ErrorRate:
    """Character error rate of the best path; calls `between` before each batch.

    Each worker recognises some of the batches.
    """
    tokens = token_set(config.model)
    wanted: list[str] = []
    said: list[str] = []
    rate = config.features.frame_rate
    for number, batch in enumerate(plain_batches(recordings, config.data, rate)):
        between()
        if number % workers.count != workers.index:
            continue
        logits = ops.convert_to_numpy(model.predict_on_batch(inputs(batch)))
        lengths = output_lengths(batch.frames, config.model)
        for path, length in zip(logits.argmax(-1), lengths, strict=True):
            said.append(tokens.decode(collapse(path[:length].tolist())))
        for text, length in zip(batch.tokens, batch.lengths, strict=True):
            wanted.append(tokens.decode(text[:length].tolist()))
    own = character_error_rate(wanted, said) if wanted else ErrorRate(0, 0)
    return ErrorRate(*workers.counts(own.errors, own.length))
