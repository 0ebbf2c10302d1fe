"""Flags that several commands share: the bundle, and one for each field of some options."""

from __future__ import annotations

import argparse
import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from ds2edge.options import BackendOptions, StreamOptions
from ds2edge.results import json_schema
from ds2edge.serving.limits import ServerOptions

Options = TypeVar("Options", StreamOptions, BackendOptions, ServerOptions)


def add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle",
        metavar="PATH",
        default="en",
        help="model bundle: a folder or .ds2 file [the embedded English one]",
    )


def add_backend(parser: argparse.ArgumentParser, device: str = "--device") -> None:
    """Flags for how the acoustic model is run; `device` is the name of one of them."""
    add_options(parser, BackendOptions, "how the model is run", {"device": device})


def add_options(
    parser: argparse.ArgumentParser,
    options: type[Options],
    title: str = "recognition options",
    flags: Mapping[str, str] | None = None,
) -> None:
    """A flag for each field of `options`; only those given reach the namespace.

    Args:
        flags: by field, where it is not the field's name; "--no-..." is there to say no only.
    """
    group = parser.add_argument_group(title)
    hints = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        flag = (flags or {}).get(field.name, "--" + field.name.replace("_", "-"))
        kind = _plain_type(hints[field.name])
        origin = typing.get_origin(kind)
        default = "none" if kind is Path else _said(field.default)
        text = f"{field.metadata.get('help', '')} [{default}]".replace("%", "%%")
        details: dict[str, Any] = {
            "type": kind,
            "metavar": {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT"),
        }
        if kind is bool and flag.startswith("--no-"):
            details, text = {"action": "store_false"}, field.metadata["help"]
        elif kind is bool:
            details = {"action": argparse.BooleanOptionalAction}
        elif origin is Literal:
            details = {"choices": typing.get_args(kind)}
        elif origin is Mapping:
            details = {"type": _phrase_and_number, "metavar": "PHRASE=X", "action": "append"}
        elif origin is Sequence:
            details = {"metavar": "PHRASE", "action": "append"}
        if field.metadata.get("metavar"):
            details["metavar"] = field.metadata["metavar"]
        group.add_argument(flag, dest=field.name, default=argparse.SUPPRESS, help=text, **details)


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
    """`float` of `float | None`, Path of `str | PathLike[str] | None`; others as they are."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        return members[0] if len(members) == 1 else Path
    return hint


def given_backend(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the flags of `add_backend` tell a Transcriber.

    Raises:
        ConfigError: they contradict each other.
    """
    return given_options(BackendOptions, arguments).plain()


def given_options(options: type[Options], arguments: argparse.Namespace) -> Options:
    """The options that the flags of `add_options` tell.

    Raises:
        ConfigError: a value is impossible.
    """
    names = {field.name for field in dataclasses.fields(options)}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    if "boost" in given:
        given["boost"] = dict(given["boost"])
    return options(**given)
