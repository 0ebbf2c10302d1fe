"""AsyncLiveStream: a stream of a dispatcher for asyncio; it needs no thread of its own."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy.typing as npt

from ds2edge.audio import Samples
from ds2edge.errors import BacklogError, Ds2edgeError
from ds2edge.options import StreamOptions
from ds2edge.results import Event, Seconds

if TYPE_CHECKING:
    from ds2edge.serving.dispatcher import Dispatcher


class AsyncLiveStream:
    """`LiveStream` with the same methods, to be awaited; an asynchronous context manager.

    One task may push while another one reads with `async for`.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        sample_rate: float,
        options: StreamOptions | None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Use `Dispatcher.async_stream`; or this in a thread, with the loop that will use it."""
        self._bell = bell_of(loop or asyncio.get_running_loop())
        self._decoder = dispatcher.transcriber.decoder
        self._changed = asyncio.Event()
        self._stream = dispatcher.stream(sample_rate, options, self._wake)

    @property
    def seconds(self) -> Seconds:
        """See `LiveStream.seconds`."""
        return self._stream.seconds

    async def push(self, samples: Samples, dtype: npt.DTypeLike | None = None) -> None:
        """See `LiveStream.push`; waits for room."""
        await self._with_room(partial(self._stream.push, samples, dtype, wait=False))

    def push_at_once(self, samples: Samples) -> bool:
        """As `push`, without waiting; False where that raises, or would wait: nothing was taken."""
        try:
            self._stream.push(samples, wait=False)
        except Ds2edgeError:
            return False
        return True

    async def flush(self) -> None:
        """See `LiveStream.flush`; waits for room."""
        await self._with_room(partial(self._stream.flush, wait=False))

    async def set_options(self, options: StreamOptions) -> None:
        """See `LiveStream.set_options`; waits for room, and for a thread that makes the decoder."""
        decoder = await asyncio.to_thread(self._decoder, options)
        await self._with_room(partial(self._stream.use, options, decoder, wait=False))

    async def finish(self) -> None:
        """See `LiveStream.finish`."""
        self._stream.finish()

    def close(self) -> None:
        """See `LiveStream.close`."""
        self._stream.close()
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """What is said, until the stream is finished or closed. Raises as `LiveStream.take`."""
        ended = False
        while not ended:
            self._changed.clear()
            ended = self._stream.ended
            events = self._stream.take()  # or raises
            for event in events:
                yield event
            if not events and not ended:
                await self._changed.wait()

    async def __aenter__(self) -> AsyncLiveStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def _with_room(self, call: Callable[[], None]) -> None:
        while True:
            self._changed.clear()
            try:
                return call()
            except BacklogError:
                await self._changed.wait()

    def _wake(self) -> None:
        self._bell.ring(self._changed)


class Bell:
    """Sets events of one event loop from other threads, many by one call.

    A call into a loop is a system call, during which other threads take Python's lock: with a
    hundred streams, the thread that tells of one after the other would get nowhere.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use `bell_of`."""
        self._loop = weakref.ref(loop)
        self._rung: deque[asyncio.Event] = deque()
        self._is_called = False

    def ring(self, event: asyncio.Event) -> None:
        """Set an event soon; from any thread."""
        self._rung.append(event)
        if not self._is_called:  # else what has been called will see it
            self._is_called = True
            loop = self._loop()
            with suppress(RuntimeError):  # the loop is closed: nobody listens
                if loop:
                    loop.call_soon_threadsafe(self._set_all)

    def _set_all(self) -> None:
        self._is_called = False  # first: who rings from here on calls again
        while self._rung:
            self._rung.popleft().set()


_bells: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Bell] = weakref.WeakKeyDictionary()
_bells_lock = threading.Lock()


def bell_of(loop: asyncio.AbstractEventLoop) -> Bell:
    """The one of a loop; from any thread."""
    with _bells_lock:
        return _bells.setdefault(loop, Bell(loop))
