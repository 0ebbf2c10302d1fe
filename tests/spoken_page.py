"""What tests do with a page that is spoken to, and what has to be true then."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from browser import Browser, likeness

from ds2edge import Transcriber

ATTEMPTS = 3


class SkippedError(AssertionError):
    """Not all that was spoken was sent."""


def again_if_skipped(test: Callable[..., None]) -> Callable[..., None]:
    """Where the machine is busy, Chromium's microphone skips before the page hears of it.

    What the page itself loses it loses each time, and where `Browser.speak` is the microphone.
    """

    @functools.wraps(test)
    def attempts(*given: object, **fixtures: object) -> None:
        for attempt in range(ATTEMPTS):
            try:
                return test(*given, **fixtures)
            except SkippedError:
                if attempt == ATTEMPTS - 1:
                    raise

    return attempts


def start(page: Browser, url: str) -> None:
    page.open(url)
    page.one("#speak").click()


def hear_all(page: Browser, spoken: Path) -> None:
    """Until all is said and nothing is open; then stop."""
    length = soundfile.info(spoken).duration
    page.wait(lambda: seconds(page.text("#elapsed")) >= length and not page.text(".open"))
    page.one("#speak").click()
    page.wait(lambda: page.run("return sockets.every((one) => one.readyState === 3)"))


def seconds(clock: str) -> int:
    minutes, rest = clock.split(":")
    return 60 * int(minutes) + int(rest)


def shown(page: Browser) -> list[str]:
    """The words of all segments that have ended."""
    return page.run(
        "return Array.from(document.querySelectorAll('.finals .word'), (e) => e.innerText)"
    )


def check_text(page: Browser, transcriber: Transcriber, spoken: Path) -> None:
    """The page shows exactly what is in the samples that it sent, and these are what was spoken.

    Where it sent them over several connections, each went on where the finals before had ended.
    """
    talks = page.conversations()
    for before, after in itertools.pairwise(talks):
        rest = before.rest
        assert np.array_equal(rest, after.samples[: len(rest)])
    last = talks[-1]
    in_samples = transcriber.transcribe(last.samples, last.rate).words
    assert last.words == [word.text for word in in_samples]
    assert shown(page) == [word for talk in talks for word in talk.words]
    assert page.all(".take .unstable") == []
    samples = np.concatenate([*(talk.heard for talk in talks[:-1]), last.samples])
    if (found := likeness(samples, last.rate, spoken)) <= 0.99:
        raise SkippedError(
            f"what was sent is like what was spoken by {found:.3f}, needed more than 0.99"
        )
