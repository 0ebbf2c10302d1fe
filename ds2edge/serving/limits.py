"""What a server allows: where it listens, who may come, how much of everything there may be."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import get_type_hints

from ds2edge.errors import ConfigError
from ds2edge.options import option
from ds2edge.results import Seconds

TOKEN_VARIABLE = "DS2EDGE_TOKEN"
A_MOMENT: Seconds = 0.05
BOUNDS = {
    "port": (0, 65_535),
    "connections": (1, 100_000),
    "files": (1, 1000),
    "message_bytes": (1024, 2**26),
    "file_megabytes": (0.001, math.inf),
    "memory_megabytes": (1, math.inf),
    "longest_recording": (0.1, math.inf),
    "widest_beam": (1, 2**16),
    "most_alternatives": (0, 1000),
    "start_seconds": (A_MOMENT, math.inf),
    "idle_seconds": (A_MOMENT, math.inf),
    "reader_seconds": (A_MOMENT, math.inf),
    "drain_seconds": (0, math.inf),
    "max_batch": (1, 4096),
    "threads": (1, 1024),
}


@dataclass(frozen=True)
class ServerOptions:
    """How a server serves; each field is a flag of `ds2edge serve`.

    Raises:
        ConfigError: a value is impossible.
    """

    host: str = option("127.0.0.1", "address or name to listen at; 0.0.0.0: all of IPv4", "HOST")
    port: int = option(8300, "0: any that is free")
    token_file: Path | None = option(
        None, f"its text is the token that clients need; else {TOKEN_VARIABLE} in the environment"
    )
    token_needed: bool = option(True, "let everybody in who can connect from another machine")
    tls_certificate: Path | None = option(None, "certificates in PEM, for https")
    tls_key: Path | None = option(None, "the certificate's key in PEM")
    allow_origin: Sequence[str] = option(
        tuple, "other site whose pages may use the server, as https://example.org", "ORIGIN"
    )
    connections: int = option(200, "WebSockets at once")
    files: int = option(4, "recordings that are uploaded and transcribed at once")
    message_bytes: int = option(2**20, "longest message of a WebSocket")
    file_megabytes: float = option(512.0, "longest upload")
    memory_megabytes: float = option(2048.0, "of this process; from there on nobody is let in")
    longest_recording: Seconds = option(4 * 3600.0, "seconds of a file, or of a stream")
    widest_beam: int = option(512, "hypotheses that a client may ask for")
    most_alternatives: int = option(20, "readings that a client may ask for")
    start_seconds: Seconds = option(10.0, "in which a client has to say what it wants")
    idle_seconds: Seconds = option(30.0, "in which a client has to send something")
    reader_seconds: Seconds = option(10.0, "in which a client has to read what it is sent")
    drain_seconds: Seconds = option(30.0, "to finish what is going on, when the server is stopped")
    max_batch: int = option(32, "steps of the model that are done together")
    threads: int = option(1, "of the search")

    def __post_init__(self) -> None:
        hints = get_type_hints(ServerOptions)
        for name, (least, most) in BOUNDS.items():
            _check(name, getattr(self, name), hints[name], least, most)
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigError("tls_certificate and tls_key need each other")
        for origin in self.allow_origin:
            scheme, _, host = origin.partition("://")
            if scheme not in ("http", "https") or not host or "/" in host:
                raise ConfigError(f"allow_origin must be as https://example.org, got {origin!r}")

    def read_token(self, environment: Mapping[str, str] = os.environ) -> str:
        """What clients have to know; "" where they need not know anything.

        Raises:
            ConfigError: the file cannot be read, or is empty.
        """
        if self.token_file is None:
            return environment.get(TOKEN_VARIABLE, "").strip()
        try:
            token = self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(f"cannot read the token in {self.token_file}: {reason}") from None
        if not token:
            raise ConfigError(f"{self.token_file} is empty, needed: a token")
        return token


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it."""
    return is_address(address) and ip_address(address).is_loopback


def is_address(name: str) -> bool:
    """Of the internet protocol, and no name."""
    try:
        return bool(ip_address(name))
    except ValueError:
        return False


def _check(name: str, value: object, kind: type, least: float, most: float) -> None:
    numbers = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, numbers) or not least <= value <= most:
        number = "a whole number" if kind is int else "a number"
        bounds = f"from {least:g} to {most:g}" if most < math.inf else f"of {least:g} or more"
        raise ConfigError(f"{name} must be {number} {bounds}, got {value!r}")
