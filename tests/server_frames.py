"""Bad bytes for the server: WebSocket frames and requests that no honest client sends.

Each kind says with which codes the server may close; None: without a close frame, since what was
sent is no whole frame.
"""

from __future__ import annotations

import base64
import json
import random
import struct
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MESSAGE = 1 << 20  # bytes that a message may have
START: dict[str, Any] = {"type": "start", "version": 1, "sample_rate": 16000}
MESSAGES: tuple[dict[str, Any], ...] = (
    START,
    {**START, "options": {"boost": {"business": 3.0}, "alternatives": 2}},
    {"type": "options", "options": {"silence_after": 0.3}},
    {"type": "flush"},
    {"type": "finish"},
)
PROTOCOL, ENCODING, SIZE = {1002}, {1007}, {1009, 4413}
MESSAGE_CODES = {4400, 4401, 4406}
ANY = {*PROTOCOL, *ENCODING, *SIZE, *MESSAGE_CODES, 1000, None}

Chance: TypeAlias = random.Random
Codes: TypeAlias = set[int | None]


def frame(
    opcode: int, data: bytes, *, fin: bool = True, reserved: int = 0, masked: bool = True
) -> bytes:
    """As a client sends it. The mask is 0, so that the data can be seen in a capture."""
    first, mask = (fin << 7) | (reserved << 4) | opcode, masked << 7
    if len(data) < 126:
        head = struct.pack("!BB", first, mask | len(data))
    elif len(data) < 1 << 16:
        head = struct.pack("!BBH", first, mask | 126, len(data))
    else:
        head = struct.pack("!BBQ", first, mask | 127, len(data))
    return head + bytes(4) * masked + data


def text(message: object) -> bytes:
    """A message of JSON."""
    return frame(TEXT, json.dumps(message).encode())


def audio(chance: Chance) -> bytes:
    """Some samples."""
    return frame(BINARY, chance.randbytes(2 * chance.randrange(1, 2000)))


# ---- what is allowed


def split_message(chance: Chance) -> bytes:
    """Audio in several frames, with a ping in between."""
    pieces = [chance.randbytes(chance.randrange(0, 300)) for _ in range(3)]
    pieces.append(bytes(sum(map(len, pieces)) % 2))
    frames = [frame(BINARY if i == 0 else 0, p, fin=False) for i, p in enumerate(pieces[:-1])]
    return frames[0] + frame(PING, b"?") + b"".join(frames[1:]) + frame(0, pieces[-1])


GOOD: tuple[Callable[[Chance], bytes], ...] = (
    audio,
    split_message,
    lambda chance: frame(PING, chance.randbytes(chance.randrange(126))),
    lambda chance: frame(PONG, chance.randbytes(chance.randrange(126))),
    lambda _: text({"type": "flush"}),
    lambda _: text({"type": "options", "options": {"beam": 16}}),
)


# ---- what is not


def mutated(chance: Chance) -> bytes:
    """A message with other bytes in it, or fewer."""
    data = bytearray(json.dumps(chance.choice(MESSAGES)).encode())
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data))
        if chance.random() < 0.5:
            data[at] = chance.randrange(256)
        else:
            del data[at : at + chance.randrange(1, 10)]
    return frame(TEXT, bytes(data))


def other_values(chance: Chance) -> bytes:
    """A message in which some value is another one."""
    message = json.loads(json.dumps(chance.choice(MESSAGES)))
    values = (None, True, -1, 0, 1e308, "", "\ud800", [], {}, [[]], "x" * 3000, 10**400, "/etc")
    field = chance.choice([*message, "version", "options", "path", "model", "channels", "encoding"])
    message[field] = chance.choice(values)
    return text(message)


def other_options(chance: Chance) -> bytes:
    """Options that are impossible."""
    bad: tuple[dict[str, Any], ...] = (
        {"beam": 0},
        {"beam": 10**9},
        {"boost": {"1984": 3.0}},
        {"boost": {"\ud800": 1}},
        {"boost": {"": 1e308}},
        {"longest": -1},
        {"alternatives": 10**6},
        {"vocabulary": [["a"]]},
        {"vocabulary": "word"},
        {"add_words": {"a": 1}},
        {"bundle": "/etc/passwd"},
        {"alpha": "much"},
        {"unknown": []},
        {"language_model": 7},
    )
    return text({"type": "options", "options": chance.choice(bad)})


