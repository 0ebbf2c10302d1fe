"""Learn from a teacher: its posteriors, step by step, beside CTC (Hinton et al. 2015).

A teacher that hears both ways says a sound when it is there; a student that only looks ahead a
little may need to say it later. `shift` is by how many steps: the student's step t + shift is
compared with the teacher's step t. Nothing is compared with the student's first `shift` steps, and
no step of the student is left for the teacher's last ones, which are silence in most recordings.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ds2edge.training.config import DistillConfig
from ds2edge.training.network.layers import step_mask
from ds2edge.training.network.model import AcousticModel, output_lengths

Tensor = Any


def distillation_loss(
    logits: Tensor, teacher: Tensor, steps: Tensor, shift: int, temperature: float
) -> Tensor:
    """Kullback-Leibler divergence of student from teacher, summed over the steps of a recording.

    Args:
        logits: of the student, shape = (batch, longest steps, tokens).
        teacher: log-probabilities, of the same shape.
        steps: valid ones, shape = (batch,).
        temperature: both are divided by it; the loss is multiplied by its square, so that the
            gradient keeps its size.

    Returns: shape = (batch,).
    """
    count = ops.shape(logits)[1]
    later = ops.pad(teacher, ((0, 0), (shift, 0), (0, 0)))[:, :count]
    wanted = ops.log_softmax(ops.cast(later, "float32") / temperature)
    found = ops.log_softmax(ops.cast(logits, "float32") / temperature)
    divergence = ops.sum(ops.exp(wanted) * (wanted - found), axis=-1)
    told = step_mask(steps, count) * ops.cast(ops.arange(count) >= shift, "float32")
    return temperature**2 * ops.sum(divergence * told, axis=1)


class Distillation(keras.Model):
    """What is trained where there is a teacher: a model, or one with auxiliary outputs.

    Inputs and output are those of what it wraps. Targets: also `teacher`, log-probabilities of
    shape = (batch, steps, tokens), and `labelled`, shape = (batch,), 0 for recordings without text.
    """

    def __init__(
        self, objective: keras.Model, model: AcousticModel, settings: DistillConfig
    ) -> None:
        super().__init__()
        self.objective, self.settings, self.model_config = objective, settings, model.config

    def call(self, inputs: dict[str, Tensor], training: bool = False) -> Any:
        return self.objective(inputs, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """CTC and divergence, weighted: both sums over the batch, per token of its texts."""
        logits = y_pred[0] if isinstance(y_pred, list) else y_pred
        steps, settings = output_lengths(x["frames"], self.model_config), self.settings
        divergence = distillation_loss(
            logits, y["teacher"], steps, settings.shift, settings.temperature
        )
        tokens = ops.cast(ops.sum(y["lengths"]) + ops.shape(divergence)[0], "float32")
        ctc = self.objective.compute_loss(x, y, y_pred)
        return (1 - settings.weight) * ctc + settings.weight * ops.sum(divergence) / tokens
