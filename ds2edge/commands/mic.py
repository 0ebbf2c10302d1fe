"""`ds2edge mic`: live transcription of a microphone."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from ds2edge.arguments import EXIT_CODES, SUCCESS
from ds2edge.commands.flags import add_bundle, add_options, given_options
from ds2edge.microphone import Microphone
from ds2edge.options import StreamOptions
from ds2edge.results import Event, Final
from ds2edge.subtitles import cues, srt_cue
from ds2edge.transcriber import Transcriber

if TYPE_CHECKING:
    from rich.live import Live

METER = 10  # characters

DESCRIPTION = """\
Transcribe a microphone until Ctrl-C. On a terminal the text so far stands in the last line and
changes as more is heard, beside how loud it is and how far behind the transcription is; segments
that ended scroll. Elsewhere only segments that ended are printed, a line each.
"""
EXAMPLES = """\
examples:
  ds2edge mic
  ds2edge mic --device "USB Audio" --display
  ds2edge mic --boost "mrs quilter=4" --silence-after 0.4
  ds2edge mic --srt captions.srt
  ds2edge mic --json | jq -r 'select(.type == "final").text'
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "mic",
        help="transcribe a microphone as it is spoken into (needs ds2edge[mic])",
        description=DESCRIPTION,
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    parser.add_argument(
        "--device", metavar="NAME", type=_number_or_name, help="see `ds2edge devices` [default]"
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each event")
    parser.add_argument("--srt", metavar="FILE", type=Path, help="write subtitles there, too")
    parser.add_argument("--display", action="store_true", help="figures and capital letters")
    parser.add_argument("--seconds", type=float, metavar="X", help="stop after so much audio")
    add_bundle(parser)
    add_options(parser, StreamOptions)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Returns: the exit code."""
    options = given_options(StreamOptions, arguments)
    transcriber = Transcriber(arguments.bundle)
    with ExitStack() as stack:
        views: list[View] = [stack.enter_context(_view(arguments))]
        if arguments.srt:
            views.append(Subtitles(stack.enter_context(arguments.srt.open("w", encoding="utf-8"))))
        microphone = stack.enter_context(Microphone(arguments.device))
        stream = stack.enter_context(transcriber.stream(microphone.sample_rate, options))

        def tell(events: list[Event]) -> None:
            for view in views:
                view.show(events, microphone)

        try:
            for block in microphone:
                tell(stream.feed(block))
                if arguments.seconds and stream.seconds >= arguments.seconds:
                    break
        except KeyboardInterrupt:
            pass  # how one stops to speak
        finally:
            tell(stream.finish())
    return SUCCESS


class View(Protocol):
    """Shows what is heard, somewhere."""

    def show(self, events: list[Event], microphone: Microphone) -> None:
        """What is new, maybe nothing."""


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

    def show(self, events: list[Event], microphone: Microphone) -> None:
        for event in events:
            kind = "final" if isinstance(event, Final) else "partial"
            facts = {"type": kind, "text": event.text, **asdict(event)}
            print(json.dumps(facts, ensure_ascii=False), flush=True)


class Subtitles:
    """Segments that ended, as SubRip; complete after each of them."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._number, self._end = file, 1, 0.0

    def show(self, events: list[Event], microphone: Microphone) -> None:
        finals = [event for event in events if isinstance(event, Final)]
        for cue in cues(finals, after=self._end):
            self._file.write(srt_cue(self._number, cue))
            self._number, self._end = self._number + 1, cue.end
        self._file.flush()


class Screen:
    """Segments that ended scroll; below them stands what is open."""

    def __init__(self, live: Live, displayed: bool) -> None:
        self._live, self._displayed, self._text = live, displayed, ""

    def show(self, events: list[Event], microphone: Microphone) -> None:
        from rich.text import Text

        for event in events:
            self._text = "" if isinstance(event, Final) else shown(event, self._displayed)
            if isinstance(event, Final) and event.words:
                self._live.console.print(Text(shown(event, self._displayed)))
        self._live.update(Text.assemble((_state(microphone), "dim"), (self._text, "cyan")))


def shown(event: Event, displayed: bool) -> str:
    """An event's text, with or without figures and capital letters."""
    return event.display if displayed else event.text


@contextmanager
def _view(arguments: argparse.Namespace) -> Iterator[View]:
    if arguments.json:
        yield JsonLines()
    elif not sys.stdout.isatty():
        yield Lines(arguments.display)
    else:
        from rich.live import Live  # late: slower to import than ds2edge

        with Live(refresh_per_second=10, transient=True) as live:
            yield Screen(live, arguments.display)


def _state(microphone: Microphone) -> str:
    """Level meter, seconds behind, seconds lost."""
    level = min(METER, round(METER * microphone.level**0.5))  # so that quiet speech is seen
    meter = "\u2588" * level + "\u2591" * (METER - level)
    lost = f" lost {microphone.dropped_seconds:.1f} s" if microphone.dropped_seconds else ""
    return f"{meter} {microphone.lag_seconds:4.1f} s behind{lost}  "


def _number_or_name(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
