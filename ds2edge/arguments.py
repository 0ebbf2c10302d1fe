"""The parser of every `ds2edge` command."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

BAD_USAGE = 2


class CommandParser(argparse.ArgumentParser):
    """Examples in the help keep their lines; an error is one line and exit code 2."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        settings.setdefault("allow_abbrev", False)
        super().__init__(*arguments, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_USAGE, f"ds2edge: {message}; see {self.prog} --help\n")
