"""A language model in a folder, as `ds2edge lm` writes it and a bundle takes it over."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds2edge.bundle import LANGUAGE_MODEL, LEXICON, Bundle
from ds2edge.errors import DataError
from ds2edge.text import TokenSet

DESCRIPTION_FILE = "language_model.json"


@dataclass(frozen=True)
class LanguageModel:
    """A language model folder: what `convert` puts into a bundle."""

    folder: Path
    description: dict[str, Any]  # token digest, order, words, sources

    def check_tokens(self, tokens: TokenSet) -> None:
        """Refuse a model of another token set.

        Raises:
            DataError: it is one.
        """
        if self.description.get("tokens") == tokens.digest:
            return
        of = self.description.get("of", "words")
        needed = "words" if tokens.space is not None else "its tokens"
        raise DataError(
            f"{self.folder} was built for another token set, as a model of {of}; this one of "
            f"{len(tokens)} tokens needs a model of {needed}: build it with the same --tokens"
        )

    @property
    def lexicon(self) -> Path:
        return self.folder / LEXICON

    @property
    def words(self) -> list[str] | None:
        """Of the lexicon; None: it is a model of tokens, which has none."""
        if not self.lexicon.exists():
            return None
        return self.lexicon.read_text(encoding="utf-8").split()

    @property
    def binary(self) -> Path:
        return self.folder / LANGUAGE_MODEL


def open_language_model(folder: Path) -> LanguageModel:
    """The language model in a folder that `ds2edge lm` wrote.

    Raises:
        DataError: something is missing.
    """
    try:
        description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        if not isinstance(description, dict):
            raise ValueError(f"{DESCRIPTION_FILE} holds {description!r}")
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} is no language model of `ds2edge lm`: {error}") from None
    made = LanguageModel(folder, description)
    needed = [made.binary] if description.get("of") == "tokens" else [made.lexicon, made.binary]
    for path in needed:
        if not path.is_file():
            raise DataError(f"{folder} has no {path.name}; build it again with `ds2edge lm`")
    return made


def language_model_of(bundle: Bundle) -> LanguageModel | None:
    """The language model in a bundle, if it has one."""
    if not bundle.language_model:
        return None
    return LanguageModel(bundle.folder, bundle.manifest.language_model)
