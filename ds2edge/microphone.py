"""Live input: a microphone as an iterable of sample blocks.

PortAudio (through the package sounddevice, loaded when first used) calls back from a thread of its
own; that thread only copies into a ring buffer, and the iteration reads from there.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
import weakref
from dataclasses import dataclass
from typing import Any, NoReturn

from ds2edge.audio import FloatArray, SampleInput
from ds2edge.errors import AudioError, ConfigError, MissingExtraError, StreamError
from ds2edge.results import Seconds
from ds2edge.ring import RingBuffer

COMMON_RATES = (48_000.0, 44_100.0, 32_000.0, 16_000.0, 8_000.0)  # Hz, tried in this order
LONGEST_BLOCK: Seconds = 1.0  # what waits is delivered at once, up to so much
PORTAUDIO_BLOCK: Seconds = 0.05  # at most; of one callback
TICK: Seconds = 0.1  # between two looks whether the device is still there
# Without a sample for so long the device is gone. Bluetooth takes seconds to begin.
START_PATIENCE: Seconds = 10.0
PATIENCE: Seconds = 2.0
# The device's clock and ours differ by less than this: 0.1 %.
CLOCK_TOLERANCE = 1e-3
# A stream that stays so much too late, for so long, has lost that audio though nobody said so.
UNREPORTED_LOSS: Seconds = 1.0

# PortAudio's codes for "not with these settings"; after any other error no setting helps.
INVALID_SETTINGS = {
    -9999,  # unanticipated host error: what some drivers say of a rate
    -9998,  # invalid number of channels
    -9997,  # invalid sample rate
    -9994,  # sample format not supported
}


@dataclass(frozen=True)
class InputDevice:
    """A device that audio can be recorded from."""

    index: int  # PortAudio's number of it
    name: str  # what `Microphone(name)` and `--device` take
    channels: int  # at most
    sample_rate: float  # Hz, its default
    default: bool  # what `Microphone()` opens


def input_devices() -> tuple[InputDevice, ...]:
    """The devices there were when this process first used PortAudio.

    Raises:
        MissingExtraError: sounddevice is not installed.
        AudioError: PortAudio is missing or fails.
    """
    sounddevice = _load_sounddevice()
    try:
        found = [info for info in sounddevice.query_devices() if info["max_input_channels"] > 0]
        hosts = [host["name"] for host in sounddevice.query_hostapis()]
    except sounddevice.PortAudioError as error:
        raise AudioError(f"the audio devices cannot be listed: {error}") from None
    names = [str(info["name"]) for info in found]
    default = _default_index(sounddevice)
    return tuple(
        InputDevice(
            index=int(info["index"]),
            # Windows lists a device once for each of its audio systems.
            name=name if names.count(name) == 1 else f"{name}, {hosts[info['hostapi']]}",
            channels=int(info["max_input_channels"]),
            sample_rate=float(info["default_samplerate"]),
            default=int(info["index"]) == default,
        )
        for info, name in zip(found, names, strict=True)
    )


class Microphone:
    """A microphone: a context manager, and an iterator of mono float32 blocks, shape = (n,).

    It records from the `with`, or else the first iteration, until `close`. Where the reader is
    too slow or the system loses audio, silence of the same length takes its place, so that the
    times stay true.

    Args:
        device: an `InputDevice.index`, or (a part of) a name; None for the system's default.
        sample_rate: Hz, wished for; a device that cannot is opened at its own. The stream that
            it feeds resamples.
        block_seconds: the shortest block delivered; the longest, after a delay, is a second.
        buffer_seconds: how far behind the reader may be before audio is lost.

    Attributes:
        sample_rate: Hz, of the blocks.
        device_name: of the device opened.
        level: peak of the last block, 0..1.

    Raises:
        AudioError: there is no such device, or it cannot be opened; while iterating: it is gone.
        MissingExtraError: sounddevice is not installed.
        ConfigError: `block_seconds` or `buffer_seconds` is impossible.
        StreamError: iterated after `close`, or in a forked child.
    """

    def __init__(
        self,
        device: int | str | None = None,
        sample_rate: float | None = None,
        block_seconds: Seconds = 0.05,
        buffer_seconds: Seconds = 10.0,
    ) -> None:
        if not 0.001 <= block_seconds <= LONGEST_BLOCK:
            raise ConfigError(
                f"block_seconds must be from 0.001 to {LONGEST_BLOCK}, got {block_seconds}"
            )
        if not 4 * block_seconds <= buffer_seconds <= 3600:
            raise ConfigError(
                f"buffer_seconds must be from 4 blocks to 3600 s, got {buffer_seconds}"
            )
        if sample_rate is not None:
            sample_rate = SampleInput(sample_rate, sample_rate).sample_rate  # checked
        sounddevice = _load_sounddevice()
        info = _find(sounddevice, device)
        self.device_name = str(info["name"])
        rate, channels = _settings(sounddevice, info, sample_rate)
        self._capture = _Capture(rate, RingBuffer(round(buffer_seconds * rate)))
        self._ring = self._capture.ring
        self._port_audio_error: type[Exception] = sounddevice.PortAudioError
        try:
            self._stream = sounddevice.InputStream(
                samplerate=rate,
                blocksize=round(min(block_seconds, PORTAUDIO_BLOCK) * rate),
                device=info["index"],
                channels=channels,
                dtype="float32",
                callback=self._capture.take,
                finished_callback=self._ring.close,
            )
        except sounddevice.PortAudioError as error:
            raise _not_opened(self.device_name, error) from None
        self.sample_rate = float(self._stream.samplerate)
        self.level = 0.0
        self._least = round(block_seconds * rate)
        self._most = round(LONGEST_BLOCK * rate)
        self._started = self._closed = False
        self._process = os.getpid()
        # Also when nobody closes it: PortAudio's thread must not call into memory that is freed.
        self._release = weakref.finalize(self, _release, self._stream, self._capture, self._process)
        self._release.atexit = False  # sounddevice has its own

    @property
    def lag_seconds(self) -> Seconds:
        """Audio that waits to be read."""
        return self._ring.waiting / self.sample_rate

    @property
    def dropped_seconds(self) -> Seconds:
        """Audio lost so far; silence took its place."""
        return self._ring.lost / self.sample_rate

    @staticmethod
    def devices() -> tuple[InputDevice, ...]:
        """See `input_devices`."""
        return input_devices()

    def close(self) -> None:
        """Stop recording. An iteration under way gets what was recorded, then ends.

        Closing twice is fine, and so is closing from another thread.
        """
        self._closed = True
        self._release()
        self._ring.close()

    def __enter__(self) -> Microphone:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Microphone:
        self._start()
        return self

    def __next__(self) -> FloatArray:
        """The next block, as soon as there is one."""
        if not self._closed:
            self._start()
        arrived = self._capture.samples
        patience = PATIENCE if arrived else START_PATIENCE
        waited = 0.0  # counted in ticks: a process that was suspended did not wait
        while True:
            ended = self._ring.closed  # asked first: all that came before the end is still read
            block = self._ring.read(self._least, self._most, TICK)
            if len(block):
                self.level = min(1.0, max(float(block.max()), -float(block.min())))
                return block
            if ended:
                self._end()
            waited = 0.0 if self._capture.samples != arrived else waited + TICK
            arrived = self._capture.samples
            if waited > patience or not self._is_active():
                self._ring.close()

    def _start(self) -> None:
        if os.getpid() != self._process:
            raise StreamError("a Microphone does not survive fork(); open it in the child process")
        if self._closed:
            raise StreamError("the Microphone is closed")
        if self._started:
            return
        try:
            self._stream.start()
        except self._port_audio_error as error:
            raise _not_opened(self.device_name, error) from None
        self._started = True

    def _is_active(self) -> bool:
        try:
            return bool(self._stream.active)
        except self._port_audio_error:
            return False

    def _end(self) -> NoReturn:
        """All has been read, and no more will come."""
        if self._closed:
            raise StopIteration
        self._release()
        raise AudioError(
            f"the microphone {self.device_name!r} is gone: it was unplugged or its driver stopped"
        )


class _Capture:
    """The callback of PortAudio and what it writes to. Knows no Microphone, so one can be freed."""

    def __init__(self, rate: float, ring: RingBuffer) -> None:
        self.ring = ring
        self.samples = 0  # so far, those that the system lost among them
        self.thread = 0  # of PortAudio
        self._losses = _Losses(rate)

    def take(self, block: Any, frames: int, times: Any, status: Any) -> None:
        """Copy `block`, shape = (frames, channels), that is PortAudio's memory."""
        self.thread = threading.get_ident()
        missing = self._losses.before(
            self.samples, time.monotonic(), times.inputBufferAdcTime, status.input_overflow
        )
        self.samples += missing + frames
        self.ring.write(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1), missing)


