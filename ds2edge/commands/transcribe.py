"""`ds2edge transcribe`: files, folders and standard input to text."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ds2edge.arguments import (
    EXIT_CODES,
    FAILED,
    INTERRUPTED,
    SOME_FAILED,
    SUCCESS,
    fail,
    show_warnings,
)
from ds2edge.audio import SCALES
from ds2edge.bundle import load_bundle
from ds2edge.commands.flags import (
    PrintSchema,
    add_backend,
    add_bundle,
    add_options,
    given_backend,
    given_options,
)
from ds2edge.commands.interrupt import Interrupt, hear
from ds2edge.commands.outputs import SHAPES, Files, Show
from ds2edge.commands.recordings import STANDARD_INPUT, is_pipe, length, raw_blocks, recordings
from ds2edge.commands.workers import Heard, transcribe_here, transcribe_in_processes
from ds2edge.errors import ConfigError, Ds2edgeError
from ds2edge.options import StreamOptions
from ds2edge.progress import SecondsBar, redraws
from ds2edge.results import Event, Final, Transcript
from ds2edge.transcriber import Transcriber

LONG_FILE = 20.0  # seconds of audio from which a single file gets a progress bar

DESCRIPTION = """\
Print what is said in recordings.

They are WAV, FLAC, MP3, Ogg Opus, Ogg Vorbis, AIFF, at any sample rate, with
any number of channels (their mean is transcribed). Of a folder all recordings
are transcribed, in the order of their names. "-" is standard input: a recording
with a header or, with --sample-rate, raw samples, whose segments are printed as
soon as they end.

