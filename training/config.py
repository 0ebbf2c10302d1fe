"""Training configurations: a TOML file, checked key by key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ds2edge.errors import ConfigError
from ds2edge.features import FeatureSettings
from ds2edge.plain_values import from_dict


def _at_least(lowest: float, owner: object, *names: str) -> None:
    for name in names:
        if not getattr(owner, name) >= lowest:  # NaN too
            kind = type(owner).__name__
            raise ConfigError(f"{kind}.{name} needs {lowest} or more, got {getattr(owner, name)}")


@dataclass(frozen=True)
class Convolution:
    """One causal 2-D convolution over time and frequency."""

    channels: int = 32
    time: int = 7  # kernel, in frames
    frequency: int = 5  # kernel, in bins
    time_stride: int = 1
    frequency_stride: int = 2

    def __post_init__(self) -> None:
        _at_least(1, self, "channels", "time", "frequency", "time_stride", "frequency_stride")
        if self.time < self.time_stride:
            raise ConfigError(f"a kernel of {self.time} frames cannot step by {self.time_stride}")


@dataclass(frozen=True)
class ModelConfig:
    """The deployed form of Deep Speech 2: causal convolutions, forward GRU, row convolution."""

    convolutions: tuple[Convolution, ...] = (
        Convolution(time=7, frequency=5, time_stride=3),
        Convolution(time=3, frequency=5),
    )
    layers: int = 4  # recurrent layers
    units: int = 384  # of each recurrent layer
    look_ahead: int = 10  # output steps that the row convolution sees of the future
    dropout: float = 0.1  # on the input of every recurrent layer but the first, and of the output
    tokens: Literal["english_characters"] = "english_characters"

    def __post_init__(self) -> None:
        _at_least(1, self, "layers", "units", "look_ahead")
        _at_least(0, self, "dropout")
        if not self.convolutions or self.dropout >= 1:
            raise ConfigError("model needs a convolution or more, and dropout below 1")

    @property
    def time_stride(self) -> int:
        """Input frames for each output step."""
        stride = 1
        for convolution in self.convolutions:
            stride *= convolution.time_stride
        return stride


@dataclass(frozen=True)
class Corpus:
    """A folder below the data folder, with a manifest.tsv."""

    folder: str
    repeat: int = 1  # how often an epoch sees each recording

    def __post_init__(self) -> None:
        _at_least(1, self, "repeat")


@dataclass(frozen=True)
class DataConfig:
    """What a model learns from."""

    train: tuple[Corpus, ...] = ()
    dev: tuple[Corpus, ...] = ()
    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)  # one is drawn for each recording and epoch
    levels: tuple[float, ...] = ()  # dB, least and most gain, drawn for each; empty: none
    batch_seconds: float = 150.0  # audio in a batch, padding included
    batch_size: int = 64  # recordings in a batch, at most
    longest: float = 20.0  # seconds; longer recordings are left out

    def __post_init__(self) -> None:
        _at_least(1, self, "batch_seconds", "batch_size")
        _at_least(0.1, self, "longest")
        if not self.speeds or not all(0.25 <= speed <= 4 for speed in self.speeds):
            raise ConfigError(f"data.speeds needs numbers from 0.25 to 4, got {self.speeds}")
        if self.levels and not (
            len(self.levels) == 2 and -60 <= self.levels[0] <= self.levels[1] <= 30
        ):
            raise ConfigError(
                f"data.levels needs two gains from -60 to 30 dB, rising, got {self.levels}"
            )


@dataclass(frozen=True)
class AugmentConfig:
    """SpecAugment (arXiv 1904.08779): masked stripes of frequency and time."""

    frequency_masks: int = 2
    frequency_width: int = 16  # bins, at most
    time_masks: int = 4
    time_width: float = 0.05  # of the recording's length, at most

    def __post_init__(self) -> None:
        _at_least(0, self, "frequency_masks", "frequency_width", "time_masks", "time_width")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and a cosine to zero."""

    epochs: int = 20
    learning_rate: float = 2e-3
    warm_up: int = 300  # steps
    weight_decay: float = 1e-3
    clip_norm: float = 2.0
    averaging: float = 0.998  # of the exponential moving average that is evaluated and kept
    precision: Literal["float32", "bfloat16"] = "bfloat16"  # of matrix products
    seed: int = 1

    def __post_init__(self) -> None:
        _at_least(1, self, "epochs")
        _at_least(0, self, "learning_rate", "warm_up", "weight_decay", "averaging", "seed")
        if self.averaging >= 1 or self.clip_norm <= 0:
            raise ConfigError("optimizer needs averaging below 1 and clip_norm above 0")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run does."""

    name: str
    features: FeatureSettings = field(default_factory=FeatureSettings)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def as_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` is the inverse."""
        return dataclasses.asdict(self)

    @property
    def digest(self) -> str:
        """Short hash of all settings: tells two configurations of one name apart."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:12]


def load_config(path: str | Path) -> TrainConfig:
    """Read a configuration.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, or a value of a wrong type.
    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read configuration {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    return from_dict(TrainConfig, {"name": Path(path).stem, **values}, "")
