"""A model with outputs for more characters than it was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from keras import ops

from ds2edge.text import SPACE_TOKEN, TokenSet, normalise, with_tokens
from ds2edge.training.checkpoint import Checkpoint, assign, variables
from ds2edge.training.network.model import build_model, token_set

SHARE = 0.1  # how likely an accented letter is at first, in parts of the letter without its accent


def with_outputs(checkpoint: Checkpoint, characters: Sequence[str]) -> Checkpoint:
    """The same model with an output for each character, ready to be trained on.

    A letter with an accent begins as the letter without it, much rarer; any other character as the
    mean of all letters, which is likely nowhere. What the model said before, it still says.

    Raises:
        TextError: one is no letter in lower case nor digit, or has an output already.
    """
    config, tokens = checkpoint.config, token_set(checkpoint.config.model)
    added = with_tokens(tokens, characters).tokens[len(tokens) :]
    source = build_model(config.model, config.features)
    assign(source, checkpoint.weights)
    more = replace(config.model, extra_tokens=(*config.model.extra_tokens, *added))
    model = build_model(more, config.features)
    head, bias = (ops.convert_to_numpy(v) for v in (source.head, source.head_bias))
    rows = [_relatives(character, tokens) for character in added]
    for variable, given in zip(model.variables, source.variables, strict=True):
        value = ops.convert_to_numpy(given)
        if variable is model.head:
            value = np.column_stack([head, *(head[:, row].mean(axis=1) for row in rows)])
        elif variable is model.head_bias:
            rarer = [np.log(SHARE) if len(row) == 1 else 0.0 for row in rows]
            value = np.append(bias, [bias[r].mean() + x for r, x in zip(rows, rarer, strict=True)])
        variable.assign(value)
    return replace(
        checkpoint, config=replace(config, model=more), weights=variables(model), training={}
    )


def _relatives(character: str, tokens: TokenSet) -> list[int]:
    """The token that it would be spelled with, or all that stand for a letter."""
    spelled = normalise(character, tokens)
    if len(spelled) == 1:
        return tokens.encode(spelled)
    names = enumerate(tokens.tokens)
    return [i for i, name in names if len(name) == 1 and name != SPACE_TOKEN and name.isalnum()]