class _Losses:
    """How much the system lost, by its word and by the times at which blocks come.

    Two clocks tell when a block comes: ours, and PortAudio's time stamp of its first sample. A
    block is late for many reasons and early for none, so its lateness is measured against the
    most punctual blocks, and the smaller one counts. Where PortAudio reports an overflow, what is
    late is lost. PulseAudio loses without a word; there, what stays late is lost.
    """

    def __init__(self, rate: float) -> None:
        """`rate` in Hz."""
        self._rate = rate
        self._ours, self._stamps = _Clock(rate), _Clock(rate)
        self._last_stamp = 0.0
        self._late_since: tuple[Seconds, int] | None = None  # when, and by how many samples

    def before(self, samples: int, now: Seconds, stamp: Seconds, overflow: bool) -> int:
        """Samples lost right before a block that comes `now` after `samples` others.

        Args:
            now: by our clock.
            stamp: PortAudio's; left out where it stands still, as on systems that have none.
        """
        moves, self._last_stamp = stamp > self._last_stamp, stamp
        late = self._ours.late(now, samples)
        by_stamp = self._stamps.late(stamp, samples) if moves else late
        return min(late, by_stamp) if overflow else self._unreported(now, late)

    def _unreported(self, now: Seconds, late: int) -> int:
        if late < UNREPORTED_LOSS * self._rate:
            self._late_since = None
            return 0
        since, before = self._late_since or (now, late)
        if abs(late - before) > 0.1 * self._rate:  # it is catching up: late, not lost
            since, before = now, late
        self._late_since = since, before
        return min(late, before) if now - since > UNREPORTED_LOSS else 0


