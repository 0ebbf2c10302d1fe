"""`ds2edge transcribe`: files, folders and standard input to text."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ds2edge.arguments import EXIT_CODES, FAILED, SOME_FAILED, SUCCESS, fail
from ds2edge.audio import open_audio
from ds2edge.commands.flags import add_bundle, add_options, given_options
from ds2edge.errors import AudioError, ConfigError, Ds2edgeError
from ds2edge.options import StreamOptions
from ds2edge.progress import SecondsBar
from ds2edge.results import Final, Transcript
from ds2edge.subtitles import to_srt, to_vtt
from ds2edge.transcriber import Transcriber

STANDARD_INPUT = "-"
SUFFIXES = frozenset(
    [".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"]
)
LONG_FILE = 20.0  # seconds of audio from which a single file gets a progress bar
BLOCK_SECONDS = 0.25  # of raw samples that are read at once

Show: TypeAlias = Callable[[str, Transcript], str]  # of a file, with the line's end

DESCRIPTION = """\
Print what is said in recordings: WAV, FLAC, MP3, Ogg Opus, Ogg Vorbis, AIFF, at any sample rate,
with any number of channels (their mean is transcribed). Of a folder all recordings are
transcribed, in the order of their names. "-" is standard input: a recording with a header or,
with --sample-rate, raw samples, whose segments are printed as soon as they end.

