"""`ds2edge mic`: live transcription of a microphone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ds2edge.arguments import EXIT_CODES, SUCCESS
from ds2edge.audio import FloatArray
from ds2edge.commands.flags import (
    PrintSchema,
    add_backend,
    add_bundle,
    add_options,
    given_backend,
    given_options,
)
from ds2edge.commands.interrupt import Interrupt, hear
from ds2edge.commands.views import Subtitles, View, main_view
from ds2edge.microphone import Microphone
from ds2edge.options import StreamOptions
from ds2edge.results import Event
from ds2edge.transcriber import Transcriber

DESCRIPTION = """\
Transcribe a microphone as it is spoken into, until Ctrl-C.

On a terminal the text so far stands in the last line and changes as more is
heard, beside how loud it is and how far behind the transcription is; segments
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
        usage="%(prog)s [options]",
        description=DESCRIPTION,
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    parser.add_argument(
        "--device",
        dest="microphone",
        metavar="NAME",
        type=_number_or_name,
        help="see `ds2edge devices` [default]",
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each event")
    parser.add_argument("--srt", metavar="FILE", type=Path, help="write subtitles there, too")
    parser.add_argument("--display", action="store_true", help="figures and capital letters")
    parser.add_argument("--seconds", type=float, metavar="X", help="stop after so much audio")
    parser.add_argument("--schema", action=PrintSchema, kind="event")
    add_bundle(parser)
    add_options(parser, StreamOptions)
    add_backend(parser, device="--model-device")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Returns: the exit code."""
    options = given_options(StreamOptions, arguments)
    transcriber = Transcriber(arguments.bundle, **given_backend(arguments))
    transcriber.decoder(options)  # refuses what cannot be spelled before anything is opened
    with ExitStack() as stack:
        microphone = stack.enter_context(Microphone(arguments.microphone))
        views: list[View] = [stack.enter_context(main_view(arguments.json, arguments.display))]
        if arguments.srt:
            views.append(stack.enter_context(Subtitles(arguments.srt)))
        stream = stack.enter_context(transcriber.stream(microphone.sample_rate, options))
        interrupt = stack.enter_context(Interrupt())

        def blocks() -> Iterator[FloatArray]:
            for block in _until_the_end(microphone, interrupt):
                yield block
                if arguments.seconds and stream.seconds >= arguments.seconds:
                    return

        hear(stream, blocks(), lambda events: _show(views, events, microphone))
    return SUCCESS


def _until_the_end(microphone: Microphone, interrupt: Interrupt) -> Iterator[FloatArray]:
    """Its blocks until Ctrl-C, and then those that wait: they were spoken before."""
    while (block := interrupt.wait(lambda: next(microphone, None))) is not None:
        yield block
    microphone.close()
    while (block := next(microphone, None)) is not None:
        yield block


def _show(views: list[View], events: list[Event], microphone: Microphone) -> None:
    """A view that fails keeps no other from its events."""
    failed: OSError | None = None
    for view in views:
        try:
            view.show(events, microphone)
        except OSError as error:
            failed = failed or error
    if failed:
        raise failed


def _number_or_name(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
