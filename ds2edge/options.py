"""What can be chosen: for a Transcriber, and for each stream and while it runs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args, get_type_hints

from ds2edge.errors import ConfigError

RuntimeName: TypeAlias = Literal["auto", "litert", "litert-interpreter", "tflite-runtime"]  # on CPU
Device: TypeAlias = Literal["auto", "cpu", "gpu"]  # where it runs
Precision: TypeAlias = Literal["auto", "int8", "fp16", "fp32"]  # of its weights, or on a GPU
Library: TypeAlias = str | os.PathLike[str]  # path of a shared library, or its name


def option(default: Any, help: str, metavar: str = "") -> Any:
    """A field of options, of which a flag is made; a callable makes its default."""
    metadata = {"help": help, "metavar": metavar}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class StreamOptions:
    """What can differ from stream to stream, and with `Stream.set_options` while one runs.

    None: as the bundle was tuned.

    Raises:
        ConfigError: a value is impossible.
    """

    language_model: bool = option(True, "use the bundle's lexicon and language model")
    alpha: float | None = option(None, "weight of the language model")
    beta: float | None = option(None, "added to the score for each word")
    beam: int | None = option(None, "hypotheses kept at each step")
    boost: Mapping[str, float] = option(dict, "phrases to listen for, and how much in nats")
    add_words: Sequence[str] = option(tuple, "words or phrases that the lexicon may lack")
    vocabulary: Sequence[str] = option(tuple, "hear nothing but these phrases")
    unknown: float | None = option(None, "cost in nats of words that are not in the vocabulary")
    alternatives: int = option(0, "further readings that each final carries")
    silence_before: float = option(10.0, "seconds of silence that end a segment without words")
    silence_after: float = option(0.6, "seconds of silence after words that end a segment")
    longest: float = option(30.0, "seconds after which ever shorter pauses end a segment")

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


@dataclass(frozen=True)
class BackendOptions:
    """How a bundle's acoustic model is run.

    Raises:
        ConfigError: a value is impossible.
    """

    backend: RuntimeName = option("auto", "runtime on the CPU; auto: the fastest installed one")
    device: Device = option("auto", "auto: a GPU where there is one that is faster")
    precision: Precision = option("auto", "of the model; auto: the fastest that the bundle has")
    strict: bool = option(False, "fail where the GPU or delegate asked for cannot be used")
    delegate: Library | None = option(None, "library that tflite-runtime gives the model to")

    def __post_init__(self) -> None:
        hints = get_type_hints(BackendOptions)
        for name in ("backend", "device", "precision"):
            allowed = get_args(hints[name])
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}"
                )
        if not isinstance(self.strict, bool):
            raise ConfigError(f"strict must be True or False, got {self.strict!r}")
        if self.delegate is not None and not isinstance(self.delegate, str | os.PathLike):
            raise ConfigError(f"delegate must be the path of a library, got {self.delegate!r}")
        if self.delegate is not None and self.device == "cpu":
            raise ConfigError("a delegate and device 'cpu' exclude each other")

    def plain(self) -> dict[str, Any]:
        """Those that were changed, by name."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) != f.default}
