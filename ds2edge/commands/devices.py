"""`ds2edge devices`: the microphones there are."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from ds2edge.arguments import EXIT_CODES, SUCCESS, fail
from ds2edge.microphone import input_devices

EXAMPLES = """\
examples:
  ds2edge devices
  ds2edge mic --device 3
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's subparsers."""
    parser = commands.add_parser(
        "devices",
        help="list the microphones (needs ds2edge[mic])",
        description="List the devices that audio can be recorded from; * marks the default.",
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each device")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Returns: the exit code."""
    found = input_devices()
    if not found:
        fail("there is no device that audio can be recorded from")
    for device in found:
        if arguments.json:
            print(json.dumps(asdict(device), ensure_ascii=False))
        else:
            mark = "*" if device.default else " "
            channels = f"{device.channels} channel{'s' if device.channels > 1 else ''}"
            print(
                f"{mark} {device.index:3} {device.sample_rate:6.0f} Hz  {channels:12} {device.name}"
            )
    return SUCCESS
