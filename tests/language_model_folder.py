"""The toy language model of tests/data, as a folder of `ds2edge lm`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ds2edge.bundle import LANGUAGE_MODEL, LEXICON
from ds2edge.text import TokenSet, english_characters

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


def write_character_model(folder: Path, tokens: TokenSet) -> Path:
    """A model of tokens, all as likely after each other. Returns: the folder."""
    folder.mkdir()
    words = tokens.tokens[1:]
    unigrams = ["-3\t<unk>", "-99\t<s>\t0", "-1.5\t</s>", *(f"-1.5\t{word}\t0" for word in words)]
    lines = ["\\data\\", f"ngram 1={len(unigrams)}", "ngram 2=1", "", "\\1-grams:", *unigrams]
    lines += ["", "\\2-grams:", f"-1\t<s> {words[0]}", "", "\\end\\", ""]
    (folder / LANGUAGE_MODEL).write_text("\n".join(lines), encoding="utf-8")
    description = {
        "tokens": tokens.digest,
        "order": 2,
        "of": "tokens",
        "words": len(words),
        "sources": ["nothing"],
        "text_words": 0,
    }
    (folder / "language_model.json").write_text(json.dumps(description))
    return folder
