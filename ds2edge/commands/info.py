"""`ds2edge info`: what a bundle is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from ds2edge.arguments import EXIT_CODES, SUCCESS, show_warnings
from ds2edge.commands.flags import add_backend, add_bundle, given_backend
from ds2edge.transcriber import Transcriber

EXAMPLES = """\
examples:
  ds2edge info
  ds2edge info --bundle my-model.ds2
  ds2edge info --json | jq .accuracy
  ds2edge info --bundle my-model.ds2 --device gpu --strict
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "info",
        help="describe a model bundle and what runs it",
        description="Describe a model bundle and what runs it.",
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    add_bundle(parser)
    add_backend(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Returns: the exit code."""
    show_warnings()
    facts = Transcriber(arguments.bundle, **given_backend(arguments)).info()
    if arguments.json:
        print(json.dumps(facts, ensure_ascii=False, default=str))
    else:
        print("\n".join(_fact_lines(facts)))
    return SUCCESS


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
