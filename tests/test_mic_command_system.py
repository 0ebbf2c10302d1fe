"""`ds2edge mic` on a real audio device: a PulseAudio null sink, and its monitor as microphone."""

from __future__ import annotations

import difflib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile
from conftest import SPEECH, interruptible

from ds2edge import Transcriber
from ds2edge.audio import read_audio

pytestmark = pytest.mark.system
DS2EDGE = Path(sys.executable).with_name("ds2edge")
WOMAN = SPEECH / "2428-83705-0017.mp3"


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a sound server of the test's own."""
    missing = [name for name in ("pulseaudio", "paplay", "pactl") if not shutil.which(name)]
    if missing:
        pytest.skip(f"needs {' '.join(missing)}")
    home = tmp_path_factory.mktemp("home")
    (home / ".asoundrc").write_text("pcm.!default pulse\nctl.!default pulse\n")
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PULSE", "XDG"))},
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "PULSE_SOURCE": "speech.monitor",
        "PULSE_SINK": "speech",
    }
    server = subprocess.Popen(
        [
            *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
            "--load=module-null-sink sink_name=speech rate=44100",
            "--load=module-native-protocol-unix",
        ],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: "speech" in pactl(environment, "sinks"))
    yield environment
    server.terminate()
    server.wait(10)


def pactl(environment: dict[str, str], what: str) -> str:
    command = ["pactl", "list", "short", what]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    ).stdout


def until(done: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


class Terminal:
    """A program in a terminal, and what it writes there."""

    def __init__(self, command: list[str | Path], environment: dict[str, str]) -> None:
        self._end, other = pty.openpty()
        environment = {**environment, "TERM": "xterm", "COLUMNS": "100"}
        self.process = subprocess.Popen(
            command,
            stdin=other,
            stdout=other,
            stderr=other,
            env=environment,
            preexec_fn=interruptible,
        )
        os.close(other)
        self.written = ""

    def read(self, seconds: float) -> str:
        """All that is written in so many seconds, or until the program ends."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._end], [], [], left)[0]:
                break
            try:
                self.written += os.read(self._end, 65536).decode(errors="replace")
            except OSError:  # how Linux says that the program has ended
                break
        return self.written

    def finals(self) -> list[str]:
        """The lines that stay: those between the redrawn ones."""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.written).replace("\r", "\n")
        lines = [line.strip() for line in text.split("\n")]
        return [line for line in lines if line and "behind" not in line]


def play(path: Path, environment: dict[str, str]) -> None:
    subprocess.run(["paplay", path], env=environment, check=True)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wav") / "speech.wav"
    soundfile.write(path, read_audio(WOMAN, 44_100), 44_100)
    return path


def test_the_devices_are_listed(audio: dict[str, str]) -> None:
    done = subprocess.run(
        [DS2EDGE, "devices"], env=audio, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert re.search(r"^\* .* Hz .*(pulse|default)", done.stdout, re.MULTILINE), done.stdout


def test_live_in_a_terminal(audio: dict[str, str], spoken: Path, transcriber: Transcriber) -> None:
    terminal = Terminal([DS2EDGE, "mic"], audio)
    until(lambda: bool(pactl(audio, "source-outputs")))
    play(spoken, audio)
    shown = terminal.read(2.0)
    terminal.process.send_signal(signal.SIGINT)
    terminal.read(10.0)
    assert terminal.process.wait(10) == 0
    assert shown.count("behind") > 20  # partials, in place
    assert likeness(" ".join(terminal.finals()), transcriber) >= 0.8, terminal.written


def likeness(said: str, transcriber: Transcriber) -> float:
    """0..1: a device begins between two samples of the file, and the model hears that."""
    wanted = transcriber.transcribe(WOMAN).text
    return difflib.SequenceMatcher(None, said.split(), wanted.split()).ratio()


def test_a_process_that_was_stopped_goes_on(
    audio: dict[str, str], spoken: Path, tmp_path: Path, transcriber: Transcriber
) -> None:
    srt = tmp_path / "live.srt"
    command = [DS2EDGE, "mic", "--json", "--srt", srt]
    with subprocess.Popen(
        command, env=audio, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible
    ) as process:
        until(lambda: bool(pactl(audio, "source-outputs")))
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.0)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        play(spoken, audio)
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    finals = [event for event in map(json.loads, out.splitlines()) if event["type"] == "final"]
    said = " ".join(final["text"] for final in finals if final["text"])
    assert likeness(said, transcriber) >= 0.8, said
    shown = [line for line in srt.read_text().splitlines() if line[:1].isalpha()]
    assert " ".join(shown) == said
