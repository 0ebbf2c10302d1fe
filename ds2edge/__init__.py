"""On-device speech recognition with Deep Speech 2.

from ds2edge import Transcriber

print(Transcriber().transcribe("meeting.wav").text)
"""

from __future__ import annotations

from ds2edge.bundle import Bundle, load_bundle
from ds2edge.errors import Ds2edgeError
from ds2edge.options import StreamOptions
from ds2edge.results import Alternative, Final, Partial, Transcript, Word
from ds2edge.stream import Stream
from ds2edge.transcriber import Transcriber

__all__ = [
    "Alternative",
    "Bundle",
    "Ds2edgeError",
    "Final",
    "Partial",
    "Stream",
    "StreamOptions",
    "Transcriber",
    "Transcript",
    "Word",
    "load_bundle",
]


def __getattr__(name: str) -> str:
    if name == "__version__":
        from importlib.metadata import version  # imported late: it takes longer than all of ds2edge

        return version("ds2edge")
    raise AttributeError(f"module 'ds2edge' has no attribute {name!r}")
