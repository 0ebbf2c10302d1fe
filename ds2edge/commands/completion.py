"""`ds2edge completion`: what a shell needs to complete the command's words."""

from __future__ import annotations

import argparse
from typing import Any

from ds2edge.arguments import EXIT_CODES, SUCCESS

SHELLS = ("bash", "zsh", "fish")

DESCRIPTION = """\
Print a script with which a shell completes commands, flags and files.

Install it as below; new shells then have it. Do so again when ds2edge was
upgraded.
"""
EXAMPLES = """\
to install it:
  bash, with the package bash-completion:
    mkdir -p ~/.local/share/bash-completion/completions
    ds2edge completion bash > ~/.local/share/bash-completion/completions/ds2edge
  bash, without it, in ~/.bashrc:
    source <(ds2edge completion bash)
  zsh, where FOLDER is one of $fpath:
    ds2edge completion zsh > FOLDER/_ds2edge
  fish:
    ds2edge completion fish > ~/.config/fish/completions/ds2edge.fish
"""


def add_parser(commands: Any, root: argparse.ArgumentParser) -> None:
    """Add the command to the subparsers of `root`, whose words are completed."""
    parser = commands.add_parser(
        "completion",
        help="print a script that completes commands, flags and files",
        description=DESCRIPTION,
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    parser.add_argument("shell", choices=SHELLS, help="for which shell")
    parser.set_defaults(run=run, root=root)


def run(arguments: argparse.Namespace) -> int:
    """Returns: the exit code."""
    import shtab  # late: nobody else needs it

    _complete_files(arguments.root, {"FILE": shtab.FILE, "PATH": shtab.FILE, "FOLDER": shtab.DIR})
    print(shtab.complete(arguments.root, arguments.shell))
    return SUCCESS


def _complete_files(parser: argparse.ArgumentParser, by_metavar: dict[str, Any]) -> None:
    """Tell shtab which values are files and folders, by what the help calls them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                _complete_files(each, by_metavar)
        elif isinstance(action.metavar, str) and action.metavar in by_metavar:
            setattr(action, "complete", by_metavar[action.metavar])  # noqa: B010 # shtab's own
