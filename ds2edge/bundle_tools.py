"""Bundles made of bundles: packed again, or with another language model, lexicon or search.

The acoustic model stays as it is, so nothing here needs what trains and converts.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ds2edge.bundle import (
    ARCHIVE,
    CARD,
    LANGUAGE_MODEL,
    LEXICON,
    MANIFEST,
    PLOT,
    Artefact,
    Bundle,
    Manifest,
    check_replaceable,
    listed_members,
    pack_bundle,
    write_bundle,
)
from ds2edge.decoder import Decoder, SearchOptions, unknown_words
from ds2edge.errors import BundleError, DataError, DecoderError
from ds2edge.language_model import LanguageModel

Members = dict[str, bytes | Path]
MEASURED_WITH = "language_model"  # names the figures and the confidence that depend on it
NAMED = 3  # words in a message, at most
NOTE = "> **Changed by `ds2edge bundle swap-lm`.**"  # begins a paragraph of the model card


def repack(bundle: Bundle, out: Path, formats: Collection[str] = (), name: str = "") -> None:
    """Write a bundle anew: the same bundle gives the same bytes, from a folder as from a file.

    Args:
        out: a folder, or a file that ends in .ds2.
        formats: of the weights, the artefacts to keep; empty: all.
        name: for people to read; empty: as it is.

    Raises:
        BundleError: it has no such format, or `out` holds something else than a bundle.
        OSError: it cannot be written, as on a full disk; what was there stays.
    """
    manifest, members = bundle.manifest, _members(bundle)
    there = [artefact.weights for artefact in manifest.artefacts]
    if lacking := sorted(set(formats) - set(there)):
        raise BundleError(
            f"bundle {manifest.name!r} has no {', '.join(lacking)}, only "
            f"{', '.join(there)}; ds2edge convert makes others of its checkpoint"
        )
    kept = tuple(a for a in manifest.artefacts if a.weights in formats or not formats)
    dropped = {a.file for a in manifest.artefacts} - {a.file for a in kept}
    members = {member: content for member, content in members.items() if member not in dropped}
    if dropped:
        members.pop(PLOT, None)  # of all formats
        manifest = _of_formats(manifest, kept)
        formats_left = ", ".join(artefact.weights for artefact in kept)
        card = f"{_card(bundle).rstrip()}\n\nRepacked with {formats_left} only.\n"
        members[CARD] = card.encode()
    if name and CARD in members:
        text = members[CARD]
        card = text.decode() if isinstance(text, bytes) else _card(bundle)
        members[CARD] = _titled(card, name).encode()
    save_bundle(out, replace(manifest, name=name or manifest.name), members)


def swap_language_model(
    bundle: Bundle,
    out: Path,
    model: LanguageModel | None,
    words: Sequence[str] | None,
    search: SearchOptions,
) -> None:
    """Write a bundle with another language model, lexicon or search.

    What was measured and fitted with the old ones is left out, and the model card says so.

    Args:
        out: a folder, or a file that ends in .ds2.
        model: None: none.
        words: the lexicon; None: none, as of a model of tokens.

    Raises:
        DataError: the model was built for other tokens, or words and model do not belong together.
        BundleError: `out` holds something else than a bundle.
        OSError: it cannot be written, as on a full disk; what was there stays.
    """
    old = bundle.manifest
    description = _description(bundle, model, words, search)
    members = _members(bundle)
    members.pop(LANGUAGE_MODEL, None)
    members.pop(LEXICON, None)
    if model:
        members[LANGUAGE_MODEL] = model.binary
    if words is not None:
        members[LEXICON] = ("\n".join(words) + "\n").encode()
    same = model is not None and model.folder == bundle.folder and words == bundle.words
    weighed = (search.alpha, search.beta) == (old.decoder.alpha, old.decoder.beta)
    manifest = replace(
        old,
        decoder=search,
        language_model=description,
        confidence=old.confidence if same and weighed else _without(old.confidence),
        accuracy=_without(old.accuracy),
        parity=_without(old.parity),
    )
    members[CARD] = _noted(_card(bundle), manifest, words).encode()
    save_bundle(out, manifest, members)


def read_lexicon(path: Path) -> list[str]:
    """The words in a file, one a line.

    Raises:
        DataError: it cannot be read, has no words, one twice, or several in a line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read lexicon {path}: {error}") from None
    words: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if len(parts) > 1:
            raise DataError(f"{path}, line {number}: needed one word a line, got {line.strip()!r}")
        if parts and words.setdefault(parts[0], number) != number:
            raise DataError(f"{path}, line {number}: {parts[0]!r} stands there twice")
    if not words:
        raise DataError(f"lexicon {path} has no words; needed: one a line")
    return list(words)


