"""Conversations with a server, drawn by hypothesis, and what must come of them.

What is right is what a `Stream` says after the same calls. Of a conversation with a fault in it,
the finals before the fault are right, and the code says which fault it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from contract_inputs import OPTIONS, Samples, Script, finals_of, flat, in_form, perform, scripts
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ds2edge import StreamOptions, Transcriber
from ds2edge.results import Event

PATIENCE = 60.0  # seconds
NEVER = 1e6  # seconds; JSON has no infinity

Message = str | bytes


@dataclass(frozen=True)
class Fault:
    """Messages, one of which the server must not take."""

    name: str
    messages: tuple[Message, ...]
    codes: frozenset[int]
    first: bool = False  # they stand in place of the start


@dataclass(frozen=True)
class Conversation:
    """What a client sends."""

    script: Script
    encoding: str
    channels: int
    fault: Fault | None
    at: int  # of the messages, before which the fault comes

    @property
    def messages(self) -> list[Message]:
        """In their order."""
        wire = Wire(self.encoding, self.channels)
        perform(self.script, wire)  # type: ignore[arg-type]
        start = {
            "type": "start",
            "version": 1,
            "sample_rate": self.script.excerpt.rate,
            "encoding": self.encoding,
            "channels": self.channels,
            "options": plain(self.script.options),
        }
        messages: list[Message] = [json.dumps(start), *wire.messages]
        if self.fault is None:
            return messages
        if self.fault.first:
            return [*self.fault.messages, *messages[1:]]
        at = 1 + self.at % (len(messages) - 1)  # before the finish at the latest
        return [*messages[:at], *self.fault.messages, *messages[at:]]


@dataclass(frozen=True)
class Answer:
    """What came of it."""

    code: int | None  # with which the connection was closed
    finals: list[dict[str, Any]]
    seconds: float | None  # as the server says at the end
    error: str  # that the server told before it closed
    after: int  # messages after the end or the error; there must be none


class Wire:
    """The methods of `Stream` that `perform` uses, as messages."""

    def __init__(self, encoding: str, channels: int) -> None:
        self.messages: list[Message] = []
        self._encoding, self._channels = encoding, channels

    def feed(self, samples: Samples) -> list[Event]:
        data = in_form(samples, self._encoding, self._channels)
        if len(data):
            little = data.astype(data.dtype.newbyteorder("<"))
            self.messages.append(np.ascontiguousarray(little).tobytes())
        return []

    def flush(self) -> list[Event]:
        self.messages.append('{"type": "flush"}')
        return []

    def set_options(self, options: StreamOptions) -> None:
        self.messages.append(json.dumps({"type": "options", "options": plain(options)}))

    def finish(self) -> list[Event]:
        self.messages.append('{"type": "finish"}')
        return []


class Fed:
    """A `Stream` that is fed samples in some form."""

    def __init__(self, stream: Any, encoding: str, channels: int) -> None:
        self._stream, self._form = stream, (encoding, channels)

    def feed(self, samples: Samples) -> list[Event]:
        events: list[Event] = self._stream.feed(in_form(samples, *self._form))
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def expected(conversation: Conversation, transcriber: Transcriber) -> list[dict[str, Any]]:
    """The finals without the fault, as they arrive."""
    script = conversation.script
    with transcriber.stream(script.excerpt.rate, script.options) as stream:
        fed = Fed(stream, conversation.encoding, conversation.channels)
        events = flat(perform(script, fed))  # type: ignore[arg-type]
    finals = [{"type": "final", **final.as_dict()} for final in finals_of(events)]
    as_told: list[dict[str, Any]] = json.loads(json.dumps(finals))
    return as_told


def converse(url: str, conversation: Conversation) -> Answer:
    """Send all of it, and listen to the end."""
    told: list[dict[str, Any]] = []
    settings: Any = {"max_size": None, "compression": None, "proxy": None}
    with connect(url, open_timeout=PATIENCE, **settings) as connection:
        try:
            for message in conversation.messages:
                connection.send(message)
        except ConnectionClosed:
            pass  # it has said why
        try:
            while True:
                told.append(json.loads(connection.recv(PATIENCE)))
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else None
    kinds = [message["type"] for message in told]
    last = next((i for i, kind in enumerate(kinds) if kind in ("end", "error")), len(told))
    ending = told[last] if last < len(told) else {}
    return Answer(
        code,
        [message for message in told if message["type"] == "final"],
        ending.get("seconds"),
        ending.get("message", ""),
        len(told[last + 1 :]),
    )


def plain(options: StreamOptions) -> dict[str, Any]:
    """Those that are no defaults, for JSON."""
    default = StreamOptions()
    return {
        field.name: value if isinstance(value, int | str | float) else _plain(value)
        for field in fields(options)
        if (value := getattr(options, field.name)) != getattr(default, field.name)
    }


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)


def _finite(options: StreamOptions) -> StreamOptions:
    names = ("silence_before", "silence_after", "longest")
    found = {name: getattr(options, name) for name in names}
    return replace(options, **{n: NEVER for n, v in found.items() if math.isinf(v)})


# ---- what is drawn

OURS = OPTIONS.map(_finite)
ACTS = st.one_of(st.just("flush"), OURS)
FIELDS = st.sampled_from(["path", "model", "bundle", "", "Type", "x" * 2000])
KNOWN = ("start", "flush", "options", "finish")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _bad(name: str, messages: st.SearchStrategy[Message], *codes: int) -> Any:
    return messages.map(lambda message: Fault(name, (message,), frozenset(codes or (4400,))))


def _bad_start(name: str, changes: st.SearchStrategy[dict[str, Any]], *codes: int) -> Any:
    right = {"type": "start", "version": 1, "sample_rate": 16000}
    return changes.map(
        lambda change: Fault(
            name, (json.dumps({**right, **change}),), frozenset(codes or (4400,)), first=True
        )
    )


FAULTS = st.one_of(
    _bad("no JSON", st.text().filter(lambda text: not _is_json(text))),
    _bad("no object", JSON.filter(lambda v: not isinstance(v, dict)).map(json.dumps)),
    _bad(
        "unknown type",
        JSON.filter(lambda v: v not in KNOWN).map(lambda v: json.dumps({"type": v})),
    ),
    _bad("no type", st.dictionaries(st.text().filter(lambda k: k != "type"), JSON).map(json.dumps)),
    _bad(
        "unknown field",
        st.tuples(st.sampled_from(["flush", "finish"]), FIELDS, JSON).map(
            lambda drawn: json.dumps({"type": drawn[0], drawn[1]: drawn[2]})
        ),
    ),
    _bad("half a sample", st.integers(0, 99).map(lambda n: bytes(2 * n + 1))),
    _bad("another start", st.just('{"type": "start", "version": 1, "sample_rate": 16000}')),
    _bad(
        "unknown option",
        st.tuples(FIELDS, JSON).map(
            lambda drawn: json.dumps({"type": "options", "options": {drawn[0]: drawn[1]}})
        ),
    ),
    _bad(
        "impossible option",
        st.sampled_from(
            [
                {"beam": 0},
                {"longest": -1},
                {"silence_after": 0},
                {"alternatives": 1001},
                {"vocabulary": "word"},
                {"boost": ["word"]},
                {"boost": {"1984": 3.0}},
            ]
        ).map(lambda options: json.dumps({"type": "options", "options": options})),
    ),
    _bad(
        "options of another type",
        JSON.filter(lambda v: not isinstance(v, dict)).map(
            lambda v: json.dumps({"type": "options", "options": v})
        ),
    ),
    _bad_start(
        "version",
        st.integers(-(10**13), 10**13).filter(lambda n: n != 1).map(lambda n: {"version": n}),
        4406,
    ),
    _bad_start("number", st.integers(min_value=10**15).map(lambda n: {"version": n})),
    _bad_start(
        "rate",
        st.one_of(
            st.floats(max_value=0), st.text(), st.none(), st.booleans(), st.lists(st.integers())
        ).map(lambda rate: {"sample_rate": rate}),
    ),
    _bad_start(
        "encoding",
        st.text().filter(lambda v: v not in ("int16", "float32")).map(lambda v: {"encoding": v}),
    ),
    _bad_start("channels", st.integers(max_value=0).map(lambda n: {"channels": n})),
    _bad_start("field of the start", st.tuples(FIELDS, JSON).map(lambda d: {d[0]: d[1]})),
)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Half of them with a fault."""
    return Conversation(
        draw(scripts(seconds=1.5, acts=ACTS, options=OURS)),
        draw(st.sampled_from(["int16", "float32"])),
        draw(st.sampled_from([1, 1, 2])),
        draw(st.none() | FAULTS),
        draw(st.integers(0, 50)),
    )


def check(url: str, conversation: Conversation, transcriber: Transcriber) -> str:
    """What is wrong with what came of it; empty: nothing."""
    answer, finals = converse(url, conversation), expected(conversation, transcriber)
    if answer.after:
        return f"{answer.after} messages came after the last one"
    if conversation.fault is None:
        if (answer.code, answer.error) != (1000, ""):
            return f"closed with {answer.code}: {answer.error}"
        return "" if answer.finals == finals else f"{answer.finals}, not {finals}"
    if answer.code not in conversation.fault.codes or not answer.error:
        return f"{conversation.fault.name}: closed with {answer.code}: {answer.error!r}"
    ours = finals[: len(answer.finals)]
    return "" if answer.finals == ours else f"before the fault {answer.finals}, not {ours}"
