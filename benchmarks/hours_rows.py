"""The rows of hours.py: nested parts of corpora, each with every speaker in like proportion."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from techniques_rows import BASE, Row, manifest

from ds2edge.bundle import load_bundle
from ds2edge.errors import ConfigError
from ds2edge.language_model import DESCRIPTION_FILE, language_model_of
from ds2edge.plain_values import from_dict
from ds2edge.training.config import TrainConfig
from ds2edge.training.data.manifest import Utterance, read_manifest, write_manifest
from ds2edge.training.files import partial_file

FORWARD = 1 / 3  # of what a second of audio takes in training, without gradients; about


@dataclass(frozen=True)
class Hours:
    """What hours.toml says."""

    base: TrainConfig
    shares: tuple[float, ...]  # of every corpus
    least_updates: int = 0  # of each row; more passes where there would be fewer
    seed: int = 1  # of the order in which recordings come in
    speed: float = 100.0  # seconds of audio that a core trains on in a second, about

    def __post_init__(self) -> None:
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            raise ConfigError(f"shares needs numbers above 0, 1 at most, got {self.shares}")


@dataclass(frozen=True)
class Part:
    """A part of the corpora, and how often it is passed."""

    train: dict[str, list[Utterance]]  # by corpus
    dev: dict[str, list[Utterance]]
    pass_seconds: float  # of audio, what a pass repeats as often as it does
    passes: int

    def __len__(self) -> int:
        return sum(map(len, self.train.values()))

    @property
    def hours(self) -> float:
        """Of training speech."""
        return sum(map(_seconds, self.train.values())) / 3600

    @property
    def name(self) -> str:
        """Of its row."""
        return f"{self.hours:.2f}h"

    def minutes(self, speed: float) -> float:
        """Of one core, at so many seconds of audio a second; dev is heard after each pass."""
        once = self.pass_seconds + FORWARD * sum(map(_seconds, self.dev.values()))
        return self.passes * once / speed / 60


def hours_of(row: str) -> float:
    """Of training speech, from the row's name."""
    return float(row.removesuffix("h"))


def read_hours(path: Path) -> Hours:
    """Raises: ConfigError: no such file, not TOML, an unknown key or a value that cannot be."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        base = {"name": BASE, **values.get("base", {})}
        return from_dict(Hours, {**values, "base": base})
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from None


def parts_of(plan: Hours, data: Path) -> list[Part]:
    """The smallest first.

    Raises:
        ConfigError: two parts have as many hours.
        DataError: a manifest is missing or has nothing for train or dev.
    """
    longest, rng = plan.base.data.longest, np.random.default_rng(plan.seed)
    corpora, dev = {}, {}
    for corpus in plan.base.data.train:
        read = read_manifest(data / corpus.folder / "manifest.tsv", "train")
        corpora[corpus.folder] = evenly([u for u in read if u.seconds <= longest], rng)
    for corpus in plan.base.data.dev:
        dev[corpus.folder] = read_manifest(data / corpus.folder / "manifest.tsv", "dev")
    parts = []
    for share in sorted(plan.shares):
        train = {folder: beginning(order, share) for folder, order in corpora.items()}
        once = sum(c.repeat * _seconds(train[c.folder]) for c in plan.base.data.train)
        parts.append(Part(train, dev, once, _passes(plan, once)))
    if len({part.name for part in parts}) < len(parts):
        raise ConfigError(
            f"needed parts of different length, got {', '.join(part.name for part in parts)}"
        )
    return parts


def evenly(utterances: Sequence[Utterance], rng: np.random.Generator) -> list[Utterance]:
    """In a random order of which every beginning has all speakers in like proportion."""
    speakers = np.array([utterance.speaker for utterance in utterances])
    keys = np.zeros(len(utterances))
    for speaker in np.unique(speakers):
        (own,) = np.nonzero(speakers == speaker)
        keys[rng.permutation(own)] = (np.arange(len(own)) + rng.uniform(size=len(own))) / len(own)
    return [utterances[i] for i in np.argsort(keys)]


def beginning(order: Sequence[Utterance], share: float) -> list[Utterance]:
    """So much of the time, to half a recording; one recording at least."""
    ends = list(accumulate(utterance.seconds for utterance in order))
    wanted = share * ends[-1]
    kept = [u for u, end in zip(order, ends, strict=True) if end - u.seconds / 2 <= wanted]
    return kept or list(order[:1])


def row_of(part: Part, base: TrainConfig) -> Row:
    """What is trained on a part."""
    changes: dict[str, Any] = {
        "data.train": [
            {"folder": f"{part.name}/{corpus.folder}", "repeat": corpus.repeat}
            for corpus in base.data.train
        ],
        "data.dev": [{"folder": f"dev/{corpus.folder}"} for corpus in base.data.dev],
        "optimizer.epochs": part.passes,
    }
    return Row(part.name, f"{part.hours:.2f} hours", changes, against="")


def write_part(part: Part, out: Path) -> None:
    """Its manifests below out/data."""
    for top, corpora in ((part.name, part.train), ("dev", part.dev)):
        for folder, utterances in corpora.items():
            here = [replace(u, path=u.path.resolve()) for u in utterances]
            write_manifest(manifest(out, f"{top}/{folder}"), here)


def evaluation_options(
    model: str | None, alpha: float | None, beta: float | None, out: Path
) -> list[object]:
    """Of `ds2edge evaluate`.

    Args:
        model: folder of `ds2edge lm`, or a bundle whose language model is laid out below `out`.

    Raises:
        BundleError, ConfigError: there is no such bundle, or it has none.
    """
    if model is None:
        return []
    folder = Path(model)
    if not (folder / DESCRIPTION_FILE).is_file():
        found = language_model_of(load_bundle(model))
        if found is None:
            raise ConfigError(f"{model} has no language model")
        folder = out / "language-model"
        with partial_file(folder / DESCRIPTION_FILE) as file:
            file.write(json.dumps(found.description).encode())
        for path in (found.lexicon, found.binary):
            (folder / path.name).unlink(missing_ok=True)
            if path.exists():
                (folder / path.name).symlink_to(path.resolve())
    options: list[object] = ["--language-model", folder]
    for name, value in (("--alpha", alpha), ("--beta", beta)):
        options += [name, value] if value is not None else []
    return options


def _passes(plan: Hours, seconds: float) -> int:
    batches = max(1.0, seconds / plan.base.data.batch_seconds)
    return max(plan.base.optimizer.epochs, math.ceil(plan.least_updates / batches))


def _seconds(utterances: list[Utterance]) -> float:
    return sum(utterance.seconds for utterance in utterances)