def check_output(path: Path) -> None:
    """Refuse to put a bundle, a folder or a .ds2 file, in the place of anything else.

    Raises:
        BundleError: there is something else.
    """
    if path.suffix != ARCHIVE:
        check_replaceable(path)
    if path.suffix != ARCHIVE or not path.exists():
        return
    try:
        with zipfile.ZipFile(path) as archive:
            known = listed_members(archive.read(MANIFEST))
            is_one = bool(known) and set(archive.namelist()) <= known
    except (OSError, zipfile.BadZipFile, KeyError):
        is_one = False
    if not is_one:
        raise BundleError(f"{path} is no bundle and would be lost: name another file")


def save_bundle(out: Path, manifest: Manifest, members: Mapping[str, bytes | Path]) -> None:
    """A folder, or a file if `out` ends in .ds2, which is there when it is whole."""
    if out.suffix != ARCHIVE:
        write_bundle(out, manifest, members)
        return
    check_output(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".bundle-") as temporary:
        new = write_bundle(Path(temporary) / "new", manifest, members)
        os.replace(pack_bundle(new, Path(temporary) / out.name), out)


def _of_formats(manifest: Manifest, kept: tuple[Artefact, ...]) -> Manifest:
    """With these artefacts, and no figures of others."""
    others = {a.weights for a in manifest.artefacts} - {a.weights for a in kept}
    parity = {row: figures for row, figures in manifest.parity.items() if row not in others}
    accuracy = manifest.accuracy if manifest.artefacts[0] in kept else {}
    return replace(manifest, artefacts=kept, parity=parity, accuracy=accuracy)


def _members(bundle: Bundle) -> Members:
    return {name: bundle.folder / name for name in bundle.manifest.members}


def _description(
    bundle: Bundle,
    model: LanguageModel | None,
    words: Sequence[str] | None,
    search: SearchOptions,
) -> dict[str, Any]:
    """What the manifest says of a language model that fits."""
    tokens = bundle.manifest.tokens
    if model:
        model.check_tokens(tokens)
    if model and words is not None and model.description.get("of") == "tokens":
        raise DataError(f"{model.folder} is a model of characters, which takes no lexicon")
    lacking: list[str] = []
    try:
        Decoder(tokens, words=words, language_model=model.binary if model else None, options=search)
        if model and words is not None and words != model.words:
            lacking = unknown_words(words, model.binary)
    except DecoderError as error:
        raise DataError(f"the search cannot be changed like that: {error}") from None
    if lacking:
        raise DataError(
            f"the language model does not know {len(lacking)} of the {len(words or ())} words of "
            f"the lexicon, {', '.join(lacking[:NAMED])} among them: leave them out, or build a "
            "language model that has them (ds2edge lm --adapt)"
        )
    if not model:
        return {}
    description = dict(model.description)
    if words is not None and words != model.words:
        description.pop("coverage", None)  # of its own lexicon
        description["words"] = len(words)
    return description


def _without(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures but those that the language model has a part in."""
    return {
        name: _without(value) if isinstance(value, Mapping) else value
        for name, value in figures.items()
        if name != MEASURED_WITH
    }


def _card(bundle: Bundle) -> str:
    if CARD not in bundle.manifest.members:
        return f"# {bundle.manifest.name}\n"
    return (bundle.folder / CARD).read_text(encoding="utf-8", errors="replace")


def _titled(card: str, name: str) -> str:
    title, newline, rest = card.partition("\n")
    return f"# {name}{newline}{rest}" if title.startswith("# ") else f"# {name}\n\n{card}"


def _noted(card: str, manifest: Manifest, words: Sequence[str] | None) -> str:
    """The card with one note behind its title."""
    model, search = manifest.language_model, manifest.decoder
    now = f"a {model.get('order', '?')}-gram model" if model else "no language model"
    lexicon = "any word" if words is None else f"a lexicon of {len(words)} words"
    note = (
        f"{NOTE} The bundle now has {now} and {lexicon}; decoder: beam {search.beam}, alpha "
        f"{search.alpha:g}, beta {search.beta:g}, max_ambiguity {search.max_ambiguity}. Error "
        "rates with a language model, and what is said of it below, are those of the bundle that "
        "it was made from; its own were not measured."
    )
    paragraphs = [p for p in card.strip().split("\n\n") if not p.startswith(NOTE)]
    titles = 1 if paragraphs[0].startswith("# ") else 0
    return "\n\n".join([*paragraphs[:titles], note, *paragraphs[titles:]]) + "\n"
