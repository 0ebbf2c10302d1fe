"""The JSON Schema of the protocol, whose options are the fields of `StreamOptions`."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from ds2edge.options import StreamOptions
from ds2edge.results import SCHEMA as RESULTS
from ds2edge.serving.protocol import FAULTS

SCHEMA = Path(__file__).parents[1] / "schemas" / "protocol.json"  # but for what is derived
PLAIN: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    types.NoneType: "null",
}


def protocol_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of every text message of version 1."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_bytes())
    events = json.loads(RESULTS.read_bytes())["$defs"]
    schema["$defs"] |= {name: part for name, part in events.items() if name != "file"}
    schema["$defs"]["options"] = options_schema()
    schema["$defs"]["error"]["properties"]["code"]["enum"] = list(FAULTS)
    return schema


def options_schema() -> dict[str, Any]:
    """The JSON Schema of `StreamOptions`."""
    hints = typing.get_type_hints(StreamOptions)
    properties = {}
    for field in fields(StreamOptions):
        told = {"description": field.metadata["help"]}
        if field.default is not MISSING:
            told["default"] = field.default
        properties[field.name] = {**_of_type(hints[field.name]), **told}
    title = "What can differ from stream to stream; null: as the bundle was tuned"
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _of_type(hint: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _of_type(arguments[1])}
    if origin is Sequence:
        return {"type": "array", "items": _of_type(arguments[0])}
    if origin is types.UnionType:
        return {"type": [PLAIN[member] for member in arguments]}
    return {"type": PLAIN[hint]}
