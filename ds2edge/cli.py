"""The `ds2edge` command."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ds2edge.arguments import EXIT_CODES, INTERRUPTED, PIPE_CLOSED, CommandParser, fail
from ds2edge.commands import bench, bundle, completion, devices, info, mic, serve, transcribe
from ds2edge.errors import Ds2edgeError, MissingExtraError
from ds2edge.runtimes.stderr import captured_stderr

# Commands of the extras: imported when called, so that the others never need what these do.
TRAINING, CONVERSION = "ds2edge.training", "ds2edge.convert"
EXTRA_COMMANDS = {
    "train": (f"{TRAINING}.train:main", "train an acoustic model"),
    "distill": (f"{TRAINING}.distill:main", "train a model that learns from another one"),
    "finetune": (f"{CONVERSION}.finetune:main", "adapt a model to recordings of your own"),
    "data": (f"{TRAINING}.data.command:main", "make training data of recordings"),
    "evaluate": (f"{TRAINING}.evaluation.evaluate:main", "measure word and character error rates"),
    "compare": (
        f"{TRAINING}.evaluation.compare:main",
        "tell which of two models makes fewer errors",
    ),
    "tune": (f"{TRAINING}.evaluation.tune:main", "find the decoder weights of fewest errors"),
    "lm": (f"{TRAINING}.language_model:main", "build a language model and lexicon"),
    "convert": (f"{CONVERSION}.command:main", "turn a checkpoint into a model bundle"),
    "restore": (f"{CONVERSION}.restore:main", "turn a bundle into a checkpoint to train on from"),
}

DESCRIPTION = "On-device speech recognition: recordings to text, and training to bundle."
EXAMPLES = """\
examples:
  ds2edge transcribe meeting.wav
  ds2edge transcribe --json *.opus > transcripts.jsonl
  ds2edge mic
  ds2edge serve
  ds2edge bench meeting.wav
  source <(ds2edge completion bash)
  ds2edge train --help
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (`sys.argv` without the program) names.

    Returns: the exit code, see EXIT_CODES.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        try:
            return _run(arguments)
        finally:  # after --help, too
            print(end="", flush=True)  # here, where a full disk can still be told
    except Ds2edgeError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return PIPE_CLOSED
    except OSError as error:
        _discard_output()
        parts = [str(part) for part in (error.filename, error.strerror) if part]
        return fail(": ".join(parts) or str(error))


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command but the extra ones, which parse their own arguments."""
    parser = CommandParser("ds2edge", description=DESCRIPTION, epilog=f"{EXAMPLES}\n{EXIT_CODES}")
    parser.add_argument("-V", "--version", action=_ShowVersion, nargs=0, help="show the version")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for command in (transcribe, mic, serve, devices, info, bundle, bench):
        command.add_parser(commands)
    completion.add_parser(commands, parser)
    for name, (_, help_text) in EXTRA_COMMANDS.items():
        help_text = f"{help_text} (needs ds2edge[{_extra(name)}])"
        extra = commands.add_parser(name, help=help_text, add_help=False)
        extra.add_argument("files", metavar="FILE", nargs="*")  # for completion alone
    return parser


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
            f"`ds2edge {command}` needs the package {error.name}: "
            f"pip install 'ds2edge[{_extra(command)}]'"
        ) from None


def _extra(command: str) -> str:
    """The optional dependencies that a command needs."""
    return "data" if command == "data" else "train"


def _discard_output() -> None:
    """Keep Python from trying once more, at its end, to write what could not be written."""
    if sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    raise SystemExit(main())
