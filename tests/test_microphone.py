"""Microphone, on a PortAudio that the tests play."""

from __future__ import annotations

import _thread
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fake_sounddevice import BLOCK, BUSY, RATE, FakeDevice, FakeSounddevice, Take

from ds2edge import Transcriber
from ds2edge.errors import AudioError, ConfigError, MissingExtraError, StreamError
from ds2edge.microphone import InputDevice, Microphone, input_devices
from ds2edge.results import Final

Install = Callable[..., FakeSounddevice]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a sounddevice with the given devices in the place of the real one."""
    made: list[FakeSounddevice] = []

    def put(*devices: FakeDevice, default: int = 0) -> FakeSounddevice:
        made.append(FakeSounddevice(list(devices), default))
        monkeypatch.setitem(sys.modules, "sounddevice", made[-1])
        monkeypatch.setattr("ds2edge.microphone.time", made[-1].clock)
        return made[-1]

    yield put
    for fake in made:
        for stream in fake.streams:
            stream.hold_close.set()
            stream.close()


def ramp(start: int, length: int) -> np.ndarray[Any, Any]:
    """Samples that tell their number, none of them 0."""
    return (np.arange(start, start + length, dtype=np.float32) + 1) / 2**20


def takes(count: int) -> list[Take]:
    return [Take(ramp(BLOCK * i, BLOCK)) for i in range(count)]


def read_all(microphone: Microphone) -> tuple[np.ndarray[Any, Any], str]:
    """What came until the device was gone, and what the error said."""
    blocks = [np.zeros(0, np.float32)]
    try:
        for block in microphone:
            assert block.dtype == np.float32
            assert block.ndim == 1
            blocks.append(block)
    except AudioError as error:
        return np.concatenate(blocks), str(error)
    raise AssertionError("the device is gone, and nobody says so")


@pytest.mark.parametrize("end", ["stop", "vanish", "error", "stall"])
def test_all_samples_come_in_order_then_one_error(
    install: Install, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr("ds2edge.microphone.PATIENCE", 0.3 if end == "stall" else 15.0)
    odd = Take(ramp(10 * BLOCK, 333))  # less than a block is left at the end
    fake = install(FakeDevice("Desk", takes=[*takes(10), odd], end=end))
    with Microphone() as microphone:
        start = time.monotonic()
        samples, message = read_all(microphone)
        assert time.monotonic() - start < 10
        assert np.array_equal(samples, ramp(0, 10 * BLOCK + 333))
        assert "'Desk' is gone" in message
        assert fake.streams[0].closed.is_set()
        assert (microphone.dropped_seconds, microphone.lag_seconds) == (0, 0)
        with pytest.raises(AudioError, match="is gone"):  # it does not come back
            next(microphone)


def test_a_device_that_never_begins_is_gone(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ds2edge.microphone.START_PATIENCE", 0.3)
    install(FakeDevice("Desk", end="stall"))
    start = time.monotonic()
    assert len(read_all(Microphone())[0]) == 0
    assert time.monotonic() - start < 10


def test_a_device_may_take_long_to_begin(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ds2edge.microphone.PATIENCE", 0.1)
    install(FakeDevice("Desk", takes=takes(1), delay=0.5))
    assert len(read_all(Microphone())[0]) == BLOCK


@pytest.mark.parametrize(
    ("asked", "default", "possible", "opened"),
    [
        (None, 44_100, (44_100, 48_000), 44_100),
        (16_000, 44_100, (16_000, 44_100), 16_000),
        (16_000, 44_100, (44_100, 48_000), 44_100),
        (None, 44_100, (8_000, 48_000), 48_000),
        (16_000, 44_100, (8_000, 32_000), 32_000),
        (96_000, 44_100, (8_000,), 8_000),
    ],
)
def test_the_rate(
    install: Install, asked: float | None, default: float, possible: Any, opened: float
) -> None:
    fake = install(FakeDevice("Desk", default_samplerate=default, rates=possible))
    assert Microphone(sample_rate=asked).sample_rate == opened
    assert fake.streams[0].settings["samplerate"] == opened
    assert fake.streams[0].settings["blocksize"] == round(opened * 0.05)


@pytest.mark.parametrize(("possible", "opened"), [((1, 2, 6), 1), ((2, 6), 2), ((6,), 6)])
def test_more_channels_than_one_are_averaged(
    install: Install, possible: tuple[int, ...], opened: int
) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, (BLOCK, opened)).astype(np.float32)
    device = FakeDevice("Desk", max_input_channels=6, channels=possible, takes=[Take(samples)])
    fake = install(device)
    heard, _ = read_all(Microphone())
    assert fake.streams[0].settings["channels"] == opened
    np.testing.assert_allclose(heard, samples.mean(axis=1), atol=1e-7)


def test_an_overflow_becomes_silence_where_it_was(install: Install) -> None:
    after = Take(ramp(20 * BLOCK + 5_000, BLOCK), overflow=True, lost=5_000)
    rest = [Take(ramp((21 + i) * BLOCK + 5_000, BLOCK)) for i in range(5)]
    install(FakeDevice("Desk", takes=[*takes(20), after, *rest]))
    with Microphone() as microphone:
        samples, _ = read_all(microphone)
        assert microphone.dropped_seconds == pytest.approx(5_000 / RATE, abs=2e-3)
    silent = np.flatnonzero(samples == 0)
    assert (silent[0], len(silent)) == (20 * BLOCK, silent[-1] - silent[0] + 1)
    error = abs(len(samples) - (26 * BLOCK + 5_000))
    assert error <= 0.001 * RATE * 2  # the drift allowed between the clocks, over 1 s
    assert np.array_equal(samples[-6 * BLOCK :], ramp(20 * BLOCK + 5_000, 6 * BLOCK))


def test_a_reader_that_is_too_slow_hears_silence(install: Install) -> None:
    fake = install(FakeDevice("Desk", takes=takes(100)))  # 5 s
    with Microphone(buffer_seconds=2.0) as microphone:
        assert fake.streams[0].played.wait(20)
        assert microphone.lag_seconds == 5.0
        assert microphone.dropped_seconds == 3.0
        samples, _ = read_all(microphone)
    assert np.array_equal(samples[: 2 * RATE], ramp(0, 2 * RATE))
    assert len(samples) == 5 * RATE
    assert not samples[2 * RATE :].any()


def test_a_reader_that_is_late_gets_longer_blocks(install: Install) -> None:
    fake = install(FakeDevice("Desk", takes=takes(50)))
    with Microphone() as microphone:
        assert fake.streams[0].played.wait(20)
        assert [len(next(microphone)) for _ in range(3)] == [RATE, RATE, RATE // 2]


def test_the_level_is_the_last_blocks_peak(install: Install) -> None:
    quiet, loud = np.full(BLOCK, 0.25), np.full(BLOCK, -1.5)
    install(FakeDevice("Desk", takes=[Take(quiet), Take(loud)]))
    microphone = Microphone(block_seconds=0.1)
    assert microphone.level == 0
    assert np.array_equal(next(microphone), np.concatenate([quiet, loud]).astype(np.float32))
    assert microphone.level == 1.0


def test_nothing_is_recorded_before_it_is_used(install: Install) -> None:
    fake = install(FakeDevice("Desk"))
    microphone = Microphone()
    assert fake.streams[0].state == "new"
    with microphone:
        assert fake.streams[0].thread.ident


def test_devices(install: Install) -> None:
    install(
        FakeDevice("Desk", max_input_channels=2, default_samplerate=48_000),
        FakeDevice("Speaker", max_input_channels=0),
        FakeDevice("Head", hostapi=0),
        FakeDevice("Head", hostapi=1),
        default=2,
    )
    assert input_devices() == (
        InputDevice(0, "Desk", 2, 48_000.0, False),
        InputDevice(2, "Head, ALSA", 1, RATE, True),
        InputDevice(3, "Head, JACK", 1, RATE, False),
    )
    assert Microphone.devices() == input_devices()
    assert Microphone().device_name == "Head"
    assert Microphone(0).device_name == "Desk"
    assert Microphone("desk").device_name == "Desk"
    fake = sys.modules["sounddevice"]
    Microphone("Head, JACK")
    assert fake.streams[-1].settings["device"] == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("Roof", "there is no microphone 'Roof'; those there are: 0: Desk; 2: Desk 2"),
        (7, "there is no microphone 7; those there are: 0: Desk; 2: Desk 2"),
        (-3, "there is no microphone -3"),
        (1, "'Speaker' does not record; those there are: 0: Desk"),
        ("esk", "'esk' fits several microphones; those there are: 0: Desk; 2: Desk 2"),
        (1.5, "device must be a number, a name or None, got 1.5"),
        (True, "device must be a number, a name or None, got True"),
    ],
)
def test_no_such_device(install: Install, device: Any, message: str) -> None:
    install(FakeDevice("Desk"), FakeDevice("Speaker", max_input_channels=0), FakeDevice("Desk 2"))
    with pytest.raises(AudioError, match=message):
        Microphone(device)


def test_no_device_at_all(install: Install) -> None:
    install(default=-1)
    assert input_devices() == ()
    with pytest.raises(AudioError, match="no default microphone; those there are: none"):
        Microphone()


def test_a_busy_device(install: Install) -> None:
    fake = install(FakeDevice("Desk", busy=True), FakeDevice("Head", busy_at_start=True))
    with pytest.raises(AudioError, match=r"'Desk' cannot be opened: .*Device unavailable .*-9985"):
        Microphone()
    assert fake.checks == 1  # no other rate helps
    with pytest.raises(AudioError, match=r"'Head' cannot be opened: .*Device unavailable"):
        next(Microphone(1))


def test_a_device_that_becomes_busy_between(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise BUSY

    monkeypatch.setattr(install(FakeDevice("Desk")), "InputStream", refuse)
    with pytest.raises(AudioError, match=r"'Desk' cannot be opened: .*Device unavailable"):
        Microphone()


def test_a_device_that_takes_no_rate(install: Install) -> None:
    install(FakeDevice("Desk", rates=()))
    with pytest.raises(AudioError, match=r"'Desk' cannot be opened: .*Invalid sample rate"):
        Microphone()


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"sample_rate": 0}, AudioError),
        ({"sample_rate": "high"}, AudioError),
        ({"block_seconds": 0.0}, ConfigError),
        ({"block_seconds": float("nan")}, ConfigError),
        ({"block_seconds": 5.0}, ConfigError),
        ({"buffer_seconds": 0.1}, ConfigError),
        ({"buffer_seconds": float("inf")}, ConfigError),
    ],
)
def test_impossible_settings(
    install: Install, settings: dict[str, Any], error: type[Exception]
) -> None:
    install(FakeDevice("Desk"))
    with pytest.raises(error):
        Microphone(**settings)


def test_sounddevice_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    for use in (Microphone, input_devices):
        with pytest.raises(MissingExtraError, match=r"pip install 'ds2edge\[mic\]'"):
            use()


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (OSError("PortAudio library not found"), "apt-get install libportaudio2"),
        (RuntimeError("Error initializing PortAudio"), "does not start: Error initializing"),
    ],
)
def test_portaudio_is_missing(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, message: str
) -> None:
    def fail(name: str) -> None:
        raise failure

    monkeypatch.setattr("ds2edge.microphone.importlib.import_module", fail)
    for use in (Microphone, input_devices):
        with pytest.raises(AudioError, match=message):
            use()


def test_sounddevice_is_loaded_when_first_used() -> None:
    code = "import sys, ds2edge.microphone; assert 'sounddevice' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)  # -P: the installed one


def test_closed(install: Install) -> None:
    fake = install(FakeDevice("Desk", takes=takes(3), end="stay"))
    with Microphone() as microphone:
        pass
    microphone.close()
    assert fake.streams[0].closed.is_set()
    with pytest.raises(StreamError, match="closed"):
        iter(microphone)
    with pytest.raises(StreamError, match="closed"):
        microphone.__enter__()


def test_closing_in_the_loop_ends_it_after_what_was_recorded(install: Install) -> None:
    fake = install(FakeDevice("Desk", takes=takes(50), end="stay"))
    microphone = Microphone()
    samples: list[float] = []
    for block in microphone:
        samples += block.tolist()
        fake.streams[0].played.wait(20)
        microphone.close()
    assert np.array_equal(samples, ramp(0, 50 * BLOCK))


def test_closing_in_another_thread_ends_the_loop(install: Install) -> None:
    install(FakeDevice("Desk", takes=takes(3), end="stay"))
    microphone = Microphone()
    threading.Timer(0.3, microphone.close).start()
    assert sum(len(block) for block in microphone) == 3 * BLOCK


def test_closing_gives_up_where_the_system_hangs(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ds2edge.microphone.PATIENCE", 0.1)
    fake = install(FakeDevice("Desk", takes=takes(1), end="stay"))
    microphone = Microphone()
    next(microphone)
    fake.streams[0].hold_close.clear()
    microphone.close()
    assert not fake.streams[0].closed.is_set()
    fake.streams[0].hold_close.set()
    assert fake.streams[0].closed.wait(20)


def test_closing_in_portaudios_thread_does_not_wait_for_it(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As garbage collection may do."""
    monkeypatch.setattr("ds2edge.microphone.PATIENCE", 15.0)
    fake = install(FakeDevice("Desk", takes=takes(1), end="stay"))
    microphone = Microphone()
    next(microphone)
    microphone._capture.thread = threading.get_ident()
    fake.streams[0].hold_close.clear()
    start = time.monotonic()
    microphone.close()
    assert time.monotonic() - start < 10