One file prints its text. Several print a line each, "FILE: text", in the order
given, each as soon as it and those before it are done. On a terminal, a
progress bar shows the time left. Ctrl-C ends with the text up to there.
"""
EXAMPLES = """\
examples:
  ds2edge transcribe meeting.wav
  ds2edge transcribe --json talk.mp3 | jq -r '.segments[].words[].text'
  ds2edge transcribe --srt lecture.mp3 > lecture.srt
  ds2edge transcribe --vtt --output subtitles/ --jobs 4 lectures/
  ds2edge transcribe --boost "mrs quilter=4" --boost quilter=3 meeting.wav
  ds2edge transcribe --bundle my-model.ds2 calls/*.flac > calls.txt
  arecord -f S16_LE -r 16000 -t raw | ds2edge transcribe --sample-rate 16000 -
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "transcribe",
        help="print what is said in recordings",
        usage="%(prog)s [options] FILE [FILE ...]",
        description=DESCRIPTION,
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="recordings, folders or -")
    shape = parser.add_mutually_exclusive_group()
    for name, help in (
        ("json", 'a line of JSON for each file: "file", "text", "duration", "segments"'),
        ("words", "a line for each word: start and end in seconds, confidence, word"),
        ("srt", "SubRip subtitles"),
        ("vtt", "WebVTT subtitles"),
    ):
        shape.add_argument(f"--{name}", dest="shape", action="store_const", const=name, help=help)
    parser.add_argument("--display", action="store_true", help="figures and capital letters")
    parser.add_argument(
        "--segment",
        action="store_true",
        help="words of Chinese in the place of characters, by jieba (needs ds2edge[zh])",
    )
    parser.add_argument(
        "--output", metavar="FOLDER", type=Path, help="write a file there for each recording"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        default=1,
        help="files at a time, in a process each; 0 is one for each processor [1]",
    )
    parser.add_argument("--schema", action=PrintSchema, kind="file")
    raw = parser.add_argument_group("raw samples on standard input")
    raw.add_argument("--sample-rate", type=float, metavar="HZ", help="of the samples")
    raw.add_argument(
        "--dtype",
        default="int16",
        choices=SCALES,
        metavar="TYPE",
        help=f"{', '.join(SCALES)} [int16]",
    )
    raw.add_argument("--channels", type=int, default=1, metavar="N", help="of the samples [1]")
    add_bundle(parser)
    add_options(parser, StreamOptions)
    add_backend(parser)
    parser.set_defaults(run=run, shape="text")


def run(arguments: argparse.Namespace) -> int:
    """Returns: the exit code."""
    show_warnings()
    options, backend = given_options(StreamOptions, arguments), given_backend(arguments)
    files = list(recordings(arguments.files))
    raw = arguments.sample_rate is not None
    _check(arguments, files, raw)
    transcriber = Transcriber(load_bundle(arguments.bundle), **backend)
    transcriber.decoder(options)  # a phrase that cannot be spelled is one error, not one a file
    with Interrupt() as interrupt:
        if raw:
            return _run_raw(transcriber, options, arguments, interrupt)
        return _run_files(transcriber, files, options, arguments, interrupt)


def _shower(arguments: argparse.Namespace, several: bool) -> Show:
    """What the flags make of a transcript.

    Raises:
        MissingExtraError: they ask for what is not installed.
    """
    show = SHAPES[arguments.shape](arguments.display, several)
    if not arguments.segment:
        return show
    from ds2edge.segmentation import load_jieba, segmented  # late: only for those who ask

    load_jieba()
    return lambda path, transcript: show(path, segmented(transcript))


def _check(arguments: argparse.Namespace, files: Sequence[str], raw: bool) -> None:
    """What argparse does not see."""
    shape = arguments.shape
    if arguments.jobs < 0:
        raise ConfigError(f"--jobs must be 0 or more, got {arguments.jobs}")
    if raw and list(files) != [STANDARD_INPUT]:
        raise ConfigError("--sample-rate is for raw samples on standard input: FILE must be -")
    if raw and arguments.output:
        raise ConfigError("--output is for recordings with a header, not for raw samples")
    if raw and shape in ("srt", "vtt"):
        raise ConfigError(f"--{shape} of standard input is for recordings with a header")
    if shape in ("srt", "vtt") and len(files) > 1 and not arguments.output:
        raise ConfigError(f"--{shape} of {len(files)} files needs --output FOLDER")


def _run_files(
    transcriber: Transcriber,
    files: Sequence[str],
    options: StreamOptions,
    arguments: argparse.Namespace,
    interrupt: Interrupt,
) -> int:
    show = _shower(arguments, len(files) > 1)
    folder = Files(arguments.output, files, arguments.shape) if arguments.output else None
    jobs = arguments.jobs or len(os.sched_getaffinity(0))
    alone = min(jobs, len(files)) == 1 or any(map(is_pipe, files))
    transcribe = transcribe_here if alone else partial(transcribe_in_processes, jobs)
    told = failed = 0
    cut: list[Heard] = []  # by Ctrl-C
    with _bar(files) as bar:
        for heard in transcribe(transcriber, files, options, interrupt, bar.report):
            bar.done(told)
            with bar.hidden():
                try:
                    _tell(heard, show, folder, told)
                except Ds2edgeError as error:
                    failed += 1
                    fail(str(error))
            told += 1
            cut += [] if heard.is_whole else [heard]
    if cut or told < len(files):
        return _interrupted(
            [f"{each.seconds:.1f} s of {each.path}" for each in cut if each.seconds]
        )
    if failed == len(files):
        return FAILED
    return SOME_FAILED if failed else SUCCESS


def _bar(files: Sequence[str]) -> SecondsBar:
    # Nobody waits for the lengths where there is no bar.
    lengths = [length(path) if redraws(sys.stderr) else 0.0 for path in files]
    shown = len(files) > 1 or sum(lengths) >= LONG_FILE
    return SecondsBar(lengths, "transcribing", shown)


def _tell(heard: Heard, show: Show, folder: Files | None, number: int) -> None:
    """Print or write what was heard of a file.

    Raises:
        Ds2edgeError: that it could not be transcribed, or not be written.
    """
    if not heard.is_whole and not heard.seconds:
        return
    shown = show(heard.path, heard.transcript)
    if folder:
        folder.write(number, shown)
    else:
        print(shown, end="", flush=True)


def _run_raw(
    transcriber: Transcriber,
    options: StreamOptions,
    arguments: argparse.Namespace,
    interrupt: Interrupt,
) -> int:
    """Raw samples from standard input: a segment is shown as soon as it ends."""
    show = _shower(arguments, False)

    def tell(events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Final) and event.words:
                segment = Transcript((event,), event.end)
                print(show(STANDARD_INPUT, segment), end="", flush=True)

    blocks = raw_blocks(arguments.sample_rate, arguments.dtype, arguments.channels, interrupt)
    with transcriber.stream(arguments.sample_rate, options) as stream:
        hear(stream, blocks, tell)
        return _interrupted([f"{stream.seconds:.1f} s"]) if interrupt.asked else SUCCESS


def _interrupted(after: Sequence[str]) -> int:
    fail(f"interrupted after {', '.join(after)}" if after else "interrupted")
    return INTERRUPTED
