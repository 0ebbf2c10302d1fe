"""Ctrl-C: what was said before it is not lost."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TypeVar

from ds2edge.audio import Samples
from ds2edge.results import Event
from ds2edge.stream import Stream

T = TypeVar("T")


class Interrupt:
    """Ctrl-C as a wish to stop, which `asked` tells; a context manager.

    The recogniser is never interrupted in the middle of its work. Waiting for audio is, and so is
    everything when Ctrl-C comes again: then KeyboardInterrupt is raised.
    """

    def __init__(self) -> None:
        self.asked = False
        self._waits = False
        self._installed = False

    def wait(self, wait: Callable[[], T]) -> T | None:
        """What `wait()` returns; None when Ctrl-C comes meanwhile, or came before."""
        try:
            self._waits = True
            return None if self.asked else wait()
        except KeyboardInterrupt:
            self.asked = True
            return None
        finally:
            self._waits = False

    def __enter__(self) -> Interrupt:
        # Where Ctrl-C is ignored, as under nohup, it stays so.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, *_: object) -> None:
        if self._waits or self.asked:
            raise KeyboardInterrupt
        self.asked = True


def hear(stream: Stream, blocks: Iterable[Samples], tell: Callable[[list[Event]], object]) -> None:
    """Feed `blocks` and tell what is new. Whatever ends them, all that was said is told."""
    try:
        for block in blocks:
            tell(stream.feed(block))
    finally:
        tell(stream.finish())