def nested(chance: Chance) -> bytes:
    """Deeper than a parser can go."""
    deep = chance.choice((2000, 100_000))
    return frame(TEXT, b'{"type":' * deep if chance.random() < 0.5 else b"[" * deep)


def flipped(chance: Chance) -> bytes:
    """A frame with one other bit; what is to follow then may never come."""
    data = bytearray(chance.choice((text(chance.choice(MESSAGES)), audio(chance))))
    data[chance.randrange(min(len(data), 20))] ^= 1 << chance.randrange(8)
    return bytes(data)


def cut_short(chance: Chance) -> bytes:
    """Part of a frame."""
    data = chance.choice((text(chance.choice(MESSAGES)), audio(chance)))
    return data[: chance.randrange(1, len(data))]


def large_in_pieces(chance: Chance) -> bytes:
    """A message that is too large only as a whole."""
    piece = bytes(MESSAGE // 3)
    pieces = [frame(BINARY if i == 0 else 0, piece, fin=False) for i in range(4)]
    return b"".join(pieces)


# After the start.
BAD: Mapping[str, tuple[Callable[[Chance], bytes], Codes]] = {
    "reserved bits": (
        lambda c: frame(BINARY, bytes(8), reserved=c.randrange(1, 8)),
        {*PROTOCOL},
    ),
    "unknown opcode": (
        lambda c: frame(c.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15)), c.randbytes(c.randrange(9))),
        {*PROTOCOL},
    ),
    "not masked": (lambda c: frame(BINARY, bytes(2 * c.randrange(99)), masked=False), {*PROTOCOL}),
    "long control frame": (
        lambda c: frame(c.choice((PING, PONG, CLOSE)), bytes(c.randrange(126, 4000))),
        {*PROTOCOL},
    ),
    "control frame in pieces": (lambda c: frame(PING, b"?", fin=False), {*PROTOCOL}),
    "no beginning": (lambda c: frame(0, c.randbytes(8)), {*PROTOCOL}),
    "another beginning": (
        lambda c: frame(BINARY, bytes(2), fin=False) + audio(c),
        {*PROTOCOL},
    ),
    "no UTF-8": (lambda c: frame(TEXT, b"\xff" + c.randbytes(9)), {*ENCODING, 4400}),
    "close of one byte": (lambda c: frame(CLOSE, b"?"), {*PROTOCOL}),
    "close of no code": (
        lambda c: frame(CLOSE, struct.pack("!H", c.choice((0, 999, 1004, 1005, 1006, 1015, 5000)))),
        {*PROTOCOL},
    ),
    "close, no UTF-8": (lambda c: frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), {*ENCODING}),
    "endless length": (
        lambda c: struct.pack("!BBQ", 0x82, 0xFF, c.choice((1 << 62, (1 << 64) - 1))) + bytes(99),
        {*PROTOCOL, *SIZE},
    ),
    "large message": (lambda c: frame(BINARY, bytes(MESSAGE + 2 * c.randrange(1, 9))), {*SIZE}),
    "large message in pieces": (large_in_pieces, {*SIZE}),
    "too many pieces": (
        lambda _: frame(BINARY, b"", fin=False) + frame(0, b"", fin=False) * 2000,
        {*SIZE},
    ),
    "half a sample": (lambda c: frame(BINARY, bytes(2 * c.randrange(99) + 1)), {4400}),
    "no JSON": (lambda c: frame(TEXT, c.randbytes(20).hex().encode() + b"{"), {4400}),
    "no object": (lambda c: text(c.choice(([], 1, "start", None, [START]))), {4400}),
    "deep": (nested, {4400, 4413}),
    "unknown type": (lambda c: text({"type": c.choice(("", "stop", None, 1, ["flush"]))}), {4400}),
    "unknown field": (
        lambda c: text({"type": c.choice(("flush", "finish")), c.choice(("path", "model", "")): 1}),
        {4400},
    ),
    "another start": (lambda c: text(START), {4400}),
    "bad options": (other_options, {4400}),
    "text where binary is due": (lambda c: frame(TEXT, c.randbytes(300).hex().encode()), {4400}),
    "mutated message": (mutated, ANY),
    "other value": (other_values, ANY),
    "flipped bit": (flipped, ANY),
    # What ends the connection may be taken for the rest of it.
    "cut short": (cut_short, {None, *PROTOCOL, *ENCODING, 1006, 4400}),
    "random bytes": (lambda c: c.randbytes(c.randrange(1, 300)), ANY),
}

