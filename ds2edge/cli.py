"""The `ds2edge` command."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import io
import json
import os
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from ds2edge.acoustic import captured_stderr
from ds2edge.arguments import BAD_USAGE, CommandParser
from ds2edge.audio import open_audio
from ds2edge.errors import AudioError, Ds2edgeError, MissingExtraError
from ds2edge.progress import SecondsBar
from ds2edge.results import Transcript
from ds2edge.transcriber import StreamOptions, Transcriber

SUCCESS, SOME_FAILED, FAILED, INTERRUPTED, PIPE_CLOSED = 0, 1, BAD_USAGE, 130, 141

LONG_FILE = 20.0  # seconds of audio from which a single file gets a progress bar

# Commands of the `train` extra: imported when called, so that the others never need TensorFlow.
EXTRA_COMMANDS = {
    "train": ("ds2edge.training.train:main", "train an acoustic model"),
    "evaluate": ("ds2edge.training.evaluate:main", "measure word and character error rates"),
    "lm": ("ds2edge.training.language_model:main", "build a language model and lexicon"),
    "convert": ("ds2edge.convert.command:main", "turn a checkpoint into a model bundle"),
}

EXIT_CODES = """\
exit codes:
  0    everything was done
  1    some of several files failed; the others were transcribed
  2    nothing could be done: bad input, bad usage, or a missing package
  130  interrupted with Ctrl-C
"""

DESCRIPTION = "On-device speech recognition: recordings to text, and training to bundle."
EXAMPLES = """\
examples:
  ds2edge transcribe meeting.wav
  ds2edge transcribe --json *.opus > transcripts.jsonl
  ds2edge info
  ds2edge train --help
"""

TRANSCRIBE_DESCRIPTION = """\
Print what is said in recordings: WAV, FLAC, MP3, Ogg Opus, Ogg Vorbis, AIFF, at any sample rate,
with any number of channels (their mean is transcribed).

