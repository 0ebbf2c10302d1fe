"""TED-LIUM, releases 1 to 3: talks as Sphere files, and tables of their segments (STM)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ds2edge.training.importing.entries import Entry, Files, read_lines

NO_SPEECH = "ignore_time_segment_in_scoring"
UNKNOWN = "<unk>"
# <sil>, {NOISE}, [NOISE], and (2), which says how a word is pronounced
MARKS = re.compile(r"<[^>]*>|\{[^}]*\}|\[[^\]]*\]|\(\d+\)")
ENDING = re.compile(r"(?<=\w) '(?=\w)")  # "it 's"


def read(files: Files) -> Iterator[Entry]:
    """Of release 3 the `legacy` splits, whose dev and test are those of the others."""
    tables = [p for p in files.find("*/stm/*.stm") if p.parents[1].name in ("train", "dev", "test")]
    legacy = [path for path in tables if path.parents[2].name == "legacy"]
    for table in legacy or tables:
        yield from _segments(table)


def clean(text: str) -> str:
    """Words alone."""
    return ENDING.sub("'", " ".join(MARKS.sub(" ", text).split()))


def _segments(table: Path) -> Iterator[Entry]:
    """Lines are `talk channel speaker start end <label> text`."""
    audio = table.parents[1] / "sph" / f"{table.stem}.sph"
    split = table.parents[1].name
    for number, line in enumerate(read_lines(table), 1):
        if not line.strip() or line.startswith(";;"):
            continue
        fields = line.split(maxsplit=6)
        try:
            start, end = float(fields[3]), float(fields[4])
        except (IndexError, ValueError):
            problem = f"{table}, line {number}: needed `talk 1 speaker start end <label> text`"
            yield Entry("", audio, line, "", split, problem=problem)
            continue
        speaker, text = fields[2], fields[6] if len(fields) > 6 else ""
        if NO_SPEECH in (text.strip().lower(), speaker):
            continue
        name = f"{table.stem}-{start * 100:07.0f}-{end * 100:07.0f}"
        problem = ""
        if UNKNOWN in text:
            problem = f"{table}, line {number}: {UNKNOWN} stands for a word that is not told"
        yield Entry(name, audio, clean(text), speaker, split, start, end, problem=problem)