class _Clock:
    """When a block comes, against when it would come had nothing been lost."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._start: Seconds | None = None  # the time of sample 0, by the most punctual blocks
        self._samples = 0

    def late(self, now: Seconds, samples: int) -> int:
        """How many samples too late a block is that comes `now`, after so many `samples`."""
        start = now - samples / self._rate
        if self._start is None:
            self._start = start
        drift = CLOCK_TOLERANCE * (samples - self._samples) / self._rate
        self._start, self._samples = min(start, self._start + drift), samples
        return round((start - self._start) * self._rate)


def _load_sounddevice() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except ImportError as error:
        raise MissingExtraError(
            f"a microphone needs the package sounddevice: pip install 'ds2edge[mic]' ({error})"
        ) from None
    except OSError as error:
        raise AudioError(
            f"a microphone needs the library PortAudio ({error}); "
            "on Debian: sudo apt-get install libportaudio2"
        ) from None
    except Exception as error:  # its PortAudioError, which cannot be imported then
        raise AudioError(f"PortAudio does not start: {error}") from None


def _default_index(sounddevice: Any) -> int | None:
    try:
        return int(sounddevice.query_devices(kind="input")["index"])
    except (ValueError, sounddevice.PortAudioError):
        return None


def _find(sounddevice: Any, device: int | str | None) -> Any:
    """PortAudio's facts of the device; an error lists those there are."""
    if device is not None and (isinstance(device, bool) or not isinstance(device, int | str)):
        raise AudioError(f"device must be a number, a name or None, got {device!r}")
    number = device
    if isinstance(device, str):  # as sounddevice finds it, but the names that are listed come first
        exact = [each.index for each in input_devices() if each.name == device]
        number = exact[0] if len(exact) == 1 else device
    try:
        info = sounddevice.query_devices(number, "input")
        if info["max_input_channels"] > 0:
            return info
        problem = f"{info['name']!r} does not record"
    except (ValueError, sounddevice.PortAudioError) as error:
        wanted = "no default microphone" if device is None else f"no microphone {device!r}"
        several = str(error).startswith("Multiple")
        problem = f"{device!r} fits several microphones" if several else f"there is {wanted}"
    listed = "; ".join(f"{each.index}: {each.name}" for each in input_devices()) or "none"
    raise AudioError(f"{problem}; those there are: {listed}")


def _settings(sounddevice: Any, info: Any, wished: float | None) -> tuple[float, int]:
    """A rate in Hz and a number of channels that the device takes: the wished, the simplest."""
    rates = dict.fromkeys([wished or 0.0, float(info["default_samplerate"]), *COMMON_RATES])
    most = int(info["max_input_channels"])
    channels = sorted({1, min(2, most), most})
    refusal: Exception | None = None
    for rate in filter(None, rates):
        for count in channels:
            try:
                sounddevice.check_input_settings(
                    device=info["index"], channels=count, dtype="float32", samplerate=rate
                )
            except sounddevice.PortAudioError as error:
                refusal = error
                if _code(error) not in INVALID_SETTINGS:
                    raise _not_opened(str(info["name"]), error) from None
            else:
                return rate, count
    raise _not_opened(str(info["name"]), refusal)


def _code(error: Exception) -> int:
    return int(error.args[1]) if len(error.args) > 1 else 0


def _not_opened(name: str, error: Exception | None) -> AudioError:
    return AudioError(f"the microphone {name!r} cannot be opened: {error}")


def _release(stream: Any, capture: _Capture, process: int) -> None:
    """Close the device, or give up: with an audio server that hangs, closing hangs, too."""
    if os.getpid() != process:
        return  # it belongs to the parent
    closing = threading.Thread(target=stream.close, daemon=True)
    try:
        closing.start()
    except RuntimeError:  # the interpreter shuts down; so does sounddevice
        return
    # Garbage may be collected in PortAudio's thread, and closing waits for that thread.
    if threading.get_ident() != capture.thread:
        closing.join(PATIENCE)
