"""What every `ds2edge` command shares: its parser, exit codes, and how it fails."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from typing import Any, NoReturn

SUCCESS, SOME_FAILED, FAILED, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141

EXIT_CODES = """\
exit codes:
  0    everything was done
  1    some of several files failed; the others were transcribed
  2    it failed: bad input or usage, no device, a full disk, a missing package
  130  interrupted with Ctrl-C, which ends `mic` and `serve` with 0
  141  nobody read on: the pipe was closed
"""


class CommandParser(argparse.ArgumentParser):
    """Examples in the help keep their lines; an error is one line and exit code 2."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        settings.setdefault("allow_abbrev", False)
        super().__init__(*arguments, **settings)

    def print_help(self, file: Any = None) -> None:
        """Unlike argparse's, raise OSError where it cannot be written."""
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        self.exit(FAILED, f"ds2edge: {message}; see {self.prog} --help\n")


def show_warnings() -> None:
    """Print what the library warns of in lines like those of `fail`."""
    import logging  # late: --help does without

    logging.basicConfig(format="ds2edge: %(message)s")


def fail(message: str) -> int:
    """Say on standard error, in one line, what went wrong. Returns: the exit code for it."""
    if sys.stderr:  # closed, it would be standard output
        with suppress(OSError):
            print("ds2edge:", " ".join(message.split("\n")), file=sys.stderr, flush=True)
    return FAILED
