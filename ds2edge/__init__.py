"""On-device speech recognition with Deep Speech 2::

    from ds2edge import Transcriber

    print(Transcriber().transcribe("meeting.wav").text)

Its stages are modules of their own, in the order in which the data flow: `ds2edge.audio`,
`ds2edge.features`, `ds2edge.acoustic`, `ds2edge.decoder`, `ds2edge.pipeline`, `ds2edge.endpoint`,
`ds2edge.stream`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ds2edge.bundle import Bundle, load_bundle
from ds2edge.errors import Ds2edgeError
from ds2edge.options import StreamOptions
from ds2edge.results import Alternative, Final, Partial, Transcript, Word
from ds2edge.stream import Stream
from ds2edge.transcriber import Transcriber

if TYPE_CHECKING:
    from ds2edge.microphone import InputDevice, Microphone, input_devices

__all__ = [
    "Alternative",
    "Bundle",
    "Ds2edgeError",
    "Final",
    "InputDevice",
    "Microphone",
    "Partial",
    "Stream",
    "StreamOptions",
    "Transcriber",
    "Transcript",
    "Word",
    "input_devices",
    "load_bundle",
]


_OF_MICROPHONE = ("InputDevice", "Microphone", "input_devices")  # imported when asked for


def __getattr__(name: str) -> Any:
    if name in _OF_MICROPHONE:
        from ds2edge import microphone

        return getattr(microphone, name)
    if name == "__version__":
        from importlib.metadata import version  # imported late: it takes longer than all of ds2edge

        return version("ds2edge")
    raise AttributeError(f"module 'ds2edge' has no attribute {name!r}")
