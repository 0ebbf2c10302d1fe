"""Flags that several commands share: the bundle, and one for each field of StreamOptions."""

from __future__ import annotations

import argparse
import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ds2edge.options import StreamOptions
from ds2edge.results import json_schema


def add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle",
        metavar="PATH",
        default="en",
        help="model bundle: a folder or .ds2 file [the embedded English one]",
    )


def add_options(parser: argparse.ArgumentParser, options: type[StreamOptions]) -> None:
    """A flag for each field of `options`; only those given reach the namespace."""
    group = parser.add_argument_group("recognition options")
    hints = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        flag = "--" + field.name.replace("_", "-")
        text = f"{field.metadata.get('help', '')} [{_said(field.default)}]".replace("%", "%%")
        kind = _plain_type(hints[field.name])
        origin = typing.get_origin(kind)
        details: dict[str, Any] = {
            "type": kind,
            "metavar": {int: "N", float: "X"}.get(kind, "TEXT"),
        }
        if kind is bool:
            details = {"action": argparse.BooleanOptionalAction}
        elif origin is Mapping:
            details = {"type": _phrase_and_number, "metavar": "PHRASE=X", "action": "append"}
        elif origin is Sequence:
            details = {"metavar": "PHRASE", "action": "append"}
        group.add_argument(flag, default=argparse.SUPPRESS, help=text, **details)


class PrintSchema(argparse.Action):
    """`--schema`: print the JSON schema of what `--json` prints, and end."""

    def __init__(self, kind: str, **settings: Any) -> None:
        """`kind`: of `json_schema`."""
        super().__init__(nargs=0, help="print the JSON Schema of what --json prints", **settings)
        self._kind = kind

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(json.dumps(json_schema(self._kind), indent=2))
        parser.exit()


def _phrase_and_number(text: str) -> tuple[str, float]:
    """`mrs quilter=4` of the command line."""
    phrase, equals, number = text.rpartition("=")
    try:
        return phrase if equals else text, float(number if equals else "")
    except ValueError:
        raise argparse.ArgumentTypeError(f"needed PHRASE=NUMBER, got {text!r}") from None


def _said(default: object) -> str:
    words = {None: "the bundle's own", True: "on", False: "off"}
    if default is dataclasses.MISSING:
        return "none; may be repeated"
    return words[default] if default is None or isinstance(default, bool) else str(default)


def _plain_type(hint: Any) -> Any:
    """`float` of `float | None`; other types as they are."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (hint,) = (member for member in typing.get_args(hint) if member is not type(None))
    return hint


def given_options(options: type[StreamOptions], arguments: argparse.Namespace) -> StreamOptions:
    """The options that the flags of `add_options` tell.

    Raises:
        ConfigError: a value is impossible.
    """
    names = {field.name for field in dataclasses.fields(options)}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    if "boost" in given:
        given["boost"] = dict(given["boost"])
    return options(**given)
