"""Rows of benchmarks that train: what each trains, on which recordings, where its files are."""

from __future__ import annotations

import json
import tomllib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ds2edge.cache import cache_folder
from ds2edge.errors import ConfigError
from ds2edge.plain_values import from_dict
from ds2edge.training.config import TrainConfig, load_config
from ds2edge.training.data.batches import plan_epoch
from ds2edge.training.data.corpora import load_recordings, read_corpora
from ds2edge.training.data.feature_cache import feature_statistics
from ds2edge.training.data.manifest import COLUMNS, read_manifest
from ds2edge.training.files import partial_file
from ds2edge.training.network.model import token_set
from ds2edge.training.train import changes

BASE = "base"
DEV_SHARE = 10  # one sentence in so many is kept for dev


@dataclass(frozen=True)
class Row:
    """One training run."""

    name: str
    title: str  # what it changes
    changes: dict[str, Any] = field(default_factory=dict)  # by dotted key of the configuration
    against: str = BASE  # row that it is compared with
    teacher: str = ""  # row whose model it learns from, too
    paper: str = ""  # what the paper found, this row beside the other
    expected: Literal["", "better", "worse"] = ""  # the same, in a word

    def config(self, base: TrainConfig) -> TrainConfig:
        """The base with the changes.

        Raises:
            ConfigError: a key is unknown, or a value cannot be.
        """
        values = json.loads(json.dumps(base.as_dict()))
        for key, value in self.changes.items():
            *tables, last = key.split(".")
            place = values
            for table in tables:
                place = place.get(table, {})
            if last not in place:
                raise ConfigError(f"row {self.name}: the configuration has no key {key!r}")
            place[last] = value
        if any(key.startswith("features.") for key in self.changes):
            values["features"] |= {"mean": (), "deviation": ()}  # other features have others
        return from_dict(TrainConfig, {**values, "name": self.name})


@dataclass(frozen=True)
class Plan:
    """A base configuration, and the rows that change it."""

    base: TrainConfig
    rows: tuple[Row, ...]
    marked: str = ""  # row that stands for what was chosen in the end

    def chosen(self, names: Sequence[str]) -> list[Row]:
        """Rows of these names, all without any, and what they need: those beside them, teachers.

        Raises:
            ConfigError: there is no such row.
        """
        known = {row.name: row for row in self.rows}
        wanted = list(names) or list(known)
        for name in wanted:  # it grows meanwhile
            if name not in known:
                raise ConfigError(f"no row {name!r}; there are {', '.join(known)}")
            row = known[name]
            needed = (row.against, row.teacher)
            wanted += [other for other in needed if other and other not in wanted]
        return [row for row in self.rows if row.name in wanted]


@dataclass(frozen=True)
class Like:
    """What a plan takes from another one: its base, and some of its rows."""

    plan: str  # file beside it
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """The files of a row below the folder of all."""

    out: Path
    name: str

    @property
    def config(self) -> Path:
        return self.out / "configs" / f"{self.name}.toml"

    @property
    def run(self) -> Path:
        """Folder of `ds2edge train`."""
        return self.out / "runs" / self.name

    @property
    def checkpoint(self) -> Path:
        # Of the last epoch, not of the best: nothing is chosen on dev, where it is measured.
        return self.run / "last.npz"

    @property
    def work(self) -> Path:
        """What there is to do: `Work`, as JSON."""
        return self.run / "work.json"

    @property
    def usage(self) -> Path:
        """What each process took, as JSON lines."""
        return self.run / "usage.jsonl"

    @property
    def evaluation(self) -> Path:
        """Of `ds2edge evaluate`; written last."""
        return self.run / "evaluation.json"


@dataclass(frozen=True)
class Work:
    """How much a row has to do."""

    updates: int
    seconds: float  # of audio, all epochs
    left_out: int  # recordings
    recordings: int  # in all


