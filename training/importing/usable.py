"""Why an entry cannot be trained on; the same words for all of a kind, and what is the matter."""

from __future__ import annotations

from collections.abc import Iterable

from ds2edge.text import TokenSet, normalise
from ds2edge.training.data.spelling import unknown_characters
from ds2edge.training.importing.entries import Entry
from ds2edge.training.importing.recordings import Found
from ds2edge.training.texts.traditional import traditional_characters

MANY_TOKENS = 1000  # a set of so many is one of syllables or words
# Characters that are spoken in a second. A short "yes" in a long recording is still right; the
# fastest talkers reach 25 letters, or 8 syllables.
SLOWEST, FASTEST, FASTEST_SYLLABLES = 0.3, 40.0, 15.0

Problem = tuple[str, str]  # reason and detail


def problem_of_text(entry: Entry, token_set: TokenSet, longest: float) -> Problem | None:
    """What can be told without the recording."""
    names = f"{entry.audio}{entry.speaker}"
    if entry.problem:
        return "that cannot be made sense of", entry.problem
    if any(character in names for character in "\t\r\n") or not _is_text(names + entry.text):
        return "with a name that no manifest can hold", repr(names)
    if unknown := unknown_characters(entry.text, token_set):
        hint = "; --simplify converts traditional characters" if _old(unknown, token_set) else ""
        named = "".join(dict.fromkeys(unknown))
        return "that cannot be spelled", f"{named!r} in {entry.text!r}{hint}"
    if not normalise(entry.text, token_set):
        return "without text", repr(entry.text)
    if entry.start is None:
        return None
    times = f"from {entry.start:g} s to {'its end' if entry.end is None else f'{entry.end:g} s'}"
    if not 0 <= entry.start < (float("inf") if entry.end is None else entry.end):
        return "with times that make no sense", times
    if entry.end is not None and entry.end - entry.start > longest:
        return f"longer than {longest:g} s", times
    return None


def problem_of_sound(
    entry: Entry, found: Found, seconds: float, token_set: TokenSet, longest: float
) -> Problem | None:
    """What its recording tells; `seconds` is how long the entry is."""
    if found.error:
        return "that cannot be read", found.error
    if not seconds:
        return "beyond the end of the recording", f"{entry.audio} has {found.seconds:.2f} s"
    if seconds > longest:
        return f"longer than {longest:g} s", f"{seconds:.2f} s"
    characters = len(normalise(entry.text, token_set))
    rate = f"{characters} characters in {seconds:.2f} s"
    if characters > seconds * (FASTEST_SYLLABLES if len(token_set) > MANY_TOKENS else FASTEST):
        return "too short for its text", rate
    if characters < seconds * SLOWEST:
        return "too long for its text", rate
    return None


def _old(characters: Iterable[str], token_set: TokenSet) -> bool:
    return token_set.space is None and not traditional_characters().isdisjoint(characters)


def _is_text(name: str) -> bool:
    """Bytes that are no UTF-8 are in a name as halves of characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