def test_ctrl_c_ends_the_iteration(install: Install) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    fake = install(FakeDevice("Desk", takes=takes(3), end="stay"))
    threading.Timer(0.3, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt), Microphone() as microphone:
        for _ in microphone:
            pass
    signal.signal(signal.SIGINT, before)
    assert fake.streams[0].closed.is_set()


def test_one_that_is_forgotten_is_closed_first(install: Install) -> None:
    fake = install(FakeDevice("Desk", takes=takes(3), end="stay"))
    for _ in Microphone():
        break
    gc.collect()
    assert fake.streams[0].closed.wait(20)


def test_a_forked_child_is_refused(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(FakeDevice("Desk", takes=takes(3), end="stay"))
    with Microphone() as microphone:
        next(microphone)
        number = os.getpid() + 1
        with monkeypatch.context() as child:
            child.setattr("ds2edge.microphone.os.getpid", lambda: number)
            with pytest.raises(StreamError, match="fork"):
                next(microphone)
            Microphone.close(microphone)
            assert not fake.streams[0].closed.is_set()  # it is the parent's
        fake.streams[0].close()


def test_it_transcribes(
    install: Install, transcriber: Transcriber, speech: np.ndarray[Any, Any]
) -> None:
    pieces = np.split(speech, range(BLOCK, len(speech), BLOCK))
    fake = install(FakeDevice("Desk", takes=[Take(piece) for piece in pieces], end="stay"))
    microphone = Microphone()
    threading.Thread(
        target=lambda: (fake.streams[0].played.wait(20), microphone.close()), daemon=True
    ).start()
    finals = [each for each in transcriber.events(microphone) if isinstance(each, Final)]
    assert tuple(finals) == transcriber.transcribe(speech, RATE).segments
