"""Figures of whole corpora, as plain values: what the page shows and --json writes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ds2edge.text import SPACE_TOKEN
from ds2edge.training.statistics.overlap import equal_audio, overlaps, repeated_texts
from ds2edge.training.statistics.rows import Recordings, Row
from ds2edge.training.statistics.strange import Strange, characters_per_second

QUANTILES = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "most": 1.0}
EXAMPLES = 20  # of each finding

VALUES: dict[str, Callable[[Row], float]] = {
    "seconds": lambda row: row.figures.seconds,
    "characters_per_second": characters_per_second,
    "level": lambda row: row.figures.level,
    "peak": lambda row: row.figures.peak,
    "clipped": lambda row: row.figures.clipped,
    "silence": lambda row: row.figures.silence,
    "bandwidth": lambda row: row.figures.bandwidth,
}


def summarise(recordings: Recordings, strange: Sequence[Strange]) -> dict[str, Any]:
    """Everything but the plots and the sound."""
    rows = recordings.rows
    words = Counter(word for row in rows for word in recordings.words(row))
    return {
        "all": _totals(recordings, rows),
        "corpora": {corpus: _by_split(recordings, corpus) for corpus in recordings.corpora},
        "values": {name: _quantiles(name, rows) for name in VALUES},
        "formats": _formats(rows),
        "speakers": speaker_hours(recordings),
        "tokens": _tokens(recordings),
        "unknown": _unknown(rows),
        "vocabulary": {
            "of": "words" if recordings.tokens.space is not None else "characters",
            "size": len(words),
            "once": sum(count == 1 for count in words.values()),
            "most_frequent": words.most_common(50),
        },
        "repeated_texts": _repeated_texts(rows),
        "equal_audio": [[str(row.utterance.path) for row in g] for g in equal_audio(rows)],
        "overlaps": [
            {
                "splits": [each.first, each.second],
                "speakers": each.speakers,
                "texts": {
                    "count": len(each.texts),
                    "utterances": each.utterances,
                    "share": round(each.share, 4),
                    "examples": each.texts[:EXAMPLES],
                },
                "audio": each.audio,
            }
            for each in overlaps(recordings)
        ],
        "strange": [_strange(rows[each.place], each) for each in strange],
        "unreadable": [
            {"corpus": each.corpus, "path": str(each.utterance.path), "reason": each.reason}
            for each in recordings.unreadable
        ],
    }


def speaker_hours(recordings: Recordings) -> dict[str, float]:
    """Of each speaker that has a name, the most first."""
    seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
    for row in recordings.rows:
        if row.utterance.speaker:
            seconds[row.corpus, row.utterance.speaker] += row.figures.seconds
    several = len(recordings.corpora) > 1
    return {
        (f"{corpus}: {speaker}" if several else speaker): round(of / 3600, 4)
        for (corpus, speaker), of in sorted(seconds.items(), key=lambda item: -item[1])
    }


def _totals(recordings: Recordings, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "utterances": len(rows),
        "hours": round(sum(row.figures.seconds for row in rows) / 3600, 4),
        "speakers": len({row.speaker for row in rows if row.utterance.speaker}),
        "words": sum(len(recordings.words(row)) for row in rows),
        "characters": sum(len(row.text) for row in rows),
        "without_text": sum(not row.text for row in rows),
    }


def _by_split(recordings: Recordings, corpus: str) -> dict[str, Any]:
    by_split: dict[str, list[Row]] = {}
    for i in recordings.of(corpus):
        row = recordings.rows[i]
        by_split.setdefault(row.utterance.split, []).append(row)
    return {split: _totals(recordings, rows) for split, rows in by_split.items()}


def compared(name: str, rows: Iterable[Row]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One of `VALUES` of each recording; of speed only of those that have a text."""
    of_text = name == "characters_per_second"
    return np.array([VALUES[name](row) for row in rows if row.text or not of_text], np.float64)


def _quantiles(name: str, rows: Iterable[Row]) -> dict[str, float]:
    values = compared(name, rows)
    if not len(values):
        return {}
    found = np.quantile(values, list(QUANTILES.values()))
    return {name: round(float(value), 5) for name, value in zip(QUANTILES, found, strict=True)}


def _formats(rows: Sequence[Row]) -> list[dict[str, Any]]:
    groups: dict[tuple[int, int], list[float]] = {}
    for row in rows:
        kind = row.figures.sample_rate, row.figures.channels
        groups.setdefault(kind, []).append(row.figures.seconds)
    return [
        {
            "sample_rate": rate,
            "channels": channels,
            "utterances": len(seconds),
            "hours": round(sum(seconds) / 3600, 4),
        }
        for (rate, channels), seconds in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def _tokens(recordings: Recordings) -> dict[str, Any]:
    """Those that the texts have, the most frequent first; in two-letter sets, as they are spelled.

    Of all tokens only how many are never used: of Mandarin that may be thousands.
    """
    tokens = recordings.tokens
    known = tokens.tokens[1:]  # but the blank
    single = all(len(token) == 1 for token in known)  # then a text is its tokens
    counts = Counter[str]()
    for row in recordings.rows:
        counts.update(row.text if single else (tokens.tokens[i] for i in tokens.encode(row.text)))
    unused = [token for token in known if token not in counts]
    return {
        "counts": {_name(token): count for token, count in counts.most_common()},
        "unused": len(unused),
        "unused_examples": [_name(token) for token in unused[:EXAMPLES]],
    }


def _name(token: str) -> str:
    return "space" if token == SPACE_TOKEN else token


def _unknown(rows: Sequence[Row]) -> dict[str, Any]:
    with_unknown = [row for row in rows if row.unknown]
    counts = Counter(character for row in with_unknown for character in row.unknown)
    return {
        "utterances": len(with_unknown),
        "characters": dict(counts.most_common()),
        "first": {
            character: row.utterance.where
            for row in reversed(with_unknown)
            for character in row.unknown
        },
    }


def _repeated_texts(rows: Sequence[Row]) -> dict[str, Any]:
    repeated = repeated_texts(rows)
    return {
        "texts": len(repeated),
        "utterances": repeated.total(),
        "most": repeated.most_common(EXAMPLES),
    }


def _strange(row: Row, strange: Strange) -> dict[str, Any]:
    return {
        "corpus": row.corpus,
        "path": str(row.utterance.path),
        "speaker": row.utterance.speaker,
        "split": row.utterance.split,
        "text": row.utterance.text,
        "reasons": [
            {"kind": reason.kind, "detail": reason.detail, "score": round(reason.score, 2)}
            for reason in strange.reasons
        ],
    }
