"""Training configurations: a TOML file, checked key by key."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from ds2edge.errors import ConfigError
from ds2edge.features import FeatureSettings
from ds2edge.plain_values import from_dict
from ds2edge.text import TOKEN_SETS
from ds2edge.token_files import find_tokens, read_tokens

CONFIGS = Path(__file__).with_name("configs")


def _at_least(lowest: float, owner: object, *names: str) -> None:
    for name in names:
        if not lowest <= getattr(owner, name) < float("inf"):  # NaN neither
            table = type(owner).__name__.removesuffix("Config").lower()
            raise ConfigError(f"{table}.{name} needs {lowest} or more, got {getattr(owner, name)}")


@dataclass(frozen=True)
class Convolution:
    """A convolution over time and frequency, or over time only."""

    channels: int = 32
    time: int = 7  # kernel, in frames
    frequency: int = 5  # kernel, in bins; 0: all of them, a 1-D convolution
    time_stride: int = 1
    frequency_stride: int = 2  # of a 2-D convolution

    def __post_init__(self) -> None:
        _at_least(1, self, "channels", "time", "time_stride", "frequency_stride")
        _at_least(0, self, "frequency")
        if self.time < self.time_stride:
            raise ConfigError(f"a kernel of {self.time} frames cannot step by {self.time_stride}")


@dataclass(frozen=True)
class ModelConfig:
    """Deep Speech 2: convolutions, recurrent layers, row convolution, fully connected layer.

    The defaults are the deployed form, which runs on a stream. With direction "both" it is the
    research form: recurrence in both directions, summed; centred convolutions; no row convolution.
    """

    convolutions: tuple[Convolution, ...] = (
        Convolution(time=7, frequency=5, time_stride=3),
        Convolution(time=3, frequency=5),
    )
    direction: Literal["forward", "both"] = "forward"
    layers: int = 4  # recurrent layers
    units: int = 384  # of each recurrent layer
    cell: Literal["gru", "simple"] = "gru"  # simple: h = min(max(B(W x) + U h, 0), 20)
    candidate: Literal["tanh", "clipped_relu"] = "tanh"  # of a GRU; the paper has the rectifier
    norm: Literal["term", "input", "none"] = "term"  # B(W x), W B(x) + b or W x + b
    look_ahead: int = 10  # output steps that the row convolution of a forward model sees ahead
    silent: int = 0  # first output steps with which training aligns no token: it would guess there
    connected: int = 0  # units of a fully connected layer before the output; 0: no such layer
    dropout: float = 0.1  # on the input of every recurrent layer but the first, and of the output
    tokens: str = "english_characters"  # english_bigrams, mandarin_characters, or a file of them
    token_list: tuple[str, ...] = ()  # of that file, filled in when it is read
    extra_tokens: tuple[str, ...] = ()  # single characters that it has besides, see `finetune`

    def __post_init__(self) -> None:
        _at_least(1, self, "layers", "units")
        _at_least(0, self, "look_ahead", "silent", "connected", "dropout")
        if not 1 <= len(self.convolutions) <= 3 or self.dropout >= 1:
            raise ConfigError(
                "model needs a convolution or more, three at most, and dropout below 1; "
                f"got {len(self.convolutions)} and {self.dropout}"
            )
        if self.tokens not in TOKEN_SETS and not self.token_list:
            raise ConfigError(
                f"model.tokens needs {', '.join(TOKEN_SETS)} or a file, got {self.tokens!r}"
            )
        if self.layers > 7:
            raise ConfigError(f"model.layers needs 7 or fewer, got {self.layers}")
        for before, after in pairwise(self.convolutions):
            if after.frequency > 1 and not before.frequency:
                raise ConfigError(
                    f"a convolution over {after.frequency} bins follows a 1-D one, which leaves "
                    "one bin; give it frequency = 0"
                )

    @property
    def time_stride(self) -> int:
        """Input frames for each output step."""
        stride = 1
        for convolution in self.convolutions:
            stride *= convolution.time_stride
        return stride


@dataclass(frozen=True)
class Corpus:
    """A folder below the data folder, with a manifest.tsv; or a manifest of another name."""

    folder: str
    repeat: int = 1  # how often an epoch sees each recording
    split: str = ""  # of the manifest's; empty: the one that it is listed for, train or dev
    unlabelled: bool = False  # only a teacher tells what is said; the text is not used

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
    sorta_grad: bool = True  # the first epoch goes from short to long (section 3.3 of the paper)
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
class NoiseCorpus:
    """A folder below the data folder, with recordings of noise in a manifest as of speech."""

    folder: str
    split: str = "train"  # of the manifest's


@dataclass(frozen=True)
class AugmentConfig:
    """SpecAugment (arXiv 1904.08779), masked stripes of frequency and time; and what is done to
    the sound. With any of that, speed (data.speeds), gain (data.levels) and all else are drawn anew
    whenever a recording is seen.
    """

    frequency_masks: int = 2
    frequency_width: int = 16  # bins, at most
    time_masks: int = 4
    time_width: float = 0.05  # of the recording's length, at most
    noise: tuple[NoiseCorpus, ...] = ()  # what is mixed in; empty: nothing
    noise_share: float = 0.4  # of what is seen, with noise
    snr: tuple[float, ...] = (0.0, 30.0)  # dB of speech over noise, least and most
    room_share: float = 0.0  # in a simulated room
    codec_share: float = 0.0  # through a codec and back
    codecs: tuple[Literal["mp3", "opus", "telephone"], ...] = ("mp3", "opus", "telephone")
    band_share: float = 0.0  # without the lowest or the highest frequencies
    vocal_tract: tuple[float, ...] = (1.0, 1.0)  # least and most factor of all formants

    def __post_init__(self) -> None:
        _at_least(0, self, "frequency_masks", "frequency_width", "time_masks", "time_width")
        for name in ("noise_share", "room_share", "codec_share", "band_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name} needs 0 to 1, got {getattr(self, name)}")
        for name, least, most in (("snr", -20.0, 60.0), ("vocal_tract", 0.7, 1.4)):
            values = getattr(self, name)
            if len(values) != 2 or not least <= values[0] <= values[1] <= most:
                raise ConfigError(
                    f"augment.{name} needs two numbers from {least:g} to {most:g}, rising, "
                    f"got {values}"
                )
        if not self.codecs:
            raise ConfigError("augment.codecs names no codec; without any: codec_share = 0")

    @property
    def of_sound(self) -> bool:
        """Whether anything is done to the sound, beside the masks."""
        noisy = bool(self.noise) and self.noise_share > 0
        shares = self.room_share + self.codec_share + self.band_share
        return noisy or shares > 0 or self.vocal_tract != (1.0, 1.0)


@dataclass(frozen=True)
class AuxiliaryConfig:
    """CTC losses of inner layers beside the model's own (arXiv 2102.03216)."""

    layers: tuple[int, ...] = ()  # recurrent layers, from 1 on, that get an output of their own
    weight: float = 0.3  # of their mean loss; the model's own has the rest

    def __post_init__(self) -> None:
        if not 0 <= self.weight < 1:
            raise ConfigError(f"auxiliary.weight needs 0 or more, below 1, got {self.weight}")
        if len(set(self.layers)) < len(self.layers):
            raise ConfigError(f"auxiliary.layers names a layer twice: {self.layers}")


