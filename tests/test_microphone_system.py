"""Microphone, on a real PortAudio: ALSA's default device, a PulseAudio of the tests' own."""

from __future__ import annotations

import difflib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from sound_server import SoundServer, sound_server

from ds2edge import Transcriber

pytestmark = pytest.mark.system

SPOKEN = Path(__file__).parent / "data" / "speech" / "2428-83705-0017.mp3"
RECORDER = """
import sys, time, numpy as np
from ds2edge import Ds2edgeError
from ds2edge.microphone import Microphone
file, seconds, asked = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]) or None
blocks, error, start = [], "", 0.0
microphone = Microphone(sample_rate=asked)
try:
    with microphone:
        for block in microphone:
            if not blocks:
                start = time.monotonic()
                print("recording", flush=True)
            blocks.append(block)
            if time.monotonic() - start > seconds:
                break
except Ds2edgeError as caught:
    error = f"{type(caught).__name__}: {caught}"
np.savez(file, samples=np.concatenate(blocks), rate=microphone.sample_rate,
         dropped=microphone.dropped_seconds, took=time.monotonic() - start,
         first=len(blocks[0]), error=error, name=microphone.device_name)
"""


@pytest.fixture
def studio() -> Iterator[SoundServer]:
    with sound_server() as server:
        yield server


def record(
    studio: SoundServer, seconds: float, meanwhile: Callable[[], object], rate: float = 0
) -> dict[str, Any]:
    """What a process with a `Microphone` heard while something happened."""
    file = studio.folder / "heard.npz"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", RECORDER, str(file), str(seconds), str(rate)],
        env=studio.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        begun = process.stdout.readline()
        if begun:
            meanwhile()
        try:
            _, said = process.communicate(timeout=seconds + 30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert process.returncode == 0, said
    with np.load(file) as heard:
        return {**dict(heard), "said": said}


def similarity(heard: np.ndarray[Any, Any], played: np.ndarray[Any, Any]) -> tuple[float, int]:
    """The highest normalised cross-correlation, and where in `heard` it has `played` begin."""
    size = 1 << (len(heard) + len(played)).bit_length()
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size))
    correlation = np.fft.irfft(product)[: len(heard) - len(played)]
    energy = np.cumsum(np.concatenate([[0.0], np.square(heard, dtype=np.float64)]))
    energies = energy[len(played) :] - energy[: -len(played)]
    norm = np.sqrt(np.maximum(energies[: len(correlation)], 1e-9) * np.sum(np.square(played)))
    at = int(np.argmax(correlation / norm))
    return float(correlation[at] / norm[at]), at


@pytest.mark.parametrize("asked", [0, 16_000])
def test_what_is_played_is_heard(
    studio: SoundServer, transcriber: Transcriber, asked: float
) -> None:
    with soundfile.SoundFile(SPOKEN) as file:
        speech, own_rate = file.read(dtype="float32"), file.samplerate
    wav = studio.folder / "speech.wav"
    soundfile.write(wav, speech, own_rate)
    heard = record(studio, len(speech) / own_rate + 3.0, lambda: studio.play(wav), asked)
    samples, rate = heard["samples"], float(heard["rate"])
    assert not heard["error"]
    assert not heard["said"]  # nothing is printed
    assert rate == (asked or 44_100)
    assert heard["dropped"] == 0
    # As long as it took, but for PulseAudio's first fragment.
    assert (len(samples) - heard["first"]) / rate == pytest.approx(float(heard["took"]), abs=0.3)

    played = soxr.resample(speech, own_rate, rate)
    likeness, at = similarity(samples, played)
    assert likeness > 0.95
    # Nothing is missing between the beginning and the end.
    third = len(played) // 3
    for start in (0, third, 2 * third):
        likeness, part = similarity(samples, played[start : start + third])
        assert likeness > 0.95
        assert abs(part - at - start) <= 0.002 * rate
    silence = np.concatenate([samples[: at - int(0.1 * rate)], samples[at + len(played) :]])
    assert np.abs(silence[: int(0.2 * rate)]).max() < 0.01

    text = transcriber.transcribe(samples, rate).text
    alone = np.zeros_like(samples)  # with as much silence around it
    alone[at : at + len(played)] = played
    expected = transcriber.transcribe(alone, rate).text
    assert difflib.SequenceMatcher(None, text.split(), expected.split()).ratio() > 0.9


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP])
def test_a_device_that_goes_away(studio: SoundServer, end: signal.Signals) -> None:
    """SIGSTOP is a system that hangs: PortAudio says nothing, and closing hangs, too."""

    def unplug() -> None:
        time.sleep(1.0)
        studio.daemon.send_signal(end)
        if end is signal.SIGSTOP:  # at last PortAudio's own exit must not hang
            time.sleep(6.0)
            studio.daemon.send_signal(signal.SIGCONT)

    heard = record(studio, 30.0, unplug)
    assert heard["error"].item().startswith("AudioError: the microphone 'default' is gone")
    assert heard["took"] < 1.0 + 2 * 2.0 + 1.0
    assert len(heard["samples"]) > 0


def test_devices_are_listed(studio: SoundServer) -> None:
    code = "from ds2edge.microphone import *; print(input_devices())"
    listed = studio.run(sys.executable, "-P", "-c", code)
    assert listed.returncode == 0, listed.stderr
    assert "name='default'" in listed.stdout
    assert listed.stdout.count("default=True") == 1