def read_plan(path: Path) -> Plan:
    """Raises: ConfigError: no such file, not TOML, an unknown key or a value that cannot be."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        rows = tuple(from_dict(Row, row, "rows.") for row in values.get("rows", []))
        if "like" in values:
            like = from_dict(Like, values["like"], "like.")
            other = read_plan(path.with_name(like.plan))
            base, rows = other.base, (*other.chosen(like.rows), *rows)
        else:
            base = from_dict(TrainConfig, {"name": BASE, **values.get("base", {})}, "base.")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from None
    base = replace(base, data=replace(base.data, dev=base.data.train))
    plan = Plan(base, rows, values.get("marked", ""))
    for row in plan.chosen([]):
        row.config(base)
    if plan.marked:
        plan.chosen([plan.marked])
    return plan


def split_corpora(configs: Sequence[TrainConfig], data: Path, out: Path) -> None:
    """Write manifests below out/data that keep a tenth of the sentences of split train for dev.

    No sentence is in both, by whomever it is read: its text decides.
    """
    for folder in {corpus.folder for config in configs for corpus in config.data.train}:
        lines = ["\t".join(COLUMNS)]
        for one in read_manifest(data / folder / "manifest.tsv", "train"):
            split = "train" if zlib.crc32(one.text.encode()) % DEV_SHARE else "dev"
            cells = (str(one.path.resolve()), f"{one.seconds:g}", one.text, one.speaker, split)
            lines.append("\t".join(cells))
        with partial_file(manifest(out, folder)) as file:
            file.write("\n".join([*lines, ""]).encode())


def manifest(out: Path, folder: str) -> Path:
    """Of a corpus, as `split_corpora` writes it."""
    return out / "data" / folder / "manifest.tsv"


def with_statistics(config: TrainConfig, out: Path) -> TrainConfig:
    """The base with the statistics of its features, measured once for all rows.

    Raises:
        ConfigError: the folder has rows of another base.
    """
    path = Place(out, BASE).config
    if path.exists():
        known = load_config(path)
        if without_statistics(known) != config:
            raise ConfigError(f"{out} has rows of another base; give another --out")
        return known
    return measured(config, out)


def without_statistics(config: TrainConfig) -> TrainConfig:
    """As it was before they were measured."""
    return replace(config, features=replace(config.features, mean=(), deviation=()))


def measured(config: TrainConfig, out: Path) -> TrainConfig:
    """The same with the statistics of its features in what it trains on."""
    tokens, data = token_set(config.model), config.data
    corpora = read_corpora(out / "data", data.train, "train", data.longest, tokens)
    return replace(config, features=feature_statistics(corpora.utterances, config.features))


def prepare_row(row: Row, base: TrainConfig, out: Path) -> Work:
    """Write a row's configuration, compute the features that it needs, and see what there is to do.

    Raises:
        ConfigError: the folder has this row with another configuration.
    """
    config, place = row.config(base), Place(out, row.name)
    if place.config.exists():
        known = load_config(place.config)
        if (known if config.features.mean else without_statistics(known)) != config:
            raise ConfigError(
                f"{place.config} is another row than {row.title!r}; give another --out"
            )
        config = known
    elif not config.features.mean:
        config = measured(config, out)
    with partial_file(place.config) as file:
        file.write(to_toml(config.as_dict()).encode())
    if place.evaluation.exists():
        return read_work(place)
    tokens, data, cache = token_set(config.model), config.data, cache_folder() / "features"
    corpora = read_corpora(out / "data", data.train, "train", data.longest, tokens)
    found = load_recordings(
        corpora, config.features, changes(config), tokens, cache, data.longest, config.model
    )
    rate, seed = config.features.frame_rate, config.optimizer.seed
    epochs = range(config.optimizer.epochs)
    work = Work(
        sum(len(plan_epoch(found, data, rate, seed, epoch)) for epoch in epochs),
        float(found.repeats @ found.features[0].lengths) / rate * len(epochs),
        int((found.repeats == 0).sum()),
        len(found.repeats),
    )
    with partial_file(place.work) as file:
        file.write(json.dumps(vars(work)).encode())
    return work


def read_work(place: Place) -> Work:
    """What `prepare_row` found that there is to do."""
    return Work(**json.loads(place.work.read_text()))


def to_toml(values: dict[str, Any]) -> str:
    """Tables of plain values, as `TrainConfig.as_dict` gives them."""
    lines = [f"{key} = {_inline(v)}" for key, v in values.items() if not isinstance(v, dict)]
    for table, inner in values.items():
        if isinstance(inner, dict):
            lines += ["", f"[{table}]", *(f"{key} = {_inline(v)}" for key, v in inner.items())]
    return "\n".join([*lines, ""])


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_inline(v)}' for key, v in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inline, value))}]"
    return json.dumps(value)
