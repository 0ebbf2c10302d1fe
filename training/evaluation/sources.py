"""What is evaluated, and how it is grouped."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from ds2edge.errors import DataError
from ds2edge.text import TokenSet, normalise
from ds2edge.training.data.manifest import Utterance, corpus_names, read_manifest
from ds2edge.training.data.spelling import reference

HEARD, NEW, UNHEARD = "text heard in training", "new text", "characters never heard"


class Source(NamedTuple):
    """An utterance and where it was listed."""

    set: str  # of its manifest and split
    path: str  # relative to the manifest
    utterance: Utterance


def read_sources(manifests: Sequence[Path], of_split: str | None) -> list[Source]:
    """The utterances of manifests.

    Raises:
        DataError: a manifest cannot be used, or a recording is missing.
    """
    sources = [
        Source(f"{name} {u.split}", os.path.relpath(u.path, manifest.parent), u)
        for name, manifest in zip(corpus_names(manifests), manifests, strict=True)
        for u in read_manifest(manifest, of_split)
    ]
    if any(source.utterance.shard for source in sources):
        raise DataError("shards are for training; give the manifest of the recordings themselves")
    missing = [str(s.utterance.path) for s in sources if not s.utterance.path.is_file()]
    if missing:
        raise DataError(f"{len(missing)} of {len(sources)} recordings are missing: {missing[0]}")
    return sources


def training_texts(manifests: Sequence[Path]) -> list[str]:
    """The texts of recordings that were trained on.

    Raises:
        DataError: a manifest cannot be used.
    """
    return [u.text for manifest in manifests for u in read_manifest(manifest, "train")]


def parted(sources: Sequence[Source], trained: Sequence[str], tokens: TokenSet) -> list[Source]:
    """The same in sets of their own: texts that were heard in training, new texts, and new texts
    with tokens of which training had no example, which a model cannot say."""
    texts = {normalise(text, tokens) for text in trained}
    known = {index for text in texts for index in tokens.encode(text)}
    return [
        one._replace(set=f"{one.set}, {_kind(one.utterance.text, texts, known, tokens)}")
        for one in sources
    ]


def _kind(text: str, texts: Collection[str], known: Collection[int], tokens: TokenSet) -> str:
    spelled = normalise(text, tokens)
    if spelled in texts:
        return HEARD
    if reference(text, tokens) != spelled:
        return UNHEARD
    return NEW if all(index in known for index in tokens.encode(spelled)) else UNHEARD
