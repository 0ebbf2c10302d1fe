"""The toy language model of tests/data, as a folder of `ds2edge lm`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ds2edge.bundle import LANGUAGE_MODEL, LEXICON
from ds2edge.text import english_characters

ARPA = Path(__file__).parent / "data" / "tiny.arpa"


def write_language_model(folder: Path) -> Path:
    """Returns: the folder."""
    folder.mkdir()
    shutil.copy(ARPA, folder / LANGUAGE_MODEL)
    unigrams = ARPA.read_text().split("\\1-grams:")[1].split("\\2-grams")[0]
    columns = [line.split() for line in unigrams.splitlines()]
    words = [row[1] for row in columns if len(row) >= 2 and row[1].isalpha()]
    (folder / LEXICON).write_text("\n".join(words) + "\n")
    description = {
        "tokens": english_characters().digest,
        "order": 2,
        "words": len(words),
        "sources": [ARPA.name],
        "text_words": 10,
    }
    (folder / "language_model.json").write_text(json.dumps(description))
    return folder