@dataclass(frozen=True)
class DistillConfig:
    """What a student learns from its teacher, beside the texts: see `ds2edge distill`."""

    weight: float = 0.5  # of the teacher's posteriors in the loss; CTC has the rest
    temperature: float = 1.0  # above 1, both are flattened: unlikely tokens count for more
    shift: int = 4  # output steps by which the student says later what the teacher says
    teacher: str = ""  # digest of its weights, which the command fills in; empty: no teacher

    def __post_init__(self) -> None:
        _at_least(0, self, "shift")
        if not 0 <= self.weight <= 1 or not 0 < self.temperature < float("inf"):
            raise ConfigError(
                "distill needs a weight from 0 to 1 and a temperature above 0; "
                f"got {self.weight} and {self.temperature}"
            )


@dataclass(frozen=True)
class OptimizerConfig:
    """How the weights are found; as it stands, for a modern run.

    The paper's way (section 3.3, 5) is in configs/paper-*.toml. Its learning rates, 1e-4 to 6e-4,
    and its longest gradient, 400, are of the loss per recording, ours of the loss per token.
    """

    kind: Literal["adamw", "nesterov"] = "adamw"
    schedule: Literal["cosine", "anneal"] = "cosine"  # to zero; or divided after every epoch
    epochs: int = 20
    learning_rate: float = 2e-3  # the highest
    warm_up: int = 300  # updates in which it rises from zero
    annealing: float = 1.2  # what "anneal" divides by
    momentum: float = 0.99  # of "nesterov"
    weight_decay: float = 1e-3
    clip_norm: float = 2.0  # longest gradient, of the loss per token
    accumulate: int = 1  # batches that make one update, as one large batch would but for its norms
    averaging: float = 0.998  # of the exponential moving average that is evaluated and kept
    average_last: int = 0  # epochs whose weights are averaged in the end; 0: none
    precision: Literal["float32", "bfloat16"] = "bfloat16"  # of matrix products
    seed: int = 1

    def __post_init__(self) -> None:
        _at_least(1, self, "epochs", "accumulate", "annealing")
        _at_least(0, self, "learning_rate", "warm_up", "weight_decay", "averaging", "seed")
        _at_least(0, self, "momentum", "average_last", "clip_norm")
        if self.averaging >= 1 or self.momentum >= 1 or self.clip_norm == 0:
            raise ConfigError(
                "optimizer needs averaging and momentum below 1, and clip_norm above 0"
            )
        if self.seed >= 2**32:
            raise ConfigError(f"optimizer.seed needs less than 2**32, got {self.seed}")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training run does."""

    name: str
    features: FeatureSettings = field(default_factory=FeatureSettings)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    auxiliary: AuxiliaryConfig = field(default_factory=AuxiliaryConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        for layer in self.auxiliary.layers:
            if not 1 <= layer <= self.model.layers:
                raise ConfigError(
                    f"auxiliary.layers has {layer}, needed: a recurrent layer, "
                    f"1 to {self.model.layers}"
                )

    def as_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` is the inverse."""
        return dataclasses.asdict(self)

    @property
    def digest(self) -> str:
        """Short hash of all settings: tells two configurations of one name apart."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:12]


def load_config(path: str | Path, tokens: str = "") -> TrainConfig:
    """Read a configuration: a file, or one of those that come with ds2edge, by its name.

    Args:
        tokens: in the place of `model.tokens`, or a bundle that has them; a path relative to this
            folder, which in the configuration is relative to its own.

    Raises:
        ConfigError: no such file, not TOML, an unknown key, or a value of a wrong type.
        TextError: the file of tokens cannot be used.
        BundleError: nor can the bundle.
    """
    path = _shipped(path) or path
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        names = ", ".join(sorted(shipped.stem for shipped in CONFIGS.glob("*.toml")))
        raise ConfigError(
            f"cannot read configuration {path}: {error.strerror}; ds2edge has {names}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    try:
        values = _with_tokens(values, Path(path).parent, tokens)
        config = from_dict(TrainConfig, {"name": Path(path).stem, **values}, "")
        if config.distill.teacher:
            raise ConfigError("distill.teacher is filled in by `ds2edge distill --teacher`")
        return config
    except ConfigError as error:
        raise ConfigError(f"{path}{_line(text, str(error))}: {error}") from None


def _with_tokens(values: dict[str, Any], folder: Path, given: str) -> dict[str, Any]:
    """With the tokens that are given, or of the file that the configuration names."""
    model = values.get("model", {})
    if not isinstance(model, dict):
        return values
    name = given or model.get("tokens")
    if not isinstance(name, str):
        return values
    if given:
        listed = () if given in TOKEN_SETS else find_tokens(given).tokens
    elif name not in TOKEN_SETS and (folder / name).is_file():
        listed = read_tokens(folder / name).tokens
    else:
        return values
    return {**values, "model": {**model, "tokens": Path(name).name, "token_list": listed}}


def _line(text: str, message: str) -> str:
    """Where the key stands that a message names first, as `table.key` or `'key'`; perhaps empty."""
    named = re.search(r"([a-z_]+)\.(?:[a-z_]+\.)*([a-z_]+)|'([a-z_]+)'", message)
    if not named:
        return ""
    wanted, key = named[1] or "", named[2] or named[3]
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([a-z_]+)", line):
            table = header[1]
        found = re.search(rf"(^|[{{,])\s*{key}\s*=", line) or (not wanted and table == key)
        if found and table == (wanted or table):
            return f", line {number}"
    return ""


def _shipped(path: str | Path) -> Path | None:
    """`tiny`, `tiny.toml` or `configs/tiny.toml`, where there is no such file."""
    found = CONFIGS / f"{Path(path).stem}.toml"
    named = Path(path).parent in (Path(), Path(CONFIGS.name)) and not Path(path).is_file()
    return found if named and found.exists() else None
