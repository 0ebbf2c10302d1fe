"""What tests do with a page that is spoken to, and what has to be true then."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from browser import Browser, likeness

from ds2edge import Transcriber


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
    """What the page shows is what was spoken, to `Browser.speak`: a microphone may skip."""
    sent, rate = check_sent(page, transcriber)
    assert likeness(sent, rate, spoken) > 0.99


def check_sent(page: Browser, transcriber: Transcriber) -> tuple[np.ndarray[Any, Any], float]:
    """The page shows exactly what is in the samples that it sent; returns these, and their rate.

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
    return np.concatenate([*(talk.heard for talk in talks[:-1]), last.samples]), last.rate
