"""The messages between a server and its clients, version 1: checked, read and written; no I/O.

A client sends a `Start` as text, then samples as binary messages, and other messages as text
between them; docs/serving.md describes them. Whatever is not as it should be is `RefusalError`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias, TypeVar, cast

from ds2edge.audio import MOST_CHANNELS, checked_rate
from ds2edge.errors import AudioError, ConfigError
from ds2edge.options import StreamOptions
from ds2edge.plain_values import from_dict
from ds2edge.results import Seconds

VERSION = 1
SUBPROTOCOL = "ds2edge.v1"  # that a client may ask for
TOKEN_PREFIX = "token."  # of a subprotocol that is no protocol: the token in base64url follows
MOST_TEXT = 2**16  # characters of a text message
MOST_REASON = 123  # bytes, all that a WebSocket has room for
MOST_MESSAGE = 500  # characters of what is said to a client about its fault
LONGEST_INT = 15  # digits, which a float holds
FINISHED = 1000  # close code of a stream that came to its end

Encoding: TypeAlias = Literal["int16", "float32"]  # of samples, little-endian
Built = TypeVar("Built")


class Fault(NamedTuple):
    """A reason to turn somebody away."""

    close_code: int  # of a WebSocket
    status: int  # of HTTP
    meaning: str  # for people


FAULTS: Mapping[str, Fault] = {
    "bad_message": Fault(4400, 400, "a message, samples or an option cannot be used"),
    "unauthorised": Fault(4401, 401, "the token is missing or wrong"),
    "origin": Fault(4403, 403, "the page comes from a site that may not use this server"),
    "version": Fault(4406, 400, "the server does not speak this version of the protocol"),
    "idle": Fault(4408, 408, "nothing was sent for too long, or too slowly"),
    "slow_reader": Fault(4409, 408, "what the server said was not read for too long"),
    "too_large": Fault(4413, 413, "the message or upload is too large"),
    "too_long": Fault(4414, 413, "the recording is too long"),
    "bad_audio": Fault(4415, 415, "the file is no recording that can be read"),
    "too_many": Fault(4429, 429, "there are too many clients, or memory or disk is used up"),
    "internal": Fault(4500, 500, "the server failed; its log tells more"),
    "draining": Fault(4503, 503, "the server is about to stop"),
    "going_away": Fault(1001, 503, "the server stopped; what it had taken was transcribed"),
}


class RefusalError(Exception):
    """Somebody is turned away: `code` names a `Fault`, `message` says what was got and needed."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message if len(message) <= MOST_MESSAGE else f"{message[:MOST_MESSAGE]}..."
        super().__init__(f"{code}: {self.message}")

    @property
    def fault(self) -> Fault:
        """What `code` stands for."""
        return FAULTS[self.code]

    @property
    def reason(self) -> str:
        """What fits into the end of a WebSocket, with the code in front."""
        return str(self).encode()[:MOST_REASON].decode(errors="ignore")


@dataclass(frozen=True)
class Start:
    """The first message."""

    version: int  # of the protocol
    sample_rate: float  # Hz, of what follows
    encoding: Encoding = "int16"  # little-endian
    channels: int = 1  # interleaved
    options: StreamOptions = field(default_factory=StreamOptions)  # that it begins with
    partials: bool = True  # are to be told
    display: bool = False  # is to be told: figures and capital letters
    token: str = ""  # that the server asks for, where it could not be a header

    @property
    def frame_bytes(self) -> int:
        """Of a sample of all channels."""
        return self.channels * {"int16": 2, "float32": 4}[self.encoding]


@dataclass(frozen=True)
class Flush:
    """The segment is to end here."""


@dataclass(frozen=True)
class SetOptions:
    """Others are to count from here on."""

    options: StreamOptions  # all of them: what is not named is as it comes


@dataclass(frozen=True)
class Finish:
    """The recording ends here."""


MESSAGES: Mapping[str, type[Flush | SetOptions | Finish]] = {
    "flush": Flush,
    "options": SetOptions,
    "finish": Finish,
}


def parse_start(text: str) -> Start:
    """The first message of a client.

    Raises:
        RefusalError: it is none, or of another version.
    """
    kind, values = _parsed(text)
    if kind != "start":
        _refuse(f'the first message must be of the type "start", got {kind!r}')
    version = values.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version != VERSION:
        raise RefusalError("version", f"this server speaks version {VERSION}, got {version}")
    start = _built(Start, values)
    if not 1 <= start.channels <= MOST_CHANNELS:
        _refuse(f"channels must be from 1 to {MOST_CHANNELS}, got {start.channels}")
    try:
        checked_rate(start.sample_rate)
    except AudioError as error:
        _refuse(str(error))
    return start


def parse_message(text: str) -> Flush | SetOptions | Finish:
    """A later message.

    Raises:
        RefusalError: it is none.
    """
    kind, values = _parsed(text)
    if kind not in MESSAGES:
        _refuse(f"after the start, type must be one of {', '.join(MESSAGES)}, got {kind!r}")
    return _built(MESSAGES[kind], values)


def parse_options(text: str) -> StreamOptions:
    """Options of a stream as JSON.

    Raises:
        RefusalError: they are none.
    """
    return _built(StreamOptions, _object(text))


def ready(bundle: str, sample_rate: float, limits: Mapping[str, float]) -> str:
    """What is said when a stream is open: the model's rate in Hz, and what is allowed."""
    facts = {"version": VERSION, "bundle": bundle, "sample_rate": sample_rate, "limits": limits}
    return _message("ready", **facts)


def end(seconds: Seconds) -> str:
    """What is said after the last final: so much audio was heard."""
    return _message("end", seconds=round(seconds, 6))


def error(refused: RefusalError) -> str:
    """What is said before a stream is closed for a fault."""
    return _message("error", code=refused.code, message=refused.message)


def _message(type: str, **values: Any) -> str:
    return json.dumps({"type": type, **values}, ensure_ascii=False)


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    """The type, and the other values."""
    values = _object(text)
    kind = values.pop("type", None)
    if not isinstance(kind, str):
        _refuse(f"a message needs a type, got {kind!r}")
    return kind, values


def _object(text: str) -> dict[str, Any]:
    if len(text) > MOST_TEXT:
        raise RefusalError("too_large", f"{len(text)} characters of JSON, allowed: {MOST_TEXT}")
    try:
        values = json.loads(text, parse_constant=_no_number, parse_float=_float, parse_int=_int)
        json.dumps(values, ensure_ascii=False).encode()  # half a character can be escaped
    except UnicodeEncodeError:
        _refuse("there is half a character (a lone surrogate) in the message")
    except (ValueError, RecursionError) as reason:
        _refuse(f"a text message must be JSON: {reason}")
    if not isinstance(values, dict):
        _refuse(f"needed a JSON object, got {type(values).__name__}")
    return values


def _float(number: str) -> float:
    if not math.isfinite(float(number)):
        _no_number(number)
    return float(number)


def _int(number: str) -> int:
    if len(number) > LONGEST_INT:
        _no_number(number)
    return int(number)


def _no_number(number: str) -> NoReturn:
    raise ValueError(f"{number:.20} is no number that can be used")


def _built(kind: type[Built], values: dict[str, Any]) -> Built:
    for one in fields(cast(Any, kind)):
        if one.name not in values and one.default is one.default_factory is MISSING:
            _refuse(f"{one.name} is missing")
    try:
        return from_dict(kind, values)
    except ConfigError as reason:
        _refuse(str(reason))


def _refuse(message: str) -> NoReturn:
    raise RefusalError("bad_message", message)
