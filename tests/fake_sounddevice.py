"""A sounddevice whose devices the tests play."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

RATE = 16_000
BLOCK = 800  # of PortAudio: 50 ms


class FakePortAudioError(Exception):
    """As sounddevice's: (text, code)."""

    def __str__(self) -> str:
        return f"{self.args[0]} [PaErrorCode {self.args[1]}]"


INVALID_RATE = FakePortAudioError("Error opening InputStream: Invalid sample rate", -9997)
INVALID_CHANNELS = FakePortAudioError(
    "Error opening InputStream: Invalid number of channels", -9998
)
BUSY = FakePortAudioError("Error opening InputStream: Device unavailable", -9985)
NOT_THERE = FakePortAudioError("Error querying device", -9996)


@dataclass
class Take:
    """One callback."""

    samples: Any  # shape = (n,) or (n, channels)
    overflow: bool = False
    lost: int = 0  # samples that PortAudio lost before these


@dataclass
class FakeDevice:
    name: str
    max_input_channels: int = 1
    default_samplerate: float = RATE
    hostapi: int = 0
    rates: tuple[float, ...] = (RATE,)
    channels: tuple[int, ...] = (1,)
    takes: list[Take] = field(default_factory=list)  # what is recorded, before it goes on silently
    end: str = "stop"  # then: "stop" says so, "vanish" only is inactive, "stall", "error", "stay"
    delay: float = 0.0  # s, before the first of them
    busy: bool = False
    busy_at_start: bool = False


class FakeStream:
    """Calls back from a thread, as fast as it can."""

    def __init__(self, fake: FakeSounddevice, device: FakeDevice, settings: dict[str, Any]) -> None:
        self.device, self.settings, self.clock = device, settings, fake.clock
        self.samplerate = settings["samplerate"]
        self.state, self.closed = "new", threading.Event()
        self.hold_close = threading.Event()
        self.hold_close.set()
        self.played = threading.Event()
        self.thread = threading.Thread(target=self.play, daemon=True)

    def start(self) -> None:
        if self.device.busy_at_start:
            raise BUSY
        self.state = "active"
        self.thread.start()

    @property
    def active(self) -> bool:
        if self.state == "error":
            raise FakePortAudioError("Internal PortAudio error", -9986)
        return self.state == "active"

    def play(self) -> None:
        recorded = 0
        self.closed.wait(self.device.delay)
        for take in self.device.takes:
            if self.closed.is_set():
                break
            block = np.asarray(take.samples, np.float32)
            block = block[:, None] if block.ndim == 1 else block
            recorded += take.lost
            self.clock.now = recorded / RATE + 0.05
            times = SimpleNamespace(inputBufferAdcTime=100.0 + recorded / RATE)
            status = SimpleNamespace(input_overflow=take.overflow)
            memory = block.copy()
            self.settings["callback"](memory, len(memory), times, status)
            memory[:] = np.nan  # PortAudio's again
            recorded += len(block)
        end = self.device.end
        if end in ("vanish", "error"):
            self.state = end
        self.played.set()
        if end == "stay" or end == "stall":
            self.closed.wait(30)
        if end != "vanish" and end != "error":
            self.state = "stopped"
            self.settings["finished_callback"]()

    def close(self) -> None:
        self.hold_close.wait(30)
        self.closed.set()
        if self.thread.ident:
            self.thread.join(20)


class FakeSounddevice:
    """What ds2edge uses of the package sounddevice."""

    PortAudioError = FakePortAudioError

    def __init__(self, devices: list[FakeDevice], default: int) -> None:
        self.devices, self.default = devices, default
        self.streams: list[FakeStream] = []
        self.checks = 0
        self.clock = SimpleNamespace(now=0.0, monotonic=lambda: self.clock.now)

    def facts(self, index: int) -> dict[str, Any]:
        device = self.devices[index]
        names = ("name", "max_input_channels", "default_samplerate", "hostapi")
        return {"index": index, **{name: getattr(device, name) for name in names}}

    def query_hostapis(self) -> tuple[dict[str, Any], ...]:
        return ({"name": "ALSA"}, {"name": "JACK"})

    def query_devices(self, device: int | str | None = None, kind: str | None = None) -> Any:
        if device is None and kind is None:
            return tuple(self.facts(index) for index in range(len(self.devices)))
        index = self.default if device is None else device
        if isinstance(index, str):
            names = [each.name.lower() for each in self.devices]
            found = [i for i, name in enumerate(names) if index.lower() in name]
            if len(found) != 1:
                what = "Multiple input devices found for" if found else "No input device matching"
                raise ValueError(f"{what} {device!r}")
            index = found[0]
        if not 0 <= index < len(self.devices):
            raise NOT_THERE
        return self.facts(index)

    def check_input_settings(
        self, device: int, channels: int, dtype: str, samplerate: float
    ) -> None:
        assert dtype == "float32"
        self.checks += 1
        if self.devices[device].busy:
            raise BUSY
        if samplerate not in self.devices[device].rates:
            raise INVALID_RATE
        if channels not in self.devices[device].channels:
            raise INVALID_CHANNELS

    def InputStream(self, **settings: Any) -> FakeStream:  # noqa: N802 # its name there
        self.streams.append(FakeStream(self, self.devices[settings["device"]], settings))
        return self.streams[-1]
