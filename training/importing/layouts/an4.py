"""AN4: spelled words and numbers, as NIST Sphere files or as samples without a header."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ds2edge.training.importing.entries import Entry, Files, read_lines

LINE = re.compile(r"(?:<s>)?(?P<text>.*?)(?:</s>)?\s*\((?P<name>[^()\s]+)\)\s*")
PLACES = {"train": "an4_clstk", "test": "an4test_clstk"}
RATE = 16_000  # Hz of the files without a header


def read(files: Files) -> Iterator[Entry]:
    """Transcripts are lines `<s> TEXT </s> (an251-fash-b)`; the speaker is in the middle.

    There is no dev: the split of what is for training is left open.
    """
    for transcript in files.find("*/etc/an4_train.transcription", "*/etc/an4_test.transcription"):
        split = transcript.stem.removeprefix("an4_")
        folder = transcript.parents[1] / "wav" / PLACES[split]
        for number, line in enumerate(read_lines(transcript), 1):
            if not line.strip():
                continue
            found = LINE.fullmatch(line)
            if not found or found["name"].count("-") < 2:
                problem = f"{transcript}, line {number}: needed `TEXT (ID-SPEAKER-TAKE)`"
                yield Entry("", transcript, line, "", problem=problem)
                continue
            speaker = found["name"].split("-")[-2]
            choices = [folder / speaker / f"{found['name']}.{e}" for e in ("sph", "wav", "raw")]
            audio = next((path for path in choices if path.is_file()), choices[0])
            yield Entry(
                found["name"],
                audio,
                found["text"].strip(),
                speaker,
                "test" if split == "test" else "",
                raw_rate=RATE if audio.suffix == ".raw" else 0,
            )
