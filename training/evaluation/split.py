"""The test split: nothing is chosen on it, and every look at it is written down."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from ds2edge.cache import cache_folder
from ds2edge.errors import ConfigError
from ds2edge.plain_values import from_dict

log = logging.getLogger(__name__)

LOG_FILE = "test-evaluations.jsonl"


@dataclass(frozen=True)
class Look:
    """One evaluation of one test split."""

    date: str  # ISO 8601, UTC
    command: str  # that evaluated it
    set: str  # name of the recordings
    data: str  # `data_digest` of them
    model: str  # name
    digest: str  # of the bundle or checkpoint
    decoder: dict[str, float]  # weights and pruning of the search
    figures: dict[str, dict[str, float]]  # way of decoding to WER and CER in percent


def is_test(split: str) -> bool:
    """Whether a split is for reporting alone: `test`, `test-clean`, `test_other`, `Test2`."""
    return re.match(r"test(?![a-z])", split, re.IGNORECASE) is not None


def refuse_test_split(split: str, doing: str) -> None:
    """What selects must not see the test split.

    Args:
        doing: what it is, for the error: "tuning".

    Raises:
        ConfigError: it is one.
    """
    if is_test(split):
        raise ConfigError(
            f"{doing} must not see the test split, got split {split!r}: "
            "choose on dev, then evaluate once on test"
        )


def data_digest(rows: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of recordings: pairs of path, relative to the manifest, and text."""
    lines = sorted(f"{path}\t{text}\n" for path, text in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def record(look: Look) -> str:
    """Append to the log; a log that cannot be written is a warning, no error.

    Returns: how often these recordings were looked at now, for people.
    """
    path = log_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(look), ensure_ascii=False) + "\n")
    except OSError as error:
        log.warning("this look at the test split is not in the log: %s", error)
        return "how often it was looked at is not known"
    return times_seen(look.data)


def read_log() -> list[Look]:
    """Every look so far; lines that are none are left out, with a warning."""
    try:
        lines = log_path().read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        log.warning("the log of the test splits cannot be read: %s", error)
        return []
    looks, damaged = [], 0
    for line in lines:
        try:
            looks.append(from_dict(Look, json.loads(line)))
        except (ValueError, ConfigError):
            damaged += 1
    if damaged:
        log.warning("%s has %d line(s) that are no evaluation", log_path(), damaged)
    return looks


def log_path() -> Path:
    """Of the log."""
    return cache_folder() / LOG_FILE


def times_seen(data: str) -> str:
    """How often the recordings of that digest were evaluated, for people."""
    looks = [look for look in read_log() if look.data == data]
    models = len({look.digest for look in looks})
    times = "once" if len(looks) == 1 else f"{len(looks)} times"
    return f"looked at {times}, with {models} model{'' if models == 1 else 's'}"


def log_table() -> str:
    """The log for people, the oldest look first."""
    looks = read_log()
    if not looks:
        return f"no test split was evaluated yet; the log will be {log_path()}"
    seen: dict[str, int] = {}
    lines = []
    for look in looks:
        seen[look.data] = seen.get(look.data, 0) + 1
        figures = "; ".join(
            f"{way.replace('_', ' ')} WER {f['wer']:.2f} CER {f['cer']:.2f}"
            for way, f in look.figures.items()
        )
        lines.append(
            f"{look.date}  {look.set} {look.data[:8]}, look {seen[look.data]}  "
            f"{look.model} {look.digest[:8]}  {figures}  ({look.command})"
        )
    return "\n".join(lines)
