"""The messages between server and client: what is read, what is refused, and what is written."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ds2edge import StreamOptions
from ds2edge.serving import protocol
from ds2edge.serving.protocol import Finish, Flush, RefusalError, SetOptions, Start
from ds2edge.serving.schema import options_schema, protocol_schema

START = {"type": "start", "version": 1, "sample_rate": 16_000}
OPTIONS: dict[str, Any] = {
    "language_model": False,
    "alpha": None,
    "beta": 1,
    "beam": 8,
    "boost": {"a": 1, "b": -2.5},
    "add_words": ["c"],
    "vocabulary": ["d", "e"],
    "unknown": 3.5,
    "alternatives": 2,
    "silence_before": 1,
    "silence_after": 0.5,
    "longest": 20,
}


@cache
def of_client() -> Draft202012Validator:
    return Draft202012Validator({**protocol_schema(), "anyOf": [{"$ref": "#/$defs/client"}]})


def test_a_start_with_everything() -> None:
    message = {
        **START,
        "encoding": "float32",
        "channels": 3,
        "options": OPTIONS,
        "partials": False,
        "display": True,
        "token": "secret",
    }
    start = protocol.parse_start(json.dumps(message))
    options = StreamOptions(**{**OPTIONS, "add_words": ("c",), "vocabulary": ("d", "e")})
    assert start == Start(1, 16_000.0, "float32", 3, options, False, True, "secret")
    assert start.frame_bytes == 12
    of_client().validate(message)


def test_a_start_with_little() -> None:
    start = protocol.parse_start(json.dumps(START))
    assert start == Start(1, 16_000.0, "int16", 1, StreamOptions(), True, False, "")
    assert start.frame_bytes == 2


@pytest.mark.parametrize(
    ("message", "parsed"),
    [
        ({"type": "flush"}, Flush()),
        ({"type": "finish"}, Finish()),
        ({"type": "options", "options": {"beam": 8}}, SetOptions(StreamOptions(beam=8))),
    ],
)
def test_later_messages(message: dict[str, Any], parsed: object) -> None:
    assert protocol.parse_message(json.dumps(message)) == parsed
    of_client().validate(message)


def test_the_schema_s_options_are_those_of_streams() -> None:
    schema = options_schema()
    assert list(schema["properties"]) == [field.name for field in fields(StreamOptions)]
    validator = Draft202012Validator(schema)
    validator.validate(OPTIONS)
    assert OPTIONS.keys() == schema["properties"].keys()
    for name, value in OPTIONS.items():
        wrong: Any = "1" if not isinstance(value, str) else 1
        assert not validator.is_valid({name: wrong}), name
        with pytest.raises(RefusalError, match=f"bad_message: {name}"):
            protocol.parse_options(json.dumps({name: wrong}))
    assert not validator.is_valid({"path": "/"})


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
names = st.sampled_from([*(field.name for field in fields(Start)), "path", "type"])


@given(changes=st.dictionaries(names, anything, max_size=3))
@example(changes={"sample_rate": 0.0})
@example(changes={"sample_rate": 1e6})
@example(changes={"channels": 65})
def test_whatever_is_said_is_read_or_refused(changes: dict[str, Any]) -> None:
    """And what the schema does not allow is never read."""
    message = {**START, **changes}
    with suppress(RefusalError):
        protocol.parse_start(json.dumps(message))
        of_client().validate(json.loads(json.dumps(message)))


@given(text=st.text())
def test_text_that_is_no_message(text: str) -> None:
    for parse in (protocol.parse_start, protocol.parse_message, protocol.parse_options):
        with pytest.raises(RefusalError):
            parse(text)


@given(code=st.sampled_from(sorted(protocol.FAULTS)), message=st.text())
def test_a_reason_fits_into_a_close_frame(code: str, message: str) -> None:
    refused = RefusalError(code, message)
    assert len(refused.reason.encode(errors="replace")) <= 123
    assert refused.reason.startswith(code)
    assert json.loads(protocol.error(refused))["code"] == code


def test_what_is_said_of_a_fault_is_bounded() -> None:
    with pytest.raises(RefusalError) as refused:
        protocol.parse_start(json.dumps({**START, "encoding": "x" * 60_000}))
    assert len(refused.value.message) < 600
