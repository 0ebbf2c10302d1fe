"""Recordings that come as files: taken into a temporary file, and transcribed beside the streams.

A file is one more stream of the dispatcher, which has one step at a time on its way as every other
one has; so it takes from live streams no more than its turn.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from ds2edge.audio_file import AudioFile, open_audio
from ds2edge.errors import AudioError, BacklogError, Ds2edgeError, StreamError
from ds2edge.options import StreamOptions
from ds2edge.results import Final, Seconds, Transcript
from ds2edge.serving.dispatcher import Dispatcher
from ds2edge.serving.live import LiveStream
from ds2edge.serving.protocol import MOST_TEXT, RefusalError
from ds2edge.serving.service import Service

SLOWEST = 8_000  # bytes a second that an upload has to have
BLOCK: Seconds = 0.5  # of a file, read at once
MOST_FIELDS = 30  # of a form
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a disk says that has no room

log = logging.getLogger(__name__)

Fields: TypeAlias = dict[str, list[str]]  # of a form, by name
T = TypeVar("T")
# Of a form's fields: how to transcribe, and what to make of the transcript.
Choose: TypeAlias = Callable[[Fields], tuple[StreamOptions, Callable[[Transcript], T]]]


class Upload:
    """One request with a recording."""

    def __init__(self, request: Request, service: Service, pool: ThreadPoolExecutor) -> None:
        """`pool`: where it is transcribed."""
        self._request, self._service, self._pool = request, service, pool
        self._options = service.options
        self._end = threading.Event()  # asked of the thread
        self._task = asyncio.current_task()
        self._error: RefusalError | None = None

    async def answer(self, choose: Choose[T]) -> T:
        """What `choose` makes of the form's fields, and what that makes of the transcript.

        Raises:
            RefusalError: the file cannot be taken or transcribed.
            ClientDisconnect: the client is gone.
        """
        try:
            with self._service.guest(self):
                async with self._service.file_turn():
                    with self._service.place(self, "files"), _room():
                        return await self._answer(choose)
        except asyncio.CancelledError:
            if self._error is None or not self._task:
                raise
            self._task.uncancel()
            raise self._error from None

    def wind_up(self, refused: RefusalError) -> None:
        """Nothing is to be done: what came whole will be transcribed."""

    def stop(self, refused: RefusalError) -> None:
        """End now."""
        if self._error is None and self._task:
            self._error = refused
            self._task.cancel()

    async def _answer(self, choose: Choose[T]) -> T:
        promised = self._request.headers.get("content-length", "")
        if promised.isdecimal() and int(promised) > self._most_bytes:
            raise self._too_large()
        request = Request(self._request.scope, self._limited(self._request.receive))
        if request.headers.get("content-type", "").startswith("multipart/"):
            try:
                async with request.form(
                    max_files=1, max_fields=MOST_FIELDS, max_part_size=MOST_TEXT
                ) as form:
                    file, fields = _parts(form.multi_items())
                    return await self._transcribe(file, *choose(fields))
            except HTTPException as error:
                raise RefusalError(
                    "bad_message", f"the form cannot be read: {error.detail}"
                ) from None
        chosen = choose({})
        with tempfile.TemporaryFile() as file:
            async for chunk in request.stream():
                file.write(chunk)
            return await self._transcribe(file, *chosen)

    async def _transcribe(
        self, file: IO[bytes], options: StreamOptions, use: Callable[[Transcript], T]
    ) -> T:
        loop = asyncio.get_running_loop()

        def work() -> T:
            return use(self._transcript(file, options))

        working = loop.run_in_executor(self._pool, work)
        working.add_done_callback(lambda done: done.exception())  # though all may have gone
        leaving = asyncio.create_task(self._gone())
        try:
            both: set[asyncio.Future[Any]] = {working, leaving}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientDisconnect
            return working.result()
        finally:
            self._end.set()
            leaving.cancel()
            if not working.done():
                await asyncio.wait({working})  # it still reads the file

    def _transcript(self, file: IO[bytes], options: StreamOptions) -> Transcript:
        path = f"/proc/self/fd/{file.fileno()}"  # it has no name, and gets none for a client
        file.flush()
        try:
            with open_audio(path) as audio:
                return self._heard(audio, options)
        except AudioError as error:
            raise RefusalError("bad_audio", str(error).replace(path, "the recording")) from None
        except StreamError:
            raise
        except Ds2edgeError as error:  # of an option
            raise RefusalError("bad_message", str(error)) from None

    def _heard(self, audio: AudioFile, options: StreamOptions) -> Transcript:
        self._service.check_options(options)
        longest = self._options.longest_recording
        too_long = RefusalError("too_long", f"a recording may have {longest:g} s")
        if audio.seconds > longest:
            raise too_long
        with _Dictation(self._service.dispatcher, audio.sample_rate, options, self._end) as text:
            for block in audio.blocks(BLOCK):
                text.push(block)
                if text.seconds > longest:  # whatever the header says
                    raise too_long
            return text.finish()

    @property
    def _most_bytes(self) -> int:
        return round(self._options.file_megabytes * 1e6)

    def _too_large(self) -> RefusalError:
        return RefusalError("too_large", f"an upload may have {self._options.file_megabytes:g} MB")

    def _limited(self, receive: Receive) -> Receive:
        """The messages of the body; they must neither be too many nor come too slowly."""
        loop, received = asyncio.get_running_loop(), 0
        began = loop.time()

        async def limited() -> Message:
            nonlocal received
            latest = began + self._options.idle_seconds + received / SLOWEST
            try:
                async with asyncio.timeout_at(latest):
                    message = await receive()
            except TimeoutError:
                came = f"{received} bytes came in {latest - began:.1f} s"
                raise RefusalError("idle", f"{came}, needed: {SLOWEST} a second") from None
            received += len(message.get("body", b""))
            if received > self._most_bytes:
                raise self._too_large()
            return message

        return limited

    async def _gone(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass


class _Dictation:
    """A stream that is pushed and read by one thread, which `end` calls off."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        sample_rate: float,
        options: StreamOptions,
        end: threading.Event,
    ) -> None:
        self._changed, self._end = threading.Event(), end
        self._stream: LiveStream = dispatcher.stream(sample_rate, options, self._changed.set)
        self._finals: list[Final] = []

    @property
    def seconds(self) -> Seconds:
        """Pushed so far."""
        return self._stream.seconds

    def push(self, block: npt.NDArray[np.float32]) -> None:
        """Wait for room."""
        while True:
            self._changed.clear()
            try:
                return self._stream.push(block, wait=False)
            except BacklogError:
                self._wait()

    def finish(self) -> Transcript:
        """Wait until all is heard."""
        self._stream.finish()
        while not self._stream.ended:
            self._changed.clear()
            if not self._stream.ended:
                self._wait()
        self._take()
        return Transcript(tuple(self._finals), self._stream.seconds)

    def _wait(self) -> None:
        """For room, an event or the end; what was said is taken, lest the stream waits for that."""
        if not self._take():
            self._changed.wait(1.0)
        if self._end.is_set():
            raise StreamError("nobody waits for the transcript any more")

    def _take(self) -> bool:
        events = self._stream.take()
        self._finals += [event for event in events if isinstance(event, Final)]
        return bool(events)

    def __enter__(self) -> _Dictation:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


@contextmanager
def _room() -> Iterator[None]:
    """A full disk is a reason to come again later, and for whoever runs the server to know."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        log.warning("no room for an upload in %s: %s", tempfile.gettempdir(), error.strerror)
        raise RefusalError("too_many", "the server's disk has no room for the upload") from None


def _parts(items: list[tuple[str, UploadFile | str]]) -> tuple[IO[bytes], Fields]:
    """The file of a form, and the other fields."""
    file, fields = None, Fields()
    for name, value in items:
        if isinstance(value, str):
            fields.setdefault(name, []).append(value)
        elif name == "file":
            file = value.file
        else:
            raise RefusalError("bad_message", f"the file has to be the field 'file', got {name!r}")
    if file is None:
        raise RefusalError("bad_message", "the form has no file in a field 'file'")
    return file, fields
