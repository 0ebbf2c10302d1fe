"""Which models `ds2edge convert` can make a step graph of."""

from __future__ import annotations

from ds2edge.errors import ConfigError
from ds2edge.training.config import ModelConfig


def check_convertible(config: ModelConfig) -> None:
    """Refuse a model that can be trained only.

    Raises:
        ConfigError: what is needed, or what to do.
    """
    if found := obstacle(config):
        raise ConfigError(found)


def obstacle(config: ModelConfig) -> str:
    """Why a model cannot be converted; empty: it can."""
    if config.direction == "both":
        return (
            'a model of direction = "both" answers when it has heard the end and cannot run on a '
            "stream: distil it into a forward model (ds2edge distill) and convert that one"
        )
    needed = {"cell": "gru", "candidate": "tanh", "connected": 0}
    for key, value in needed.items():
        if getattr(config, key) != value:
            return (
                f"models of {key} = {getattr(config, key)!r} can be trained, not converted; "
                f"needed {value!r}"
            )
    if config.norm == "input" or not config.look_ahead:
        return 'models of norm = "input" or look_ahead = 0 can be trained, not converted'
    return ""
