"""Recordings that training does without: each has a line in the log file, all a line together."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ds2edge.errors import DataError
from ds2edge.training.data.manifest import Utterance

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Omission:
    """A recording that is not used."""

    utterance: Utterance
    reason: str
    characters: tuple[str, ...] = ()  # of its text that cannot be spelled


class LeftOut:
    """All omissions of a run."""

    def __init__(self) -> None:
        self.omissions: list[Omission] = []

    def add(
        self, utterance: Utterance, reason: str, detail: str = "", characters: Sequence[str] = ()
    ) -> None:
        """One recording more; told to the log file, for the terminal there is `report`."""
        self.omissions.append(Omission(utterance, reason, tuple(characters)))
        log.debug("%s: left out, %s: %s", utterance.where, reason, detail or utterance.path)

    def report(self, what: str, total: int) -> None:
        """Sum them up in one warning, if there are any."""
        if self.omissions:
            count = len(self.omissions)
            log.warning(
                "%s: left out %d of %d recordings: %s", what, count, total, summary(self.omissions)
            )

    def check(self, given: Sequence[Utterance], used: Sequence[Utterance]) -> None:
        """Refuse a manifest of which nothing is used.

        Raises:
            DataError: there is one; the message has its omissions.
        """
        empty = {u.manifest for u in given} - {u.manifest for u in used}
        for manifest in sorted(map(str, empty)):
            own = [o for o in self.omissions if str(o.utterance.manifest) == manifest]
            raise DataError(f"{manifest} has no recording that can be used: {summary(own)}")


def summary(omissions: Iterable[Omission]) -> str:
    """How many for which reason, the first place of each, and the characters that are not known."""
    reasons: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    first: dict[str, str] = {}
    for omission in omissions:
        reasons[omission.reason] += 1
        characters.update(omission.characters)
        first.setdefault(omission.reason, omission.utterance.where)
    parts = [f"{n} {reason} (first: {first[reason]})" for reason, n in reasons.most_common()]
    if characters:
        most = ", ".join(f"{c!r} {n} times" for c, n in characters.most_common(10))
        parts.append(f"unknown characters: {most}")
    return "; ".join(parts)
