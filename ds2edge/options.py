"""StreamOptions: what can differ from stream to stream, and while a stream runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ds2edge.errors import ConfigError


def _option(default: Any, help: str) -> Any:
    if callable(default):
        return field(default_factory=default, metadata={"help": help})
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class StreamOptions:
    """What can differ from stream to stream, and with `Stream.set_options` while one runs.

    None: as the bundle was tuned.

    Raises:
        ConfigError: a value is impossible.
    """

    language_model: bool = _option(True, "use the bundle's lexicon and language model")
    alpha: float | None = _option(None, "weight of the language model")
    beta: float | None = _option(None, "added to the score for each word")
    beam: int | None = _option(None, "hypotheses kept at each step")
    boost: Mapping[str, float] = _option(dict, "phrases to listen for, and how much in nats")
    add_words: Sequence[str] = _option(tuple, "words or phrases that the lexicon may lack")
    vocabulary: Sequence[str] = _option(tuple, "hear nothing but these phrases")
    unknown: float | None = _option(None, "cost in nats of words that are not in the vocabulary")
    alternatives: int = _option(0, "further readings that each final carries")
    silence_before: float = _option(10.0, "seconds of silence that end a segment without words")
    silence_after: float = _option(0.6, "seconds of silence after words that end a segment")
    longest: float = _option(30.0, "seconds after which ever shorter pauses end a segment")

    def __post_init__(self) -> None:
        for name in ("silence_before", "silence_after", "longest"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigError(f"{name} must be more than 0 seconds, got {value!r}")
        if not isinstance(self.alternatives, int) or not 0 <= self.alternatives <= 1000:
            raise ConfigError(f"alternatives must be from 0 to 1000, got {self.alternatives!r}")
        for name in ("add_words", "vocabulary"):
            if isinstance(getattr(self, name), str | bytes):
                raise ConfigError(f"{name} must be a list of phrases, got {getattr(self, name)!r}")
        if not isinstance(self.boost, Mapping):
            raise ConfigError(f"boost must map phrases to numbers, got {self.boost!r}")

    @classmethod
    def without_endpoints(cls, **options: Any) -> StreamOptions:
        """Segments end at `flush` and `finish` only."""
        never = {"silence_before": math.inf, "silence_after": math.inf, "longest": math.inf}
        return cls(**{**never, **options})