One file prints its text. Several print a line each, "FILE: text", in the order given, each as soon
as it is done. On a terminal, a progress bar shows the time left.
"""
EXAMPLES = """\
examples:
  ds2edge transcribe meeting.wav
  ds2edge transcribe --json interview.mp3 | jq -r '.segments[].words[].text'
  ds2edge transcribe --srt lecture.mp3 > lecture.srt
  ds2edge transcribe --vtt --output subtitles/ lectures/
  ds2edge transcribe --boost "mrs quilter=4" --boost quilter=3 --display meeting.wav
  ds2edge transcribe --bundle my-model.ds2 calls/*.flac > calls.txt
  arecord -f S16_LE -r 16000 -t raw | ds2edge transcribe --sample-rate 16000 -
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "transcribe",
        help="print what is said in recordings",
        description=DESCRIPTION,
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="recordings, folders or -")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument(
        "--json",
        dest="shape",
        action="store_const",
        const="json",
        help='a line of JSON for each file: "file", "text", "duration", "segments" with "words"',
    )
    for name, help in (
        ("words", "a line for each word: start and end in seconds, confidence, word"),
        ("srt", "SubRip subtitles"),
        ("vtt", "WebVTT subtitles"),
    ):
        shape.add_argument(f"--{name}", dest="shape", action="store_const", const=name, help=help)
    parser.add_argument("--display", action="store_true", help="figures and capital letters")
    parser.add_argument(
        "--output", metavar="FOLDER", type=Path, help="write a file there for each recording"
    )
    raw = parser.add_argument_group("raw samples on standard input")
    raw.add_argument("--sample-rate", type=float, metavar="HZ", help="of the samples")
    raw.add_argument(
        "--dtype", default="int16", metavar="TYPE", help="int16, int32, float32, float64 [int16]"
    )
    raw.add_argument("--channels", type=int, default=1, metavar="N", help="of the samples [1]")
    add_bundle(parser)
    add_options(parser, StreamOptions)
    parser.set_defaults(run=run, shape="text")


def run(arguments: argparse.Namespace) -> int:
    """Returns: the exit code."""
    options = given_options(StreamOptions, arguments)
    files = list(_recordings(arguments.files))
    shape = arguments.shape
    if shape in ("srt", "vtt") and len(files) > 1 and not arguments.output:
        raise ConfigError(f"--{shape} of {len(files)} files needs --output FOLDER")
    transcriber = Transcriber(arguments.bundle)
    if arguments.sample_rate is not None:
        return _run_raw(transcriber, files, options, arguments)
    show = SHAPES[shape](arguments.display, len(files) > 1)
    write = _into_folder(arguments.output, shape) if arguments.output else _print
    lengths = [_length(path) for path in files]
    failed, before = 0, 0.0
    with SecondsBar(sum(lengths), shown=len(files) > 1 or sum(lengths) >= LONG_FILE) as bar:
        for path, length in zip(files, lengths, strict=True):
            try:
                transcript = transcriber.transcribe(
                    _readable(path), options=options, progress=bar.reporter(before)
                )
            except Ds2edgeError as error:
                failed += 1
                with bar.hidden():
                    fail(str(error))
            else:
                with bar.hidden():
                    write(path, show(path, transcript))
            before += length
            bar.show(before)
    if failed == len(files):
        return FAILED
    return SOME_FAILED if failed else SUCCESS


def _run_raw(
    transcriber: Transcriber,
    files: Sequence[str],
    options: StreamOptions,
    arguments: argparse.Namespace,
) -> int:
    """Raw samples from standard input: a segment is shown as soon as it ends."""
    if list(files) != [STANDARD_INPUT]:
        raise ConfigError("--sample-rate is for raw samples on standard input: FILE must be -")
    if arguments.shape in ("srt", "vtt"):
        raise ConfigError(f"--{arguments.shape} of standard input is for recordings with a header")
    show = SHAPES[arguments.shape](arguments.display, False)
    for event in transcriber.events(_raw_blocks(arguments), arguments.sample_rate, options):
        if isinstance(event, Final) and event.words:
            segment = Transcript((event,), event.end)
            print(show(STANDARD_INPUT, segment), end="", flush=True)
    return SUCCESS


def _raw_blocks(arguments: argparse.Namespace) -> Iterator[np.ndarray[Any, Any]]:
    """The samples on standard input; shape = (n, channels)."""
    try:
        dtype = np.dtype(arguments.dtype)
    except TypeError:
        raise AudioError(
            f"samples must be int16, int32, float32 or float64, got {arguments.dtype!r}"
        ) from None
    if arguments.channels < 1:
        raise AudioError(f"--channels must be 1 or more, got {arguments.channels}")
    frame = dtype.itemsize * arguments.channels
    size = max(1, round(arguments.sample_rate * BLOCK_SECONDS)) * frame
    rest = b""
    while data := os.read(sys.stdin.fileno(), size):  # what there is, without waiting for all
        data = rest + data
        whole = len(data) - len(data) % frame
        rest = data[whole:]
        yield np.frombuffer(data[:whole], dtype).reshape(-1, arguments.channels)
    if rest:
        raise AudioError(f"the samples end in the middle: {len(rest)} of {frame} bytes are left")


def _recordings(given: Iterable[str]) -> Iterator[str]:
    """Each file, and those of each folder; a folder that has none stands for itself."""
    for path in given:
        found = sorted(p for p in Path(path).rglob("*") if p.suffix.lower() in SUFFIXES)
        yield from map(str, found) if found else [path]


def _readable(path: str) -> str:
    if os.path.isdir(path):
        raise AudioError(f"{path} is a folder without recordings ({' '.join(sorted(SUFFIXES))})")
    return "/dev/stdin" if path == STANDARD_INPUT else path


def _length(path: str) -> float:
    """Seconds of audio by the header; 0 where it cannot be read: transcribing will say why."""
    if not os.path.isfile(path):  # what is read from a pipe could not be read again
        return 0.0
    try:
        with open_audio(path) as file:
            return file.seconds
    except AudioError:
        return 0.0


def _print(path: str, shown: str) -> None:
    print(shown, end="", flush=True)


def _into_folder(folder: Path, shape: str) -> Callable[[str, str], None]:
    """Writes a file for each recording; a name that is taken already gets a number."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = {"text": "txt", "words": "tsv"}.get(shape, shape)
    taken: set[str] = set()

    def write(path: str, shown: str) -> None:
        stem = "stdin" if path == STANDARD_INPUT else Path(path).stem
        name, number = f"{stem}.{suffix}", 2
        while name in taken:
            name, number = f"{stem}-{number}.{suffix}", number + 1
        taken.add(name)
        part = folder / f".{name}.part"
        try:
            part.write_text(shown, encoding="utf-8", errors="surrogateescape")
            part.replace(folder / name)
        finally:
            part.unlink(missing_ok=True)

    return write


def _text(displayed: bool, several: bool) -> Show:
    def show(path: str, transcript: Transcript) -> str:
        text = transcript.display if displayed else transcript.text
        return f"{path}: {text}\n" if several else f"{text}\n"

    return show


def _words(displayed: bool, several: bool) -> Show:
    def show(path: str, transcript: Transcript) -> str:
        name = f"{path}\t" if several else ""
        return "".join(
            f"{name}{word.start:.2f}\t{word.end:.2f}\t{word.confidence:.2f}\t{word.text}\n"
            for word in transcript.words
        )

    return show


def _json(displayed: bool, several: bool) -> Show:
    def show(path: str, transcript: Transcript) -> str:
        facts = {"file": path, **transcript.as_dict()}
        if displayed:
            facts["display"] = transcript.display
        return json.dumps(facts, ensure_ascii=False) + "\n"

    return show


def _srt(displayed: bool, several: bool) -> Show:
    return lambda _, transcript: to_srt(transcript.segments)


def _vtt(displayed: bool, several: bool) -> Show:
    return lambda _, transcript: to_vtt(transcript.segments)


# By flag; called with --display and whether there are several files.
SHAPES: dict[str, Callable[[bool, bool], Show]] = {
    "text": _text,
    "words": _words,
    "json": _json,
    "srt": _srt,
    "vtt": _vtt,
}
