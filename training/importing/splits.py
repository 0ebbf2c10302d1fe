"""Splits for corpora that have none: a share of the speakers is held back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ds2edge.training.importing.entries import Entry


def hold_back(entries: Sequence[Entry], dev: float, test: float) -> list[Entry]:
    """The same with a split where the corpus tells none: `train`, or of the shares, held back.

    Whole speakers are, where there are enough of them for each share; else single recordings.
    The same ones whenever it is asked for, whatever the order.
    """
    undecided = [entry for entry in entries if not entry.split]
    speakers = {entry.speaker for entry in undecided}
    if all(round(share * len(speakers)) for share in (dev, test) if share):
        splits = draw_splits(speakers, dev, test)
        return [replace(e, split=e.split or splits[e.speaker]) for e in entries]
    splits = draw_splits({entry.name for entry in undecided}, dev, test)
    return [replace(e, split=e.split or splits[e.name]) for e in entries]


def draw_splits(names: Iterable[str], dev: float, test: float) -> dict[str, str]:
    """A split for each name: of each share that is not 0 at least one, the others `train`."""
    drawn = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="replace")).digest())
    first = max(1, round(dev * len(drawn))) if dev else 0
    last = first + (max(1, round(test * len(drawn))) if test else 0)
    kinds = ["dev"] * first + ["test"] * (last - first) + ["train"] * len(drawn)
    return dict(zip(drawn, kinds, strict=False))
