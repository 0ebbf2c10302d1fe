"""AsyncStream: a stream for asyncio, with one worker thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy.typing as npt

from ds2edge.audio import Samples
from ds2edge.options import StreamOptions
from ds2edge.results import Event
from ds2edge.stream import Stream

T = TypeVar("T")


class AsyncStream:
    """`Stream` with the same methods, to be awaited; an asynchronous context manager.

    Calls are worked off one after the other. A cancelled call is still done, but its events are
    lost: shield it, or cancel between calls.
    """

    def __init__(self, stream: Stream) -> None:
        """Use `Transcriber.async_stream`."""
        self._stream = stream
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="ds2edge-stream")

    @property
    def seconds(self) -> float:
        """Audio taken so far."""
        return self._stream.seconds

    async def feed(self, samples: Samples, dtype: npt.DTypeLike | None = None) -> list[Event]:
        """See `Stream.feed`."""
        return await self._call(self._stream.feed, samples, dtype)

    async def flush(self) -> list[Event]:
        """See `Stream.flush`."""
        return await self._call(self._stream.flush)

    async def finish(self) -> list[Event]:
        """See `Stream.finish`."""
        return await self._call(self._stream.finish)

    async def set_options(self, options: StreamOptions) -> None:
        """See `Stream.set_options`."""
        await self._call(self._stream.set_options, options)

    async def events(self, blocks: AsyncIterator[Samples]) -> AsyncIterator[Event]:
        """Transcribe blocks of samples as they come; partials and finals, in order."""
        async for block in blocks:
            for event in await self.feed(block):
                yield event
        for event in await self.finish():
            yield event

    def close(self) -> None:
        """Drop what is not finished."""
        self._stream.close()
        self._worker.shutdown(wait=False)

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def _call(self, work: Callable[..., T], *arguments: Any) -> T:
        self._stream.check_open()  # the worker is gone when it is closed
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)