# In place of the start.
UNSTARTED: Mapping[str, tuple[Callable[[Chance], bytes], Codes]] = {
    "audio first": (audio, {4400}),
    "flush first": (lambda _: text({"type": "flush"}), {4400}),
    "finish first": (lambda _: text({"type": "finish"}), {4400}),
    "options first": (lambda _: text({"type": "options", "options": {}}), {4400}),
    "start in binary": (lambda _: frame(BINARY, json.dumps(START).encode()), {4400}),
    "another version": (
        lambda c: text({**START, "version": c.choice((0, 2, 10**9, -1))}),
        {4406},
    ),
    "a version of no number": (
        lambda c: text({**START, "version": c.choice(("1", None, [], 1.5, True))}),
        {4400, 4406},
    ),
    "no version": (lambda _: text({"type": "start", "sample_rate": 16000}), {4400, 4406}),
    "bad rate": (
        lambda c: text({**START, "sample_rate": c.choice((0, -1, "16000", None, 1e308, True, []))}),
        {4400},
    ),
    "rate of no JSON": (
        lambda c: frame(
            TEXT,
            b'{"type": "start", "version": 1, "sample_rate": %s}'
            % c.choice((b"NaN", b"Infinity", b"1e999", b"1" * 5000, b"016000")),
        ),
        {4400},
    ),
    "bad encoding": (
        lambda c: text({**START, "encoding": c.choice(("int8", "", None, 16, ["int16"]))}),
        {4400},
    ),
    "bad channels": (
        lambda c: text({**START, "channels": c.choice((0, -1, "1", None, 10**9, 1.5, True))}),
        {4400},
    ),
    "bad options at the start": (
        lambda c: text({**START, "options": c.choice((None, [], {"x": 1}, {"beam": 0}))}),
        {4400},
    ),
    "a path": (lambda c: text({**START, c.choice(("path", "model", "bundle")): "/"}), {4400}),
    "another site": (lambda _: text(START), {4403}),
    "no site": (lambda _: text(START), {4403}),
}
# Of those kinds whose handshake is another one, too.
HEADERS: Mapping[str, Mapping[str, str]] = {
    "another site": {"Origin": "https://elsewhere.example"},
    "no site": {"Origin": "null"},
}


# ---- requests


def handshake(
    port: int, headers: Mapping[str, str] | None = None, path: str = "/v1/stream"
) -> bytes:
    """Of a client that is right, with other headers where they are given; empty: without them."""
    wanted = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **(headers or {}),
    }
    lines = [f"{name}: {value}" for name, value in wanted.items() if value]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def bad_request(port: int, chance: Chance) -> bytes:
    """That the server has to refuse, or to break off."""
    good = bytearray(handshake(port))
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: chance.randbytes(chance.randrange(1, 400)) + b"\r\n\r\n",
        lambda: handshake(port, {"Sec-WebSocket-Key": ""}),
        lambda: handshake(port, {"Sec-WebSocket-Key": "short"}),
        lambda: handshake(port, {"Sec-WebSocket-Version": "12"}),
        lambda: handshake(port, {"Upgrade": "h2c"}),
        lambda: handshake(port, {"X": "x" * 100_000}),
        lambda: handshake(port, path="/v1/other"),
        lambda: handshake(port, path="/" + "../" * 30 + "etc/passwd"),
        lambda: handshake(port, path="/%00%ff"),
        lambda: bytes(good).replace(b"GET", b"BREW"),
        lambda: bytes(good).replace(b"HTTP/1.1", b"HTTP/x.y"),
        lambda: bytes(good[: chance.randrange(len(good))]),
        lambda: _post(port, "/v1/transcribe", chance.randbytes(99)),
        lambda: _post(port, "/v1/transcribe", b"", length="-1"),
        lambda: _post(port, "/v1/transcribe", b"x", length="9" * 30),
        lambda: _post(port, "/v1/audio/transcriptions", b"--x\r\n", kind="multipart/form-data"),
        lambda: _post(
            port,
            "/v1/audio/transcriptions",
            b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\n" + chance.randbytes(50),
            kind="multipart/form-data; boundary=x",
        ),
    )
    return chance.choice(kinds)()


def _post(
    port: int, path: str, body: bytes, kind: str = "application/octet-stream", length: str = ""
) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {length or len(body)}\r\n\r\n".encode() + body
