"""Where `ds2edge mic` shows what is heard: lines, JSON, subtitles, a terminal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ds2edge.microphone import Microphone
from ds2edge.progress import redraws
from ds2edge.results import Event, Final, event_to_json
from ds2edge.subtitles import cues, srt_cue

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

METER = 10  # characters of the level meter


class View(Protocol):
    """Shows what is heard, somewhere."""

    def show(self, events: list[Event], microphone: Microphone) -> None:
        """What is new, maybe nothing."""


@contextmanager
def main_view(as_json: bool, displayed: bool) -> Iterator[View]:
    """What stands on standard output."""
    if as_json:
        yield JsonLines(displayed)
    elif not redraws(sys.stdout):
        yield Lines(displayed)
    else:
        from rich.live import Live  # late: slower to import than ds2edge

        with Live(refresh_per_second=10, transient=True) as live, _warnings_on(live):
            yield Screen(live, displayed)


class Lines:
    """Segments that ended, a line each."""

    def __init__(self, displayed: bool) -> None:
        self._displayed = displayed

    def show(self, events: list[Event], microphone: Microphone) -> None:
        for event in events:
            if isinstance(event, Final) and event.words:
                print(shown(event, self._displayed), flush=True)


class JsonLines:
    """Every event, a line each."""

    def __init__(self, displayed: bool) -> None:
        self._displayed = displayed

    def show(self, events: list[Event], microphone: Microphone) -> None:
        for event in events:
            print(event_to_json(event, self._displayed), flush=True)


class Subtitles:
    """Segments that ended, as SubRip in a file, which is whole after each of them."""

    def __init__(self, path: Path) -> None:
        self._path, self._number, self._end = path, 1, 0.0
        self._file = path.open("wb", buffering=0)  # so that what fails is not tried again later

    def show(self, events: list[Event], microphone: Microphone) -> None:
        finals = [event for event in events if isinstance(event, Final)]
        for cue in cues(finals, after=self._end):
            self._write(srt_cue(self._number, cue).encode())
            self._number, self._end = self._number + 1, cue.end

    def _write(self, text: bytes) -> None:
        begin = os.fstat(self._file.fileno()).st_size
        try:
            left = memoryview(text)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            with suppress(OSError):  # a part of a subtitle would spoil the file
                self._file.truncate(begin)
                self._file.seek(begin)
            raise OSError(error.errno, error.strerror, str(self._path)) from None

    def __enter__(self) -> Subtitles:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Screen:
    """Segments that ended scroll; below them, in one line, stands what is open."""

    def __init__(self, live: Live, displayed: bool) -> None:
        self._live, self._displayed, self._text = live, displayed, ""

    def show(self, events: list[Event], microphone: Microphone) -> None:
        from rich.text import Text

        for event in events:
            self._text = "" if isinstance(event, Final) else shown(event, self._displayed)
            if isinstance(event, Final) and event.words:
                self._live.console.print(Text(shown(event, self._displayed)))
        self._live.update(self._last_line(microphone))

    def _last_line(self, microphone: Microphone) -> Text:
        """The end of the text where it does not fit: what is said just now."""
        from rich.cells import cell_len
        from rich.text import Text

        width = self._live.console.width - 1
        state = _state(microphone)
        if len(state) > width / 2:  # a narrow terminal is for the text
            state = ""
        text = self._text or f"listening to {microphone.device_name}"
        room = max(1, width - len(state))
        if cell_len(text) > room:
            text = text[1 - room :]
            while cell_len(text) >= room:  # some characters are two cells wide
                text = text[1:]
            text = f"\u2026{text}"
        style = "cyan" if self._text else "dim"
        return Text.assemble((state, "dim"), (text, style), no_wrap=True)


class _Warnings(logging.Handler):
    """What is wrong with the audio, for the eyes of who speaks."""

    def __init__(self, live: Live) -> None:
        super().__init__(logging.WARNING)
        self._live = live

    def emit(self, record: logging.LogRecord) -> None:
        from rich.text import Text

        self._live.console.print(Text(record.getMessage(), "yellow"))


@contextmanager
def _warnings_on(live: Live) -> Iterator[None]:
    logger, handler = logging.getLogger("ds2edge"), _Warnings(live)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def shown(event: Event, displayed: bool) -> str:
    """An event's text, with or without figures and capital letters."""
    return event.display if displayed else event.text


def _state(microphone: Microphone) -> str:
    """Level meter, seconds behind, seconds lost."""
    level = min(METER, round(METER * microphone.level**0.5))  # so that quiet speech is seen
    meter = "\u2588" * level + "\u2591" * (METER - level)
    lost = f" lost {microphone.dropped_seconds:.1f} s" if microphone.dropped_seconds else ""
    return f"{meter} {microphone.lag_seconds:4.1f} s behind{lost}  "
