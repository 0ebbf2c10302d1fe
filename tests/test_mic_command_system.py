"""`ds2edge mic` on a real audio device: a PulseAudio null sink, and its monitor as microphone."""

from __future__ import annotations

import difflib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import SPEECH, interruptible
from sound_server import SoundServer, sound_server
from terminal import Terminal

from ds2edge import Transcriber
from ds2edge.audio_file import read_audio

pytestmark = pytest.mark.system
DS2EDGE = Path(sys.executable).with_name("ds2edge")
WOMAN = SPEECH / "2428-83705-0017.mp3"


@pytest.fixture(scope="module")
def audio() -> Iterator[SoundServer]:
    with sound_server() as server:
        yield server


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wav") / "speech.wav"
    soundfile.write(path, read_audio(WOMAN, 44_100), 44_100)
    return path


def test_the_devices_are_listed(audio: SoundServer) -> None:
    done = audio.run(str(DS2EDGE), "devices")
    assert done.returncode == 0
    assert re.search(r"^\* .* Hz .*(pulse|default)", done.stdout, re.MULTILINE), done.stdout


def test_live_in_a_terminal(audio: SoundServer, spoken: Path, transcriber: Transcriber) -> None:
    with Terminal([DS2EDGE, "mic"], audio.environment) as terminal:
        audio.wait_for_recorder()
        audio.play(spoken)
        shown = terminal.read(2.0)
        terminal.process.send_signal(signal.SIGINT)
        terminal.read(10.0)
        assert terminal.process.wait(10) == 0
    assert shown.count("behind") > 20  # partials, in place
    finals = [line for line in terminal.lines() if line and "behind" not in line]
    assert likeness(" ".join(finals), transcriber) >= 0.8, terminal.written


def likeness(said: str, transcriber: Transcriber) -> float:
    """0..1: the model hears how long it was silent before, of which there is no telling here."""
    speech = read_audio(WOMAN, 16_000)
    wanted = [
        transcriber.transcribe(np.pad(speech, (round(16_000 * silence), 0)), 16_000).text
        for silence in (0.0, 0.25, 0.5, 1.0, 2.0)
    ]
    return max(difflib.SequenceMatcher(None, said.split(), one.split()).ratio() for one in wanted)


def test_a_process_that_was_stopped_goes_on(
    audio: SoundServer, spoken: Path, tmp_path: Path, transcriber: Transcriber
) -> None:
    srt = tmp_path / "live.srt"
    command = [DS2EDGE, "mic", "--json", "--srt", srt]
    with subprocess.Popen(
        command, env=audio.environment, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible
    ) as process:
        audio.wait_for_recorder()
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.0)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        audio.play(spoken)
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    finals = [event for event in map(json.loads, out.splitlines()) if event["type"] == "final"]
    said = " ".join(final["text"] for final in finals if final["text"])
    assert likeness(said, transcriber) >= 0.8, said
    shown = [line for line in srt.read_text().splitlines() if line[:1].isalpha()]
    assert " ".join(shown) == said