One file prints its text. Several print a line each, "FILE: text", in the order given, each as soon
as it is done. On a terminal, a progress bar shows the time left.
"""
TRANSCRIBE_EXAMPLES = """\
examples:
  ds2edge transcribe meeting.wav
  ds2edge transcribe --json interview.mp3 | jq -r '.segments[].words[].text'
  ds2edge transcribe --bundle my-model.ds2 calls/*.flac > calls.txt
"""

INFO_EXAMPLES = """\
examples:
  ds2edge info
  ds2edge info --bundle my-model.ds2
  ds2edge info --json | jq .accuracy
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (`sys.argv` without the program) names.

    Returns: the exit code, see EXIT_CODES.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _run(arguments)
        print(end="", flush=True)  # here, where a full disk can still be told
        return code
    except Ds2edgeError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return PIPE_CLOSED
    except OSError as error:
        _discard_output()
        parts = [str(part) for part in (error.filename, error.strerror) if part]
        return _fail(": ".join(parts) or str(error))


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command but the extra ones, which parse their own arguments."""
    parser = CommandParser("ds2edge", description=DESCRIPTION, epilog=f"{EXAMPLES}\n{EXIT_CODES}")
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    _add_transcribe(commands)
    _add_info(commands)
    for name, (_, help_text) in EXTRA_COMMANDS.items():
        commands.add_parser(name, help=f"{help_text} (needs ds2edge[train])", add_help=False)
    return parser


def transcribe(arguments: argparse.Namespace) -> int:
    """`ds2edge transcribe`."""
    options = StreamOptions(**_given_options(StreamOptions, arguments))
    transcriber = Transcriber(arguments.bundle)
    show = _json_line if arguments.json else _text_line
    several, failed, before = len(arguments.files) > 1, 0, 0.0
    lengths = [_length(path) for path in arguments.files]
    with SecondsBar(sum(lengths), shown=several or sum(lengths) >= LONG_FILE) as bar:
        for path, length in zip(arguments.files, lengths, strict=True):
            try:
                transcript = transcriber.transcribe(
                    path, options=options, progress=bar.reporter(before)
                )
            except Ds2edgeError as error:
                failed += 1
                with bar.hidden():
                    _fail(str(error))
            else:
                with bar.hidden():
                    print(show(path, transcript, several), flush=True)
            before += length
            bar.show(before)
    if failed == len(arguments.files):
        return FAILED
    return SOME_FAILED if failed else SUCCESS


def info(arguments: argparse.Namespace) -> int:
    """`ds2edge info`."""
    facts = Transcriber(arguments.bundle).info()
    if arguments.json:
        print(json.dumps(facts, ensure_ascii=False, default=str))
    else:
        print("\n".join(_fact_lines(facts)))
    return SUCCESS


class _ShowVersion(argparse.Action):
    """`--version`; only then is the slow importlib.metadata needed."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print(f"ds2edge {version('ds2edge')}")
        parser.exit()


def _run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in EXTRA_COMMANDS:
        return _run_extra(arguments[0], arguments[1:])
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may hold bytes that are no characters, and a terminal may lack some.
        sys.stdout.reconfigure(errors="backslashreplace")
    options = build_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _run_extra(command: str, arguments: Sequence[str]) -> int:
    module, function = EXTRA_COMMANDS[command][0].split(":")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with captured_stderr():  # what TensorFlow says of the machine
            imported = importlib.import_module(module)
        run: Callable[[Sequence[str]], int] = getattr(imported, function)
        return run(arguments)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"`ds2edge {command}` needs the package {error.name}: pip install 'ds2edge[train]'"
        ) from None


def _add_transcribe(commands: Any) -> None:
    parser = commands.add_parser(
        "transcribe",
        help="print what is said in recordings",
        description=TRANSCRIBE_DESCRIPTION,
        epilog=f"{TRANSCRIBE_EXAMPLES}\n{EXIT_CODES}",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="recordings")
    parser.add_argument(
        "--json",
        action="store_true",
        help='a line of JSON for each file: "file", "text", "duration", "segments" with "words"',
    )
    _add_bundle(parser)
    _add_options(parser, StreamOptions)
    parser.set_defaults(run=transcribe)


def _add_info(commands: Any) -> None:
    parser = commands.add_parser(
        "info",
        help="describe a model bundle and what runs it",
        description="Describe a model bundle and what runs it.",
        epilog=f"{INFO_EXAMPLES}\n{EXIT_CODES}",
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    _add_bundle(parser)
    parser.set_defaults(run=info)


def _add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle",
        metavar="PATH",
        default="en",
        help="model bundle: a folder or .ds2 file [the embedded English one]",
    )


def _add_options(parser: argparse.ArgumentParser, options: type[StreamOptions]) -> None:
    """A flag for each field of `options`; only those given reach the namespace."""
    group = parser.add_argument_group("recognition options")
    hints = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        flag = "--" + field.name.replace("_", "-")
        text = f"{field.metadata.get('help', '')} [{_said(field.default)}]".replace("%", "%%")
        kind = _plain_type(hints[field.name])
        if kind is bool:
            group.add_argument(
                flag,
                action=argparse.BooleanOptionalAction,
                default=argparse.SUPPRESS,
                help=text,
            )
        else:
            metavar = {int: "N", float: "X"}.get(kind, "TEXT")
            group.add_argument(
                flag, type=kind, metavar=metavar, default=argparse.SUPPRESS, help=text
            )


def _said(default: object) -> str:
    words = {None: "the bundle's own", True: "on", False: "off"}
    return words[default] if default is None or isinstance(default, bool) else str(default)


def _plain_type(hint: Any) -> Any:
    """`float` of `float | None`; other types as they are."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (hint,) = (member for member in typing.get_args(hint) if member is not type(None))
    return hint


def _given_options(options: type[StreamOptions], arguments: argparse.Namespace) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(options)}
    return {name: value for name, value in vars(arguments).items() if name in names}


def _length(path: str) -> float:
    """Seconds of audio by the header; 0 where it cannot be read: transcribing will say why."""
    if not os.path.isfile(path):  # what is read from a pipe could not be read again
        return 0.0
    try:
        with open_audio(path) as file:
            return file.seconds
    except AudioError:
        return 0.0


def _text_line(path: str, transcript: Transcript, several: bool) -> str:
    return f"{path}: {transcript.text}" if several else transcript.text


def _json_line(path: str, transcript: Transcript, several: bool) -> str:
    return json.dumps({"file": path, **transcript.as_dict()}, ensure_ascii=False)


def _fact_lines(facts: Mapping[str, object], indent: str = "") -> list[str]:
    """`name  value` lines; a mapping's own facts follow it, indented."""
    lines = []
    for name, value in facts.items():
        label = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            lines += [label, *_fact_lines(value, indent + "  ")]
        else:
            lines.append(f"{label:<24} {value}")
    return lines


def _fail(message: str) -> int:
    print("ds2edge:", " ".join(message.split("\n")), file=sys.stderr)
    return FAILED


def _discard_output() -> None:
    """Keep Python from trying once more, at its end, to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    raise SystemExit(main())
