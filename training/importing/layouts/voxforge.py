"""VoxForge: a folder, or an archive, for each visit of a speaker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ds2edge.training.importing.entries import Entry, Files, keyed, read_lines

VISIT = re.compile(r"(?P<speaker>.+)-\d{8}-\w+")
USER = re.compile(r"\s*User Name\s*:\s*(?P<name>\S.*?)\s*", re.IGNORECASE)


def read(files: Files) -> Iterator[Entry]:
    """Prompts are lines `a0001 Text`, or `VISIT/mfc/a0001 TEXT`."""
    prompts: dict[Path, Path] = {}  # by visit; `prompts-original` comes last and is preferred
    for path in files.find("*/etc/PROMPTS", "*/etc/prompts-original"):
        prompts[path.parents[1]] = path
    for visit, path in prompts.items():
        speaker = _speaker(visit)
        for key, text in keyed(read_lines(path)):
            name = key.rsplit("/", 1)[-1]
            choices = [visit / kind / f"{name}.{kind}" for kind in ("wav", "flac")]
            audio = next((choice for choice in choices if choice.is_file()), choices[0])
            yield Entry(f"{visit.name}/{name}", audio, text, speaker)


def _speaker(visit: Path) -> str:
    """By the README, or the folder; those without a name are one speaker for each visit."""
    found = VISIT.fullmatch(visit.name)
    speaker = found["speaker"] if found else visit.name
    for readme in (visit / "etc" / "README", visit / "README"):
        if readme.is_file():
            names = (USER.fullmatch(line) for line in read_lines(readme))
            speaker = next((name["name"] for name in names if name), speaker)
            break
    return visit.name if speaker.lower().startswith("anonymous") else speaker
